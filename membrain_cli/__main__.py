"""`python -m membrain_cli`: the same program as the `membrain` script."""

from membrain_cli.main import main

main()
