"""The map of a body's strings is complete, and a change of one character changes that character's bytes only."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from membrain.dialects.strings import byte_edits, byte_spans, escaped, spliced, strings_of

CHARACTERS = st.sampled_from(list('ab"\\/\n\t\b\x00\x7f{}[]:,é€😀\u2028 7\ud83d')) | st.characters(
    exclude_categories=["Cs"]
)
"""With the first half of a surrogate pair, but no second half: side by side, parsers make one character of them."""
TEXTS = st.text(CHARACTERS, max_size=10)
SCALARS = st.sampled_from(["1", "-2.5e+10", "true", "null", "0"])
BLANKS = st.sampled_from(["", "", " ", "\n  ", "\t", "\r\n"])


class Told(NamedTuple):
    """A string as the writer of the body knows it."""

    text: str
    path: tuple[int | str, ...]
    is_key: bool


@st.composite
def spelled(draw: st.DrawFn, text: str) -> str:
    """*text* as a JSON string, each character in one of the ways it may be written."""
    out = []
    for sign in text:
        units = sign.encode("utf-16-be", "surrogatepass")
        full = "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
        must = sign in '"\\' or sign < " " or "\ud800" <= sign <= "\udfff"
        ways = [full, full.upper().replace("\\U", "\\u"), json.dumps(sign)[1:-1], *([] if must else [sign])]
        out.append(draw(st.sampled_from([*ways, "\\/"] if sign == "/" else ways)))
    return '"' + "".join(out) + '"'


class Writer:
    """Writes a body by hand and notes every string on the way."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.told: list[Told] = []

    def string(self, path: tuple[int | str, ...], is_key: bool = False) -> str:
        text = self.draw(TEXTS)
        self.told.append(Told(text, (*path, text) if is_key else path, is_key))
        return self.draw(spelled(text))

    def value(self, path: tuple[int | str, ...], depth: int) -> str:
        kind = self.draw(st.sampled_from(["string", "scalar", "array", "object"] if depth else ["string", "scalar"]))
        blank = self.draw(BLANKS)
        if kind == "string":
            return blank + self.string(path) + blank
        if kind == "scalar":
            return blank + self.draw(SCALARS) + blank
        size = self.draw(st.integers(0, 3))
        if kind == "array":
            items = [self.value((*path, index), depth - 1) for index in range(size)]
            return f"{blank}[{blank}{','.join(items)}]"
        return f"{{{blank}{','.join(self.member(path, depth, blank) for _ in range(size))}}}{blank}"

    def member(self, path: tuple[int | str, ...], depth: int, blank: str) -> str:
        key = self.string(path, is_key=True)
        return f"{blank}{key}{blank}:{self.value((*path, self.told_name()), depth - 1)}"

    def told_name(self) -> str:
        return self.told[-1].text


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, list[Told]]:
    writer = Writer(draw)
    body = writer.value((), draw(st.integers(0, 4)))
    return body.encode(), writer.told


@st.composite
def spans(draw: st.DrawFn, length: int) -> list[tuple[int, int]]:
    cuts = sorted(draw(st.lists(st.integers(0, length), max_size=6, unique=True)))
    return list(zip(cuts[::2], cuts[1::2], strict=False))


def pairs(body: bytes) -> Any:
    """The body parsed, with doubled members kept."""
    return json.loads(body, object_pairs_hook=lambda members: ("object", members))


def replaced(value: Any, new: list[str]) -> Any:
    """*value* with its strings, in the order they stand, taken from *new*."""
    if isinstance(value, str):
        return new.pop(0)
    if isinstance(value, list):
        return [replaced(item, new) for item in value]
    if isinstance(value, tuple):
        return ("object", [(replaced(name, new), replaced(item, new)) for name, item in value[1]])
    return value


@given(bodies())
@example((b'"alone"', [Told("alone", (), False)]))
@example((b'{"a":"\\\\","b":"\\"\\\\\\""}', [
    Told("a", ("a",), True), Told("\\", ("a",), False), Told("b", ("b",), True), Told('"\\"', ("b",), False),
]))  # fmt: skip
def test_every_string_is_there_with_its_text_and_path(written: tuple[bytes, list[Told]]) -> None:
    body, told = written
    leaves = strings_of(body)
    assert [Told(leaf.text, leaf.path, leaf.is_key) for leaf in leaves] == told
    assert all(body[leaf.start : leaf.start + 1] == body[leaf.end - 1 : leaf.end] == b'"' for leaf in leaves)
    assert all(json.loads(b'"' + leaf.raw + b'"') == leaf.text for leaf in leaves)


