"""Values in disguise: found in every class, covered whole, given back at the right place, and silence elsewhere."""

# ruff: noqa: RUF001  # letters that look like others are what this is about

import base64
import json
import random
import re
import unicodedata
from collections.abc import Callable, Iterator

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from membrain.pii import views
from membrain.pii.confusables import plain
from membrain.pii.detectors import KINDS
from membrain.pii.kinds import Span
from membrain.pii.scan import DetectionFailed, Scanner
from membrain.pii.views import CLASSES, NOT_COVERED, disguised
from tests.growth import assert_linear, filled

look = Scanner(KINDS).scan
MAIL = "jane.doe@example.com"


def nothing(text: str) -> list[Span]:
    return []


def covered(text: str) -> set[int]:
    """Every character of *text* that some finding covers, in plain sight or in disguise."""
    return {place for span in (*look(text), *disguised(text, look)) for place in range(span.start, span.end)}


def found(text: str) -> list[str]:
    return [text[span.start : span.end] for span in disguised(text, look)]


# --- how values are disguised: each takes a value and gives the value as it would stand in a text ----------------


def _each(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda value: "".join(map(change, value))


def _block(letters: int, capitals: int, digits: int) -> Callable[[str], str]:
    def change(sign: str) -> str:
        for base, first in ((letters, "a"), (capitals, "A"), (digits, "0")):
            place = ord(sign) - ord(first)
            if sign.isalnum() and 0 <= place < (10 if first == "0" else 26) and base:
                return chr(base + place)
        return sign

    return _each(change)


def _alternating(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda value: "".join(change(sign) if at % 2 else sign for at, sign in enumerate(value))


_CYRILLIC = str.maketrans("aceopxyisjABCEHIKMOPTXS", "асеорхуіѕјАВСЕНІКМОРТХЅ")
_GREEK = str.maketrans("aovpABEZHIKMNOPTYX", "αονρΑΒΕΖΗΙΚΜΝΟΡΤΥΧ")
_CHEROKEE = str.maketrans("ABCDEGHJKLMPRSTVWZ", "ᎪᏴᏟᎠᎬᏀᎻᎫᏦᏞᎷᏢᎡᏚᎢᏙᎳᏃ")
_NAMED = {"@": "&commat;", ".": "&period;", "-": "&#45;", "_": "&lowbar;", " ": "&nbsp;"}

PLAIN = {
    "full width": _each(lambda sign: chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign),
    "mathematical bold": _block(0x1D41A, 0x1D400, 0x1D7CE),
    "mathematical sans": _block(0x1D5BA, 0x1D5A0, 0x1D7E2),
    "monospace": _block(0x1D68A, 0x1D670, 0x1D7F6),
    "circled": _block(0x24D0, 0x24B6, 0),
    "negative circled": _block(0, 0x1F150, 0),
    "in brackets": _block(0x249C, 0x1F110, 0),
    "raised digits": _each(lambda sign: "⁰¹²³⁴⁵⁶⁷⁸⁹"[int(sign)] if sign in "0123456789" else sign),
    "marks over letters": _each(lambda sign: sign + "\u0301" if sign.isalnum() else sign),
    "underlined": _each(lambda sign: sign + "\u0332"),
    "zero width": "\u200b".join,
    "joiners": "\u200d\u2060".join,
    "soft hyphens": _alternating(lambda sign: sign + "\u00ad"),
    "selectors": _alternating(lambda sign: sign + "\ufe0f"),
    "noise of tags": _alternating(lambda sign: sign + "\U000e0041\U000e0042"),
    "direction marks": _alternating(lambda sign: "\u202e" + sign + "\u202c"),
    "smuggled in tags": lambda value: "".join(chr(0xE0000 + ord(sign)) for sign in value),
    "smuggled in selectors": lambda value: "".join(chr(0xE0100 + ord(sign) - 16) for sign in value),
    "cyrillic": lambda value: value.translate(_CYRILLIC),
    "greek": lambda value: value.translate(_GREEK),
    "cherokee": lambda value: value.translate(_CHEROKEE),
    "arabic digits": _block(0, 0, 0x660),
    "persian digits": _block(0, 0, 0x6F0),
    "devanagari digits": _block(0, 0, 0x966),
    "thin blanks": lambda value: value.replace(" ", "\u2009"),
    "no-break blanks": lambda value: value.replace(" ", "\u00a0"),
    "hyphens": lambda value: value.replace("-", "\u2011").replace(" ", "\u2010"),
    "dashes": lambda value: value.replace("-", "\u2013"),
    "html decimal": _each(lambda sign: f"&#{ord(sign)};"),
    "html hexadecimal": _each(lambda sign: f"&#x{ord(sign):X};"),
    "html zeros": _each(lambda sign: f"&#{ord(sign):07};"),
    "html unended": _each(lambda sign: f"&#{ord(sign)}" if sign in "@." else sign),
    "html named": _each(lambda sign: _NAMED.get(sign, sign)),
    "html twice": _each(lambda sign: f"&amp;#{ord(sign)};"),
    "percent": _each(lambda sign: f"%{ord(sign):02X}"),
    "percent small": _each(lambda sign: f"%{ord(sign):02x}"),
    "percent in part": _each(lambda sign: sign if sign.isalnum() else f"%{ord(sign):02X}"),
    "percent twice": _each(lambda sign: f"%25{ord(sign):02X}"),
    "percent thrice": _each(lambda sign: f"%2525{ord(sign):02X}"),
    "percent wide": _each(lambda sign: f"%u{ord(sign):04x}"),
    "json": _each(lambda sign: f"\\u{ord(sign):04x}"),
    "json in part": _each(lambda sign: sign if sign.isalnum() else f"\\u{ord(sign):04X}"),
    "json twice": lambda value: json.dumps(PLAIN["json"](value))[1:-1],
    "json thrice": lambda value: json.dumps(json.dumps(PLAIN["json"](value))[1:-1])[1:-1],
    "json mathematical": lambda value: json.dumps(PLAIN["mathematical bold"](value))[1:-1],
    "hex escapes": _each(lambda sign: f"\\x{ord(sign):02x}"),
    "long escapes": _each(lambda sign: f"\\U{ord(sign):08x}"),
    "braced escapes": _each(lambda sign: f"\\u{{{ord(sign):x}}}"),
    "quoted-printable": _each(lambda sign: f"={ord(sign):02X}"),
    "quoted-printable in part": lambda value: value.replace("@", "=40").replace(".", "=2E"),
}
ENCODED = {
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "base64 unpadded": lambda value: base64.urlsafe_b64encode(value.encode()).decode().rstrip("="),
    "base64 one on": lambda value: base64.b64encode(f"> {value} ?".encode()).decode(),
    "base64 two on": lambda value: base64.b64encode(f"ok {value}\n".encode()).decode(),
    "base64 behind accents": lambda value: base64.b64encode(f"Grüße: {value}".encode()).decode(),
    "base64 of UTF-16": lambda value: base64.b64encode(value.encode("utf-16-le")).decode(),
    "base64 wrapped": lambda value: "\n".join(_pieces(base64.b64encode(value.encode()).decode(), 12)),
    "base64 wrapped oddly": lambda value: "\r\n".join(_pieces(base64.b64encode(value.encode()).decode(), 10)),
    "base32": lambda value: base64.b32encode(value.encode()).decode(),
    "hex": lambda value: value.encode().hex(),
    "hex capitals": lambda value: value.encode().hex().upper(),
    "hex with 0x": lambda value: "0x" + value.encode().hex(),
    "hex with colons": lambda value: value.encode().hex(":"),
    "hex with blanks": lambda value: value.encode().hex(" "),
    "hex list": lambda value: ", ".join(f"0x{byte:02x}" for byte in value.encode()),
}
ALL = PLAIN | ENCODED


def _pieces(text: str, width: int) -> Iterator[str]:
    return (text[at : at + width] for at in range(0, len(text), width))


# --- values, made up anew -----------------------------------------------------------------------------------------


def _mail(dice: random.Random) -> str:
    def word(low: int, high: int) -> str:
        return "".join(dice.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(dice.randint(low, high)))

    return f"{word(3, 8)}.{word(3, 8)}@{word(4, 9)}.{dice.choice(['com', 'org', 'de', 'co.uk'])}"


def _card(dice: random.Random) -> str:
    digits = [4] + [dice.randrange(10) for _ in range(14)]
    doubled = sum(sum(divmod(2 * digit, 10)) if at % 2 == 0 else digit for at, digit in enumerate(digits))
    return " ".join(_pieces("".join(map(str, [*digits, -doubled % 10])), 4))


def _iban(dice: random.Random) -> str:
    account = "".join(dice.choice("0123456789") for _ in range(18))
    check = 98 - int(account + "131400") % 97
    return " ".join(_pieces(f"DE{check:02}{account}", 4))


def _key(dice: random.Random) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    return "gh" + "p_" + "".join(dice.choice(alphabet) for _ in range(36))


MAKERS = {"mail": _mail, "card": _card, "iban": _iban, "key": _key}


def value_of(kind: str, seed: int) -> str:
    return MAKERS[kind](random.Random(seed))


# --- the claims ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", CLASSES, ids=lambda row: row.name)
def test_the_example_of_a_class_is_found_whole(row: views.Disguise):
    shown = row.example.removeprefix(MAIL + ", ")
    assert shown in found(f"Please ask {row.example} about it.")


def test_there_are_the_classes_that_are_promised():
    assert len({row.name for row in CLASSES}) == len(CLASSES) >= 16
    assert all(row.covers and row.example for row in CLASSES)
    assert len(NOT_COVERED) >= 3


@pytest.mark.parametrize("disguise", ALL)
@pytest.mark.parametrize("kind", MAKERS)
def test_a_value_in_disguise_is_covered_whole(disguise: str, kind: str):
    for seed in range(6):
        worn = ALL[disguise](value_of(kind, seed))
        text = f"It says: {worn} (see above)"
        left = set(range(9, 9 + len(worn))) - covered(text)
        assert not left, (disguise, kind, seed, ascii(text), sorted(left))


_BYTES = {"hex with blanks", "hex with colons"}
_BYTE_BESIDE = re.compile(r"[0-9A-Fa-f]{2}[ :,;-]*\||\|[0-9A-Fa-f]{2}")
"""Two figures right beside bytes in hex that are written alike are one byte more: nobody can tell."""


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(ALL)),
    st.sampled_from(sorted(MAKERS)),
    st.integers(0, 10**6),
    st.text(max_size=40),
    st.text(max_size=40),
)
def test_nothing_of_a_value_is_left_whatever_stands_around_it(disguise, kind, seed, before, after):
    value = value_of(kind, seed)
    for left, right in ((before, after), ("".join(map(plain, before)), "".join(map(plain, after)))):
        assume(set(range(len(value))) <= {at - len(left) - 1 for at in covered(f"{left} {value} {right}")})
    assume(disguise not in _BYTES or not _BYTE_BESIDE.search(f"{before}|{after}"))
    worn = ALL[disguise](value)
    text = f"{before} {worn} {after}"
    start = len(before) + 1
    assert set(range(start, start + len(worn))) <= covered(text)


