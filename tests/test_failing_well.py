"""Providers fail in every way there is, and the person who asked hardly notices: the right one answers, or it is told.

Against a gateway in a process of its own, with three fake upstreams behind it: OpenAI, Anthropic, and a provider of the
user's own naming. What may be repeated is said by `membrain.routing.retries`; this holds the whole house to it.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from membrain.egress import Egress, Limits
from membrain.errors import ProviderFailed
from membrain.records import Passport
from membrain.settings import Settings
from tests.growth import rounds
from tests.served import Served
from tests.sink import Reply, Sink, nobody_picks_up

SAYS = {
    "openai": "The harbour master heard <{said}> and rang the bell twice, as one does at noon.",
    "anthropic": "A gardener listened to <{said}> and went on watering the beans along the wall.",
    "third": "Somewhere a train driver noted <{said}> and blew the whistle before the bridge.",
    "dead": "The old clock struck at <{said}> although nobody had wound it for a year.",
}
"""What each upstream says, so that a word of an answer shows whose it is."""

CHAT = "/v1/chat/completions"
MODELS = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-20250514", "third": "third-large"}
"""The three among which `auto` chooses."""

SILENCE = 1.3
"""Seconds after which this gateway takes an upstream for silent."""

_numbers = count(1)
_standing: list[Stand] = []


# --- one question, and all that came of it


@dataclass
class Heard:
    """What a caller heard, whatever became of it."""

    asked: str
    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool
    """The body came to its proper end."""
    stream: bool
    began: float = 0.0
    """Monotonic seconds, when it was asked."""

    @property
    def is_stream(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")

    @property
    def events(self) -> list[Any]:
        found = [each[6:] for each in self.body.decode().split("\n\n") if each.startswith("data: ")]
        return [each if each == "[DONE]" else json.loads(each) for each in found]

    @property
    def done(self) -> bool:
        """A stream that says it is over, or a good whole answer."""
        return self.events[-1:] == ["[DONE]"] if self.is_stream else self.status == 200

    @property
    def text(self) -> str:
        """What was said, all pieces of it."""
        if not self.is_stream:
            choices = json.loads(self.body).get("choices") or []
            return "".join(each["message"]["content"] or "" for each in choices)
        choices = [choice for each in self.events if isinstance(each, dict) for choice in each.get("choices", ())]
        return "".join(choice.get("delta", {}).get("content") or "" for choice in choices)

    @property
    def error(self) -> dict[str, Any] | None:
        """The error that was told, as a body or as a stream's last event."""
        if self.is_stream:
            told = [each["error"] for each in self.events if isinstance(each, dict) and each.get("error")]
            return told[-1] if told else None
        found: dict[str, Any] | None = json.loads(self.body).get("error") if self.status != 200 else None
        return found

    @property
    def code(self) -> str | None:
        return self.error["code"] if self.error else None

    @property
    def who(self) -> str | None:
        return self.headers.get("x-membrain-provider")

    @property
    def attempts(self) -> int:
        return int(self.headers.get("x-membrain-attempts", "0"))


def ask(port: int, model: str = "auto", *, stream: bool = False, **headers: str) -> Heard:
    """One question in words that no other one has, on a connection of its own."""
    text = f"question number {next(_numbers)} of today"
    body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}
    told = {"content-type": "application/json", **{name.replace("_", "-"): each for name, each in headers.items()}}
    began = time.monotonic()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), told)
        response = connection.getresponse()
        got = {name.lower(): value for name, value in response.getheaders()}
        try:
            raw, whole = response.read(), True
        except http.client.IncompleteRead as cut:
            raw, whole = cut.partial, False
    return Heard(text, response.status, got, raw, whole, stream, began)


# --- three upstreams and a gateway before them


