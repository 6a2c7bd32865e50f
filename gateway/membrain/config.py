"""Where the settings' values come from: default, then `config.toml`, then the environment.

Each setting also as `MEMBRAIN_<SECTION>_<NAME>`. A name that is no setting, or a value that cannot work, is refused by
name and line, and nothing is half loaded. Files of the working directory are never read. `save` and `unset` change one
line of the file. What there is to set stands in `settings.py`; provider keys are no settings, `Settings.keys` finds
them when asked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from membrain.errors import Misconfigured
from membrain.places import POSIX, Places, write_private
from membrain.rules import Rule
from membrain.secrets import Secrets
from membrain.settings import (
    EDIT,
    NAMED,
    RESERVED,
    WELL_KNOWN,
    Compatible,
    ModelPrice,
    Ollama,
    Providers,
    SettingInfo,
    Settings,
    nearest,
    no_setting,
    path_of,
    rule_at,
    rules_in,
    section_at,
    sections_in,
    settings_table,
    spell,
    variable,
)

if TYPE_CHECKING:
    from membrain.toml_text import Outline  # loaded only when there is a file to read

__all__ = ["Places", "SettingInfo", "Settings", "load", "save", "settings_table", "spell", "unset", "variable"]

FILE = "config.toml"

NO_SETTINGS = frozenset({"MEMBRAIN_HOME", "MEMBRAIN_DEBUG", "MEMBRAIN_API_KEY", "MEMBRAIN_CONFORM_KEY", "MEMBRAIN_URL"})
"""Variables of ours that set no setting."""

# Patterns are compiled when they are first needed: the command line imports this module at every call.
_OWN_VARIABLE = r"MEMBRAIN_PROVIDERS_([A-Z0-9_]+)_(URL|MODELS|LOCAL|SPEAKS)"
_KEY_LIKE = r"(?i)(key|token|secret|passw(or)?d)s?$"
_KEY_SHAPED = r"\b(sk|ck|pk|rk|gsk|ghp|xai)[-_]|(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z\d]{16,}"
_UNQUOTABLE = r"@|\b(sk|ck|pk|rk|gsk|ghp|xai)[-_]|(?=[\w-]*\d)[\w-]{16,}|[\w+/=-]{24,}"


class _Given(NamedTuple):
    """A value that somebody set."""

    value: Any
    origin: str
    blame: str
    """How an error about it begins, as "config.toml line 7: limits.body_mb"."""


def load(environ: Mapping[str, str] = os.environ, places: Places | None = None) -> Settings:
    """The settings of this environment: default, then file, then environment.

    *places* says where the file is (None: where *environ* says). Nothing is written and no keyring is asked. Raises
    `Misconfigured` for the first thing that is wrong.
    """
    places = places or Places.find(environ)
    given = {**_from_file(_text_of(places.config_file)), **_from_environment(environ)}
    _add_ollama_host(given, environ)
    _refuse_clashes(given)
    settings: Settings = _made(Settings, _nested(given))
    settings = replace(settings, aliases={name: _steps(name, settings.aliases)[-1] for name in settings.aliases})
    keys = Secrets(settings.secrets.backend, places, environ)
    return replace(settings, origins={name: each.origin for name, each in given.items()}, keys=keys)


def _from_file(text: str) -> dict[str, _Given]:
    """What the text of the settings file sets."""
    if not text:
        return {}
    table, outline = _parsed(text)
    found = {}
    for path, value in _flat(table, ()):
        rule, line = rule_at(path), f"{FILE} line {outline.line(path)}"
        if rule is None:
            raise _refused(path, line)
        if isinstance(value, dict):
            _check_members(rule, path, value, outline)
        blame = f"{line}: {_shown(path)}"
        found[".".join(path)] = _Given(_checked(rule, value, blame, EDIT), FILE, blame)
    return found


def _check_members(rule: Rule, path: tuple[str, ...], table: Mapping[str, Any], outline: Outline) -> None:
    """What is wrong inside a value that is a table is told by its own line."""
    for name, value in table.items():
        inner, line = (*path, name), f"{FILE} line {outline.line((*path, name))}"
        member = rule.members.get(name)
        if member is not None:
            _checked(member, value, f"{line}: {_shown(inner)}", EDIT)
        elif path[0] in NAMED:
            meant = nearest(name, rule.members)
            raise Misconfigured(
                f"{line}: {_shown(path)} has nothing named {_shown((name,))}.{meant} "
                'A name with dots needs quotes, like "gpt-4.1".',
                hint=EDIT,
            )


def _from_environment(environ: Mapping[str, str]) -> dict[str, _Given]:
    """What the environment sets; an empty variable sets nothing. Our own names win over well-known ones."""
    ours = sorted(name for name in environ if name.startswith("MEMBRAIN_") and name not in NO_SETTINGS)
    found: dict[str, _Given] = {}
    for source in (*WELL_KNOWN, *(each for each in ours if not each.startswith("MEMBRAIN_TEST_"))):
        name = WELL_KNOWN.get(source) or _setting_of(source)
        if name in NAMED:
            found |= _entries(name, environ.get(source, ""), source)
            continue
        rule = rule_at(tuple(name.split(".")))
        if rule is not None and (text := environ.get(source, "").strip()):
            found[name] = _Given(_checked(rule, rule.parse(text), source, f"unset {source}"), source, source)
    return found


def _entries(table: str, text: str, source: str) -> dict[str, _Given]:
    """What *text*, like `one=…,other=…`, sets in a table whose names are the user's own."""
    found: dict[str, _Given] = {}
    for entry in filter(None, map(str.strip, text.split(","))):
        own, sign, value = map(str.strip, entry.partition("="))
        name, rule = f"{table}.{own}", rule_at((table, own))
        if not sign:
            raise Misconfigured(
                f"{source} must be entries like {NAMED[table].like}, with commas between them", hint=f"unset {source}"
            )
        if rule is None:
            raise _bad_name(table, own, f"{source}: ", f"unset {source}")
        if name in found:
            raise Misconfigured(f"{source} sets {_shown((table, own))} twice", hint=f"unset {source}")
        blame = f"{source}: {_shown((table, own))}"
        found[name] = _Given(_checked(rule, rule.parse(value), blame, f"unset {source}"), source, blame)
    return found