_ESCAPED = ["percent", "percent in part", "json", "json in part", "html decimal", "html hexadecimal", "html named"]
_PAIRS = [
    (inner, outer)
    for inner in [*_ESCAPED, *ENCODED]
    for outer in [*_ESCAPED, *ENCODED]
    if inner != "base64 wrapped oddly"
]


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(_PAIRS), st.sampled_from(["mail", "key"]), st.integers(0, 10**6))
def test_one_disguise_over_another_is_taken_off(pair, kind, seed):
    inner, outer = pair
    worn = ALL[outer](ALL[inner](value_of(kind, seed)))
    assert set(range(4, 4 + len(worn))) <= covered(f"see {worn} there")


_SIGN_BY_SIGN = sorted(
    set(PLAIN)
    - {"json twice", "json thrice", "smuggled in tags", "smuggled in selectors", "zero width", "joiners", "hyphens"}
    - {"quoted-printable", "quoted-printable in part", "html unended", "raised digits"}
)


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(sorted(MAKERS)),
    st.integers(0, 10**6),
    st.lists(st.sampled_from(_SIGN_BY_SIGN), min_size=1, max_size=4, unique=True),
)
def test_every_character_may_wear_a_disguise_of_its_own(kind, seed, disguises):
    dice = random.Random(seed)
    worn = "".join(ALL[dice.choice(disguises)](sign) if dice.random() < 0.6 else sign for sign in value_of(kind, seed))
    assert set(range(4, 4 + len(worn))) <= covered(f"see {worn} there")


