"""Judges candidates by what they are and what stands around them: boundaries, keys of assignments, stand-ins.

Each public function is a `Check`, or makes one. They look at a bounded stretch around the candidate, so that their
cost never depends on the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import re2  # type: ignore[import-untyped]  # the package ships no types

from membrain.pii import checks
from membrain.pii.kinds import Check

_OPTIONS = re2.Options()
_OPTIONS.encoding = re2.Options.Encoding.LATIN1
_OPTIONS.never_capture = True
_WORD = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_FILLER = re2.compile(
    rb"(?i)x{4,}|\*{3,}|\.{3,}|-{4,}|_{4,}|#{4,}|0{12,}|(?:abcdef|123456|abc123).{0,40}(?:abcdef|123456)|"
    rb"1234-1234|<[^<>]{1,60}>|\$\{|\$\(|\{\{|\}\}|%\(|^\$[a-z_]|^%[a-z_]+%$|^\[[^\]]*\]?$|"
    rb"^(?:your|my|some|any|the|test|fake|dummy|sample|example|insert|enter|replace|change)[-_ ]?"
    rb"(?:[a-z]+[-_ ]?)*(?:key|token|secret|password|here|me|it|this|value)s?$|redacted|placeholder|changeme",
    _OPTIONS,
)
_WORDY = re2.compile(
    rb"(?:[A-Z]?[a-z]{3,}|[A-Z]{3,}|[A-Za-z]\d?|\d{1,4}|v\d+)"
    rb"(?:[-_./:@ ](?:[A-Z]?[a-z]{2,}|[A-Z]{2,}|\d{1,4})|[A-Z][a-z]{2,}|\d{1,2})*",
    _OPTIONS,
)
"""What people write: words and short numbers, joined. In RE2, because it nests repeats."""
_UUID = re.compile(rb"(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_KEY_SIGNS = bytes(sign if sign in _WORD or sign in b".-" else 0x20 for sign in range(256))
"""Every sign a key is not made of becomes a blank."""
_FIGURES = b"0123456789"
_SIGNS = bytes(set(range(256)) - set(_FIGURES))
"""Everything but figures."""
_LETTERS = bytes(_WORD - set(_FIGURES))
_CODE = re.compile(rb"[(\[{<>\\|]|::|->|\+\+|&&|==")
_NO_KEY = re2.compile(
    rb"(?i)public|csrf|xsrf|authenticity|^accessor|foreign|primary|partition|sort[_-]?key|row[_-]?key|cache|integrity|checksum|digest|"
    rb"token(?:s|iz|ise|_?type|_?url|_?uri|_?file|_?path|_?count|_?limit|_?name|_?length|_?endpoint)|next_?page|pagina|cursor|"
    rb"keyboard|keyword|key(?:s|words?|_?name|_?path|_?file|_?size|_?length|_?type|_?vault|code|frame|hash|ing|store|ring|press)|"
    rb"(?:secret|credential|token|key|password|passwd|auth)s?[_-]?(?:ids?|name|size|url|uri|path|file|field|type|policy|hash|length)$|"
    rb"monkey|donkey|turkey|hockey|jockey|whiskey|authors?(?:$|[_.-])|event|hotkey|bucket|schema|commit|build|version|sha\d*$",
    _OPTIONS,
)
_PASSWORD = re.compile(rb"(?i)pass|pwd|pin$|contrase|passwort|kennwort|senha|mot de passe")


def _alone(data: bytes, start: int, end: int, joints: bytes = b"") -> bool:
    """Whether no word sign, nor one of `joints` with a word sign behind it, touches the candidate."""
    if (start and data[start - 1] in _WORD) or (end < len(data) and data[end] in _WORD):
        return False
    if start > 1 and data[start - 1] in joints and data[start - 2] in _WORD:
        return False
    return not (end + 1 < len(data) and data[end] in joints and data[end + 1] in _WORD)


def _has_figure(value: bytes) -> bool:
    return len(value.translate(None, _FIGURES)) < len(value)


def anything(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Take the candidate as it is: its pattern and its context say enough."""
    del data
    return start, end