@contextmanager
def nobody_listens() -> Iterator[str]:
    """An address of this machine that refuses every connection, and stays so."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/v1"


@dataclass
class Stand:
    """A gateway, and the sinks that it takes for the world."""

    served: Served
    sinks: Mapping[str, Sink]

    @property
    def port(self) -> int:
        return self.served.port

    def script(self, who: str, *replies: Reply, forever: bool = True) -> None:
        """What *who* does from now on."""
        self.sinks[who].script("/v1/messages" if who == "anthropic" else CHAT, *replies, forever=forever)

    def clear(self) -> None:
        for sink in self.sinks.values():
            sink.clear()

    def prefer(self, *names: str) -> None:
        """Ask *names* first; and forget how anybody was."""
        listed = ", ".join(f'"{name}"' for name in names)
        file = self.served.home / "config" / "config.toml"
        file.write_text(f"[routing]\nprefer = [{listed}]\n")
        assert self.served.post("/api/reload", {}).status == 200
        assert self.served.get("/api/tiers").json()["prefer"] == list(names)

    def posts(self, heard: Heard) -> dict[str, int]:
        """How often each upstream was sent that question."""
        mark = heard.asked.encode()
        found = {who: sum(mark in each.body for each in sink.requests) for who, sink in self.sinks.items()}
        return {who: times for who, times in found.items() if times}

    def recovered(self, who: str, times: int) -> None:
        """Have *who* answer so often, that it does not count as broken for what was done to it."""
        for _ in range(times):
            assert ask(self.port, MODELS[who]).status == 200

    def audited(self, heard: Heard) -> dict[str, Any]:
        """What is on record of it."""
        record: dict[str, Any] = self.served.get(f"/api/audit/{heard.headers['x-request-id']}").json()
        return record


@contextmanager
def stand(home: Path, *more: str, **environ: str) -> Iterator[Stand]:
    """*more* are models of the balanced tier beside those of the three."""
    with ExitStack() as stack:
        sinks = {who: stack.enter_context(Sink(says=text)) for who, text in SAYS.items()}
        served = Served(
            home,
            sinks["openai"],
            port=None,
            UPSTREAM_ANTHROPIC_URL=sinks["anthropic"].url,
            OLLAMA_URL="",
            MEMBRAIN_PROVIDERS_OLLAMA_URL="",
            MEMBRAIN_PROVIDERS_THIRD_URL=f"{sinks['third'].url}/v1",
            MEMBRAIN_PROVIDERS_THIRD_MODELS=MODELS["third"],
            MEMBRAIN_PROVIDERS_REFUSED_URL=stack.enter_context(nobody_listens()),
            MEMBRAIN_PROVIDERS_REFUSED_MODELS="refused-large",
            MEMBRAIN_PROVIDERS_HOLE_URL=f"http://127.0.0.1:{stack.enter_context(nobody_picks_up())}/v1",
            MEMBRAIN_PROVIDERS_HOLE_MODELS="hole-large",
            MEMBRAIN_PROVIDERS_DEAD_URL=f"{sinks['dead'].url}/v1",
            MEMBRAIN_PROVIDERS_DEAD_MODELS="dead-large",
            MEMBRAIN_TIERS_BALANCED=",".join([*more, *MODELS.values()]),
            MEMBRAIN_TIERS_FAST=",".join(["refused-large", *MODELS.values()]),
            MEMBRAIN_TIERS_BEST=",".join(["hole-large", *MODELS.values()]),
            **environ,
        )
        stack.enter_context(served)
        made = Stand(served, sinks)
        _standing.append(made)
        yield made
        _standing.remove(made)
        served.assert_sound()


IMPATIENT = {
    "MEMBRAIN_LIMITS_CONNECT_SECONDS": str(SILENCE / 2),
    "MEMBRAIN_LIMITS_FIRST_BYTE_SECONDS": str(SILENCE),
    "MEMBRAIN_LIMITS_WHOLE_SECONDS": str(SILENCE),
    "MEMBRAIN_LIMITS_IDLE_SECONDS": str(SILENCE),
}


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with stand(tmp_path_factory.mktemp("impatient") / "home", **IMPATIENT) as made:
        yield made


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """With the limits that a person has who sets none, and with breakers as they have them."""
    with stand(tmp_path_factory.mktemp("patient") / "home", "dead-large", MEMBRAIN_ROUTING_BREAKER="true") as made:
        yield made


@pytest.fixture(autouse=True)
def _clear() -> Iterator[None]:
    yield
    for each in _standing:
        each.clear()


# --- every way to fail, and what becomes of it


@dataclass(frozen=True)
class Ends:
    """What becomes of a question whose first provider fails.

    Without a status the next one answers. With `keyed`, it does so where the caller sent `Idempotency-Key`. `midway` is
    a stream that had begun: it breaks off with the error in its last event.
    """

    status: int = 0
    code: str = ""
    keyed: bool = False
    midway: bool = False


NEXT = Ends()
"""The next one answers."""
BILLED = Ends(502, "provider_failed", keyed=True)
"""It may have cost money, so it is the caller's to say whether it is tried again."""
SILENT = Ends(504, "provider_failed", keyed=True)
BROKEN = Ends(200, "provider_failed", midway=True)
ITSELF = Ends(200)
"""It answers after all."""


