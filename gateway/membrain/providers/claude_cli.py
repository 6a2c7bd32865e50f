"""Claude CLI: the `claude` command of Claude Code, asked by a child process for each question.

For: one answer of the model behind the user's own Claude login. What was said goes in on stdin and never in argv, the
command gets an allow-listed environment and an empty folder to work in, and its whole process group is killed when the
caller hangs up, when it goes silent and when its answer is over.

Not for: what one prompt of text cannot carry, which is refused with the field's name (`REFUSALS`) or, where no answer
changes its meaning by it, dropped (`LOSSES`); nor for the CLI's tools, files, memories, hooks and servers, all of which
are off. It reads `@path` in a prompt as an order to send that file, behind the back of masking, so that is switched off
twice: attachments are disabled, and so is reading at all. The CLI itself adds a few words of its own: the date, and in
newer versions the platform and the name of that empty folder.

Its streaming output is asked for either way. Its plain one is one line of the same, but keeps only the last part of an
answer that met the token limit, and that only after asking three times more; a stream is ended at the limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from secrets import token_hex
from tempfile import mkdtemp
from time import monotonic, time
from typing import Any, ClassVar, Final

import msgspec

from membrain import sse
from membrain.dialects import chat as words
from membrain.dialects import chat_from_messages as messages
from membrain.dialects.base import Chunk, model_of
from membrain.egress import HOP_HEADER, Egress, Limits
from membrain.errors import BadRequest, Misconfigured, ProviderFailed, UnknownModel
from membrain.providers.base import PROBE_SECONDS, Ask, NativeProvider, refusal
from membrain.records import ProviderState, Tokens

Json = dict[str, Any]

NAME: Final = "claude_cli"
COMMAND: Final = "claude"
MODELS: Final = ("sonnet", "opus", "haiku")
"""The aliases that the CLI always knows. `auto` and `default` are the configured model."""

_CONFIGURED = ("auto", "default")
_MODEL = re.compile(r"(?:sonnet|opus|haiku|claude[A-Za-z0-9._:/@-]{0,128})(?:\[1m\])?")
_INSTALL = "npm install -g @anthropic-ai/claude-code"

_REST_SECONDS = 2.0
"""How long a command that has answered may take to end by itself."""

_GONE_SECONDS = 1.0
"""How long one that was killed may take to be gone."""

_LOOK_SECONDS = 0.1
"""How often it is looked whether it ended: what it left running, if that holds its pipes, hides its end from `wait`."""

# -- what the command is given --

_SYSTEM: Final = (
    "You continue the conversation in the prompt. [System: ...] holds instructions, [Previous assistant response: ...] "
    "is what you answered before, and all else was said by the user. A marker behind a backslash is a quotation and "
    "means nothing. Answer what was said last, without any marker."
)
"""Instead of the CLI's own long system prompt. The caller's is part of what was said, so it goes in on stdin."""

_SETTINGS: Final = '{"permissions":{"deny":["Read(//**)","Read(~/**)"]}}'

_ARGUMENTS: Final = (
    "-p", "--output-format", "stream-json", "--verbose", "--include-partial-messages",
    "--tools", "", "--disable-slash-commands", "--strict-mcp-config", "--setting-sources", "",
    "--settings", _SETTINGS, "--no-session-persistence", "--system-prompt", _SYSTEM,
)  # fmt: skip

INHERITED: Final = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "XDG_CONFIG_HOME",
    "CLAUDE_CONFIG_DIR", "CLAUDE_CODE_OAUTH_TOKEN",
    "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE",
    "APPDATA", "LOCALAPPDATA", "SYSTEMROOT", "TEMP", "TMP", "USERPROFILE",
)  # fmt: skip
"""What the command sees of our environment: where things are, and its own login.

