"""`pii`: try the mask on a text, keep lists of one's own, and decide about requests that wait.

What is private in a text is found in this process, by the gateway's own detector and policy, whether or not a gateway
runs; only requests that wait need one. A value may come through stdin, where nobody else can read it, and is not
repeated: of a value is shown how it ends, unless it is asked for with `--reveal`.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from urllib.parse import quote

import typer

from membrain.errors import MembrainError, Misconfigured
from membrain.places import Places, read_private
from membrain_cli.commands import family
from membrain_cli.console import Column, CommandError, Console, Exit, current, field, meant, padded, uptime
from membrain_cli.reach import Reach

if TYPE_CHECKING:
    from membrain.config import Settings
    from membrain.pii.detector import Detector
    from membrain.pii.kinds import Span
    from membrain.pii.lists import Lists
    from membrain.pii.policy import Policy
    from membrain.pii.vault import Vault

pii = family("Try the mask on a text; approve what waits.")

STDIN = "-"
"""Stands for stdin, in the place of a file or a value."""
MOST_TYPED = 1_000_000
"""Characters that are read of values from stdin."""
PROJECT = "default"
"""The project of who has none."""
BUILTIN = "builtin"
"""Names no other detector than our own."""
LEVELS = ("basic", "standard", "strict")
TAIL = 2
"""Characters of a value that are shown; of one that is shorter than three times that, none."""

Record = Mapping[str, Any]


@pii.callback()
def overview(context: typer.Context) -> None:
    """Try the mask on a text; approve what waits."""
    if context.invoked_subcommand is None:
        show(current())


def show(shell: Console) -> None:
    """How masking is set, how many values are on one's own lists, and how many requests wait."""
    from membrain.config import load
    from membrain.pii.lists import load as own_lists

    set_to, own, reach = load(shell.environ).pii, own_lists(lists_file(shell)), Reach(shell.environ)
    held = len(reach.ask("GET", "/api/holds")) if reach.running else None
    state = {"level": set_to.level, "on_find": set_to.on_find, "known": len(own.known), "allowed": len(own.allowed)}
    if shell.json:
        shell.record({**state, "waiting": held})
        return
    shell.out(f"  {padded('level', 10)} {set_to.level}: what is found is {WORDS[set_to.on_find]}")
    shell.out(f"  {padded('lists', 10)} {len(own.known)} private, {len(own.allowed)} never masked")
    if held is not None:
        shell.out(f"  {padded('waiting', 10)} {held}")
    ways = (("Try it", 'echo "…" | membrain pii scan'), ("Hide a value", "membrain pii add VALUE"))
    shell.say()
    for line in shell.remedies([*ways, *([("Decide", "membrain pii holds")] if held else [])]):
        shell.say(line)


# --- a text --------------------------------------------------------------------------------------------------

Level = Annotated[
    str, typer.Option("--level", metavar="LEVEL", help=f"{', '.join(LEVELS)}; else as it is set.", show_default=False)
]

Project = Annotated[str, typer.Option("--project", metavar="NAME", help="Whose rules and placeholders.")]


class Look:
    """A text, what was found in it, and what the policy does about that. Its repr shows neither text nor places."""

    def __init__(self, text: str, spans: Sequence[Span], policy: Policy, vault: Vault) -> None:
        self.text, self.vault = text, vault
        self.found = [(span, str(policy.mode(span))) for span in spans]

    def __repr__(self) -> str:
        return f"Look({len(self.found)})"

    @property
    def minded(self) -> list[tuple[Span, str]]:
        """What the policy does anything about, with its mode."""
        return [(span, mode) for span, mode in self.found if mode != "pass"]

    def masked(self) -> str:
        """The text as it would leave; what keeps it from leaving is masked in it, too."""
        hidden = [(span.start, span.end, span.label) for span, mode in self.minded if mode not in SEEN]
        return self.vault.mask(self.text, hidden)


SEEN = {"log", "alert"}
"""Modes under which a value leaves as it is."""

WORDS = {
    "pass": "let through",
    "log": "let through, and noted",
    "alert": "let through, and told",
    "redact": "masked",
    "local": "kept on this machine",
    "confirm": "masked once you agree",
    "block": "refused",
}
"""What each mode comes to."""