@dataclass(frozen=True)
class Way:
    """A way to fail, as the sink calls it or as it answers, and its end for whole answers and for streams."""

    says: str | Reply
    whole: Ends | None
    """None where there is no such thing."""
    stream: Ends
    tier: str = "balanced"
    """The one with the failing provider in it."""
    coded: bool = True
    """The code is ours. Anthropic's errors have a type and none."""

    @property
    def reply(self) -> Reply:
        return Reply(behave=self.says) if isinstance(self.says, str) else self.says

    def ends(self, *, stream: bool) -> Ends | None:
        return self.stream if stream else self.whole


def both(says: str | Reply, ends: Ends, **more: Any) -> Way:
    return Way(says, ends, ends, **more)


def refusal(status: int, code: str, **headers: str) -> Reply:
    error = {"type": "requests", "code": code, "message": "No.", "param": None}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"type": "error", "error": error}, headers=named)


SLOWLY = "slow-10"
"""Before each piece, so that what is sent before a reset is not lost with it."""

WAYS: dict[str, Way] = {
    "no connection": both("", NEXT, tier="fast"),
    "a black hole": both("", NEXT, tier="best"),
    "400": both("status-400", Ends(400, "invalid_request"), coded=False),
    "401": both("status-401", NEXT),
    "403": both("status-403", NEXT),
    "402": both("status-402", NEXT),
    "404": both("status-404", NEXT),
    "413": both("status-413", Ends(413, "request_too_large"), coded=False),
    "429": both(refusal(429, "rate_limit_exceeded"), NEXT),
    "429, the quota is used up": both(refusal(429, "insufficient_quota"), NEXT),
    "500": both("status-500", NEXT),
    "502": both("status-502", NEXT),
    "503": both("status-503", NEXT),
    "529": both("status-529", NEXT),
    "a redirect": both("redirect-307", NEXT),
    "a reset before the first piece": both("reset", BILLED),
    "a reset after it": Way(f"{SLOWLY}-reset-mid", BILLED, BROKEN),
    "a truncated body": both("truncated", BILLED),
    "a stream that ends too soon": Way(f"{SLOWLY}-cut-mid", BILLED, BROKEN),
    "silence": both("stall", SILENT),
    "silence in the middle": Way(f"{SLOWLY}-stall-mid", SILENT, BROKEN),
    "no HTTP": both("garbage", BILLED),
    "a sign-in page": both("html", BILLED),
    "half a JSON": both("bad-json", BILLED),
    "nothing at all": both("empty", BILLED),
    "an error instead of an answer": both("sse-error", NEXT),
    "an error in the middle": Way(f"{SLOWLY}-sse-error-mid", ITSELF, Ends(200, "overloaded", midway=True), coded=False),
}
ELSEWHERE = {"fast": "refused", "best": "hole"}
"""Who fails in a tier other than the balanced one, where it is one of the three."""


