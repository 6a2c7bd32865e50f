"""What `audit` says of the chain: whether it is whole, its head, what left with an exchange, and what was erased.

It asks `reach.offline`, which reads the files themselves, so all of this works whether or not the gateway runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from membrain.errors import AuditUnavailable, MembrainError, Misconfigured, NotFound
from membrain.records import AuditRecord
from membrain_cli.console import CommandError, Console, Exit, Remedy, current, moment
from membrain_cli.exchange import SHORT
from membrain_cli.reach import Reach

if TYPE_CHECKING:
    from membrain.secrets import Secrets

UNCHECKABLE = Exit.USAGE
"""Nobody can tell whether the chain is whole: no key, no file, or none that can be read."""
UNTOLD = (AuditUnavailable, Misconfigured, NotFound)
"""What that looks like."""

# --- verify --------------------------------------------------------------------------------------------------


def verify(shell: Console, reach: Reach, head: Path | None) -> Exit:
    """Say whether the chain is whole; its exit status. *head* names a file of heads that were kept elsewhere."""
    verdict = checked(shell, reach, lines_of(shell, head))
    if shell.json:
        shell.record(verdict)
        return Exit.OK if verdict["sound"] else Exit.CHAIN
    if not verdict["sound"]:
        broken(shell, reach, verdict)
    shell.out(f"{shell.glyph('fine')} {whole(verdict)}")
    if verdict["erased"]:
        shell.say(f"  {counted(verdict['erased'])} {were(verdict['erased'])} erased since; the chain says so itself.")
    if not verdict["checked_head"]:
        shell.say(f"{shell.glyph('look')} Truncation not checked: no head is known, so a cut-off end would not show.")
        shell.say(f"  Keep one elsewhere:  {shell.style('membrain audit head > head.txt', 'accent')}")
    if verdict["unsigned"]:
        shell.say(
            f"{shell.glyph('look')} {verdict['unsigned']:,} of the noted heads cannot be read: torn, or not ours."
        )
    return Exit.OK


def checked(shell: Console, reach: Reach, heads: Sequence[str]) -> dict[str, Any]:
    """The verdict on the chain; fails with `UNCHECKABLE` where there can be none."""
    try:
        with shell.working(f"Checking {counted(reach.offline.length())} …"):
            return reach.offline.verify(reach.secrets, heads)
    except UNTOLD as error:
        uncheckable(error)


def lines_of(shell: Console, path: Path | None) -> list[str]:
    """The heads in a file, one a line; none without a file."""
    if path is None:
        return []
    try:
        text = shell.stdin.read() if str(path) == "-" else path.read_text("utf-8", "replace")
    except OSError as error:
        shell.fail(f"{path}: {error.strerror}.", ("Make one", "membrain audit head > FILE"), code=UNCHECKABLE)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        shell.fail("There is no head in that file.", ("Make one", "membrain audit head > FILE"), code=UNCHECKABLE)
    return lines


def counted(number: int) -> str:
    """So many records."""
    return f"{number:,} record{'' if number == 1 else 's'}"


def were(number: int) -> str:
    """The verb of so many."""
    return "was" if number == 1 else "were"


def whole(verdict: Mapping[str, Any]) -> str:
    """What is said of a sound chain."""
    if not verdict["records"]:
        return "Nothing is on record yet."
    last, today = day(verdict["last"]), f"{current().clock().astimezone():%Y-%m-%d}"
    return (
        f"{counted(verdict['records'])}, unbroken from {day(verdict['first'])} to {'now' if last == today else last}."
    )


def day(text: str | None) -> str:
    """The day of a moment, on this machine's clock."""
    then = moment(text) if text else None
    return f"{then.astimezone():%Y-%m-%d}" if then else "?"


def broken(shell: Console, reach: Reach, verdict: Mapping[str, Any]) -> NoReturn:
    """Fail over a chain that is not whole: the first bad record, how far it can be trusted, what to do."""
    remedies: list[Remedy] = []
    if (verdict["bad_id"] or "").isalnum():  # it may be anything now, and this is to be pasted into a shell
        with contextlib.suppress(MembrainError):  # nor need it be among the exchanges any more
            remedies.append(("Look", f"membrain audit show {reach.offline.audit_get(verdict['bad_id']).id[:SHORT]}"))
    since = f" --since {day(verdict['bad_time'])}" if verdict["bad_time"] else ""
    remedies.append(("Keep a copy", f"membrain audit export{since} > evidence.jsonl"))
    shell.fail(wrong(verdict), *remedies, code=Exit.CHAIN, detail=extent(reach, verdict))


