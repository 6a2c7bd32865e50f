"""Holds as the network shows them: what waits for a person, and how a person decides.

Only data in and data out; who may ask is for `api/admin.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from membrain.errors import BadRequest
from membrain.holds import Context, Hold, Holds

DECISIONS = {"approve": True, "deny": False}
"""The word for a decision, and whether the request goes on."""

_FIELDS = frozenset({"decision", "always"})


def listed(holds: Holds) -> list[dict[str, Any]]:
    """Everything that waits, oldest first, without a sign of what was found."""
    return [_row(holds, hold) for hold in holds.all()]


def shown(holds: Holds, which: str) -> dict[str, Any]:
    """One hold with its contexts. Errors as for `Holds.get`."""
    hold = holds.get(which)
    return {**_row(holds, hold), "contexts": [_context(context) for context in hold.contexts]}


def decided(holds: Holds, which: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Decide on a hold as *data* says: `{"decision": "approve" | "deny", "always": false}`.

    `BadRequest` if it says anything else, errors as for `Holds.get`. The answer says for how long an `always` lasts.
    """
    approve, always = _decision(data)
    settled = holds.decide(which, approve=approve, always=always)
    told = {"id": settled.id, "decision": settled.decision.value, "always": settled.always}
    return {**told, "until": "the gateway stops"} if settled.always else told


def _decision(data: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether *data* approves, and whether for good. A field that nobody knows might have meant something: refused."""
    if unknown := sorted(data.keys() - _FIELDS):
        raise BadRequest("A decision has `decision` and `always`, nothing else.", param=unknown[0][:64])
    decision, always = data.get("decision"), data.get("always", False)
    if not isinstance(decision, str) or decision not in DECISIONS:
        raise BadRequest("`decision` must be approve or deny.", param="decision")
    if not isinstance(always, bool):
        raise BadRequest("`always` must be true or false.", param="always")
    return DECISIONS[decision], always


def _row(holds: Holds, hold: Hold) -> dict[str, Any]:
    return {
        "id": hold.id,
        "caller": hold.caller,
        "project": hold.project,
        "seconds": round(holds.seconds(hold), 1),
        "labels": dict(hold.labels),
        "model": hold.model,
        "places": list(hold.places),
    }


def _context(context: Context) -> dict[str, str]:
    return {
        "place": context.place,
        "label": context.label,
        "before": context.before,
        "after": context.after,
        "tail": context.tail,
    }