@pytest.fixture(scope="module", params=["openai", "anthropic"])
def first(request: pytest.FixtureRequest, impatient: Stand) -> str:
    """Who is asked first, and fails: in its own words each."""
    name: str = request.param
    impatient.prefer("refused", "hole", name, *(each for each in MODELS if each != name))
    return name


@pytest.mark.parametrize("way", WAYS)
def test_the_right_one_answers_or_the_right_error_comes(impatient: Stand, first: str, way: str) -> None:
    failing = WAYS[way]
    if failing.says:
        impatient.script(first, failing.reply, forever=True)
    streams = [stream for stream in (False, True) if failing.ends(stream=stream)]
    variants = [(stream, keyed) for stream in streams for keyed in (False, True)]

    def asked(variant: tuple[bool, bool]) -> Heard:
        stream, keyed = variant
        key = {"idempotency-key": f"k-{next(_numbers)}"} if keyed else {}
        return ask(impatient.port, stream=stream, x_membrain_tier=failing.tier, **key)

    with ThreadPoolExecutor(len(variants)) as pool:
        heard = list(pool.map(asked, variants))
    impatient.script(first)
    for (stream, keyed), each in zip(variants, heard, strict=True):
        about = f"{first}, {way}, {'streamed' if stream else 'whole'}, {'with' if keyed else 'without'} a key:"
        check(impatient, each, failing, first, keyed=keyed, about=about)


def check(stand: Stand, heard: Heard, way: Way, first: str, *, keyed: bool, about: str) -> None:
    """That *heard* is what *way* ends in."""
    ends = way.ends(stream=heard.stream)
    assert ends is not None
    failing = ELSEWHERE.get(way.tier, first)
    second = next(each for each in (first, *MODELS) if each != failing)
    asked = {failing} & stand.sinks.keys()
    if not ends.status or (ends.keyed and keyed):
        assert (heard.status, heard.done, heard.error) == (200, True, None), f"{about} nobody answered: {heard.body!r}"
        assert heard.who == second, f"{about} the wrong one answered"
        assert heard.text == SAYS[second].format(said=heard.asked), f"{about} the text is not that of {second}"
        assert heard.attempts == 2, f"{about} it took more attempts than it should"
        assert stand.posts(heard) == dict.fromkeys({*asked, second}, 1), f"{about} somebody was asked for nothing"
        record = stand.audited(heard)
        assert [each["provider"] for each in record["attempts"]] == [failing, second], f"{about} not on record"
        return
    assert heard.attempts == 1, f"{about} it was repeated, and may be paid twice"
    assert stand.posts(heard) == dict.fromkeys(asked, 1), f"{about} it was sent again"
    assert heard.status == ends.status, f"{about} another status: {heard.body!r}"
    if ends is ITSELF:
        assert heard.text == SAYS[first].format(said=heard.asked), f"{about} an answer got lost"
        return
    code = ends.code if way.coded or first != "anthropic" else "provider_failed"
    assert heard.code == code, f"{about} it is not told what happened"
    assert not heard.done, f"{about} what broke looks finished"
    if ends.midway:
        whole = SAYS[first].format(said=heard.asked)
        assert whole.startswith(heard.text), f"{about} what was said is not what {first} said"
        assert 0 < len(heard.text) < len(whole), f"{about} what had come was lost"
        assert not heard.whole, f"{about} the connection ended as if all was well"


# --- how long that takes


