"""One file for each command or family of commands; none imports another. `main` lists them, and loads one.

Here is only what they share: how their help is set, and how a mistyped name is answered with the nearest one.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import CommandFunctionType

from membrain_cli.console import Exit, current

if TYPE_CHECKING:
    # Typer carries its own copy of click under a private name; only the checker needs to see it.
    from typer._click import Command, Context, HelpFormatter


def nearest(word: str, known: list[str]) -> str:
    """The known names that *word* may have meant, as the end of a sentence; empty if none is near."""
    begun = [name for name in known if len(word) > 1 and name.startswith(word)]
    found = begun or get_close_matches(word, known, n=1)
    return f" Did you mean {' or '.join(found)}?" if found else ""


class PlainCommand(TyperCommand):
    """A command whose usage names its words without braces, and whose help lists only what needs explaining."""

    def collect_usage_pieces(self, ctx: Context) -> list[str]:
        """Options, then the words that are not hidden."""
        words = [word for param in self.params if is_word(param) for word in param.get_usage_pieces(ctx)]
        return [self.options_metavar or "", *(word.strip("{}") for word in words)]

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        """The options; words are explained by the usage and the sentence above."""
        options = [param for param in self.get_params(ctx) if param.param_type_name == "option"]
        with formatter.section("Options"):
            formatter.write_dl([row for param in options if (row := param.get_help_record(ctx))])


def is_word(param: Any) -> bool:
    """Whether *param* is a word of the command line that help should show."""
    return param.param_type_name == "argument" and not param.hidden


class Family(typer.Typer):
    """A Typer whose commands are all plain ones."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[[CommandFunctionType], CommandFunctionType]:
        """As Typer's, with our class of command."""
        return super().command(name, **{"cls": PlainCommand, **settings})


class Group(TyperGroup):
    """A family of commands that says which one was probably meant."""

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """Find the command that *args* begin with; an unknown name fails with the nearest ones."""
        name = args[0]
        if not (ctx.resilient_parsing or name.startswith("-") or self.get_command(ctx, name)):
            self.unknown(ctx, name)
        return super().resolve_command(ctx, args)

    def unknown(self, ctx: Context, name: str) -> None:
        """Fail over a name nobody here has."""
        guess = nearest(name, self.list_commands(ctx))
        remedies = () if guess else (("All of them", f"{ctx.command_path} --help"),)
        current().fail(f'No command "{name}".{guess}', *remedies, code=Exit.USAGE)


def family(words: str) -> Family:
    """A family of commands that does something by itself too; *words* say what it is for."""
    return Family(cls=Group, help=words, rich_markup_mode=None, add_completion=False, invoke_without_command=True)


def single(**settings: Any) -> Family:
    """A command that wants context settings of its own; the function below it is decorated with `.command`."""
    return Family(rich_markup_mode=None, add_completion=False, context_settings=settings)