@given(bodies(), st.data())
def test_only_the_spans_change(written: tuple[bytes, list[Told]], data: st.DataObject) -> None:
    body, _ = written
    edits: list[tuple[int, int, bytes]] = []
    new: list[str] = []
    for leaf in strings_of(body):
        text, chosen = leaf.text, data.draw(spans(len(leaf.text)))
        words = [(start, end, "<" + data.draw(TEXTS) + ">") for start, end in chosen]
        edits += byte_edits(leaf, words)
        for start, end, word in reversed(words):
            text = text[:start] + word + text[end:]
        new.append(text)
    changed = spliced(body, data.draw(st.permutations(edits)))
    assert pairs(changed) == replaced(pairs(body), new)

    outside, at = [], 0
    for start, end, put in edits:  # between the edits, byte for byte what was sent
        outside += [body[at:start], put]
        at = end
    assert changed == b"".join([*outside, body[at:]])


@given(bodies())
def test_a_span_is_cut_at_whole_characters(written: tuple[bytes, list[Told]]) -> None:
    """The bytes of the single characters, one after the other, are the bytes of the string."""
    for leaf in strings_of(written[0]):
        places = byte_spans(leaf, [(index, index + 1) for index in range(len(leaf.text))])
        assert b"".join(leaf.body[start:end] for start, end in places) == leaf.raw
        assert [json.loads(b'"' + leaf.body[start:end] + b'"') for start, end in places] == list(leaf.text)


@pytest.mark.parametrize(
    ("token", "character", "said"),
    [
        (rb'"a\nb"', 1, rb"\n"),
        (rb'"caf\u00e9!"', 3, rb"\u00e9"),
        ('"café!"'.encode(), 3, "é".encode()),
        (rb'"\ud83d\ude00x"', 0, rb"\ud83d\ude00"),
        (rb'"\ud83dx"', 0, rb"\ud83d"),
        ('"😀x"'.encode(), 0, "😀".encode()),
        (rb'"\ud83d\ude00x"', 1, b"x"),
        (rb'"\\\"x"', 1, rb"\""),
        (rb'"\/"', 0, rb"\/"),
    ],
)
def test_a_character_has_its_own_bytes(token: bytes, character: int, said: bytes) -> None:
    (leaf,) = strings_of(token)
    ((start, end),) = byte_spans(leaf, [(character, character + 1)])
    assert token[start:end] == said


def test_numbers_spaces_and_doubled_members_stay_as_they_were() -> None:
    body = b'{ "n" : 1.0e0 ,"t":"x@y.z","t" : "x@y.z", "deep":[ [1, 2 ,"x@y.z"], null ] }\n'
    edits = [edit for leaf in strings_of(body) if "@" in leaf.text for edit in byte_edits(leaf, [(0, 5, "E")])]
    assert spliced(body, edits) == body.replace(b"x@y.z", b"E")
    assert [leaf.path for leaf in strings_of(body) if not leaf.is_key] == [("t",), ("t",), ("deep", 0, 2)]


def test_depth_costs_no_recursion_and_no_more_than_its_length() -> None:
    body = b"[" * 200_000 + b'"x"' + b"]" * 200_000
    (leaf,) = strings_of(body)
    assert len(leaf.path) == 200_000


@pytest.mark.parametrize("body", [b'"', b'{"a', b'"a"]', b'{"a":"b"}}', rb'"\"'])
def test_a_body_that_does_not_add_up_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="The body"):
        strings_of(body)


@pytest.mark.parametrize("edits", [[(0, 3, b""), (2, 4, b"")], [(3, 2, b"")], [(0, 99, b"")], [(-1, 2, b"")]])
def test_edits_that_overlap_or_lie_outside_are_an_error(edits: list[tuple[int, int, bytes]]) -> None:
    with pytest.raises(ValueError, match="overlap"):
        spliced(b'{"a":1}', edits)


@pytest.mark.parametrize("wrong", [[(0, 9)], [(2, 1)], [(1, 2), (0, 1)], [(-1, 1)]])
@pytest.mark.parametrize("body", [b'"abc"', rb'"\u0061bc"'])
def test_spans_outside_of_the_text_are_an_error(body: bytes, wrong: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="spans"):
        byte_spans(strings_of(body)[0], wrong)


@given(st.text(CHARACTERS))
def test_escaped_text_is_the_inside_of_a_string(text: str) -> None:
    assert json.loads(b'"' + escaped(text) + b'"') == text


def test_a_leaf_does_not_show_its_text() -> None:
    assert "secret" not in repr(strings_of(b'{"secret":"secret"}'))
