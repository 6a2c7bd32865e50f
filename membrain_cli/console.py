"""The only room that prints: results to stdout, words to stderr, each in the form its reader can use.

A person on a terminal gets aligned columns, local times and colour; a pipe gets tab-separated lines with
RFC 3339 times; `--json` gets the records themselves. What a model, a tool or a file wrote passes `Filter`, so
it can neither drive the terminal nor forge our styles. `main` makes one `Console` for the process; all other
rooms ask for it with `current()`. Knows nothing of the gateway, and imports nothing heavy.
"""

from __future__ import annotations

import contextlib
import json as jsonlib
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import IO, Any, Literal, NamedTuple, NoReturn

Style = Literal["good", "warn", "bad", "dim", "accent", "bold"]
Remedy = tuple[str, str]
"""What it does, and the command to type: ("Start it", "membrain up")."""


class Exit(IntEnum):
    """The exit statuses of `membrain`, as `membrain help exit-codes` lists them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    DOWN = 3
    REFUSED = 4
    BUDGET = 5
    CHAIN = 6
    UPSTREAM = 7
    KEY = 8
    INTERRUPTED = 130

    @classmethod
    def of(cls, status: int, code: str = "") -> Exit:
        """The exit status for an answer of the gateway, by its HTTP status and error code."""
        return BY_CODE.get(code) or BY_STATUS.get(status, cls.FAILED)


BY_CODE = {
    "provider_not_configured": Exit.KEY,
    "no_candidate": Exit.UPSTREAM,
    "all_providers_failed": Exit.UPSTREAM,
    "provider_failed": Exit.UPSTREAM,
    "provider_resting": Exit.UPSTREAM,
    "guard_failed": Exit.REFUSED,
    "audit_unavailable": Exit.REFUSED,
    "budget_unavailable": Exit.REFUSED,
    "rate_limit_unavailable": Exit.REFUSED,
    "redaction_failed": Exit.REFUSED,
}
BY_STATUS = {
    401: Exit.KEY,
    402: Exit.BUDGET,
    403: Exit.REFUSED,
    429: Exit.REFUSED,
    502: Exit.UPSTREAM,
    504: Exit.UPSTREAM,
    508: Exit.REFUSED,
    529: Exit.UPSTREAM,
}


class CommandError(Exception):
    """What went wrong, in three parts: a sentence, perhaps some lines of detail, and what to type.

    Raised by `Console.fail`; `main` prints it and makes `code` the exit status.
    """

    def __init__(self, message: str, remedies: Sequence[Remedy], code: int, detail: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.remedies = tuple(remedies)
        self.code = code
        self.detail = tuple(detail)


# --- foreign text ------------------------------------------------------------------------------------------

ESC = "\x1b"
BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
CONTROLS = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{BIDI}\ud800-\udfff]")
"""What never reaches a terminal: C0 but tab and newline, DEL, C1, bidirectional controls, lone surrogates."""

STRINGS = frozenset("]PX^_\x90\x98\x9d\x9e\x9f")
"""What opens a sequence that carries a text (OSC, DCS, SOS, PM, APC), after ESC or as one C1 byte."""
CSI = "\x9b"


class Filter:
    """Drops control bytes and the escape sequences they begin, however the text is cut into chunks.

    A sequence ends where its grammar says, and at the latest with its line, so an unfinished one cannot
    swallow the rest of an answer. Text without control bytes comes out as it went in.
    """

    def __init__(self) -> None:
        self._step: Callable[[str], str] = self._text

    def __call__(self, chunk: str) -> str:
        """The part of *chunk* that may be shown, given everything that came before."""
        if self._step == self._text and not CONTROLS.search(chunk):
            return chunk
        return "".join([self._step(sign) for sign in chunk])

    def _text(self, sign: str) -> str:
        if sign == ESC:
            self._step = self._escape
        elif sign == CSI:
            self._step = self._csi
        elif sign in STRINGS and sign > "\x7f":
            self._step = self._string
        return "" if CONTROLS.match(sign) else sign

    def _escape(self, sign: str) -> str:
        if sign == "[":
            self._step = self._csi
        elif sign in STRINGS:
            self._step = self._string
        elif not " " <= sign <= "/":  # an intermediate byte goes on, everything else ends it
            return self._end(sign, swallow="0" <= sign <= "~")
        return ""

    def _csi(self, sign: str) -> str:
        if " " <= sign <= "?":
            return ""
        return self._end(sign, swallow="@" <= sign <= "~")

    def _string(self, sign: str) -> str:
        if sign in "\x07\x9c":
            self._step = self._text
        elif sign == "\n":
            return self._end(sign, swallow=False)
        elif sign == ESC:  # ESC \ closes; any other escape opens a new one
            self._step = self._escape
        return ""

    def _end(self, sign: str, *, swallow: bool) -> str:
        self._step = self._text
        return "" if swallow else self._text(sign)


def clean(text: str) -> str:
    """*text* without anything that could drive a terminal, as one whole."""
    return Filter()(text) if CONTROLS.search(text) else text


# --- our own styles ----------------------------------------------------------------------------------------

SGR: dict[str, str] = {"good": "32", "warn": "33", "bad": "31", "dim": "2", "accent": "36", "bold": "1"}
MARK = f"\x00{os.urandom(8).hex()}"
"""Opens our own style marks. Nobody outside this process knows it, so foreign text cannot forge a style."""
MARKS = re.compile(f"{MARK}:([a-z]*)\x00")

GLYPHS: dict[str, tuple[str, str, Style | None]] = {
    "up": ("●", "*", "good"),
    "slow": ("◐", "~", "warn"),
    "off": ("○", "o", "dim"),
    "fine": ("✓", "ok", "good"),
    "look": ("!", "!", "warn"),
    "broken": ("✗", "x", "bad"),
    "fell": ("↷", "->", None),
    "none": ("·", "-", "dim"),
}


def visible(text: str) -> str:
    """*text* without our style marks."""
    return MARKS.sub("", text)


def columns_of(text: str) -> int:
    """How many columns of a terminal *text* takes: wide signs two, combining ones none."""
    shown = visible(text)
    if shown.isascii():
        return len(shown)
    return sum(_sign_columns(sign) for sign in shown)


def _sign_columns(sign: str) -> int:
    if unicodedata.combining(sign) or unicodedata.category(sign) in {"Cf", "Me", "Mn"}:
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def padded(text: str, width: int, *, right: bool = False) -> str:
    """*text* filled up to *width* columns; longer text stays whole."""
    gap = " " * (width - columns_of(text))
    return gap + text if right else text + gap


def meant(word: str, known: Iterable[str], sign: str = "") -> str:
    """Which of *known* the *word* may have meant, as the end of a sentence; empty if none is near it.

    *sign* stands before the name, as a slash before a command.
    """
    from difflib import get_close_matches

    near = get_close_matches(word.lower(), [*known], n=1)
    return f" Did you mean {sign}{near[0]}?" if near else ""


# --- how numbers and times are told ------------------------------------------------------------------------


def span(ms: float | None) -> str:
    """A duration in milliseconds: "3 ms", "412 ms", "1.9 s", "2m 05s"."""
    if ms is None:
        return ""
    if ms < 999.5:
        return f"{ms:.0f} ms"
    seconds = ms / 1000
    return f"{seconds:.1f} s" if seconds < 59.95 else f"{int(seconds) // 60}m {int(seconds) % 60:02}s"


def uptime(seconds: float) -> str:
    """How long something has been up: "12 s", "14m", "2h 14m", "3d 2h"."""
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if days:
        return f"{days}d {hours % 24}h"
    if hours:
        return f"{hours}h {minutes % 60:02}m"
    return f"{minutes}m" if minutes else f"{int(seconds)} s"


def money(micros: int | None, *, exact: bool = False) -> str:
    """Micro-dollars as dollars. *exact* keeps four places, as for one exchange; unknown is "?", never $0."""
    if micros is None:
        return "?"
    if 0 < micros < 100:
        return "under $0.0001"
    places = 4 if micros and (exact or micros < 10_000) else 2
    return "$0" if not micros else f"${micros / 1_000_000:,.{places}f}"


def moment(text: str) -> datetime | None:
    """An RFC 3339 text as an aware time, or None if it is none."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def ago(text: str | None, now: datetime) -> str:
    """How long ago an RFC 3339 time was: "4s ago", "4 min ago", "2 h ago", "3 days ago", then the date."""
    then = moment(text) if text else None
    if then is None:
        return text or ""
    seconds = max(0.0, (now - then).total_seconds())
    if seconds < 60:
        return f"{int(seconds)}s ago"
    if seconds < 3600:
        return f"{int(seconds // 60)} min ago"
    if seconds < 86400:
        return f"{int(seconds // 3600)} h ago"
    days = int(seconds // 86400)
    return f"{days} day{'s' if days > 1 else ''} ago" if days < 15 else f"{then.astimezone():%Y-%m-%d}"


# --- tables ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title, how a person reads a record's cell, and what a program gets.

    `tell` may style its text; `plain` is the record's own value (None becomes an empty cell).
    """

    title: str
    tell: Callable[[Mapping[str, Any]], str]
    plain: Callable[[Mapping[str, Any]], object]
    right: bool = False
    least: int = 0
    """Columns of the terminal it takes at least, so that rows told one by one stand below each other."""
    cut: int = 0
    """Columns of the terminal it may be cut down to where that is too narrow; 0: its cells stay whole."""
    spare: int = 0
    """Which columns go where cutting is not enough: the highest first, those of 0 never."""


def field(title: str, key: str, *, right: bool = False) -> Column:
    """A column that shows the field *key* as it is, to people and programs alike."""

    def value(record: Mapping[str, Any]) -> object:
        return record.get(key)

    return Column(title, lambda record: _plain(value(record)), value, right)


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ",".join(_plain(each) for each in value)
    return str(value)


def folded(text: str, width: int) -> Iterator[str]:
    """The lines of *text*, folded at a blank where they are wider than *width* columns; without a blank, anywhere.

    *text* has none of our marks.
    """
    for line in text.split("\n"):
        rest = line
        while columns_of(rest) > width:
            end = max(1, width)
            while end > 1 and columns_of(rest[:end]) > width:
                end -= 1
            blank = rest.rfind(" ", 1, end + 1)
            yield rest[: blank if blank > 0 else end]
            rest = rest[blank + 1 if blank > 0 else end :]
        yield rest


class Fit(NamedTuple):
    """Which columns of a table are shown, how wide each of them is, and how far they stand apart."""

    kept: list[int]
    widths: list[int]
    apart: int


def fitted(columns: Sequence[Column], lines: Sequence[Sequence[str]], room: int) -> Fit:
    """How the table of *lines* stands in *room* columns of the terminal.

    Where it is too wide, its columns move together, then the widest are cut as far as they may be, then the spare
    ones go. What is still too wide stays so: the terminal folds it, and nothing is lost.
    """
    wide = [max([each.least, *(columns_of(line[at]) for line in lines)]) for at, each in enumerate(columns)]
    kept, apart = list(range(len(columns))), 3

    def over(widths: Sequence[int]) -> int:
        return sum(widths[at] for at in kept) + apart * (len(kept) - 1) - room

    if over(wide) > 0:
        apart = 2
    narrow = [min(wide[at], each.cut or wide[at]) for at, each in enumerate(columns)]
    going = sorted((at for at in kept if columns[at].spare), key=lambda at: columns[at].spare)
    while going and over(narrow) > 0:
        kept.remove(going.pop())
    while over(wide) > 0 and any(wide[at] > narrow[at] for at in kept):
        wide[max((at for at in kept if wide[at] > narrow[at]), key=lambda at: wide[at])] -= 1
    return Fit(kept, [wide[at] for at in kept], apart)


def shortened(text: str, width: int, sign: str) -> str:
    """*text* in *width* columns at the most, with *sign* in place of what is cut off; our marks are kept."""
    room = width - columns_of(sign)
    if columns_of(text) <= width:
        return text
    pieces = MARKS.split(text)  # text, style, text, style, …
    made = [f"{MARK}:{piece}\x00" if at % 2 else "" for at, piece in enumerate(pieces)]
    for at in range(0, len(pieces), 2):
        fits = 0
        while fits < len(pieces[at]) and columns_of(pieces[at][: fits + 1]) <= room:
            fits += 1
        room -= columns_of(pieces[at][:fits])
        made[at] = pieces[at][:fits]
        if fits < len(pieces[at]):
            made[at] += sign
            break
    return "".join(made)


def _tab_cell(value: object) -> str:
    return clean(_plain(value)).replace("\t", " ").replace("\n", " ")


# --- the console -------------------------------------------------------------------------------------------


class Console:
    """Everything this process says and asks. Streams and environment are handed in, as tests need it.

    `json`, `quiet`, `no_input`, `color` and `debug` are the global flags; `main` sets them while it reads the
    command line. `color` is "always", "never" or None, which lets the environment and the stream decide.
    `clock` gives the aware time that "4 min ago" is counted from.
    """

    def __init__(
        self,
        stdin: IO[str],
        stdout: IO[str],
        stderr: IO[str],
        environ: Mapping[str, str],
        *,
        json: bool = False,
        color: str | None = None,
        quiet: bool = False,
        no_input: bool = False,
    ) -> None:
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.environ = environ
        self.json, self.color, self.quiet, self.no_input = json, color, quiet, no_input
        self.debug = False
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        self._stream = Filter()

    # what we are talking to

    @property
    def is_tty_in(self) -> bool:
        """A person can answer."""
        return _is_tty(self.stdin)

    @property
    def is_tty_out(self) -> bool:
        """A person reads the results."""
        return _is_tty(self.stdout)

    @property
    def is_tty_err(self) -> bool:
        """A person reads the words."""
        return _is_tty(self.stderr)

    @property
    def width(self) -> int:
        """Columns of the terminal; 80 where there is none."""
        given = self.environ.get("COLUMNS", "")
        if given.isdecimal() and int(given) > 0:
            return int(given)
        try:
            return os.get_terminal_size(self.stdout.fileno()).columns or 80
        except (OSError, ValueError, AttributeError):
            return 80

    @property
    def unicode(self) -> bool:
        """The terminal speaks UTF-8, so glyphs and curves may be used."""
        return _encoding(self.stdout) == "utf-8"

    def coloured(self, stream: IO[str]) -> bool:
        """Whether *stream* gets colour; each stream is judged alone."""
        if self.color is not None:
            return self.color == "always"
        if self.environ.get("NO_COLOR"):
            return False
        if self.environ.get("FORCE_COLOR", "0") not in {"", "0"}:
            return True
        return self.environ.get("TERM") != "dumb" and _is_tty(stream)

    # saying

    def out(self, text: str = "") -> None:
        """One line of result, to stdout."""
        self._put(self.stdout, text + "\n", Filter())

    def say(self, text: str = "") -> None:
        """One line of words (what happened, a hint), to stderr. `--quiet` silences it."""
        if not self.quiet:
            self.complain(text)

    def complain(self, text: str) -> None:
        """One line to stderr that `--quiet` does not silence: what failed."""
        self._put(self.stderr, text + "\n", Filter())

    def write(self, text: str) -> None:
        """A piece of a stream, to stdout at once. What an earlier piece began is remembered."""
        self._put(self.stdout, text, self._stream)

    def pass_on(self, text: str) -> None:
        """A whole text that is not ours, to stdout: as it is to a pipe, cleaned and on lines of its own to a person."""
        if not self.is_tty_out:
            self._raw(self.stdout, text)
        elif text:
            self.out(visible(text).removesuffix("\n"))

    @contextlib.contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Show *text* while something takes its time; on a terminal only, and gone afterwards."""
        shown = self.is_tty_err and not self.quiet and self.environ.get("TERM") != "dumb"
        if shown:
            self._put(self.stderr, self.style(text, "dim"), Filter())
        try:
            yield
        finally:
            if shown:
                self._raw(self.stderr, "\r\x1b[K")

    def style(self, text: str, name: Style) -> str:
        """*text*, cleaned, in one of our styles.

        What comes back carries a mark that only this console's own methods turn into colour, or leave out
        where the stream has none; so it may be mixed freely with foreign text.
        """
        return f"{MARK}:{name}\x00{clean(visible(text))}{MARK}:\x00"

    def glyph(self, name: str) -> str:
        """One of our signs, in its colour, or its ASCII twin."""
        sign, twin, style = GLYPHS[name]
        shown = sign if self.unicode else twin
        return self.style(shown, style) if style else shown

    def prompt(self, text: str) -> str:
        """*text* ready for `input()`: colour in readline's brackets, so that it can count columns."""
        return self._painted(text, Filter(), self.stdout, "\x01{}\x02")

    # tables and records

    def table(
        self,
        columns: Sequence[Column],
        rows: Iterable[Mapping[str, Any]],
        *,
        header: bool = True,
        indent: int = 2,
        prepare: Callable[[Mapping[str, Any]], dict[str, Any]] = dict,
    ) -> None:
        """*rows* as each reader can use them: `--json` records, lines of tab-separated values, or columns.

        *prepare* makes the JSON of a row, where it is not the row itself.
        """
        if self.json:
            return self.records(prepare(row) for row in rows)
        if not self.is_tty_out:
            for row in rows:
                self._raw(self.stdout, "\t".join(_tab_cell(column.plain(row)) for column in columns) + "\n")
            return None
        body = [[clean_cell(column.tell(row)) for column in columns] for row in rows]
        return self._aligned(columns, body, header, indent)

    def _aligned(self, columns: Sequence[Column], body: list[list[str]], header: bool, indent: int) -> None:
        lines = [[self.style(column.title, "dim") for column in columns], *body] if header else body
        kept, widths, apart = fitted(columns, lines, self.width - indent)
        sign = "…" if self.unicode else "~"
        for line in lines:
            cells = [
                padded(shortened(line[at], width, sign), width, right=columns[at].right)
                for at, width in zip(kept, widths, strict=True)
            ]
            self.out(" " * indent + (" " * apart).join(cells).rstrip())

    def record(self, record: Mapping[str, Any]) -> None:
        """One JSON object on a line of its own, to stdout."""
        text = jsonlib.dumps(record, ensure_ascii=False, default=_jsonable)
        if CONTROLS.search(text):
            text = jsonlib.dumps(record, default=_jsonable)
        self._raw(self.stdout, text + "\n")

    def records(self, records: Iterable[Mapping[str, Any]]) -> None:
        """One JSON object on each line."""
        for each in records:
            self.record(each)

    def ago(self, text: str | None) -> str:
        """How long ago an RFC 3339 time was, by this console's clock."""
        return ago(text, self.clock())

    def remedies(self, remedies: Sequence[Remedy]) -> list[str]:
        """Remedies as aligned lines: what it does, and what to type."""
        longest = max((columns_of(label) for label, _ in remedies), default=0)
        width = 16 if longest <= 12 else max(19, longest + 4)
        return [f"  {padded(label, width)}{self.style(command, 'accent')}" for label, command in remedies]

    # asking and failing

    def ask(self, question: str, default: bool = False, flag: str = "--yes") -> bool:
        """A yes or no from a person. Without a terminal, or with `--no-input`, fails and names *flag*."""
        self._needs_person(flag)
        choices = "[Y/n]" if default else "[y/N]"
        self._put(self.stderr, f"{question} {choices} ", Filter())
        answer = self.stdin.readline()
        if not answer:
            self._raw(self.stderr, "\n")
            return False
        return answer.strip().lower() in {"y", "yes"} or (default and not answer.strip())

    def secret(self, prompt: str, flag: str = "--stdin") -> str:
        """A line typed without echo. Without a terminal, or with `--no-input`, fails and names *flag*."""
        import getpass
        import warnings

        self._needs_person(flag)
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            try:
                return getpass.getpass(clean(visible(prompt)) + " ").strip()
            except getpass.GetPassWarning:
                self.fail("This terminal cannot hide what is typed.", ("From a program", f"… | {flag}"))

    def _needs_person(self, flag: str) -> None:
        if self.no_input or not self.is_tty_in:
            why = "--no-input was given" if self.no_input else "there is no terminal to ask on"
            self.fail(f"This needs an answer, and {why}. Say it with {flag}.", code=Exit.USAGE)

    def fail(self, message: str, *remedies: Remedy, code: int = Exit.FAILED, detail: Sequence[str] = ()) -> NoReturn:
        """End the command: *message* says what happened, *detail* shows it, *remedies* say what to type."""
        raise CommandError(message, remedies, code, detail)

    def show_failure(self, failure: CommandError) -> None:
        """The three parts of a failure, to stderr; never silenced."""
        first, *more = folded(failure.message, self.width - 2) if self.is_tty_err else [failure.message]
        self.complain(f"{self.glyph('broken')} {first}")
        for line in more:
            self.complain(f"  {line}")
        for line in failure.detail:
            self.complain(f"  {self.style(line, 'dim')}")
        for line in self.remedies(failure.remedies):
            self.complain(line)

    # the way out

    def _put(self, stream: IO[str], text: str, keep: Filter) -> None:
        self._raw(stream, self._painted(text, keep, stream, "{}"))

    def _painted(self, text: str, keep: Filter, stream: IO[str], bracket: str) -> str:
        """*text* cleaned piece by piece, our marks turned into colour if *stream* has any."""
        colour, made, end = self.coloured(stream), [], 0
        for mark in MARKS.finditer(text):
            made.append(keep(text[end : mark.start()]))
            if colour:
                made.append(bracket.format(f"\x1b[{SGR.get(mark[1], '0')}m"))
            end = mark.end()
        return "".join([*made, keep(text[end:])])

    def _raw(self, stream: IO[str], text: str) -> None:
        encoding = _encoding(stream)
        if encoding != "utf-8":
            text = text.encode(encoding, "replace").decode(encoding)
        stream.write(text)
        stream.flush()


def clean_cell(text: str) -> str:
    """A table's cell on one line, our marks kept and everything foreign cleaned."""
    pieces = MARKS.split(text)  # text, style, text, style, …
    pieces[::2] = [clean(piece).replace("\n", " ").replace("\t", " ") for piece in pieces[::2]]
    pieces[1::2] = [f"{MARK}:{name}\x00" for name in pieces[1::2]]
    return "".join(pieces)


def _is_tty(stream: IO[str]) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def _encoding(stream: IO[str]) -> str:
    import codecs

    name = getattr(stream, "encoding", None) or "utf-8"
    return codecs.lookup(name).name


def _jsonable(value: object) -> object:
    to_dict = getattr(value, "to_dict", None)
    return to_dict() if callable(to_dict) else str(value)


def plain(environ: Mapping[str, str]) -> Console:
    """A console over the process's own streams."""
    return Console(sys.stdin, sys.stdout, sys.stderr, environ)


_current: list[Console] = []


def use(console: Console) -> None:
    """Make *console* the one that `current` gives; called by `main` before anything speaks."""
    _current[:] = [console]


def current() -> Console:
    """The console of this process."""
    return _current[0]