def _add_ollama_host(given: dict[str, _Given], environ: Mapping[str, str]) -> None:
    """Take Ollama's own variable where nobody told *us* anything; it was not written for us, so it is the weakest."""
    name, source = "providers.ollama.url", "OLLAMA_HOST"
    rule = rule_at(tuple(name.split(".")))
    if rule is not None and name not in given and (text := environ.get(source, "").strip()):
        value = _checked(rule, ollama_url(text), source, f"membrain config set {name} {Ollama.url}")
        given[name] = _Given(value, source, source)


def ollama_url(text: str) -> str:
    """The URL that `OLLAMA_HOST` means: scheme, host and port may each be left out.

    A server that listens everywhere (`0.0.0.0`) is reached on this machine.
    """
    scheme, given, rest = text.strip(" \"'").partition("://")
    if not given:
        scheme, rest = "http", scheme
    place, slash, path = rest.partition("/")
    if place.count(":") > 1 and not place.startswith("["):
        place = f"[{place}]"
    found = re.fullmatch(r"(\[.*\]|[^:]*)(?::(\d+))?", place)
    host, port = found.groups() if found else (place, None)
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104  # read, not bound
    if port is None and not given:
        port = "11434"
    return f"{scheme}://{host}{f':{port}' if port else ''}{slash}{path}"


def _refuse_clashes(given: Mapping[str, _Given]) -> None:
    """What is wrong with settings that are sound each for itself."""
    _refuse_halves(given)
    _refuse_circles(given)


def _refuse_circles(given: Mapping[str, _Given]) -> None:
    """An alias must lead to a model in the end."""
    front = "aliases."
    aliases = {name.removeprefix(front): each.value for name, each in given.items() if name.startswith(front)}
    for name in aliases:
        if (steps := _steps(name, aliases))[-1] in aliases:
            way = " → ".join(_shown((each,)) for each in steps)
            first = given[front + name]
            hint = EDIT if first.origin == FILE else f"unset {first.origin}"
            raise Misconfigured(f"{first.blame} goes in a circle: {way}", hint=hint)


def _steps(name: str, aliases: Mapping[str, str]) -> list[str]:
    """*name* and what it stands for, step by step; ends with a model, or where it has been before."""
    steps = [name]
    while (last := steps[-1]) in aliases and last not in steps[:-1]:
        steps.append(aliases[last])
    return steps


def _refuse_halves(given: Mapping[str, _Given]) -> None:
    """A provider of the user's own about which anything is said needs a URL."""
    for name, each in given.items():
        front, _, last = name.rpartition(".")
        if name.startswith("providers.") and last in {"models", "local", "speaks"} and f"{front}.url" not in given:
            raise Misconfigured(
                f"{each.blame} is set, but {front} has no url; "
                "it must be where its API is, like https://api.example.com/v1",
                hint=f"membrain config set {front}.url …",
            )


