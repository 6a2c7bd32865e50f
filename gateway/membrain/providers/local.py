"""`local/default`: the embedded model, in a child process of our own. No key, no account, no network.

It is a demo-sized model behind OpenAI's chat on a loopback port. What it would silently ignore is refused here with the
name of the field: an answer that looks as if a tool had been considered is worse than none. The child is always asked
for a stream, because only then does it notice that a caller hung up; a whole answer is put together here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, ClassVar

import msgspec

from membrain import sse
from membrain.dialects import chat as words
from membrain.dialects.base import Chunk, Said
from membrain.egress import Egress, Upstream
from membrain.errors import BadRequest, ProviderFailed, UnknownModel
from membrain.local import weights
from membrain.local.engine import NAME, Address, Engine
from membrain.providers.base import Ask, NativeProvider
from membrain.providers.openai import OpenAIProvider
from membrain.records import ProviderState

_FORWARDED = (
    "frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "presence_penalty",
    "response_format", "seed", "stop", "temperature", "top_logprobs", "top_p",
)  # fmt: skip
"""What the engine takes of a request; it acts on more than OpenAI knows, so nothing else reaches it."""

_MAX_TOKENS = 512
"""Where the caller gives no limit: a model of this size may go on for ever."""

_MOST_LOGPROBS = 20


def _absent(value: Any) -> bool:
    return value in (None, [], {}, "none", "auto")


def _one(value: Any) -> bool:
    return value in (None, 1)


def _positive(value: Any) -> bool:
    return value is None or (isinstance(value, int) and value > 0)


def _few(value: Any) -> bool:
    return value is None or (isinstance(value, int) and 0 <= value <= _MOST_LOGPROBS)


_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "tools": (_absent, "The embedded model cannot call tools."),
    "functions": (_absent, "The embedded model cannot call functions."),
    "tool_choice": (_absent, "The embedded model cannot call tools."),
    "function_call": (_absent, "The embedded model cannot call functions."),
    "audio": (_absent, "The embedded model cannot speak or listen."),
    "n": (_one, "The embedded model gives one choice at a time."),
    "max_tokens": (_positive, "`max_tokens` must be a whole number above 0."),
    "max_completion_tokens": (_positive, "`max_completion_tokens` must be a whole number above 0."),
    "top_logprobs": (_few, f"`top_logprobs` must be a whole number up to {_MOST_LOGPROBS}."),
}
"""Field → what it may be, and what to say otherwise."""


class LocalProvider(NativeProvider):
    """Starts the engine when it is first needed, and hands on what it says."""

    name: ClassVar[str] = "local"
    MODEL: ClassVar[str] = NAME

    def __init__(self, engine: Engine, egress: Egress) -> None:
        self._engine = engine
        self._egress = egress
        self._reached: tuple[Address, Upstream] | None = None

    @property
    def is_local(self) -> bool:
        return True

    async def answer(self, ask: Ask) -> AsyncGenerator[Chunk, None]:
        """One whole chunk, or chat events as they come, without `[DONE]`."""
        if ask.model != self.MODEL:
            raise UnknownModel(f"There is no embedded model {ask.model!r}.", param="model", hint=f"There is {NAME}.")
        said = ask.said
        show = words.wants_usage(said)
        async with aclosing(self._pieces(ask)) as pieces:
            if not said.stream:
                yield _whole([piece async for piece in pieces])
                return
            async for piece in pieces:
                tokens = words.tokens_of(piece.get("usage"))
                shown = show or bool(piece.get("choices"))
                yield Chunk(sse.encode(msgspec.json.encode(piece)) if shown else b"", tokens=tokens)

    async def _pieces(self, ask: Ask) -> AsyncGenerator[dict[str, Any], None]:
        """The chunks of the engine's answer, less what only llama.cpp says."""
        body = request_for_engine(ask.said.data)
        said = Said("chat", msgspec.json.encode(body), body, self.MODEL, stream=True)
        engine = OpenAIProvider(await self._upstream())
        async with aclosing(engine.answer(Ask(said, self.MODEL, ask.passport))) as chunks:
            async for chunk in chunks:
                for event in sse.parse(chunk.raw):
                    piece = msgspec.json.decode(event.data)
                    if "prompt_progress" not in piece:
                        piece.pop("timings", None)
                        for choice in piece.get("choices") or ():
                            if choice.get("logprobs"):
                                choice["logprobs"].setdefault("refusal", None)  # llama.cpp leaves it out
                        yield piece

    async def _upstream(self) -> Upstream:
        """The engine's address as an upstream; a new one when it had to be started again."""
        address = await self._engine.address()
        if self._reached is None or self._reached[0] != address:
            if self._reached is not None:
                await self._reached[1].close()
            headers = {"authorization": f"Bearer {address.api_key}"}
            upstream = self._egress.upstream(self.name, f"{address.base_url}/v1", headers, final=True)
            self._reached = (address, upstream)
        return self._reached[1]

    async def close(self) -> None:
        await self._engine.close()
        if self._reached is not None:
            await self._reached[1].close()

    async def models(self) -> Sequence[str]:
        """`local/default`, if it is installed."""
        return (self.MODEL,) if self._engine.installed else ()

    async def state(self) -> ProviderState:
        up = self._engine.installed
        return ProviderState(
            self.name,
            up=up,
            where="built in",
            models=(self.MODEL,) if up else (),
            note="" if up else "not installed",
            remedy="" if up else "membrain local install",
            local=True,
        )


