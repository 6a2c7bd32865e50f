"""The libraries of OpenAI and Anthropic as a program in this folder would use them, in Python and in Node.

They read the shell; a `.env` in the folder they read only where the program loads it. Nothing is run: which libraries
are there, and which versions, is read from the folders they were installed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from membrain_cli.doctor import side
from membrain_cli.doctor.finding import Finding, Patient
from membrain_cli.doctor.pointing import Base, Here, amiss, here, pointed
from membrain_cli.doctor.sources import (
    Found,
    Unreadable,
    Variables,
    from_dotenv,
    from_shell,
    json_of,
    merged,
    unreadable,
)

OPENAI = Base("OPENAI_BASE_URL", "/v1", "OpenAI")
ANTHROPIC = Base("ANTHROPIC_BASE_URL", "", "Anthropic")
KEYS = {"OPENAI_API_KEY": "openai", "ANTHROPIC_AUTH_TOKEN": "anthropic", "ANTHROPIC_API_KEY": "anthropic"}
LIBRARIES = {"openai": "openai", "anthropic": "@anthropic-ai/sdk"}
"""What each is called in Python and in Node."""


def sdk(patient: Patient) -> Iterator[Finding]:
    """Everything that could keep a program here from this gateway."""
    yield from libraries(patient)
    yield side.gateway(patient)
    variables = merged(from_shell(patient.environ))
    at = here(patient)
    if at is not None:
        for family in in_use(patient, variables):
            yield from family(patient, variables, at)
        yield from kept_here(patient, at)
    yield from side.proxied(variables)
    yield from side.dialects(patient, "chat", "responses", "messages")


# --- what is installed ---------------------------------------------------------------------------------------


def libraries(patient: Patient) -> Iterator[Finding]:
    """Which of the libraries a program in this folder would find."""
    found = [
        f"{name} {version} ({where})"
        for python, node in LIBRARIES.items()
        for name, where, version in (
            (python, "Python", in_python(patient, python)),
            (node, "Node", in_node(patient, node)),
        )
        if version
    ]
    if found:
        yield Finding("fine", "libraries", ", ".join(found))
    else:
        yield Finding("none", "libraries", "none seen in this folder's environment")


def in_python(patient: Patient, name: str) -> str:
    """The version of a Python package in the environment that is active, or in this folder's own; "" if it is not."""
    active = patient.environ.get("VIRTUAL_ENV")
    for folder in [Path(active)] if active else [patient.folder / ".venv", patient.folder / "venv"]:
        for pattern in ("lib/python*/site-packages", "Lib/site-packages"):
            for path in sorted(folder.glob(f"{pattern}/{name}-*.dist-info")):
                return path.name.removesuffix(".dist-info").rpartition("-")[2]
    return ""


def in_node(patient: Patient, name: str) -> str:
    """The version of a Node package that this folder, or one above it, has installed; "" if none has."""
    for folder in (patient.folder, *patient.folder.parents):
        try:
            version = json_of(patient, folder / "node_modules" / name / "package.json").get("version")
        except Unreadable:
            continue
        if version:
            return str(version)[:40]
    return ""


# --- where they go -------------------------------------------------------------------------------------------


def in_use(patient: Patient, variables: Variables) -> list[Family]:
    """The libraries that are installed, or of which a variable is set; all, if there is no sign of any."""
    seen = [
        check
        for name, check in FAMILIES.items()
        if any(each.startswith(f"{name.upper()}_") for each in variables)
        or in_python(patient, name)
        or in_node(patient, LIBRARIES[name])
    ]
    return seen or list(FAMILIES.values())


def openai(patient: Patient, variables: Variables, at: Here) -> Iterator[Finding]:
    """OpenAI's library."""
    found, mend = variables.get(OPENAI.name), side.use(patient)
    if found is None and "OPENAI_API_BASE" in variables:
        words = "OPENAI_API_BASE is set, but the library has not read it since version 1"
        yield Finding("look", "address", words, mend)
    yield pointed(found, OPENAI, at, mend)
    yield side.key(patient, variables.get("OPENAI_API_KEY"), "OPENAI_API_KEY", mend)


def anthropic(patient: Patient, variables: Variables, at: Here) -> Iterator[Finding]:
    """Anthropic's library. It sends both of its keys, if there are two."""
    mend = side.use(patient)
    token, api_key = variables.get("ANTHROPIC_AUTH_TOKEN"), variables.get("ANTHROPIC_API_KEY")
    yield pointed(variables.get(ANTHROPIC.name), ANTHROPIC, at, mend)
    yield side.key(patient, token or api_key, "ANTHROPIC_AUTH_TOKEN", mend)
    if token is not None and api_key is not None and token.value != api_key.value:
        words = f"{api_key.told} is sent beside {token.name}; the gateway refuses two keys of its own"
        yield Finding("look", "key", words, api_key.without())


Family = Callable[[Patient, Variables, Here], Iterator[Finding]]
FAMILIES: dict[str, Family] = {"openai": openai, "anthropic": anthropic}


def kept_here(patient: Patient, at: Here) -> Iterator[Finding]:
    """Does this folder's `.env` say something else. A program that loads it may take that."""
    try:
        variables = merged(from_dotenv(patient, patient.folder / ".env"))
    except Unreadable as error:
        yield unreadable(error)
        return
    for base in (OPENAI, ANTHROPIC):
        found = variables.get(base.name)
        if found is not None and (wrong := amiss(found.value, at)):
            words = f"{found.told} {wrong}, for programs that load that file"
            yield Finding("look", ".env", words, found.line(at.url + base.tail))
    yield from (foreign(variables[name], family) for name, family in KEYS.items() if name in variables
                if not variables[name].value.startswith(side.OURS))  # fmt: skip


def foreign(found: Found, family: str) -> Finding:
    """That a `.env` file has a key which is not one of the gateway's."""
    words = f"{found.told} is a key of somebody else's; the gateway can keep it, and give out its own"
    return Finding("look", ".env", words, f"membrain keys set {family}")
