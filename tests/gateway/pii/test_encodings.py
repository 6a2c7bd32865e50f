"""Encoded runs: what they say, where they end, and what is no such run."""

import base64
import hashlib
import inspect
import random

import pytest

from membrain.pii import encodings
from membrain.pii.encodings import CANDIDATE, Run, Runs, legible, smuggled
from membrain.pii.scan import _ANYWHERE
from membrain.pii.views import _search_for

_SEARCH = _search_for([CANDIDATE])
_TEXT = "please write to jane.doe@example.com today"


def runs(text: str) -> list[Run]:
    """The runs of an ASCII text, found as views find them."""
    found, place, reader = [], 0, Runs(text)
    while True:
        start, end = _SEARCH(_ANYWHERE, text.encode(), place, len(text))[0]
        if start < 0:
            return found
        if run := reader.at(start, end):
            found.append(run)
        place = max(run.next if run else end, end)


def said(text: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(text[run.start : run.end], run.says) for run in runs(text) if run.says]


def _wrapped(text: str, width: int) -> str:
    return "\n".join(text[at : at + width] for at in range(0, len(text), width))


_B64 = base64.b64encode(_TEXT.encode()).decode()


@pytest.mark.parametrize(
    "encoded",
    [
        _B64,
        _B64.rstrip("="),
        base64.b64encode(_TEXT.encode("utf-16-le")).decode(),
        base64.b64encode(_TEXT.encode("utf-16-be")).decode(),
        _wrapped(_B64, 16),
        _wrapped(_B64, 22),
        _wrapped(_B64, 20).replace("\n", "\r\n  "),
        base64.b32encode(_TEXT.encode()).decode(),
        base64.b32encode(_TEXT.encode()).decode().rstrip("="),
        _TEXT.encode().hex(),
        _TEXT.encode().hex().upper(),
        "0x" + _TEXT.encode().hex(),
        _TEXT.encode("utf-16-le").hex(),
        _TEXT.encode().hex(" "),
        _TEXT.encode().hex(":"),
        ", ".join(f"0x{byte:02x}" for byte in _TEXT.encode()),
    ],
)
@pytest.mark.parametrize("frame", ["{}", "see ({}) and more", "key={}\nnext line", '{{"a": "{}"}}'])
def test_a_run_is_read_whole_in_every_encoding(encoded: str, frame: str):
    found = said(frame.format(encoded))
    assert [run for run, _ in found] == [encoded]
    assert _TEXT in found[0][1]


@pytest.mark.parametrize("before", ["a", "ab", "abc", "path/to/", "-", "__"])
def test_signs_glued_to_the_front_do_not_hide_it(before: str):
    found = said(before + _B64)
    assert any(_TEXT in text for _, texts in found for text in texts)
    assert found[0][0].endswith(_B64)


def test_url_safe_signs_are_read():
    text = "??>>~~ jane.doe@example.com ??>>~~"
    encoded = base64.urlsafe_b64encode(text.encode()).decode()
    assert set("-_") & set(encoded)
    assert said(encoded) == [(encoded, (text,))]


def test_a_line_of_prose_behind_it_is_no_part_of_it():
    assert said(_B64.rstrip("=") + "\nHello there")[0][0] == _B64.rstrip("=")


def test_words_and_code_are_no_runs():
    code = inspect.getsource(encodings).encode("ascii", "replace").decode()
    assert said(code) == []


def test_hashes_and_random_tokens_say_nothing_a_person_wrote():
    dice = random.Random(7)
    lines = [hashlib.sha256(dice.randbytes(8)).hexdigest() for _ in range(500)]
    lines += [base64.b64encode(dice.randbytes(64)).decode() for _ in range(500)]
    texts = [text for _, texts in said("\n".join(lines)) for text in texts]
    assert sum(map(len, texts)) < 0.05 * sum(map(len, lines))
    assert not [text for text in texts if "@" in text and "." in text.rpartition("@")[2]]


def test_a_web_token_is_left_to_the_rules():
    head, body = (
        base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"HS256"}', b'{"sub":"jane"}')
    )
    assert said(f"Bearer {head}.{body}.c2lnbmF0dXJl") == []


def test_a_picture_is_not_read_but_text_that_begins_like_one_is():
    noise = random.Random(1).randbytes(200)
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + noise + _TEXT.encode() + noise).decode()
    pretence = base64.b64encode(b"RIFF " + _TEXT.encode()).decode()
    assert said(picture) == []
    assert said(pretence) == [(pretence, ("RIFF " + _TEXT,))]


def test_a_run_goes_on_over_lines_behind_bytes_that_are_no_text():
    noise = random.Random(1).randbytes(48)
    encoded = _wrapped(base64.b64encode(noise + _TEXT.encode()).decode(), 64)
    assert encoded.endswith(said(encoded)[-1][0])
    assert "jane.doe@example.com" in "".join(text for _, texts in said(encoded) for text in texts)


def test_a_number_beside_marked_bytes_is_read_with_them_and_left_out():
    marked = ", ".join(f"0x{byte:02x}" for byte in b"4242 4242 4242 4242")
    assert said(f"see {marked} 30") == [(f"{marked} 30", ("4242 4242 4242 4242", "4242 4242 4242 42420"))]
    assert said(f"see 30 {marked}") == [(f"30 {marked}", ("04242 4242 4242 4242", "4242 4242 4242 4242"))]
    assert said(f"see {marked}, and") == [(marked, ("4242 4242 4242 4242",))]


def test_text_between_bytes_is_read_by_itself():
    noise = random.Random(1).randbytes(60)
    encoded = base64.b64encode(noise + _TEXT.encode() + noise).decode()
    found = said(encoded)
    assert any("jane.doe@example.com" in text for _, texts in found for text in texts)
    assert {run for run, _ in found} == {encoded}


def test_tags_and_selectors_spell_text():
    tags = "".join(chr(0xE0000 + ord(sign)) for sign in "jane@example.com")
    selectors = "".join(chr(0xFE00 + byte if byte < 16 else 0xE0100 + byte - 16) for byte in b"jane@example.com")
    for hidden in (tags, selectors):
        run = smuggled("x" + hidden, 0, len(hidden) + 1)
        assert run is not None
        assert (run.start, run.end, run.says, run.hidden) == (1, len(hidden) + 1, ("jane@example.com",), True)
    assert smuggled("x\ufe0f", 0, 2) is None


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain", "plain"), ("Grüße aus Köln".encode(), "Grüße aus Köln"),
        ("日本語のテキスト".encode(), "日本語のテキスト"), ("jane".encode("utf-16-le"), "jane"),
        (b"caf\xe9 au lait", "caf\ufffd au lait"), (bytes(range(200, 240)), ""),
        (b"", ""), (bytes(64), ""), (b"\x01\x02\x03\x04", ""),
    ],
)  # fmt: skip
def test_bytes_are_legible_when_most_of_them_are_text(data: bytes, text: str):
    assert legible(data) == text


def test_a_run_shows_no_text():
    assert repr(Run(1, 2, 2, ("jane",))) == "Run(1:2)"
