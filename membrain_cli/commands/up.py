"""`up`, `down`, `restart`, `status`, `logs`: the gateway as a process, and how it is.

What is said while it starts or stops goes to stderr; `status` and `logs` are results, on stdout.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from membrain.errors import MembrainError, Misconfigured
from membrain_cli import daemon
from membrain_cli.console import CommandError, Console, Exit, Remedy, current, meant, money, padded, span, uptime
from membrain_cli.reach import Reach

if TYPE_CHECKING:
    from membrain.places import Places
    from membrain.records import AuditRecord

Json = dict[str, Any]
PORT = typer.Option(metavar="PORT", min=1, max=65535, help="Listen here, this time.", show_default=False)

PROBE_LIMIT = 2.0
"""Seconds `up` waits for providers that are still being asked."""
PATIENCE = 3.0
"""Seconds beyond the drain limit after which a gateway that does not end is called stuck."""
RECENT = timedelta(minutes=15)
SLOW_MS = 4000
"""From which median on a provider is drawn as slow."""


# --- up ------------------------------------------------------------------------------------------------------


def up(
    port: Annotated[int | None, PORT] = None,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay in this terminal; log to stderr.")] = False,
) -> None:
    """Start the gateway in the background, and say what it found."""
    check_settings(current(), port)
    (stay if foreground else bring_up)(current(), port)


def bring_up(shell: Console, port: int | None) -> None:
    """Start the gateway, if it is not up, and say so. Fails with what kept it from starting."""
    reach = Reach(shell.environ)
    first = not reach.places.log_file.exists()
    began = time.monotonic()
    with shell.working("starting …"):
        running, fresh = started(shell, reach.places, port)
        health = settled(reach, running) if fresh else running.health
    if shell.json:
        shell.record({**shown(running, health), "started": fresh})
    elif not fresh:
        shell.say(f"{shell.glyph('up')} membrain is already up   {running.url}   {uptime(health['up_seconds'])}")
    else:
        welcome(shell, running, health, time.monotonic() - began, first=first)


def started(shell: Console, places: Places, port: int | None) -> tuple[daemon.Running, bool]:
    """The running gateway and whether it was started now; fails with what kept it from starting."""
    try:
        return daemon.start(places, shell.environ, port)
    except daemon.StartError as error:
        explain(shell, error, port)
    except KeyboardInterrupt:
        shell.complain("Stopped. Nothing is left running.")
        raise


def stay(shell: Console, port: int | None) -> NoReturn:
    """Become the gateway in this terminal."""
    running = daemon.become(Reach(shell.environ).places, shell.environ, port)
    where = f" ({running.url})" if running else ""
    shell.fail(f"membrain is already up, in the background{where}.", ("Stop it first", "membrain down"))


def check_settings(shell: Console, port: int | None) -> None:
    """Refuse settings that cannot work before anything is started; `Misconfigured` says which."""
    from membrain.config import load

    load({**shell.environ, **({"MEMBRAIN_PORT": str(port)} if port else {})})


def settled(reach: Reach, running: daemon.Running) -> Json:
    """The health of a gateway that has looked at all its providers, or has had `PROBE_LIMIT` for it."""
    health, limit = running.health, time.monotonic() + PROBE_LIMIT
    while health.get("probing") and time.monotonic() < limit:
        time.sleep(0.05)
        again = daemon.find(reach.places)
        health = again.health if again else health
    return health


def welcome(shell: Console, running: daemon.Running, health: Json, seconds: float, *, first: bool) -> None:
    """What `up` says: all of it at the first start, one line from then on."""
    providers = health.get("providers", [])
    head = f"{shell.glyph('up')} membrain is up   {running.url}   {seconds:.1f} s"
    if not first:
        ready = sum(1 for each in providers if each["up"])
        shell.say(f"{head}   {ready} provider{'' if ready == 1 else 's'}")
        for label, command in lacking(providers):
            shell.say(f"  {padded(label, 15)}{shell.style(command, 'accent')}")
        return
    shell.say(head)
    shell.say()
    for each in providers:
        shell.say(provider_line(shell, each))
    shell.say()
    for label, command in (*lacking(providers), *NEXT):
        shell.say(f"  {padded(label, 15)}{shell.style(command, 'accent')}")


NEXT: tuple[Remedy, ...] = (("Talk to it", "membrain chat"), ("Point a tool", 'eval "$(membrain env)"'))


def lacking(providers: Sequence[Json]) -> list[Remedy]:
    """What to type if the embedded model is not here."""
    wanted = [each.get("remedy", "") for each in providers if each["name"] == "local" and not each["up"]]
    return [("Get a model", command) for command in wanted if command]


def provider_line(shell: Console, provider: Json) -> str:
    """A provider in `up`: who, where, and its models; or why not, and what to type."""
    glyph = shell.glyph("up" if provider["up"] else "off")
    where = provider["where"] if provider["up"] else provider["note"] or "not there"
    what = some(provider["models"]) if provider["up"] else shell.style(provider["remedy"], "accent")
    return f"  {glyph} {padded(provider['name'], 12)} {padded(where, 18)} {what}".rstrip()


def some(models: Sequence[str], limit: int = 3) -> str:
    """The first few of a list: "llama3, qwen2.5-coder, 3 more"."""
    if len(models) <= limit:
        return ", ".join(models)
    return ", ".join([*models[: limit - 1], f"{len(models) - limit + 1} more"])


def explain(shell: Console, error: daemon.StartError, port: int | None) -> NoReturn:
    """Fail with what kept the gateway from starting."""
    from membrain.config import load

    if error.status == daemon.TAKEN:
        settings = load(shell.environ)
        wanted = port or settings.port
        other = wanted + 1 if wanted < 65535 else wanted - 1
        shell.fail(
            f"Port {wanted} is taken by {daemon.holder(settings.host, wanted)}.",
            ("Use another", f"membrain up --port {other}"),
            ("For good", f"membrain config set port {other}"),
        )
    if error.status == daemon.MISCONFIGURED and error.said:
        shell.fail(error.said[-1], ("Check it", "membrain doctor"))
    told = "stopped while starting" if error.status is not None else "did not come up"
    lines = ["last lines of its log:", *(f"  {line}" for line in error.said)] if error.said else []
    shell.fail(f"The gateway {told}.", ("Everything", "membrain logs"), ("Check it", "membrain doctor"), detail=lines)


# --- down, restart -------------------------------------------------------------------------------------------


def down() -> None:
    """Stop the gateway; running answers may finish first."""
    shell = current()
    ended = take_down(shell)
    if not ended:
        shell.say(f"{shell.glyph('off')} membrain is already down")
    if shell.json:
        shell.record({"up": False, "stopped": ended})


def take_down(shell: Console) -> bool:
    """Stop the gateway if there is one, and wait until it has ended; says so. Whether there was one."""
    reach = Reach(shell.environ)
    if (running := reach.running) is None:
        return False
    total = totals(reach, running.started)
    daemon.ask_to_stop(running)
    wait_drained(shell, running, drain_seconds(shell))
    told = [f"after {uptime(running.health['up_seconds'])}", *total]
    shell.say(f"{shell.glyph('off')} membrain is down   {', '.join(told)}")
    return True


def totals(reach: Reach, since: str) -> list[str]:
    """How many exchanges there were and what they cost; nothing if the gateway no longer tells."""
    try:
        total = reach.usage(since)
    except (CommandError, MembrainError):
        return []
    return [count(total["exchanges"], "exchange"), money(total["cost_micros"])]


def drain_seconds(shell: Console) -> float:
    """How long running answers may go on. A broken settings file must not keep one from stopping."""
    from membrain.config import Settings, load

    try:
        return load(shell.environ).limits.drain_seconds
    except Misconfigured:
        return Settings().limits.drain_seconds


def wait_drained(shell: Console, running: daemon.Running, drain: float) -> None:
    """Wait for the gateway's end. ctrl-c stops the waiting, not the stopping."""
    if daemon.wait_gone(running, 0.3):
        return
    try:
        busy = running.health.get("running", 0)
        left = f"{count(busy, 'answer')} may finish first, " if busy else ""
        with shell.working(f"stopping: {left}{drain:g} s at most (ctrl-c stops waiting)"):
            gone = daemon.wait_gone(running, drain + PATIENCE)
    except KeyboardInterrupt:
        shell.complain("No longer waiting. The gateway ends by itself.")
        raise
    if not gone:
        shell.fail(
            f"The gateway (pid {running.pid}) was told to stop, but has not ended.",
            ("See why", "membrain logs"),
            ("End it at once", f"kill -9 {running.pid}"),
        )


