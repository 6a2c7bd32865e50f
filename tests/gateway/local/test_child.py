from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from membrain.local import weights
from membrain.local.child import Orders, parameters

CHAT = "/v1/chat/completions"
KEY = "canary-key-of-the-child"
HELLO = [{"role": "user", "content": "Say hello in five words."}]
LONG = [{"role": "user", "content": "saga of heroes " * 450}]
STORY = [{"role": "user", "content": "Tell me a very long story about a dragon."}]


class Child:
    """The program, running, and what it said."""

    def __init__(self, orders: Orders, folder: Path) -> None:
        self.stderr = folder / "stderr"
        with self.stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "membrain.local.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(asdict(orders)).encode() + b"\n")
        self.process.stdin.flush()
        self.said = self.process.stdout.readline()

        self.port = json.loads(self.said)["port"] if self.said else 0
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"authorization": f"Bearer {orders.api_key}"},
            timeout=60,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),  # as the gateway does: it closes them after a stream
        )

    def ask(self, **body: Any) -> httpx.Response:
        """Ask for a whole answer."""
        return self.http.post(CHAT, json=body)

    def text(self, **body: Any) -> str:
        """What it answers."""
        answer = self.ask(**body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["choices"][0]["message"]["content"])

    @contextmanager
    def stream(self, **body: Any) -> Iterator[Iterator[dict[str, Any]]]:
        """Ask for a stream, and hang up where the block ends."""
        with self.http.stream("POST", CHAT, json={**body, "stream": True}) as response:
            yield (json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: {"))

    def gone_within(self, seconds: float) -> int | None:
        """The exit status, if it ends in time."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None


@contextmanager
def running(orders: Orders, folder: Path) -> Iterator[Child]:
    child = Child(orders, folder)
    with child.process, child.http:
        try:
            yield child
        finally:
            child.process.kill()


@pytest.fixture(scope="module")
def orders(model_dir: Path) -> Orders:
    path = weights.verified(model_dir)
    return Orders(str(path), "local/default", KEY, context=2048, slots=2, threads=1, idle_seconds=300)


@pytest.fixture(scope="module")
def child(orders: Orders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """One for all tests that only ask."""
    with running(orders, tmp_path_factory.mktemp("child")) as child:
        yield child


def test_it_answers_whole(child: Child) -> None:
    answer = child.ask(messages=HELLO, max_tokens=32).json()
    assert "hello" in answer["choices"][0]["message"]["content"].lower()
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["model"] == "local/default"
    assert answer["usage"]["completion_tokens"] > 1


def test_it_answers_in_a_stream(child: Child) -> None:
    with child.stream(messages=HELLO, max_tokens=32) as events:
        texts = [event["choices"][0]["delta"].get("content") or "" for event in events]
    assert len([text for text in texts if text]) > 1
    assert "hello" in "".join(texts).lower()


@pytest.mark.parametrize(
    ("question", "word"), [("What is the capital of Italy?", "Rome"), ("What do bees make?", "honey")]
)
def test_it_is_right_with_the_message_of_the_house(child: Child, question: str, word: str) -> None:
    """It is a small model; what it is told first decides whether it answers or rambles."""
    told = {"role": "system", "content": weights.DEFAULT.system}
    assert word in child.text(messages=[told, {"role": "user", "content": question}], max_tokens=96)


def test_an_answer_is_the_same_each_time_unless_heat_is_asked_for(child: Child) -> None:
    story: dict[str, Any] = {"messages": STORY, "max_tokens": 16}
    assert child.text(**story) == child.text(**story)
    assert child.text(**story, temperature=1.5, seed=1) != child.text(**story, temperature=1.5, seed=2)


def test_a_schema_is_kept(child: Child) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    question = [{"role": "user", "content": "Bob is 42 years old. Give his name and age."}]
    assert set(json.loads(child.text(messages=question, response_format=form, max_tokens=64))) == {"name", "age"}


def test_only_the_key_opens_it(child: Child) -> None:
    wrong = {"authorization": "Bearer wrong"}
    assert child.http.post(CHAT, json={"messages": HELLO}, headers=wrong).status_code == 401
    for path in ("/v1/models", "/props", "/slots", "/metrics"):
        assert child.http.get(path, headers=wrong).status_code == 401


def test_it_listens_on_loopback_alone(child: Child) -> None:
    """On Linux all of 127/8 is loopback, so a server on every address would answer here too."""
    with pytest.raises(OSError, match=r".+"):
        socket.create_connection(("127.0.0.2", child.port), timeout=1)


def test_a_prompt_over_the_context_is_refused_with_its_size(child: Child) -> None:
    answer = child.ask(messages=[{"role": "user", "content": "hello " * 3000}])
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "exceed_context_size_error"
    assert answer.json()["error"]["n_ctx"] == 2048


def test_the_key_is_in_no_place_that_others_can_read(child: Child) -> None:
    table = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(child.process.pid)], capture_output=True, text=True
    )
    assert "membrain.local.child" in table.stdout
    assert KEY not in table.stdout
    assert KEY not in repr(Orders("m", "n", KEY, 1, 1, 1, 1))


def test_nothing_a_caller_says_is_written_to_its_log(child: Child) -> None:
    """llama.cpp prints a grammar it cannot read, and that is made of the caller's schema."""
    listed = {"type": "array", "minItems": 100_000, "items": {"enum": ["canary-of-a-caller"]}}
    form = {"type": "json_schema", "json_schema": {"name": "canary", "schema": listed}}
    assert child.ask(messages=[{"role": "user", "content": "canary"}], response_format=form).status_code == 400
    assert "canary" not in child.stderr.read_text()


@pytest.mark.parametrize(
    "body",
    [
        {"messages": STORY, "max_tokens": 1500, "ignore_eos": True},
        {"messages": LONG, "max_tokens": 1, "return_progress": True},
    ],
    ids=["while it writes", "while it reads a long prompt"],
)
def test_a_hang_up_frees_its_slot_at_once(orders: Orders, tmp_path: Path, body: dict[str, Any]) -> None:
    """Either would take ten seconds and more; a prompt's reading is only stopped if its progress was asked for."""
    with running(replace(orders, slots=1), tmp_path) as child:
        with child.stream(**body) as events:
            next(events)
        began = time.monotonic()
        child.ask(messages=HELLO, max_tokens=1)
        assert time.monotonic() - began < 3


def test_it_ends_when_its_stdin_ends(orders: Orders, tmp_path: Path) -> None:
    with running(orders, tmp_path) as child, child.stream(messages=STORY, max_tokens=500) as events:
        next(events)
        assert child.process.stdin
        child.process.stdin.close()
        assert child.gone_within(1) == 0


def test_it_ends_at_once_when_asked_to(orders: Orders, tmp_path: Path) -> None:
    with running(orders, tmp_path) as child, child.stream(messages=STORY, max_tokens=500) as events:
        next(events)
        child.process.send_signal(signal.SIGTERM)
        assert child.gone_within(1) == -signal.SIGTERM


def test_a_parent_that_is_gone_while_it_starts_is_noticed(orders: Orders) -> None:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "membrain.local.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    process.communicate(json.dumps(asdict(orders)).encode() + b"\n", timeout=10)
    assert process.returncode == 0


def test_weights_that_are_none_end_it_with_a_word(orders: Orders, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF and nothing else")
    with running(replace(orders, model=str(broken)), tmp_path) as child:
        assert child.said == b""
        assert child.gone_within(5) not in (None, 0)
        assert child.stderr.read_text()


def resident(pid: int) -> int:
    """Megabytes in memory."""
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(shown.stdout) // 1024


@pytest.mark.slow
def test_it_gives_its_memory_back_when_nobody_asks_and_wakes_for_who_does(orders: Orders, tmp_path: Path) -> None:
    with running(replace(orders, idle_seconds=1), tmp_path) as child:
        child.ask(messages=HELLO, max_tokens=2)
        awake = resident(child.process.pid)
        limit = time.monotonic() + 10
        while resident(child.process.pid) > awake / 2:
            assert time.monotonic() < limit
            time.sleep(0.1)
        assert child.text(messages=HELLO, max_tokens=2)


def test_orders_become_settings_that_stay_on_this_machine(orders: Orders) -> None:
    params = parameters(orders)
    assert params.hostnames == ["127.0.0.1"]
    assert params.port == 0
    assert params.api_keys == [KEY]
    assert params.offline
    assert not params.ui
    assert params.n_ctx == orders.context * orders.slots
    assert params.cpuparams.n_threads == params.cpuparams_batch.n_threads == 1
    assert params.model.path == orders.model