def test_a_refused_connection_costs_no_tenth_of_a_second(patient: Stand) -> None:
    for _ in rounds():
        patient.prefer("refused", *MODELS)  # and forget how often it failed
        heard = [ask(patient.port, x_membrain_tier="fast") for _ in range(5)]
        assert [(each.who, each.attempts) for each in heard] == [("openai", 2)] * 5, "it was not refused, or not told"
        arrived = [each.at for each in patient.sinks["openai"].requests[-5:]]
        if median(at - each.began for at, each in zip(arrived, heard, strict=True)) <= 0.1:
            return
    raise AssertionError("a person waits more than 100 ms because a provider is switched off")


def test_a_black_hole_costs_three_seconds_at_most(patient: Stand) -> None:
    for _ in range(3):  # a busy machine is no reason to fail
        patient.prefer("hole", *MODELS)
        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(ask, patient.port, stream=stream, x_membrain_tier="best") for stream in (False, True)]
            heard = [each.result() for each in asked]
        assert [(each.who, each.attempts, each.done) for each in heard] == [("openai", 2, True)] * 2
        if max(each.at for each in patient.sinks["openai"].requests[-2:]) - heard[0].began <= 3:
            return
    raise AssertionError("a person waits more than three seconds for a provider that nobody can reach")


class Names(AbstractResolver):
    """Takes its time to look a name up, and finds so many addresses."""

    def __init__(self, seconds: float, port: int, addresses: int) -> None:
        self._seconds, self._port, self._addresses = seconds, port, addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        await asyncio.sleep(self._seconds)
        found = ResolveResult(hostname=host, host="127.0.0.1", port=self._port, family=socket.AF_INET, proto=0, flags=0)
        return [found] * self._addresses

    async def close(self) -> None:
        """Nothing is held."""


@pytest.mark.anyio
@pytest.mark.parametrize(("seconds", "addresses"), [(30, 1), (0, 4), (0.2, 4)])
async def test_names_and_all_addresses_share_one_limit(
    monkeypatch: pytest.MonkeyPatch, seconds: float, addresses: int
) -> None:
    with nobody_picks_up() as port:
        names = Names(seconds, port, addresses)
        egress = Egress(Limits(connect=0.3))
        monkeypatch.setattr(egress, "connector", lambda _: aiohttp.TCPConnector(resolver=names))
        upstream = egress.upstream("openai", "https://api.example.com")
        began = time.monotonic()
        with pytest.raises(ProviderFailed) as failed:
            await upstream.post(CHAT, b"{}", Passport("", written=True, looked=True, private=False), stream=False)
        assert time.monotonic() - began < 1.5, "a name server that is slow keeps people waiting"
        assert (failed.value.status, failed.value.reached) == (504, False), "nothing was sent, so it may be repeated"
        await egress.close()


def test_the_limit_that_nobody_sets_leaves_time_for_the_next_one() -> None:
    assert Limits().connect == Settings().limits.connect_seconds == 2.5


# --- the same provider again, where nobody else could be asked


def waited(sink: Sink) -> list[float]:
    """Seconds between the requests that *sink* had."""
    moments = [each.at for each in sink.requests if each.method == "POST"]
    return [round(later - sooner, 3) for sooner, later in pairwise(moments)]


@dataclass(frozen=True)
class Named:
    """What a provider does that was asked for by name, and what becomes of it."""

    replies: Sequence[Reply]
    status: int
    attempts: int
    code: str | None = None
    keyed: bool = False
    least: float = 0.0
    """Seconds that are waited at least."""
    most: float = 1.0


NAMED: dict[str, Named] = {
    "it was busy once": Named([Reply(behave="status-503")], 200, 2),
    "it was busy twice": Named([Reply(behave="status-529")] * 2, 200, 3, most=2.0),
    "it is busy": Named([Reply(behave="status-503")] * 9, 503, 3, "service_unavailable", most=2.0),
    "it says in a second": Named([refusal(429, "rate_limit", retry_after="1")], 200, 2, least=1.0, most=2.0),
    "it says in half a minute": Named([refusal(429, "rate_limit", retry_after="30")], 429, 1, "rate_limit"),
    "its quota is used up": Named([refusal(429, "insufficient_quota")], 429, 1, "insufficient_quota"),
    "its key is wrong": Named([Reply(behave="status-401")], 502, 1, "provider_key_refused"),
    "the request is wrong": Named([Reply(behave="status-400")], 400, 1, "invalid_request"),
    "it may have been billed": Named([Reply(behave="reset")], 502, 1, "provider_failed"),
    "it may, and the caller does not mind": Named([Reply(behave="reset")], 200, 2, keyed=True),
}


