"""`run`: one command with the exports set, a client key for this run alone, and a receipt when it has ended.

The limits that are asked for (`--budget`, `--tier`, `--private`) are rights of that key, so the gateway keeps them,
however many requests come at once. The tool's streams, signals and exit status are its own: all words go to stderr.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from membrain.errors import BadRequest, MembrainError, NotFound
from membrain.records import Allowance, ClientKey, Rights
from membrain_cli import daemon
from membrain_cli.attending import Attendant
from membrain_cli.commands import single
from membrain_cli.console import CommandError, Console, Exit, current, money, span
from membrain_cli.exports import FAMILIES, exports
from membrain_cli.reach import Reach
from membrain_cli.rights import dollars
from membrain_cli.rights import tier as tier_named

NOT_FOUND = 127
KEPT = timedelta(days=7)
"""How long the key lives at most: one that nobody could revoke, after a power cut, ends by itself."""
SETTLING = 1.0
"""Seconds the receipt waits for exchanges that the tool left open."""
STEP = 0.05
LONGEST_NAME = 60

Receipt = dict[str, Any]

run = single(allow_interspersed_args=False)


@run.command()
def run_tool(
    tool: Annotated[list[str], typer.Argument(metavar="TOOL [ARGS]...", show_default=False)],
    budget: Annotated[
        str | None, typer.Option(metavar="DOLLARS", help="It cannot spend more than that.", show_default=False)
    ] = None,
    tier: Annotated[
        str | None, typer.Option(metavar="TIER", help="fast, balanced or best, for auto.", show_default=False)
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Only models on this machine.")] = False,
    project: Annotated[
        str, typer.Option(metavar="NAME", help="The project it is counted under.", show_default=False)
    ] = "default",
) -> int:
    """Run one command with the exports set and a client key of its own; its exit status is ours.

    Options stand before TOOL, everything behind it is the tool's:  membrain run --budget 2.00 -- aider
    """
    console = current()
    rights = Rights(
        budget=Allowance(total=dollars(budget, "--budget")),
        tier=tier_named(tier),
        private=private,
        expires=(console.clock() + KEPT).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    path = shutil.which(tool[0], path=console.environ.get("PATH"))
    if path is None:
        said = f"There is no command {tool[0]} on the PATH."
        raise CommandError(said, [("How it goes", "membrain run -- TOOL …")], NOT_FOUND)
    reach = Reach(console.environ)
    bring_up(console, reach)
    demand_keys(console, reach, rights)
    with Attendant() as attendant:
        with own_key(console, reach, Path(tool[0]).name, project, rights) as (key, row):
            began = console.clock()
            status = attendant.run(path, tool, surroundings(console, reach, key, row.rights))
        with unheard(console):
            show(console, row, began.strftime("%Y-%m-%dT%H:%M:%SZ"), status)
    return status


# --- before it runs ------------------------------------------------------------------------------------------


def bring_up(console: Console, reach: Reach) -> None:
    """Start the gateway if it is down."""
    if reach.running is not None:
        return
    try:
        with console.working("starting the gateway …"):
            reach.running, _ = daemon.start(reach.places, console.environ, None)
    except daemon.StartError as error:
        console.fail("The gateway did not start.", ("See why", "membrain up"), detail=error.said)
    console.say(f"{console.glyph('up')} membrain is up   {reach.running.url}")


def limited(rights: Rights) -> bool:
    """Whether the tool must not go past the gateway."""
    return bool(rights.budget) or rights.private


def demand_keys(console: Console, reach: Reach, rights: Rights) -> None:
    """Fail if the gateway looks at no key, so that no limit of one would hold."""
    if reach.demand().health.get("auth") == "off" and (limited(rights) or rights.tier):
        console.fail(
            "This gateway looks at no client key (auth.mode is off), so the limits would not hold.",
            ("Let it look", "membrain config set auth.mode local"),
        )


@contextlib.contextmanager
def own_key(console: Console, reach: Reach, tool: str, project: str, rights: Rights) -> Iterator[tuple[str, ClientKey]]:
    """A client key named after the tool, that holds until the tool has ended."""
    name = "".join(sign for sign in tool if sign.isprintable())[:LONGEST_NAME].strip() or "tool"
    try:
        key, row = reach.issue(name, project, rights)
    except (BadRequest, CommandError):  # there is one of that name already, or this fails again and says why
        key, row = reach.issue(f"{name}-{os.urandom(2).hex()}", project, rights)
    try:
        check(console, row.rights, rights)
        yield key, row
    finally:
        revoke(console, row)


def check(console: Console, given: Rights, asked: Rights) -> None:
    """Fail if the gateway, which may be older than we are, gave a key without the limits that were asked for."""
    same = (given.budget, given.private, bool(given.tier)) == (asked.budget, asked.private, bool(asked.tier))
    if not same:
        console.fail("The running gateway does not know these limits.", ("Start it anew", "membrain restart"))


def surroundings(console: Console, reach: Reach, key: str, rights: Rights) -> dict[str, str]:
    """The tool's environment: ours with the exports, and without keys that would lead it past its limits."""
    given = exports(reach, FAMILIES, key)
    others = [name for name in daemon.CREDENTIALS if name in console.environ and name not in given]
    if not others or not limited(rights):
        return {**console.environ, **given}
    console.say(console.style(f"Kept from the tool, so that it stays within its limits: {', '.join(others)}", "dim"))
    return {name: text for name, text in {**console.environ, **given}.items() if name not in others}


