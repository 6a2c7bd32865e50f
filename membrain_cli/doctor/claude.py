"""Claude Code from its own side: what it reads of its settings and of the shell, its login, and does it get through.

What its settings say goes before the shell, in this order: those of the organisation, of this folder (local, then
shared), of the user. A login in the Keychain of macOS cannot be seen here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from membrain_cli.doctor import side
from membrain_cli.doctor.finding import Finding, Patient
from membrain_cli.doctor.pointing import Base, here, pointed
from membrain_cli.doctor.program import installed
from membrain_cli.doctor.sources import (
    Unreadable,
    Variables,
    from_json,
    from_shell,
    json_of,
    merged,
    shown,
    unreadable,
)

BASE = Base("ANTHROPIC_BASE_URL", "", "Anthropic")
TOKEN, API_KEY = "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"
OTHERS = {
    "CLAUDE_CODE_USE_BEDROCK": "Amazon Bedrock",
    "CLAUDE_CODE_USE_VERTEX": "Google Vertex",
    "CLAUDE_CODE_USE_FOUNDRY": "Microsoft Foundry",
}
"""Variables that send everything to somebody else, and to whom."""

PROXIES = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY")
"""Claude Code takes the first of these for every address, whatever it begins with."""

MANAGED = {
    "darwin": Path("/Library/Application Support/ClaudeCode/managed-settings.json"),
    "linux": Path("/etc/claude-code/managed-settings.json"),
}


def claude(patient: Patient) -> Iterator[Finding]:
    """Everything that could keep Claude Code from this gateway."""
    yield installed(patient, "claude", "npm install -g @anthropic-ai/claude-code")
    yield side.gateway(patient)
    try:
        variables = read(patient)
        yield from aside(variables)
        yield from where_to(patient, variables)
        yield from who(patient, variables)
        yield from side.proxied(variables, PROXIES)
    except Unreadable as error:
        yield unreadable(error)
    yield from side.dialects(patient, "messages")
    yield from side.answers(patient, "anthropic")


def folder(patient: Patient) -> Path:
    """Where Claude Code keeps its own settings."""
    chosen = patient.environ.get("CLAUDE_CONFIG_DIR")
    return Path(chosen) if chosen else patient.home / ".claude"


def files(patient: Patient) -> list[Path]:
    """Its settings files, the weakest first."""
    here = patient.folder / ".claude"
    managed = [MANAGED[sys.platform]] if sys.platform in MANAGED else []
    return [folder(patient) / "settings.json", here / "settings.json", here / "settings.local.json", *managed]


def read(patient: Patient) -> Variables:
    """The variables that it has once it has started."""
    return merged(from_shell(patient.environ), *(from_json(patient, path) for path in files(patient)))


def aside(variables: Variables) -> Iterator[Finding]:
    """Is it told to ask somebody else altogether."""
    for name, whom in OTHERS.items():
        if name in variables and variables[name].value.lower() not in {"0", "false", "no", "off"}:
            found = variables[name]
            yield Finding("broken", "provider", f"{found.told} sends everything to {whom}", found.without())


def where_to(patient: Patient, variables: Variables) -> Iterator[Finding]:
    """Does its address lead here."""
    at = here(patient)
    if at is not None:
        yield pointed(variables.get(BASE.name), BASE, at, side.use(patient))


def who(patient: Patient, variables: Variables) -> Iterator[Finding]:
    """With which key, or which login, does it come."""
    token, api_key = variables.get(TOKEN), variables.get(API_KEY)
    program = helper(patient)
    if token is None and api_key is None and program:
        words = f"apiKeyHelper of {program} makes its key; it must print one of this gateway's"
        yield Finding("look", "key", words, "membrain keys issue claude")
        return
    held = login(patient)
    if token is None and api_key is None and held:
        words = f"{TOKEN} is not set, so it comes with its login ({held}), and the gateway refuses that"
        yield Finding("broken", "login", words, side.use(patient))
        return
    yield side.key(patient, token or api_key, TOKEN, side.use(patient))
    if token is not None and api_key is not None and token.value != api_key.value:
        yield Finding("look", "key", f"{api_key.told} is sent too; only one of them is needed", api_key.without())
    elif held:
        yield Finding("none", "login", f"there is {held}; it is not used while {TOKEN} is set")


def helper(patient: Patient) -> str:
    """The settings file that names a program which makes the key; "" if none does."""
    return next(
        (shown(patient, path) for path in reversed(files(patient)) if json_of(patient, path).get("apiKeyHelper")), ""
    )


def login(patient: Patient) -> str:
    """The file in which a login of its own is kept; "" if none is seen."""
    own = folder(patient)
    beside = own if "CLAUDE_CONFIG_DIR" in patient.environ else patient.home
    kept = ((own / ".credentials.json", "claudeAiOauth"), (beside / ".claude.json", "oauthAccount"),
            (beside / ".claude.json", "primaryApiKey"))  # fmt: skip
    return next((f"a login in {shown(patient, path)}" for path, name in kept if has(patient, path, name)), "")


def has(patient: Patient, path: Path, name: str) -> bool:
    """Whether the object in a file has something under *name*."""
    data: dict[str, Any] = json_of(patient, path)
    return bool(data.get(name))