def wrong(verdict: Mapping[str, Any]) -> str:
    """The first thing that is wrong, as a sentence; behind its number stand the record's exchange and time."""
    then = moment(verdict["bad_time"]) if verdict["bad_time"] else None
    facts = [verdict["bad_id"][:SHORT]] if verdict["bad_id"] else []
    facts += [f"{then.astimezone().day} {then.astimezone():%b %H:%M}"] if then else []
    number = f"ecord {verdict['bad']:,}"
    return str(verdict["reason"]).replace(number, f"{number} ({', '.join(facts)})" if facts else number, 1)


def extent(reach: Reach, verdict: Mapping[str, Any]) -> list[str]:
    """How much of the chain is sound, and how much is behind."""
    if verdict["bad"] <= verdict["records"]:
        return [f"The chain itself is whole, {counted(verdict['records'])}; lists and sums are wrong."]
    before, after = verdict["bad"] - 1, max(0, reach.offline.length() - verdict["bad"])
    told = f"{counted(before)} before it {'is' if before == 1 else 'are'} sound" if before else "Nothing before it"
    behind = f"; {after:,} after it cannot be vouched for" if after else ""
    return [f"{told}{behind}."]


def uncheckable(error: MembrainError) -> NoReturn:
    """Fail because nobody can tell."""
    raise CommandError(error.message, [("Check it", "membrain doctor")], UNCHECKABLE, (error.hint or "").splitlines())


# --- the head ------------------------------------------------------------------------------------------------


def tell_head(shell: Console, reach: Reach) -> None:
    """The head, signed, on one line."""
    try:
        found = reach.offline.head(reach.secrets)
    except UNTOLD as error:
        uncheckable(error)
    if found is None:
        shell.fail("Nothing is on record yet, so there is no head.", ("Ask something", "membrain chat"))
    if shell.json:
        shell.record(found)
        return
    shell.out(found["line"])
    shell.say(f"Record {found['seq']:,}. Keep this line where nobody can change it, and check against it:")
    shell.say(f"  {shell.style('membrain audit verify --head FILE', 'accent')}")


def tell_key(shell: Console, reach: Reach, confirm: str) -> None:
    """The chain's key, as hex on one line; asks first."""
    shell.say(f"{shell.glyph('look')} Whoever has this key can verify the chain elsewhere, and can also forge it.")
    confirmed(shell, "show", "show it", confirm)
    try:
        key = reach.offline.key(reach.secrets)
    except UNTOLD as error:
        uncheckable(error)
    shell.out(key.hex())


# --- what left -----------------------------------------------------------------------------------------------


def show_wire(shell: Console, reach: Reach, record: AuditRecord) -> None:
    """What left: to a program byte for byte, to a person laid out. From the disk, else the gateway's memory."""
    from membrain_cli.chat.session import nothing_left
    from membrain_cli.chat.tell import left_line, standing_out

    why = nothing_left(record)
    if why and not record.attempts:
        shell.fail(why, ("See it", f"membrain audit show {record.id[:SHORT]}"))
    body = left_of(shell, reach, record, why)
    digest = hashlib.sha256(body).hexdigest()
    if record.sent_sha256 is not None and digest != record.sent_sha256:
        shell.fail(
            "What is kept is not what left: its digest is not the one on record.",
            ("See what is wrong", "membrain audit verify"),
            code=Exit.CHAIN,
        )
    if shell.json:
        told = {"id": record.id, "sha256": digest, "bytes": len(body), "findings": record.findings}
        shell.record({**told, "masked": masked(record), "body": json.loads(body)})
    elif not shell.is_tty_out:
        put(shell, body)
    else:
        said = f"{why} It was given this, with the values themselves for placeholders:"
        shell.say(said if why else left_line(record))
        shell.out(standing_out(shell, json.dumps(json.loads(body), ensure_ascii=False, indent=2)))
        shell.say(shell.style(f"{len(body):,} bytes   sha256 {digest}", "dim"))


def left_of(shell: Console, reach: Reach, record: AuditRecord, why: str) -> bytes:
    """The bytes that left, or that a model here was given (*why* says so); fails where they are not kept."""
    kept = reach.kept(record.id)
    if kept is not None:
        return kept
    if reach.running is None and why:
        said = f"{why} What it was given is in the memory of a running gateway only."
        shell.fail(said, ("See the rest", f"membrain audit show {record.id[:SHORT]}"), code=Exit.DOWN)
    if reach.running is None:
        said = "What left is not kept on the disk, and the gateway, which remembers the last of it, is not running."
        shell.fail(said, *keeping(shell), code=Exit.DOWN)
    try:
        return reach.sent(record.id)
    except NotFound as error:
        shell.fail(error.message, *keeping(shell))


