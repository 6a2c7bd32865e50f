"""Escapes and styled characters, and what they say: what a disguise looks like with the mask off.

References of HTML, percent encoding, backslash escapes and quoted-printable, each also escaped once more; and, through
`confusables`, every character that is not plain. It says what stands for what and where; it looks for nothing itself.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterator, Sequence
from functools import cache, lru_cache

from membrain.pii.confusables import LOOKALIKES, ORDINARY, plain

Edit = tuple[int, int, str]
"""What stands for what: start and end in the text (characters, end excluded), and what it says."""


def _bytes_behind(sign: str) -> str:
    """Bytes in hex, each behind *sign*, that are one character of UTF-8; or one byte beyond ASCII by itself."""
    first, later = "[0-9A-Fa-f]", f"{sign}[89ABab][0-9A-Fa-f]"
    return "|".join(
        (
            f"{sign}[CDcd]{first}{later}",
            f"{sign}[Ee]{first}(?:{later}){{2}}",
            f"{sign}[Ff][0-4](?:{later}){{3}}",
            f"{sign}(?:[2-7]{first}|0[9AaDd])",
            f"{sign}[89A-Fa-f]{first}",
        )
    )


_PERCENT = "%(?:25){0,8}"
_BACKSLASH = (
    r"(?<!\\)\\{1,64}(?:u[dD][89abAB][0-9a-fA-F]{2}\\{1,64}u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}"
    r"|u\{[0-9a-fA-F]{1,6}\}|U000[0-9a-fA-F]{5}|x[0-9a-fA-F]{2}|[\"'/ntr_@-])"
)
_ESCAPES = "|".join(
    (
        _bytes_behind(_PERCENT),
        _PERCENT + "u[0-9a-fA-F]{4}",
        r"&(?:amp;){0,8}(?:\#(?:[0-9]{2,10};?|[0-9];|[xX](?:[0-9a-fA-F]{2,8};?|[0-9a-fA-F];))|[A-Za-z][A-Za-z0-9]{1,31};)",
        _BACKSLASH,
    )
)
_BETWEEN = "[0-9A-Za-z@._-]{0,8}"


def _with(characters: str) -> re.Pattern[str]:
    """An escape, or *characters* (a class) together with the few plain signs that stand between them."""
    return re.compile(f"{_ESCAPES}|{characters}+(?:{_BETWEEN}{characters}+)*")


def _class(ranges: str) -> str:
    pairs = (each.split("-") for each in ranges.split())
    return "".join(f"{chr(int(first, 16))}-{chr(int(last, 16))}" for first, last in pairs)


_STRANGE = f"[^\x00-\x7f{_class(ORDINARY)}]"


@cache
def _disguises(*, letters: bool) -> re.Pattern[str]:
    """What is not plain; with *letters* of an alphabet that may be in disguise, too. Made at the first of them."""
    return _with(f"(?:{_STRANGE}|[{''.join(LOOKALIKES)}])" if letters else _STRANGE)


_MAIL = re.compile(_bytes_behind("=") + r"|=[ \t]*\r?\n")
_HEX = re.compile("[0-9a-fA-F]{2,}")
_BYTE = re.compile("[%=](?:25)*([0-9A-Fa-f]{2})")
_WIDE = re.compile(_PERCENT + "u([0-9A-Fa-f]{4})")
_HIDDEN = "\ufe00"
"""From here on come the selectors and tags."""
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r"}

_IDLE = re.compile(
    r"(?:&(?:amp;(?!\#|[A-Za-z]\w*;)|quot;(?!\s?[:=])|(?:lt|gt|apos|copy|reg|trade|hellip|[lr][sd]quo|[lr]a?rr|times);)"
    r"|(?<!\d)&(?:nbsp|[mn]dash|middot|bull);(?!\d))+"
)


def is_idle(text: str, start: int, end: int) -> bool:
    """Whether the references of HTML in [start, end) are of the kind that disguises nothing where it stands."""
    found = _IDLE.match(text, start)
    return found is not None and found.end() >= end


def resolved(text: str, start: int, end: int, letters: Collection[int]) -> Iterator[Edit]:
    """What in [start, end) is an escape, or not plain, or one of *letters*, and what it stands for; in order."""
    for found in _disguises(letters=bool(letters)).finditer(text, start, end):
        token, first = found[0], found.start()
        if token[0] < "\x80":
            yield first, found.end(), _meaning(token)
        elif letters:
            shown = [LOOKALIKES[sign] if at in letters else plain(sign) for at, sign in enumerate(token, first)]
            yield from _edits(token, shown, first)
        else:
            yield from _edits(token, list(map(plain, token)), first)


def _edits(token: str, shown: Sequence[str], first: int) -> Iterator[Edit]:
    """The characters of *token*, which begins at *first*, as *shown*: in one edit if each is one, else one by one."""
    words = "".join(shown)
    if words == token:
        return
    if len(words) == len(token) and "" not in shown:
        yield first, first + len(token), words
        return
    for at, (sign, word) in enumerate(zip(token, shown, strict=True), first):
        if word != sign:
            yield at, at + 1, word


def from_mail(text: str, start: int, end: int, letters: Collection[int]) -> Iterator[Edit]:
    """What in [start, end) is quoted-printable, and what it stands for. *letters* are no business of mail."""
    del letters
    for found in _MAIL.finditer(text, start, end):
        yield found.start(), found.end(), "" if found[0][-1] == "\n" else _meaning(found[0])


@lru_cache(maxsize=4096)
def _meaning(token: str) -> str:
    """What an escape says, in plain characters; what is hidden stays, for it may be a text of its own."""
    if token[0] == "&":
        says = _from_reference(token)
    else:
        says = _from_bytes(token) if token[0] in "%=" else _from_backslash(token.lstrip("\\"))
    return "".join(plain(sign) or (sign if sign >= _HIDDEN else "") for sign in says)


def _from_reference(token: str) -> str:
    for _ in range(token.count("amp;") + 1):
        token = html.unescape(token)
    return token


def _from_bytes(token: str) -> str:
    """Percent encoding and quoted-printable: UTF-8, or a single byte of Latin-1, or four digits of UTF-16."""
    if wide := _WIDE.fullmatch(token):
        return chr(int(wide[1], 16))
    data = bytes.fromhex("".join(_BYTE.findall(token)))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _from_backslash(token: str) -> str:
    """*token* is without its backslashes. Two halves of a surrogate pair are one character."""
    if token[0] not in "uUx":
        return _SIMPLE.get(token, token)
    codes = [int(code, 16) for code in _HEX.findall(token.replace("{", "{0"))]
    if len(codes) == 2:
        return chr(0x10000 + (codes[0] - 0xD800 << 10) + codes[1] - 0xDC00)
    return chr(codes[0]) if codes[0] < 0x110000 else token
