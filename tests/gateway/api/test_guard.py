"""Who may even speak: the envelope decides, whatever is in the letter."""

from __future__ import annotations

from typing import Any

import pytest

from membrain.api.guard import Guard, credential_of, headers_of
from membrain.egress import HOP_HEADER
from membrain.errors import BadRequest, Forbidden, LoopDetected, MembrainError, TooLarge, UnsupportedType

GUARD = Guard({"127.0.0.1", "localhost", "[::1]"}, 8001, body_bytes=20 << 20)
JSON = {"host": "127.0.0.1:8001", "content-type": "application/json"}


def scope(headers: dict[str, str] | list[tuple[str, str]], method: str = "POST") -> dict[str, Any]:
    pairs = headers.items() if isinstance(headers, dict) else headers
    return {"method": method, "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]}


def refused(headers: dict[str, str] | list[tuple[str, str]], method: str = "POST") -> MembrainError:
    with pytest.raises(MembrainError) as told:
        GUARD.check(scope(headers, method))
    assert 400 <= told.value.status < 500 or told.value.status == 508
    return told.value


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"])
def test_a_plain_request_passes_and_gives_its_headers(method: str) -> None:
    assert GUARD.check(scope({**JSON, "x-Odd": "é"}, method))["host"] == "127.0.0.1:8001"


@pytest.mark.parametrize("host", ["127.0.0.1:8001", "localhost:8001", "LOCALHOST:8001", "[::1]:8001"])
def test_our_own_names_pass(host: str) -> None:
    assert GUARD.check(scope({**JSON, "host": host}))


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS", "DELETE"])
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8001",
        "127.0.0.1",
        "127.0.0.1:8002",
        "localhost",
        "127.0.0.1:8001.evil.example",
        "localhost:8001@evil.example",
        "127.0.0.1.evil.example:8001",
        "0.0.0.0:8001",
        "127.1:8001",
        "[::]:8001",
        "::1:8001",
        "",
        " 127.0.0.1:8001",
    ],
)
def test_a_foreign_host_is_refused(method: str, host: str) -> None:
    """A rebound name has the right address and the wrong name."""
    error = refused({**JSON, "host": host}, method)
    assert isinstance(error, Forbidden)
    assert "http://127.0.0.1:8001" in error.sentence
    assert "evil" not in error.sentence


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_without_host_is_refused(method: str) -> None:
    assert isinstance(refused({"content-type": "application/json"}, method), Forbidden)


def test_on_port_80_the_port_may_be_left_out() -> None:
    guard = Guard({"127.0.0.1"}, 80, body_bytes=1)
    assert guard.check(scope({"host": "127.0.0.1"}, "GET"))
    assert guard.check(scope({"host": "127.0.0.1:80"}, "GET"))


@pytest.mark.parametrize("name", ["origin", "referer"])
@pytest.mark.parametrize(
    "value",
    [
        "http://evil.example",
        "https://127.0.0.1:8001",
        "http://127.0.0.1:8002",
        "http://127.0.0.1",
        "http://127.0.0.1:8001.evil.example",
        "http://127.0.0.1:8001@evil.example/",
        "null",
        "",
        "file://",
        "http:127.0.0.1:8001",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_pages_of_other_origins_are_refused(name: str, value: str, method: str) -> None:
    assert isinstance(refused({**JSON, name: value}, method), Forbidden)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("origin", "http://127.0.0.1:8001"),
        ("origin", "http://localhost:8001"),
        ("origin", "http://[::1]:8001"),
        ("referer", "http://127.0.0.1:8001/health?x=http://evil.example"),
        ("referer", "http://127.0.0.1:8001"),
    ],
)
def test_our_own_pages_pass(name: str, value: str) -> None:
    assert GUARD.check(scope({**JSON, name: value}))


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "x"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_sites_are_refused(site: str, method: str) -> None:
    assert isinstance(refused({**JSON, "sec-fetch-site": site}, method), Forbidden)


@pytest.mark.parametrize("site", ["none", "same-origin"])
def test_our_own_site_passes(site: str) -> None:
    assert GUARD.check(scope({**JSON, "sec-fetch-site": site}))


def test_what_a_gateway_sent_is_refused() -> None:
    error = refused({**JSON, HOP_HEADER: "1"})
    assert isinstance(error, LoopDetected)
    assert error.status == 508


# --- bodies


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
        "application/jsonp",
        "json",
    ],
)
def test_a_body_is_json_and_says_so(method: str, kind: str) -> None:
    """What a page can send without being asked first is none of these."""
    assert isinstance(refused({**JSON, "content-type": kind}, method), UnsupportedType)


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON ;x=y"])
def test_json_passes_however_it_is_spelled(kind: str) -> None:
    assert GUARD.check(scope({**JSON, "content-type": kind}))


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "br", "deflate", "identity, gzip", "x"])
def test_a_packed_body_is_refused_and_never_sent_on(encoding: str) -> None:
    error = refused({**JSON, "content-encoding": encoding})
    assert isinstance(error, UnsupportedType)
    assert error.status == 415


@pytest.mark.parametrize("encoding", ["identity", "Identity"])
def test_a_plain_body_may_say_so(encoding: str) -> None:
    assert GUARD.check(scope({**JSON, "content-encoding": encoding}))


