"""The one stair down: the same questions, up or down."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from membrain.errors import NotFound
from membrain_cli import reach as module
from membrain_cli.console import CommandError, Exit
from membrain_cli.reach import Reach, events, read
from tests.served import Served
from tests.sink import Sink


@pytest.fixture
def down_again(served: Served, beside: dict[str, str]) -> dict[str, str]:
    """The environment of somebody whose gateway answered two questions and was stopped."""
    served.chat("one", model="gpt-4o")
    served.chat("two", model="no-such-model")
    served.stop()
    return beside


# --- up and down -------------------------------------------------------------------------------------------


def test_a_running_gateway_is_asked(served: Served, beside: dict[str, str]) -> None:
    answer = served.chat("Hello")
    (record,) = Reach(beside).audit({"limit": "5"})
    assert record.id == answer.headers["x-request-id"]
    assert Reach(beside).exchange(record.id[:8]) == record


def test_the_record_is_read_from_its_file_while_the_gateway_is_down(down_again: dict[str, str]) -> None:
    reach = Reach(down_again)
    assert reach.running is None
    two, one = reach.audit({"limit": "5"})
    assert (one.model, two.model) == ("gpt-4o", "no-such-model")
    assert reach.exchange(one.id) == one
    assert reach.usage()["exchanges"] == 2


def test_both_ways_tell_the_same(served: Served, beside: dict[str, str]) -> None:
    served.chat("one")
    up = Reach(beside)
    before = (up.audit({"limit": "5"}), up.usage(), [key.id for key in up.client_keys()])
    served.stop()
    down = Reach(beside)
    usage = json.loads(json.dumps(down.usage()))  # tuples are lists on the wire
    assert (down.audit({"limit": "5"}), usage, [key.id for key in down.client_keys()]) == before


def test_filters_reach_the_record(served: Served, beside: dict[str, str]) -> None:
    served.chat("one", model="gpt-4o")
    served.chat("two", model="gpt-4o-mini")
    assert [record.model for record in Reach(beside).audit({"model": "*-mini"})] == ["gpt-4o-mini"]


@pytest.mark.parametrize("running", [True, False], ids=["up", "down"])
def test_client_keys_are_issued_and_revoked(served: Served, beside: dict[str, str], running: bool) -> None:
    if not running:
        served.stop()
    key, row = Reach(beside).issue("aider", "web")
    assert key.startswith("ck_live_")
    assert (row.name, row.project, row.tail) == ("aider", "web", key[-4:])
    assert "aider" in [each.name for each in Reach(beside).client_keys()]
    assert Reach(beside).revoke(row.id).id == row.id
    assert "aider" not in [each.name for each in Reach(beside).client_keys() if each.revoked is None]


def test_a_key_that_was_issued_while_down_holds_when_up(served: Served, beside: dict[str, str]) -> None:
    served.stop()
    key, _ = Reach(beside).issue("aider", "web")
    served.start()
    assert served.get("/v1/models", **{"x-membrain-api-key": key}).status == 200


def test_the_machine_s_own_key_is_sent(served: Served, beside: dict[str, str], tmp_path: Path) -> None:
    """In mode `token` nobody gets in without, not even on this machine."""
    served.stop()
    with Served(tmp_path / "strict", port=served.port, MEMBRAIN_AUTH_MODE="token") as strict:
        assert strict.get("/api/keys").status == 401
        reach = Reach({**beside, "MEMBRAIN_HOME": str(strict.home)})
        assert reach.key
        assert len(reach.client_keys()) == 1


# --- only a running gateway --------------------------------------------------------------------------------


def test_what_only_a_running_gateway_can_answer_fails_with_what_to_type(environ: dict[str, str]) -> None:
    with pytest.raises(CommandError) as caught:
        Reach(environ).demand()
    assert (caught.value.code, caught.value.remedies) == (Exit.DOWN, (("Start it", "membrain up"),))


def test_nothing_needs_to_be_reloaded_while_it_is_down(environ: dict[str, str]) -> None:
    assert Reach(environ).reload() is False


def test_a_gateway_that_goes_between_two_questions_is_down(served: Served, beside: dict[str, str]) -> None:
    reach = Reach(beside)
    reach.demand()
    served.kill()
    with pytest.raises(CommandError) as caught:
        reach.audit({})
    assert caught.value.code == Exit.DOWN


def test_a_gateway_that_does_not_answer_is_not_waited_for_for_ever(
    served: Served, beside: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reach = Reach(beside)
    reach.demand()

    def silent(*_: object, **__: object) -> tuple[int, bytes]:
        raise TimeoutError

    monkeypatch.setattr("membrain_cli.daemon.exchange", silent)
    with pytest.raises(CommandError, match="did not answer within 10 s"):
        reach.audit({})


def test_a_provider_is_tried_through_the_gateway(served: Served, beside: dict[str, str]) -> None:
    tried = Reach(beside).test("openai")
    assert (tried["name"], tried["ok"]) == ("openai", True)
    assert tried["ms"] > 0


def test_a_provider_without_a_key_cannot_be_tried(served: Served, beside: dict[str, str]) -> None:
    with pytest.raises(NotFound):
        Reach(beside).test("mistral")


def test_the_running_gateway_is_told_to_read_the_keys_again(served: Served, beside: dict[str, str]) -> None:
    assert Reach(beside).reload() is True


# --- following ---------------------------------------------------------------------------------------------


def test_exchanges_are_followed_as_they_end(served: Served, beside: dict[str, str]) -> None:
    feed = Reach(beside).follow()
    assert next(feed)[0] == "snapshot"
    asked = threading.Thread(target=served.chat, args=("Hello",))
    asked.start()
    record = next(data for name, data in feed if name == "exchange")
    asked.join()
    feed.close()
    assert (record["model"], record["outcome"]) == ("gpt-4o", "answered")


def test_following_ends_when_the_gateway_does(served: Served, beside: dict[str, str]) -> None:
    feed = Reach(beside).follow()
    next(feed)
    served.kill()
    assert [name for name, _ in feed if name != "snapshot"] == []


def test_events_are_read_out_of_lines() -> None:
    lines = [
        b": hello\n",
        b"event: exchange\r\n",
        b'data: {"a":\r\n',
        b"data: 1}\r\n",
        b"\r\n",
        b"data: 2\n",
        b"\n",
        b"data: 3\n",
    ]
    assert list(events(iter(lines))) == [("exchange", {"a": 1}), ("message", 2)]


# --- answers -----------------------------------------------------------------------------------------------


def refusal(code: str) -> bytes:
    return json.dumps({"error": {"message": "No. Do this instead.", "code": code}}).encode()


@pytest.mark.parametrize(
    ("status", "code", "exit"),
    [(401, "invalid_api_key", Exit.KEY), (403, "forbidden", Exit.REFUSED), (400, "invalid_request", Exit.FAILED)],
)
def test_a_refusal_is_told_in_the_gateway_s_own_words(status: int, code: str, exit: Exit) -> None:
    with pytest.raises(CommandError, match=r"No\. Do this instead\.") as caught:
        read(status, refusal(code))
    assert caught.value.code is exit


def test_what_is_not_there_is_told_as_such() -> None:
    with pytest.raises(NotFound):
        read(404, refusal("not_found"))


@pytest.mark.parametrize("body", [b"", b"<html>", b'"text"', b'{"error": "text"}'])
def test_a_refusal_without_words_tells_its_status(body: bytes) -> None:
    with pytest.raises(CommandError, match="The gateway answered 500"):
        read(500, body)


def test_an_answer_without_a_body_is_nothing() -> None:
    assert read(204, b"") is None


def test_no_key_is_no_error_before_the_first_start(environ: dict[str, str]) -> None:
    assert Reach(environ).key is None


def test_limits_are_on_every_wait() -> None:
    assert 0 < module.ANSWER_LIMIT < module.TEST_LIMIT < 60


def test_the_end_of_the_chain_is_told_up_and_down(served: Served, beside: dict[str, str]) -> None:
    served.chat("one")
    head = Reach(beside).head()
    assert head is not None
    assert (head["seq"], len(head["seal"])) == (2, 64)
    served.stop()
    assert Reach(beside).head() == head


def test_there_is_no_end_of_a_chain_before_the_first_start(environ: dict[str, str]) -> None:
    assert Reach(environ).head() is None
    assert Reach(environ).link("any") is None
    assert Reach(environ).kept("any") is None


def test_what_left_is_given_byte_for_byte(served: Served, beside: dict[str, str], sink: Sink) -> None:
    id = served.chat("\u00e4 and 7", seed=7).headers["x-request-id"]
    assert Reach(beside).sent(id) == sink.requests[-1].body
    with pytest.raises(NotFound):
        Reach(beside).sent("zzz")
