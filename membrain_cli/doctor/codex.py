"""Codex from its own side. It reads its own `config.toml` and not `OPENAI_BASE_URL`, and speaks responses only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from membrain_cli.doctor import side
from membrain_cli.doctor.finding import Finding, Patient
from membrain_cli.doctor.pointing import Base, Here, here, pointed
from membrain_cli.doctor.program import installed
from membrain_cli.doctor.sources import (
    Found,
    Unreadable,
    Variables,
    from_shell,
    json_of,
    merged,
    shown,
    toml_of,
    unreadable,
)

BUILT_IN = "openai"
"""The provider that Codex has by itself; a table of that name in its file changes nothing."""
KEY = "CODEX_API_KEY"


def codex(patient: Patient) -> Iterator[Finding]:
    """Everything that could keep Codex from this gateway."""
    yield installed(patient, "codex", "npm install -g @openai/codex")
    yield side.gateway(patient)
    variables = merged(from_shell(patient.environ))
    try:
        at = here(patient)
        if at is not None:
            yield from told(patient, variables, at)
    except Unreadable as error:
        yield unreadable(error)
    yield from side.proxied(variables)
    yield from side.dialects(patient, "responses")
    yield from side.answers(patient, "openai")


def folder(patient: Patient) -> Path:
    """Where Codex keeps its settings."""
    chosen = patient.environ.get("CODEX_HOME")
    return Path(chosen) if chosen else patient.home / ".codex"


def told(patient: Patient, variables: Variables, at: Here) -> Iterator[Finding]:
    """What its file says of where to go, and with which key."""
    path = folder(patient) / "config.toml"
    config, where = toml_of(patient, path), shown(patient, path)
    profile = table(table(config, "profiles"), str(config.get("profile", "")))
    name = str(profile.get("model_provider") or config.get("model_provider") or BUILT_IN)
    if "OPENAI_BASE_URL" in variables:
        yield Finding("none", "settings", "OPENAI_BASE_URL is set, but Codex does not read it")
    if name == BUILT_IN:
        yield from by_itself(patient, variables, {**config, **profile}, where, at)
    else:
        yield from by_table(patient, variables, table(table(config, "model_providers"), name), (name, where), at)


def table(data: dict[str, Any], name: str) -> dict[str, Any]:
    """The table *name* in *data*; an empty one if there is none."""
    found = data.get(name)
    return found if isinstance(found, dict) else {}


# --- its own provider ----------------------------------------------------------------------------------------


def by_itself(
    patient: Patient, variables: Variables, config: dict[str, Any], where: str, at: Here
) -> Iterator[Finding]:
    """Codex's own provider, led elsewhere by `openai_base_url`."""
    base = Base("openai_base_url", "/v1", "OpenAI")
    given = config.get(base.name)
    if given is None and BUILT_IN in table(config, "model_providers"):
        words = f"[model_providers.{BUILT_IN}] of {where} changes nothing: that name is Codex's own"
        yield Finding("look", "settings", words, f'{where}, as its first line:  openai_base_url = "{at.url}/v1"')
    found = Found(base.name, str(given), where, "toml") if given else None
    yield pointed(found, base, at, f'{where}, as its first line:  openai_base_url = "{at.url}/v1"')
    yield key_or_login(patient, variables)


def key_or_login(patient: Patient, variables: Variables) -> Finding:
    """With which key, or which login, does Codex's own provider come."""
    mend = 'export CODEX_API_KEY="$(membrain keys issue codex)"'
    path = folder(patient) / "auth.json"
    kept, where = json_of(patient, path), shown(patient, path)
    if KEY not in variables and kept.get("tokens"):
        words = f"it comes with the ChatGPT login of {where}, and the gateway refuses that"
        return Finding("broken", "login", words, mend)
    own = Found("OPENAI_API_KEY", str(kept["OPENAI_API_KEY"]), where, "json") if kept.get("OPENAI_API_KEY") else None
    return side.key(patient, variables.get(KEY) or own, KEY, mend)


# --- a provider of the file's --------------------------------------------------------------------------------


def by_table(
    patient: Patient, variables: Variables, given: dict[str, Any], named: tuple[str, str], at: Here
) -> Iterator[Finding]:
    """A provider that the file describes; *named* are its name and the file."""
    name, where = named
    place = f"{where}, [model_providers.{name}]"
    if not given:
        words = f"model_provider names {name}, and {where} does not describe it"
        yield Finding("broken", "settings", words, f'{place}:  base_url = "{at.url}/v1"')
        return
    base = Base("base_url", "/v1", "OpenAI")
    found = Found(base.name, str(given["base_url"]), place, "toml") if given.get("base_url") else None
    yield pointed(found, base, at, f'{place}:  base_url = "{at.url}/v1"')
    if given.get("wire_api", "responses") != "responses":
        words = f"wire_api of {place} is not responses, and Codex speaks nothing else"
        yield Finding("broken", "wire_api", words, f'{place}:  wire_api = "responses"')
    yield key_of(patient, variables, given, place)


def key_of(patient: Patient, variables: Variables, given: dict[str, Any], place: str) -> Finding:
    """With which key does a provider of the file's come."""
    if given.get("requires_openai_auth"):
        words = f"{place} wants OpenAI's own login, and the gateway refuses that"
        return Finding("broken", "login", words, f'{place}:  env_key = "OPENAI_API_KEY", without requires_openai_auth')
    name = str(given.get("env_key") or "")
    if given.get("experimental_bearer_token"):
        token = Found("experimental_bearer_token", str(given["experimental_bearer_token"]), place, "toml")
        return side.key(patient, token, token.name, f'{place}:  env_key = "OPENAI_API_KEY"')
    if not name:
        return side.key(patient, None, "env_key", f'{place}:  env_key = "OPENAI_API_KEY"')
    return side.key(patient, variables.get(name), name, f'export {name}="$(membrain keys issue codex)"')
