"""`route`: why this model and not another, before or after it was asked; and what the tiers hold.

The gateway decides, as it would for a request; here its explanation is only told: who would be asked first, everybody
else in order, and of each the one reason. A prompt is looked at by the gateway and goes nowhere else; it may come
through stdin, where nobody else can read it, and is not repeated.
"""

from __future__ import annotations

import math
import select
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Annotated, Any, NamedTuple

import typer

from membrain.errors import MembrainError
from membrain.records import AuditRecord, Candidate, Considered, Explanation
from membrain_cli.commands import family
from membrain_cli.console import CommandError, Console, Exit, current, field, money, padded, span, uptime
from membrain_cli.console import meant as near
from membrain_cli.listing import EDGE, Entry, dollars, entries, price, sources, wrapped
from membrain_cli.reach import Reach

route = family("Why this model and not another.")

AUTO = "auto"
STDIN = "-"
"""Stands for stdin, in the place of a prompt."""
TIERS = ("fast", "balanced", "best", "speed", "quality")
SHORT = 6
"""Signs of an exchange's id that a person is shown."""
PATIENCE = 2.0
"""Seconds that a pipe nobody named has for its first byte: whoever calls us may only have left it open."""
COMPLETION_LIMIT = 2.0
"""Seconds that a shell waits for names."""


# --- what is asked -------------------------------------------------------------------------------------------


def model_names(incomplete: str) -> list[str]:
    """Models that one may ask for, for the shell's completion."""
    try:
        found = Reach(current().environ).ask("GET", "/api/models", limit=COMPLETION_LIMIT)
    except (CommandError, MembrainError):
        return []
    return [name for name in dict.fromkeys((AUTO, *(row["id"] for row in found))) if name.startswith(incomplete)]


def past(incomplete: str) -> list[tuple[str, str]]:
    """Ids of the last exchanges, with their models, for the shell's completion."""
    try:
        found = Reach(current().environ).audit({"limit": "50"})
    except (CommandError, MembrainError):
        return []
    return [(record.id, record.model) for record in found if record.id.startswith(incomplete)]


def tier_names(incomplete: str) -> list[str]:
    """Tiers, for the shell's completion."""
    return [name for name in TIERS[:3] if name.startswith(incomplete)]


Model = Annotated[str, typer.Argument(metavar="[MODEL]", show_default=False, autocompletion=model_names)]
Prompt = Annotated[str, typer.Argument(metavar="[PROMPT|-]", show_default=False)]
Tier = Annotated[
    str, typer.Option(help="fast, balanced or best, for auto.", show_default=False, autocompletion=tier_names)
]
MaxCost = Annotated[
    float | None,
    typer.Option(min=0, metavar="DOLLARS", help="For 1K tokens at the most, for auto.", show_default=False),
]
Private = Annotated[bool, typer.Option("--private", help="Only models on this machine.")]
Replay = Annotated[
    str,
    typer.Option("--replay", metavar="ID", help="A past exchange, today.", show_default=False, autocompletion=past),
]


@route.callback()
def overview(context: typer.Context) -> None:
    """Why this model and not another. Alone, it explains auto."""
    if context.invoked_subcommand is None:
        shell = current()
        raise typer.Exit(show(shell, ask(Reach(shell.environ), {"model": AUTO})))


@route.command()
def explain(
    model: Model = AUTO,
    prompt: Prompt = "",
    tier: Tier = "",
    max_cost: MaxCost = None,
    private: Private = False,
    replay: Replay = "",
) -> Exit:
    """Show who would be asked, in which order, and why nobody else.

    Nothing is sent to a provider. With a prompt it is also told what would be masked, and what an answer would cost.
    Others on this machine can see what stands on a command line: with -, or in a pipe, the prompt is read from stdin.
    """
    shell = current()
    if tier and tier not in TIERS:
        said = f"No tier {tier}. There are fast, balanced and best.{near(tier, TIERS)}"
        shell.fail(said, ("What they are", "membrain route tiers"), code=Exit.USAGE)
    if max_cost is not None and not math.isfinite(max_cost):
        said = "--max-cost must be dollars for 1K tokens, like 0.01."
        shell.fail(said, ("How it goes", "membrain route explain --max-cost 0.01"), code=Exit.USAGE)
    if replay and (model, prompt, tier, max_cost, private) != (AUTO, "", "", None, False):
        said = "--replay looks at an exchange as it was asked; it goes with nothing else."
        shell.fail(said, ("How it goes", "membrain route explain --replay ID"), code=Exit.USAGE)
    reach = Reach(shell.environ)
    reach.demand()
    if replay:
        return explain_past(shell, reach, replay)
    model, text = meant(shell, model, prompt)
    hints = {"prompt": text, "tier": tier, "private": private}
    data = {"model": model, **{name: given for name, given in hints.items() if given}}
    return show(shell, ask(reach, data if max_cost is None else {**data, "max_cost": max_cost}), prompted=bool(text))