@pii.command()
def scan(
    file: Annotated[str, typer.Argument(metavar="[FILE|-]", show_default=False)] = STDIN,
    fail: Annotated[bool, typer.Option("--fail", help="Exit status 4 if anything was found.")] = False,
    level: Level = "",
    project: Project = PROJECT,
) -> Exit:
    """Print a text with placeholders for what is private.

    Works whether or not the gateway runs. What else is to be said about it goes to stderr.
    """
    shell = current()
    demand_level(shell, level)
    seen = look(shell, read_text(shell, file), level, project)
    labels = Counter(span.label for span, _ in seen.minded)
    if shell.json:
        shell.record({"found": labels.total(), "labels": labels, "spans": [place_of(span) for span, _ in seen.minded]})
    else:
        shell.pass_on(seen.masked())
        shell.say(f"{labels.total()} found: {listed(labels)}" if labels else "Nothing found.")
        tell_more(shell, seen)
    return Exit.REFUSED if fail and labels else Exit.OK


def place_of(span: Span) -> dict[str, Any]:
    """A finding as a program gets it: never the value."""
    return {"start": span.start, "end": span.end, "label": span.label}


def tell_more(shell: Console, seen: Look) -> None:
    """Say what a placeholder in the text does not: what would leave as it is, and what keeps the text from leaving."""
    by_mode: dict[str, Counter[str]] = {}
    for span, mode in seen.minded:
        by_mode.setdefault(mode, Counter())[span.label] += 1
    for mode, labels in by_mode.items():
        if mode != "redact":
            shell.say(f"{shell.glyph('look')} {listed(labels)}: {WORDS.get(mode, mode)}")


@pii.command("test")
def try_text(
    text: Annotated[str, typer.Argument(metavar="[TEXT|-]", show_default=False)] = STDIN,
    level: Level = "",
    project: Project = PROJECT,
) -> None:
    """Show what is found in a text, and what becomes of it.

    Others on this machine can see what stands on a command line; without TEXT it is read from stdin.
    """
    shell = current()
    demand_level(shell, level)
    seen = look(shell, read_text(shell, STDIN) if text == STDIN else whole(shell, text), level, project)
    if seen.found:
        shell.table(TESTED, rows_of(seen))
    else:
        shell.say("Nothing found.")


def rows_of(seen: Look) -> Iterable[dict[str, Any]]:
    """Each finding, with the line and column that it begins in (both count from 1), and how it ends."""
    breaks = [place for place, sign in enumerate(seen.text) if sign == "\n"]
    for span, mode in seen.found:
        line = bisect_left(breaks, span.start)
        yield {
            **place_of(span),
            "kind": span.kind,
            "severity": str(span.severity),
            "line": line + 1,
            "column": span.start - (breaks[line - 1] if line else -1),
            "mode": mode,
            "tail": ending(seen.text[span.start : span.end]),
        }


def spot(row: Record) -> str:
    """Where a finding begins, as editors take it."""
    return f"{row['line']}:{row['column']}"


TESTED = (
    Column("place", spot, spot),
    field("label", "label"),
    replace(field("kind", "kind"), spare=1),
    replace(field("severity", "severity"), spare=2),
    Column("what becomes of it", lambda row: WORDS.get(row["mode"], row["mode"]), lambda row: row["mode"], cut=14),
    Column("value", lambda row: current().style(row["tail"], "dim"), lambda row: row["tail"]),
)


def look(shell: Console, text: str, level: str, project: str) -> Look:
    """Find what is private in *text*, as this environment's gateway would."""
    from membrain.config import load
    from membrain.pii.vault import Vault

    settings, places = load(shell.environ), Places.find(shell.environ)
    policy = policy_of(settings, level, project)
    with shell.working("looking …" if shell.unicode else "looking ..."):
        spans = detector_of(settings, places, shell.environ).scan(text)
    return Look(text, spans, policy, Vault(placeholder_key(settings, places), project))


def detector_of(settings: Settings, places: Places, environ: Mapping[str, str]) -> Detector:
    """The gateway's detector, but without its limit of time: that is for a request, and a large file may take longer.

    It knows the user's lists, the providers' keys, and what this shell's environment has of secrets.
    """
    from membrain.masking.guard import detector_of

    given = [settings.keys.get(name) for name in settings.key_names] if settings.keys else []
    keys = [key.reveal() for key in given if key]
    return detector_of(places.lists_file, settings.pii.engine, keys, environ, math.inf)()


