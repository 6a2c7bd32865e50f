"""Who may even speak: looks at a request's envelope, never at its words.

A web page in the user's browser can reach a loopback port. It cannot forge `Host`, it cannot hide `Origin`, `Referer`
and `Sec-Fetch-Site` all at once, and it cannot send JSON across origins without asking first; so these decide.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping, MutableMapping
from typing import Any

from membrain.egress import HOP_HEADER
from membrain.errors import BadRequest, Forbidden, LoopDetected, TooLarge, UnsupportedType

Scope = MutableMapping[str, Any]

_OWN_SITES = frozenset({"none", "same-origin"})
_HTTP_PORT = 80
"""Left out of `Host` by whoever calls."""

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_ONCE = frozenset(
    {
        b"host",
        b"origin",
        b"referer",
        b"sec-fetch-site",
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"authorization",
        b"x-api-key",
        b"x-membrain-api-key",
        b"cache-control",
        b"x-membrain-cache",
        b"x-membrain-private",
        b"x-membrain-project",
        b"x-membrain-user-id",
        b"x-membrain-tier",
        b"x-membrain-max-cost",
    }
)
"""Headers that decide something."""

_OURS = frozenset(
    {"api-key", "cache", "hop", "knowledge", "max-cost", "private", "project", "request-id", "tier", "user-id"}
)
"""What headers of ours are called behind `x-membrain-`."""


_FALSE = frozenset({"false", "0", "no", "off"})

_FRONTS = frozenset({"x-membrain", "x_membrain"})
"""A header of ours that is misspelt must not pass for none: it may have said `private`."""


class Guard:
    """Lets an envelope pass, or says why not."""

    def __init__(self, hosts: Collection[str], port: int, *, body_bytes: int, numbers: bool = False) -> None:
        """*hosts* are the names this gateway answers to; *body_bytes* is the most a request may bring.

        *numbers* lets any IP address be its name, for a gateway that listens on all of them: a page that was rebound
        to it comes under a name, never under a number.
        """
        self._numbers = numbers
        self._port = port
        named = [f"{host}:{port}" for host in hosts]
        self._hosts = frozenset([*named, *hosts] if port == _HTTP_PORT else named)
        self._origins = frozenset(f"http://{host}" for host in self._hosts)
        self.body_bytes = body_bytes

    def check(self, scope: Scope, *, bodiless: bool = False) -> dict[str, str]:
        """The headers of *scope*, lower-case, if it may speak; else a typed error.

        *bodiless* says that nobody will read a body, so that it does not matter of what kind it is.
        """
        headers = headers_of(scope)
        host = headers.get("host", "").lower()
        if host not in self._hosts and not (self._numbers and self._is_number(host)):
            raise Forbidden("This Host is not the gateway's.", hint=f"Use http://{min(self._hosts)}")
        if any(name in headers and _origin(headers[name]) not in self._origins for name in ("origin", "referer")):
            raise Forbidden("Web pages of other origins may not use this gateway.")
        if headers.get("sec-fetch-site", "none") not in _OWN_SITES:
            raise Forbidden("Web pages of other sites may not use this gateway.")
        if HOP_HEADER in headers:
            raise LoopDetected("This request came from a gateway like this one; it would go round in circles.")
        for name in headers:
            if name[:10] in _FRONTS and (name[:11] != "x-membrain-" or name[11:] not in _OURS):
                raise BadRequest(f"There is no header {name}.", hint=f"There are: {', '.join(sorted(_OURS))}")
        if scope["method"] in _WITH_BODY and not bodiless:
            self._check_body(headers)
        return headers

    def _is_number(self, host: str) -> bool:
        """Whether *host* is an IP address and our port."""
        name, _, port = host.rpartition(":")
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return port == str(self._port)

    def _check_body(self, headers: dict[str, str]) -> None:
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not _is_curl(kind, headers):
            raise UnsupportedType("The body must be sent as application/json.")
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedType("Send the body as it is, without a Content-Encoding.")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self.body_bytes:
            raise self.too_large()

    def too_large(self) -> TooLarge:
        """The error for a body over the cap."""
        return TooLarge(
            f"The body is larger than {self.body_bytes >> 20} MB.",
            hint="Raise it: membrain config set limits.body_mb N",
        )


_FORM = "application/x-www-form-urlencoded"


def _is_curl(kind: str, headers: dict[str, str]) -> bool:
    """Whether this is `curl -d` without a content type, as the provider guide prints it.

    A page cannot send that: it may not call itself curl unless it was allowed to, which nobody here does.
    """
    return kind == _FORM and headers.get("user-agent", "").startswith("curl/")


def _origin(address: str) -> str:
    """Scheme, host and port of *address*: a `Referer` may name the page too."""
    return "/".join(address.split("/", 3)[:3])


def headers_of(scope: Scope) -> dict[str, str]:
    """The headers by lower-case name. One that decides something may not come twice with two values."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        text = value.decode("latin-1")
        if name in _ONCE and headers.setdefault(name.decode("latin-1"), text) != text:
            raise BadRequest(f"The header {name.decode('latin-1')} came twice.")
        headers[name.decode("latin-1")] = text
    return headers


def credential_of(headers: dict[str, str]) -> str | None:
    """The client key as it was sent: our own header, a bearer token, or Anthropic's header, in that order.

    Behind it another may stand that is not for us. Two keys of ours are a `BadRequest`: nobody could say who asks.
    """
    places = (headers.get("x-membrain-api-key"), _bearer(headers.get("authorization")), headers.get("x-api-key"))
    sent = [key for key in places if key is not None]
    if any(key != sent[0] and key.startswith(_KEY) for key in sent[1:]):
        raise BadRequest("Two different client keys were sent.", hint="Send one of them.")
    return sent[0] if sent else None


def wants_private(headers: Mapping[str, str]) -> bool:
    """Whether the request may only be answered on this machine. A flag that cannot be read counts as one."""
    return headers.get("x-membrain-private", "false").strip().lower() not in _FALSE


_KEY = "ck_live_"
"""How a client key begins."""


def _bearer(header: str | None) -> str | None:
    """The token of an `Authorization`; the whole of it if it is of another scheme."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else header