def test_three_layers_are_taken_off_and_no_more():
    def layers(count: int) -> str:
        text = MAIL
        for _ in range(count):
            text = base64.b64encode(text.encode()).decode()
        return text

    assert found(layers(3)) == [layers(3)]
    assert found(layers(4)) == []


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_no_text_is_too_strange(text):
    for span in disguised(text, look):
        assert 0 <= span.start < span.end <= len(text)


_STRANGE = st.lists(
    st.one_of(
        st.sampled_from(
            ["%41", "%25", "&amp;", "&#65;", "\\u0041", "\\\\", "=3D", "=\n", "\u200b", "ａ", "\u0430", "4\u2011"]
        ),
        st.sampled_from(["YW1hbmRhQHguY29t", "616d616e6461", "\U0001d423", "\u0301", "\n", " ", "a", "\ud800", "1"]),
        st.text(max_size=5),
    ),
    max_size=60,
).map("".join)


@settings(max_examples=150, deadline=None)
@given(_STRANGE, st.integers(1, 9))
def test_every_place_in_a_view_leads_to_a_place_in_the_text(text, width):
    def everything(seen: str) -> list[Span]:
        return [Span(at, min(at + width, len(seen)), "X") for at in range(0, len(seen), width)]

    for span in disguised(text, everything):
        assert 0 <= span.start < span.end <= len(text)


