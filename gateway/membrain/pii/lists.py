"""The user's own lists: values that are private because they say so, and values that are never to be masked.

Kept as `pii.toml` among the settings, a file of mode 0600 that is put in place in one step:

    allowed = ["Ada Lovelace"]

    [known]
    "Project Falcon" = "CUSTOM"

A file that is wrong is refused as a whole. No error and no repr here holds a value. What is done with the lists is the
detector's business; nothing is looked for here.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from membrain.errors import BadRequest, Misconfigured
from membrain.places import own_folder, read_private, write_private

CUSTOM = "CUSTOM"
"""The label of a value that was given none."""

SHORTEST, LONGEST = 3, 500
"""How many characters a value has, at least and at most."""

_LABEL = re.compile(r"(?=.{2,32}\Z)[A-Z]+(?:_[A-Z]+)*", re.ASCII)
_NAMES = ("known", "allowed")
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Categories of characters that no value holds: controls, halves of pairs, and ends of lines and paragraphs."""

_HEAD = "# Private values of your own, and what is never masked. Kept by `membrain pii`; comments do not last.\n"


class Unlistable(BadRequest):
    """What was given cannot be a value or a label on these lists. The message never holds it."""

    code = "unlistable"


class Lists:
    """The values of one user. `known` maps each to its label; `allowed` are those never masked.

    No value is on both: the last word holds.
    """

    __slots__ = ("allowed", "known")

    def __init__(self, known: Mapping[str, str] | None = None, allowed: Iterable[str] = ()) -> None:
        self.known: dict[str, str] = dict(known or {})
        self.allowed: set[str] = set(allowed)

    def __repr__(self) -> str:
        return f"Lists(known={len(self.known)}, allowed={len(self.allowed)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lists) and (self.known, self.allowed) == (other.known, other.allowed)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def add(self, value: str, label: str = CUSTOM) -> bool:
        """Count *value* as private from now on; whether that changes anything. Raises `Unlistable`."""
        value, label = sound_value(value), sound_label(label)
        changes = self.known.get(value) != label
        self.known[value] = label
        self.allowed.discard(value)
        return changes

    def remove(self, value: str) -> bool:
        """Take *value* off the private ones; whether it was there.

        If it is not there as it is written, it goes in whatever case it was written.
        """
        gone = _spellings(value, self.known)
        for each in gone:
            del self.known[each]
        return bool(gone)

    def allow(self, value: str) -> bool:
        """Never mask *value* from now on; whether that changes anything. Raises `Unlistable`."""
        value = sound_value(value)
        changes = value not in self.allowed
        self.allowed.add(value)
        self.known.pop(value, None)
        return changes

    def disallow(self, value: str) -> bool:
        """Let *value* be masked again; whether it was allowed. Case as in `remove`."""
        gone = _spellings(value, self.allowed)
        self.allowed.difference_update(gone)
        return bool(gone)


def sound_value(text: str) -> str:
    """*text* as it is kept: without space around it, accents composed. Raises `Unlistable`."""
    value = unicodedata.normalize("NFC", text.strip())
    if not SHORTEST <= len(value) <= LONGEST:
        raise Unlistable(f"A value has {SHORTEST} to {LONGEST} characters; this one has {len(value)}.")
    if any(unicodedata.category(sign) in _UNPRINTABLE for sign in value):
        raise Unlistable("A value is one line without control characters.")
    return value


def sound_label(text: str) -> str:
    """*text*, if it is a label. Raises `Unlistable`."""
    if not _LABEL.fullmatch(text):
        raise Unlistable(f"A label is words of capital letters, like {CUSTOM} or PROJECT_NAME; 2 to 32 characters.")
    return text


def _spellings(value: str, among: Iterable[str]) -> list[str]:
    """*value* as it stands *among* others; if it does not, those that differ from it in case only."""
    wanted = unicodedata.normalize("NFC", value.strip())
    kept = list(among)
    return [wanted] if wanted in kept else [each for each in kept if each.casefold() == wanted.casefold()]


