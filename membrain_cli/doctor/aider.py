"""aider from its own side. `.aider.conf.yml` goes before `.env`, and `.env` before the shell, as in its release 0.86.

Of its YAML only plain lines are read (`name: value`, and lists of `NAME=value`); what is put otherwise is not seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from membrain_cli.doctor import side
from membrain_cli.doctor.finding import Finding, Patient
from membrain_cli.doctor.pointing import Base, here, pointed
from membrain_cli.doctor.program import installed
from membrain_cli.doctor.sources import (
    Found,
    Unreadable,
    Variables,
    from_dotenv,
    from_shell,
    merged,
    shown,
    text_of,
    unquoted,
    unreadable,
)

OPENAI = Base("OPENAI_BASE_URL", "/v1", "OpenAI")
OLD = "OPENAI_API_BASE"
ANTHROPIC = Base("ANTHROPIC_BASE_URL", "", "Anthropic")

OPTIONS = {
    "openai-api-base": OLD,
    "openai-api-key": "OPENAI_API_KEY",
    "anthropic-api-key": "ANTHROPIC_API_KEY",
}
"""Options of aider's that become variables; as variables they are called `AIDER_` and their name in capitals."""

LISTS: dict[str, Callable[[str], str]] = {
    "set-env": lambda name: name,
    "api-key": lambda name: f"{name.upper()}_API_KEY",
}
"""Options with a list of `NAME=value`, and which variable a name of it comes to."""

CONFIG = ".aider.conf.yml"


def aider(patient: Patient) -> Iterator[Finding]:
    """Everything that could keep aider from this gateway."""
    yield installed(patient, "aider", "python -m pip install aider-install && aider-install")
    yield side.gateway(patient)
    try:
        variables = read(patient)
        yield from where_to(patient, variables)
        yield from side.proxied(variables)
    except Unreadable as error:
        yield unreadable(error)
    yield from side.dialects(patient, "chat", "messages")
    yield from side.answers(patient, "openai", "anthropic")


def project(patient: Patient) -> list[Path]:
    """The root of the project that one stands in, if it is one."""
    return [each for each in (patient.folder, *patient.folder.parents) if (each / ".git").exists()][:1]


def dotenvs(patient: Patient) -> list[Path]:
    """The `.env` files that aider loads, the weakest first; a project's goes before that of the folder one is in."""
    own = [patient.home / ".aider" / "oauth-keys.env", patient.home / ".env"]
    return [*own, patient.folder / ".env", *(root / ".env" for root in project(patient))]


def configs(patient: Patient) -> list[Path]:
    """Its settings files, the weakest first; that of the folder one stands in goes before a project's."""
    return [folder / CONFIG for folder in (patient.home, *project(patient), patient.folder)]


def read(patient: Patient) -> Variables:
    """The variables that aider has once it has started."""
    outer = merged(from_shell(patient.environ), *(from_dotenv(patient, path) for path in dotenvs(patient)))
    return merged(outer, *(from_config(patient, path) for path in configs(patient)), as_options(outer))


def as_options(variables: Variables) -> Variables:
    """aider's options that stand in variables of its own."""
    named = {f"AIDER_{option.upper().replace('-', '_')}": name for option, name in OPTIONS.items()}
    return {
        name: Found(own, variables[own].value, variables[own].where, variables[own].kind)
        for own, name in named.items()
        if own in variables
    }


ITEM = re.compile(r"""\s*-\s*["']?([A-Za-z_]\w*)=(.*?)["']?\s*""", re.ASCII)
OPTION = re.compile(r"([a-z-]+)\s*:\s*(.*?)\s*", re.ASCII)


def from_config(patient: Patient, path: Path) -> Variables:
    """The variables that a settings file of aider's comes to."""
    where, found, option = shown(patient, path), dict[str, Found](), ""
    for line in (text_of(patient, path) or "").splitlines():
        if (given := ITEM.fullmatch(line)) is not None and option in LISTS:
            name = LISTS[option](given[1])
            found[name] = Found(name, given[2], where, "yaml")
        elif (given := OPTION.fullmatch(line)) is not None:
            option = given[1]
            if option in OPTIONS and given[2]:
                found[OPTIONS[option]] = Found(option, unquoted(given[2]), where, "yaml")
    return found


def where_to(patient: Patient, variables: Variables) -> Iterator[Finding]:
    """Does it reach the gateway, with a key of it: for models of OpenAI's dialect, or of Anthropic's."""
    at, mend = here(patient), side.use(patient)
    if at is None:
        return
    ours: list[Found | None] = [variables[name] for name in (OPENAI.name, OLD) if name in variables]
    anthropic = variables.get(ANTHROPIC.name)
    if ours or anthropic is None:
        yield from (pointed(each, OPENAI, at, mend) for each in ours or [None])
        yield side.key(patient, variables.get("OPENAI_API_KEY"), "OPENAI_API_KEY", mend)
    if anthropic is not None:
        yield pointed(anthropic, ANTHROPIC, at, mend)
        yield anthropics_key(patient, variables)


def anthropics_key(patient: Patient, variables: Variables) -> Finding:
    """The key for Anthropic's models, which aider takes from one variable only."""
    name, mend = "ANTHROPIC_API_KEY", 'export ANTHROPIC_API_KEY="$ANTHROPIC_AUTH_TOKEN"'
    found = variables.get(name)
    if found is None:
        words = f"{name} is not set, and aider does not read ANTHROPIC_AUTH_TOKEN: anthropic/ models get no answer"
        return Finding("look", "key", words, mend)
    return side.key(patient, found, name, mend)