def count(number: int, noun: str) -> str:
    """A number and its noun: "1 exchange", "1,204 exchanges"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def restart(port: Annotated[int | None, PORT] = None) -> None:
    """Stop the gateway, start it again, and wait until it answers."""
    shell = current()
    port = port or port_of_this_time(shell)
    check_settings(shell, port)  # before anything is stopped
    take_down(shell)
    bring_up(shell, port)


def port_of_this_time(shell: Console) -> int | None:
    """The port that the running gateway was started with by `--port`: tools point at it, so a restart keeps it."""
    running = Reach(shell.environ).running
    if running is None or "MEMBRAIN_PORT" in shell.environ:
        return None
    given = (daemon.environment_of(running.pid) or {}).get("MEMBRAIN_PORT", "")
    return int(given) if given.isdecimal() else None


# --- status --------------------------------------------------------------------------------------------------


def status() -> Exit:
    """Is the gateway up, and what does it know. Exit status 3 if it is down."""
    shell = current()
    reach = Reach(shell.environ)
    if (running := reach.running) is None:
        tell_down(shell)
        return Exit.DOWN
    today, recent = lately(shell, reach)
    if shell.json:
        shell.record({**shown(running, running.health), "today": today, "latency": latency(recent)})
        return Exit.OK
    for line in status_lines(shell, running, today, recent):
        shell.out(line)
    return Exit.OK


def lately(shell: Console, reach: Reach) -> tuple[Json | None, list[AuditRecord]]:
    """Today's totals and the exchanges of the last minutes; nothing where the record cannot be read just now."""
    now = shell.clock()
    midnight = now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        recent = reach.audit({"since": rfc3339(now - RECENT), "limit": "1000"})
        return reach.usage(rfc3339(midnight)), recent
    except CommandError as error:
        if error.code == Exit.DOWN:
            raise
        return None, []