@pytest.mark.parametrize("case", NAMED)
def test_who_was_asked_by_name_is_asked_again_only_where_that_helps_and_costs_nothing(
    patient: Stand, case: str
) -> None:
    named = NAMED[case]
    patient.prefer(*MODELS)
    patient.recovered("third", 30)  # a tenth of those may be repeated
    patient.clear()
    patient.script("third", *named.replies, forever=False)
    key = {"idempotency-key": f"k-{next(_numbers)}"} if named.keyed else {}
    heard = ask(patient.port, MODELS["third"], stream=False, **key)
    assert (heard.status, heard.code) == (named.status, named.code), f"{case}: {heard.body!r}"
    assert heard.attempts == named.attempts, f"{case}: asked too often, or given up too soon"
    assert patient.posts(heard) == {"third": named.attempts}, f"{case}: it was sent more often than is told"
    assert sum(waited(patient.sinks["third"])) >= named.least, f"{case}: nobody waited as long as was asked"
    assert sum(waited(patient.sinks["third"])) <= named.most + 2, f"{case}: that was too long to keep anybody waiting"


def test_who_asks_for_a_pause_gets_it_and_auto_passes_on_meanwhile(patient: Stand) -> None:
    patient.prefer(*MODELS)
    patient.script("openai", refusal(429, "rate_limit_exceeded", retry_after="2"), forever=False)
    first, second = ask(patient.port), ask(patient.port)
    assert [(each.who, each.attempts) for each in (first, second)] == [("anthropic", 2), ("anthropic", 1)]
    told = patient.served.post("/api/route", {"model": "auto"}).json()["candidates"]
    (resting,) = [each for each in told if each["provider"] == "openai" and each["model"] == "gpt-4o"][:1]
    assert not resting["kept"], "`route explain` says it would be asked"
    assert 0 < resting["resting_seconds"] <= 2
    named = ask(patient.port, "gpt-4o")
    assert (named.status, named.code) == (503, "provider_resting")
    assert named.headers["retry-after"] in {"1", "2"}, "nobody says when to come back"
    assert patient.posts(second) == {"anthropic": 1}, "it was asked in its pause"
    assert not patient.posts(named), "it was asked in its pause"
    time.sleep(2.05)
    assert (after := ask(patient.port)).who == "openai", "its pause is over, and nobody comes back"
    assert after.attempts == 1


# --- a provider that is dead


@pytest.mark.parametrize(
    ("which", "model", "most"),
    [("patient", "dead-large", 100), ("patient", "refused-large", 100), ("impatient", "dead-large", 1100)],
)
def test_a_thousand_requests_to_a_dead_provider_are_not_more_than_eleven_hundred_attempts(
    request: pytest.FixtureRequest, which: str, model: str, most: int
) -> None:
    """And far fewer with a breaker, which the impatient one does not have."""
    stand: Stand = request.getfixturevalue(which)
    stand.prefer(*MODELS)
    stand.script("dead", Reply(behave="status-503"))
    with ThreadPoolExecutor(16) as pool:
        heard = list(pool.map(lambda _: ask(stand.port, model), range(1000)))
    own = (503, "service_unavailable") if model == "dead-large" else (502, "provider_failed")
    told = Counter((each.status, each.code) for each in heard)
    assert told.keys() <= {own, (503, "provider_resting")}, f"somebody was told something else: {told}"
    attempts = sum(each.attempts for each in heard)
    assert 20 <= attempts <= most, f"{attempts} attempts: a dead provider is stormed"
    if model == "dead-large":
        posts = sum(each.method == "POST" for each in stand.sinks["dead"].requests)
        assert posts == attempts, "what callers are told is not what was sent"


