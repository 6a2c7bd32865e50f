"""What the upstream sent is what arrives, to the byte, and what the caller sent is what the upstream gets.

Against a gateway in a process of its own, over real sockets, in every dialect. There are three exceptions, and no more:
values that were masked; the usage of a stream, which is asked for always and shown to who asked; and U+0085, U+2028 and
U+2029 in streams, which are written as escapes, because text libraries end a line there.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import anthropic
import openai
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from membrain import sse
from tests.scripts.recorded import SCRIPTS, Script
from tests.scripts.spoken import spoken_in
from tests.served import Served
from tests.sink import Reply, Sink

EVENTS = {"content-type": "text/event-stream; charset=utf-8"}
JSON = {"content-type": "application/json"}
WHO = "ada.quillfeather@harbourmail.net"


@dataclass(frozen=True)
class Way:
    """How a dialect is spoken to the gateway, and by it."""

    dialect: str
    path: str
    model: str
    ask: Callable[[str], dict[str, Any]]
    least: str
    """The least members of a whole answer, as JSON."""
    streams: bool = True

    def __str__(self) -> str:
        return self.dialect

    def body(self, text: str = "Hello", **more: Any) -> dict[str, Any]:
        return {"model": self.model, **self.ask(text), **more}


def said(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def put(text: str) -> dict[str, Any]:
    return {"input": text}


USAGE = '"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}'
ALL = [
    Way("chat", "/v1/chat/completions", "gpt-4o", said, f'"choices":[],{USAGE}'),
    Way("completions", "/v1/completions", "gpt-4o", lambda text: {"prompt": text}, f'"choices":[],{USAGE}'),
    Way(
        "messages",
        "/v1/messages",
        "claude-sonnet-4-20250514",
        lambda text: {"max_tokens": 64, **said(text)},
        '"type":"message","content":[],"usage":{"input_tokens":3,"output_tokens":2}',
    ),
    Way("responses", "/v1/responses", "gpt-4o", put, '"output":[],"status":"completed"'),
    Way("embeddings", "/v1/embeddings", "text-embedding-3-small", put, '"data":[]', streams=False),
    Way("moderations", "/v1/moderations", "omni-moderation-latest", put, '"results":[]', streams=False),
    Way(
        "count_tokens",
        "/v1/messages/count_tokens",
        "claude-sonnet-4-20250514",
        said,
        '"input_tokens":9',
        streams=False,
    ),
]  # fmt: skip
STREAMED = [way for way in ALL if way.streams]

ways = pytest.mark.parametrize("way", ALL, ids=str)
streamed = pytest.mark.parametrize("way", STREAMED, ids=str)


# --- a stand, and a client that keeps every byte


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def gateway(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("undamaged")
    with Served(home, sink, MEMBRAIN_ROUTING_ATTEMPTS="1") as served:
        yield served
        served.assert_sound()


@dataclass(frozen=True)
class Got:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool
    """The body came to its proper end."""

    @property
    def masked(self) -> int:
        return int(self.headers["x-membrain-redacted"])


Post = Callable[..., Got]


@pytest.fixture(scope="module")
def post(gateway: Served) -> Iterator[Post]:
    """Send bytes, and get bytes; all over one connection, as long as it is not cut."""
    with closing(http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)) as connection:

        def post(path: str, body: bytes | dict[str, Any], **headers: str) -> Got:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request("POST", path, raw, {**JSON, **named})
            response = connection.getresponse()
            got = {name.lower(): value for name, value in response.getheaders()}
            try:
                return Got(response.status, got, response.read(), whole=True)
            except http.client.IncompleteRead as cut:
                connection.close()
                return Got(response.status, got, cut.partial, whole=False)

        yield post


def last_body(sink: Sink) -> bytes:
    return sink.requests[-1].body


# --- JSON as others write it

SPACES = st.sampled_from(["", "", "", " ", "\n", "\t", "\r\n  "])
LETTERS = st.text(st.sampled_from('ab é"\\/\n\u2028\u2029\u0085\u00a0\ue000🐟{}[]:,'), max_size=8)
NAMES = st.sampled_from(["a", "b", "usage", "choices", "error", "é", "", "type", "x y", "finish_reason", "null", "a"])
NUMBERS = st.sampled_from(
    ["0", "-0", "1.0", "1e2", "1E+05", "-1.50", "0.1e-7", "12345678901234567890123", "1.7976931348623157e308", "2.50"]
)


@st.composite
def written(draw: st.DrawFn, value: st.SearchStrategy[str]) -> str:
    """A string in one of the ways in which JSON has it."""
    text = json.dumps(draw(value), ensure_ascii=draw(st.booleans()))
    return text.replace("/", "\\/") if draw(st.booleans()) else text


def inside(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    lists = st.builds(
        lambda items, space: f"[{space}" + f"{space},".join(items) + "]", st.lists(values, max_size=3), SPACES
    )
    return lists | objects(values)


@st.composite
def members(draw: st.DrawFn, values: st.SearchStrategy[str]) -> list[str]:
    names = draw(st.lists(written(NAMES), max_size=3))
    return [f"{draw(SPACES)}{name}{draw(SPACES)}:{draw(SPACES)}{draw(values)}{draw(SPACES)}" for name in names]


def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return members(values).map(lambda each: "{" + ",".join(each) + "}")


VALUES = st.recursive(NUMBERS | written(LETTERS) | st.sampled_from(["null", "true", "false"]), inside, max_leaves=6)
"""Any JSON value, in any spelling."""

UNKNOWN = members(VALUES).map(lambda each: [f'"x_{row}":{member.partition(":")[2]}' for row, member in enumerate(each)])
"""Members of names that nobody knows."""


@st.composite
def bodies(draw: st.DrawFn, least: str) -> bytes:
    """An object with these members and others around them."""
    parts = [*draw(UNKNOWN), least, *draw(UNKNOWN)]
    space = draw(SPACES)
    return (space + "{" + f"{space},".join(parts) + "}" + draw(SPACES)).encode()


some = settings(max_examples=40, deadline=None)


# --- whole answers


@ways
@some
@given(data=st.data())
def test_a_whole_answer_arrives_as_it_was_sent(way: Way, post: Post, sink: Sink, data: st.DataObject) -> None:
    sent = data.draw(bodies(way.least))
    cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=3).map(sorted))
    pieces = [sent[start:end] for start, end in pairwise([0, *cuts, len(sent)]) if end > start]
    sink.script(way.path, Reply(chunks=pieces, headers=JSON))
    got = post(way.path, way.body())
    assert (got.status, got.whole, got.headers["content-type"]) == (200, True, "application/json")
    assert got.body == sent


@pytest.mark.parametrize("script", [each for each in SCRIPTS if each.whole], ids=str)
def test_a_recorded_answer_arrives_as_it_was_sent(script: Script, post: Post, sink: Sink) -> None:
    way = next(each for each in ALL if each.dialect == script.dialect)
    raw = json.dumps(script.whole, indent=1).encode()
    sink.script(way.path, Reply(body=raw, headers=JSON))
    assert post(way.path, way.body()).body == raw


# --- streams


def unbroken(raw: bytes) -> bytes:
    """What a stream may have instead of the signs that break lines elsewhere."""
    for sign in "\u0085\u2028\u2029":
        raw = raw.replace(sign.encode(), f"\\u{ord(sign):04x}".encode())
    return raw


USAGE_TOO: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize("script", SCRIPTS, ids=str)
@pytest.mark.parametrize("size", [11, 1 << 20])
def test_a_recorded_stream_arrives_as_it_was_sent(script: Script, post: Post, sink: Sink, size: int) -> None:
    """And one that broke off in the middle is cut behind its error, with no end to it."""
    way = next(each for each in STREAMED if each.dialect == script.dialect)
    pieces = [script.raw[at : at + size] for at in range(0, len(script.raw), size)]
    sink.script(way.path, Reply(chunks=pieces, headers=EVENTS))
    got = post(way.path, {**script.asked(**USAGE_TOO), "model": way.model})
    sent = unbroken(script.raw)
    if script.error and script.name != "failed":
        assert not got.whole
        events = sse.blocks(sent)
        assert got.body.startswith(b"".join(events[:-1]))
        return
    ends = {"no_done": b"data: [DONE]\n\n", "no_blank_line": b"\n\n"}
    assert (got.status, got.whole) == (200, True)
    assert got.body == sent + ends.get(script.name, b"")


FIRST = {
    "chat": '{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}',
    "completions": '{"choices":[{"index":0,"text":"","finish_reason":null}]}',
    "messages": '{"type":"message_start","message":{"usage":{"input_tokens":3,"output_tokens":1}}}',
    "responses": '{"type":"response.created","response":{"model":"gpt-4o-2024"}}',
}
LAST = {
    "chat": "[DONE]",
    "completions": "[DONE]",
    "messages": '{"type":"message_stop"}',
    "responses": '{"type":"response.completed","response":{"output":[]}}',
}


@st.composite
def streams(draw: st.DrawFn, dialect: str) -> bytes:
    """A stream of events that nobody knows, with line ends, names and comments of any kind."""
    middle = draw(st.lists(bodies('"kind":"odd"').map(lambda raw: raw.decode().strip()), max_size=4))
    raw = ""
    for text in (FIRST[dialect], *middle, LAST[dialect]):
        end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
        before = draw(st.sampled_from(["", "", ": ping" + end, "event: odd" + end, "id: 1" + end, ": ping" + end * 2]))
        lines = text.replace("\r\n", "\n").replace("\n", f"{end}data: ")
        raw += f"{before}data: {lines}{end}{end}"
    return raw.encode()


@streamed
@some
@given(data=st.data())
def test_any_stream_arrives_as_it_was_sent(way: Way, post: Post, sink: Sink, data: st.DataObject) -> None:
    sent = data.draw(streams(way.dialect))
    cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=4).map(sorted))
    pieces = [sent[start:end] for start, end in pairwise([0, *cuts, len(sent)]) if end > start]
    sink.script(way.path, Reply(chunks=pieces, headers=EVENTS, pause=data.draw(st.sampled_from([0, 0, 0.001]))))
    got = post(way.path, way.body(**USAGE_TOO))
    assert (got.status, got.whole) == (200, True)
    assert got.body == unbroken(sent)


@streamed
def test_an_event_of_a_megabyte_arrives(way: Way, post: Post, sink: Sink) -> None:
    large = json.dumps({"type": "odd", "choices": [], "text": "é" * 500_000}, ensure_ascii=False).encode()
    raw = b"".join(sse.encode(each) for each in (FIRST[way.dialect].encode(), large, LAST[way.dialect].encode()))
    sink.script(way.path, Reply(chunks=[raw[:70_000], raw[70_000:]], headers=EVENTS))
    assert post(way.path, way.body(**USAGE_TOO)).body == raw


# --- requests


@ways
@some
@given(data=st.data())
def test_a_request_leaves_as_it_was_said(way: Way, post: Post, sink: Sink, data: st.DataObject) -> None:
    least = json.dumps(way.body(data.draw(LETTERS.filter(str.strip))), ensure_ascii=data.draw(st.booleans()))[1:-1]
    sent = data.draw(bodies(least))
    got = post(way.path, sent)
    assert got.status == 200, got.body
    assume(got.masked == 0)
    assert last_body(sink) == sent


@streamed
def test_a_streams_request_leaves_as_it_was_said(way: Way, post: Post, sink: Sink) -> None:
    """Chat's asks for its usage, which every stream of messages and responses tells by itself."""
    raw = json.dumps(way.body("Hé", stream=True, unknown=[1.0]), indent=1).encode()
    post(way.path, raw)
    asked = b'{"stream_options":{"include_usage":true},' if way.dialect in {"chat", "completions"} else b"{"
    assert last_body(sink) == asked + raw[1:]
    wanted = json.dumps(way.body("Hé", **USAGE_TOO), indent=1).encode()
    post(way.path, wanted)
    assert last_body(sink) == wanted