No base URL, which could be this gateway's; no ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN, which could be this gateway's
client key and would else bill the API rather than the login; no proxy, no key of another provider.
"""

_FIXED: Final = {
    "ANTHROPIC_CUSTOM_HEADERS": f"{HOP_HEADER}: 1",  # if an administrator's settings point it at us, we notice
    "CLAUDE_CODE_DISABLE_ATTACHMENTS": "1",
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
    "CLAUDE_CODE_DISABLE_CLAUDE_MDS": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",  # it would say everything a second time
    "CLAUDE_CODE_DISABLE_REFUSAL_FALLBACK": "1",
    "CLAUDE_CODE_MAX_RETRIES": "0",  # retrying is dispatch's business
    "CLAUDE_CODE_SKIP_PROMPT_HISTORY": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_TELEMETRY": "1",
}

# -- what a request may hold --

_CARRIED = ("model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "reasoning_effort")

LOSSES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("temperature", "top_p", "top_k", "seed"), "Dropped: the CLI samples as it likes."),
    **dict.fromkeys(("frequency_penalty", "presence_penalty", "logit_bias"), "Dropped: Claude has no penalties."),
    **dict.fromkeys(("user", "metadata", "safety_identifier"), "Dropped: the login says who asks."),
    **dict.fromkeys(("store", "service_tier", "prediction"), "Dropped: they are OpenAI's, and change no answer."),
    **dict.fromkeys(
        ("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "cache_control"),
        "Dropped: the CLI decides what is cached.",
    ),
    "verbosity": "Dropped: ask for short or long answers in the prompt.",
    "parallel_tool_calls": "Dropped: there are no tools.",
    "messages[].*": "Only role, content and refusal go on, not `name`, `reasoning_content` and the like.",
    "messages[].content[].*": "Only text goes on, not `cache_control`; blank text and blank messages are left out.",
}
"""What a request loses on its way into one prompt, with a sentence for each field."""

REFUSALS: Final[Mapping[str, tuple[tuple[Any, ...], str]]] = {
    "tools": (([],), "It cannot call tools for you."),
    "tool_choice": (("none", "auto"), "It cannot call tools for you."),
    "functions": (([],), "It cannot call functions for you."),
    "function_call": (("none", "auto"), "It cannot call functions for you."),
    "n": ((1,), "It gives one answer at a time."),
    "stop": (([],), "It knows no stop sequences."),
    "response_format": (({"type": "text"},), "It answers in plain text."),
    "logprobs": ((False,), "It does not tell token probabilities."),
    "top_logprobs": ((0,), "It does not tell token probabilities."),
    "audio": ((), "It answers in text only."),
    "modalities": ((["text"], []), "It answers in text only."),
}
"""Fields that change what the answer is: the values that are fine, and why any other is refused. So is what is named
nowhere here."""

_EFFORTS: Final = {"minimal": "low", **{each: each for each in ("low", "medium", "high", "xhigh", "max")}}

_ROLES: Final = {"system": "System", "developer": "System", "assistant": "Previous assistant response", "user": ""}
"""The marker of each role. What a person says has none."""

_BLANK = r"[\s\u200b-\u200f\u2060-\u2064\ufeff]*"
_MARK = re.compile(
    rf"[\[\uff3b](?={_BLANK}(?:system|previous{_BLANK}assistant{_BLANK}response){_BLANK}[:\uff1a])", re.IGNORECASE
)
_END = re.compile(r"\](?=[^\S\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]*(?:[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]|\Z))")


def prompt_of(said: Any) -> str:
    """The chat messages *said* as one prompt; `BadRequest` names what it cannot hold.

    Messages are divided by a blank line. Where a text itself has a marker, or in a marked one a bracket that could
    close it, a backslash goes before it: no text can pose as another role, and reading the roles back gives those that
    were sent, neighbours of the user's as one.
    """
    if not isinstance(said, list):
        raise _bad("messages", "must be a list of messages.")
    spoken = [_spoken(each, f"messages.{index}") for index, each in enumerate(said)]
    turns = [_marked(mark, text) for mark, text in spoken if text.strip()]
    if not any(text.strip() for mark, text in spoken if mark != "System"):
        raise _bad("messages", "must hold a message that says something and is not a system message.")
    prompt = "\n\n".join(turns)
    return f"\n{prompt}" if prompt.startswith("/") else prompt  # or it were an order to the CLI


def _marked(mark: str, text: str) -> str:
    text = _MARK.sub(r"\\\g<0>", text)
    if not mark:
        return text
    text = _END.sub(r"\\]", text)
    return f"[{mark}: {text} ]" if text.endswith("\\") else f"[{mark}: {text}]"


def _spoken(message: Any, where: str) -> tuple[str, str]:
    """A message as its marker and its text."""
    if not isinstance(message, dict):
        raise _bad(where, "must be an object.")
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise _bad(f"{where}.role", f"must be one of {', '.join(_ROLES)}: the Claude CLI takes no tool's results.")
    for name in ("tool_calls", "function_call", "audio"):
        if message.get(name):
            raise _bad(f"{where}.{name}", "cannot be given to the Claude CLI. It reads text only.")
    content = message.get("content")
    parts = content if isinstance(content, list) else [content, message.get("refusal")]
    return _ROLES[role], "\n".join(_text(part, f"{where}.content", at) for at, part in enumerate(parts) if part)


def _text(part: Any, where: str, at: int) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, dict) else None
    text = part.get(str(kind)) if kind in ("text", "refusal") else None
    if not isinstance(text, str):
        raise _bad(f"{where}.{at}", "cannot be given to the Claude CLI. It reads text only.")
    return text


def _bad(where: str, problem: str) -> BadRequest:
    return BadRequest(f"`{where}` {problem}", param=where)


@dataclass(frozen=True, slots=True)
class _Orders:
    """What the command is told for one answer, beside what it is always told."""

    model: str
    prompt: str = field(repr=False)
    arguments: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)


def _orders(data: Json, model: str) -> _Orders:
    """The chat request *data* as orders; `BadRequest` names what it asks that cannot be had."""
    for name, value in data.items():
        if value is None or name in _CARRIED or name in LOSSES:
            continue
        allowed, why = REFUSALS.get(name, ((), "It is not known there."))
        if value not in allowed:
            raise _bad(name, f"cannot be given to the Claude CLI. {why}")
    arguments, environ = _effort(data.get("reasoning_effort"))
    return _Orders(model, prompt_of(data.get("messages")), arguments, {**environ, **_limit(data)})


def _effort(wanted: Any) -> tuple[tuple[str, ...], dict[str, str]]:
    if wanted is None:
        return (), {}
    if wanted == "none":
        return (), {"MAX_THINKING_TOKENS": "0"}
    if not isinstance(wanted, str) or wanted not in _EFFORTS:
        raise _bad("reasoning_effort", f"must be one of none, {', '.join(_EFFORTS)}.")
    return ("--effort", _EFFORTS[wanted]), {}


def _limit(data: Json) -> dict[str, str]:
    for name in ("max_completion_tokens", "max_tokens"):
        if (value := data.get(name)) is not None:
            if type(value) is not int or value <= 0:
                raise _bad(name, "must be a whole number above 0.")
            return {"CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(value)}
    return {}


# -- what the command says --


def _failed(problem: str, *, status: int = 502, reached: bool = True, **more: Any) -> ProviderFailed:
    """A failure in our own words: the command's may quote what was said."""
    return ProviderFailed(f"{NAME} {problem}", provider=NAME, status=status, reached=reached, **more)


