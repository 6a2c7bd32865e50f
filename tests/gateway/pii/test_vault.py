"""Every value has its placeholder, and every placeholder brings back its own value, its own text, or nothing."""

from __future__ import annotations

import json
import re
import string
from itertools import count

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from membrain.dialects.strings import byte_edits, spliced, strings_of
from membrain.pii import vault as vault_module
from membrain.pii.restore import Restorer
from membrain.pii.vault import MARK, SHAPE, Finding, Vault, may_quote

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
LABELS = ("EMAIL", "PERSON", "URL_CREDENTIALS", "IP", "CREDIT_CARD")
VALUES = ("ada@example.com", 'a "quoted"\\ \n value\t', "Ada Lovelace", "10.0.0.1", "é😀\u2028\x00", "\ud83d", "x")
HELD = [(label, value) for label in LABELS for value in VALUES]
UNDERSCORES = ("_", r"\_", r"\\_", "%5F", "%5f", "&#95;", r"\u005f", " ", "-")


def token(label: str, value: str) -> str:
    """What a fresh vault of the tests' project calls a value."""
    return Vault(KEY, "p").placeholder(label, value)


TOKENS = [token(label, value) for label, value in HELD]
FAKE = "EMAIL_" + "k7f2m9x4q1w8z" + MARK


@st.composite
def written(draw: st.DrawFn) -> str:
    """A placeholder as a model may write it: real or made up, whole or cut, in any case, with any underscores."""
    said = draw(st.sampled_from([*TOKENS, FAKE, "EMAIL_", "PERSON_" + MARK, MARK]))
    said = draw(st.sampled_from([said, said, said.lower(), said.upper(), said.title(), said.swapcase()]))
    said = said.replace("_", draw(st.sampled_from(UNDERSCORES)))
    if draw(st.integers(0, 3)) == 0:
        start, end = sorted((draw(st.integers(0, len(said))), draw(st.integers(0, len(said)))))
        said = said[start:end]
    return said


SIGNS = st.characters(exclude_categories=[]) | st.sampled_from("EMAILPRSON_\\%k739\u212a\u017f")
PIECES = written() | st.sampled_from(VALUES) | st.text(SIGNS, max_size=6)
TEXTS = st.lists(PIECES, max_size=8).map("".join)


@st.composite
def found(draw: st.DrawFn) -> tuple[str, list[Finding]]:
    """A text with values, real, altered and false placeholders; and what somebody claims to have found in it."""
    text = draw(TEXTS)
    findings = [
        (start, end, draw(st.sampled_from(LABELS)))
        for start, end in draw(st.lists(st.tuples(*[st.integers(0, len(text))] * 2), max_size=5))
        if start < end
    ]
    for label, value in draw(st.lists(st.sampled_from(HELD), max_size=2)):
        findings += [(m.start(), m.end(), label) for m in re.finditer(re.escape(value), text)]
    return text, findings


@given(found())
@example(("ada@example.com " + token("EMAIL", "ada@example.com"), [(0, 15, "EMAIL")]))
@example((token("EMAIL", "ada@example.com") + " ada@example.com", [(23, 38, "EMAIL")]))
@example((token("EMAIL", "x")[:-4] + "x", [(18, 19, "EMAIL")]))
@example((token("EMAIL", "x") + token("IP", "y") + " x y", [(42, 43, "EMAIL"), (44, 45, "IP")]))
def test_what_was_masked_comes_back(told: tuple[str, list[Finding]]) -> None:
    text, findings = told
    vault = Vault(KEY, "p")
    assert vault.restore(vault.mask(text, findings)) == text


@given(st.lists(found(), max_size=4))
def test_what_was_masked_text_by_text_comes_back_at_once(told: list[tuple[str, list[Finding]]]) -> None:
    """A request has many texts; one may quote the placeholder of a value that another holds."""
    vault = Vault(KEY, "p")
    masked = [vault.mask(text, findings) for text, findings in told]
    assert [vault.restore(text) for text in masked] == [text for text, _ in told]


