"""LiteLLM: a hundred other backends behind one package, which is installed only if one wants it.

The package runs in a child process of ours (`litellm_child`), started by the first question, and not in the gateway:
it brings fifty-odd distributions that have no business beside the provider keys, what is asked and the audit; it
takes seconds of CPU and 160 MB to import, and it opens its own connections. The child gets an allow-listed
environment: the variables from which LiteLLM reads its backends' keys, and nothing else of ours.

What a caller may set is an allow-list too. LiteLLM reads some eighty fields of a body that choose where a request goes,
with which key, and what is run or logged on the way; all that is not plain chat is refused by name.

Not for: private exchanges (nothing here can prove where it goes), or retries (the gateway decides about those).
"""

from __future__ import annotations

import asyncio
import importlib.util
import math
import os
import re
import struct
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from itertools import count
from typing import Any, ClassVar, NoReturn
from urllib.parse import urlsplit

import msgspec

from membrain import sse
from membrain.dialects import chat as words
from membrain.dialects.base import Chunk, model_of
from membrain.egress import HOP_HEADER, Egress, is_loopback
from membrain.errors import BadRequest, ProviderFailed, ShuttingDown
from membrain.providers.base import Ask, NativeProvider, refusal
from membrain.records import ProviderState, Tokens

PACKAGE = "litellm"
INSTALL = "pip install 'membrain[litellm]'"

START_SECONDS = 60.0
STOP_SECONDS = 2.0

