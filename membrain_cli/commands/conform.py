"""`conform`: the fidelity suite against any gateway. The suite itself is in `membrain_cli.conform`.

The gateway's key comes through the environment, stdin or a hidden prompt, never as an argument.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from membrain_cli.commands import nearest
from membrain_cli.console import Console, Exit, current

if TYPE_CHECKING:
    from membrain_cli.conform.bench import Target
    from membrain_cli.conform.client import Address

KEY_VARIABLE = "MEMBRAIN_CONFORM_KEY"
KEY_BYTES = 16_384
"""The most that is read of a key from stdin."""
KEY_HEADERS = frozenset({"authorization", "proxy-authorization", "x-api-key", "api-key", "cookie"})
"""Headers that are said with `--key`."""
OPENAI_MODEL = "gpt-4o-mini"
ANTHROPIC_MODEL = "claude-sonnet-4-20250514"

NEEDS = (
    "The suite is the provider behind the gateway: it answers on 127.0.0.1:PORT, and what it sent and",
    "received is compared with what the client received and sent. Point the gateway at it first:",
    "OpenAI's dialects (chat, responses, completions, embeddings, models) at http://127.0.0.1:PORT/v1",
    "Anthropic's (messages, count_tokens, models) at http://127.0.0.1:PORT",
    f"Any provider key will do. {OPENAI_MODEL} and {ANTHROPIC_MODEL} must lead there, or name other models.",
)
"""What is said to who gives no `--upstream`."""


def groups(incomplete: str) -> list[str]:
    """Groups of checks, for the shell's completion."""
    from membrain_cli.conform.suite import GROUPS

    return [name for name in GROUPS if name.startswith(incomplete)]


def conform(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where the gateway is.", show_default=False)],
    upstream: Annotated[
        int, typer.Option("--upstream", metavar="PORT", help="Be the provider here.", show_default=False, max=65535)
    ] = 0,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="GROUP", help="These only; repeat it.", show_default=False, autocompletion=groups
        ),
    ] = None,
    key: Annotated[bool, typer.Option("--key", help=f"Read the gateway's key: ${KEY_VARIABLE}, or stdin.")] = False,
    header: Annotated[
        list[str] | None,
        typer.Option("--header", metavar="NAME:VALUE", help="Say it with each request; repeat it.", show_default=False),
    ] = None,
    model_openai: Annotated[str, typer.Option("--model-openai", metavar="NAME")] = OPENAI_MODEL,
    model_anthropic: Annotated[str, typer.Option("--model-anthropic", metavar="NAME")] = ANTHROPIC_MODEL,
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="For one answer.", min=0.1)] = 10.0,
) -> Exit:
    """Does a gateway hand on what it is given? Any gateway; a fake provider stands behind it.

    Exit status 1 if something arrives changed, 3 if the gateway or the provider cannot be reached.
    """
    from membrain_cli.conform.bench import Target

    shell = current()
    address = address_of(shell, url)
    if not upstream:
        shell.fail(
            "The suite needs to be the provider behind the gateway. Say on which port.",
            ("Be it on 9100", f"membrain conform {url} --upstream 9100"),
            code=Exit.USAGE,
            detail=NEEDS,
        )
    models = {"openai": model_openai, "anthropic": model_anthropic}
    headers = [header_of(shell, each) for each in header or ()]
    target = Target(address, models, key_of(shell, asked=key), headers, timeout)  # type: ignore[arg-type]  # its keys are the vendors
    return asyncio.run(compare(shell, target, upstream, known(shell, only or [])))


def address_of(shell: Console, url: str) -> Address:
    """Where the gateway is; fails if *url* says it badly."""
    from membrain_cli.conform.client import Address

    try:
        return Address.of(url)
    except ValueError:
        shell.fail("That is no address of a gateway: http://127.0.0.1:8001 would be one.", code=Exit.USAGE)


def header_of(shell: Console, text: str) -> tuple[str, str]:
    """A header of the command line; fails, without repeating it, if it is none."""
    name, colon, value = text.partition(":")
    name = name.strip().lower()
    if name in KEY_HEADERS:
        shell.fail(
            "A key on the command line stays in your shell history. I did not use it.",
            ("From the environment", f"{KEY_VARIABLE}=… membrain conform …"),
            code=Exit.USAGE,
        )
    if not colon or not name or not name.isascii() or not text.isprintable() or " " in name:
        shell.fail("A header is NAME:VALUE.", code=Exit.USAGE)
    return name, value.strip()


def key_of(shell: Console, *, asked: bool) -> str:
    """The gateway's key: from the environment, else typed hidden or from stdin if it was *asked* for; "" for none."""
    if found := shell.environ.get(KEY_VARIABLE, ""):
        return found.strip()
    if not asked:
        return ""
    text = (
        shell.secret("Paste the gateway's key (hidden):", "--key") if shell.is_tty_in else shell.stdin.read(KEY_BYTES)
    )
    if not text.strip().isprintable() or not text.strip():
        shell.fail("No key was given.", code=Exit.USAGE)
    return text.strip()


def known(shell: Console, only: list[str]) -> list[str]:
    """*only*; fails if nothing goes by one of these names."""
    from membrain_cli.conform.suite import GROUPS, planned

    for name in only:
        if not [*planned([name])]:
            shell.fail(f"No check goes by that name.{nearest(name, [*GROUPS])}", code=Exit.USAGE)
    return only


async def compare(shell: Console, target: Target, port: int, only: list[str]) -> Exit:
    """Be the provider on *port*, run the suite, and tell what it came to."""
    from membrain_cli.conform.bench import Bench
    from membrain_cli.conform.check import GATEWAY
    from membrain_cli.conform.report import Report
    from membrain_cli.conform.suite import planned, rows
    from membrain_cli.conform.upstream import PortTaken, Upstream

    report = Report(shell)
    try:
        async with Upstream(port, [*target.models.values()]) as provider:
            async for row in rows(Bench(target, provider), only):
                report.add(row)
    except PortTaken as error:
        shell.fail(f"{error} is taken, so the suite cannot be the provider there.", code=Exit.DOWN)
    except OSError:
        where = target.address.host_header
        shell.fail(f"Nobody answers at {where}.", ("Is it up", f"curl -i {where}/"), code=Exit.DOWN)
    if not provider.heard and any(group != GATEWAY for group, _ in planned(only)):
        shell.fail("The gateway never asked the fake provider.", code=Exit.DOWN, detail=NEEDS)
    return report.close()
