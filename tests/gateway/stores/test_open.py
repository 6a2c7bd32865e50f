"""Which store answers for which address, and what asking for one costs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from membrain.errors import Misconfigured, NotFound
from membrain.stores.open import open_keys, open_reader, open_stores
from tests.gateway.stores.made import KEY, a_key, ask_child


@pytest.mark.parametrize("shape", ["{}", "sqlite://{}"])
def test_a_path_and_its_address_mean_the_same_file(tmp_path: Path, shape: str) -> None:
    path = tmp_path / "a folder #1%20?" / "audit.db"
    address = shape.format(str(path).replace("%", "%25").replace("?", "%3F").replace("#", "%23"))
    open_keys(address if "://" in shape else path).add(a_key())
    assert path.exists()


@pytest.mark.parametrize(
    "address", ["postgresql://localhost/audit", "sqlite://", "sqlite:///", "sqlite://host/audit.db", "redis://x"]
)
def test_an_address_that_nobody_answers_for_is_refused(address: str) -> None:
    for opener in (open_reader, open_keys, lambda url: open_stores(url, instance="i", key=KEY)):
        with pytest.raises(Misconfigured, match="store's address"):
            opener(address)


def test_looking_makes_nothing(tmp_path: Path) -> None:
    reader = open_reader(tmp_path / "data" / "audit.db")
    for question in (reader.list, reader.totals, lambda: reader.get("7f")):
        with pytest.raises(NotFound, match="no audit yet"):
            question()
    assert open_keys(tmp_path / "data" / "audit.db").all() == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("opener", ["open_reader", "open_keys"])
def test_the_command_lines_way_loads_no_event_loop(tmp_path: Path, opener: str) -> None:
    loaded = ask_child(
        "import json, membrain.stores.open as door\n"
        f"door.{opener}(sys.argv[1])\n"
        "print(json.dumps([name for name in ('asyncio', 'msgspec', 'threading') if name in sys.modules]))",
        tmp_path / "audit.db",
    )
    assert "asyncio" not in loaded
    assert "msgspec" not in loaded


def test_stores_open_in_their_folder_and_close_again(tmp_path: Path) -> None:
    stores = open_stores(tmp_path / "deep" / "down" / "audit.db", instance="i", key=KEY, durability="full")
    asyncio.run(stores.close())
    assert open_reader(tmp_path / "deep" / "down" / "audit.db").list() == []
