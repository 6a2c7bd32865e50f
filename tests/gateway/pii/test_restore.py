"""However a text is cut, what comes out is the whole restored, and nothing waits that need not."""

from __future__ import annotations

import json
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain.pii.restore import Restorer
from membrain.pii.vault import MARK, Vault

KEY = b"k" * 32
UNDERSCORES = ("_", r"\_", r"\\_", "%5F", "&#95;", r"\u005F", " ", "-")
HELD = [
    ("EMAIL", "ada@example.com"),
    ("EMAIL", 'q"\\\n'),
    ("URL_CREDENTIALS", "https://u:p@h"),
    ("IP", "::1"),
    ("A", ""),
]


def filled() -> Vault:
    vault = Vault(KEY, "p")
    for label, value in HELD:
        vault.placeholder(label, value)
    return vault


TOKENS = [filled().placeholder(label, value) for label, value in HELD]
STRANGE = Vault(KEY, "another").placeholder(*HELD[0])
LONGEST = max(len(token) + (len(r"\u005F") - 1) * token.count("_") for token in TOKENS)


@st.composite
def written(draw: st.DrawFn) -> str:
    """A placeholder of this or another vault, as a model may write it, perhaps cut off."""
    said = draw(st.sampled_from([*TOKENS, STRANGE]))
    said = draw(st.sampled_from([said, said.lower(), said.title()])).replace("_", draw(st.sampled_from(UNDERSCORES)))
    return said[: draw(st.integers(0, len(said)))] if draw(st.booleans()) else said


SIGNS = st.characters() | st.sampled_from("EMAILURPC_\\u%&#0k739\u212a\u017f")
TEXTS = st.lists(written() | st.text(SIGNS, max_size=5) | st.sampled_from(["\\", "\\u00e", MARK]), max_size=8).map(
    "".join
)


@st.composite
def cut(draw: st.DrawFn, text: str) -> list[str]:
    if draw(st.booleans()):
        size = draw(st.integers(1, 4))
        return [text[at : at + size] for at in range(0, len(text), size)]
    cuts = [0, *sorted(draw(st.lists(st.integers(0, len(text)), max_size=12))), len(text)]
    return [text[start:end] for start, end in pairwise(cuts)]


@given(st.data(), TEXTS)
def test_however_it_is_cut_the_text_is_the_same(data: st.DataObject, text: str) -> None:
    restorer = Restorer(filled())
    shown = "".join(restorer.feed(piece) for piece in data.draw(cut(text)))
    assert shown + restorer.flush() == filled().restore(text)


@given(st.data(), TEXTS)
def test_however_arguments_are_cut_they_are_the_same(data: st.DataObject, text: str) -> None:
    """As raw JSON, valid or not, and as valid JSON."""
    for fragment in (text, json.dumps({"text": text}), json.dumps([text], ensure_ascii=False)):
        restorer = Restorer(filled(), json_escaped=True)
        shown = "".join(restorer.feed(piece) for piece in data.draw(cut(fragment)))
        assert shown + restorer.flush() == filled().restore_json_fragment(fragment)


@given(st.data(), st.text(), st.text(), st.text())
def test_streamed_arguments_hold_the_original(data: st.DataObject, before: str, value: str, after: str) -> None:
    vault = Vault(KEY, "p")
    masked = before + (vault.placeholder("SECRET", value) if value else "") + after
    restorer = Restorer(vault, json_escaped=True)
    shown = "".join(restorer.feed(piece) for piece in data.draw(cut(json.dumps({"text": masked}))))
    assert json.loads(shown + restorer.flush()) == {"text": before + value + after}


def beginnings() -> set[str]:
    """Everything a placeholder of the tests' vault can begin with, in small letters."""
    ways: set[str] = set()
    for token in TOKENS:
        parts = token.split("_")
        for seams in product(UNDERSCORES, repeat=len(parts) - 1):
            said = "".join(part + seam for part, seam in zip(parts, [*seams, ""], strict=True)).lower()
            ways.update(said[:length] for length in range(1, len(said)))
    return ways


BEGINNINGS = beginnings()