def save(places: Places, name: str, value: Any) -> Any:
    """Set *name* to *value* (itself, or as a text) in the settings file; gives the value as it was kept.

    Comments and layout of the file stay. Nothing is written if the value cannot work, if it would make a sound file
    unsound, or if the change would cost comments: `Misconfigured` then. Another mistake in the file is no hindrance.
    """
    from membrain import toml_text

    path = path_of(name)
    rule = rule_at(path)
    if rule is None:
        raise _refused(path, "")
    given = rule.parse(value) if isinstance(value, str) else value
    kept = _checked(rule, given, _shown(path), "membrain config list")
    plain = kept.to_dict() if isinstance(kept, ModelPrice) else list(kept) if isinstance(kept, tuple) else kept
    _rewrite(places, lambda text: toml_text.put(text, path, plain))
    return kept


def unset(places: Places, name: str) -> bool:
    """Take *name* out of the settings file; says whether it was there. Raises as `save` does."""
    from membrain import toml_text

    path = path_of(name)
    table, _ = _parsed(_text_of(places.config_file))
    if path not in dict(_flat(table, ())):
        return False
    _rewrite(places, lambda text: toml_text.drop(text, path))
    return True


def _rewrite(places: Places, edit: Callable[[str], str]) -> None:
    """Put the edited text in the file's place in one step."""
    from membrain.toml_text import CannotEdit

    text = _text_of(places.config_file)
    _parsed(text)
    try:
        edited = edit(text)
    except CannotEdit as error:
        raise Misconfigured(f"{FILE} is not changed: {error}.", hint=EDIT) from error
    if _is_sound(text):
        _refuse_clashes(_from_file(edited))
    places.create()
    target = places.config_file.resolve()  # a file that the user keeps elsewhere, behind a link, stays there
    try:
        write_private(target, edited.encode())
    except OSError as error:
        raise Misconfigured(f"{target} cannot be written: {error.strerror}.", hint=f"ls -l {target}") from error


def _is_sound(text: str) -> bool:
    try:
        _refuse_clashes(_from_file(text))
    except Misconfigured:
        return False
    return True


def _text_of(path: Path) -> str:
    """The text of the settings file; empty if there is none. It may say where keys are sent, so it must be ours."""
    try:
        with path.open("rb") as file:
            info = os.fstat(file.fileno())
            if POSIX and (info.st_uid not in {0, os.geteuid()} or info.st_mode & 0o002):
                raise Misconfigured(f"{path} can be changed by another user.", hint=f"ls -l {path}")
            return file.read().decode("utf-8-sig")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}.", hint=f"ls -l {path}") from error
    except UnicodeDecodeError:
        raise Misconfigured(f"{path} is not UTF-8 text.", hint=EDIT) from None


def _parsed(text: str) -> tuple[dict[str, Any], Outline]:
    """The text's values, and where they stand in it."""
    import tomllib

    from membrain.toml_text import Outline

    try:
        return tomllib.loads(text), Outline(text)
    except (ValueError, RecursionError) as error:
        # No cause is kept: newer parsers hold the whole text in their errors.
        said = str(error) if isinstance(error, tomllib.TOMLDecodeError) else ""
    if not said:
        raise Misconfigured(f"{FILE} holds a value that is too large, or too deep, to be read.", hint=EDIT)
    what, _, where = said.partition(" (at ")
    found = re.match(r"line (\d+)", where)
    line = found[1] if found else len(text.splitlines())
    raise Misconfigured(f"{FILE} line {line} is not TOML: {what}", hint=EDIT)


