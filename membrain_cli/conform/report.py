"""What a run came to, told as it goes: lines below their group for a person, cells for a pipe, records as `--json`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from membrain_cli.conform.suite import Row, State
from membrain_cli.console import Console, Exit, columns_of
from membrain_cli.console import field as cell
from membrain_cli.listing import wrapped

COLUMNS = tuple(cell(name, name) for name in ("group", "check", "state", "title", "instead"))
"""What a pipe gets of a row."""
INDENT = " " * 9


@dataclass
class Report:
    """Tells each row as it comes, and the sum at the end."""

    shell: Console
    counts: Counter[State] = field(default_factory=Counter)
    _group: str = ""

    def add(self, row: Row) -> None:
        """One row."""
        self.counts[row.state] += 1
        if self.shell.json or not self.shell.is_tty_out:
            self.shell.table(COLUMNS, [row.to_dict()])
        else:
            self._show(row)

    def _show(self, row: Row) -> None:
        shell = self.shell
        if row.group != self._group:
            shell.out(shell.style(row.group, "bold"))
            self._group = row.group
        states = {
            "ok": shell.style("ok  ", "good"),
            "FAIL": shell.style("FAIL", "bad"),
            "n.a.": shell.style("n.a.", "dim"),
        }
        shell.out(f"  {states[row.state]}   {row.title}")
        if row.state == "FAIL":
            for line in wrapped([f"{row.why}."], shell.width, INDENT):
                shell.out(shell.style(line, "dim"))
        if row.instead:
            shell.out(f"{INDENT}{_clipped(row.instead, shell.width - len(INDENT))}")

    def close(self) -> Exit:
        """Say the sum, and give the exit status."""
        told = [f"{self.counts[state]} {words}" for state, words in WORDS if self.counts[state]]
        self.shell.say(f"{', '.join(told)}.")
        return Exit.FAILED if self.counts["FAIL"] else Exit.OK


WORDS: tuple[tuple[State, str], ...] = (("ok", "ok"), ("FAIL", "failed"), ("n.a.", "not applicable"))


def _clipped(text: str, width: int) -> str:
    """*text* on one line of the terminal; a pipe and `--json` have all of it."""
    return text if columns_of(text) <= width else f"{text[: max(0, width - 4)]} ..."