@given(st.data(), TEXTS)
def test_only_what_can_become_a_placeholder_is_held(data: st.DataObject, text: str) -> None:
    restorer = Restorer(filled())
    seen = ""
    for piece in data.draw(cut(text)):
        restorer.feed(piece)
        seen += piece
        held = seen[len(seen) - restorer.holding :]
        assert not held or held.lower() in BEGINNINGS
        assert len(held) < LONGEST


@given(st.data(), TEXTS)
def test_no_part_of_a_placeholder_is_shown_before_its_value(data: st.DataObject, text: str) -> None:
    """What has been shown is at each moment a beginning of what will have been shown."""
    restorer, whole, shown = Restorer(filled()), filled().restore(text), ""
    for piece in data.draw(cut(text)):
        shown += restorer.feed(piece)
        assert whole.startswith(shown)


@pytest.mark.parametrize("said", ["Hello there", "MAIL", "EMAIL_x", "EMAIL!", STRANGE[:-1], "UR L", "\\", "https://"])
def test_other_text_is_shown_at_once(said: str) -> None:
    assert Restorer(filled()).feed(said + ".") == said + "."


@pytest.mark.parametrize("fragment", [r"\n", r"\nAM", r"\u000e", r"\u000eMAI", r"\u", "\\"])
def test_in_json_no_part_of_an_escape_is_held(fragment: str) -> None:
    """The n of a line break is no beginning of NAME."""
    vault = Vault(KEY, "p")
    vault.placeholder("NAME", "Ada")
    vault.placeholder("EMAIL", "a@b.c")
    assert Restorer(vault, json_escaped=True).feed(fragment) == fragment
    halves = Restorer(vault, json_escaped=True)
    assert halves.feed(fragment[:1]) + halves.feed(fragment[1:]) == fragment


def test_letters_that_only_become_ours_in_small_are_not_ours() -> None:
    """The Kelvin sign is a k in small letters, the long s an S in capitals: neither here nor there a placeholder."""
    vault = Vault(KEY, "p")
    tokens = [vault.placeholder("PERSON", str(number)) for number in range(40)]
    for token in tokens:
        for said in {token.replace("k", "\u212a"), token.replace("s", "\u017f"), token.replace("S", "\u017f")} - {
            token
        }:
            restorer = Restorer(vault)
            assert "".join(map(restorer.feed, said)) + restorer.flush() == vault.restore(said) == said


def test_a_broken_placeholder_is_shown_as_it_came_and_counted() -> None:
    vault = filled()
    for end, counted in ((3, 0), (6, 0), (12, 1), (len(TOKENS[0]) - 1, 2)):
        restorer = Restorer(vault)
        assert restorer.feed("to " + TOKENS[0][:end]) == "to "
        assert restorer.flush() == TOKENS[0][:end]
        assert vault.broken == counted


def test_an_empty_vault_is_no_work() -> None:
    restorer, text = Restorer(Vault(KEY)), "EMAIL_" + MARK
    assert restorer.feed(text) is text
    assert restorer.flush() == ""


def test_withheld_labels_stay_placeholders_in_streams() -> None:
    restorer = Restorer(filled(), withhold={"IP"})
    said = f"{TOKENS[0]} {TOKENS[3]}"
    assert "".join(map(restorer.feed, said)) == f"ada@example.com {TOKENS[3]}"


def test_restorers_of_one_vault_do_not_mix() -> None:
    """Two tool calls whose fragments come in turns."""
    vault = filled()
    one, two = Restorer(vault, json_escaped=True), Restorer(vault, json_escaped=True)
    shown = ["", ""]
    for left, right in zip(f'"{TOKENS[0]}"', f'"{TOKENS[1]}"', strict=True):
        shown[0] += one.feed(left)
        shown[1] += two.feed(right)
    assert [json.loads(text) for text in shown] == ["ada@example.com", 'q"\\\n']


def test_a_restorer_does_not_show_what_it_holds() -> None:
    restorer = Restorer(filled())
    restorer.feed(TOKENS[0][:9])
    assert TOKENS[0][:9] not in repr(restorer)