# --- the file ------------------------------------------------------------------------------------------------


def load(path: Path) -> Lists:
    """The lists in the file at *path*; empty ones if there is no file.

    Raises `Misconfigured` if others can read it, if it cannot be read, or if anything in it is not as it has to be.
    """
    try:
        data = read_private(path)
    except FileNotFoundError:
        return Lists()
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}.", hint=f"ls -l {path}") from None
    return _lists(_parsed(data, path), path)


def save(lists: Lists, path: Path) -> None:
    """Put *lists* in the place of the file at *path*: mode 0600, in one step. Raises `Misconfigured`."""
    import tomli_w

    table = {"allowed": sorted(lists.allowed), "known": dict(sorted(lists.known.items()))}
    own_folder(path.parent)
    try:
        write_private(path, (_HEAD + tomli_w.dumps(table)).encode())
    except OSError as error:
        raise Misconfigured(f"{path} cannot be written: {error.strerror}.", hint=f"ls -l {path}") from None


@contextmanager
def changing(path: Path) -> Iterator[Lists]:
    """The lists at *path*, to be changed and then saved. Two changes at a time wait for one another.

    Nothing is written if the block raises, or changes nothing.
    """
    own_folder(path.parent)
    with _turn(path.parent):
        lists = load(path)
        before = Lists(lists.known, lists.allowed)
        yield lists
        if lists != before:
            save(lists, path)


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Hold *folder* for oneself, where the system knows how to (Windows does not, for a folder)."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _parsed(data: bytes, path: Path) -> dict[str, Any]:
    """The file's table. What a parser says is not passed on: it may quote a value."""
    import tomllib

    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        found = re.search(r"\(at (line \d+)", str(error)) if isinstance(error, tomllib.TOMLDecodeError) else None
        place = f" {found[1]}" if found else ""
    raise _wrong(path, f"{place} cannot be read as TOML")  # outside, so that the parser's error is not its cause


def _lists(table: Mapping[str, Any], path: Path) -> Lists:
    """The lists that a file's *table* holds; each part as it has to be, or `Misconfigured`."""
    if strange := [name for name in table if name not in _NAMES]:
        raise _wrong(path, _strange(strange))
    known, allowed = table.get("known", {}), table.get("allowed", [])
    if not isinstance(known, dict):
        raise _wrong(path, ": known must be a table of values and their labels")
    if not isinstance(allowed, list):
        raise _wrong(path, ": allowed must be a list of texts")
    lists = Lists()
    for number, (value, label) in enumerate(known.items(), 1):
        with _entry(path, f"known, entry {number}"):
            lists.add(value, _text(label))
    for number, value in enumerate(allowed, 1):
        with _entry(path, f"allowed, entry {number}"):
            if sound_value(_text(value)) in lists.known:
                raise Unlistable("It is known, too; it can be one of them.")
            lists.allow(value)
    return lists


def _text(value: Any) -> str:
    """*value*, if it is a text. Raises `Unlistable`."""
    if not isinstance(value, str):
        raise Unlistable("It must be a text.")
    return value


@contextmanager
def _entry(path: Path, where: str) -> Iterator[None]:
    """Make of an `Unlistable` a `Misconfigured` that tells where it stands."""
    try:
        yield
    except Unlistable as error:
        raise _wrong(path, f": {where}: {error.message}") from None


def _strange(names: list[str]) -> str:
    """What to say about *names* that mean nothing here. Only a slip of ours is quoted: the others may be values."""
    from difflib import get_close_matches

    for name in names:
        near = get_close_matches(name, _NAMES, 1, 0.75)
        if near and re.fullmatch("[a-z]+", name):
            return f': "{name}" means nothing here; did you mean {near[0]}?'
    return ": a name in it means nothing here; there are known and allowed"


def _wrong(path: Path, said: str) -> Misconfigured:
    end = "" if said.endswith((".", "?")) else "."
    return Misconfigured(f"{path}{said}{end}", hint=f"Open it:  ${{EDITOR:-vi}} {path}")
