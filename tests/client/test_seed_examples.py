"""Every example of the client's documentation runs as it is printed there.

The code below is the documentation's, word for word; only the gateway's address and the key in it are replaced
before it is run. Top-level `async with` runs as in a notebook.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import urllib.request
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from membrain_client import AsyncMembrainClient, MembrainClient
from tests.sink import Reply, Sink

PRINTED_URL = "http://localhost:8001"
PRINTED_KEY = "ck_live_abc123"

EXAMPLES = {
    "quick start, before": """
from openai import OpenAI

client = OpenAI()
response = client.chat.completions.create(
    model="gpt-4",
    messages=[{"role": "user", "content": "Hello!"}],
)
print(response.choices[0].message.content)
""",
    "quick start, after": """
from membrain_client import MembrainClient

client = MembrainClient(base_url="http://localhost:8001")
response = client.chat.completions.create(
    model="gpt-4",
    messages=[{"role": "user", "content": "Hello!"}],
)
print(response.choices[0].message.content)
""",
    "sync constructor": """
from membrain_client import MembrainClient

client = MembrainClient(
    base_url="http://localhost:8001",  # Membrain gateway URL
    api_key="ck_live_abc123",          # Membrain API key (optional)
    user_id="user-42",                 # User identifier for audit/rate-limit (optional)
    project="my-project",              # Project scope for multi-tenancy (optional)
    timeout=120.0,                     # Request timeout in seconds (default: 120)
)
""",
    "async constructor": """
from membrain_client import AsyncMembrainClient

client = AsyncMembrainClient(
    base_url="http://localhost:8001",
    api_key="ck_live_abc123",
    user_id="user-42",
    project="my-project",
    timeout=120.0,
)
""",
    "basic usage": """
from membrain_client import MembrainClient

client = MembrainClient(base_url="http://localhost:8001", api_key="ck_live_abc123")

response = client.chat.completions.create(
    model="gpt-4",
    messages=[
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Explain PII detection in two sentences."},
    ],
)

# Access the response
print(response.choices[0].message.content)
print(response.choices[0].message.role)     # "assistant"
print(response.choices[0].finish_reason)     # "stop"

# Token usage
print(response.usage.prompt_tokens)
print(response.usage.completion_tokens)
print(response.usage.total_tokens)
""",
    "optional parameters": """
response = client.chat.completions.create(
    model="gpt-4",
    messages=[{"role": "user", "content": "Write a haiku about security."}],
    temperature=0.7,
    max_tokens=100,
)
""",
    "sync streaming": """
from membrain_client import MembrainClient

client = MembrainClient(base_url="http://localhost:8001")

stream = client.chat.completions.create(
    model="gpt-4",
    messages=[{"role": "user", "content": "Tell me a story."}],
    stream=True,
)

for chunk in stream:
    delta = chunk.choices[0].delta
    if delta.content:
        print(delta.content, end="", flush=True)

    # Detect when streaming is complete
    if chunk.choices[0].finish_reason == "stop":
        print()  # newline after final chunk
""",
    "async streaming": """
import asyncio
from membrain_client import AsyncMembrainClient

async def main():
    client = AsyncMembrainClient(base_url="http://localhost:8001")

    stream = await client.chat.completions.create(
        model="gpt-4",
        messages=[{"role": "user", "content": "Tell me a story."}],
        stream=True,
    )

    async for chunk in stream:
        delta = chunk.choices[0].delta
        if delta.content:
            print(delta.content, end="", flush=True)

    await client.aclose()

asyncio.run(main())
""",
    "audit": """
import httpx

# Query the audit log for PII findings
response = httpx.get(
    "http://localhost:8001/api/audit",
    headers={"x-membrain-api-key": "ck_live_abc123"},
)
audit_entries = response.json()

# Each entry includes pii_findings_count and pii_labels
for entry in audit_entries:
    if entry.get("pii_findings_count", 0) > 0:
        print(f"Model: {entry['model']}, PII detected: {entry['pii_findings_count']}")
""",
    "errors": """
import httpx
from membrain_client import MembrainClient

client = MembrainClient(base_url="http://localhost:8001", api_key="ck_live_abc123")

try:
    response = client.chat.completions.create(
        model="gpt-4",
        messages=[{"role": "user", "content": "Hello"}],
    )
except httpx.HTTPStatusError as e:
    # Raised for 4xx and 5xx responses (via raise_for_status())
    print(f"HTTP {e.response.status_code}: {e.response.text}")
except httpx.ConnectError:
    # Gateway is unreachable
    print("Cannot connect to Membrain gateway")
except httpx.TimeoutException:
    # Request exceeded the configured timeout
    print("Request timed out")
""",
    "retries": """
import time
import httpx
from membrain_client import MembrainClient

client = MembrainClient(base_url="http://localhost:8001")

def chat_with_retry(messages, max_retries=3):
    for attempt in range(max_retries):
        try:
            return client.chat.completions.create(
                model="gpt-4",
                messages=messages,
            )
        except httpx.HTTPStatusError as e:
            if e.response.status_code == 429:
                retry_after = int(e.response.headers.get("Retry-After", 5))
                time.sleep(retry_after)
                continue
            raise
        except (httpx.ConnectError, httpx.TimeoutException):
            if attempt < max_retries - 1:
                time.sleep(2 ** attempt)
                continue
            raise