@ways
@pytest.mark.parametrize("stream", [False, True])
def test_a_masked_request_differs_where_it_is_masked(way: Way, post: Post, sink: Sink, stream: bool) -> None:
    """And in the answer stands what was said."""
    if stream and not way.streams:
        return
    way = Way(way.dialect, way.path, f"{way.model}-echo", way.ask, way.least)
    raw = json.dumps(
        way.body(f"  Write \u00e9 to {WHO}. ", unknown=[1.0, 1e2], **(USAGE_TOO if stream else {}))
    ).encode()
    got = post(way.path, raw)
    assert (got.status, got.masked) == (200, 1), got.body
    before, _, after = raw.partition(WHO.encode())
    left = last_body(sink)
    assert left.startswith(before)
    assert left.endswith(after)
    placeholder = left[len(before) : len(left) - len(after)]
    assert placeholder.replace(b"_", b"").isalnum()
    assert placeholder not in got.body
    if way.dialect not in {"embeddings", "moderations", "count_tokens"} and not stream:
        assert WHO.encode() in got.body


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize("query", ["", "?beta=true"])
def test_what_anthropics_own_tools_send_goes_along(post: Post, sink: Sink, path: str, query: str) -> None:
    way = next(each for each in ALL if each.path == path)
    sent = json.dumps(way.body("Hello", context_management={"edits": []}), separators=(" ,", ": ")).encode()
    beta = "context-management-2025-06-27,interleaved-thinking-2025-05-14"
    got = post(path + query, sent, anthropic_beta=beta, anthropic_version="2023-06-01", x_app="cli", cookie="a=b")
    seen = sink.requests[-1]
    assert got.status == 200
    assert (seen.path, seen.body) == (path + query, sent)
    assert (seen.header["anthropic-beta"], seen.header["anthropic-version"]) == (beta, "2023-06-01")
    assert not {"x-app", "cookie"} & seen.header.keys()