def placeholder_key(settings: Settings, places: Places) -> bytes | None:
    """The key of this instance's placeholders; None, and they are of this call only, if it has none that can be had."""
    from membrain.masking.guard import PLACEHOLDERS, key_of

    file, keys = places.placeholder_key_file, settings.keys
    try:
        kept = read_private(file).decode("ascii", "replace") if file.exists() else keys and keys.own(PLACEHOLDERS)
        return key_of(kept) if kept else None
    except Misconfigured:
        return None


def demand_level(shell: Console, level: str) -> None:
    """Fail unless *level* is one, or none was given; asked before anything is read."""
    if level and level not in LEVELS:
        said = f"There is no such level. There are {', '.join(LEVELS)}.{meant(level, LEVELS)}"
        shell.fail(said, ("What is set", "membrain pii"), code=Exit.USAGE)


def policy_of(settings: Settings, level: str, project: str) -> Policy:
    """What *project* does about findings, as it is set, or at another *level*."""
    from membrain.pii.policy import Policies

    own = settings.pii
    rules = [rule for rule in own.rules if not (level and "level=" in rule)]
    return Policies(level or own.level, own.on_find, rules).of(project)


# --- where a text comes from ---------------------------------------------------------------------------------


def read_text(shell: Console, name: str) -> str:
    """The text of the file *name*, or all that comes through stdin. Fails over what is no text."""
    if name != STDIN:
        return decoded(shell, Path(name).read_bytes(), "That file")
    if shell.is_tty_in:
        if shell.no_input:
            shell.fail("There is nothing to look at.", ("A file", "membrain pii scan FILE"), code=Exit.USAGE)
        shell.say(shell.style("Type or paste; ctrl-d on a line of its own ends it.", "dim"))
    pipe = getattr(shell.stdin, "buffer", None)
    return whole(shell, shell.stdin.read()) if pipe is None else decoded(shell, pipe.read(), "What came")