def test_a_provider_that_keeps_failing_is_left_alone_until_one_probe_finds_it_well(patient: Stand) -> None:
    patient.prefer("dead", *MODELS)
    patient.script("dead", Reply(behave="status-500"))
    heard = [ask(patient.port) for _ in range(20)]
    assert {(each.who, each.attempts) for each in heard} == {("openai", 2)}, "`auto` did not pass on"
    rested = time.monotonic()
    assert len(patient.sinks["dead"].requests) == 20

    after = [ask(patient.port) for _ in range(5)]
    assert {(each.who, each.attempts) for each in after} == {("openai", 1)}, "`auto` still waits for who is broken"
    named = ask(patient.port, "dead-large")
    assert (named.status, named.code) == (503, "provider_resting")
    assert 1 <= int(named.headers["retry-after"]) <= 5, "nobody says when to come back"
    told = patient.served.post("/api/route", {"model": "dead-large"}).json()
    assert (told["error"], told["candidates"][0]["kept"]) == ("provider_resting", False)

    patient.script("dead", Reply(behave="slow-300"))  # well again, but no quick one
    time.sleep(max(0.0, rested + 4.5 - time.monotonic()))
    assert ask(patient.port, "dead-large").code == "provider_resting", "it was asked before its rest was over"
    assert len(patient.sinks["dead"].requests) == 20, "it was asked while it should be left alone"
    time.sleep(max(0.0, rested + 5.1 - time.monotonic()))
    with ThreadPoolExecutor(6) as pool:
        probing = list(pool.map(lambda _: ask(patient.port, "dead-large"), range(6)))
    assert sorted(each.status for each in probing) == [200, *[503] * 5], "more than one probe was sent"
    assert len(patient.sinks["dead"].requests) == 21
    assert {each.status for each in (ask(patient.port, "dead-large") for _ in range(3))} == {200}, "it stays shut"
    assert ask(patient.port).who == "dead", "`auto` does not come back to it"


# --- nothing twice, nothing lost

TROUBLES = (
    "status-503", "status-529", "reset", "garbage", "empty", "sse-error", f"{SLOWLY}-reset-mid", f"{SLOWLY}-cut-mid",
    f"{SLOWLY}-sse-error-mid",
)  # fmt: skip


def test_every_answer_is_one_providers_whole_text_or_breaks_off_with_a_clear_error(patient: Stand) -> None:
    chance = random.Random(4)
    patient.prefer(*MODELS)
    ways = [
        Reply(behave=chance.choice(TROUBLES)) if chance.random() < 0.3 else Reply(behave="slow-2") for _ in range(120)
    ]
    patient.script("openai", *ways, forever=False)
    patient.script("anthropic", Reply(behave="slow-5-chunks-20"))
    models = ["auto"] * 120 + [MODELS["anthropic"]] * 40 + [MODELS["third"]] * 40
    chance.shuffle(models)
    with ThreadPoolExecutor(len(models)) as pool:
        heard = list(pool.map(lambda model: ask(patient.port, model, stream=True), models))
    ended = Counter(_ended(each) for each in heard)
    assert ended["openai, whole"] > 20, f"the test is not what it means to be: {ended}"
    assert ended["openai, in part"] > 2, f"the test is not what it means to be: {ended}"
    assert ended["anthropic, whole"] > 40, f"nobody passed on: {ended}"
    assert ended["third, whole"] >= 40, f"some that nobody troubled got lost: {ended}"
    for each in heard:
        # One that met a connection which was just being closed was sent to nobody, and is told as if it had been.
        assert len(patient.posts(each)) <= each.attempts, "it was sent to somebody and nobody says so"
        assert set(patient.posts(each).values()) <= {1}, "somebody was sent the same question twice"


