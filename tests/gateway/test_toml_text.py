"""Where keys stand in TOML, and that changing one value changes nothing else."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from membrain.toml_text import CannotEdit, Outline, drop, literal, put

unhurried = examples(deadline=None)
HARD = r'''# a comment = with = signs
port = 8001   # the port
"quoted.key" = 'a # b'
site."dotted key".'x' = +1_000

  [limits]  # caps [not.a.table]
body_mb = 20
text = """
[not.a.table]
port = 1 \""" still inside
ends in a quote""""
raw = QQQ
# no comment QQQ
list = [
  1,   # one ]
  "}", { inner = "a}" },
]
empty = []
inline = { a = 1, b = { c = "x, y = 2" }, d.e = true }
when = 1979-05-27 07:32:00
then = 1979-05-27T07:32:00Z
on = 07:32:00

[[many]]
name = "first"
[many.sub]
deep = 1
[[many]]
name = "second"

[last]
z = 0x1F'''.replace("QQQ", "'" * 3)


def leaves(table: dict[str, Any], front: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The values of a table by path; inside arrays nothing has a path."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, (*front, name))
        yield (*front, name), value


def value_at(outline: Outline, path: tuple[str, ...]) -> Any:
    spot = outline.spots[path]
    return tomllib.loads(f"x = {outline.text[spot.start : spot.end]}")["x"]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_every_value_is_found_where_it_stands(ending: str) -> None:
    text = HARD.replace("\n", ending)
    outline = Outline(text)
    found = {path: value_at(outline, path) for path in outline.spots}
    written = dict(leaves(tomllib.loads(text)))
    del written["many",]
    assert {path: value for path, value in found.items() if path[0] != "many"} == {
        path: value for path, value in written.items() if path in found
    }
    missing = set(written) - set(found)
    tables = {("site",), ("site", "dotted key"), ("limits",), ("last",), ("limits", "inline", "d")}
    assert missing == tables, "all but tables, which are no values"


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("port",), 2),
        (("quoted.key",), 3),
        (("site", "dotted key", "x"), 4),
        (("site",), 4),
        (("limits",), 6),
        (("limits", "body_mb"), 7),
        (("limits", "raw"), 12),
        (("limits", "list"), 14),
        (("limits", "inline", "b", "c"), 19),
        (("many",), 24),
        (("last", "z"), 32),
        (("nowhere",), None),
    ],
)
def test_a_key_is_on_the_line_where_it_is_first_named(path: tuple[str, ...], line: int | None) -> None:
    assert Outline(HARD).line(path) == line


def test_an_empty_text_has_an_outline() -> None:
    outline = Outline("")
    assert (outline.spots, outline.headers, outline.has_comments) == ({}, {}, False)


@pytest.mark.parametrize(
    ("text", "has"), [("# x", True), ("a = 1 # x", True), ("[a] # x", True), ("a = [ # x\n]", True), ("a = '#'", False)]
)
def test_comments_are_told_from_hash_signs_in_texts(text: str, has: bool) -> None:
    assert Outline(text).has_comments is has


def test_only_valid_toml_has_an_outline() -> None:
    with pytest.raises(ValueError, match="valid TOML"):
        Outline("= 1")


@pytest.mark.parametrize(
    ("before", "path", "value", "after"),
    [
        ("port = 1  # mine\n", "port", 2, "port = 2  # mine\n"),
        ("", "port", 2, "port = 2\n"),
        ("", "limits.depth", 9, "[limits]\ndepth = 9\n"),
        ("# top\n", "port", 2, "port = 2\n\n# top\n"),
        ("port = 1", "tier", "best", 'port = 1\ntier = "best"\n'),
        ("[log]\nlevel = 'x'\n", "port", 2, "port = 2\n\n[log]\nlevel = 'x'\n"),
        ("[limits]\ndepth = 1\n\n[log]\n", "limits.body_mb", 2, "[limits]\ndepth = 1\nbody_mb = 2\n\n[log]\n"),
        ("[limits]  # caps\n", "limits.depth", 2, "[limits]  # caps\ndepth = 2\n"),
        ("port = 1\n", "a.b.c", [], "port = 1\n\n[a.b]\nc = []\n"),
        ("limits.depth = 1 # x\n", "limits.body_mb", 2, "limits.depth = 1 # x\nlimits.body_mb = 2\n"),
        ("limits = { depth = 1 } # x\n", "limits.depth", 2, "limits = { depth = 2 } # x\n"),
        ("a = [\n 1, # one\n]\n", "a", ["b", "c"], 'a = ["b", "c"]\n'),
        ("[log]\r\n# x\r\n", "log.level", "info", '[log]\r\nlevel = "info"\r\n# x\r\n'),
        ("a = '# 1'\n", "a", 'say "#"', 'a = "say \\"#\\""\n'),
        ("a = 1\n", "a", True, "a = true\n"),
        ("a = 1\n", "a", 0.5, "a = 0.5\n"),
        ("", "p.m", {"in": 1, "a b": 2.5}, '[p]\nm = { in = 1, "a b" = 2.5 }\n'),
        ("[p]\nm = [1, 2] # x\n", "p.m", {"in": 3}, "[p]\nm = { in = 3 } # x\n"),
        ("[p]\nm = { in = 1, out = 2 } # x\n", "p.m", {"in": 3}, "[p]\nm = { in = 3 } # x\n"),
        ("[p.m] # x\n# y\nin = 1 # z\nout = 2\n", "p.m", {"in": 3, "by": 4}, "[p.m] # x\n# y\nin = 3 # z\nby = 4\n"),
        ("[p]\nm.in = 1 # z\n", "p.m", {"in": 3}, "[p]\nm.in = 3 # z\n"),
    ],
)
def test_a_value_is_put_in_its_place_and_nothing_else_moves(before: str, path: str, value: Any, after: str) -> None:
    assert put(before, tuple(path.split(".")), value) == after


@pytest.mark.parametrize("name", ["a.b/c:d", "a b", 'a"b', "", "ä", "#", "a\n", "=", "'"])
def test_a_name_that_needs_quotes_gets_them(name: str) -> None:
    after = put("# mine\n", ("aliases", name), "x")
    assert tomllib.loads(after) == {"aliases": {name: "x"}}
    assert after.startswith("# mine\n")
    assert tomllib.loads(put(after, ("aliases", name), "y")) == {"aliases": {name: "y"}}
    assert tomllib.loads(drop(after, ("aliases", name))) == {"aliases": {}}
    assert tomllib.loads(put("aliases.z = 'w' # x", ("aliases", name), "y"))["aliases"] == {"z": "w", name: "y"}


@pytest.mark.parametrize(
    ("before", "path", "after"),
    [
        ("port = 1\ntier = 'x'\n", "port", "tier = 'x'\n"),
        ("# keep\nport = 1 # goes with it\n# keep too", "port", "# keep\n# keep too"),
        ("[limits]\ndepth = 1", "limits.depth", "[limits]\n"),
        ("a = [\n 1, # one\n]\r\nb = 2\n", "a", "b = 2\n"),
        ("limits.depth = 1 # x\nport = 2", "limits.depth", "port = 2"),
        ("a = 1\n[p.m] # x\n# keep\nin = 1 # z\nout = { a = 2 }\n\n[q]\n", "p.m", "a = 1\n# keep\n\n[q]\n"),
        ("[p]\n[p.m]\nx = 1\n[p.m.n]\ny = 2\n[q] # z\n", "p.m", "[p]\n[q] # z\n"),
        ("[p]\nm.x = 1\nm.y = 2\nn = 3 # z\n", "p.m", "[p]\nn = 3 # z\n"),
    ],
)
def test_a_key_is_dropped_with_its_line_and_nothing_else(before: str, path: str, after: str) -> None:
    assert drop(before, tuple(path.split("."))) == after


def test_without_comments_a_text_may_be_written_anew() -> None:
    """An inline table cannot be grown in place; nothing is lost by writing it out."""
    assert tomllib.loads(put("limits = { depth = 1 }\n", ("limits", "body_mb"), 2)) == {
        "limits": {"depth": 1, "body_mb": 2}
    }
    assert tomllib.loads(drop("limits = { depth = 1, body_mb = 2 }\n", ("limits", "depth"))) == {
        "limits": {"body_mb": 2}
    }


def test_a_table_where_a_value_belongs_can_be_dropped() -> None:
    assert drop("[port]\nx = 1\n", ("port",)) == ""
    assert drop("[port]\nx = 1 # goes with it\n# mine\n", ("port",)) == "# mine\n"
    with pytest.raises(CannotEdit):
        drop("[[port]]\nx = [{}] # mine\n[[port]]\n", ("port",))


def test_comments_are_never_lost() -> None:
    with pytest.raises(CannotEdit, match="comments"):
        put("limits = { depth = 1 } # mine\n", ("limits", "body_mb"), 2)
    with pytest.raises(CannotEdit, match="comments"):
        drop("limits = { depth = 1 } # mine\n", ("limits", "depth"))


def test_a_value_is_no_table() -> None:
    with pytest.raises(CannotEdit, match="limits holds a value"):
        put("limits = 1\n", ("limits", "depth"), 2)


NAMES = st.sampled_from(["a", "b", "c"]) | st.text("ab.\"'# =[]\n\\é", min_size=1, max_size=4)
SIMPLE = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text("ab\"'#[]{},=\n\r\\\té ", max_size=8)
    | st.datetimes()
)
VALUES = st.recursive(SIMPLE, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))
TABLES = st.dictionaries(NAMES, VALUES, max_size=5)


@unhurried
@given(TABLES, st.booleans())
def test_whatever_is_written_is_found_again(table: dict[str, Any], multiline: bool) -> None:
    text = tomli_w.dumps(table, multiline_strings=multiline)
    outline = Outline(text)
    written = dict(leaves(tomllib.loads(text)))
    for path in outline.spots:
        if path in written:
            assert value_at(outline, path) == written[path]
    for path, value in written.items():
        assert path in outline.spots or isinstance(value, dict | list)


@unhurried
@given(
    TABLES,
    st.sampled_from(["a", "b", "a.b", "b.c", "a.b.c"]),
    st.booleans() | st.integers(0, 9) | st.text(max_size=5) | st.dictionaries(NAMES, st.integers(), min_size=1),
)
def test_putting_changes_exactly_one_value(table: dict[str, Any], name: str, value: Any) -> None:
    """In any file; or it is refused, because something else stands there."""
    text, path = f"# first\n{tomli_w.dumps(table)}# last\n", tuple(name.split("."))
    try:
        after = put(text, path, value)
    except CannotEdit:
        return
    assert after.count("# first\n") == after.count("# last\n") == 1
    wanted, inner = tomllib.loads(text), tomllib.loads(after)
    for part in path[:-1]:
        inner = inner[part]
    assert inner.pop(path[-1]) == value
    table = wanted
    for part in path[:-1]:
        table = table.setdefault(part, {})
    table.pop(path[-1], None)
    rest = tomllib.loads(after)
    there = rest
    for part in path[:-1]:
        there = there[part]
    del there[path[-1]]
    assert rest == wanted


@unhurried
@given(
    st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.lists(st.text(), max_size=3)
    | st.dictionaries(st.text(), st.floats(allow_nan=False), max_size=3)
)
def test_a_literal_means_its_value_and_stays_on_one_line(value: Any) -> None:
    text = literal(value)
    assert tomllib.loads(f"x = {text}")["x"] == value
    assert "\n" not in text
