"""`membrain run` keeps what it promises: a budget, a tier and privacy of one tool, before a real gateway.

Every figure is taken at the upstream, which counts what it was asked, and not from what the gateway says of itself.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shell import Ran, environment, membrain
from tests.served import Served
from tests.sink import Recorded, Reply, Sink

LIMIT = 10_000
"""Micro-dollars: `--budget 0.01`."""
PRICE = 20 * 2.5 + 100 * 10
"""Micro-dollars that one answer of `ANSWER` costs with gpt-4o: $2.50 and $10 for a million tokens."""
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Well."}, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 20, "completion_tokens": 100, "total_tokens": 120},
}

AT_ONCE = """
    import asyncio, collections, json, sys, warnings
    warnings.simplefilter("ignore")
    import openai

    async def ask(client, number):
        try:
            said = [{"role": "user", "content": f"Question {number}"}]
            await client.chat.completions.create(model="gpt-4o", max_tokens=100, messages=said)
        except openai.APIStatusError as error:
            return f"{error.status_code} {error.code}"
        return "200"

    async def main():
        client = openai.AsyncOpenAI()
        found = await asyncio.gather(*(ask(client, number) for number in range(50)))
        for number in range(50, 70):
            found.append(await ask(client, number))
        print(json.dumps(collections.Counter(found)))

    asyncio.run(main())
"""
"""Fifty requests at once with the official SDK, then twenty one by one."""

ASK = """
    import json, os, sys, urllib.error, urllib.request

    def piece(line):
        if not line.startswith(b"data: {"):
            return line[6:].decode().strip()
        choice = json.loads(line[6:])["choices"][0]
        return choice["finish_reason"] or choice["delta"]["content"]

    for model, headers, *more in json.loads(sys.argv[1]):
        said = {"model": model, "messages": [{"role": "user", "content": "Mail bob@corp-mail.net"}]}
        said.update(*more)
        kind = {"content-type": "application/json", "authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
        url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
        asked = urllib.request.Request(url, json.dumps(said).encode(), {**kind, **headers})
        try:
            with urllib.request.urlopen(asked) as answer:
                if said.get("stream"):
                    print(*map(piece, answer), flush=True)
                else:
                    print(answer.status, json.load(answer)["model"])
        except urllib.error.HTTPError as error:
            print(error.code, json.load(error)["error"]["code"])
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Sink]:
    with Sink() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, upstream: Sink) -> Iterator[Served]:
    """One gateway for all these tests: no run is to notice another."""
    with Served(tmp_path_factory.mktemp("run") / "served", upstream, MEMBRAIN_ROUTING_ATTEMPTS="1") as served:
        yield served


@pytest.fixture
def sink(upstream: Sink) -> Sink:
    """The upstream, as if nobody had asked it yet; it answers plainly."""
    upstream.requests.clear()
    upstream.script("/v1/chat/completions")
    return upstream


def tool(tmp_path: Path, body: str) -> str:
    path = tmp_path / "aider"
    path.write_text(f"#!{sys.executable}\n{textwrap.dedent(body)}")
    path.chmod(0o755)
    return str(path)


def ran(served: Served, *argv: str) -> Ran:
    return membrain("run", *argv, environ=environment(served.home, PYTHONWARNINGS="default"))


def asked(sink: Sink) -> list[Recorded]:
    """The chat completions that reached the upstream."""
    return [each for each in sink.requests if each.path.endswith("/chat/completions")]


def pairs(*asks: tuple[str, dict[str, str]] | tuple[str, dict[str, str], dict[str, object]]) -> str:
    """Models with headers, and what else the body says."""
    return json.dumps(asks)


