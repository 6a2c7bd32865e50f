"""A fake provider that speaks every dialect the way OpenAI and Anthropic do: a real server on 127.0.0.1, in a thread.

It knows no model and checks no key. What it answers is told by the words of the prompt (see `wanted`). It keeps every
request. Nothing outside tests/ may import it.

    with Upstream() as upstream:
        openai.OpenAI(base_url=upstream.url + "/v1", api_key="sk-any")
        upstream.seen[-1].json()
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.clients import says
from tests.clients.wanted import Json, Said, Wanted, from_chat, from_completions, from_messages, from_responses

MODELS = ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4-6", "text-embedding-3-small")


@dataclass(frozen=True)
class Seen:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as data."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Shape:
    """How one API reads and answers."""

    read: Callable[[Json], Wanted]
    whole: Callable[[Json, Said], Json]
    frames: Callable[[Json, Said], Iterator[bytes]]
    error: Callable[[int], Json] = says.openai_error


class Upstream:
    """The server. It listens from `__enter__` to `__exit__`."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.url = ""
        self._tries: Counter[str] = Counter()
        self._kept: dict[str, tuple[Json, list[Json]]] = {}
        config = uvicorn.Config(self._app(), port=0, log_level="error", ws="none", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        limit = time.monotonic() + 10
        while not self._server.started:
            assert time.monotonic() < limit, "the fake provider did not start"
            time.sleep(0.005)
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)

    def _app(self) -> Starlette:
        responses = Shape(self._responses, says.response_whole, says.response_frames)
        messages = Shape(from_messages, says.messages_whole, says.messages_frames, says.anthropic_error)
        spoken = {
            "/v1/chat/completions": Shape(from_chat, says.chat_whole, says.chat_frames),
            "/v1/completions": Shape(from_completions, says.completions_whole, says.completions_frames),
            "/v1/responses": responses,
            "/v1/messages": messages,
            "/messages": messages,  # where Vercel's package asks if its base has no /v1
        }
        plain = {
            "/v1/embeddings": says.embeddings,
            "/v1/moderations": says.moderation,
            "/v1/messages/count_tokens": lambda _: {"input_tokens": 17},
        }
        return Starlette(
            routes=[
                *(Route(path, self._speaks(shape), methods=["POST"]) for path, shape in spoken.items()),
                *(Route(path, self._counts(make), methods=["POST"]) for path, make in plain.items()),
                Route("/v1/responses/{id}", self._stored, methods=["GET", "DELETE"]),
                Route("/v1/models", self._models),
            ]
        )

    async def _keep(self, request: Request) -> Json:
        headers = {name: request.headers[name] for name in request.headers}
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        self.seen.append(Seen(request.method, path, headers, await request.body()))
        return json.loads(self.seen[-1].body) if self.seen[-1].body else {}

    def _speaks(self, shape: Shape) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            asked = await self._keep(request)
            wanted = shape.read(asked)
            who = request.headers.get("authorization") or request.headers.get("x-api-key") or ""
            status = wanted.failure(self._tries[who + wanted.text])
            self._tries[who + wanted.text] += 1
            if status:
                return _failed(shape.error(status), status)
            said = wanted.said()
            if request.url.path == "/v1/responses":
                self._store(asked, said)
            if not asked.get("stream"):
                return JSONResponse(shape.whole(asked, said), headers=_HEADERS)
            return StreamingResponse(
                _paced(shape.frames(asked, said)), media_type="text/event-stream", headers=_HEADERS
            )

        return endpoint

    def _counts(self, make: Callable[[Json], Json]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            return JSONResponse(make(await self._keep(request)), headers=_HEADERS)

        return endpoint

    def _responses(self, asked: Json) -> Wanted:
        return from_responses(asked, self._kept.get(asked.get("previous_response_id") or "", ({}, []))[1])

    def _store(self, asked: Json, said: Said) -> None:
        made = says.response_whole(asked, said)
        given = asked.get("input") or ""
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given
        before = self._kept.get(asked.get("previous_response_id") or "", ({}, []))[1]
        self._kept[made["id"]] = (made, [*before, *items, *made["output"]])

    async def _stored(self, request: Request) -> Response:
        await self._keep(request)
        id = request.path_params["id"]
        if id not in self._kept:
            return _failed(says.openai_error(404), 404)
        if request.method == "DELETE":
            del self._kept[id]
            return JSONResponse({"id": id, "object": "response", "deleted": True})
        return JSONResponse(self._kept[id][0], headers=_HEADERS)

    async def _models(self, request: Request) -> Response:
        await self._keep(request)
        if "anthropic-version" in request.headers:
            stamp = "2025-05-14T00:00:00Z"
            models = [{"type": "model", "id": m, "display_name": m.title(), "created_at": stamp} for m in MODELS]
            return JSONResponse({"data": models, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]})
        owned = [{"id": m, "object": "model", "created": says.CREATED, "owned_by": "fake"} for m in MODELS]
        return JSONResponse({"object": "list", "data": owned})


_HEADERS = {"x-request-id": "req_fake", "request-id": "req_fake", "openai-processing-ms": "12"}
_WAIT = {"retry-after": "0", "retry-after-ms": "5"}


def _failed(error: Json, status: int) -> Response:
    return JSONResponse(error, status_code=status, headers={**_HEADERS, **(_WAIT if status >= 429 else {})})


async def _paced(frames: Iterator[bytes]) -> Any:
    """Each frame in a write of its own."""
    for frame in frames:
        yield frame
        await asyncio.sleep(0)