PARAMETERS = frozenset(
    {
        *("messages", "model", "stream", "stream_options", "n", "stop", "seed", "user", "store", "service_tier"),
        *("temperature", "top_p", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs"),
        *("max_tokens", "max_completion_tokens", "response_format", "modalities", "audio", "prediction"),
        *("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "web_search_options"),
        *("reasoning_effort", "thinking", "verbosity", "safety_identifier"),
        *("prompt_cache_key", "prompt_cache_retention"),
    }
)
"""What a body may hold. `metadata` is none of it: LiteLLM takes its orders from there."""

TOOLS = frozenset({"function", "custom"})
"""Kinds of tools that only the caller can run; of other kinds, LiteLLM or a backend of its choice would run some."""

FORWARDED = ("idempotency-key", HOP_HEADER)
"""Headers of the caller's that go along."""

CLOSED = frozenset({"aiohttp_openai", "chatgpt", "github_copilot", "litellm_agent", "vllm"})
"""Backends that cannot be asked: they wait for a person to log in, run models in the process, or follow redirects."""

_MODEL = re.compile(r"[A-Za-z0-9][\w.:@+/-]*", re.ASCII)
_NO_MODEL = re.compile(r"//|\.\.|(?:^|/)https?:", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_HEADER = re.compile(r"[ -~]{1,64}")
_ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_TEXTS = frozenset({"type", "text", "thinking", "refusal", "signature", "title", "name", "input", "arguments"})
"""Members of a message's part that are read and not fetched; `content` is another if it is a text."""
_LENGTH = struct.Struct(">I")

_KEPT = frozenset(
    {
        *("PATH", "HOME", "LANG", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT"),
        *("PYTHONPATH", "PYTHONHOME"),  # the child must find the modules that we found
        *("HF_TOKEN", "TOGETHER_AI_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS"),
        *("VERTEXAI_PROJECT", "VERTEXAI_LOCATION", "VERTEX_PROJECT", "VERTEX_LOCATION"),
        *("WATSONX_URL", "WATSONX_PROJECT_ID", "WX_URL", "WX_PROJECT_ID"),
    }
)
_KEPT_KINDS = re.compile(r"[A-Z0-9_]+_API_(?:KEY|BASE|TOKEN|VERSION)|(?:AWS|AZURE)_[A-Z0-9_]+|LC_[A-Z]+")
_NEVER = re.compile(r"(?:MEMBRAIN|LITELLM)_.*|OPENAI_API_BASE")
"""What `membrain env` sets leads to us, and what LiteLLM calls by its own name steers it."""


def installed() -> bool:
    """Whether the package is here. Cheap: it is not imported."""
    return importlib.util.find_spec(PACKAGE) is not None


class LiteLLMProvider(NativeProvider):
    """Asks LiteLLM's `acompletion`, in a process of its own."""

    name: ClassVar[str] = "litellm"

    def __init__(
        self,
        api_key: str | None = None,
        *,
        egress: Egress | None = None,
        proxy: str = "",
        ca_file: str = "",
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """*api_key* goes before whatever key the environment has, for every backend.

        LiteLLM makes its own connections, so it is told of *proxy*, and trusts the certificates in *ca_file* alone if
        there is one.
        """
        self._api_key = api_key
        self._egress = egress or Egress()
        self._owns_egress = egress is None
        self._environ = environment(environ, proxy, ca_file)
        self._near = any(_leads_here(value) for value in self._environ.values())
        self._child: _Child | None = None
        self._starting: asyncio.Task[_Child] | None = None
        self._closed = False

    async def answer(self, ask: Ask) -> AsyncGenerator[Chunk, None]:
        """One whole chunk, or LiteLLM's pieces as events of OpenAI's shape."""
        self._egress.permit(self.name, ask.passport)
        question = self._question(ask)
        child = await self._running()
        async with aclosing(self._told(child, question, stream=ask.said.stream)) as told:
            async for each in told:
                if "whole" in each:
                    yield _whole(each["whole"], each.get("cost"))
                elif (chunk := _piece(each, hide=not words.wants_usage(ask.said))) is not None:
                    yield chunk

    def _question(self, ask: Ask) -> dict[str, Any]:
        """What the child is sent. `BadRequest` names what a caller may not say."""
        data = ask.said.data
        check_model(ask.model)
        check_body(data)
        params = {name: value for name, value in data.items() if name != "model" and value is not None} | ask.limit()
        if ask.said.stream:
            given = data.get("stream_options")
            params["stream_options"] = {**(given if isinstance(given, dict) else {}), "include_usage": True}
        headers = {name: ask.headers[name] for name in FORWARDED if name in ask.headers}
        limits = self._egress.limits
        return {
            "model": ask.model,
            "params": params,
            "api_key": self._api_key,
            "headers": headers | ({HOP_HEADER: "1"} if self._near else {}),
            "connect": limits.connect,
            "seconds": limits.whole,
        }

    async def _told(
        self, child: _Child, question: dict[str, Any], *, stream: bool
    ) -> AsyncGenerator[dict[str, Any], None]:
        """What the child tells until the answer is over. `ProviderFailed` for what goes wrong, and for silence."""
        limits = self._egress.limits
        backend = question["model"].partition("/")[0] if "/" in question["model"] else self.name
        wait = limits.first_byte if stream else limits.whole
        heard = _Heard(limits.answer_bytes, limits.event_bytes if stream else limits.answer_bytes)
        number = child.ask(question, heard)
        try:
            while True:
                async with _in_time(backend, wait):
                    told = await heard.told.get()
                if "failed" in told:
                    _fail(backend, told["failed"])
                if "end" in told:
                    return
                yield told
                wait = limits.idle
        finally:
            child.leave(number)

    async def _running(self) -> _Child:
        """The child, started if it does not run. A caller that goes away does not stop the start for the others."""
        if self._closed:
            raise ShuttingDown("LiteLLM was stopped.")
        if self._child is not None and self._child.alive:
            return self._child
        starting = self._starting
        if starting is None:
            starting = self._starting = asyncio.create_task(self._start())
            starting.add_done_callback(self._started)
        await asyncio.wait([starting])
        if starting.cancelled():
            raise ShuttingDown("LiteLLM was stopped.")
        return starting.result()

    def _started(self, task: asyncio.Task[_Child]) -> None:
        self._starting = None
        if not task.cancelled():
            task.exception()  # whoever asked has it; if all of them left, nobody needs it

    async def _start(self) -> _Child:
        argv = [sys.executable, "-P", "-m", "membrain.providers.litellm_child"]
        child = _Child(await self._egress.spawn(argv, self._environ))
        try:
            async with asyncio.timeout(START_SECONDS):
                told = await child.first()
            if told.get("missing"):
                raise _unavailable(f"LiteLLM is not installed. Run: {INSTALL}")
            if "ready" not in told:
                raise _unavailable(f"LiteLLM cannot be imported ({_word(told.get('broken')) or 'it ended'}).")
        except TimeoutError:
            await child.close()
            raise _unavailable("LiteLLM took too long to start.") from None
        except BaseException:
            await child.close()
            raise
        self._child = child
        return child

    async def ping(self) -> None:
        """Show that the package is there and can be imported."""
        await self._running()

    async def state(self) -> ProviderState:
        """Whether it could be asked; starts nothing."""
        if installed():
            return ProviderState(self.name, up=True, where="its own process")
        return ProviderState(self.name, up=False, where="", note="not installed", remedy=INSTALL)

    async def close(self) -> None:
        """End the child, and start none again."""
        self._closed = True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self._child is not None:
            await self._child.close()
        if self._owns_egress:
            await self._egress.close()


@asynccontextmanager
async def _in_time(backend: str, seconds: float) -> AsyncGenerator[None, None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise ProviderFailed(f"{backend} did not answer in time.", provider=LiteLLMProvider.name, status=504) from None


_ENDED: dict[str, Any] = {"failed": {"how": "ended"}}
_TOO_MUCH: dict[str, Any] = {"failed": {"how": "too much"}}


class _Heard:
    """What the child tells about one question, until that is more than *most* bytes, or *each* at once."""

    def __init__(self, most: int, each: int) -> None:
        self.told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._left = most
        self._each = each

    def hear(self, size: int, told: dict[str, Any]) -> None:
        """Keep *told*, which is *size* bytes."""
        if self._left < 0:
            return
        self._left = -1 if size > self._each else self._left - size
        self.told.put_nowait(_TOO_MUCH if self._left < 0 else told)


class _Child:
    """The process, and who waits for what it tells."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._first = _Heard(1 << 16, 1 << 16)
        self._waiting: dict[int, _Heard] = {0: self._first}
        self._numbers = count(1)
        self._listening = asyncio.create_task(self._listen())

    @property
    def alive(self) -> bool:
        """Whether it still tells."""
        return not self._listening.done()

    async def first(self) -> dict[str, Any]:
        """The first thing that it tells."""
        return await self._first.told.get()

    def ask(self, question: dict[str, Any], heard: _Heard) -> int:
        """Ask *question*, whose answer *heard* gets; its number."""
        number = next(self._numbers)
        self._waiting[number] = heard
        self._send({"id": number, "ask": question})
        return number

    def leave(self, number: int) -> None:
        """Nobody waits for *number* any more. It may be over already, which the child knows."""
        del self._waiting[number]
        if self.alive:
            self._send({"id": number})

    def _send(self, order: dict[str, Any]) -> None:
        assert self._process.stdin
        data = msgspec.json.encode(order)
        self._process.stdin.write(_LENGTH.pack(len(data)) + data)  # the child reads at once, so nothing piles up

    async def _listen(self) -> None:
        assert self._process.stdout
        try:
            while True:
                size = _LENGTH.unpack(await self._process.stdout.readexactly(_LENGTH.size))[0]
                told = msgspec.json.decode(await self._process.stdout.readexactly(size))
                if (heard := self._waiting.get(told.get("id", 0))) is not None:
                    heard.hear(size, told)
        except (asyncio.IncompleteReadError, OSError, msgspec.DecodeError):
            return  # it ended, or it is none of ours any more
        finally:
            for heard in self._waiting.values():
                heard.hear(0, _ENDED)

    async def close(self) -> None:
        """Close its stdin, which ends it; by force if it takes too long."""
        assert self._process.stdin
        self._process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        self._listening.cancel()
        await asyncio.wait([self._listening])


def environment(environ: Mapping[str, str], proxy: str, ca_file: str) -> dict[str, str]:
    """What the child may know of *environ*: its backends' keys. None of our own client keys is one."""
    kept = {
        name: value
        for name, value in environ.items()
        if (name in _KEPT or _KEPT_KINDS.fullmatch(name)) and not _NEVER.fullmatch(name) and not value.startswith("ck_")
    }
    if proxy:
        kept |= {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "NO_PROXY": "localhost,127.0.0.1,::1"}
    if ca_file:
        kept["SSL_CERT_FILE"] = ca_file
    return kept


def _leads_here(value: str) -> bool:
    """Whether *value* is an address on this machine, where another gateway, or this one, may be."""
    try:
        return "://" in value and is_loopback(urlsplit(value).hostname or "")
    except ValueError:
        return False


def check_model(model: str) -> None:
    """Refuse a name with which LiteLLM would go to an address that the name holds, or do more than ask."""
    if not _MODEL.fullmatch(model) or _NO_MODEL.search(model):
        raise BadRequest("`model` holds signs that LiteLLM's names of models have not.", param="model")
    if (backend := model.partition("/")[0]) in CLOSED:
        raise BadRequest(f"`model`: LiteLLM's backend {backend} cannot be asked from here.", param="model")


def check_body(data: Mapping[str, Any]) -> None:
    """Refuse a body in which a caller says more than what is asked."""
    for name, value in data.items():
        if name not in PARAMETERS and value is not None:
            shown = name if _WORD.fullmatch(name) else "a field"
            raise BadRequest(f"`{shown}` is not known here, and is not handed to LiteLLM.", param=shown)
    tools = data.get("tools")
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        if not isinstance(tool, dict) or tool.get("type") not in TOOLS:
            place = f"tools[{index}].type"
            raise BadRequest(f"`{place}` must be function or custom: LiteLLM would run others.", param=place)
    for index, message in enumerate(data.get("messages") or ()):
        parts = message.get("content") if isinstance(message, dict) else None
        for at, part in enumerate(parts if isinstance(parts, list) else ()):
            if _fetched(part):
                place = f"messages[{index}].content[{at}]"
                raise BadRequest(f"`{place}` is an address, which LiteLLM would fetch. Send the data.", param=place)


def _fetched(part: Any) -> bool:
    """Whether something in *part* is an address: LiteLLM would fetch it from this machine, whatever is there."""
    if isinstance(part, str):
        return _ADDRESS.match(part) is not None
    if isinstance(part, dict):
        texts = _TEXTS | {"content"} if isinstance(part.get("content"), str) else _TEXTS
        return any(_fetched(value) for name, value in part.items() if name not in texts)
    return isinstance(part, list) and any(_fetched(value) for value in part)


def _whole(data: dict[str, Any], cost: float | None) -> Chunk:
    tokens = _tokens(data.get("usage"), cost)
    return Chunk(msgspec.json.encode(data), whole=True, tokens=tokens, model=model_of(data))


def _piece(told: dict[str, Any], *, hide: bool) -> Chunk | None:
    """One event; None for the usage that nobody asked for."""
    data = told["piece"]
    tokens = _tokens(data.pop("usage", None) if hide else data.get("usage"), told.get("cost"))
    if not any(choice.get("delta") or choice.get("finish_reason") for choice in data.get("choices", ())):
        data["choices"] = []  # as OpenAI writes the event that only tells the usage
        if hide or tokens is None:
            return Chunk(b"", tokens=tokens) if tokens else None
    return Chunk(sse.encode(msgspec.json.encode(data)), tokens=tokens, model=model_of(data))


def _tokens(usage: Any, cost: float | None) -> Tokens | None:
    """What was used, with the part that was written to a cache, and what LiteLLM says that it cost."""
    tokens = words.tokens_of(usage)
    if tokens is None:
        return None
    details = usage.get("prompt_tokens_details") or {}
    written = details.get("cache_creation_tokens") or usage.get("cache_creation_input_tokens") or tokens.written
    micros = math.ceil(round(cost * 1_000_000, 6)) if isinstance(cost, float) and 0 < cost < 1e9 else None
    return replace(tokens, written=min(written, tokens.prompt) if type(written) is int else 0, cost_micros=micros)


_HOW: Mapping[str, tuple[str, dict[str, Any]]] = {
    "unreached": ("{} could not be reached.", {"reached": False}),
    "unreached in time": ("{} could not be reached in time.", {"reached": False, "status": 504}),
    "silent": ("{} did not answer in time.", {"status": 504}),
    "broken": ("{} broke off in the middle.", {}),
    "nonsense": ("{} did not answer in JSON.", {}),
    "too much": ("{} sent more than it may.", {"passing": False}),
    "ended": ("LiteLLM's process ended in the middle.", {}),
    "unknown": (
        "LiteLLM does not know this model. Put its backend before it, as in gemini/gemini-pro.",
        {"status": 404, "code": "model_not_found", "type": "invalid_request_error", "reached": False},
    ),
    "keyless": (
        "{} has no key. LiteLLM reads {fields} from the gateway's environment.",
        {"status": 503, "code": "provider_not_configured", "reached": False},
    ),
    "unsupported": (
        "{} does not know {fields}.",
        {"status": 400, "code": "unsupported_parameter", "type": "invalid_request_error", "passing": False}
        | {"reached": False},
    ),
}
"""How an attempt came to nothing without an answer in HTTP, in our words."""

_CODES = {
    "ContextWindowExceededError": "context_length_exceeded",
    "ContentPolicyViolationError": "content_policy_violation",
}
"""LiteLLM's classes that know more than the upstream's own code."""


def _fail(backend: str, told: dict[str, Any]) -> NoReturn:
    """Raise what went wrong, as the child tells it."""
    fields = [name for name in told.get("fields", ()) if _WORD.fullmatch(name)]
    if (known := _HOW.get(told.get("how", ""))) is not None:
        text, how = known
        param = fields[0] if fields and told["how"] == "unsupported" else None
        said = text.format(backend, fields=", ".join(fields) or "something that was asked")
        raise ProviderFailed(said, provider=LiteLLMProvider.name, param=param, **how)
    status = told.get("status")
    if status in {401, 403}:
        raise ProviderFailed(
            f"{backend} refused its key ({status}). LiteLLM reads it from the gateway's environment.",
            provider=LiteLLMProvider.name,
            code="provider_key_refused",
            headers={"x-should-retry": "false"},
            reached=False,
        )
    raise _refused(backend, status, told) if isinstance(status, int) else _broke(backend, told)


def _refused(backend: str, status: int, told: dict[str, Any]) -> ProviderFailed:
    """What the backend said in HTTP; its text stays where it is, because LiteLLM writes keys and prompts into it."""
    if told.get("local") and not 400 <= status < 500:
        return _broke(backend, told)
    if 300 <= status < 400:
        text = f"{backend} answered with a redirect ({status}), which is never followed."
        return ProviderFailed(text, provider=LiteLLMProvider.name)
    if status < 400:
        return ProviderFailed(f"{backend} answered, but not with JSON.", provider=LiteLLMProvider.name)
    code = _CODES.get(told.get("kind", "")) or _word(told.get("code"))
    who = f"LiteLLM refused this for {backend} with" if told.get("local") else f"{backend} answered"
    error = {"message": f"{who} {status}.", "code": code, "param": _word(told.get("param"))}
    headers = {name: value for name, value in told.get("headers", {}).items() if _HEADER.fullmatch(value)}
    return refusal(LiteLLMProvider.name, status, msgspec.json.encode({"error": error}), headers)


def _broke(backend: str, told: dict[str, Any]) -> ProviderFailed:
    kind = _word(told.get("kind")) or "an error"
    return ProviderFailed(f"{backend} failed in LiteLLM with {kind}.", provider=LiteLLMProvider.name)


def _word(value: Any) -> str | None:
    """A short word of a foreign one, or nothing: texts may quote what was asked."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def _unavailable(text: str) -> ProviderFailed:
    return ProviderFailed(
        text, provider=LiteLLMProvider.name, status=503, code="provider_not_configured", reached=False
    )