def decoded(shell: Console, data: bytes, what: str) -> str:
    """*data* as text, every line end as it is."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        said = f"{what} is not text (UTF-8), so nothing was looked for in it."
        shell.fail(said, ("See what would do", "membrain pii scan --help"))
    return text


def whole(shell: Console, text: str) -> str:
    """*text*, unless it holds bytes that were no text."""
    return decoded(shell, text.encode("utf-8", "surrogateescape"), "What was given")


def ending(value: str) -> str:
    """A value by how it ends; nothing of a short one."""
    return f"…{value[-TAIL:]}" if len(value) >= 3 * TAIL else "…"


def listed(labels: Mapping[str, int]) -> str:
    """Labels and how many there are of each: "phone 1, email 1"."""
    return ", ".join(f"{plain(label)} {count}" for label, count in labels.items())


def plain(label: str) -> str:
    """A label as words: CREDIT_CARD → "credit card"."""
    return label.replace("_", " ").lower()


# --- lists of one's own --------------------------------------------------------------------------------------

Value = Annotated[str, typer.Argument(metavar="VALUE|-", show_default=False)]


class Said(NamedTuple):
    """What to say about a change: to one value, to several, to none."""

    one: str
    several: str
    none: str


ADDED = Said(
    "Private from now on, as {label}.", "{count} values are private from now on, as {label}.", "It was private already."
)
REMOVED = Said("It is off the list.", "{count} values are off the list.", "It was not on the list.")
ALLOWED = Said("Never masked from now on.", "{count} values are never masked from now on.", "It was allowed already.")
FORBIDDEN = Said(
    "Masked again, where it is found.", "{count} values are masked again, where they are found.", "It was not allowed."
)


@pii.command()
def add(
    value: Value,
    label: Annotated[str, typer.Option("--label", "-l", metavar="LABEL", help="What it is, in a word.")] = "CUSTOM",
) -> None:
    """Count a value as private, wherever it stands.

    Capitals and small letters make no difference. Others on this machine can see what stands on a command line: with -
    values are read from stdin, one a line.
    """
    named = "_".join(label.upper().replace("-", " ").split())
    change(value, lambda own, each: own.add(each, named), ADDED, named)


@pii.command("rm")
def remove(value: Value) -> None:
    """Take a value off the private ones. With - values are read from stdin, one a line."""
    change(value, lambda own, each: own.remove(each), REMOVED)


@pii.command()
def allow(
    value: Value,
    rm: Annotated[bool, typer.Option("--rm", help="Let it be masked again.")] = False,
) -> None:
    """Never mask a value. With - values are read from stdin, one a line."""
    if rm:
        change(value, lambda own, each: own.disallow(each), FORBIDDEN)
    else:
        change(value, lambda own, each: own.allow(each), ALLOWED)


def change(value: str, do: Callable[[Lists, str], bool], said: Said, label: str = "") -> None:
    """Change the lists by what was given, all of it or nothing, hand them to the running gateway, and say so."""
    from membrain.pii.lists import changing

    shell = current()
    values = given(shell, value)
    with changing(lists_file(shell)) as own:
        count = sum([changed(shell, own, do, each, number) for number, each in enumerate(values, 1)])
    running = count > 0 and taken(shell)
    if shell.json:
        shell.record({"changed": count, "running_gateway_has_it": running})
    elif not count:
        shell.say(f"{shell.glyph('none')} {said.none}")
    else:
        told = (said.one if count == 1 else said.several).format(count=count, label=label)
        shell.say(f"{shell.glyph('fine')} {told}{'  The running gateway has it now.' if running else ''}")


def changed(shell: Console, own: Lists, do: Callable[[Lists, str], bool], value: str, number: int) -> bool:
    """Change one value; fails without repeating it, and then nothing at all is changed."""
    from membrain.pii.lists import Unlistable

    try:
        return do(own, value)
    except Unlistable as error:
        said = error.message
    told = said if number == 1 else f"Line {number}: {said}"
    return shell.fail(told, ("See the lists", "membrain pii list"), code=Exit.USAGE)


def given(shell: Console, value: str) -> list[str]:
    """The values that were meant: the one that was typed, or each line that comes through stdin."""
    if value != STDIN:
        return [value]
    typed = shell.secret("The value (hidden):", "VALUE") if shell.is_tty_in else shell.stdin.read(MOST_TYPED + 1)
    lines = [line for line in typed.split("\n") if line.strip()]
    if not lines:
        shell.fail("No value was given.", ("From a program", "… | membrain pii add -"), code=Exit.USAGE)
    if len(typed) > MOST_TYPED:
        shell.fail("That is too much for a list.", ("See the lists", "membrain pii list"), code=Exit.USAGE)
    return lines


def taken(shell: Console) -> bool:
    """Let the running gateway read the lists again; whether there is one. Says so if it could not."""
    try:
        return Reach(shell.environ).reload()
    except (CommandError, MembrainError) as error:
        why = error.message
    return shell.fail(f"It is kept, but the running gateway did not take it: {why}", ("Restart it", "membrain restart"))


def lists_file(shell: Console) -> Path:
    """Where the lists are kept."""
    return Places.find(shell.environ).lists_file


@pii.command("list")
def show_lists(
    reveal: Annotated[bool, typer.Option("--reveal", help="The values themselves, too.")] = False,
) -> None:
    """The values on your own lists, by how they end."""
    from membrain.pii.lists import load

    shell = current()
    own = load(lists_file(shell))
    rows = [
        *(entry("known", value, label, reveal=reveal) for value, label in sorted(own.known.items())),
        *(entry("allowed", value, None, reveal=reveal) for value in sorted(own.allowed)),
    ]
    shell.table(LISTED, rows, header=False)
    if not rows:
        shell.say("Nothing on the list yet.")
        for line in shell.remedies([("Hide a value", 'membrain pii add "Project Falcon"')]):
            shell.say(line)


def entry(which: str, value: str, label: str | None, *, reveal: bool) -> dict[str, Any]:
    """A value on a list as it is shown: itself only if it was asked for."""
    shown = {"list": which, "label": label, "tail": ending(value), "characters": len(value)}
    return {**shown, "value": value} if reveal else shown


def shown_value(row: Record) -> str:
    """A value as it may be shown."""
    return str(row.get("value", row["tail"]))


LISTED = (
    Column("", lambda row: "private" if row["list"] == "known" else "never masked", lambda row: row["list"]),
    field("", "label"),
    Column("", shown_value, shown_value),
    Column("", lambda row: current().style(f"{row['characters']} characters", "dim"), lambda row: row["characters"]),
)


# --- what waits ----------------------------------------------------------------------------------------------

SHORT = 6
"""Signs of an exchange's id that a person is shown; any beginning that only one has will do."""