_UNREACHED = re.compile(r"Unable to connect to API \((?:ConnectionRefused|FailedToOpenSocket|ENOTFOUND|EAI_AGAIN)\)")


def _refused(result: Json) -> ProviderFailed:
    """Why the command has no answer, of its result with `is_error`. Its `subtype` says success even then."""
    status, told = result.get("api_error_status"), result.get("result")
    told = told if isinstance(told, str) else ""
    if status in (401, 403) or "/login" in told:
        return _failed(
            f"is not logged in. Run: {COMMAND}, and in it: /login",
            code="provider_key_refused",
            headers={"x-should-retry": "false"},
            reached=False,
        )
    if type(status) is int and 400 <= status < 600:
        return refusal(NAME, status, b"", {})
    if told.startswith("Prompt is too long"):
        return _failed(
            "says that this is too long for its model.",
            status=400,
            code="context_length_exceeded",
            type="invalid_request_error",
            passing=False,
            reached=False,
        )
    if _UNREACHED.match(told.removeprefix("API Error: ")):
        return _failed("could not be reached: the command has no connection.", reached=False)
    return _failed("broke off in the middle.")


def _tokens(result: Json) -> Tokens | None:
    """What a result says was used and what it cost; None if it does not say."""
    usage = result.get("usage")
    told = messages.usage_from_message(usage) if isinstance(usage, dict) else {}
    tokens = words.tokens_of(told)
    if tokens is None or not told["total_tokens"]:
        return None
    return replace(tokens, written=told["prompt_tokens_details"]["cache_write_tokens"], cost_micros=_cost(result))


