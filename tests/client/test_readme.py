"""The client's README runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.sink import Sink

README = Path(__file__).parents[2] / "client" / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("code", BLOCKS)
def test_the_block_runs(code: str, sink: Sink, capsys: pytest.CaptureFixture[str]) -> None:
    code = code.replace("Client()", f'Client("{sink.url}")').replace("http://localhost:8001", sink.url)
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102 - our own code
    sink.wait_for(1)
    assert "No gateway" not in capsys.readouterr().out


def test_there_are_blocks_to_run() -> None:
    assert len(BLOCKS) == 4
