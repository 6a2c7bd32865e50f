"""TOML as text: where each key stands, and how to change one value without touching the rest.

`tomllib` reads TOML but forgets lines and comments; this module finds them again. It judges no values and opens no
files. The text given to `Outline` must be valid TOML; `put` and `drop` check their own work by reading it back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

KeyPath = tuple[str, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_REST_OF_LINE = re.compile(r"[^\n]*(?:\n|\Z)")
_KEY = re.compile(r'"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|[A-Za-z0-9_-]+')
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(
    r'"""(?:\\[\s\S]|[^\\])*?"{3,5}(?!")'  # a long string may end in quotes of its own
    r"|'''[\s\S]*?'{3,5}(?!')"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\d{4}-\d\d-\d\d \d\d:[^\s,\]}#]+"  # a date and a time may have a space between them
    r"|[^\s,\]}#]+"
)
_ALONE = re.compile(r"[ \t]*(?:#[^\n]*)?\r?(?:\n|\Z)")


class CannotEdit(ValueError):
    """The text is laid out in a way that cannot be changed without losing its comments."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a key and its value stand, as offsets into the text."""

    key: int
    start: int
    """The value's first sign."""
    end: int
    """Just behind its last."""


class Outline:
    """Where everything stands in a valid TOML text.

    `spots` has each key that holds a value, `headers` the offset of each `[table]`, `ends` for each table the offset
    at which one more line would belong to it (() is the part above all tables). Elements of arrays have no names and
    are left out.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.spots: dict[KeyPath, Spot] = {}
        self.headers: dict[KeyPath, int] = {}
        self.ends: dict[KeyPath, int] = {(): 0}
        self.has_comments = False
        self._at = 0
        self._read()

    def line(self, path: KeyPath) -> int | None:
        """The line, from 1, on which *path* is first named: as a key, a table or the front of one."""
        found = [spot.key for name, spot in self.spots.items() if name[: len(path)] == path]
        found += [offset for name, offset in self.headers.items() if name[: len(path)] == path]
        return self.text.count("\n", 0, min(found)) + 1 if found else None

    def _read(self) -> None:
        table: KeyPath | None = ()
        while self._skip() < len(self.text):
            if self.text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._comment_after()
            if table is not None:
                self.ends[table] = self._at

    def _header(self) -> KeyPath | None:
        """Read `[a.b]`; None for `[[a.b]]`, whose tables have no names of their own."""
        start = self._at
        several = self.text.startswith("[[", start)
        self._at += 2 if several else 1
        path = self._key()
        self.headers.setdefault(path, start)
        self._at += 2 if several else 1
        return None if several else path

    def _pair(self, table: KeyPath | None) -> None:
        """Read `key = value`, and remember it under *table* (None: below something without a name)."""
        start = self._at
        key = self._key()
        path = None if table is None else table + key
        self._at += 1  # the equals sign
        self._take(_SPACE)
        value = self._at
        self._value(path)
        if path is not None:
            self.spots[path] = Spot(start, value, self._at)

    def _value(self, path: KeyPath | None) -> None:
        opening = self.text[self._at]
        if opening == "[":
            self._several("]", None)
        elif opening == "{":
            self._several("}", path)
        else:
            self._take(_SCALAR)

    def _several(self, closing: str, path: KeyPath | None) -> None:
        """Read an array or an inline table up to its end."""
        self._at += 1
        while self.text[self._skip()] != closing:
            if closing == "]":
                self._value(None)
            else:
                self._pair(path)
            if self.text[self._skip()] == ",":
                self._at += 1
        self._at += 1

    def _key(self) -> KeyPath:
        """Read a dotted key, and the space around it."""
        parts = []
        while True:
            self._take(_SPACE)
            parts.append(_unquoted(self._take(_KEY)))
            self._take(_SPACE)
            if self.text[self._at] != ".":
                return tuple(parts)
            self._at += 1

    def _skip(self) -> int:
        """Pass over space, line ends and comments; gives where it stands then."""
        self.has_comments |= "#" in self._take(_BLANK)
        return self._at

    def _comment_after(self) -> None:
        self.has_comments |= "#" in self._take(_REST_OF_LINE)

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self._at)
        if found is None:
            raise ValueError("an outline is drawn of valid TOML only")
        self._at = found.end()
        return found.group()


def put(text: str, path: KeyPath, value: Any) -> str:
    """*text* with *value* (a text, number, boolean, list or table of such) at *path*, and nothing else changed.

    Raises `CannotEdit` if that would cost the comments; a text without comments is written anew instead.
    """
    import tomllib

    wanted = tomllib.loads(text)
    table = wanted
    for name in path[:-1]:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise CannotEdit(f"{name} holds a value where a table should be")
    table[path[-1]] = value
    return _first_that_reads(_with(Outline(text), path, value), wanted, text)


def drop(text: str, path: KeyPath) -> str:
    """*text* without the key at *path*, which must be there, and nothing else changed; raises as `put` does."""
    import tomllib

    wanted = tomllib.loads(text)
    table = wanted
    for name in path[:-1]:
        table = table[name]
    del table[path[-1]]
    return _first_that_reads(_without(Outline(text), path), wanted, text)


def literal(value: Any) -> str:
    """*value* as TOML writes it, on one line."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_written((name,))} = {literal(each)}' for name, each in value.items())} }}"
    import tomli_w

    return tomli_w.dumps({"x": value}).removeprefix("x = ").rstrip("\n")