""",
    "sync context": """
# Synchronous
with MembrainClient(base_url="http://localhost:8001") as client:
    response = client.chat.completions.create(
        model="gpt-4",
        messages=[{"role": "user", "content": "Hello"}],
    )
# Connection is closed automatically
""",
    "async context": """
# Asynchronous
async with AsyncMembrainClient(base_url="http://localhost:8001") as client:
    response = await client.chat.completions.create(
        model="gpt-4",
        messages=[{"role": "user", "content": "Hello"}],
    )
# Connection is closed automatically
""",
    "async support": """
import asyncio
from membrain_client import AsyncMembrainClient

async def main():
    client = AsyncMembrainClient(
        base_url="http://localhost:8001",
        api_key="ck_live_abc123",
        user_id="user-42",
    )

    response = await client.chat.completions.create(
        model="gpt-4",
        messages=[{"role": "user", "content": "Hello"}],
    )
    print(response.choices[0].message.content)

    await client.aclose()

asyncio.run(main())
""",
    "routing headers": """
from membrain_client import MembrainClient

client = MembrainClient(base_url="http://localhost:8001")

# Access the underlying httpx.Client to set routing headers
client._client.headers.update({
    "x-membrain-tier": "quality",       # Routing tier: "quality", "balanced", "speed"
    "x-membrain-private": "true",       # Force private/local model routing
    "x-membrain-max-cost": "0.01",      # Max cost per 1K tokens
})

response = client.chat.completions.create(
    model="gpt-4",
    messages=[{"role": "user", "content": "Hello"}],
)
""",
    "extra parameters": """
response = client.chat.completions.create(
    model="gpt-4",
    messages=[{"role": "user", "content": "Hello"}],
    temperature=0.5,
    max_tokens=200,
    top_p=0.9,
    frequency_penalty=0.5,
    presence_penalty=0.5,
    stop=["\\n"],
)
""",
    "exports": """
from membrain_client import (
    MembrainClient,        # Synchronous client
    AsyncMembrainClient,   # Asynchronous client
    ChatCompletion,        # Non-streaming response dataclass
    ChatMessage,           # Message dataclass (role + content)
)
""",
    "more exports": """
from membrain_client.client import (
    Choice,                # Non-streaming choice (index, message, finish_reason)
    Usage,                 # Token usage (prompt_tokens, completion_tokens, total_tokens)
    ChatCompletionChunk,   # Streaming response chunk dataclass
    StreamChoice,          # Streaming choice (index, delta, finish_reason)
    StreamDelta,           # Streaming delta (role, content)
)
""",
}

Names = dict[str, Any]
Check = Callable[[Names, str], object]
"""Looks at the names an example has defined and at what it has printed."""


# --- running, on the real gateway of conftest.py


@pytest.fixture
def gateway_key(gateway_url: str) -> str:
    """A key that the gateway takes: a real one has never heard of the printed one."""
    asked = urllib.request.Request(
        gateway_url + "/api/keys",
        json.dumps({"name": f"example-{uuid.uuid4().hex[:8]}"}).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(asked) as answer:
        key: str = json.load(answer)["key"]
        return key


@pytest.fixture(autouse=True)
def _environment_of_the_openai_example(gateway_url: str, gateway_key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`OpenAI()` finds its way by the variables that `membrain env` exports."""
    monkeypatch.setenv("OPENAI_BASE_URL", gateway_url + "/v1")
    monkeypatch.setenv("OPENAI_API_KEY", gateway_key)