def tell_down(shell: Console) -> None:
    """The state, when there is none."""
    if shell.json:
        shell.record({"up": False})
        return
    shell.out(f"{shell.glyph('off')} down")
    for line in shell.remedies([("Start it", "membrain up")]):
        shell.say(line)


def status_lines(
    shell: Console, running: daemon.Running, today: Json | None, recent: Sequence[AuditRecord]
) -> Iterator[str]:
    """What `status` shows a person."""
    health = running.health
    head = [uptime(health["up_seconds"]), running.url, f"pid {running.pid}", f"v{running.version}"]
    yield f"{shell.glyph('up')} up {'   '.join(head)}"
    yield ""
    facts = {
        "today": today_facts(today, health.get("budget_day_micros")) if today else "the record cannot be read",
        "latency": latency_facts(latency(recent)),
        "policy": " · ".join(policy_facts(health)),
        "files": shell.style("membrain config path", "accent"),
    }
    for name, words in facts.items():
        yield f"  {shell.style(padded(name, 11), 'dim')}{words}"
    yield ""
    for provider in health.get("providers", []):
        yield status_provider(shell, provider, recent)


def policy_facts(health: Json) -> Iterator[str]:
    """What the gateway is set to: who may ask, what becomes of what is private, and how good answers are to be."""
    yield str(health.get("auth", "token"))
    if level := health.get("masking"):
        yield {"standard": "pii mask", "off": "pii not masked"}.get(level, f"pii mask, {level}")
    yield f"tier {health.get('tier', 'unknown')}"


def today_facts(today: Json, budget: int | None = None) -> str:
    """The day so far, in one line; shares that are nothing are left out."""
    asked = today["exchanges"]
    spent = money(today["cost_micros"])
    told = [count(asked, "exchange"), spent if budget is None else f"{spent} of {money(budget)}"]
    if today.get("cached"):
        told.append(f"{100 * today['cached'] / asked:.0f} % from cache")
    if today.get("masked"):
        told.append(f"{count(today['masked'], 'value')} masked")
    return "   ".join(told)


