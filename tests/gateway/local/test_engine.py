from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from membrain.errors import LocalModelNotInstalled, ProviderFailed, ShuttingDown
from membrain.local import engine as engine_module
from membrain.local import weights
from membrain.local.engine import Address, Engine

pytestmark = pytest.mark.anyio

HELLO = [{"role": "user", "content": "Say hello in five words."}]


class Spawned:
    """Makes real children, and remembers what was asked for. With *program* it starts that instead of the model."""

    def __init__(self, program: str = "") -> None:
        self.program = program
        self.argv: list[Sequence[str]] = []
        self.env: list[dict[str, str]] = []
        self.children: list[Process] = []
        self.called = asyncio.Event()

    async def __call__(self, argv: Sequence[str], env: dict[str, str]) -> Process:
        self.argv.append(argv)
        self.env.append(env)
        child = await asyncio.create_subprocess_exec(
            *([sys.executable, "-c", self.program] if self.program else argv),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=env,
            start_new_session=True,
        )
        self.children.append(child)
        self.called.set()
        return child


@asynccontextmanager
async def opened(models_dir: Path, spawn: Spawned, **more: Any) -> AsyncIterator[Engine]:
    engine = Engine(models_dir, spawn=spawn, **{"context": 512, **more})
    try:
        yield engine
    finally:
        await engine.close()


async def hello(address: Address) -> str:
    """What the model answers there."""
    headers = {"authorization": f"Bearer {address.api_key}"}
    async with httpx.AsyncClient(headers=headers, timeout=30, trust_env=False) as client:
        body = {"messages": HELLO, "max_tokens": 16}
        answer = await client.post(f"{address.base_url}/v1/chat/completions", json=body)
    return str(answer.raise_for_status().json()["choices"][0]["message"]["content"])