def piece(text: str) -> bytes:
    """A piece of a stream."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
    return b"data: " + json.dumps({**chunk, "choices": [choice]}).encode() + b"\n\n"


# --- the budget ----------------------------------------------------------------------------------------------


def test_a_tool_cannot_spend_more_than_its_budget_however_many_it_asks_at_once(
    served: Served, sink: Sink, tmp_path: Path
) -> None:
    sink.script("/v1/chat/completions", Reply(body=ANSWER, pause=0.1), forever=True)
    told = ran(served, "--budget", "0.01", "--", tool(tmp_path, AT_ONCE))
    found = Counter(json.loads(told.out))
    assert told.status == 0
    assert set(found) == {"200", "402 budget_exceeded"}, found
    assert found["200"] == len(asked(sink)), "refused is refused before it leaves, and no SDK asks again"
    assert LIMIT / 2 < len(asked(sink)) * PRICE <= LIMIT
    assert sum(each["cost_micros"] or 0 for each in served.audit(caller="aider", limit=100)) == len(asked(sink)) * PRICE
    through = len(asked(sink))
    line = told.err.splitlines()[-1]
    assert line.startswith(f"aider · 70 exchanges · ${through * PRICE / 1e6:.4f} of $0.01 · gpt-4o · slowest ")
    assert f" · {70 - through} refused: over the budget · record " in line
    served.assert_sound()


def test_an_answer_that_runs_on_beyond_the_budget_is_cut_short_and_told(
    served: Served, sink: Sink, tmp_path: Path
) -> None:
    """An upstream that does not stop where it was asked to."""
    stream = {"content-type": "text/event-stream"}
    sink.script("/v1/chat/completions", Reply(headers=stream, chunks=[piece(" on")] * 3_000))
    said = {"stream": True, "max_tokens": 100}
    told = ran(served, "--budget", "0.01", "--", tool(tmp_path, ASK), pairs(("gpt-4o", {}, said)))
    assert told.status == 0
    assert 100 <= told.out.count("on") < 1_000  # a read of the network has some hundred such events
    assert told.out.split()[-2:] == ["length", "[DONE]"]
    assert "1 cut short: over the budget" in told.err


def test_one_run_does_not_spend_the_budget_of_another(served: Served, sink: Sink, tmp_path: Path) -> None:
    sink.script("/v1/chat/completions", Reply(body=ANSWER), forever=True)
    path = tool(tmp_path, ASK)
    line = pairs(*[("gpt-4o", {})] * 5)  # $0.0053
    for _ in range(2):
        assert ran(served, "--budget", "0.01", "--", path, line).out == "200 gpt-4o\n" * 5


def test_what_nobody_knows_the_price_of_is_refused_under_a_budget(served: Served, sink: Sink, tmp_path: Path) -> None:
    told = ran(served, "--budget", "2", "--", tool(tmp_path, ASK), pairs(("gpt-unheard-of", {})))
    assert told.out == "402 price_unknown\n"
    assert "1 refused: price unknown" in told.err
    assert not asked(sink)


def test_without_a_budget_nothing_is_counted_against_it(served: Served, sink: Sink, tmp_path: Path) -> None:
    told = ran(served, "--", tool(tmp_path, ASK), pairs(*[("gpt-4o", {})] * 3))
    assert told.out == "200 gpt-4o\n" * 3
    assert " of $" not in told.err


# --- privacy, the tier ---------------------------------------------------------------------------------------


def test_a_private_run_asks_only_models_on_this_machine(served: Served, sink: Sink, tmp_path: Path) -> None:
    """Whatever the tool asks for, and whatever it says of it."""
    loose = {"x-membrain-private": "false"}
    line = pairs(("auto", {}), ("gpt-4o", {}), ("gpt-4o", loose), ("auto", loose))
    told = ran(served, "--private", "--", tool(tmp_path, ASK), line)
    assert told.status == 0
    models = [each.json()["model"] for each in asked(sink)]
    assert models
    assert all(name.startswith(("llama3", "qwen2.5")) for name in models), models
    assert told.out.splitlines()[1:3] == ["403 private_refused"] * 2
    records = served.audit(limit=4)
    assert all(each["private"] and (each["local"] or each["outcome"] == "refused") for each in records)


def test_the_tier_holds_where_the_tool_names_none(served: Served, sink: Sink, tmp_path: Path) -> None:
    line = pairs(("auto", {}), ("auto", {"x-membrain-tier": "best"}))
    assert ran(served, "--tier", "speed", "--", tool(tmp_path, ASK), line).status == 0
    assert [each["tier"] for each in served.audit(limit=2)] == ["best", "fast"]


def test_outside_of_the_run_nothing_of_it_holds(served: Served, sink: Sink, tmp_path: Path) -> None:
    assert ran(served, "--private", "--tier", "fast", "--", tool(tmp_path, ASK), pairs()).status == 0
    assert served.chat().status == 200
    assert served.audit(limit=1)[0]["private"] is False
