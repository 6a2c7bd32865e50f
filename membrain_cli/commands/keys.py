"""`keys`: what others gave us is set and removed; what we give is issued and revoked.

A provider's key is typed hidden or comes through stdin, never as an argument, and no key is shown again: only enough
of it to recognise it by. Where keys are kept is the business of `membrain.secrets`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import UTC
from typing import TYPE_CHECKING, Annotated, Any

import typer

from membrain.errors import MembrainError, Misconfigured
from membrain.records import Allowance, Rate, Rights
from membrain_cli import rights as typed
from membrain_cli.commands import family
from membrain_cli.console import (
    Column,
    CommandError,
    Console,
    Exit,
    columns_of,
    current,
    meant,
    money,
    padded,
    span,
    uptime,
)
from membrain_cli.listing import wrapped
from membrain_cli.reach import Reach
from membrain_cli.rights import over, told

if TYPE_CHECKING:
    from membrain.config import Settings
    from membrain.records import ClientKey
    from membrain.secrets import Secrets

keys = family("Provider keys in, client keys out.")

KEY_BYTES = 16_384
"""The most that is read of a key from stdin."""
WRONG_KEY = "provider_key_refused"
"""The error code that says that the key itself is wrong."""


def providers(incomplete: str) -> list[str]:
    """Providers that take a key, for the shell's completion."""
    with contextlib.suppress(Misconfigured):
        return [name for name in loaded(current()).key_names if name.startswith(incomplete)]
    return []