@settings(max_examples=200, deadline=None)
@given(_STRANGE)
def test_a_view_that_is_found_whole_covers_every_disguise(text):
    spans = disguised(text, lambda seen: [Span(0, len(seen), "X")])
    places = {at for span in spans for at in range(span.start, span.end)}
    assert {at for at, sign in enumerate(text) if sign in "ａ\U0001d423"} <= places


def test_text_in_plain_sight_is_not_looked_at_again():
    calls: list[str] = []
    assert disguised(f"mail {MAIL}, def f(x): return x % 3 & 1", lambda seen: calls.append(seen) or []) == []
    assert calls == []


def test_only_the_surroundings_of_a_disguise_are_looked_at():
    calls: list[str] = []
    disguised("word " * 20_000 + "%41 " + "word " * 20_000, lambda seen: calls.append(seen) or [])
    assert [len(seen) < 2000 for seen in calls] == [True]


def test_what_stands_far_from_a_disguise_is_left_to_the_caller():
    assert found("a%20b" + " word" * 40 + f" {MAIL}" + " word" * 40) == []


def test_an_escape_that_hides_the_beginning_of_a_value_is_seen():
    assert found(r'"log":"paid\n4111 1111 1111 1111\nthen"') == ["4111 1111 1111 1111"]


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_secret_in_nested_json_is_found_behind_its_name(times: int):
    text = {"dbPassword": "hunter2Xy9!abc", "x": 1}
    for _ in range(times + 1):
        text = json.dumps(text)
    assert "hunter2Xy9!abc" in found(text)


def test_nested_json_without_a_secret_is_not_looked_at_again():
    text = json.dumps(json.dumps([{"id": number, "path": f"/usr/lib/{number}.so"} for number in range(50)]))
    disguised(text, pytest.fail)


def test_a_long_value_behind_an_escape_is_covered_to_its_end():
    dice = random.Random(2)
    head, body = (
        base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"HS256"}', dice.randbytes(900))
    )
    token = f"{head}.ey{body}.{body[:43]}"
    text = rf"token\u003d{token}, next"
    assert token in "".join(text[at] for at in sorted(covered(text)))


@pytest.mark.parametrize("far", [100, 159, 161, 319, 321, 330, 400, 481, 500, 700, 1500, 4000, 5000])
def test_a_value_is_found_however_far_the_last_disguise_is(far: int):
    for filler in ("x", "ab,", "word "):
        text = "%41" + (filler * far)[:far] + ";jane.doe%2540example.com;" + (filler * far)[:far] + "%42"
        assert found(text) == ["jane.doe%2540example.com"], filler


def test_a_telling_word_in_disguise_tells():
    text = 'api%5Fkey = "q7Rk2ZpX9vLm4TnB8sWd3YhC"'
    assert any("q7Rk2ZpX9vLm4TnB8sWd3YhC" in value for value in found(text))


def test_only_the_characters_of_the_value_are_covered_where_escapes_stand_by_themselves():
    assert found("a%20mail%3A%20jane%40example.com%2C%20soon") == ["jane%40example.com"]