def _flat(table: Mapping[str, Any], front: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The values of a TOML table by path; goes into tables only where we have a section."""
    for name, value in table.items():
        path = (*front, name)
        if isinstance(value, dict) and (section_at(path) or path in {(table,) for table in NAMED}):
            yield from _flat(value, path)
        else:
            yield path, value


def _nested(given: Mapping[str, _Given]) -> dict[str, Any]:
    """The values by name, as tables in tables."""
    nested: dict[str, Any] = {}
    for name, each in given.items():
        *sections, last = path_of(name)
        table = nested
        for section in sections:
            table = table.setdefault(section, {})
        table[last] = each.value
    return nested


def _made(section: type, values: Mapping[str, Any]) -> Any:
    """*section* with *values*, and defaults for the rest."""
    parts = {name: value for name, value in values.items() if name in rules_in(section)}
    given = {name: kind for name, kind in sections_in(section).items() if name in values}
    inner = {name.replace("-", "_"): _made(kind, values[name]) for name, kind in given.items()}
    if section is Providers:
        own = [Compatible(name, **each) for name, each in values.items() if name not in given]
        inner["others"] = tuple(own)
    if section is Settings:
        inner |= {table: values[table] for table in NAMED if table in values}
    return section(**parts, **inner)


def _setting_of(name: str) -> str:
    """The setting, or table of `NAMED`, that the variable *name* sets; raises `Misconfigured` if there is none."""
    by_variable = {variable(each): each for each in (*(each for each, _ in Settings().items()), *NAMED)}
    if name in by_variable:
        return by_variable[name]
    if found := re.fullmatch(_OWN_VARIABLE, name):
        own = ("providers", found[1].lower().replace("_", "-"), found[2].lower())
        if rule_at(own):
            return ".".join(own)
    if re.search(_KEY_LIKE, name):
        raise _key_in_the_wrong_place(name, name.removeprefix("MEMBRAIN_").lower())
    raise Misconfigured(f"{name} sets nothing.{nearest(name, by_variable)}", hint=f"unset {name}")


def _checked(rule: Rule, value: Any, blame: str, hint: str) -> Any:
    """*value* as the rule takes it."""
    try:
        return rule.check(value)
    except ValueError as error:
        must = str(error)
    raise Misconfigured(f"{blame} {_said(value)}; it must be {must}", hint=hint)


def _said(value: Any) -> str:
    """What is wrong with a value, quoting it unless it may be a secret put in the wrong place."""
    if isinstance(value, str):
        return f'is "{value}"' if _is_quotable(value) else "cannot be used as it is"
    if isinstance(value, dict | list | tuple):
        return "is a table" if isinstance(value, dict) else "is a list"
    if isinstance(value, int) and value.bit_length() > 64:
        return "is far too large"
    return f"is {str(value).lower() if isinstance(value, bool) else value}"


def _is_quotable(text: str) -> bool:
    return text.isprintable() and len(text) <= 80 and not re.search(_UNQUOTABLE, text)


def _shown(path: tuple[str, ...]) -> str:
    """*path* for people; a name of the user's own that looks like a key is not shown."""
    return ".".join(
        each if each.isprintable() and len(each) <= 80 and not re.search(_KEY_SHAPED, each) else "…" for each in path
    )


def _refused(path: tuple[str, ...], line: str) -> Misconfigured:
    """The error for a path of the file that is no setting. *line* is "" for a name from the command line."""
    name = ".".join(path)
    front = f"{line}: " if line else ""
    if path[0] in NAMED and len(path) > 1:
        return _bad_name(path[0], path[1], front, EDIT)
    if section_at(path) or path[0] in NAMED:
        return Misconfigured(f"{front}{name} is a table; write [{name}] and its settings below it", hint=EDIT)
    if re.search(_KEY_LIKE, path[-1]):
        return _key_in_the_wrong_place(f"{front}{name}", name)
    if path[0] == "providers" and len(path) > 1 and section_at(path[:2]) is None and not _is_misspelt(path[1]):
        return Misconfigured(
            f'{front}"{path[1]}" cannot be the name of a provider of yours; small letters, digits and dashes can, '
            f"except {', '.join(sorted(RESERVED))}",
            hint=EDIT,
        )
    return no_setting(name if _is_quotable(name) else "…", [each for each, _ in Settings().items()], front)


def _bad_name(table: str, own: str, front: str, hint: str) -> Misconfigured:
    why = NAMED[table].refusal(own)
    return Misconfigured(f'{front}"{_shown((own,))}" cannot be a name in [{table}]; {why}', hint=hint)


def _is_misspelt(provider: str) -> bool:
    """Whether one of the providers we know is meant, with another dash."""
    return provider.replace("_", "-") in sections_in(Providers)


def _key_in_the_wrong_place(where: str, name: str) -> Misconfigured:
    provider = next((each for each in re.split(r"[._]", name) if each in {"openai", "anthropic"}), "NAME")
    found = re.fullmatch(r"providers\.([^.]+)\.[^.]+", name)
    return Misconfigured(
        f"{where}: a key does not belong there, where it could be read; I did not take it",
        hint=f"membrain keys set {found[1] if found else provider}",
    )
