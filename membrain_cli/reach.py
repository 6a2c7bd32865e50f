"""The one stair down: each question asked of the running gateway, or of its files when it is down.

Over HTTP to a gateway that has proven itself (`daemon.find`), with this machine's own key and a limit on every
wait; else of `membrain.offline`. Commands ask here and never learn which it was, unless only a running gateway can
answer: then `demand` fails and says how to start it. Prints nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, urlencode

from membrain.errors import MembrainError, NotFound
from membrain.places import Places
from membrain.records import AuditRecord, ClientKey, Rights
from membrain_cli import daemon
from membrain_cli.console import CommandError, Exit

if TYPE_CHECKING:
    from membrain.offline import Offline
    from membrain.secrets import Secrets

ANSWER_LIMIT = 10.0
"""Seconds a question about the gateway itself may take."""
TEST_LIMIT = 45.0
"""Seconds a question that asks a provider may take."""
SILENCE_LIMIT = 15.0
"""Seconds without an event after which a followed gateway counts as gone; it sends a snapshot each second."""

Json = dict[str, Any]


def down() -> CommandError:
    """The failure of a command that needs the gateway, while it is down."""
    return CommandError("The gateway is not running.", [("Start it", "membrain up")], Exit.DOWN)


@dataclass
class Reach:
    """The questions one may ask, of the instance that *environ* points at."""

    environ: Mapping[str, str]

    @cached_property
    def places(self) -> Places:
        """Where this instance's files are."""
        return Places.find(self.environ)

    @cached_property
    def running(self) -> daemon.Running | None:
        """The gateway, proven; None while it is down. Looked for once."""
        return daemon.find(self.places)

    def demand(self) -> daemon.Running:
        """The running gateway; without one, `CommandError` with exit status 3."""
        if self.running is None:
            raise down()
        return self.running

    @cached_property
    def offline(self) -> Offline:
        """The files of an instance that is down."""
        from membrain.offline import Offline

        return Offline(self.places)

    @cached_property
    def key(self) -> str | None:
        """This machine's client key; None before the gateway's first start."""
        return daemon.machine_key(self.places) or None

    # one exchange

    def ask(self, method: str, path: str, data: Json | None = None, limit: float = ANSWER_LIMIT) -> Any:
        """What the gateway answers. `CommandError` with its own sentence if it refuses, or if it has just gone."""
        return read(*self._exchange(method, path, None if data is None else json.dumps(data).encode(), limit))

    def _exchange(
        self, method: str, path: str, body: bytes | None = None, limit: float = ANSWER_LIMIT
    ) -> tuple[int, bytes]:
        """Status and bytes of an answer."""
        running = self.demand()
        try:
            return daemon.exchange(
                running.host, running.port, method, path, body=body, headers=self._headers(body), timeout=limit
            )
        except TimeoutError:
            said = f"The gateway did not answer within {limit:.0f} s."
            raise CommandError(said, [("Look", "membrain logs")], Exit.FAILED) from None
        except OSError:
            raise down() from None

    def _headers(self, body: bytes | None) -> dict[str, str]:
        kind = {"content-type": "application/json"} if body is not None else {}
        return {**kind, **({"x-membrain-api-key": self.key} if self.key else {})}

    # what happened

    def audit(self, query: Mapping[str, str]) -> list[AuditRecord]:
        """The exchanges that match *query*, newest first."""
        if self.running is None:
            return self.offline.audit_list(query) if self.places.database.exists() else []
        return [AuditRecord.from_dict(each) for each in self.ask("GET", f"/api/audit?{urlencode(query)}")]

    def exchange(self, id: str) -> AuditRecord:
        """One exchange by its id, or by as much of it as only one has."""
        if self.running is None:
            return self.offline.audit_get(id)
        return AuditRecord.from_dict(self.ask("GET", f"/api/audit/{quote(id, safe='')}"))

    @cached_property
    def secrets(self) -> Secrets | None:
        """Where keys are kept, the chain's own too."""
        from membrain.config import load

        return load(self.environ).keys

    def head(self) -> Json | None:
        """The end of the audit's chain (`seq`, `seal`, `at`) with the line to keep of it; None while there is none."""
        return self.offline.head(self.secrets) if self.places.database.exists() else None

    def link(self, id: str) -> Json | None:
        """Where an exchange stands in the chain; None where nobody can tell, as without its key."""
        try:
            return self.offline.link(id, self.secrets)
        except MembrainError:
            return None

    def kept(self, id: str) -> bytes | None:
        """What left with an exchange, if it is kept on the disk."""
        try:
            return self.offline.wire(id)
        except NotFound:
            return None

    def sent(self, id: str) -> bytes:
        """What left with an exchange, from the gateway's memory, byte for byte. NotFound if it is not there."""
        status, answer = self._exchange("GET", f"/api/sent/{quote(id, safe='')}")
        told = read(status, answer)
        return answer[-1 - told["bytes"] : -1]  # it stands at the end of the answer, as it was sent

    def usage(self, since: str | None = None, key_id: str | None = None) -> Json:
        """Totals since *since* (RFC 3339), of one client key or of all."""
        if self.running is None:
            return self.offline.usage(since, key_id)
        query = {name: value for name, value in (("since", since), ("key_id", key_id)) if value is not None}
        found: Json = self.ask("GET", f"/api/usage?{urlencode(query)}")
        return found

    def usage_by(self, asked: Mapping[str, str], now: datetime) -> Json:
        """Sums by `asked["by"]` of the exchanges that fit the rest of *asked*, and the budgets as they are *now*."""
        if self.running is None:
            from membrain.config import load

            settings = load(self.environ)
            return self.offline.usage_by(asked, now, lambda: self.offline.balances(settings, now))
        found: Json = self.ask("GET", f"/api/usage?{urlencode(asked)}")
        return found

    def follow(self) -> Iterator[tuple[str, Any]]:
        """What happens, as it happens, until the gateway ends.

        ("exchange", record) as one ends, ("snapshot", snapshot) each second, ("dropped", how many) for who is slow.
        """
        import http.client

        running = self.demand()
        connection = http.client.HTTPConnection(running.host, running.port, timeout=SILENCE_LIMIT)
        try:
            connection.request("GET", "/api/live", headers=self._headers(None))
            answer = connection.getresponse()
            if answer.status != 200:
                read(answer.status, answer.read(daemon.BODY_LIMIT))
            yield from events(answer)
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()

    # keys

    def client_keys(self) -> list[ClientKey]:
        """The client keys that hold, and those that were revoked."""
        if self.running is None:
            return self.offline.keys()
        return [ClientKey.from_dict({"digest": "", **each}) for each in self.ask("GET", "/api/keys")]

    def issue(self, name: str, project: str, rights: Rights | None = None) -> tuple[str, ClientKey]:
        """A new client key, and its row."""
        if self.running is None:
            return self.offline.issue_key(name, project, rights)
        asked = {"name": name, "project": project, **(rights.to_dict() if rights else {})}
        given = self.ask("POST", "/api/keys", asked)
        return given["key"], ClientKey.from_dict({"digest": "", **given})

    def rotate(self, which: str, grace: float = 0) -> tuple[str, ClientKey]:
        """Another string for the client key with that id or name, and its row. The old one holds *grace* seconds."""
        if self.running is None:
            return self.offline.rotate_key(which, grace)
        given = self.ask("POST", f"/api/keys/{quote(which, safe='')}/rotate", {"grace": grace})
        return given["key"], ClientKey.from_dict({"digest": "", **given})

    def revoke(self, which: str) -> ClientKey:
        """Revoke the client key with that id or name."""
        if self.running is None:
            return self.offline.revoke_key(which)
        return ClientKey.from_dict({"digest": "", **self.ask("DELETE", f"/api/keys/{quote(which, safe='')}")})

    # providers

    def test(self, provider: str) -> Json:
        """Whether *provider* answers and its key works: {"name", "ok", "ms", "error", "message"}."""
        if self.running is None:
            from membrain.config import load

            settings = load(self.environ)
            return self.offline.test_provider(provider, settings, settings.keys)
        found: Json = self.ask("POST", f"/api/providers/{quote(provider, safe='')}/test", {}, TEST_LIMIT)
        return found

    def reload(self) -> bool:
        """Let the running gateway read the provider keys again; whether there is one."""
        if self.running is None:
            return False
        self.ask("POST", "/api/reload", {}, TEST_LIMIT)
        return True


def read(status: int, body: bytes) -> Any:
    """The JSON of an answer; `CommandError` with the gateway's own sentence if it is a refusal."""
    try:
        data = json.loads(body) if body else None
    except ValueError:
        data = None
    if status < 400:
        return data
    return refuse(status, data)


def refuse(status: int, data: Any) -> NoReturn:
    """Raise what an error answer says."""
    error = data.get("error") if isinstance(data, dict) else None
    told = error if isinstance(error, dict) else {}
    message, code = str(told.get("message") or f"The gateway answered {status}."), str(told.get("code") or "")
    if status == 404 and code == NotFound.code:
        raise NotFound(message)
    raise CommandError(message, [], Exit.of(status, code))


def events(lines: Iterator[bytes]) -> Iterator[tuple[str, Any]]:
    """Server-sent events out of the lines of an answer."""
    name, data = "message", list[str]()
    for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        field, _, value = line.partition(":")
        if not line and data:
            yield name, json.loads("\n".join(data))
            name, data = "message", list[str]()
        elif field == "event":
            name = value.strip()
        elif field == "data":
            data.append(value.removeprefix(" "))