@given(st.lists(found(), min_size=1, max_size=4), st.booleans())
def test_a_whole_body_comes_back_and_only_its_values_change(
    told: list[tuple[str, list[Finding]]], ascii_only: bool
) -> None:
    """Map, mask, splice; then parse and restore, as the stage does it."""
    texts = ["".join(sign for sign in text if not "\ud800" <= sign <= "\udfff") for text, _ in told]
    body = json.dumps({"messages": [{"content": text} for text in texts]}, ensure_ascii=ascii_only).encode()
    vault = Vault(KEY, "p")
    edits = []
    for leaf in strings_of(body):
        text = leaf.text
        values = [(m.start(), m.end(), "EMAIL") for m in re.finditer("ada@example.com|Ada Lovelace", text)]
        edits += byte_edits(leaf, vault.edits(text, values))
    sent = spliced(body, edits)
    assert b"ada@example.com" not in sent
    assert b"Ada Lovelace" not in sent
    assert [vault.restore(message["content"]) for message in json.loads(sent)["messages"]] == texts
    assert json.loads(vault.restore_json_fragment(sent.decode())) == json.loads(body)


@given(found())
def test_nothing_found_stays(told: tuple[str, list[Finding]]) -> None:
    """The edits cover every character of every finding."""
    text, findings = told
    covered = {place for start, end, _ in Vault(KEY, "p").edits(text, findings) for place in range(start, end)}
    assert covered >= {place for start, end, _ in findings for place in range(start, end)}


@given(st.lists(st.sampled_from(HELD), unique=True), st.lists(st.text(string.ascii_letters + "\n", max_size=9)))
def test_masking_what_is_masked_changes_nothing(held: list[tuple[str, str]], between: list[str]) -> None:
    def redact(text: str) -> str:
        findings = [(m.start(), m.end(), "SECRET") for value in VALUES[:5] for m in re.finditer(re.escape(value), text)]
        return Vault(KEY, "p").mask(text, findings)

    text = "".join(value + " " + word for (_, value), word in zip(held, [*between, *[""] * len(held)], strict=False))
    assert redact(redact(text)) == redact(text)


@given(st.permutations(HELD))
def test_the_order_of_the_texts_does_not_matter(held: list[tuple[str, str]]) -> None:
    vault = Vault(KEY, "p")
    assert {(label, value): vault.placeholder(label, value) for label, value in held} == dict(
        zip(HELD, TOKENS, strict=True)
    )


@given(st.lists(found(), max_size=5))
def test_a_later_text_never_changes_an_earlier_one(turns: list[tuple[str, list[Finding]]]) -> None:
    """The next turn's request begins with the bytes of this one, so the provider's cache stays warm."""
    sent: list[str] = []
    for turn in range(len(turns)):
        vault = Vault(KEY, "p")  # each turn is an exchange of its own
        masked = [vault.mask(*told) for told in turns[: turn + 1]]
        assert masked[:turn] == sent
        sent = masked


@given(st.text(SIGNS), st.sampled_from(LABELS), st.booleans())
def test_arguments_mean_the_same_after_restoring(value: str, label: str, ascii_only: bool) -> None:
    vault = Vault(KEY, "p")
    said = vault.mask("to: " + value, [(4, 4 + len(value), label)] if value else [])
    arguments = json.dumps({"a": said, "b": [said, 1]}, ensure_ascii=ascii_only)
    restored = json.loads(vault.restore_json_fragment(arguments))
    assert restored == {"a": "to: " + value, "b": ["to: " + value, 1]}


@given(found(), st.booleans())
def test_arguments_with_anything_around_the_values_come_back(told: tuple[str, list[Finding]], ascii_only: bool) -> None:
    """Escapes before a placeholder are never taken for its label: `\\nAME_…` is a line break and `AME_…`."""
    text = told[0].encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # JSON joins the halves of a pair
    findings = [finding for finding in told[1] if finding[1] <= len(text)]
    vault = Vault(KEY, "p")
    arguments = json.dumps({"text": vault.mask(text, findings)}, ensure_ascii=ascii_only)
    assert json.loads(vault.restore_json_fragment(arguments)) == {"text": text}


@pytest.mark.parametrize("label", ["NAME", "EMAIL", "CARD"])
@pytest.mark.parametrize("before", [r"\n", r"\\n", r"\u000e", r"\\u000e", r"\\\u000e", r"\u000c", r"\\\\", ""])
def test_an_escape_is_not_torn_apart(before: str, label: str) -> None:
    """The first letter of a label may belong to an escape; then there is no placeholder."""
    vault = Vault(KEY, "p")
    said = vault.placeholder(label, "value")
    fragment = '"' + before + (said[1:] if before[-1:].upper() == label[0] else said) + '"'
    assert json.loads(vault.restore_json_fragment(fragment)) == vault.restore(json.loads(fragment))