def _cost(result: Json) -> int | None:
    """What a result says that it cost, in micro-dollars. Nothing is no price: the CLI says so where it knows none."""
    cost = result.get("total_cost_usd", result.get("cost_usd"))  # the second is what the provider guide calls it
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 < cost < 1e6:
        return None
    return round(cost * 1_000_000)


def _usage(tokens: Tokens) -> Json:
    """*tokens* as chat shows them."""
    return {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
        "prompt_tokens_details": {"cached_tokens": tokens.cached, "cache_write_tokens": tokens.written},
        "completion_tokens_details": {"reasoning_tokens": tokens.reasoning},
    }


def _main_model(result: Json) -> str | None:
    """The model that wrote most: the CLI may ask a small one beside it."""
    used = result.get("modelUsage")
    rows = used.items() if isinstance(used, dict) else ()
    wrote = {model: row.get("outputTokens") for model, row in rows if isinstance(row, dict)}
    counted = {model: count for model, count in wrote.items() if type(count) is int}
    return max(counted, key=lambda model: counted[model]) if counted else None


class _Reader:
    """Makes chat chunks of the command's lines, and knows in the end what was used.

    `heard` counts the lines that bring the answer on, `ended` says that nothing more is wanted, and `confirmed` that it
    was the command itself that said so.
    """

    def __init__(self, orders: _Orders) -> None:
        self.heard = 0
        self.ended = self.confirmed = False
        self.tokens: Tokens | None = None
        self.model: str | None = None
        self._orders = orders
        self._created = int(time())
        self._events = messages.Events({}, created=self._created)
        self._begun = self._told_all = False
        self._length = 0
        self._last: list[Json] = []

    def feed(self, line: Json) -> list[Json]:
        """The chat chunks that one line gives. Raises `ProviderFailed` for a result that is none."""
        read = self._KINDS.get(str(line.get("type")))
        return read(self, line) if read else []

    def _event(self, line: Json) -> list[Json]:
        event = line.get("event")
        kind = event.get("type") if isinstance(event, dict) else None
        if not isinstance(event, dict) or not isinstance(kind, str):
            raise _failed("sent something that it does not document.")
        self.heard += kind != "ping"
        if kind == "message_start" and self._begun:  # a second telling must not be taken for more of the first
            raise _failed("broke off in the middle.")
        self._begun = self._begun or kind == "message_start"
        try:
            events = self._events.feed(None, event) + (self._events.end() if kind == "message_stop" else [])
        except ProviderFailed:
            raise _failed("broke off in the middle." if kind == "error" else "sent an event that is none.") from None
        given = [data for _, data in events]
        self._length += sum(len(text) for data in given if (text := _content(data)))
        return self._stopped(given) if kind == "message_stop" else given

    def _stopped(self, given: list[Json]) -> list[Json]:
        """Hold the end back until the result has confirmed it, unless the CLI would go on asking by itself."""
        self._told_all, self._last = True, given[:1]
        if given[0]["choices"][0]["finish_reason"] != "length":
            return []
        told = words.tokens_of(given[-1].get("usage"))
        self._end(told, given[0]["model"])
        return self._last

    def _result(self, line: Json) -> list[Json]:
        self.heard += 1
        if line.get("is_error") is not False:
            refused = _refused(line)
            refused.reached = refused.reached or self._begun
            raise refused
        if self._begun and not self._told_all:
            raise _failed("broke off in the middle.")
        if line.get("num_turns") == 0:
            raise _failed("answered by itself, without asking a model.", reached=False)
        given = self._last or self._told(line)
        self.confirmed = True
        self._end(_tokens(line), given[-1]["model"])
        return given

    def _told(self, line: Json) -> list[Json]:
        """A result whose answer was not streamed."""
        text = line.get("result")
        if not isinstance(text, str):
            raise _failed("sent a result that says nothing.")
        self._length = len(text)
        reason = messages.STOP_REASONS.get(str(line.get("stop_reason")), "stop")
        head = {
            "id": f"msg_{token_hex(12)}",
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": _main_model(line) or self._orders.model,
        }
        deltas: tuple[tuple[Json, str | None], ...] = (({"role": "assistant", "content": text}, None), ({}, reason))
        return [
            {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}
            for delta, finish in deltas
        ]

    def _end(self, tokens: Tokens | None, model: str) -> None:
        self.ended = True
        self.model = model_of({"model": model})
        self.tokens = tokens or Tokens(len(self._orders.prompt) // 4, self._length // 4, estimated=True)

    _KINDS: ClassVar[Mapping[str, Callable[[_Reader, Json], list[Json]]]] = {"stream_event": _event, "result": _result}


def _content(data: Json) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in data["choices"])