def _first_that_reads(candidates: Iterator[str], wanted: dict[str, Any], text: str) -> str:
    """The first candidate that means exactly what is wanted; empty tables mean nothing."""
    import tomllib

    wanted = _pruned(wanted)
    for candidate in candidates:
        try:
            if _pruned(tomllib.loads(candidate)) == wanted:
                return candidate
        except tomllib.TOMLDecodeError:
            continue  # this way of writing it clashes with the rest of the file; there is another
    if Outline(text).has_comments:
        raise CannotEdit("the file cannot be changed here without losing its comments")
    import tomli_w

    return tomli_w.dumps(wanted)


def _pruned(table: dict[str, Any]) -> dict[str, Any]:
    """*table* without the empty tables in it."""
    inner = {name: _pruned(each) if isinstance(each, dict) else each for name, each in table.items()}
    return {name: each for name, each in inner.items() if each != {}}


def _with(outline: Outline, path: KeyPath, value: Any) -> Iterator[str]:
    """Ways to write *value* at *path*, the most natural first."""
    text = outline.text
    if spot := outline.spots.get(path):
        yield text[: spot.start] + literal(value) + text[spot.end :]
    elif isinstance(value, dict) and outline.line(path):
        yield _member_by_member(outline, path, value)
    else:
        table, line = path[:-1], f"{_written(path[-1:])} = {literal(value)}"
        if table in outline.ends:
            yield _inserted(text, outline.ends[table], line, gap=not table)
        yield _inserted(text, len(text), f"[{_written(table)}]\n{line}", gap_before=bool(text))
        yield _inserted(text, outline.ends[()], f"{_written(path)} = {literal(value)}")


def _member_by_member(outline: Outline, path: KeyPath, value: dict[str, Any]) -> str:
    """*value* put where the file has `[path]`, or dotted keys below *path*: what stays keeps its line."""
    text, depth = outline.text, len(path)
    there = {name[depth] for name in (*outline.spots, *outline.headers) if name[:depth] == path and len(name) > depth}
    for name, each in value.items():
        text = put(text, (*path, name), each)
    for name in there - set(value):
        text = drop(text, (*path, name))
    return text


def _without(outline: Outline, path: KeyPath) -> Iterator[str]:
    """The text without the lines of *path* and of all below it, if they hold nothing else."""
    lines = [*_lines_of_keys(outline, path), *_lines_of_headers(outline, path)]
    if lines and None not in lines:
        text = outline.text
        for begin, end in sorted((line for line in lines if line), reverse=True):
            text = text[:begin] + text[end:]
        yield text


def _lines_of_keys(outline: Outline, path: KeyPath) -> Iterator[tuple[int, int] | None]:
    """From where to where the lines of each key at or below *path* go; None for one that shares its lines."""
    behind = 0
    below = (spot for name, spot in outline.spots.items() if name[: len(path)] == path)
    for spot in sorted(below, key=lambda each: each.key):
        if spot.key < behind:
            continue  # inside an inline table that goes as a whole
        behind = spot.end
        begin = outline.text.rfind("\n", 0, spot.key) + 1
        rest = _ALONE.match(outline.text, spot.end)
        yield (begin, rest.end()) if rest and not outline.text[begin : spot.key].strip() else None


def _lines_of_headers(outline: Outline, path: KeyPath) -> Iterator[tuple[int, int]]:
    """From where to where the lines of `[path]`, and of each table in it, go."""
    for name, offset in outline.headers.items():
        if name[: len(path)] == path:
            line = _REST_OF_LINE.match(outline.text, offset)
            assert line is not None  # it matches everywhere
            yield outline.text.rfind("\n", 0, offset) + 1, line.end()


def _inserted(text: str, at: int, lines: str, *, gap: bool = False, gap_before: bool = False) -> str:
    """*lines* put in at *at*, with the line ends that *text* has, and an empty line where one reads better."""
    ending = "\r\n" if "\r\n" in text else "\n"
    before, after = text[:at], text[at:]
    if before and not before.endswith("\n"):
        before += ending
    if gap_before:
        before += ending
    middle = lines.replace("\n", ending) + ending
    if gap and not before and after:
        middle += ending
    return before + middle + after


def _written(path: KeyPath) -> str:
    """*path* as TOML writes it, with quotes where a name needs them."""
    return ".".join(name if _BARE.fullmatch(name) else literal(name) for name in path)


def _unquoted(key: str) -> str:
    if key[0] == "'":
        return key[1:-1]
    if key[0] == '"':
        import tomllib

        return next(iter(tomllib.loads(f"{key} = 0")))
    return key
