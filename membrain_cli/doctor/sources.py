"""Where a tool's variables come from: the shell, a `.env` file, the `env` of a JSON file. Reads, and shows no value."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from membrain_cli.doctor.finding import Finding, Patient

MOST = 1_000_000
"""Bytes that are read of a file; the settings of a tool are smaller."""

SHELL = "your shell"

LINES = {
    "shell": "export {name}={text}",
    "dotenv": "{where}:  {name}={text}",
    "json": '{where}, in "env":  "{name}": "{text}"',
    "yaml": "{where}:  {name}: {text}",
    "toml": '{where}:  {name} = "{text}"',
}
"""How each kind of place says what a variable is."""


@dataclass(frozen=True, slots=True)
class Found:
    """A variable, and where it was found. Its value is for comparing only: it is never shown."""

    name: str
    value: str = field(repr=False)
    where: str = SHELL
    kind: str = "shell"

    @property
    def told(self) -> str:
        """The variable and its place, for people."""
        return f"{self.name} of {self.where}"

    def line(self, text: str) -> str:
        """What to write in its place instead."""
        return LINES[self.kind].format(name=self.name, where=self.where, text=text)

    def without(self) -> str:
        """How to take it away."""
        return f"unset {self.name}" if self.kind == "shell" else f"{self.where}:  take {self.name} out"


Variables = dict[str, Found]
"""What a tool would read, by name. Of several places the strongest is left."""


class Unreadable(Exception):
    """A file of a tool's settings is there, but cannot be understood; `where` says which."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where} {why}")
        self.where, self.why = where, why


def merged(*places: Variables) -> Variables:
    """The variables of several places, the weakest place first; an empty one counts as not set."""
    found = {name: each for place in places for name, each in place.items()}
    return {name: each for name, each in found.items() if each.value}


def from_shell(environ: Mapping[str, str]) -> Variables:
    """The variables of this shell."""
    return {name: Found(name, value) for name, value in environ.items()}


def shown(patient: Patient, path: Path) -> str:
    """A path as people write it: from their home or from here, whichever is nearer."""
    starts = [(patient.home, "~/"), (patient.folder, "./")]
    for start, sign in sorted(starts, key=lambda each: -len(each[0].parts)):
        if path.is_relative_to(start):
            return sign + path.relative_to(start).as_posix()
    return str(path)


def text_of(patient: Patient, path: Path) -> str | None:
    """What is in a small text file; None if there is none. `Unreadable` if it cannot be read as one."""
    try:
        with path.open("rb") as file:
            return file.read(MOST).decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError:
        raise Unreadable(shown(patient, path), "is no text") from None
    except OSError:
        raise Unreadable(shown(patient, path), "cannot be read") from None


def json_of(patient: Patient, path: Path) -> dict[str, Any]:
    """The object in a JSON file; an empty one if there is no file."""
    text = text_of(patient, path)
    try:
        data = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        raise Unreadable(shown(patient, path), "is no JSON, so the tool may leave it out") from None
    return data if isinstance(data, dict) else {}


def toml_of(patient: Patient, path: Path) -> dict[str, Any]:
    """The tables of a TOML file; none if there is no file."""
    import tomllib

    try:
        return tomllib.loads(text_of(patient, path) or "")
    except (tomllib.TOMLDecodeError, RecursionError):
        raise Unreadable(shown(patient, path), "is no TOML, so the tool does not start") from None


def from_json(patient: Patient, path: Path) -> Variables:
    """The variables under `env` of a JSON file."""
    env = json_of(patient, path).get("env")
    where = shown(patient, path)
    table = env if isinstance(env, dict) else {}
    return {name: Found(name, str(value), where, "json") for name, value in table.items()}


ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*", re.ASCII)
QUOTED = re.compile(r"""(["'])(.*?)\1\s*(?:#.*)?""")


def from_dotenv(patient: Patient, path: Path) -> Variables:
    """The variables of a `.env` file, without what its values would pull in from elsewhere."""
    where, found = shown(patient, path), dict[str, Found]()
    for line in (text_of(patient, path) or "").splitlines():
        if (given := ASSIGNMENT.fullmatch(line)) is not None:
            name, value = given[1], unquoted(given[2])
            found[name] = Found(name, value, where, "dotenv")
    return found


def unquoted(text: str) -> str:
    """A value without its quotes and the comment behind it."""
    inside = QUOTED.fullmatch(text)
    return inside[2] if inside else re.split(r"\s#", text, maxsplit=1)[0].strip()


def unreadable(error: Unreadable) -> Finding:
    """That a file of a tool's settings cannot be read."""
    return Finding("broken", "settings", str(error), f"${{EDITOR:-vi}} {error.where}")
