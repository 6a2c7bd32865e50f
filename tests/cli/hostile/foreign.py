"""Text that wants to drive a terminal, and a gateway that has it in every field which it did not write itself.

    with Foreign(environ) as gateway:
        invoke(["models"], environ)

What the gateway keeps on the disk (the audit, the log, the lists) is laid down by `laid_down`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from membrain.places import Places
from membrain.records import (
    Attempt,
    AuditRecord,
    Candidate,
    ClientKey,
    Considered,
    Decision,
    Explanation,
    Finding,
    ModelRow,
    Step,
)
from membrain_cli.console import CONTROLS
from tests.cli.says import Says
from tests.cli.trails import exchange, written

PAYLOADS = {
    "clipboard": "\x1b]52;c;c3RvbGVu\x07",
    "link": "\x1b]8;;https://evil.example\x1b\\here\x1b]8;;\x1b\\",
    "title": "\x1b]0;owned\x9c",
    "colour": "\x1b[31;5m",
    "report": "\x1b[6n\x1b[c\x05",
    "8-bit": "\x9b2J\x9d0;owned\x07\x90q\x9c",
    "bidi": "txt.\u202eexe\u2066\u200f",
    "overwritten": "safe\rgone\x08\x7f\x0b\x0c",
    "rich": "[red]markup[/red][link=https://evil.example]x[/link]:bomb:",
    "textual": "[@click=app.bell]press[/]",
    "half": "\ud800",
}
"""By what each is after."""
HOSTILE = "".join(PAYLOADS.values())
STAYS = "[red]markup[/red][link=https://evil.example]x[/link]:bomb:[@click=app.bell]press[/]"
"""What is mere text to a terminal, and is shown as it is."""


def controls(text: str) -> list[str]:
    """What in *text* could drive a terminal."""
    return CONTROLS.findall(text)


def storable(text: str) -> str:
    """*text* as far as a file in UTF-8 can hold it."""
    return text.encode("utf-8", "replace").decode()


ID = "0123456789abcdef01234567"
NAME = storable(f"name {HOSTILE}")


def record(**more: Any) -> AuditRecord:
    """An exchange of which others wrote every text."""
    found = Candidate(NAME, NAME, True, NAME)
    facts: dict[str, Any] = {
        "model": NAME,
        "answered_model": NAME,
        "provider": NAME,
        "caller": NAME,
        "project": NAME,
        "error": NAME,
        "outcome": "failed",
        "pii_findings_count": 1,
        "pii_labels": (NAME,),
        "findings": (Finding(NAME, NAME, NAME),),
        "attempts": (Attempt(NAME, NAME, 3.0, NAME),),
        "decision": Decision(NAME, NAME, False, (found, Candidate(NAME, NAME, False, NAME))),
        "steps": (Step(NAME, 1.0, NAME),),
    }
    return exchange(**{"user": NAME, **facts, **more})


def considered(*, kept: bool) -> Considered:
    """A model that a gateway found."""
    return Considered(NAME, NAME, kept, NAME, False, 1.0, 2.0, NAME, NAME, 10, 3.0, 4.0, 5)


KEY = ClientKey(ID, NAME, "", NAME, NAME, NAME, NAME)
HOLD = {
    "id": ID, "caller": NAME, "project": NAME, "model": NAME, "seconds": 3.0, "labels": {NAME: 1},
    "contexts": [{"place": NAME, "label": NAME, "before": NAME, "tail": NAME, "after": NAME}],
}  # fmt: skip
SUM = {
    "name": NAME, "exchanges": 1, "prompt_tokens": 1, "completion_tokens": 1, "cost_micros": 5, "unpriced": 0,
}  # fmt: skip
BUDGET = {
    "owner": f"project:{NAME}", "period": NAME, "limit_micros": 10, "spent_micros": 9, "reserved_micros": 0,
    "forecast_micros": None, "percent": 90.0,
}  # fmt: skip
USAGE = {
    "by": "model", "exchanges": 1, "cost_micros": 5, "cached": 1, "saved_micros": 3, "unpriced": 0, "rows": [SUM],
    "budgets": [BUDGET], "masked": 1, "prompt_tokens": 1, "completion_tokens": 1,
}  # fmt: skip
EXPLANATION = Explanation(
    NAME, NAME, NAME, False, None, (considered(kept=True), considered(kept=False)),
    message=NAME, hint=NAME, masked={NAME: 1}, blocked=(NAME,), confirmed=(NAME,), prompt_tokens=3,
)  # fmt: skip


class Foreign(Says):
    """A gateway that is honest about its routes and about nothing else; with *name*, one that says only that."""

    def __init__(self, environ: Mapping[str, str], name: str = NAME) -> None:
        super().__init__(environ)
        self._name = name
        self.record = record(id=ID)
        self.answers |= {
            "/api/audit": [self.record.to_dict()],
            f"/api/audit/{ID}": self.record.to_dict(),
            "/api/usage": USAGE,
            "/api/models": [ModelRow(NAME, NAME, False, 1.0, 2.0, NAME, NAME, 8).to_dict()],
            "/api/route": EXPLANATION.to_dict(),
            "/api/tiers": {
                "fast": [NAME], "balanced": [NAME], "best": [NAME],
                "default": "fast", "aliases": {NAME: NAME}, "prefer": [NAME],
            },
            "/api/holds": [HOLD],
            f"/api/holds/{ID}": HOLD,
            "/api/keys": [KEY.to_dict()],
            "/api/reload": {},
            "/v1/models": {"data": [{"id": NAME}]},
        }  # fmt: skip

    def answer(self, method: str, path: str, query: str, data: Any) -> tuple[int, Any]:
        """As the gateway's, with foreign providers, and a foreign sentence for what is not there."""
        if path == "/health":
            status, told = super().answer(method, path, query, data)
            states = [
                {"name": NAME, "up": up, "note": NAME, "where": NAME, "models": [NAME], "local": False, "remedy": NAME}
                for up in (True, False)
            ]
            more = {"providers": states, "auth": NAME, "tier": NAME, "masking": NAME, "up_seconds": 3.0, "running": 0}
            return status, renamed({**told, **more}, self._name)
        if path not in self.answers:
            return 502, renamed({"error": {"message": NAME, "code": NAME}}, self._name)
        status, told = super().answer(method, path, query, data)
        return status, renamed(told, self._name)


def renamed(value: Any, name: str) -> Any:
    """*value* with *name* wherever it has the foreign one."""
    if isinstance(value, dict):
        return {renamed(key, name): renamed(each, name) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [renamed(each, name) for each in value]
    return name if value == NAME else value.replace(NAME, name) if isinstance(value, str) else value


def laid_down(environ: Mapping[str, str]) -> None:
    """What an instance keeps on the disk, written by others: its audit, its log."""
    written(environ, record(id=ID), record(error=None, outcome="answered"))
    places = Places.find(environ)
    places.log_file.parent.mkdir(parents=True, exist_ok=True)
    places.log_file.write_text(f"2026-11-21 09:48:00,000 ERROR {NAME}\n{NAME}\n", "utf-8")