def ask(reach: Reach, data: dict[str, Any]) -> Explanation:
    """What the gateway would do."""
    return Explanation.from_dict(reach.ask("POST", "/api/route", data))


def meant(shell: Console, model: str, prompt: str) -> tuple[str, str]:
    """Model and prompt. One word alone is a prompt if it is "-" or holds a space, as no model's name does."""
    if not prompt and (model == STDIN or len(model.split()) > 1):
        model, prompt = AUTO, model
    if prompt == STDIN or (not prompt and not shell.is_tty_in and begins(shell)):
        return model, piped(shell, wanted=prompt == STDIN)
    return model, readable(shell, prompt.encode("utf-8", "surrogateescape"))


def begins(shell: Console) -> bool:
    """Whether stdin has something to say, or ends, before long. Says so if not."""
    try:
        ready, _, _ = select.select([shell.stdin], [], [], PATIENCE)
    except (OSError, ValueError):  # nothing that can be waited for
        return True
    if not ready:
        shell.say("Nothing comes through stdin, so this is without a prompt.  With - it is waited for.")
    return bool(ready)


def piped(shell: Console, *, wanted: bool) -> str:
    """The prompt that comes through stdin. None may come, unless it is *wanted*."""
    if shell.is_tty_in:
        if shell.no_input:
            shell.fail("There is no prompt.", ("In a pipe", "… | membrain route explain -"), code=Exit.USAGE)
        shell.say(shell.style("Type or paste; ctrl-d on a line of its own ends it.", "dim"))
    pipe = getattr(shell.stdin, "buffer", None)
    text = readable(shell, shell.stdin.read().encode("utf-8", "surrogateescape") if pipe is None else pipe.read())
    if wanted and not text.strip():
        said = "There is no prompt: nothing came through stdin."
        shell.fail(said, ("Without one", "membrain route explain"), code=Exit.USAGE)
    return text if text.strip() else ""