def test_a_body_over_the_cap_is_refused_before_it_comes() -> None:
    error = refused({**JSON, "content-length": str((20 << 20) + 1)})
    assert isinstance(error, TooLarge)
    assert "20 MB" in error.message
    assert "limits.body_mb" in error.sentence
    assert GUARD.check(scope({**JSON, "content-length": str(20 << 20)}))


def test_what_has_no_body_need_not_be_json() -> None:
    assert GUARD.check(scope({"host": "127.0.0.1:8001"}, "GET"))
    assert GUARD.check(scope({"host": "127.0.0.1:8001"}, "DELETE"))


def test_a_body_that_nobody_reads_may_be_of_any_kind_but_not_of_any_origin() -> None:
    form = {"host": "127.0.0.1:8001", "content-type": "multipart/form-data", "content-length": str(1 << 40)}
    assert GUARD.check(scope(form), bodiless=True)
    with pytest.raises(Forbidden):
        GUARD.check(scope({**form, "origin": "https://evil.example"}), bodiless=True)


# --- headers that come twice


@pytest.mark.parametrize(
    "name",
    [
        "host", "origin", "referer", "sec-fetch-site", "content-type", "content-length", "content-encoding",
        "authorization", "x-api-key", "x-membrain-api-key", "x-membrain-private", "x-membrain-tier",
        "x-membrain-max-cost",
    ],
)  # fmt: skip
def test_a_header_that_decides_may_not_say_two_things(name: str) -> None:
    """Who is right, the first or the last? Two readers of one request must not answer that differently."""
    pairs = [*((key, value) for key, value in JSON.items() if key != name), (name, "a"), (name, "canary-7f3a")]
    error = refused(pairs)
    assert isinstance(error, BadRequest)
    assert name in error.message
    assert "canary" not in error.sentence


def test_a_header_may_say_one_thing_twice() -> None:
    pairs = [*JSON.items(), ("host", "127.0.0.1:8001")]
    assert GUARD.check(scope(pairs))


def test_of_other_headers_the_last_counts() -> None:
    assert headers_of(scope([("x-odd", "1"), ("x-odd", "2")])) == {"x-odd": "2"}


# --- keys


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({}, None),
        ({"authorization": "Bearer ck_live_1"}, "ck_live_1"),
        ({"authorization": "bearer  ck_live_1 "}, "ck_live_1"),
        ({"authorization": "Basic abc"}, "Basic abc"),
        ({"authorization": ""}, ""),
        ({"authorization": "Bearer "}, ""),
        ({"x-api-key": "ck_live_2"}, "ck_live_2"),
        ({"x-membrain-api-key": "ck_live_3"}, "ck_live_3"),
        ({"x-membrain-api-key": "a", "authorization": "Bearer b", "x-api-key": "c"}, "a"),
        ({"authorization": "Bearer b", "x-api-key": "c"}, "b"),
    ],
)
def test_a_key_may_come_in_three_headers(headers: dict[str, str], key: str | None) -> None:
    """One that was sent, however badly, is never taken for none."""
    assert credential_of(headers) == key


@pytest.mark.parametrize(
    ("first", "second", "fine"),
    [
        ("ck_live_1", "ck_live_1", True),
        ("ck_live_1", "sk-of-a-provider", True),
        ("ck_live_1", "ck_live_2", False),
        ("sk-of-a-provider", "ck_live_2", False),
        ("", "ck_live_2", False),
    ],
)
@pytest.mark.parametrize(
    "places",
    [("x-membrain-api-key", "authorization"), ("x-membrain-api-key", "x-api-key"), ("authorization", "x-api-key")],
)
def test_behind_a_key_may_stand_anothers_but_not_a_second_one_of_ours(
    places: tuple[str, str], first: str, second: str, fine: bool
) -> None:
    headers = {
        name: f"Bearer {key}" if name == "authorization" else key
        for name, key in zip(places, (first, second), strict=True)
    }
    if fine:
        assert credential_of(headers) == first
        return
    with pytest.raises(BadRequest) as refused:
        credential_of(headers)
    assert "ck_live_2" not in refused.value.sentence


@pytest.mark.parametrize(
    "name", ["x-membrain-privat", "x_membrain_private", "x-membrain-", "x-membrain", "x-membrain_tier"]
)
def test_a_misspelt_header_of_ours_is_refused(name: str) -> None:
    error = refused({**JSON, name: "true"})
    assert isinstance(error, BadRequest)
    assert "no header" in error.message


def test_the_guides_curl_lines_need_not_name_their_type() -> None:
    form = {"host": JSON["host"], "content-type": "application/x-www-form-urlencoded"}
    assert GUARD.check(scope({**form, "user-agent": "curl/8.5.0"}))
    assert isinstance(refused({**form, "user-agent": "Mozilla/5.0"}), UnsupportedType)
    assert isinstance(refused(form), UnsupportedType)
    assert isinstance(refused({**form, "user-agent": "curl/8.5.0", "origin": "https://evil.example"}), Forbidden)
    assert isinstance(refused({**form, "user-agent": "curl/8.5.0", "content-type": "text/plain"}), UnsupportedType)
