"""What a setting's value must be, and how it is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from membrain.rules import (
    Named,
    Rule,
    address,
    dollars,
    existing_file,
    is_loopback,
    listed,
    model,
    models,
    names,
    one_of,
    price,
    program,
    seconds,
    switch,
    url,
    whole,
)

unhurried = examples(deadline=None)
PORT = whole(1, 65_535, 8001)
TIER = one_of("fast", "best", quality="best")
MODELS = models(frozenset({"auto"}))
PRICE = price(dict, dict.fromkeys(("input", "output", "cached", "written"), dollars()))


class Cost:
    """What a price becomes."""

    def __init__(self, input: float, output: float, cached: float = 0.0, written: float = 0.0) -> None:
        self.all = (input, output, cached, written)


PREFER = listed("[a-z_]+", "providers", {"claude-cli": "claude_cli"})


def read(rule: Rule, text: str) -> Any:
    """A text from outside, as the rule takes it."""
    return rule.check(rule.parse(text))


@pytest.mark.parametrize(
    ("rule", "text", "value"),
    [
        (PORT, "8001", 8001),
        (PORT, " 1 ", 1),
        (seconds(5), "5", 5),
        (seconds(5), "0.25", 0.25),
        (TIER, "fast", "fast"),
        (TIER, " Quality ", "best"),
        (switch(), "on", True),
        (switch(), "YES", True),
        (switch(), "1", True),
        (switch(), "true", True),
        (switch(), "off", False),
        (switch(), "No", False),
        (switch(), "0", False),
        (switch(), "false", False),
        (names(), "a, b,", ("a", "b")),
        (names(), "", ()),
        (address(), "127.0.0.1", "127.0.0.1"),
        (address(), "::", "::"),
        (address(), "my_host.lan", "my_host.lan"),
        (url(), "https://api.example.com/v1/", "https://api.example.com/v1"),
        (url(), "http://127.0.0.1:11434", "http://127.0.0.1:11434"),
        (url(), "http://localhost:11434/", "http://localhost:11434"),
        (url(), "http://[::1]:80/x", "http://[::1]:80/x"),
        (url(optional=True), "", ""),
        (url(any_host=True), "http://proxy.corp:3128", "http://proxy.corp:3128"),
        (existing_file(), "", ""),
        (existing_file(), __file__, __file__),
        (model(), " openai/gpt-4.1:free ", "openai/gpt-4.1:free"),
        (model(), "ä model", "ä model"),
        (model(), "m" * 256, "m" * 256),
        (MODELS, "a, b/c,", ("a", "b/c")),
        (MODELS, "", ()),
        (PREFER, "ollama,claude-cli", ("ollama", "claude_cli")),
        (dollars(), "2", 2.0),
        (dollars(), "0", 0.0),
        (program(), "claude", "claude"),
        (program(), "claude-2.1", "claude-2.1"),
        (program(), "/opt/my tools/claude", "/opt/my tools/claude"),
    ],
)
def test_a_text_becomes_the_value_it_means(rule: Rule, text: str, value: Any) -> None:
    found = read(rule, text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("rule", "value", "must"),
    [
        (PORT, "five", "a whole number, like 8001"),
        (PORT, 5.0, "a whole number, like 8001"),
        (PORT, True, "a whole number, like 8001"),
        (PORT, 0, "a whole number from 1 to 65535, like 8001"),
        (PORT, 65_536, "a whole number from 1 to 65535, like 8001"),
        (seconds(5), "5s", "a number of seconds above 0, like 5"),
        (seconds(5), 0, "a number of seconds above 0, like 5"),
        (seconds(5), float("nan"), "a number of seconds above 0, like 5"),
        (seconds(5), float("inf"), "a number of seconds above 0, like 5"),
        (seconds(5), False, "a number of seconds above 0, like 5"),
        (TIER, "faster", "one of fast, best"),
        (TIER, ["fast"], "one of fast, best"),
        (switch(), "maybe", "true or false"),
        (switch(), 1, "true or false"),
        (names(), "a", 'a list of names, like ["llama-3.3-70b"]'),
        (names(), ["a", 1], 'a list of names, like ["llama-3.3-70b"]'),
        (names(), [" "], 'a list of names, like ["llama-3.3-70b"]'),
        (address(), "", "an address of this machine, like 127.0.0.1"),
        (address(), "localhost:80", "an address of this machine, like 127.0.0.1"),
        (address(), "http://localhost", "an address of this machine, like 127.0.0.1"),
        (address(), 1, "an address of this machine, like 127.0.0.1"),
        (existing_file(), "ca.pem", "the full path of a file that is there"),
        (existing_file(), "/no/such/file", "the full path of a file that is there"),
        (existing_file(), "~nobody-of-that-name/ca.pem", "the full path of a file that is there"),
        (existing_file(), 1, "the full path of a file that is there"),
        *(
            (model(), bad, "a model's name, like gpt-4o-mini")
            for bad in ("", " ", 1, "a\r\nb", "a\x00", "m" * 257, "-m")
        ),
        (MODELS, "a", 'a list of models, like ["gpt-4o", "claude-sonnet-4-5"]'),
        (MODELS, ["a", 1], 'a list of models, like ["gpt-4o", "claude-sonnet-4-5"]'),
        (MODELS, ["a", "b\nc"], 'a list of models, like ["gpt-4o", "claude-sonnet-4-5"]'),
        (MODELS, ["a", "auto"], "a list of models other than auto"),
        *((dollars(), bad, "a number of US dollars from 0 on, like 2.5") for bad in (-1, "1", True, float("nan"))),
        *((dollars(), bad, "a number of US dollars from 0 on, like 2.5") for bad in (float("inf"), 10**400)),
        *(
            (program(), bad, "a program's name, like claude, or its full path")
            for bad in ("", "./claude", "bin/claude", "..", "-c", "a b", "/x\0y", 1, None)
        ),
    ],
)
def test_a_value_that_cannot_work_is_refused_with_what_it_must_be(rule: Rule, value: Any, must: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(must)}$"):
        rule.check(value)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("1.0,2.0", {"input": 1.0, "output": 2.0}),
        ("1/2", {"input": 1.0, "output": 2.0}),
        (" 1 , 2 , 0.5 ", {"input": 1.0, "output": 2.0, "cached": 0.5}),
        ("1,2,,3", {"input": 1.0, "output": 2.0, "written": 3.0}),
        ([1, 2], {"input": 1.0, "output": 2.0}),
        ((1, 2.5, 0, 4), {"input": 1.0, "output": 2.5, "cached": 0.0, "written": 4.0}),
    ],
)
def test_a_price_is_read_from_a_text_or_a_list(given: Any, found: dict[str, float]) -> None:
    assert PRICE.check(PRICE.parse(given) if isinstance(given, str) else given) == found


@pytest.mark.parametrize(
    "value",
    ["", "1", "1,", ",1", "a,b", "1,2,3,4,5", [], [1], [1, -2], [1, "2"], [True, 1], [1, float("inf")], 1, None],
)
def test_what_is_no_price_is_refused(value: Any) -> None:
    rule = price(Cost, PRICE.members)
    with pytest.raises(
        ValueError, match=r"^US dollars for a million tokens of input and of output, like 2\.5,10 or \["
    ):
        rule.check(rule.parse(value) if isinstance(value, str) else value)


@pytest.mark.parametrize("name", ["a", "gpt-4.1", "a/b:c", "ä b", "openai", "m" * 256])
def test_a_name_of_ones_own_is_what_a_model_may_be_called(name: str) -> None:
    assert Named(model(), "a=b", frozenset({"auto"})).refusal(name) == ""


@pytest.mark.parametrize(
    "name", ["", " a", "a ", "a\nb", "a\rb", "\x1b[2J", "\u202eab", 'a"b', "it's", "-x", "m" * 257]
)
def test_a_name_that_is_none_is_refused(name: str) -> None:
    assert Named(model(), "a=b").refusal(name).startswith("it must be printable, without quotes")


def test_a_name_that_has_a_meaning_is_refused() -> None:
    assert (
        Named(model(), "a=b", frozenset({"auto", "default"})).refusal("auto")
        == "auto and default have a meaning already"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "api.example.com",
        "ftp://example.com",
        "https://",
        "https:///v1",
        "https://exa mple.com",
        "https://example.com\\@evil.com",
        "https://exämple.com",
        "https://a,b",
        "https://example.com:0",
        "https://example.com:99999",
        "https://example.com:port",
        "https://[::1",
        "https://example.com/v1?x=1",
        "https://example.com/v1#x",
        "https://example.com/\n",
    ],
)
def test_what_is_no_url_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a URL, like https://api\.example\.com/v1$"):
        url().check(text)


@pytest.mark.parametrize(
    "text", ["https://user@example.com", "https://user:pass@example.com", "http://127.0.0.1@evil.com"]
)
def test_a_url_with_somebodys_name_in_it_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="without a user name or password"):
        url().check(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://api.example.com",
        "http://192.168.1.5:11434",
        "http://0.0.0.0:1",
        "http://localhost.evil.com",
        "http://127.1",
    ],
)
def test_plain_http_is_for_this_machine_only(text: str) -> None:
    """What is not proven to be this machine counts as another one."""
    with pytest.raises(ValueError, match="https, because plain http is for this machine only"):
        url().check(text)


def test_a_file_in_the_home_folder_may_be_named_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ca.pem").touch()
    assert existing_file().check("~/ca.pem") == str(tmp_path / "ca.pem")


@pytest.mark.parametrize(
    ("host", "is_so"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("0.0.0.0", False),  # noqa: S104  # asked about, not bound
        ("::", False),
        ("0", False),
        ("", False),
        ("localhost.", False),
        ("example.com", False),
        ("10.0.0.1", False),
    ],
)
def test_only_what_is_surely_this_machine_is_loopback(host: str, is_so: bool) -> None:
    assert is_loopback(host) is is_so


@unhurried
@given(st.text())
def test_no_text_breaks_a_rule(text: str) -> None:
    """Whatever comes in, it is taken or refused with a sentence."""
    rules = (PORT, seconds(1), TIER, switch(), names(), address(), url(), existing_file(), model(), MODELS, PREFER)
    for rule in (*rules, dollars(), price(dict, PRICE.members), program()):
        try:
            read(rule, text)
        except ValueError as error:
            assert str(error)  # noqa: PT017  # either way is right
