"""The questions about responses that a provider keeps. Reads parameters, asks `Gateway.stored`, and passes bytes on.

A parameter goes on if it is known and of its form, and nothing else does: a text could hold anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from membrain.api.guard import wants_private
from membrain.errors import BadRequest, NotCovered, NotFound, Refused
from membrain.exchange import Exchange
from membrain.gateway import Gateway
from membrain.records import Caller

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,160}")
_FLAG: Final = re.compile("true|false")

_PARAMETERS: Final = {
    "after": _ID,
    "before": _ID,
    "beta": _FLAG,
    "include": re.compile(r"[a-z_]{1,40}(\.[a-z_]{1,40}){0,4}"),
    "include[]": re.compile(r"[a-z_]{1,40}(\.[a-z_]{1,40}){0,4}"),
    "include_obfuscation": _FLAG,
    "limit": re.compile("[0-9]{1,3}"),
    "order": re.compile("asc|desc"),
    "stream": _FLAG,
}
"""What may be said behind the question mark."""


class PreviousNotFound(BadRequest):
    """The response that a request goes on from is not known, or not its caller's. OpenAI's own status and code."""

    code = "previous_response_not_found"


async def response(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """One response: fetched, or with DELETE deleted."""
    return await _asked(gateway, request, caller, "")


async def input_items(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """What a response was an answer to."""
    return await _asked(gateway, request, caller, "/input_items")


async def cancel(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """End a response that is made in the background."""
    return await _asked(gateway, request, caller, "/cancel")


async def _asked(gateway: Gateway, request: Request, caller: Caller, tail: str) -> Response:
    id = request.path_params["id"]
    if not _ID.fullmatch(id):
        raise NotFound("There is no such response here.", param="id")
    rest, private = tail + query(request.query_params.multi_items()), wants_private(request.headers)
    body = await gateway.stored.ask(request.method, id, rest, caller, private=private)
    return Response(body, media_type="application/json")


def query(asked: Iterable[tuple[str, str]]) -> str:
    """The parameters *asked* as they go on, question mark and all. `BadRequest` names one that may not."""
    given = list(asked)
    for name, value in given:
        if name not in _PARAMETERS or not _PARAMETERS[name].fullmatch(value):
            raise BadRequest("There is no such parameter, or not with that value.", param=name[:64])
        if (name, value) == ("stream", "true"):
            raise NotCovered("Membrain does not cover stored responses as streams yet. Ask without `stream`.")
    return f"?{urlencode(given)}" if given else ""


def check_previous(gateway: Gateway, exchange: Exchange) -> None:
    """`PreviousNotFound` if *exchange* goes on from a response that is not its caller's.

    Who asks is looked up for that. Whoever may not ask at all passes: the pipeline refuses them, on record.
    """
    previous = exchange.said.data.get("previous_response_id")
    if exchange.said.dialect != "responses" or not isinstance(previous, str):
        return
    try:
        gateway.stored.known(previous, gateway.identify(exchange.credential, exchange.same_user, exchange.project))
    except Refused:
        return
    except NotFound:
        raise PreviousNotFound(
            "The response to go on from is not known here, or not any more.",
            hint="Send the whole conversation in `input`.",
            param="previous_response_id",
        ) from None
