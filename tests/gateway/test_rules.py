"""What a setting's value must be, and how it is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from membrain.rules import Rule, address, existing_file, is_loopback, names, one_of, seconds, switch, url, whole

unhurried = examples(deadline=None)
PORT = whole(1, 65_535, 8001)
TIER = one_of("fast", "best", quality="best")


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
    ],
)
def test_a_value_that_cannot_work_is_refused_with_what_it_must_be(rule: Rule, value: Any, must: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(must)}$"):
        rule.check(value)


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
    for rule in (PORT, seconds(1), TIER, switch(), names(), address(), url(), existing_file()):
        try:
            read(rule, text)
        except ValueError as error:
            assert str(error)  # noqa: PT017  # either way is right
