"""`top`: the live dashboard. It needs a terminal, and works whether or not the gateway runs yet.

Textual is imported when it is called, and not before.
"""

from __future__ import annotations

from dataclasses import asdict

from membrain_cli.console import Exit, current


def top() -> int:
    """Watch the gateway work: latency, spend, what was masked, and each exchange as it ends.

    Press ? for the keys, q to leave.
    """
    shell = current()
    if not (shell.is_tty_in and shell.is_tty_out) or shell.environ.get("TERM") == "dumb":
        shell.fail(
            "The dashboard needs a terminal that it can draw on.",
            ("Follow in a pipe", "membrain audit -f"),
            ("How it stands", "membrain status"),
            code=Exit.USAGE,
        )
    from membrain.config import load
    from membrain_cli.top.app import Top
    from membrain_cli.top.feed import Feed

    app = Top(shell, Feed(shell), asdict(load(shell.environ).tui.keys))
    app.run()
    if app.fault is not None:
        raise app.fault
    return app.return_code or Exit.OK