ALTERED = [
    str.lower, str.upper, str.title, str.swapcase, "**{}**".format, "`{}`".format, "_{}_".format, "<b>{}</b>".format,
    "[{0}](mailto:{0})".format, "https://x.y/?q={}&n=1".format, "{}'s".format, "x{}x".format, "邮箱{}是".format,
    *[lambda said, way=way: said.replace("_", way) for way in UNDERSCORES],
    lambda said: "**" + said.lower().replace("_", "\\_") + "**",
]  # fmt: skip


@pytest.mark.parametrize("altered", ALTERED)
@pytest.mark.parametrize("label", LABELS)
def test_what_models_do_to_a_placeholder_does_no_harm(altered: object, label: str) -> None:
    assert callable(altered)
    vault = Vault(KEY, "p")
    said = altered(vault.placeholder(label, "\0value\0"))
    restored = vault.restore(said)
    assert restored.count("\0value\0") == said.lower().count(MARK)
    assert MARK not in restored


@given(st.sampled_from(HELD), st.integers(0, 40), st.sampled_from(string.ascii_lowercase + string.digits))
def test_another_code_is_never_taken_for_ours(held: tuple[str, str], at: int, sign: str) -> None:
    """One character changed in a code: the text stays as it is."""
    vault = Vault(KEY, "p")
    said = vault.placeholder(*held)
    place = len(held[0]) + 1 + at % 16
    changed = said[:place] + sign + said[place + 1 :]
    assert vault.restore(changed) == (held[1] if changed == said else changed)


def test_a_code_under_another_label_is_not_ours() -> None:
    vault = Vault(KEY, "p")
    said = vault.placeholder("EMAIL", "a@b.c")
    assert vault.restore(said.replace("EMAIL", "PHONE")) == said.replace("EMAIL", "PHONE")
    assert vault.restore(said.removeprefix("EMAIL_")) == said.removeprefix("EMAIL_")


@given(st.sampled_from(HELD))
def test_keys_and_projects_do_not_know_each_other(held: tuple[str, str]) -> None:
    vaults = [Vault(KEY, "p"), Vault(OTHER_KEY, "p"), Vault(KEY, "q"), Vault(), Vault()]
    tokens = [vault.placeholder(*held) for vault in vaults]
    assert len(set(tokens)) == len(vaults)
    for vault, own in zip(vaults, tokens, strict=True):
        assert [vault.restore(said) for said in tokens] == [held[1] if said == own else said for said in tokens]


def test_the_same_key_restores_only_what_this_vault_masked() -> None:
    """Knowing the placeholder of another exchange of the same project is not enough."""
    said = token("EMAIL", "a@b.c")
    assert Vault(KEY, "p").restore(said) == said


def test_project_label_and_value_cannot_run_into_each_other() -> None:
    made = [
        Vault(KEY, project).placeholder(label, value)
        for project, label, value in [("p", "AB", "c"), ("pA", "B", "c"), ("p", "A", "Bc"), ("p", "AB", "c1:x")]
    ]
    assert len({said.rsplit("_", 1)[1] for said in made}) == len(made)


@given(st.text(SIGNS, max_size=20), st.text(SIGNS, max_size=20))
def test_a_placeholder_is_of_word_characters_with_its_label_in_front(label: str, value: str) -> None:
    said = Vault(KEY, "p").placeholder(label, value)
    assert re.fullmatch(SHAPE, said)
    assert said.isascii()
    assert all(len(token(label, value)) == len(label) + 17 for label, value in HELD)