@ways
def test_a_query_that_nobody_knows_does_not_leave(way: Way, post: Post, sink: Sink) -> None:
    """It is looked at by nobody, and could hold anything."""
    assert post(f"{way.path}?who={WHO}", way.body()).status == 200
    assert WHO.partition("@")[0].encode() not in sink.requests[-1].path.encode()


@ways
def test_headers_of_16_kib_pass(way: Way, post: Post, sink: Sink) -> None:
    """Those of the caller's tools, and those of the upstream."""
    sink.script(way.path, Reply(body="{" + way.least + "}", headers={**JSON, "x-large": "v" * (16 << 10)}))
    got = post(way.path, way.body(), x_stainless_large="v" * (16 << 10))
    assert got.status == 200
    assert "x-large" not in got.headers


@ways
def test_a_cookie_goes_nowhere(way: Way, post: Post, sink: Sink) -> None:
    """Neither to the caller nor with another request."""
    cookie = {"set-cookie": "session=canary-7f3a; Path=/"}
    sink.script(way.path, Reply(body="{" + way.least + "}", headers={**JSON, **cookie}))
    got = post(way.path, way.body())
    assert got.status == 200
    assert "set-cookie" not in got.headers
    assert post(way.path, way.body()).status == 200
    assert "cookie" not in sink.requests[-1].header