def readable(shell: Console, data: bytes) -> str:
    """*data* as text; fails without repeating it if it is none."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    return shell.fail("The prompt is not text (UTF-8).", ("Without one", "membrain route explain"), code=Exit.USAGE)


# --- what is told --------------------------------------------------------------------------------------------


def show(shell: Console, told: Explanation, *, prompted: bool = False, then: AuditRecord | None = None) -> Exit:
    """Tell *told*. Fails as a request would if nobody may answer it."""
    failed = failure(told)
    if shell.json:
        shell.record(told.to_dict())
        return Exit.of(failed.status, failed.code) if failed else Exit.OK
    person = shell.is_tty_out
    if person:
        for line in head(shell, told, prompted=prompted):
            shell.out(line)
    for line in [*replayed(shell, told, then), *warnings(shell, told)]:
        (shell.out if person else shell.say)(line)
    if person:
        list_candidates(shell, told)
    else:
        shell.table(COLUMNS, [row(each) for each in ranked(told)])
    if failed:
        raise failed
    return Exit.OK


def head(shell: Console, told: Explanation, *, prompted: bool) -> Iterator[str]:
    """What was asked, what it stands for, and what of the prompt would leave."""
    automatic = told.tier is not None
    limit = "no price limit" if told.max_cost is None else f"at most {dollars(told.max_cost)} for 1K tokens"
    if not automatic:
        limit = "" if told.max_cost is None else "the price limit is for auto only"
    where = "only models on this machine" if told.private else "any provider" if automatic else ""
    left = "" if told.budget_micros is None else f"{money(told.budget_micros)} left to spend"
    seen = masked(told) if prompted else ""
    parts = [part for part in (stands_for(shell, told), where, limit, tokens(told), seen, left) if part]
    yield from wrapped(parts, shell.width, EDGE, "", between(shell))


def between(shell: Console) -> str:
    """What stands between two facts on one line."""
    return " · " if shell.unicode else " - "


def stands_for(shell: Console, told: Explanation) -> str:
    """What was asked for, and what that is in the end: "fast-code → gpt-4o-mini, by name"."""
    steps = dict.fromkeys([told.asked, told.model, *([f"tier {told.tier}"] if told.tier else [])])
    return (" → " if shell.unicode else " -> ").join(steps) + ("" if told.tier else ", by name")


def tokens(told: Explanation) -> str:
    """How long the prompt is."""
    return f"{told.prompt_tokens:,} tokens" if told.prompt_tokens else ""


def masked(told: Explanation) -> str:
    """What of the prompt would leave as placeholders. Models on this machine get the values, as a rule."""
    if not told.masked:
        return "nothing would be masked"
    first = next((each for each in told.candidates if each.kept), None)
    return f"{listed(told.masked)}{', masked if it leaves' if first and first.local else ' would be masked'}"


def listed(labels: Mapping[str, int]) -> str:
    """Labels and how many there are of each: "1 email, 2 phone"."""
    return ", ".join(f"{count} {plain(label)}" for label, count in labels.items())


def plain(label: str) -> str:
    """A label as words: CREDIT_CARD → "credit card"."""
    return label.replace("_", " ").lower()


def warnings(shell: Console, told: Explanation) -> Iterator[str]:
    """What would keep the prompt from leaving, or stop it on its way."""
    words = {"this would be refused": told.blocked, "a person would be asked first": told.confirmed}
    for what, labels in words.items():
        if labels:
            told_of = f"{shell.glyph('look')} {', '.join(plain(label) for label in labels)}: {what}"
            yield from wrapped([told_of], shell.width, EDGE, "")


# --- the candidates ------------------------------------------------------------------------------------------


class Ranked(NamedTuple):
    """A candidate, and when it would be asked: 1 is first, 0 is never."""

    rank: int
    state: str
    considered: Considered


def ranked(told: Explanation) -> list[Ranked]:
    """Every candidate, those that would be asked first."""
    kept = [each for each in told.candidates if each.kept]
    dropped = [each for each in told.candidates if not each.kept]
    first = "first" if len(kept) > 1 else "only"
    return [
        *(Ranked(place, first if place == 1 else "fallback", each) for place, each in enumerate(kept, 1)),
        *(Ranked(0, "dropped", each) for each in dropped),
    ]


def row(each: Ranked) -> dict[str, Any]:
    """A candidate for a program."""
    return {**each.considered.to_dict(), "rank": each.rank or None, "state": each.state}


COLUMNS = tuple(
    field(name, name)
    for name in (
        "rank", "model", "provider", "state", "reason", "local", "input_price", "output_price", "cost_micros", "p50_ms",
        "samples", "resting_seconds",
    )
)  # fmt: skip
"""What a program gets of a candidate."""


def list_candidates(shell: Console, told: Explanation) -> None:
    """The candidates as a person reads them, and what the figures are."""
    found = ranked(told)
    if found:
        shell.out()
    shown = [entry(shell, each, told) for each in found]
    for line in entries(shell, shown, apart=sum(each.rank > 0 for each in found), indent=EDGE + " " * 3):
        shell.out(line)
    notes = footnotes(told)
    if notes:
        shell.say()
    for line in wrapped(notes, shell.width):
        shell.say(shell.style(line, "dim"))


def entry(shell: Console, each: Ranked, told: Explanation) -> Entry:
    """One candidate, as a line of the list."""
    one = each.considered
    model = shell.style(one.model, "bold") if each.rank == 1 else one.model
    names = [f"{each.rank or ' '}  {model}", f"{one.provider} (local)" if one.local else one.provider]
    facts = [price(one), cost(one) if told.prompt_tokens else "", speed(one)]
    return Entry(names, facts, f"{shell.glyph('up' if each.rank else 'off')} {each.state}", one.reason)


def cost(one: Considered) -> str:
    """What this prompt would come to. What nobody knows is not nothing, and what is free was said."""
    if one.cost_micros is None:
        return "cost unknown"
    return f"~{money(one.cost_micros, exact=True)}" if one.cost_micros else ""


def speed(one: Considered) -> str:
    """The median time of the provider's answers, and of how many; or how long it is left alone."""
    if one.resting_seconds is not None:
        return f"rests {uptime(max(1.0, one.resting_seconds))}"
    return "not timed" if one.p50_ms is None else f"{span(one.p50_ms)} of {one.samples}"


def footnotes(told: Explanation) -> list[str]:
    """What the figures are, and where the prices come from. Nothing where there are none."""
    found = told.candidates
    asked = told.prompt_tokens and any(one.cost_micros is not None for one in found)
    notes = {
        "$ is for a million tokens, in / out.": any(one.input_price for one in found),
        f"~ is this prompt with an answer of {told.completion_tokens:,} tokens.": asked,
        "Times are the provider's p50, of how many answers.": any(one.p50_ms is not None for one in found),
        sources([(one.model, one) for one in found]): True,
    }
    return [note for note, there in notes.items() if note and there]


# --- when nobody would answer --------------------------------------------------------------------------------


def failure(told: Explanation) -> MembrainError | None:
    """What the caller would be told instead of an answer; None if somebody would answer."""
    code = told.error or ("pii_blocked" if told.blocked else "")
    if not code:
        return None
    said = told.message or f"Nothing would leave: it holds {', '.join(map(plain, told.blocked)) or 'what is blocked'}."
    error = MembrainError(said, hint=told.hint)
    error.code, error.status = code, statuses(MembrainError).get(code, error.status)
    return error