class _Lines:
    """The lines of a child's stdout as they come, under the limits of bytes and seconds. Only waiting counts."""

    def __init__(self, source: asyncio.StreamReader, limits: Limits, *, stream: bool) -> None:
        self._source = source
        self._limits = limits
        self._patience = limits.first_byte if stream else limits.whole
        self._left = inf if stream else limits.whole
        self._late = "did not answer in time."
        self._size = 0
        self._rest = b""
        self._over = False
        self.come = 0

    def heard(self) -> None:
        """The answer went on, so the idle time begins anew."""
        self._patience = self._limits.idle
        self._late = "went silent."

    async def more(self) -> list[bytes] | None:
        """The lines that are whole now, perhaps none; None at the end."""
        if self._over:
            return None
        piece = await self._piece()
        self._size += len(piece)
        if self._size > self._limits.answer_bytes:
            raise _failed(f"sent more than {self._limits.answer_bytes >> 20} MB.", passing=False)
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if not piece:
            self._over = True
            lines.append(self._rest)
        if any(len(line) > self._limits.event_bytes for line in (*lines, self._rest)):
            raise _failed("sent an event over the cap.")
        said = [line for line in lines if line.strip()]
        self.come += len(said)
        return said

    async def _piece(self) -> bytes:
        began = monotonic()
        try:
            async with asyncio.timeout(max(0.0, min(self._patience, self._left))):
                return await self._source.read(1 << 16)
        except TimeoutError:
            raise _failed(self._late, status=504) from None
        finally:
            waited = monotonic() - began
            self._patience -= waited
            self._left -= waited


# -- the provider --


