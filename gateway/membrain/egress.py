"""The one way out: every connection and every child process of the gateway is made here.

Nothing leaves without a `Passport`: the audit's intent is written, a private exchange only reaches this machine, and
the destination comes from the settings and never from a request. Redirects are errors, the environment's proxies are
not asked, answers are capped in decoded bytes, and each kind of waiting has its own limit.

The transport underneath is aiohttp, one pooled client for each upstream. Nobody else in the gateway sees it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import ssl
import zlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from socket import AddressFamily
from time import monotonic
from typing import Any

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from membrain.errors import GuardFailed, LoopDetected, Misconfigured, PrivateRefused, ProviderFailed
from membrain.records import Passport

HOP_HEADER = "x-membrain-hop"
"""Marks what we send to this machine, so that a gateway that calls itself notices."""

_LOOPBACK = ("127.0.0.1", "::1")

_REST_SECONDS = 1.0
_REST_BYTES = 64 << 10
"""How long and how much may follow the end of a stream until its connection is given up."""

_OF_BODY: dict[bool, dict[str, str]] = {True: {"content-type": "application/json"}, False: {}}

_MOST_TARGETS = 64
"""Addresses that are kept parsed; those with somebody's id in them would be without number."""

_HEADER_BYTES = 64 << 10
"""The largest header line that an upstream may send."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long we wait and how much we take. Seconds and bytes."""

    connect: float = 2.5
    """Until there is a connection, its name looked up and all its addresses tried."""
    first_byte: float = 60.0
    """Until a stream's headers."""
    whole: float = 600.0
    """Until the headers of an answer that comes in one piece: the model writes all of it first."""
    idle: float = 90.0
    """Between two pieces that count; comments and pings of a stream do not."""
    answer_bytes: int = 64 << 20
    """Of a whole answer, unpacked."""
    event_bytes: int = 1 << 20
    """Of one event in a stream."""


class Egress:
    """Makes the clients that providers are handed, and closes them all."""

    def __init__(self, limits: Limits | None = None, *, proxy: str = "", ca_file: str = "") -> None:
        self.limits = limits or Limits()
        self._proxy = proxy
        self._ca_file = ca_file
        self._own: set[tuple[str, int]] = set()
        self._upstreams: list[Upstream] = []
        self._children: list[asyncio.subprocess.Process] = []
        self._rests: set[asyncio.Task[None]] = set()

    def never(self, host: str, port: int) -> None:
        """Refuse *host*:*port* from now on: it is this gateway's own door."""
        self._own.update((each, port) for each in (host, *_LOOPBACK, "localhost"))

    def upstream(
        self, name: str, base_url: str, headers: Mapping[str, str] | None = None, *, final: bool = False
    ) -> Upstream:
        """A pooled client for the provider *name* at *base_url*, sending *headers* each time.

        *final* says that what listens there answers itself and hands nothing on. A loopback address alone does not
        prove that: another proxy may listen there.
        """
        upstream = Upstream(self, name, base_url, dict(headers or {}), final)
        self._upstreams.append(upstream)
        return upstream

    async def spawn(
        self, argv: Sequence[str], env: Mapping[str, str], *, cwd: str | None = None
    ) -> asyncio.subprocess.Process:
        """Start a child in a process group of its own, with exactly the environment *env* and no shell.

        It works in *cwd*, or where the gateway does. What it says on stderr is heard by nobody.
        """
        child = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )
        self._children = [*(each for each in self._children if each.returncode is None), child]
        return child

    def forget(self, upstream: Upstream) -> None:
        """*upstream* was closed and will not be used again: its key need not stay in memory."""
        with contextlib.suppress(ValueError):
            self._upstreams.remove(upstream)

    def later(self, rest: Coroutine[Any, Any, None]) -> None:
        """Do *rest* beside what goes on; `close` ends it."""
        task = asyncio.ensure_future(rest)
        self._rests.add(task)
        task.add_done_callback(self._rests.discard)

    async def close(self) -> None:
        """Close every client and end every child that still lives."""
        for task in list(self._rests):
            task.cancel()
        await asyncio.gather(*self._rests, return_exceptions=True)
        for upstream in list(self._upstreams):
            await upstream.close()
        for child in self._children:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(child.pid, 9)
                await child.wait()

    def permit(self, name: str, passport: Passport, *, local: bool = False) -> None:
        """Raise unless *passport* lets this exchange go to *name*; *local* is for who is surely on this machine."""
        if not passport.written:
            raise GuardFailed("The audit has no record of this request, so it was not sent.")
        if not passport.looked:
            raise GuardFailed("Nobody looked for private values in this request, so it was not sent.")
        if passport.private and not local:
            raise PrivateRefused(f"This request is private, and {name} is not on this machine.")

    def check(self, upstream: Upstream, passport: Passport) -> None:
        """Raise unless *passport* lets this exchange go to *upstream*."""
        self.permit(upstream.name, passport, local=upstream.is_local)
        if (upstream.host, upstream.port) in self._own:
            raise LoopDetected(
                f"The address of {upstream.name} is this gateway itself.",
                hint=f"Point it elsewhere: membrain config set providers.{upstream.name}.url URL",
            )

    def connector(self, upstream: Upstream) -> aiohttp.TCPConnector:
        """The pool for one upstream. What is on loopback can only ever connect to this machine."""
        options: dict[str, Any] = {"limit": 0, "ttl_dns_cache": 60}
        # Model servers on this machine close a connection after a stream without a word: one in a hundred next
        # requests was lost. Connecting anew costs nothing there.
        options |= {"force_close": True} if upstream.is_local else {"keepalive_timeout": 30}
        if upstream.is_loopback:
            options["resolver"] = _Loopback()
        if self._ca_file and upstream.url.scheme == "https":
            context = ssl.create_default_context()
            context.load_verify_locations(cafile=self._ca_file)
            options["ssl"] = context
        return aiohttp.TCPConnector(**options)

    def proxy_for(self, upstream: Upstream) -> str | None:
        """The configured proxy, which what is on loopback never takes."""
        return self._proxy or None if not upstream.is_loopback else None