def test_a_collision_gives_the_second_value_another_code(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Vault._code
    monkeypatch.setattr(Vault, "_code", lambda self, label, value, n: real(self, "", "" if n == 0 else value, n))
    vault = Vault(KEY, "p")
    assert [vault.restore(vault.placeholder("X", value)) for value in ("a", "b", "c")] == ["a", "b", "c"]


@pytest.mark.slow
def test_a_million_values_have_a_million_codes() -> None:
    vault = Vault(KEY, "p")
    assert len({vault._code("EMAIL", f"person{number}@example.com", 0) for number in range(1_000_000)}) == 1_000_000


def test_a_code_may_hold_the_mark_itself() -> None:
    vault = Vault(KEY, "p")
    value = next(str(number) for number in count() if MARK in vault._code("IP", str(number), 0))
    said = vault.placeholder("IP", value)
    restorer = Restorer(vault)
    assert vault.restore(f"{said}{said} {MARK}{said}") == f"{value}{value} {MARK}{value}"
    assert "".join(map(restorer.feed, said)) == value
    assert vault.restore(vault.mask(said, [])) == said


def test_codes_use_all_of_their_bits() -> None:
    """Each of the 13 characters takes each of the 32 values: 65 bits, none of them idle."""
    codes = [Vault(KEY, "p")._code("X", str(number), 0) for number in range(2000)]
    assert all(len({code[place] for code in codes}) == 32 for place in range(13))


def test_overlapping_findings_are_one() -> None:
    vault = Vault(KEY, "p")
    text = "see https://u:pw@host.example/x now"
    assert vault.mask(text, [(10, 16, "SECRET"), (4, 31, "URL_CREDENTIALS"), (14, 29, "EMAIL")]) == (
        f"see {vault.placeholder('URL_CREDENTIALS', text[4:31])} now"
    )
    assert vault.counts == {"URL_CREDENTIALS": 1}


@pytest.mark.parametrize("wrong", [(-1, 2, "X"), (0, 0, "X"), (2, 1, "X"), (0, 9, "X")])
def test_a_nonsensical_finding_is_an_error(wrong: Finding) -> None:
    with pytest.raises(ValueError, match="finding"):
        Vault(KEY, "p").mask("text", [(0, 1, "X"), wrong])


def test_labels_that_are_withheld_stay_placeholders() -> None:
    vault = Vault(KEY, "p")
    secret, mail = vault.placeholder("SECRET", "hunter2"), vault.placeholder("EMAIL", "a@b.c")
    assert vault.restore(f"{secret} {mail}", withhold={"SECRET"}) == f"{secret} a@b.c"
    assert (dict(vault.restored), dict(vault.withheld)) == ({"EMAIL": 1}, {"SECRET": 1})


def test_a_vault_tells_labels_and_counts_and_no_values() -> None:
    vault = Vault(KEY, "p")
    text = "hunter2 and a@b.c and a@b.c and b@b.c"
    masked = vault.mask(text, [(0, 7, "SECRET"), (12, 17, "EMAIL"), (22, 27, "EMAIL"), (32, 37, "EMAIL")])
    vault.mask(masked, [])  # quotations are no findings
    assert vault.labels == ("EMAIL", "SECRET")
    assert vault.counts == {"EMAIL": 2, "SECRET": 1}
    shown = repr(vault) + repr(list(vault.places(masked)))
    assert "hunter2" not in shown
    assert "a@b.c" not in shown


def test_a_conversation_that_goes_on_restores_what_was_masked_before() -> None:
    earlier, later = Vault(KEY, "p"), Vault(KEY, "p")
    said = earlier.placeholder("EMAIL", "a@b.c")
    later.adopt(earlier)
    assert later.restore(said) == "a@b.c"
    assert later.placeholder("EMAIL", "a@b.c") == said


@pytest.mark.parametrize("stranger", [Vault(OTHER_KEY, "p"), Vault(KEY, "q"), Vault()])
def test_a_strangers_vault_cannot_be_adopted(stranger: Vault) -> None:
    with pytest.raises(ValueError, match="adopted"):
        Vault(KEY, "p").adopt(stranger)


@pytest.mark.parametrize("key", [b"", b"short", b"x" * 65])
def test_a_key_has_to_be_a_key(key: bytes) -> None:
    with pytest.raises(ValueError, match="16 to 64"):
        Vault(key)


@given(TEXTS, st.booleans())
def test_a_body_without_quotations_is_known_at_a_glance(text: str, ascii_only: bool) -> None:
    if not may_quote(json.dumps(text, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")):
        assert not list(vault_module._codes(text))


def test_an_empty_vault_returns_the_very_text() -> None:
    text = "nothing " + FAKE
    assert Vault(KEY).restore(text) is text
    assert Vault(KEY).restore_json_fragment(text) is text