def latency(recent: Iterable[AuditRecord]) -> dict[str, float | None]:
    """Percentiles of the exchanges that were answered, in milliseconds; None where there were none."""
    answered = [record for record in recent if record.outcome == "answered"]
    whole = [record.ms for record in answered if record.ms is not None]
    first = [record.first_ms for record in answered if record.first_ms is not None]
    return {"p50_ms": quantile(whole, 0.5), "p99_ms": quantile(whole, 0.99), "first_p50_ms": quantile(first, 0.5)}


def quantile(values: Iterable[float], part: float) -> float | None:
    """The value below which *part* of *values* lies; None of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else None


def latency_facts(found: Mapping[str, float | None]) -> str:
    """The percentiles in one line."""
    if found["p50_ms"] is None:
        return "nothing in the last 15 min"
    told = [f"p50 {span(found['p50_ms'])}", f"p99 {span(found['p99_ms'])}"]
    if found["first_p50_ms"] is not None:
        told.append(f"first token {span(found['first_p50_ms'])}")
    return "   ".join([*told, "last 15 min"])


def status_provider(shell: Console, provider: Json, recent: Iterable[AuditRecord]) -> str:
    """A provider in `status`: how fast and how sound it was lately, or why it is not there."""
    name = padded(provider["name"], 12)
    if not provider["up"]:
        return f"  {shell.glyph('off')} {name}  {provider['note'] or 'not there'}"
    tries = [each for record in recent for each in record.attempts if each.provider == provider["name"]]
    took = quantile([each.ms for each in tries if each.error is None], 0.5)
    failed = 100 * sum(1 for each in tries if each.error) / len(tries) if tries else 0
    glyph = shell.glyph("slow" if took is not None and took > SLOW_MS else "up")
    words = [f"{failed:.1f} % errors" if failed else "", "local" if provider.get("local") else ""]
    told = "   ".join(each for each in words if each)
    return f"  {glyph} {name}  {padded(span(took), 8)} {told}".rstrip()


def shown(running: daemon.Running, health: Json) -> Json:
    """A running gateway as `--json` shows it."""
    known = ("auth", "tier", "running", "up_seconds", "providers")
    facts = {"up": True, "url": running.url, "pid": running.pid, "since": running.started, "version": running.version}
    return {**facts, **{name: health[name] for name in known if name in health}}


def rfc3339(when: datetime) -> str:
    """A time as the records write it: UTC, with its zone."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds")


# --- logs ----------------------------------------------------------------------------------------------------

LEVELS = ("debug", "info", "warning", "error", "critical")
LEVEL = re.compile(r"^\S+ \S+ (DEBUG|INFO|WARNING|ERROR|CRITICAL) ")


def logs(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as more is logged.")] = False,
    level: Annotated[
        str, typer.Option(metavar="LEVEL", help=f"Only from this level on: {', '.join(LEVELS[:4])}.")
    ] = "debug",
    lines: Annotated[int, typer.Option("--lines", "-n", metavar="N", min=0, help="How many lines to begin with.")] = 40,
) -> None:
    """Read the gateway's log."""
    shell = current()
    if level.lower() not in LEVELS:
        said = f'"{level}" is no level; it must be one of {", ".join(LEVELS[:4])}.{meant(level, LEVELS)}'
        shell.fail(said, ("How it goes", "membrain logs --level warning"), code=Exit.USAGE)
    path = Reach(shell.environ).places.log_file
    if not path.exists() and not follow:
        shell.fail("There is no log yet.", ("Start it", "membrain up"))
    begin, end = daemon.log_tail(path, lines if level == "debug" else SEARCHED) if path.exists() else ([], 0)
    wanted = Wanted(level.lower())
    for line in [line for line in begin if wanted(line)][-lines:] if lines else []:
        shell.out(line)
    for line in daemon.follow_log(path, end) if follow else ():
        if wanted(line):
            shell.out(line)


SEARCHED = 20_000
"""Lines from the log's end among which those of a level are looked for."""


class Wanted:
    """Whether a line is of a level or above; what follows a line without a level of its own belongs to it."""

    def __init__(self, level: str) -> None:
        self._least = LEVELS.index(level)
        self._taken = self._least == 0

    def __call__(self, line: str) -> bool:
        """Whether *line* is wanted."""
        if found := LEVEL.match(line):
            self._taken = LEVELS.index(found[1].lower()) >= self._least
        return self._taken