class _Loopback(AbstractResolver):
    """Resolves `localhost` to this machine without asking anyone, and nothing else."""

    async def resolve(
        self, host: str, port: int = 0, family: AddressFamily = AddressFamily.AF_UNSPEC
    ) -> list[ResolveResult]:
        if host != "localhost":
            raise OSError(None, f"{host} is not this machine")
        kinds = zip(_LOOPBACK, (AddressFamily.AF_INET, AddressFamily.AF_INET6), strict=True)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=0)
            for address, kind in kinds
            if family in (AddressFamily.AF_UNSPEC, kind)
        ]

    async def close(self) -> None:
        """Nothing is held."""


def is_loopback(host: str) -> bool:
    """Whether *host* is this machine by its very spelling: a loopback address or `localhost`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _address(name: str, text: str) -> URL:
    """Where *name* is. Nobody's name or password belongs in it: addresses are shown to people."""
    try:
        url = URL(text.rstrip("/"))
        sound = url.scheme in {"http", "https"} and url.host and url.port and not url.raw_user and not url.raw_password
    except ValueError:
        sound = False
    if not sound or url.raw_query_string or url.raw_fragment:
        raise Misconfigured(f"The address of {name} must be an http or https URL, and no more than that.")
    return url


@dataclass(slots=True, eq=False)
class Upstream:
    """One provider's address with its pool. Made by `Egress.upstream`; opened on first use."""

    egress: Egress
    name: str
    base_url: str
    headers: dict[str, str] = field(repr=False)
    final: bool = False
    url: URL = field(init=False)
    is_loopback: bool = field(init=False)
    _session: aiohttp.ClientSession | None = field(init=False, default=None, repr=False)
    _targets: dict[str, URL] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.url = _address(self.name, self.base_url)
        self.is_loopback = is_loopback(self.host)
        if self.url.scheme == "http" and not self.is_loopback:
            raise Misconfigured(f"The address of {self.name} must be https, or on this machine.")
        if self.is_loopback:
            self.headers[HOP_HEADER] = "1"

    @property
    def is_local(self) -> bool:
        """Whether what is sent there stays on this machine."""
        return self.final and self.is_loopback

    @property
    def host(self) -> str:
        """The host as it is written in the address."""
        return self.url.host or ""

    @property
    def port(self) -> int:
        """The port, said or implied."""
        return self.url.port or 443

    @property
    def where(self) -> str:
        """Host and port, for people."""
        return self.url.host_port_subcomponent or self.host

    async def post(
        self,
        path: str,
        body: bytes,
        passport: Passport,
        *,
        stream: bool,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send *body* to *path* and return once the answer's headers are here.

        Raises `ProviderFailed` for anything but an HTTP answer, and for a redirect; `Refused` errors before a byte
        is sent if the passport does not hold. The caller closes the reply.
        """
        self.egress.check(self, passport)
        limits = self.egress.limits
        # What answers on this machine itself may have to load its model, or finish another answer first.
        wait = limits.first_byte if stream and not self.final else limits.whole
        return await self._send("POST", path, body, headers, wait)

    async def ask(self, method: str, path: str, passport: Passport) -> Reply:
        """Ask with *method* for what is kept at *path*, without a body. Raises as `post` does; the caller closes."""
        self.egress.check(self, passport)
        return await self._send(method, path, b"", None, self.egress.limits.whole)

    async def get(self, path: str, *, seconds: float, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON at *path*, for probes: they carry nothing of the user's, so they need no passport."""
        if (self.host, self.port) in self.egress._own:  # noqa: SLF001  # one idea in two classes
            raise LoopDetected(f"The address of {self.name} is this gateway itself.")
        try:
            async with asyncio.timeout(seconds):
                reply = await self._send("GET", path, b"", headers, seconds)
                try:
                    body = await reply.read()
                finally:
                    reply.close()
        except TimeoutError:
            raise ProviderFailed(f"{self.name} did not answer.", provider=self.name, status=504) from None
        if reply.status in {401, 403}:
            raise ProviderFailed(
                f"{self.name} refused its key ({reply.status}).", provider=self.name, code="provider_key_refused"
            )
        if reply.status != 200:
            raise ProviderFailed(f"{self.name} answered {reply.status}.", provider=self.name, status=reply.status)
        try:
            return msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError):
            raise ProviderFailed(f"{self.name} did not answer in JSON.", provider=self.name) from None

    async def close(self) -> None:
        """Close the pool."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        self.egress.forget(self)

    def _open(self) -> aiohttp.ClientSession:
        limits = self.egress.limits
        self._session = aiohttp.ClientSession(
            connector=self.egress.connector(self),
            cookie_jar=aiohttp.DummyCookieJar(),  # an upstream's cookie never travels with another request
            headers={"accept-encoding": "identity", "user-agent": "membrain"},  # no key: a proxy is sent these too
            timeout=aiohttp.ClientTimeout(total=None, connect=limits.connect, sock_connect=limits.connect),
            auto_decompress=False,  # unpacked by us, under a cap
            trust_env=False,  # the environment's proxy would see private requests
            read_bufsize=1 << 18,
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
        )
        return self._session

    async def _send(self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None, wait: float) -> Reply:
        session = self._session or self._open()
        target = self._targets.get(path)
        if target is None:
            target = URL(f"{self.url}{path}", encoded=True)
            if len(self._targets) < _MOST_TARGETS:
                self._targets[path] = target
        try:
            async with asyncio.timeout(wait):
                response = await session.request(
                    method,
                    target,
                    data=body or None,
                    headers={**self.headers, **_OF_BODY[bool(body)], **(headers or {})},
                    allow_redirects=False,
                    proxy=self.egress.proxy_for(self),
                )
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise self.failure(error) from None
        if 300 <= response.status < 400:
            response.close()
            raise ProviderFailed(
                f"{self.name} answered with a redirect ({response.status}), which is never followed.",
                provider=self.name,
                reached=False,
            )
        try:
            return Reply(self, response)
        except ProviderFailed:
            response.close()
            raise

    def failure(self, error: Exception) -> ProviderFailed:
        """What went wrong underneath, in our words; the transport's own text may quote what was sent."""
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return ProviderFailed(
                f"{self.name} could not be reached in time.", provider=self.name, status=504, reached=False
            )
        if isinstance(error, TimeoutError):
            return ProviderFailed(f"{self.name} did not answer in time.", provider=self.name, status=504)
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return ProviderFailed(
                f"{self.name} has a certificate that does not hold.", provider=self.name, reached=False
            )
        if isinstance(error, aiohttp.ClientConnectorError):
            return ProviderFailed(f"{self.name} could not be reached.", provider=self.name, reached=False)
        if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionResetError | aiohttp.ClientOSError):
            return ProviderFailed(f"{self.name} closed the connection without an answer.", provider=self.name)
        return ProviderFailed(f"{self.name} sent something that is not an HTTP answer.", provider=self.name)


