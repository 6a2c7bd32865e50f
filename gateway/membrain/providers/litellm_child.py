"""The program of the child process that runs LiteLLM: `python -m membrain.providers.litellm_child`.

It reads questions on stdin and writes answers on stdout, both as frames: four bytes of length, then that much JSON.
It lives for as long as its stdin is open, so however the parent ends, by `kill -9` too, the child ends with it.

The library is made quiet before it is imported and again after: no price map from the network, no `.env` of the folder
one stands in, no callbacks, no cache, no retries, no redirects, no tokenizers fetched, and no word on stdout or stderr,
since that would be a caller's text. Nothing of ours is imported here, and what is asked has been checked by the parent.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, BinaryIO

LENGTH = struct.Struct(">I")

BEFORE = {
    "LITELLM_MODE": "PRODUCTION",  # or it reads a `.env`
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "LITELLM_LOG": "CRITICAL",
}
"""The environment that it is imported in."""

AFTER: dict[str, Any] = {
    "telemetry": False,
    "set_verbose": False,
    "suppress_debug_info": True,
    "turn_off_message_logging": True,
    "drop_params": False,  # what a model cannot do is said, not left out
    "modify_params": False,
    "num_retries": 0,
    "cache": None,
    "callbacks": [],
    "input_callback": [],
    "success_callback": [],
    "failure_callback": [],
    "disable_hf_tokenizer_download": True,
    "disable_token_counter": True,  # a count of its own would pass for the provider's
}
"""What is set in it once it is there."""

TRANSPORT = {
    "ClientConnectorError": "unreached",
    "ClientConnectorDNSError": "unreached",
    "ClientConnectorSSLError": "unreached",
    "ClientConnectorCertificateError": "unreached",
    "ClientProxyConnectionError": "unreached",
    "ConnectionTimeoutError": "unreached in time",
    "ConnectionRefusedError": "unreached",
    "gaierror": "unreached",
    "SocketTimeoutError": "silent",
    "ServerTimeoutError": "silent",
    "ReadTimeout": "silent",
    "ClientPayloadError": "broken",
    "ServerDisconnectedError": "broken",
    "ConnectionResetError": "broken",
    "ClientOSError": "broken",
    "ReadError": "broken",
    "RemoteProtocolError": "broken",
    "ClientResponseError": "nonsense",
}
"""Classes of errors, most of them aiohttp's, that say how far a request came. `httpx.ConnectError` is none of them:
LiteLLM's transport raises it for a connection that broke after the request was sent, too."""

GENERAL = {
    "ConnectTimeout": "unreached in time",
    "Timeout": "silent",
    "APITimeoutError": "silent",
    "TimeoutError": "silent",
    "Truncated": "broken",
    "MidStreamFallbackError": "broken",
    "JSONDecodeError": "nonsense",
}
"""Classes that say less; asked when none of the others is there."""

CONNECT_SECONDS = ContextVar("CONNECT_SECONDS", default=5.0)
"""How long the question at hand may take to reach its backend."""

_TOLD_HEADERS = ("retry-after", "retry-after-ms", "x-should-retry")


class Truncated(Exception):
    """A stream ended without a reason, and LiteLLM made one up."""


def main() -> None:
    """Answer until stdin ends."""
    say = _voice()
    try:
        library = quiet_library()
    except Exception as error:  # noqa: BLE001  # whatever keeps a foreign package from being imported
        say({"broken": type(error).__name__, "missing": getattr(error, "name", "") == "litellm"})
        return
    say({"ready": True})
    asyncio.run(_serve(Answers(library, say)))


def quiet_library() -> Any:
    """LiteLLM, with everything switched off that it was not asked for."""
    os.environ.update(BEFORE)
    library = importlib.import_module("litellm")
    for name, value in AFTER.items():
        setattr(library, name, value)
    logging.disable(logging.CRITICAL)
    httpx = importlib.import_module("httpx")
    httpx.Response.has_redirect_location = property(lambda _: False)  # a key never follows a redirect
    httpx.AsyncClient.send = _in_time(httpx.AsyncClient.send)
    handler = importlib.import_module("litellm.llms.custom_httpx.http_handler").AsyncHTTPHandler
    handler.single_connection_post_request = _not_again
    return library