@ways
def test_a_body_of_115_kb_leaves_as_it_was_said(way: Way, post: Post, sink: Sink) -> None:
    raw = json.dumps(way.body("word " * 23_000)).encode()
    assert post(way.path, raw).status == 200
    assert last_body(sink) == raw


# --- in mid-stream

WORDS = "one two three four five six"
ENDS = (b"[DONE]", b"message_stop", b"response.completed", b"response.failed", b"response.incomplete")


GPT, CLAUDE = "gpt-4o", "claude-sonnet-4-20250514"
SPOKEN_BY = [(way, model) for way in STREAMED for model in (GPT, CLAUDE)]
"""Every dialect before a provider that speaks it, and before one that does not."""


@pytest.mark.parametrize(("way", "model"), SPOKEN_BY, ids=str)
@pytest.mark.parametrize("trouble", ["sse-error-mid", "reset-mid", "cut-mid"])
def test_what_breaks_in_mid_stream_is_told_and_cut(way: Way, model: str, post: Post, trouble: str) -> None:
    """In the words of the caller's dialect, behind what had come, with no end that looks like one."""
    got = post(way.path, way.body(WORDS, stream=True, model=f"{model}-echo-slow-5-{trouble}"))
    assert (got.status, got.whole) == (200, False)
    assert not any(end in got.body for end in ENDS)
    *before, last = sse.parse(got.body)
    assert before
    assert b"one" in got.body
    told = json.loads(last.data)
    error = told if way.dialect == "responses" else told["error"]
    if way.dialect in {"messages", "responses"}:
        assert (last.name, told["type"]) == ("error", "error")
    else:
        assert (last.name, told.keys()) == (None, {"error"})
    broke = f"{'anthropic' if model == CLAUDE else 'openai'} broke off in the middle."
    assert error["message"] == ("The sink gave up in mid-stream." if trouble == "sse-error-mid" else broke)


@pytest.mark.parametrize(("way", "model"), SPOKEN_BY, ids=str)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 429, 529])
def test_what_an_upstream_refuses_is_told_in_the_callers_words(
    way: Way, model: str, post: Post, stream: bool, status: int
) -> None:
    got = post(way.path, way.body(stream=stream, model=f"{model}-status-{status}"))
    assert (got.status, got.whole, got.headers.get("retry-after")) == (status, True, "7" if status == 429 else None)
    told = json.loads(got.body)
    assert told["error"]["message"] == told["detail"] == f"The sink was asked for a {status}."
    assert told.get("type") == ("error" if way.dialect == "messages" else None)
    assert (way.dialect == "messages") is (told["error"].keys() != {"message", "type", "param", "code"})