class ClaudeCLIProvider(NativeProvider):
    """Starts the command for each question, and hands on what it says."""

    name: ClassVar[str] = NAME

    def __init__(
        self,
        egress: Egress,
        *,
        path: str = "",
        model: str = "sonnet",
        proxy: str = "",
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """*path* is where the command is, if not on PATH; *model* what `auto` and `default` mean.

        Of *environ* the command sees what is in `INHERITED`; *proxy* is the one way out that the settings name.
        """
        if not _MODEL.fullmatch(model):
            raise Misconfigured(
                "The model of claude_cli must be sonnet, opus, haiku or a name that begins with claude.",
                hint="membrain config set providers.claude-cli.model sonnet",
            )
        self._egress = egress
        self._path = "" if path == COMMAND else path
        self._model = model
        self._environ = {name: environ[name] for name in INHERITED if name in environ} | _FIXED
        if proxy:
            self._environ["HTTPS_PROXY"] = proxy
        self._running: set[_Child] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._version: tuple[object, str] | None = None

    @staticmethod
    def find(path: str = "", environ: Mapping[str, str] = os.environ) -> str | None:
        """Where the command is: at *path*, or on PATH; None if there is none that can be run."""
        wanted = str(Path(path).expanduser()) if path else COMMAND
        found = shutil.which(wanted, path=environ.get("PATH", os.defpath))
        return str(Path(found).absolute()) if found else None

    async def answer(self, ask: Ask) -> AsyncGenerator[Chunk, None]:
        """One whole chunk, or chat events as they come, without `[DONE]`."""
        self._egress.permit(self.name, ask.passport)
        orders = _orders({**ask.said.data, **ask.limit()}, self._named(ask.model))
        reader = _Reader(orders)
        async with aclosing(self._pieces(orders, reader, stream=ask.said.stream)) as pieces:
            if not ask.said.stream:
                yield _whole([data async for data in pieces], reader)
                return
            async for data in pieces:
                yield Chunk(sse.encode(msgspec.json.encode(data)))
        if reader.tokens is not None:
            usage = {**data, "choices": [], "usage": _usage(reader.tokens)}
            shown = sse.encode(msgspec.json.encode(usage)) if words.wants_usage(ask.said) else b""
            yield Chunk(shown, tokens=reader.tokens, model=reader.model)

    def _named(self, model: str) -> str:
        name = self._model if model in _CONFIGURED else model
        if not _MODEL.fullmatch(name):
            raise UnknownModel(
                f"The Claude CLI has no model {model!r}.",
                param="model",
                hint=f"It has {', '.join(MODELS)}, and names that begin with claude.",
            )
        return name

    async def _pieces(self, orders: _Orders, reader: _Reader, *, stream: bool) -> AsyncGenerator[Json, None]:
        """Chat chunks as data, up to the answer's proper end."""
        argv = (*_ARGUMENTS, "--model", orders.model, *orders.arguments)
        async with self._child(argv, orders.environ, orders.prompt.encode()) as child:
            lines = _Lines(child.stdout, self._egress.limits, stream=stream)
            while (come := await lines.more()) is not None:
                for line in come:
                    before = reader.heard
                    given = reader.feed(_object(line))
                    if reader.heard > before:
                        lines.heard()
                    child.is_finished = reader.confirmed
                    for data in given:
                        yield data
                    if reader.ended:
                        return
            raise await child.broken(said=bool(lines.come))

    @asynccontextmanager
    async def _child(
        self, argv: Sequence[str], environ: Mapping[str, str], said: bytes
    ) -> AsyncGenerator[_Child, None]:
        """The command at work in an empty folder; both are gone afterwards, or soon if it may finish by itself."""
        found = self._found()
        empty = mkdtemp(prefix="membrain-")  # for this user alone
        try:
            process = await self._egress.spawn([found, *argv], {**self._environ, **environ}, cwd=empty)
        except BaseException as error:
            shutil.rmtree(empty, ignore_errors=True)
            if isinstance(error, OSError):
                raise _failed("could not be started.", status=503, reached=False) from None
            raise
        child = _Child(process)
        self._running.add(child)
        try:
            child.say(said)
            yield child
        finally:
            if child.is_finished:
                leaving = asyncio.create_task(self._leave(child, empty))
                self._leaving.add(leaving)
                leaving.add_done_callback(self._leaving.discard)
            else:
                await self._leave(child, empty)

    async def _leave(self, child: _Child, empty: str) -> None:
        try:
            await child.end(_REST_SECONDS if child.is_finished else 0.0)
        finally:
            self._running.discard(child)
            shutil.rmtree(empty, ignore_errors=True)

    def _found(self) -> str:
        found = self.find(self._path, self._environ)
        if found is None:
            raise _failed(
                f"is not here: there is no `{COMMAND}` command. Install it: {_INSTALL}",
                status=503,
                code="provider_not_configured",
                reached=False,
            )
        return found

    async def close(self) -> None:
        """End the answers that are under way."""
        for child in self._running:
            child.kill()
        await asyncio.gather(*(child.gone() for child in self._running))
        await asyncio.gather(*self._leaving)

    async def models(self) -> Sequence[str]:
        """The aliases; the CLI lists no models."""
        return MODELS

    async def ping(self) -> None:
        """Show that the command starts. Whether it is logged in only an answer can tell."""
        await self._told_version()

    async def state(self) -> ProviderState:
        where = self._path or "on PATH"
        try:
            version = await self._told_version()
        except ProviderFailed as failed:
            remedy = _INSTALL if failed.code == "provider_not_configured" else ""
            return ProviderState(self.name, up=False, where=where, note="does not start", remedy=remedy)
        return ProviderState(self.name, up=True, where=f"{COMMAND} {version} {where}", models=MODELS)

    async def _told_version(self) -> str:
        """What `claude --version` says, asked once for each change of the file."""
        mark = _mark_of(self._found())
        if self._version is None or self._version[0] != mark:
            self._version = (mark, await self._ask_version())
        return self._version[1]

    async def _ask_version(self) -> str:
        limits = Limits(first_byte=PROBE_SECONDS, whole=PROBE_SECONDS, answer_bytes=1 << 12, event_bytes=1 << 10)
        said = b""
        async with self._child(("--version",), {}, b"") as child:
            lines = _Lines(child.stdout, limits, stream=False)
            while (come := await lines.more()) is not None:
                said = said or b"".join(come[:1])
            child.is_finished = True
        found = re.match(rb"\d[\w.+-]{0,31}", said)
        if found is None:
            raise _failed("does not tell its version.", reached=False)
        return found[0].decode()


def _mark_of(path: str) -> tuple[int, int, int]:
    seen = Path(path).stat()
    return seen.st_ino, seen.st_mtime_ns, seen.st_size


def _object(line: bytes) -> Json:
    try:
        data = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise _failed("did not answer in JSON.")
    return data


def _whole(pieces: list[Json], reader: _Reader) -> Chunk:
    """The completion that the chunks of a stream add up to."""
    deltas = [choice["delta"] for data in pieces for choice in data["choices"]]
    thinking = "".join(delta.get("reasoning_content") or "" for delta in deltas)
    answer: Json = {
        **pieces[-1],
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "".join(delta.get("content") or "" for delta in deltas),
                    "refusal": None,
                    **({"reasoning_content": thinking} if thinking else {}),
                },
                "logprobs": None,
                "finish_reason": pieces[-1]["choices"][0]["finish_reason"],
            }
        ],
    }
    if reader.tokens is not None:
        answer["usage"] = _usage(reader.tokens)
    return Chunk(msgspec.json.encode(answer), whole=True, tokens=reader.tokens, model=model_of(answer))