def _in_time(send: Callable[..., Any]) -> Callable[..., Any]:
    """*send* with our limit for connecting: of the limits it is given, LiteLLM keeps one for all of them."""

    async def sent(client: Any, request: Any, **how: Any) -> Any:
        if limits := request.extensions.get("timeout"):
            request.extensions = {**request.extensions, "timeout": {**limits, "connect": CONNECT_SECONDS.get()}}
        return await send(client, request, **how)

    return sent


async def _not_again(*_: Any, **__: Any) -> None:
    """Instead of LiteLLM's second request after a connection broke: the first may have been answered, and billed."""
    error = sys.exception()
    raise error if error is not None else RuntimeError


def _voice() -> Callable[[dict[str, Any]], None]:
    """Keep stdout for frames; what a library prints goes nowhere."""
    answer = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)

    def say(told: dict[str, Any]) -> None:
        data = json.dumps(told).encode()
        answer.write(LENGTH.pack(len(data)) + data)
        answer.flush()

    return say


def _heard(stream: BinaryIO) -> Iterator[dict[str, Any]]:
    """The parent's frames, until it is gone."""
    while len(head := stream.read(LENGTH.size)) == LENGTH.size:
        size = LENGTH.unpack(head)[0]
        if len(data := stream.read(size)) < size:
            return
        yield json.loads(data)


async def _serve(answers: Answers) -> None:
    loop = asyncio.get_running_loop()

    def listen() -> None:
        try:
            for order in _heard(sys.stdin.buffer):
                loop.call_soon_threadsafe(answers.hear, order)
        finally:
            os._exit(0)  # at once and without farewells: whoever asked is gone

    threading.Thread(target=listen, daemon=True).start()
    await asyncio.Event().wait()


class Answers:
    """Every question that is being answered, by its number."""

    def __init__(self, library: Any, say: Callable[[dict[str, Any]], None]) -> None:
        self._library = library
        self._say = say
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def hear(self, order: dict[str, Any]) -> None:
        """Begin an answer, or end one that nobody waits for any more."""
        number = order["id"]
        if "ask" in order:
            task = self._tasks[number] = asyncio.ensure_future(self._answer(number, order["ask"]))
            task.add_done_callback(lambda _: self._tasks.pop(number, None))
        elif (running := self._tasks.get(number)) is not None:
            running.cancel()

    async def _answer(self, number: int, ask: dict[str, Any]) -> None:
        CONNECT_SECONDS.set(ask["connect"])
        try:
            given = await self._library.acompletion(**self._call(ask))
            if ask["params"].get("stream"):
                await self._stream(number, given, ask["model"])
            else:
                data = plain(given)
                cost = self._cost(ask["model"], given.model, data.get("usage"))
                self._say({"id": number, "whole": data, "cost": cost})
        except Exception as error:  # noqa: BLE001  # what it raises is unknown by nature; all of it is told
            self._say({"id": number, "failed": self._failure(error, ask)})
            return
        self._say({"id": number, "end": True})

    def _call(self, ask: dict[str, Any]) -> dict[str, Any]:
        call = {
            **ask["params"],
            "model": ask["model"],
            "timeout": ask["seconds"],
            "max_retries": 0,  # the gateway decides whether to try again
            "num_retries": 0,
            "_skip_mcp_handler": True,  # it would run tools on servers of its own choice
        }
        given = {"api_key": ask["api_key"], "extra_headers": ask["headers"]}
        return call | {name: value for name, value in given.items() if value}

    async def _stream(self, number: int, stream: Any, model: str) -> None:
        try:
            async for piece in stream:
                data = plain(piece)
                if _made_up(stream, data):
                    raise Truncated
                cost = self._cost(model, piece.model, data["usage"]) if data.get("usage") else None
                self._say({"id": number, "piece": data, "cost": cost})
        finally:
            await stream.aclose()

    def _cost(self, asked: str, answered: str, usage: Any) -> float | None:
        """US dollars by LiteLLM's own price map; None if it has no price."""
        if not usage:
            return None
        library = self._library
        try:
            told = library.ModelResponse(model=answered, usage=library.Usage(**usage))
            provider = library.get_llm_provider(asked)[1]
            cost = library.completion_cost(completion_response=told, model=asked, custom_llm_provider=provider)
        except Exception:  # noqa: BLE001  # an unknown price is no reason to lose an answer
            return None
        return float(cost) or None

    def _failure(self, error: Exception, ask: dict[str, Any]) -> dict[str, Any]:
        """What went wrong, without a word of the library's own texts: they quote keys and prompts."""
        told: dict[str, Any] = {"kind": type(error).__name__}
        if (response := _response(error)) is not None:
            told |= _of_body(response)
            headers = {name: response.headers[name] for name in _TOLD_HEADERS if name in response.headers}
            return told | {"status": response.status_code, "headers": headers}
        if (how := _how(error)) is not None:
            return told | {"how": how}
        return told | {"status": getattr(error, "status_code", None), "local": True, **self._at_fault(error, ask)}

    def _at_fault(self, error: Exception, ask: dict[str, Any]) -> dict[str, Any]:
        """What it is that LiteLLM did not even ask with."""
        library, model = self._library, ask["model"]
        try:
            provider = library.get_llm_provider(model)[1]
        except Exception:  # noqa: BLE001  # it raises for what it does not know
            return {"how": "unknown"}
        if type(error).__name__ == "UnsupportedParamsError":
            known = library.get_supported_openai_params(model=model, custom_llm_provider=provider) or ()
            return {"how": "unsupported", "fields": sorted(ask["params"].keys() - {*known, "messages", "stream"})}
        missing = [] if ask["api_key"] else library.validate_environment(model=model)["missing_keys"]
        return {"how": "keyless", "fields": missing} if missing else {}