def _ended(heard: Heard) -> str:
    """Whose text *heard* is, and how much of it; fails if it is none, or if nobody says that it broke off."""
    whole = {who: text.format(said=heard.asked) for who, text in SAYS.items()}
    if heard.status != 200:
        assert heard.error, "an answer is missing, and nobody says why"
        return "refused"
    who = heard.who or ""
    if heard.done:
        assert heard.text == whole[who], f"this is not what {who} said"
        assert heard.whole
        assert heard.error is None
        return f"{who}, whole"
    assert whole[who].startswith(heard.text), f"this is not the beginning of what {who} said"
    assert heard.error, "it breaks off, and nobody says so"
    assert not heard.whole, "it breaks off, and looks finished"
    return f"{who}, in part"


# --- what the answer says of itself


@dataclass(frozen=True)
class Says:
    """A question, and the headers of its answer: None where there must be none."""

    status: int
    model: str = "gpt-4o"
    stream: bool = False
    openai: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    provider: str | None = None
    attempts: str | None = None
    cost: Callable[[str], object] | None = None


def is_money(text: str) -> bool:
    return float(text) > 0


RECEIPTS: dict[str, Says] = {
    "a whole answer": Says(200, provider="openai", attempts="1", cost=is_money),
    "a stream": Says(200, stream=True, provider="openai", attempts="1"),
    "a whole answer of Anthropic's": Says(200, MODELS["anthropic"], provider="anthropic", attempts="1", cost=is_money),
    "one without a price": Says(200, MODELS["third"], provider="third", attempts="1", cost="unknown".__eq__),
    "the second one's": Says(200, "auto", openai="status-500", provider="anthropic", attempts="2", cost=is_money),
    "the second one's stream": Says(200, "auto", stream=True, openai="reset", provider="anthropic", attempts="2",
                                    headers={"idempotency-key": "k"}),
    "a provider's refusal": Says(400, openai="status-400", provider="openai", attempts="1"),
    "a provider's refusal of a stream": Says(400, stream=True, openai="status-400", provider="openai", attempts="1"),
    "what may have been billed": Says(502, "auto", openai="reset", provider="openai", attempts="1"),
    "a model that the provider has not": Says(404, openai="status-404", provider="openai", attempts="1"),
    "a private question": Says(403, headers={"x-membrain-private": "true"}),
    "a tier that does not exist": Says(400, "auto", headers={"x-membrain-tier": "none-such"}),
    "a key that is wrong": Says(401, headers={"authorization": "Bearer ck_wrong"}),
}  # fmt: skip


@pytest.mark.parametrize("case", RECEIPTS)
def test_every_answer_says_who_answered_after_how_many_attempts_at_what_cost(patient: Stand, case: str) -> None:
    says = RECEIPTS[case]
    patient.prefer(*MODELS)
    if says.openai:
        patient.script("openai", Reply(behave=says.openai))
    heard = ask(patient.port, says.model, stream=says.stream, **says.headers)
    assert heard.status == says.status, heard.body
    assert heard.headers.get("x-request-id"), f"{case} cannot be found again"
    assert heard.who == says.provider, f"{case} does not say who answered"
    model = MODELS[says.provider] if says.provider else None
    assert heard.headers.get("x-membrain-model") == model, f"{case} does not say which model answered"
    assert heard.headers.get("x-membrain-attempts") == says.attempts, f"{case} does not say how often was tried"
    cost = heard.headers.get("x-membrain-cost")
    assert (cost is not None) == (says.cost is not None), f"{case} says {cost} of its cost"
    assert says.cost is None or says.cost(cost or ""), f"{case} says {cost} of its cost"
    if says.attempts:
        assert len(patient.audited(heard)["attempts"]) == int(says.attempts), f"{case} is not on record as it was"