def keeping(shell: Console) -> list[Remedy]:
    """What keeps the bytes from now on, or for longer."""
    from membrain.config import load

    kept = load(shell.environ).audit
    if kept.content == "masked":
        return [(f"Kept for {kept.keep_days} days; for longer", "membrain config set audit.keep_days 365")]
    return [("Keep it from now on", "membrain config set audit.content masked")]


def put(shell: Console, body: bytes) -> None:
    """Write *body* to stdout, byte for byte."""
    binary = getattr(shell.stdout, "buffer", None)
    if binary is None:
        shell.pass_on(body.decode())
    else:
        binary.write(body)
        binary.flush()


MASKING = ("redact", "confirm")
"""What is on record of a value that leaves as its placeholder."""


def masked(record: AuditRecord) -> int | None:
    """How many values were masked; None where others were let through, as the record has one number for all."""
    kinds = {finding.action in MASKING for finding in record.findings if finding.place != "answer"}
    return None if len(kinds) > 1 else 0 if kinds == {False} else record.pii_findings_count


# --- erasing -------------------------------------------------------------------------------------------------


class Removal(NamedTuple):
    """What is to go: which exchanges, in words and as questions, what must be typed first, and who does it."""

    what: str
    queries: Sequence[Mapping[str, str]]
    word: str
    act: Callable[[Secrets | None, Mapping[str, str]], int]


def erase(
    shell: Console, reach: Reach, query: Mapping[str, str], ids: Sequence[str], confirm: str, *, dry_run: bool
) -> None:
    """Remove what is on record of the exchanges that *query* finds, or of those with these ids; asks first."""
    if bool(query) == bool(ids):
        said = "Give ids, or say whose; not both." if ids else "Say whose exchanges are meant, or give their ids."
        shell.fail(said, ("How it goes", "membrain audit erase --help"), code=Exit.USAGE)
    what = ", ".join(f"{name} {text}" for name, text in query.items())
    whole = dict.fromkeys(reach.offline.audit_get(id).id for id in ids)
    meant = Removal(
        what=f"of {what}" if what else "",
        queries=[{"id": id} for id in whole] or [query],
        word=next(iter(query.values()), "erase"),
        act=reach.offline.erase,
    )
    remove(shell, reach, meant, confirm, dry_run=dry_run)


def prune(shell: Console, reach: Reach, before: str, confirm: str, *, dry_run: bool) -> None:
    """Remove what is on record of all exchanges before a moment; asks first."""
    meant = Removal(
        what=f"before {day(before)}",
        queries=[{"until": before}],
        word="prune",
        act=lambda secrets, query: reach.offline.prune(secrets, query["until"]),
    )
    remove(shell, reach, meant, confirm, dry_run=dry_run)


def remove(shell: Console, reach: Reach, meant: Removal, confirm: str, *, dry_run: bool) -> None:
    """Count what is meant, ask, remove it, and say what was done."""
    count = sum(reach.offline.count(query) for query in meant.queries)
    if dry_run or not count:
        tell_count(shell, count, meant.what)
        return
    shell.say(f"{exchanges(count, meant.what)} would be erased for good.")
    confirmed(shell, meant.word, "erase them", confirm)
    done = sum(meant.act(reach.secrets, query) for query in meant.queries)
    if shell.json:
        shell.record({"exchanges": done, "erased": True})
    shell.say(f"{shell.glyph('fine')} {exchanges(done, meant.what)} erased.  Check:  membrain audit verify")


def tell_count(shell: Console, count: int, what: str) -> None:
    """How many exchanges would go."""
    if shell.json:
        shell.record({"exchanges": count, "erased": False})
    else:
        shell.out(f"{exchanges(count, what)} would be erased.")


def exchanges(number: int, what: str) -> str:
    """So many exchanges, and which."""
    return f"{number:,} exchange{'' if number == 1 else 's'} {what}".rstrip()


def confirmed(shell: Console, word: str, what: str, given: str) -> None:
    """Go on only if *word* was given, or is typed now."""
    flag = f"--confirm={word}"
    if not given:
        if shell.no_input or not shell.is_tty_in:
            why = "--no-input was given" if shell.no_input else "there is no terminal to ask on"
            shell.fail(f"This needs an answer, and {why}. Say it with {flag}.", code=Exit.USAGE)
        shell.complain(f'Type "{word}" to {what}:')
        given = shell.stdin.readline().strip()
    if given != word:
        shell.fail(f'Nothing was done: that was not "{word}".', ("Say it", f"… {flag}"), code=Exit.USAGE)