def alone(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Take a candidate that is no part of a longer word, dotted or dashed."""
    return (start, end) if _alone(data, start, end, b".-") else None


def when(rule: Callable[[str], bool], joints: bytes = b".-/") -> Check:
    """A check that takes what stands alone and satisfies `rule`."""

    def check(data: bytes, start: int, end: int) -> tuple[int, int] | None:
        if not _alone(data, start, end, joints):
            return None
        return (start, end) if rule(data[start:end].decode("latin-1")) else None

    return check


def national(module: str) -> Check:
    """A check that asks python-stdnum's module for the check digits."""
    return when(lambda value: checks.national(module, value))


def varied(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """A token behind a vendor's own prefix: anything but a row of stand-ins such as `xxxx`."""
    if start and (data[start - 1] in _WORD or data[start - 1] == 0x2B):
        return None
    value = data[start:end]
    tail = value[len(value) // 3 :]
    if len(set(tail)) < min(6, len(tail)) or _NO_DICE.search(value) or data[end : end + 1] == b"~":
        return None
    rest = _REST.match(data, end)
    return start, rest.end() if rest and data[end - 1] in _WORD else end


_NO_DICE = re.compile(rb"(?i)x{5}|\*{3}|\.{3}|([a-z])\1{5}|(?:example){2}|abcdefghijklmn|1234567890123|\d{8}-$")
"""Runs that no random generator gives."""


def attribute(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """The value of an element whose name speaks of a secret; a page's own form tokens are none."""
    return None if _NO_KEY.search(data[max(0, start - 60) : start - 8]) else (start, end)


def diced(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """The same for marks so short that words have them too: figures and both sizes of letters are asked for."""
    value = data[start:end]
    mixed = _has_figure(value) and value != value.lower() and value != value.upper()
    return varied(data, start, end) if mixed else None


def web_token(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """A JSON web token, from its first signs to its end."""
    del end
    found = _WEB_TOKEN.match(data, start)
    return varied(data, start, found.end()) if found and (not start or data[start - 1] not in b"-.") else None


_WEB_TOKEN = re.compile(rb"ey[A-Za-z0-9_-]{10,4096}\.ey[A-Za-z0-9_\\/-]{6,8192}(?:\.[A-Za-z0-9_\\/=-]{0,4096})?")
_REST = re.compile(rb"[A-Za-z0-9_+/%=-]{0,8192}(?:\.[A-Za-z0-9_-]{8,4096}){0,3}")
"""What still belongs to a token that is longer than its pattern's bound."""


def email(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """An address: not the tail of a URL's credentials, not a package with its version, not a file's name."""
    before = data[max(0, start - 80) : start]
    if re.search(rb"://[^\s/@?]{0,76}$", before):
        return None
    value = data[start:end]
    last = value.rsplit(b".", 1)[-1].lower()
    if last in {b"png", b"jpg", b"svg", b"gif", b"js", b"py", b"ts", b"css", b"json", b"html", b"md", b"webp"}:
        return None
    while value[:1] in (b".", b"-", b"'", b"%"):
        start, value = start + 1, value[1:]
    return start, end


def address(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """An IP address of a host, private ranges too; not four numbers of a version or an object id."""
    if data[start:end].count(b":") > 7:
        return end - 5, end - 5
    joints = b".-" if b"." in data[start:end] and b":" not in data[start:end] else b".:"
    if not _alone(data, start, end, joints):
        return None
    before = data[max(0, start - 14) : start].lower()
    if re.search(rb"(?:version|ver|release|firmware|fw|build|section|oid|v)[\s\"':=]{0,3}$", before):
        return None
    value = data[start:end].decode("latin-1")
    if ":" in value and sum(map(len, value.split(":"))) < 6:
        return None
    return (start, end) if checks.address(value) else None


def iban(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """An IBAN, cut at its country's length where a word follows."""
    size = checks.iban_length(data[start : start + 2].decode("latin-1"))
    if size is None or (start and data[start - 1] in _WORD):
        return None
    bare = data[start:end].translate(None, b" -")[:size].decode("latin-1")
    if len(bare) < size or not checks.iban_body(bare) or not checks.mod97(bare):
        return None
    seen, place = 0, start
    while seen < size:
        seen, place = seen + (data[place] not in b" -"), place + 1
    return None if place < len(data) and data[place] in _WORD else (start, place)


def card(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """A card number: issuer, length and Luhn; grouped by fours with dashes the grouping stands for Luhn.

    A last group that does not belong to it - a month, a code, a count - is left out.
    """
    for stop in (end, _last_gap(data, start, end)):
        if stop > start and _alone(data, start, stop, b".-/") and _is_card(data[start:stop]):
            return start, stop
    return None


def _last_gap(data: bytes, start: int, end: int) -> int:
    """Where the last group of a number begins, its sign with it; -1 where there is only one."""
    return max(data.rfind(b" ", start, end), data.rfind(b"-", start, end))


def _is_card(value: bytes) -> bool:
    return checks.card(value.translate(None, b" -").decode("ascii")) or _BY_FOURS.fullmatch(value) is not None


_BY_FOURS = re.compile(rb"[3-6][0-9]{3}(?:-[0-9]{4}){3}")


def card_said(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """The number behind a word for a card: a card if it is one, else whatever number stands there."""
    return card(data, start, end) or before_date(data, start, end)


def count(low: int, high: int) -> Check:
    """A check that takes between `low` and `high` digits and no word sign beside them."""

    def check(data: bytes, start: int, end: int) -> tuple[int, int] | None:
        if not _alone(data, start, end):
            return None
        return (start, end) if low <= len(data[start:end].translate(None, _SIGNS)) <= high else None

    return check


def identity(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """A number of a document named before it: has digits, and is not a date or a plain small number."""
    if not _alone(data, start, end):
        return None
    value = data[start:end].decode("latin-1")
    many = len(checks.digits(value))
    return (start, end) if many >= 4 and not re.fullmatch(r"(?:19|20)\d\d[-/.]\d\d?[-/.]\d\d?", value) else None


def passport(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """A passport's number: figures among capitals, or capitals no word is made of."""
    value = data[start:end]
    if not _alone(data, start, end) or value != value.upper():
        return None
    return (start, end) if _has_figure(value) or not set(value) & set(b"AEIOU") else None


def phone_abroad(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """A number with its country's code: of a length that the country has, numbers behind it left out."""
    if start and (data[start - 1] in b"+." or data[start - 1] in _WORD):
        return None
    stop = end
    for _ in range(_CUTS):
        if stop - start < _SHORTEST:
            return None
        if _alone(data, start, stop, b".") and _is_abroad(data[start:stop]):
            return start, stop
        stop = start + len(data[start : max(start, data.rfind(b" ", start, stop))].rstrip(b" ().-/"))
    return None


_CUTS, _SHORTEST = 4, 8
"""How many ends of a number are tried, and how many signs it has at least."""


def _is_abroad(value: bytes) -> bool:
    bare = _EXTENSION.split(value, 1)[0].replace(b"(0)", b"")
    return checks.abroad(bare.translate(None, _SIGNS).decode("ascii").removeprefix("00"))


_EXTENSION = re.compile(rb"(?i)\s?(?:x|ext)")


def phone_american(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Ten digits written the North American way; area and exchange begin with 2 to 9."""
    if not _alone(data, start, end, b".-/"):
        return None
    value = _EXTENSION.split(data[start:end], 1)[0].translate(None, _SIGNS)[-10:]
    return (start, end) if value[0] in b"23456789" and value[3] in b"23456789" else None


def phone_at_home(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """A grouped number without its country's code: some country's numbering plan has it."""
    if (start and data[start - 1] in b"+$#%") or len(data[start:end].translate(None, _SIGNS)) < 9:
        return None
    for stop in _ends(data, start, end):
        number = data[start:stop].translate(None, _SIGNS)
        if 9 <= len(number) <= 12 and _alone(data, start, stop, b".-/:"):
            hexed = _HEX_BEFORE.search(data, max(0, start - 7), start)
            return (start, stop) if not hexed and checks.at_home(number.decode("ascii")) else None
    return None


_HEX_BEFORE = re.compile(rb"(?<![A-Za-z0-9])(?:[0-9a-f]{2} [0-9a-f]{2}|[0-9][a-f]|[a-f][0-9a-f]) \Z")
"""Bytes of a dump, and what follows is one of them; a figure of two digits alone is none."""


def _ends(data: bytes, start: int, end: int) -> tuple[int, ...]:
    """Where a number may end: where its pattern does, and else in front of a day or an hour that it ran into."""
    when = _WHEN.search(data, start, end + 6)
    return (end, when.start()) if when and when.start() < end else (end,)


_WHEN = re.compile(
    rb" (?:(?:19|20)[0-9]{2}[-/.][01]?[0-9]|[0-3]?[0-9][-/.][01]?[0-9][-/.](?:19|20)|[0-2]?[0-9]:[0-9]{2})"
)


def before_date(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Take a candidate that is no part of a longer word, without the day or the hour it ran into."""
    return next(((start, stop) for stop in _ends(data, start, end) if _alone(data, start, stop, b".-")), None)


def dialled(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Nine to fifteen digits, as they are dialled; a day is none."""
    if _DAY.match(data, start, end):
        return None
    for stop in _ends(data, start, end):
        if 9 <= len(data[start:stop].translate(None, _SIGNS)) <= 15 and _alone(data, start, stop, b".-/:"):
            return start, stop
    return None


_DAY = re.compile(rb"(?:19|20)[0-9]{2}[-/. ][01]?[0-9][-/. ]|[0-3]?[0-9][-/. ][01]?[0-9][-/. ](?:19|20)[0-9]{2}")


def social(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """A US social security number by its grouping; numbers never given out count too."""
    return (start, end) if _alone(data, start, end, b"-./:+") else None


def credentials(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """`user:password` of a URL; not a template's stand-in, not the word "password"."""
    password = data[start:end].partition(b":")[2]
    if _FILLER.search(password) or password.lower() in {b"pass", b"password", b"pwd", b"passwd", b"secret", b"token"}:
        return None
    return None if password.startswith((b"$", b"{", b"<", b"%")) or b"/" in data[start:end] else (start, end)


def _key(data: bytes, start: int) -> bytes:
    """The name on the left of the assignment whose value begins at `start`."""
    before = data[max(0, start - 90) : start].rstrip(b" \t\n\r\"'`(=:>,?|<[]")
    return before[-48:].translate(_KEY_SIGNS).rpartition(b" ")[2]


def _looks_made(value: bytes) -> bool:
    """Whether a machine's dice made this: no words, letters with figures, much variety. The cheap questions first."""
    figures = len(value) - len(value.translate(None, _FIGURES))
    if not figures and not (len(value) >= 20 and value != value.lower() and value != value.upper()):
        return False
    letters = len(value) - len(value.translate(None, _LETTERS))
    if not letters:
        return figures >= 15 and len(set(value)) > 5
    if len(value) < 10 or _WORDY.fullmatch(value) or _HOST.fullmatch(value):
        return False
    if sum(len(word) for word in _WORDS.findall(value)) * 2 > len(value):
        return False
    return checks.entropy(value.decode("latin-1")) >= (3.0 if len(value) >= 16 else 2.6)


_HOST = re.compile(rb"[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,6}\.[a-z]{2,5}(?::\d{1,5})?")
_WORDS = re.compile(rb"(?<![A-Za-z0-9])(?:[a-z]{3,16}|[A-Z]{3,16}|(?:[A-Z][a-z]{2,16}){1,5}\d{0,6})(?![A-Za-z0-9])")


def _stands_in(value: bytes) -> bool:
    """Whether this holds the place of a secret that is not there."""
    if len(set(value)) <= 3 or _FILLER.search(value):
        return True
    return value.lower() in _STAND_INS


_STAND_INS = frozenset(
    b"password passwd secret token none null true false undefined string str bytes int required optional username "
    b"user admin root value default empty unset missing invalid wrong incorrect forgotten expired text hidden input "
    b"number object boolean self auto basic bearer digest function return await async const import".split()
)


def _password(value: bytes, *, quoted: bool) -> bool:
    """Whether this may be a password somebody chose."""
    if len(value) < 5 or (b" " in value and not quoted):
        return False
    plain = value.isalpha()
    if plain:
        return quoted and len(value) >= 8 and value != value.lower() and value[1:] != value[1:].lower()
    figures = _has_figure(value)
    if _CODE.search(value) and not (quoted and figures):
        return False
    identifier = re.fullmatch(rb"[A-Za-z_][A-Za-z_.]*", value)
    if identifier or value.startswith((b"/", b"./", b"http:", b"https:")):
        return False
    return figures or quoted or value.count(b"-") > 1


def assigned(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """The value of an assignment whose key speaks of a secret; the candidate is the value's first signs."""
    opening = data[start - 1 : start]
    quoted = opening in {b'"', b"'", b"`"}
    spaced = opening in {b" ", b"\t"}
    stop = (_QUOTED[opening] if quoted else _SPACED if spaced else _BARE).match(data, start)
    if stop is None:
        return None
    end = stop.end()
    if not quoted:
        while end > start and data[end - 1] in b".,;:)":
            end -= 1
    value = data[start:end]
    if len(value) < 5 or data[end : end + 3] == b"..." or (not quoted and value.isalpha()):
        return None
    if len(value) > _LONG and b"=" in value[:_LONG]:
        return None if quoted or spaced else _past_chain(value, start)
    key = _key(data, start)
    if _UUID.fullmatch(value):
        return (start, end) if _UUID_KEY.search(key) else None
    if not _private(value, key, quoted=quoted) or _stands_in(value) or _NO_KEY.search(key):
        return None
    return start, end


def _private(value: bytes, key: bytes, *, quoted: bool) -> bool:
    if value.startswith((b"http://", b"https://", b"/", b"./", b"data:", b"sha256-", b"sha512-", b"sha1-", b"sha384-")):
        return False
    if _PASSWORD.search(key):
        return _password(value, quoted=quoted)
    if b" " in value or (_CODE.search(value) and not quoted):
        return False
    return _looks_made(value)


def _past_chain(value: bytes, start: int) -> tuple[int, int] | None:
    """Where a chain of bare assignments nears its end: every link before that has a longer chain behind it."""
    links = value.split(b"=")
    if max(map(len, links)) * 2 > _LONG:
        return None
    place = start + len(value) - _LONG
    return place, place


_QUOTED = {sign: re.compile(rb"(?:\\.|[^\n\\" + sign + rb"]){1,512}") for sign in (b'"', b"'", b"`")}
_SPACED = re.compile(rb"[^\s\"'`,<>]{1,512}")
_UUID_KEY = re.compile(rb"(?i)[a-z][_.-]?(?:key|token|secret|pass(?:word)?)$|(?:^|_)(?:secret|token|password|apikey)$")
_LONG = 160
"""Beyond this a value with an assignment inside is a chain of them: each is judged by itself."""
_BARE = re.compile(rb"[^\s\"'`,;<>&]{1,512}")


def handed(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """A value given to a header or an option (`Authorization: Bearer …`, `-u user:…`): no stand-in, and no word."""
    value = data[start:end]
    secret = value.partition(b":")[2] if b":" in value else value
    if len(secret) < 4 or _stands_in(secret) or _FILLER.search(value) or secret.startswith((b"$", b"{", b"<", b"%")):
        return None
    figures = _has_figure(secret)
    mixed = len(secret) >= 12 and secret[1:] not in {secret[1:].lower(), secret[1:].upper()}
    if not figures and not mixed and not secret.endswith(b"="):
        return None
    rest = _REST.match(data, end)
    return start, rest.end() if rest and data[end - 1] in _WORD else end


def quoted_name(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """A name between quotation marks; not the word for one, not a type's."""
    if data[start - 1 : start] not in {b'"', b"'"} or data[end : end + 1] != data[start - 1 : start]:
        return None
    return None if _NO_NAME.search(data[start:end]) else (start, end)


_NO_NAME = re.compile(rb"(?i)name|string|text|field|unknown|required|invalid|optional|^(?:none|null|test|user|value)$")


def key_block(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """A private key from its first line to its last, or as far as it goes; something has to be in it."""
    last = _BLOCK_END.search(data, end, min(len(data), end + 12_288))
    stop = last.end() if last else _BLOCK_BODY.match(data, end).end()  # type: ignore[union-attr]  # matches nothing too
    body = data[end : last.start() if last else stop]
    return (start, stop) if len(set(body)) > 12 and len(body) > 40 else None


_BLOCK_END = re.compile(rb"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_BLOCK_BODY = re.compile(rb"[A-Za-z0-9+/=\\\s:,.-]{0,12288}")