def revoke_there(console: Console, row: ClientKey) -> None:
    """Revoke the key at the gateway, or on the disk; there too if the gateway ends while it is asked."""
    try:
        Reach(console.environ).revoke(row.id)
    except CommandError as error:
        if error.code != Exit.DOWN:
            raise
        time.sleep(STEP)
        Reach(console.environ).revoke(row.id)


def revoke(console: Console, row: ClientKey) -> None:
    """Revoke the key where the gateway is now: it may have ended, or been started anew. Say so if that fails."""
    try:
        revoke_there(console, row)
    except NotFound:  # somebody else has
        return
    except (MembrainError, CommandError) as error:
        end = f", until {row.rights.expires}" if row.rights.expires else ""
        with unheard(console):
            console.complain(f"{console.glyph('look')} The key {row.name} still holds{end}. {error}")
            for line in console.remedies([("Revoke it", f"membrain keys revoke {row.id}")]):
                console.complain(line)


@contextlib.contextmanager
def unheard(console: Console) -> Iterator[None]:
    """Say something although whoever would read it may have gone, with the terminal's window: then it is lost."""
    try:
        yield
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, console.stderr.fileno())  # what is left to write must not fail again at the exit
        os.close(nowhere)


# --- the receipt ---------------------------------------------------------------------------------------------


def show(console: Console, row: ClientKey, since: str, status: int) -> None:
    """What the tool asked for and what it came to, on stderr: stdout is the tool's."""
    if console.quiet and not console.json:
        return
    try:
        told = told_by_whoever_is_there(console, row, since)
    except (MembrainError, CommandError) as error:
        console.say(console.style(f"{row.name} · no receipt: {error}", "dim"))
        return
    if console.json:
        console.complain(json.dumps({**told, "status": status}))
    else:
        console.say(console.style(" · ".join(part for tell in PARTS if (part := tell(told))), "dim"))


def told_by_whoever_is_there(console: Console, row: ClientKey, since: str) -> Receipt:
    """The figures, from the gateway or from its files: it may be ending just now, and then it is asked in vain."""
    limit = time.monotonic() + SETTLING
    while True:
        try:
            return receipt(Reach(console.environ), row, since, console.clock())
        except CommandError as error:
            if error.code != Exit.DOWN or time.monotonic() > limit:
                raise
        time.sleep(STEP)