def run(name: str, url: str, key: str = PRINTED_KEY) -> Names:
    """Run an example, after the one it goes on from; gives the names that it has defined."""
    code = EXAMPLES[name].replace(PRINTED_URL, url).replace(PRINTED_KEY, key)
    earlier = MembrainClient(base_url=url)
    names: Names = {"MembrainClient": MembrainClient, "AsyncMembrainClient": AsyncMembrainClient, "client": earlier}
    program = compile(code, f"<{name}>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if program.co_flags & inspect.CO_COROUTINE:
        asyncio.run(eval(program, names))  # noqa: S307 - our own code, above
    else:
        exec(program, names)  # noqa: S102 - our own code, above
    return names


def tidy(names: Names) -> None:
    """The examples leave their clients open; a test closes them."""
    if hasattr(names["client"], "close"):
        names["client"].close()


# --- what each must have done


def spoke(names: Names, out: str) -> None:
    said = names["response"].choices[0].message.content
    assert said
    assert out in ("", said + "\n")


def spoke_and_counted(names: Names, out: str) -> None:
    *said, role, reason, given, made, total = out.splitlines()
    assert "\n".join(said) == names["response"].choices[0].message.content
    assert (role, reason) == ("assistant", "stop")
    assert int(given) + int(made) == int(total) > 0


def told_a_story(_: Names, out: str) -> None:
    assert len(out.split()) > 1


def told_a_story_with_an_end(names: Names, out: str) -> None:
    told_a_story(names, out)
    assert out.endswith("\n")
    assert names["chunk"].choices[0].finish_reason == "stop"


def listed_the_audit(names: Names, out: str) -> None:
    assert isinstance(names["audit_entries"], list)
    found = [entry for entry in names["audit_entries"] if entry["pii_findings_count"]]
    assert all(isinstance(entry["pii_labels"], list) for entry in names["audit_entries"])
    assert out.splitlines() == [f"Model: {e['model']}, PII detected: {e['pii_findings_count']}" for e in found]


def was_quiet(_: Names, out: str) -> None:
    assert out == ""


CHECKS: dict[str, Check] = {
    "quick start, before": spoke,
    "quick start, after": spoke,
    "sync constructor": was_quiet,
    "async constructor": was_quiet,
    "basic usage": spoke_and_counted,
    "optional parameters": spoke,
    "sync streaming": told_a_story_with_an_end,
    "async streaming": told_a_story,
    "audit": listed_the_audit,
    "errors": spoke,
    "retries": was_quiet,
    "sync context": spoke,
    "async context": spoke,
    "async support": told_a_story,
    "extra parameters": spoke,
    "exports": was_quiet,
    "more exports": was_quiet,
}


@pytest.mark.parametrize("name", CHECKS)
def test_the_example_runs_as_printed(
    name: str, gateway_url: str, gateway_key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = run(name, gateway_url, gateway_key)
    CHECKS[name](names, capsys.readouterr().out)
    tidy(names)


def test_the_audit_example_finds_the_exchange_before_it(gateway_url: str, gateway_key: str) -> None:
    tidy(run("quick start, after", gateway_url, gateway_key))
    newest = run("audit", gateway_url, gateway_key)["audit_entries"][0]
    assert newest["model"] == "gpt-4"
    assert newest.keys() >= {"id", "time", "provider", "pii_findings_count", "pii_labels"}


def test_the_routing_example_is_refused_for_its_privacy(gateway_url: str, gateway_key: str) -> None:
    """It asks for gpt-4 and for privacy at once, and gpt-4 is somebody else's machine."""
    with pytest.raises(httpx.HTTPStatusError) as refused:
        run("routing headers", gateway_url, gateway_key)
    assert refused.value.response.status_code == 403
    assert refused.value.response.json()["error"]["code"] == "private_refused"


def test_the_routing_example_is_answered_by_a_model_on_this_machine(
    gateway_url: str, gateway_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXAMPLES, "routing headers", EXAMPLES["routing headers"].replace('"gpt-4"', '"auto"'))
    names = run("routing headers", gateway_url, gateway_key)
    assert names["response"].model.startswith("llama3")
    tidy(names)


def test_every_example_is_run() -> None:
    assert EXAMPLES.keys() == {*CHECKS, "routing headers"}


# --- the paths that a healthy gateway does not take


@pytest.mark.parametrize("status", [401, 402, 429, 502])
def test_the_error_example_shows_a_status(status: int, capsys: pytest.CaptureFixture[str]) -> None:
    with Sink() as unwell:
        unwell.script("/v1/chat/completions", Reply(status=status, body="No."))
        tidy(run("errors", unwell.url))
    assert capsys.readouterr().out == f"HTTP {status}: No.\n"


def test_the_error_example_notices_a_missing_gateway(capsys: pytest.CaptureFixture[str]) -> None:
    with Sink() as gone:
        url = gone.url
    tidy(run("errors", url))
    assert capsys.readouterr().out == "Cannot connect to Membrain gateway\n"


def test_the_error_example_notices_a_silent_gateway(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two minutes of silence would do; here the example's clients are less patient."""
    patient = MembrainClient.__init__
    monkeypatch.setattr(MembrainClient, "__init__", lambda self, **more: patient(self, **more, timeout=0.1))
    with Sink() as silent:
        silent.script("/v1/chat/completions", Reply(behave="stall"))
        tidy(run("errors", silent.url))
    assert capsys.readouterr().out == "Request timed out\n"


def test_the_retry_example_waits_and_gets_its_answer() -> None:
    with Sink() as busy:
        busy.script("/v1/chat/completions", *[Reply(status=429, headers={"Retry-After": "0"})] * 2)
        names = run("retries", busy.url)
        answer = names["chat_with_retry"]([{"role": "user", "content": "Hello"}])
        assert answer.choices[0].message.content
        assert len(busy.requests) == 3
        tidy(names)


def test_the_retry_example_gives_up_on_other_errors() -> None:
    with Sink() as broke:
        broke.script("/v1/chat/completions", Reply(status=402))
        names = run("retries", broke.url)
        with pytest.raises(httpx.HTTPStatusError, match="402"):
            names["chat_with_retry"]([])
        tidy(names)


def test_the_retry_example_works_on_the_gateway(gateway_url: str) -> None:
    names = run("retries", gateway_url)
    assert names["chat_with_retry"]([{"role": "user", "content": "Hello"}]).choices[0].message.content
    tidy(names)