def test_marks_beside_a_value_go_with_it():
    assert found("x \u202e\uff4aane@example.com\u202c\u200b x") == ["\u202e\uff4aane@example.com\u202c\u200b"]


def test_a_finding_over_two_parts_covers_each_and_not_what_is_between():
    text = "a%41" + " word" * 300 + " b%42"
    spans = disguised(text, lambda seen: [Span(0, len(seen), "X")])
    assert len(spans) == 2
    assert sum(span.end - span.start for span in spans) < len(text) / 2


@pytest.mark.parametrize(
    "prose",
    [
        "Съешь же ещё этих мягких французских булок, да выпей чаю. В IT-компании «Рога и копыта» с 2019 по 2024 г.",
        "Вкусната баница струва 5 лв., а аз съм от София и работя в САЩ; срещата е на 12.05.2024 г. в 14:30 ч.",
        "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Η τιμή είναι 12,50 € και ο χρόνος α=5, β=7 στις 3/4/2024.",
        "吾輩は猫である。名前はまだ無い。どこで生れたか（とんと）見当がつかぬ。価格は１，２００円、２０２４年５月。",
        "모든 국민은 인간으로서의 존엄과 가치를 가지며, 2024년 5월 12일에 3,000원을 냈다.",
        "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق في عام ١٩٤٨ وكان السعر ١٢٫٥٠ درهمًا.",
        "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है, सन् १९४८ में।",
        "همهٔ افراد بشر آزاد به دنیا می‌آیند و از لحاظ حیثیت و حقوق با هم برابرند؛ ۱۲ خرداد ۱۴۰۳.",
        "Le prix est de 12\u202f000\u00a0€\u00a0; l’été 1990\u20132000 fut « chaud » — voilà.",
        "Yığın kadınlar ışıkta çalışır; İstanbul'da 3 öğrenci — 50 % indirim, 2024\u20132025.",
        unicodedata.normalize("NFD", "Người Việt viết tiếng Việt có dấu ở khắp nơi."),
        "👨‍👩‍👧‍👦 ❤️ 1️⃣ 🇩🇪🇫🇷 ½ cup, 20 m², H₂O, CO₂, ℃, №5, ™, x² + y² = z², ∑ αᵢ, 𝑓(𝑥) = 𝑎𝑥 + 𝑏",
        "<p>Tom &amp; Jerry &lt;b&gt; &quot;x&quot; &copy; 2024&ndash;2025 caf&eacute; 100%25 of %d and %s, %2d</p>",
        r"print('\u2728 done\n'); re.compile(r'\d+\s*\x1b\[0m'); path = 'C:\\new\\table'; a\/b",
        "sha512-"
        + base64.b64encode(random.Random(3).randbytes(64)).decode()
        + " "
        + random.Random(4).randbytes(32).hex(),
    ],
)
def test_innocent_text_stays_silent(prose: str):
    assert found((prose + "\n") * 3) == []


def test_what_look_raises_comes_through():
    def fails(text: str) -> list[Span]:
        raise DetectionFailed("x")

    with pytest.raises(DetectionFailed):
        disguised("a%41", fails)


def test_more_than_can_be_looked_at_is_refused(monkeypatch):
    monkeypatch.setattr(views, "LIMIT", 1000)
    with pytest.raises(DetectionFailed, match="1000"):
        disguised(base64.b64encode(b"plain words " * 200).decode(), nothing)


FILLS = (
    "%", "%25", "%41", "%u0041", "&amp;", "&", "&#65;", "\\", "\\u0041", "\\\\u0041", "A", "a", "=?", "=3D", "a=\n",
    "a\u0430---", "\u200b", "a\u200b", "\ufe0f", "\U000e0041", "a\u0301", "\uff41", "\U0001d423", "a\u0430", "\u0430@",
    "am9obi5kb2VA", "am9o\n", "6a", "6a ", "0x6a, ", "NJQW4ZJO", "\\n1", "a\\/", "ey", "eyJhbGciOiJIUzI1NiJ9.",
    "=", "\n", "\ud800", "1\u2011", "0", "00 ",
)  # fmt: skip


@pytest.mark.parametrize("fill", FILLS, ids=ascii)
def test_twice_the_text_takes_no_more_than_twice_the_time(fill: str):
    assert_linear(lambda text: disguised(text, nothing), filled(fill), 6_000, floor=1e-4)