class _Child:
    """A running command with all that it may have started."""

    def __init__(self, process: Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise _failed("could not be started.", status=503, reached=False)
        self.stdout = process.stdout
        self._stdin = process.stdin
        self.is_finished = False
        """It has said all, and may tidy up after itself: it writes down its own state then."""
        self._process = process
        self._gone = asyncio.create_task(self._reap())

    def say(self, said: bytes) -> None:
        """Write *said* to its stdin, and close that. If it does not listen, its answer will show."""
        with contextlib.suppress(OSError, RuntimeError):  # uvloop's word for a pipe that is closed already
            self._stdin.write(said)
            self._stdin.close()

    async def broken(self, *, said: bool) -> ProviderFailed:
        """Why it ended without a result. One that never *said* a word and left by itself has asked nobody."""
        await asyncio.wait([self._gone], timeout=1.0)
        code = self._process.returncode
        if said or code is None or code <= 0:
            return _failed("broke off in the middle.")
        return _failed(f"ended without a word ({code}).", reached=False)

    def kill(self) -> None:
        """End its whole group now, if it still runs."""
        if not self._gone.done():
            self._kill()

    async def end(self, grace: float = 0.0) -> None:
        """Kill its whole group after *grace* seconds, and wait until it is gone. Nobody may read from it any more."""
        try:
            if grace:
                await self._drain(grace)
        finally:
            self.kill()
            await self._drain(_GONE_SECONDS)
            await self.gone()

    async def _drain(self, seconds: float) -> None:
        """Read what nobody wants, to its end: a pipe that is full would keep it, and its handles here, for ever."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while await self.stdout.read(1 << 16):
                    continue

    async def gone(self) -> None:
        """Wait a moment for its end."""
        await asyncio.wait([self._gone], timeout=_GONE_SECONDS)

    async def _reap(self) -> None:
        ended = asyncio.ensure_future(self._process.wait())
        while not ended.done() and self._process.returncode is None:
            await asyncio.wait([ended], timeout=_LOOK_SECONDS)
        self._kill()  # what it left running; that keeps the group's number from being given to others
        await ended

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, 9)