def receipt(reach: Reach, row: ClientKey, since: str, now: datetime) -> Receipt:
    """The figures of the key *row*, whose exchanges began after *since* (RFC 3339)."""
    settle(reach, since)
    total = reach.usage_by({"by": "model", "key_id": row.id}, now)
    models = sorted(total.get("rows", ()), key=lambda each: -each["exchanges"])
    return {
        "name": row.name,
        "key_id": row.id,
        "exchanges": total["exchanges"],
        "cost_micros": booked(total, row),
        "budget_micros": row.rights.budget.total,
        "unpriced": total["unpriced"],
        "cached": total["cached"],
        "saved_micros": total.get("saved_micros", 0),
        "masked": total["masked"],
        "models": [each["name"] for each in models if each["name"]],
        "slowest_ms": total["slowest_ms"],
        "stopped": stopped(reach, row) if row.rights.budget and total["exchanges"] else {},
        "head": head(reach),
    }


def booked(total: Mapping[str, Any], row: ClientKey) -> int:
    """What the ledger has booked on the key, which counts answers of unknown cost too; else the sum of the known."""
    owner = f"key:{row.id}"
    found = [each["spent_micros"] for each in total.get("budgets", ()) if each["owner"] == owner]
    return int(max([total["cost_micros"], *found]))


def head(reach: Reach) -> Receipt | None:
    """The end of the audit's chain; None where nobody can tell, as without its key."""
    try:
        found = reach.head()
    except MembrainError:
        return None
    return {"seq": found["seq"], "seal": found["seal"]} if found else None


def settle(reach: Reach, since: str) -> None:
    """Wait a moment while an exchange is open that began after *since*: one that the tool left is about to end."""
    limit = time.monotonic() + SETTLING
    while reach.running is not None and time.monotonic() < limit:
        if not reach.audit({"outcome": "open", "since": since, "limit": "1"}):
            return
        time.sleep(STEP)


REFUSALS = {"budget_exceeded": "over the budget", "price_unknown": "price unknown"}
"""Codes of what is refused under a budget, and why."""
STOPPED = {"refused": "refused", "failed": "cut short"}
"""Outcomes of what a budget stops: before it left, and in mid-answer."""
MOST = 1_000
"""Records of each outcome that are looked at."""


def stopped(reach: Reach, row: ClientKey) -> dict[str, int]:
    """How many requests the budget stopped, by what became of them and why."""
    found: Counter[str] = Counter()
    for outcome, word in STOPPED.items():
        query = {"key_id": row.id, "outcome": outcome, "limit": str(MOST)}
        found.update(f"{word}: {REFUSALS[each.error]}" for each in reach.audit(query) if each.error in REFUSALS)
    return dict(found)


def count(number: int, word: str) -> str:
    """A number of things: "1 exchange", "1,204 exchanges"."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def spent(told: Mapping[str, Any]) -> str:
    """What it cost, and of how much."""
    if not told["exchanges"]:
        return ""
    of = f" of {money(told['budget_micros'])}" if told["budget_micros"] is not None else ""
    return f"{money(told['cost_micros'])}{of}" + (f", {told['unpriced']:,} unpriced" if told["unpriced"] else "")


def from_cache(told: Mapping[str, Any]) -> str:
    """What was answered from the cache, and what that saved."""
    saved = f", {money(told['saved_micros'])} saved" if told["saved_micros"] else ""
    return f"{told['cached']:,} from the cache{saved}" if told["cached"] else ""


def by_use(told: Mapping[str, Any]) -> str:
    """The models that were asked most."""
    shown = told["models"][:3]
    more = len(told["models"]) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def over(told: Mapping[str, Any]) -> str:
    """What the budget stopped."""
    return ", ".join(f"{number:,}{'+' * (number >= MOST)} {what}" for what, number in told["stopped"].items())


def sealed(told: Mapping[str, Any]) -> str:
    """The last record of the chain; `membrain audit head` gives the whole seal."""
    end = told["head"]
    return f"record {end['seq']:,} {end['seal'][:4]}…{end['seal'][-4:]}" if end else ""


PARTS: tuple[Callable[[Mapping[str, Any]], str], ...] = (
    lambda told: told["name"],
    lambda told: count(told["exchanges"], "exchange"),
    spent,
    from_cache,
    lambda told: f"{told['masked']:,} masked" if told["masked"] else "",
    by_use,
    lambda told: f"slowest {span(told['slowest_ms'])}" if told["slowest_ms"] else "",
    over,
    sealed,
)
"""The receipt's parts in their order; one that has nothing to say is left out."""