def plain(given: Any) -> dict[str, Any]:
    """A response or a piece of one, as JSON-ready data in OpenAI's shape."""
    data: dict[str, Any] = given.model_dump(mode="json", exclude_none=True)
    usage = data.get("usage")
    if usage and not (usage.get("prompt_tokens") or usage.get("completion_tokens")):
        del data["usage"]  # nobody counted
    for choice in data.get("choices", ()):
        choice.setdefault("finish_reason", None)
        choice.pop("provider_specific_fields", None)
        _put_back(choice.get("message") or choice.get("delta") or {})
    return data


def _put_back(message: dict[str, Any]) -> None:
    """What LiteLLM moved aside: a refusal is a field of OpenAI's own."""
    aside = message.pop("provider_specific_fields", None) or {}
    if isinstance(refusal := aside.pop("refusal", None), str):
        message["refusal"] = refusal
    if left := {name: value for name, value in aside.items() if value is not None}:
        message["provider_specific_fields"] = left


def _made_up(stream: Any, data: dict[str, Any]) -> bool:
    """Whether *data* holds a finish that no provider sent: LiteLLM ends a stream that broke off as if it were whole."""
    received = (getattr(stream, f"{when}_finish_reason", None) for when in ("received", "intermittent"))
    if not hasattr(stream, "received_finish_reason") or any(received):
        return False
    return any(choice.get("finish_reason") for choice in data.get("choices", ()))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """*error* and all that led to it."""
    seen: set[int] = set()
    now: BaseException | None = error
    while now is not None and id(now) not in seen:
        seen.add(id(now))
        yield now
        now = now.__cause__ or now.__context__


def _response(error: Exception) -> Any:
    """The HTTP response that really came; LiteLLM's own exceptions hold ones that it made up."""
    for each in _chain(error):
        if any(kind.__name__ == "HTTPStatusError" for kind in type(each).__mro__):
            return getattr(each, "response", None)
    return None


def _how(error: Exception) -> str | None:
    """How the transport failed, if it did."""
    kinds = [type(each).__name__ for each in _chain(error)]
    return next((table[kind] for table in (TRANSPORT, GENERAL) for kind in kinds if kind in table), None)


def _of_body(response: Any) -> dict[str, Any]:
    """The code and the field that the upstream's error object names."""
    try:
        body = response.json()
    except (ValueError, RuntimeError):  # no JSON, or not read
        return {}
    told = body.get("error") if isinstance(body, dict) else None
    told = told if isinstance(told, dict) else {}
    return {name: told[name] for name in ("code", "param") if isinstance(told.get(name), str)}


if __name__ == "__main__":
    main()
