"""Where in a tool call's arguments a text stands, while they are still coming: inside a URL or host, or not.

An answer may ask a tool to fetch `https://evil.example/?e=` and a placeholder; putting the value back there would
carry it out. Reads JSON sign by sign, keeps a few words of it, and never fails: what is not JSON counts as plain text.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_ADDRESS_KEY = re.compile(
    r"(?:^|[_\-. ])(?:ur[lin]|href|link|src|host|hostname|domain|endpoint|webhook|origin|server|proxy|fqdn|remote"
    r"|callback)s?$"
)
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SIGNS = re.compile(r'["\\{}\[\],:]')
_INSIDE = re.compile(r'["\\]')
_GAP = re.compile(r"[\s\"'<>`|;]|\\[nrt]")
_SCHEME = re.compile(r"(?i)([a-z][a-z0-9+.-]{1,20}):(?:\\?/){2}")
_HARMLESS = frozenset({"file", "app", "vscode"})
_MOST = 2048
"""Of a key or a word, how many of the last characters are kept."""


def origin_of(word: str) -> str | None:
    """Scheme and host of the URL that *word*, the text up to some place, is inside of; None if it is in none.

    While the host may still go on, or a user name may turn out to stand before it, there is none: `https://`.
    """
    schemes = list(_SCHEME.finditer(word))
    if not schemes or schemes[-1][1].lower() in _HARMLESS:
        return None
    found = schemes[-1]
    host, *rest = re.split(r"[/\\?#]", word[found.end() :], maxsplit=1)
    return f"{found[1]}://{host.rpartition('@')[2] if rest else ''}".lower()


def last_word(text: str, end: int | None = None) -> str:
    """The end of *text*, or of its first *end* characters, since its last gap."""
    end = len(text) if end is None else end
    text = text[max(0, end - _MOST) : end]
    at = 0
    for gap in _GAP.finditer(text):
        at = gap.end()
    return text[at:]


def _carries_out(known: Collection[tuple[str, str, str]], key: str, word: str, label: str, value: str) -> bool:
    """Whether *value*, put behind *word* in the member *key*, would come to stand in a URL or host not its own."""
    origin = origin_of(word)
    if origin is None:
        return bool(_ADDRESS_KEY.search(_HUMP.sub("_", key).lower())) and label != "IP"
    if label == "IP" and word.rstrip("/\\").endswith(":"):
        return False  # the host itself
    return origin.endswith("//") or (label, value, origin) not in known


class Words:
    """Follows one text that a tool is given which is no JSON, or a string of it; *key* is its member's name.

    `known` are (label, value, origin) that the request itself put together.
    """

    __slots__ = ("_key", "_known", "_word")

    def __init__(self, known: Collection[tuple[str, str, str]] = (), key: str = "") -> None:
        self._known, self._key = known, key
        self._word = ""

    def advance(self, text: str) -> None:
        """Follow *text*, which comes next."""
        self._word = last_word(self._word + text)

    def withholds(self, label: str, value: str) -> bool:
        """Whether *value* must not be put where the text now is."""
        return _carries_out(self._known, self._key, self._word, label, value)


class Arguments:
    """Follows the JSON of one tool call. `known` are (label, value, origin) that the request itself put together."""

    __slots__ = ("_depth", "_escaped", "_is_key", "_key", "_known", "_string", "_was_key", "_word")

    def __init__(self, known: Collection[tuple[str, str, str]] = ()) -> None:
        self._known = known
        self._depth: list[str] = []
        self._string = False
        self._is_key = self._was_key = False
        self._escaped = False
        self._key = self._word = ""

    def advance(self, text: str) -> None:
        """Follow *text*, the JSON that comes next."""
        at = 0
        while at < len(text):
            at = self._in_string(text, at) if self._string else self._between(text, at)

    def withholds(self, label: str, value: str) -> bool:
        """Whether *value* must not be put where the text now is."""
        if not self._string or self._is_key:
            return False
        return _carries_out(self._known, self._key, self._word, label, value)

    def _in_string(self, text: str, at: int) -> int:
        if self._escaped:
            self._escaped = False
            self._say(text[at])
            return at + 1
        sign = _INSIDE.search(text, at)
        end = sign.start() if sign else len(text)
        self._say(text[at:end])
        if sign is None:
            return end
        if sign[0] == "\\":
            self._say("\\")
            self._escaped = True
        else:
            self._string = False
        return end + 1

    def _between(self, text: str, at: int) -> int:
        sign = _SIGNS.search(text, at)
        if sign is None:
            return len(text)
        what = sign[0]
        if what == '"':
            self._string, self._is_key, self._word = True, self._was_key, ""
            if self._is_key:
                self._key = ""
        elif what in "{[":
            self._depth.append(what)
            self._was_key = what == "{"
        elif what in "}]":
            self._depth[-1:] = []
            self._was_key = False
        elif what == ",":
            self._was_key = self._depth[-1:] == ["{"]
        elif what == ":":
            self._was_key = False
        return sign.end()

    def _say(self, text: str) -> None:
        """Add to the key or the word at hand."""
        if self._is_key:
            self._key = (self._key + text)[-_MOST:]
        else:
            self._word = last_word(self._word + text)