def request_for_engine(data: dict[str, Any]) -> dict[str, Any]:
    """The chat request *data* as the engine takes it; `BadRequest` names what it could only ignore."""
    for field, (fits, sentence) in _CHECKS.items():
        if not fits(data.get(field)):
            raise BadRequest(sentence, param=field, hint="Name another model for this.")
    messages = [_message(each, index) for index, each in enumerate(data["messages"])]
    if not any(each["role"] in {"system", "developer"} for each in messages):
        messages.insert(0, {"role": "system", "content": weights.DEFAULT.system})
    body = {name: data[name] for name in _FORWARDED if data.get(name) is not None}
    if "max_completion_tokens" not in body:
        body.setdefault("max_tokens", _MAX_TOKENS)
    return {
        **body,
        "model": NAME,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,  # so that a hang-up is noticed while a long prompt is read
    }


def _message(message: dict[str, Any], index: int) -> dict[str, Any]:
    """One message as role and text."""
    where = f"messages[{index}]"
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str):
        raise BadRequest(f"`{where}.role` must be a string.", param=f"{where}.role")
    parts = [content] if isinstance(content, str) else content or []
    if not isinstance(parts, list):
        raise BadRequest(f"`{where}.content` must be a string or a list.", param=f"{where}.content")
    return {"role": role, "content": "\n".join(_text(part, where) for part in parts)}


def _text(part: Any, where: str) -> str:
    """A part's text. The template's own marks in it are broken up, so that no text can pose as another role."""
    text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else part
    if not isinstance(text, str):
        raise BadRequest("The embedded model reads text only.", param=f"{where}.content")
    return text.replace("<|im_", "< |im_").replace("<|endoftext", "< |endoftext")


def _whole(pieces: list[dict[str, Any]]) -> Chunk:
    """The completion that the chunks of a stream add up to."""
    deltas = [choice for piece in pieces for choice in piece.get("choices") or ()]
    if not deltas:
        raise ProviderFailed("local sent nothing.", provider="local")
    text = "".join(choice.get("delta", {}).get("content") or "" for choice in deltas)
    finish = next((choice["finish_reason"] for choice in reversed(deltas) if choice.get("finish_reason")), None)
    logprobs = [each for choice in deltas for each in (choice.get("logprobs") or {}).get("content") or ()]
    usage = next((piece["usage"] for piece in reversed(pieces) if piece.get("usage")), None)
    first = pieces[0]
    answer = {
        "id": first.get("id", ""),
        "object": "chat.completion",
        "created": first.get("created", 0),
        "model": NAME,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": {"content": logprobs, "refusal": None} if logprobs else None,
                "finish_reason": finish,
            }
        ],
        **({"usage": usage} if usage else {}),
    }
    return Chunk(msgspec.json.encode(answer), whole=True, tokens=words.tokens_of(usage), model=NAME)