Provider = Annotated[str, typer.Argument(metavar="PROVIDER", show_default=False, autocompletion=providers)]
Words = Annotated[list[str] | None, typer.Argument(hidden=True, metavar="", show_default=False)]
FromStdin = Annotated[bool, typer.Option("--stdin", help="Read the key from stdin.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


# --- showing them --------------------------------------------------------------------------------------------


@keys.callback()
def overview(context: typer.Context) -> None:
    """Provider keys in, client keys out."""
    if context.invoked_subcommand is None:
        show(current())


@keys.command("list")
def list_keys() -> None:
    """Which keys there are; never the keys themselves."""
    show(current())


def show(shell: Console) -> None:
    """Both kinds: a page for a person, one table for a pipe, one object for `--json`."""
    settings, reach = loaded(shell), Reach(shell.environ)
    secrets = held(settings)
    given = [provider_row(secrets, name) for name in settings.key_names]
    client_keys = [key for key in reach.client_keys() if key.revoked is None]
    issued = [issued_row(key) for key in client_keys]
    if shell.json:
        shell.record({"provider_keys": given, "client_keys": issued, "kept_in": secrets.kept_in()})
    elif not shell.is_tty_out:
        shell.table(PIPED, [*given, *issued])
    else:
        show_provider_keys(shell, given, secrets.kept_in(), provider_notes(reach))
        show_client_keys(shell, client_keys, settings, reach)


def provider_row(secrets: Secrets, name: str) -> dict[str, Any]:
    """A provider's key as it is shown."""
    found = secrets.find(name)
    return {
        "kind": "provider",
        "name": name,
        "key": found.secret.hint if found.secret else None,
        "where": found.where,
        "reason": found.reason,
    }


def issued_row(key: ClientKey) -> dict[str, Any]:
    """A client key as it is shown."""
    known = {name: value for name, value in key.to_dict().items() if name not in {"digest", "revoked"}}
    return {"kind": "client", **known, "expired": over(key.rights, current().clock()), "key": hint(key)}


def ends(row: Mapping[str, Any]) -> str:
    """When a client key's time is over, as a program reads it."""
    return str(row.get("rights", {}).get("expires") or "")


PIPED = (
    *(
        Column(name, lambda row, name=name: str(row.get(name) or ""), lambda row, name=name: row.get(name))  # type: ignore[misc]  # a lambda's default
        for name in ("kind", "name", "key", "where", "id", "project", "created", "last_used")
    ),
    Column("expires", ends, ends),
)


def provider_notes(reach: Reach) -> dict[str, str]:
    """What the running gateway thinks of each provider: a sign and a word."""
    shell = current()
    states = reach.running.health.get("providers", []) if reach.running else []
    fine, broken = shell.glyph("fine"), shell.glyph("broken")
    return {
        each["name"]: f"{fine} works" if each["up"] else f"{broken} {each['note'] or 'not there'}" for each in states
    }


def beside(shell: Console, left: str, words: str) -> list[str]:
    """*words* in their column behind *left*, or below it where there is no room."""
    line = f"{padded(left, 43)}{words}"
    return [line] if columns_of(line) <= shell.width else [left, f"    {words}"]


def show_provider_keys(shell: Console, rows: list[dict[str, Any]], kept_in: str, notes: Mapping[str, str]) -> None:
    """The page's upper half."""
    for line in beside(shell, "Provider keys", shell.style(f"kept in {kept_in}", "dim")):
        shell.out(line)
    for row in rows:
        name = padded(row["name"], 12)
        if row["key"] is None:
            command = shell.style(f"membrain keys set {row['name']}", "accent")
            shell.out(f"  {name} {padded(row['reason'] or 'not set', 28)} {command}")
        else:
            where = "" if row["where"] in {"keyring", "file"} else f"from the {row['where']}"
            shell.out(f"  {name} {padded(row['key'], 12)} {padded(where, 15)} {notes.get(row['name'], '')}".rstrip())


MACHINE_KEY = "made by `membrain up`; used by env, run and chat"


def show_client_keys(shell: Console, rows: list[ClientKey], settings: Settings, reach: Reach) -> None:
    """The page's lower half."""
    rules = {
        "local": "programs of yours on this machine need none",
        "token": "a token is required, also on this machine",
        "off": "nobody is asked for one",
    }
    shell.out()
    for line in beside(shell, "Client keys", shell.style(rules[settings.effective_auth_mode], "dim")):
        shell.out(line)
    if not rows:
        shell.out(f"  {shell.style('none yet; the first start of the gateway makes one', 'dim')}")
    for row in rows:
        if row.name == THIS_MACHINE:
            for line in beside(shell, f"  {hint(row)}   {THIS_MACHINE}", MACHINE_KEY):
                shell.out(line)
            continue
        used = f"last used {shell.ago(row.last_used)}" if row.last_used else "never used"
        shell.out(f"  {hint(row)}   {padded(row.name, 8)} project {padded(row.project, 8)} {used}{spent(row, reach)}")
        between = " · " if shell.unicode else " - "
        for line in wrapped(told(row.rights, shell.clock()), shell.width, " " * 18, between=between):
            shell.out(shell.style(line, "warn" if over(row.rights, shell.clock()) else "dim"))


def hint(key: ClientKey) -> str:
    """Enough of a client key to recognise it by."""
    return f"ck_live_…{key.tail}"


def spent(key: ClientKey, reach: Reach) -> str:
    """What a key has cost today, as the end of its line; days are those of UTC, as budgets count them."""
    today = f"{current().clock().astimezone(UTC):%Y-%m-%d}"
    if key.last_used is None or key.last_used[:10] < today:
        return ""
    cost = reach.usage(f"{today}T00:00:00Z", key.id)["cost_micros"]
    return f"     {money(cost)} today" if cost else ""


THIS_MACHINE = "this machine"
"""Name of the key that this machine's own commands send."""


# --- what others gave us -------------------------------------------------------------------------------------


@keys.command("set")
def set_key(provider: Provider, value: Words = None, stdin: FromStdin = False) -> None:
    """Keep a provider's key, and try it."""
    shell = current()
    settings = loaded(shell)
    if value:
        shell.fail(
            "A key on the command line stays in your shell history. I did not read it.",
            ("Type it hidden", f"membrain keys set {provider if provider in settings.key_names else 'PROVIDER'}"),
            ("From a program", f"… | membrain keys set {known(provider, settings)} --stdin"),
            code=Exit.USAGE,
        )
    name, secrets = named(shell, provider, settings), held(settings)
    if stdin:
        text = shell.stdin.read(KEY_BYTES).strip()
    else:
        text = shell.secret(f"Paste the key for {name} (hidden):", "--stdin")
    if not text:
        shell.fail("No key was given.", ("From a program", f"… | membrain keys set {name} --stdin"), code=Exit.USAGE)
    secrets.set(name, text)
    tell_set(shell, name, secrets)


def known(provider: str, settings: Settings) -> str:
    """*provider*, if it is one; what was typed may be a key, so it is never repeated."""
    return provider if provider in settings.key_names else "PROVIDER"


def named(shell: Console, provider: str, settings: Settings) -> str:
    """The provider of that name; fails without repeating what was typed."""
    if provider not in settings.key_names:
        shell.fail(
            f"That is no provider that takes a key. These do: {', '.join(settings.key_names)}."
            f"{meant(provider, settings.key_names)}",
            ("One of your own", "membrain config set providers.NAME.url URL"),
            code=Exit.USAGE,
        )
    return provider


def tell_set(shell: Console, name: str, secrets: Secrets) -> None:
    """Hand the new key to the running gateway, try it, and say how it went."""
    reach = Reach(shell.environ)
    running = reach.reload()
    tried = reach.test(name)
    if shell.json:
        shell.record({**tried, "kept_in": secrets.kept_in(), "running_gateway_has_it": running})
    now = "  The running gateway has it now." if running else ""
    if tried["ok"]:
        shell.say(f"{shell.glyph('fine')} {name} works ({span(tried['ms'])}), kept in {secrets.kept_in()}.{now}")
    else:
        shell.say(f"{shell.glyph('look')} The key for {name} is kept in {secrets.kept_in()}.{now}")
        refuse_untried(shell, name, tried)
    if secrets.where(name) == "environment":
        from membrain.secrets import variable

        shell.say(f"{shell.glyph('look')} {variable(name)} is set in this shell and goes before it.")


def is_wrong(tried: Mapping[str, Any]) -> bool:
    """Whether the provider itself refused the key."""
    return tried.get("error") == WRONG_KEY


def refuse_untried(shell: Console, name: str, tried: Mapping[str, Any]) -> None:
    """Fail over a key that did not pass: it may be wrong, or nobody could say."""
    if is_wrong(tried):
        shell.fail(f"{name} refused it.", ("Set another", f"membrain keys set {name}"), code=Exit.KEY)
    why = tried.get("message") or tried.get("error") or "no answer"
    shell.fail(f"It could not be tried: {why}", ("Try it again", f"membrain keys test {name}"), code=Exit.UPSTREAM)


@keys.command("rm")
def remove_key(provider: Provider, yes: Yes = False) -> None:
    """Forget a provider's key."""
    shell = current()
    settings = loaded(shell)
    name, secrets = named(shell, provider, settings), held(settings)
    if not yes and not shell.ask(f"Remove the key for {name}?", flag="--yes"):
        shell.say("Nothing was removed.")
        raise typer.Exit(Exit.FAILED)
    removed = secrets.remove(name)
    if removed:
        Reach(shell.environ).reload()
    if shell.json:
        shell.record({"name": name, "removed": removed})
    elif removed:
        shell.say(f"{shell.glyph('fine')} Removed.  Set it again:  membrain keys set {name}")
    else:
        shell.say(f"{shell.glyph('none')} No key for {name} was kept.")


@keys.command("test")
def try_keys(provider: Annotated[str, typer.Argument(metavar="[PROVIDER]", autocompletion=providers)] = "") -> Exit:
    """Ask providers whether their keys work; without a name, all."""
    shell = current()
    settings, reach = loaded(shell), Reach(shell.environ)
    secrets = held(settings)
    wanted = [named(shell, provider, settings)] if provider else [n for n in settings.key_names if secrets.get(n)]
    if not wanted:
        shell.fail("No provider has a key yet.", ("Set one", "membrain keys set openai"), code=Exit.KEY)
    tried = [tested(reach, name) for name in wanted]
    shell.table(TESTED, tried, header=False)
    wrong = any(is_wrong(each) or each["error"] in {"provider_not_configured", "not_found"} for each in tried)
    failed = Exit.KEY if wrong else Exit.UPSTREAM
    return Exit.OK if all(each["ok"] for each in tried) else failed


def tested(reach: Reach, name: str) -> dict[str, Any]:
    """The outcome of a test, also where there is nobody to test."""
    try:
        return reach.test(name)
    except MembrainError as error:
        return {"name": name, "ok": False, "ms": None, "error": error.code, "message": error.message}


def verdict(row: Mapping[str, Any]) -> str:
    """How a test went, for a person."""
    return f"key works, {span(row['ms'])}" if row["ok"] else str(row["message"] or row["error"])


TESTED = (
    Column("", lambda row: current().glyph("fine" if row["ok"] else "broken"), lambda row: row["ok"]),
    Column("", lambda row: row["name"], lambda row: row["name"]),
    Column("", verdict, lambda row: row["ms"] if row["ok"] else row["error"]),
)


# --- what we give --------------------------------------------------------------------------------------------


def one(metavar: str, words: str, **more: Any) -> Any:
    """An option that may be left out."""
    return typer.Option(metavar=metavar, help=words, show_default=False, **more)


def several(metavar: str, words: str) -> Any:
    """Likewise, and it may be said several times."""
    return one(metavar, f"{words} May be repeated.")


@keys.command()
def issue(  # noqa: PLR0913  # one parameter for each flag
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    *,
    project: Annotated[str, typer.Option(metavar="NAME", help="What its exchanges are counted under.")] = "default",
    scope: Annotated[list[str] | None, several("SCOPE", "ask (models), read (its project's audit), admin.")] = None,
    expires: Annotated[str | None, one("WHEN", "Refused after that: 30d, or the last day, 2027-01-31.")] = None,
    model: Annotated[list[str] | None, several("NAME", "It may ask only this, like 'gpt-4o*'.")] = None,
    budget_day: Annotated[str | None, one("DOLLARS", "What it may spend in a day (UTC).")] = None,
    budget_month: Annotated[str | None, one("DOLLARS", "In a month.")] = None,
    budget_total: Annotated[str | None, one("DOLLARS", "In all.")] = None,
    rpm: Annotated[int | None, one("N", "Requests a minute.", min=1)] = None,
    tpm: Annotated[int | None, one("N", "Tokens a minute.", min=1)] = None,
    tier: Annotated[str | None, one("TIER", "fast, balanced or best, where a request does not say.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Only models on this machine.")] = False,
) -> None:
    """Make a client key for a tool; shown this once."""
    shell = current()
    rights = Rights(
        scopes=typed.scopes(scope),
        expires=typed.until(expires),
        models=tuple(model or ()),
        budget=Allowance(
            day=typed.dollars(budget_day, "--budget-day"),
            month=typed.dollars(budget_month, "--budget-month"),
            total=typed.dollars(budget_total, "--budget-total"),
        ),
        rate=Rate(rpm, tpm),
        tier=typed.tier(tier),
        private=private,
    )
    key, row = Reach(shell.environ).issue(name, project, rights)
    hand_over(shell, key, row, f"Issued to {row.name}. It will not be shown again.")


@keys.command()
def rotate(
    which: Annotated[str, typer.Argument(metavar="NAME|ID", show_default=False)],
    grace: Annotated[str | None, one("TIME", "How long the old one still holds, like 10m.")] = None,
) -> None:
    """Give a client key another string, with the same name, project and limits; shown this once."""
    shell = current()
    seconds = typed.grace(grace)
    key, row = Reach(shell.environ).rotate(which, seconds)
    old = f"The old one holds for {uptime(seconds)} more." if seconds else "The old one is refused from now on."
    hand_over(shell, key, row, f"This is {row.name}'s new key. It will not be shown again. {old}")


def hand_over(shell: Console, key: str, row: ClientKey, words: str) -> None:
    """The key alone on stdout, so that a program can take it; *words* for the person."""
    if shell.json:
        shell.record({**issued_row(row), "key": key})
        return
    shell.out(key)
    shell.say(words)


@keys.command()
def revoke(
    which: Annotated[str, typer.Argument(metavar="NAME|ID", show_default=False)],
    yes: Yes = False,
) -> None:
    """Refuse a client key from now on."""
    shell = current()
    reach = Reach(shell.environ)
    found = next((key for key in reach.client_keys() if which in {key.id, key.name} and key.revoked is None), None)
    if found is None:
        shell.fail("There is no such client key.", ("See them", "membrain keys"))
    used = f"last used {shell.ago(found.last_used)}" if found.last_used else "never used"
    if not yes and not shell.ask(f"Revoke ck_live_…{found.tail} ({found.name}, {used})?", flag="--yes"):
        shell.say("Nothing was revoked.")
        raise typer.Exit(Exit.FAILED)
    row = reach.revoke(found.id)
    if shell.json:
        shell.record(issued_row(row))
    else:
        shell.say(f"{shell.glyph('fine')} Revoked. Requests with it are refused from now on.")


# --- shared --------------------------------------------------------------------------------------------------


def loaded(shell: Console) -> Settings:
    """The settings of this environment."""
    from membrain.config import load

    return load(shell.environ)


def held(settings: Settings) -> Secrets:
    """Where this instance's provider keys are."""
    if settings.keys is None:
        said = "These settings come without a place for keys."
        raise CommandError(said, [("Check it", "membrain doctor")], Exit.FAILED)
    return settings.keys