def statuses(kind: type[MembrainError]) -> dict[str, int]:
    """The HTTP status of each of our errors' codes, *kind* and all below it; the exit status follows from both."""
    found = {kind.code: kind.status}
    for below in kind.__subclasses__():
        found = {**statuses(below), **found}
    return found


# --- a past exchange -----------------------------------------------------------------------------------------


def explain_past(shell: Console, reach: Reach, id: str) -> Exit:
    """What would become of a past exchange today, beside what became of it."""
    then = reach.exchange(id)
    return show(shell, ask(reach, {"replay": then.id}), then=then)


def replayed(shell: Console, told: Explanation, then: AuditRecord | None) -> Iterator[str]:
    """Who answered then, who would be asked first today, and what else differs."""
    if then is None:
        return
    today = next((f"{each.model} at {each.provider}" for each in told.candidates if each.kept), None)
    answered = {f"{each.model} at {each.provider}" for each in then.attempts if not each.error}
    now = "the same first" if today in answered else "nobody" if today is None else f"{today} first"
    yield f"{EDGE}{then.id[:SHORT]}   {shell.ago(then.time)}   {ending(told, then)}"
    yield f"{EDGE}{padded('today', SHORT)}   {now}"
    for line in differences(told, then):
        yield from wrapped([line], shell.width, EDGE + " " * (SHORT + 3))


def ending(told: Explanation, then: AuditRecord) -> str:
    """How the exchange ended then."""
    if then.cached:
        return "answered by the cache"
    if told.answered_model is not None:
        return f"answered by {told.answered_model} at {told.answered_provider}"
    return f"{then.outcome}, {then.error.replace('_', ' ')}" if then.error else then.outcome


def differences(told: Explanation, then: AuditRecord) -> Iterator[str]:
    """Each candidate that is judged otherwise today, or was there only then, or is only there today."""
    if then.decision is None:
        return
    before: dict[tuple[str, str], Candidate] = {(each.model, each.provider): each for each in then.decision.candidates}
    after = {(each.model, each.provider): each for each in told.candidates}
    for (model, provider), new in after.items():
        old = before.get((model, provider))
        if old is None:
            yield f"{model} at {provider}: not considered then"
        elif old.kept != new.kept:
            yield f"{model} at {provider}: {judged(old)} then, {judged(new)} today"
    for model, provider in [key for key in before if key not in after]:
        yield f"{model} at {provider}: {judged(before[model, provider])} then, not considered today"


def judged(one: Candidate | Considered) -> str:
    """What was decided, and why."""
    return f"{'kept' if one.kept else 'dropped'} ({one.reason})"


# --- tiers ---------------------------------------------------------------------------------------------------


@route.command()
def tiers() -> None:
    """The models of each tier, and what else the settings say of routing."""
    shell = current()
    told = Reach(shell.environ).ask("GET", "/api/tiers")
    if shell.json:
        shell.record(told)
        return
    rows = [*tier_rows(told)]
    if not shell.is_tty_out:
        shell.table(TIER_COLUMNS, rows)
        return
    for before, each in pairwise([rows[0], *rows]):
        if before["kind"] == "tier" != each["kind"]:
            shell.out()
        for line in tier_lines(shell, each):
            shell.out(line)
    shell.say()
    for line in shell.remedies([("Change them", "membrain config edit")]):
        shell.say(line)


def tier_rows(told: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What there is: tiers, aliases, and the providers that come first."""
    for name in TIERS[:3]:
        yield {"kind": "tier", "name": name, "models": told.get(name) or [], "default": name == told.get("default")}
    for name, model in (told.get("aliases") or {}).items():
        yield {"kind": "alias", "name": name, "models": [model], "default": False}
    if told.get("prefer"):
        yield {"kind": "prefer", "name": "", "models": told["prefer"], "default": False}


TIER_COLUMNS = tuple(field(name, name) for name in ("kind", "name", "models", "default"))


def tier_lines(shell: Console, each: Mapping[str, Any]) -> Iterator[str]:
    """One tier, alias or preference, for a person."""
    arrow = "→" if shell.unicode else "->"
    first = {"tier": each["name"], "alias": f"{each['name']} {arrow}", "prefer": "asked first"}[each["kind"]]
    models = [f"{name}," for name in each["models"][:-1]] + each["models"][-1:] or ["nobody"]
    if each["default"]:
        models.append("(default)")
    yield from wrapped(models, shell.width, EDGE + " " * 12, EDGE + padded(first, 11) + " ")