class Reply:
    """An upstream's answer whose headers are here and whose body is still coming."""

    __slots__ = ("_left", "_response", "_size", "_unpack", "_upstream", "_waited", "status")

    def __init__(self, upstream: Upstream, response: aiohttp.ClientResponse) -> None:
        self._upstream = upstream
        self._response = response
        self._unpack = _unpacker(response.headers.get("content-encoding", "").strip().lower(), upstream)
        self._waited = 0.0
        self._size = 0
        self._left = False
        self.status: int = response.status

    def header(self, name: str) -> str:
        """The header *name*, or an empty string."""
        return self._response.headers.get(name, "")

    @property
    def content_type(self) -> str:
        """The media type without its parameters, in lower case."""
        return self.header("content-type").partition(";")[0].strip().lower()

    def close(self) -> None:
        """Let go. A body that was not read to its end takes its connection with it."""
        if not self._left:
            self._response.close()

    def leave(self) -> None:
        """Let go of a body that said it is over: what is left of it may still come, and the connection is kept."""
        if self._response.content.is_eof():
            self._response.close()
        elif not self._left:
            self._left = True
            self._upstream.egress.later(self._rest())

    async def _rest(self) -> None:
        size = 0
        try:
            async with asyncio.timeout(_REST_SECONDS):
                while size < _REST_BYTES and (piece := await self._response.content.readany()):
                    size += len(piece)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError, RuntimeError):
            return  # nobody waits for it; only the connection is lost. The last is aiohttp's word for a closed client
        finally:
            self._response.close()

    def heard(self) -> None:
        """Something that counts has come, so the idle time begins anew."""
        self._waited = 0.0

    async def piece(self) -> bytes:
        """The next piece of the unpacked body as it arrives; empty at its end.

        Raises `ProviderFailed` if it breaks off, stalls or is over its cap. The idle time goes on from piece to
        piece until the reader calls `heard`, so that an upstream which only sends comments does not keep a dead
        stream alive. Only waiting for the upstream counts.
        """
        while packed := await self._received():
            if plain := packed if self._unpack is None else self._unpack(packed):
                self._size += len(plain)
                if self._size > self._upstream.egress.limits.answer_bytes:
                    raise self._too_much(self._upstream.egress.limits.answer_bytes)
                return plain
        return b""

    def _too_much(self, cap: int) -> ProviderFailed:
        self.close()
        name = self._upstream.name
        return ProviderFailed(f"{name} sent more than {cap >> 20} MB.", provider=name, passing=False)

    async def _received(self) -> bytes:
        content = self._response.content
        try:
            # What is here already needs neither a wait nor a limit to it.
            if (piece := content.read_nowait()) or content.at_eof():
                return piece
            began = monotonic()
            async with asyncio.timeout(self._upstream.egress.limits.idle - self._waited):
                piece = await content.readany()
        except TimeoutError:
            raise ProviderFailed(
                f"{self._upstream.name} went silent.", provider=self._upstream.name, status=504
            ) from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise ProviderFailed(
                f"{self._upstream.name} broke off in the middle.", provider=self._upstream.name
            ) from None
        self._waited += monotonic() - began
        return piece

    async def read(self, cap: int | None = None) -> bytes:
        """The whole unpacked body, at most *cap* bytes of it if that is less than the settings' cap."""
        pieces: list[bytes] = []
        while piece := await self.piece():
            self.heard()
            pieces.append(piece)
            if cap is not None and self._size > cap:
                raise self._too_much(cap)
        return b"".join(pieces)


def _unpacker(encoding: str, upstream: Upstream) -> Callable[[bytes], bytes] | None:
    """How to unpack a body that came packed although nobody asked; None for a plain one."""
    if encoding in {"", "identity"}:
        return None
    if encoding not in {"gzip", "deflate"}:
        raise ProviderFailed(f"{upstream.name} answered in an encoding that was not asked.", provider=upstream.name)
    packed = zlib.decompressobj(zlib.MAX_WBITS | 32)
    left = upstream.egress.limits.answer_bytes

    def unpack(piece: bytes) -> bytes:
        nonlocal left
        try:
            plain = packed.decompress(piece, left + 1)
        except zlib.error:
            raise ProviderFailed(f"{upstream.name} broke off in the middle.", provider=upstream.name) from None
        left -= len(plain)
        if left < 0 or packed.unconsumed_tail:
            raise ProviderFailed(f"{upstream.name} sent more than it may.", provider=upstream.name)
        return plain

    return unpack