@pytest.mark.parametrize(("way", "model"), SPOKEN_BY, ids=str)
@pytest.mark.parametrize("trouble", ["sse-error", "html", "reset", "garbage", "empty"])
@pytest.mark.parametrize("stream", [False, True])
def test_what_breaks_before_anything_was_said_is_a_status(
    way: Way, model: str, post: Post, trouble: str, stream: bool
) -> None:
    """And no stream that has begun."""
    got = post(way.path, way.body(stream=stream, model=f"{model}-{trouble}"))
    assert (got.status // 100, got.whole, got.headers["content-type"]) == (5, True, "application/json")
    assert json.loads(got.body)["error"]["message"]


@pytest.mark.parametrize(("way", "model"), SPOKEN_BY, ids=str)
def test_a_stream_in_other_words_comes_to_the_end_of_its_dialect(way: Way, model: str, post: Post) -> None:
    got = post(way.path, way.body(WORDS, stream=True, model=f"{model}-echo"))
    assert (got.status, got.whole) == (200, True)
    last = sse.parse(got.body)[-1]
    ends = {"messages": ("message_stop", b"message_stop"), "responses": ("response.completed", WORDS.encode())}
    name, word = ends.get(way.dialect, (None, b"[DONE]"))
    assert last.name == name
    assert word in last.data


@pytest.mark.parametrize(("way", "model"), SPOKEN_BY, ids=str)
@pytest.mark.parametrize("stream", [False, True])
def test_who_hangs_up_is_not_answered_for(way: Way, model: str, gateway: Served, sink: Sink, stream: bool) -> None:
    """The upstream is let go at once: in a stream that fell silent, and while a whole answer is waited for."""
    before = len(sink.requests)
    body = json.dumps(way.body(WORDS, stream=stream, model=f"{model}-echo-stall" + "-mid" * stream))
    with closing(http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)) as connection:
        connection.request("POST", way.path, body, JSON)
        if stream:
            assert connection.getresponse().read(1)
        asked = sink.wait_for(before + 1)[-1]
    assert asked.closed.wait(2)


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS: Mapping[str, dict[str, Any]] = {
    "chat": {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}},
    "messages": {"name": "weather", "input_schema": SCHEMA},
    "responses": {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False},
}


@pytest.mark.parametrize(("way", "model"), [each for each in SPOKEN_BY if each[0].dialect in TOOLS], ids=str)
@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_in_every_dialect(way: Way, model: str, post: Post, stream: bool) -> None:
    got = post(way.path, way.body(WORDS, stream=stream, model=model, tools=[TOOLS[way.dialect]]))
    assert (got.status, got.whole) == (200, True)
    events = [json.loads(each.data) for each in sse.parse(got.body) if each.data != b"[DONE]"] if stream else []
    said = spoken_in(way.dialect, *(events or [json.loads(got.body)]))
    assert said["calls"] == [("weather", {"city": "Ada"})]


@pytest.fixture(scope="module")
def key(gateway: Served) -> str:
    """A client key, as `membrain env` exports one."""
    issued: str = gateway.post("/api/keys", {"name": "undamaged"}).json()["key"]
    return issued


def openai_streams(client: openai.OpenAI, dialect: str, model: str) -> Any:
    if dialect == "chat":
        return client.chat.completions.create(model=model, messages=[{"role": "user", "content": WORDS}], stream=True)
    if dialect == "completions":
        return client.completions.create(model=model, prompt=WORDS, stream=True)
    return client.responses.create(model=model, input=WORDS, stream=True)


@pytest.mark.parametrize("dialect", ["chat", "completions", "responses"])
@pytest.mark.parametrize("model", [GPT, CLAUDE])
@pytest.mark.parametrize("trouble", ["sse-error-mid", "reset-mid"])
def test_the_openai_package_raises_in_mid_stream(
    gateway: Served, key: str, dialect: str, model: str, trouble: str
) -> None:
    taken: list[Any] = []
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0) as client:
        stream = openai_streams(client, dialect, f"{model}-echo-slow-5-{trouble}")
        with pytest.raises(openai.APIError):
            taken.extend(stream)
    assert taken or dialect != "responses"


@pytest.mark.parametrize("model", [GPT, CLAUDE])
@pytest.mark.parametrize("trouble", ["sse-error-mid", "reset-mid"])
def test_the_anthropic_package_raises_in_mid_stream(gateway: Served, key: str, model: str, trouble: str) -> None:
    with anthropic.Anthropic(base_url=gateway.url, api_key=key, max_retries=0) as client:
        asked: Any = {"max_tokens": 64, "messages": [{"role": "user", "content": WORDS}]}
        stream = client.messages.create(model=f"{model}-echo-slow-5-{trouble}", **asked, stream=True)
        with pytest.raises(anthropic.APIError):
            list(stream)
        with (
            pytest.raises(anthropic.APIError),
            client.messages.stream(model=f"{model}-echo-slow-5-{trouble}", **asked) as events,
        ):
            events.get_final_message()