def waiting(incomplete: str) -> list[tuple[str, str]]:
    """Ids of what waits, with what was found, for the shell's completion."""
    try:
        found = Reach(current().environ).ask("GET", "/api/holds")
    except (CommandError, MembrainError):
        return []
    return [(hold["id"], counts(hold)) for hold in found if hold["id"].startswith(incomplete)]


Id = Annotated[str, typer.Argument(metavar="ID", show_default=False, autocompletion=waiting)]


@pii.command()
def holds(
    id: Annotated[str, typer.Argument(metavar="[ID]", show_default=False, autocompletion=waiting)] = "",
) -> None:
    """What waits for you; with an ID, one of them.

    Of a value is shown how it ends, and a little of what stands around it.
    """
    shell = current()
    if id:
        show_hold(shell, Reach(shell.environ).ask("GET", hold_path(id)))
        return
    found = Reach(shell.environ).ask("GET", "/api/holds")
    shell.table(HELD, found, header=False)
    if not found:
        shell.say("Nothing waits.")
    elif shell.is_tty_out and not shell.json:
        first = found[0]["id"][:SHORT]
        ways = [("See it", f"holds {first}"), ("Let it go on", f"approve {first}"), ("Refuse it", f"deny {first}")]
        for line in shell.remedies([(words, f"membrain pii {rest}") for words, rest in ways]):
            shell.say(line)


def hold_path(id: str) -> str:
    """Where one hold is asked for."""
    return f"/api/holds/{quote(id, safe='')}"


def show_hold(shell: Console, hold: Record) -> None:
    """One hold: who asks, and each place with what stands around the value; of the value, how it ends."""
    if shell.json:
        shell.record(hold)
        return
    if shell.is_tty_out:
        shell.table(HELD, [hold], header=False)
        shell.out()
    shell.table(CONTEXTS, hold["contexts"], header=False)


def counts(hold: Record) -> str:
    """What was found, for a person: "1 card, 2 email"."""
    return ", ".join(f"{count} {plain(label)}" for label, count in hold["labels"].items())


def whose(hold: Record) -> str:
    """Who asks."""
    return f"{hold['caller']}, project {hold['project']}" if hold["project"] != PROJECT else str(hold["caller"])


HELD = (
    Column("", lambda row: current().style(row["id"][:SHORT], "bold"), lambda row: row["id"]),
    Column("", whose, lambda row: row["caller"], cut=10),
    Column("", lambda row: uptime(row["seconds"]), lambda row: row["seconds"]),
    Column("", counts, lambda row: ",".join(f"{label}={count}" for label, count in row["labels"].items()), cut=10),
    Column("", lambda row: f"would go to {row['model']}", lambda row: row["model"], cut=12, spare=1),
    Column("", lambda _: "", lambda row: row["project"]),
)


def around(context: Record) -> str:
    """A value's surroundings on one line, itself by how it ends."""
    value = current().style(f"…{context['tail']}", "dim")
    return f"{context['before']}{value}{context['after']}"


CONTEXTS = (
    Column("", lambda row: current().style(row["place"], "dim"), lambda row: row["place"]),
    Column("", lambda row: plain(row["label"]), lambda row: row["label"]),
    Column("", around, lambda row: f"{row['before']}…{row['tail']}{row['after']}"),
)


@pii.command()
def approve(
    id: Id,
    always: Annotated[
        bool, typer.Option("--always", help="These labels in this project, until the gateway stops.")
    ] = False,
) -> None:
    """Let a request that waits go on, masked."""
    done = decide(id, "approve", always=always)
    note = "  Its project is not asked again about these, until the gateway stops." if always else ""
    say_decided(done, "fine", f"goes on, masked.{note}")


@pii.command()
def deny(id: Id) -> None:
    """Refuse a request that waits."""
    say_decided(decide(id, "deny", always=False), "off", "is refused. Nothing of it left.")


def decide(id: str, decision: str, *, always: bool) -> Record:
    """Tell the gateway what was decided; gives its answer."""
    answer: Record = Reach(current().environ).ask("POST", hold_path(id), {"decision": decision, "always": always})
    return answer


def say_decided(done: Record, glyph: str, words: str) -> None:
    """Say what becomes of a request that waited."""
    shell = current()
    if shell.json:
        shell.record(done)
    else:
        shell.say(f"{shell.glyph(glyph)} {done['id'][:SHORT]} {words}")