def is_alive(pid: int) -> bool:
    """Whether *pid* runs; one that ended and was not yet collected does not."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return bool(shown.stdout.strip()) and not shown.stdout.startswith("Z")


async def gone(pid: int) -> None:
    """Wait until *pid* has ended: whoever is killed takes a moment. Fails after two seconds."""
    async with asyncio.timeout(2):
        while is_alive(pid):  # noqa: ASYNC110  # another process tells no event
            await asyncio.sleep(0.01)


async def test_twenty_first_questions_start_one_child(model_dir: Path) -> None:
    spawn = Spawned()
    async with opened(model_dir, spawn) as engine:
        addresses = await asyncio.gather(*(engine.address() for _ in range(20)))
        assert len(spawn.children) == 1
        assert len(set(addresses)) == 1
        assert "hello" in (await hello(addresses[0])).lower()
        assert await engine.address() == addresses[0]


async def test_a_crash_is_followed_by_a_new_child(model_dir: Path) -> None:
    spawn = Spawned()
    async with opened(model_dir, spawn) as engine:
        first = await engine.address()
        spawn.children[0].kill()
        await spawn.children[0].wait()
        second = await engine.address()
        assert second.api_key != first.api_key
        assert len(spawn.children) == 2
        assert await hello(second)


async def test_a_child_that_keeps_dying_is_given_a_rest(model_dir: Path) -> None:
    spawn = Spawned("raise SystemExit(3)")
    async with opened(model_dir, spawn) as engine:
        for _ in range(engine_module.STARTS):
            with pytest.raises(ProviderFailed, match=r"ended as it started \(3\)"):
                await engine.address()
        with pytest.raises(ProviderFailed, match="keeps stopping") as refused:
            await engine.address()
    assert len(spawn.children) == engine_module.STARTS
    assert refused.value.code == "local_model_failed"
    assert refused.value.status == 503
    assert 0 < int(refused.value.headers["retry-after"]) <= engine_module.WINDOW_SECONDS


async def test_after_the_rest_it_is_tried_again(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "WINDOW_SECONDS", 0.0)
    spawn = Spawned("raise SystemExit(3)")
    async with opened(model_dir, spawn) as engine:
        for _ in range(engine_module.STARTS + 1):
            with pytest.raises(ProviderFailed, match="ended as it started"):
                await engine.address()


@pytest.mark.parametrize("said", ["no JSON", "{}", "[]", '{"port": "none"}'])
async def test_a_child_that_says_nonsense_is_ended(model_dir: Path, said: str) -> None:
    spawn = Spawned(f"print({said!r}, flush=True); input(); input()")
    async with opened(model_dir, spawn) as engine:
        with pytest.raises(ProviderFailed, match="did not start"):
            await engine.address()
        assert spawn.children[0].returncode is not None


async def test_a_child_that_says_nothing_is_ended(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "START_SECONDS", 0.3)
    spawn = Spawned("import time; time.sleep(60)")
    async with opened(model_dir, spawn) as engine:
        with pytest.raises(ProviderFailed, match="TimeoutError"):
            await engine.address()
        assert spawn.children[0].returncode is not None


async def test_a_caller_that_leaves_does_not_stop_the_start_for_others(model_dir: Path) -> None:
    spawn = Spawned()
    async with opened(model_dir, spawn) as engine:
        leaver = asyncio.create_task(engine.address())
        stayer = asyncio.create_task(engine.address())
        await asyncio.sleep(0.05)
        leaver.cancel()
        assert await hello(await stayer)
        assert len(spawn.children) == 1


async def test_when_all_callers_leave_a_failure_is_nobodys(model_dir: Path) -> None:
    """Nothing is left to be complained about when the task is collected (warnings are errors here)."""
    spawn = Spawned("import time; time.sleep(0.1); raise SystemExit(1)")
    async with opened(model_dir, spawn) as engine:
        leaver = asyncio.create_task(engine.address())
        await asyncio.sleep(0.05)
        leaver.cancel()
        with suppress(asyncio.CancelledError):
            await leaver
        await asyncio.sleep(0.5)
        with pytest.raises(ProviderFailed):
            await engine.address()
        assert len(spawn.children) == 2


async def test_closing_ends_the_child_and_starts_none_again(model_dir: Path) -> None:
    spawn = Spawned()
    engine = Engine(model_dir, spawn=spawn, context=512)
    await engine.address()
    began = time.monotonic()
    await engine.close()
    assert time.monotonic() - began < 1
    assert spawn.children[0].returncode == -signal.SIGTERM
    with pytest.raises(ShuttingDown):
        await engine.address()
    await engine.close()


async def test_closing_while_it_starts_ends_the_child(model_dir: Path) -> None:
    spawn = Spawned()
    engine = Engine(model_dir, spawn=spawn, context=512)
    asking = asyncio.create_task(engine.address())
    await spawn.called.wait()
    await engine.close()
    assert spawn.children[0].returncode is not None
    with pytest.raises(ShuttingDown):
        await asking


async def test_a_child_that_does_not_want_to_go_is_killed_with_its_own_children(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(engine_module, "STOP_SECONDS", 0.3)
    pid_file = tmp_path / "pid"
    spawn = Spawned(
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        f"open({str(pid_file)!r}, 'w').write(str(child.pid)); print('{{\"port\": 1}}', flush=True); time.sleep(60)"
    )
    engine = Engine(model_dir, spawn=spawn)
    await engine.address()
    async with asyncio.timeout(5):  # the grandchild would hold stdout open for a minute
        await engine.close()
    assert spawn.children[0].returncode == -signal.SIGKILL
    await gone(int(pid_file.read_text()))


async def test_what_is_missing_is_named_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spawn = Spawned()
    async with opened(tmp_path, spawn) as engine:
        assert not engine.installed
        with pytest.raises(LocalModelNotInstalled) as refused:
            await engine.address()
        assert refused.value.hint == "Run: membrain local install"
        monkeypatch.setitem(sys.modules, "xllamacpp", None)
        with pytest.raises(LocalModelNotInstalled) as refused:
            await engine.address()
        assert refused.value.hint == "Run: pip install 'membrain[local]' && membrain local install"
    assert (refused.value.status, refused.value.code) == (503, "local_model_not_installed")
    assert not spawn.children


async def test_weights_installed_later_are_found(tmp_path: Path, model_dir: Path) -> None:
    spawn = Spawned()
    async with opened(tmp_path, spawn) as engine:
        with pytest.raises(LocalModelNotInstalled):
            await engine.address()
        shutil.copy2(model_dir / weights.DEFAULT.file, tmp_path)
        assert engine.installed
        assert await hello(await engine.address())


async def test_altered_weights_are_not_run(tmp_path: Path) -> None:
    spawn = Spawned()
    with (tmp_path / weights.DEFAULT.file).open("wb") as file:
        file.truncate(weights.DEFAULT.size)
    async with opened(tmp_path, spawn) as engine:
        assert engine.installed
        with pytest.raises(LocalModelNotInstalled, match="not the one it should be"):
            await engine.address()
    assert not spawn.children


async def test_the_loop_goes_on_while_the_weights_are_hashed(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = weights.verified

    def slowly(folder: Path) -> Path:
        time.sleep(0.5)
        return genuine(folder)

    monkeypatch.setattr(weights, "verified", slowly)
    ticks = 0
    async with opened(model_dir, Spawned()) as engine:
        asking = asyncio.create_task(engine.address())
        limit = time.monotonic() + 0.5
        while time.monotonic() < limit:
            await asyncio.sleep(0.005)
            ticks += 1
        await asking
    assert ticks > 10


async def test_the_child_gets_no_key_of_a_provider(model_dir: Path) -> None:
    environ = {**os.environ, "OPENAI_API_KEY": "canary-sk", "MEMBRAIN_X": "canary", "HF_TOKEN": "canary", "LC_ALL": "C"}
    spawn = Spawned()
    async with opened(model_dir, spawn, environ=environ) as engine:
        address = await engine.address()
    assert "canary" not in str(spawn.env[0])
    assert spawn.env[0]["LC_ALL"] == "C"
    assert spawn.env[0]["OMP_WAIT_POLICY"] == "PASSIVE"
    assert address.api_key not in f"{spawn.argv}{spawn.env}{address!r}"


async def test_a_module_in_the_working_folder_is_not_run(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "xllamacpp.py").write_text("open('was-run', 'w')")
    monkeypatch.chdir(tmp_path)
    async with opened(model_dir, Spawned()) as engine:
        await engine.address()
    assert not (tmp_path / "was-run").exists()


def test_looking_whether_it_is_installed_loads_nothing(model_dir: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from membrain.local.engine import Engine;"
        f"assert Engine(Path({str(model_dir)!r}), spawn=None).installed; assert 'xllamacpp' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


PARENT = """
import asyncio, sys
from pathlib import Path
from membrain.local.engine import Engine

async def spawn(argv, env):
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, env=env, start_new_session=True)
    print(child.pid, flush=True)
    return child

async def main():
    engine = Engine(Path(sys.argv[1]), spawn=spawn, context=512)
    await engine.address()
    print("ready", flush=True)
    await asyncio.sleep(60)

if sys.argv[2] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("moment", ["ready", "starting"])
def test_a_parent_that_is_killed_leaves_no_orphan(model_dir: Path, loop: str, moment: str) -> None:
    """Ready: gone within a second. While it loads, llama.cpp listens to nobody; it goes when it has loaded."""
    argv = [sys.executable, "-c", PARENT, str(model_dir), loop]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        if moment == "ready":
            assert parent.stdout.readline() == "ready\n"
        assert is_alive(pid)
        parent.kill()
        parent.wait()
        limit = time.monotonic() + (1 if moment == "ready" else 10)
        while is_alive(pid):
            assert time.monotonic() < limit
            time.sleep(0.02)
