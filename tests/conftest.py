"""Fixtures that several rooms share."""

from __future__ import annotations

import gc
import multiprocessing.util
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import toy

if TYPE_CHECKING:
    from edgerec.config import Config
    from edgerec.examples.load import LearningData

os.environ.setdefault("EDGEREC_CACHE", tempfile.mkdtemp(prefix="edgerec-cache-"))  # not the user's
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded: tiny models only lose by more threads
MEMORY = Path("/dev/shm")
ROOM_BYTES = 2 << 30  # the quick tests leave 0.2 GB


def pytest_configure(config: pytest.Config) -> None:
    """The quick tests' files are in memory where Linux has room for them: stores and bundles flush thousands of times.

    What is flushed and in which order is tested by recording the calls; no test looks at a disk behind them.
    """
    if config.option.markexpr == "not slow" and "TMPDIR" not in os.environ and _is_roomy(MEMORY):
        multiprocessing.util.get_temp_dir()  # of a server that ends after these files
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)  # pytest keeps what failed in its last three runs
        folder = tempfile.mkdtemp(prefix="edgerec-tests-", dir=MEMORY)
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_collection_finish() -> None:
    """What is loaded by now is not looked through for garbage again: each evaluation asks for that, for 3 s in all."""
    _keep_loaded()


def _keep_loaded() -> None:
    gc.collect()
    gc.freeze()


def _is_roomy(folder: Path) -> bool:
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return False
    runs_programs = not os.statvfs(folder).f_flag & os.ST_NOEXEC  # tests build some
    return runs_programs and shutil.disk_usage(folder).free > ROOM_BYTES


@pytest.fixture
def toy_bundle(tmp_path: Path) -> Path:
    """A fresh toy bundle of 8 items, which the test may damage; see tests/toy.py."""
    return toy.write(tmp_path)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report's page has no pictures: to render them takes longer than to evaluate a tiny run.

    `tiny_chain`, and the ablations' test of the page, render them all.
    """
    monkeypatch.setattr("edgerec.evaluation.plots.svg", lambda figure, label: f"<svg>{label}</svg>")
    monkeypatch.setattr("edgerec.evaluation.plots.write_png", lambda figure, path: None)


@pytest.fixture
def few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """`edgerec bench` measures each bundle in one process, by few calls: 240 of them take 2 s."""
    from importlib import import_module

    module = import_module("edgerec.bench.measure")
    run = module._run
    monkeypatch.setattr(module, "PROCESSES", 1)
    monkeypatch.setattr(module, "_run", lambda *given: run(*given[:3], min(given[3], 20), min(given[4], 4)))


@pytest.fixture(scope="session")
def native_library() -> Path:
    """The native engine for this machine; skips where zig is not installed.

    The folder has the library alone, under the name that the runtime looks for.
    """
    import sys

    pytest.importorskip("ziglang", reason="the native engine is built with zig: pip install ziglang")
    from edgerec.runtime.native import library_name
    from tools.native_builds import BUILDS

    name = next((name for name, build in BUILDS.items() if build.file == library_name()), None)
    if name is None:
        pytest.skip(f"no build of the native engine for {sys.platform} on this processor")
    return built(name)


def built(name: str) -> Path:
    """A build of the native engine, made once for each state of its sources."""
    import hashlib

    from tools.native_builds import BUILDS, FLAGS, LOOPS, OUT, REST, amalgamation, compile_library

    build = BUILDS[name]
    state = hashlib.sha256(f"{amalgamation()}{FLAGS}{LOOPS}{REST}{build}".encode()).hexdigest()[:16]
    folder = OUT / "tests" / state
    return folder / build.file if (folder / build.file).exists() else compile_library(build, folder)


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Settings of the tiny log, prepared under `tiny_run`; see tests/tiny.py."""
    from tests import tiny

    folder = tmp_path_factory.mktemp("tiny")
    tiny.write(folder)
    return tiny.config(folder)


@pytest.fixture(scope="session")
def tiny_run(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder that holds the dataset of the tiny log; tests must leave it as it is."""
    from edgerec.data import prepare

    return prepare(tiny_config, tmp_path_factory.mktemp("tiny-run")).folder.parent


@pytest.fixture(scope="session")
def tiny_data(tiny_config: Config, tiny_run: Path) -> LearningData:
    """What a model of the tiny log learns from and is judged on."""
    from edgerec.progress import Silent
    from edgerec.stages.run import Run

    return Run(tiny_config, tiny_run, Silent()).learning_data("test")


@pytest.fixture(scope="session")
def split_by_user(tiny_data: LearningData) -> LearningData:
    """The same data, as if the last event of each user were the evaluation split."""
    from dataclasses import replace

    from edgerec.data.splits import Boundaries

    meta = tiny_data.dataset.meta
    dataset = replace(tiny_data.dataset, meta=replace(meta, boundaries_ms=Boundaries(None, None, None)))
    return replace(tiny_data, dataset=dataset)


@pytest.fixture(scope="session")
def hurried_data(tmp_path_factory: pytest.TempPathFactory) -> LearningData:
    """The tiny log within one day, split by user: what users did is known a minute later."""
    from edgerec.config import Config
    from edgerec.data import prepare
    from edgerec.progress import Silent
    from edgerec.stages.run import Run
    from tests import tiny

    folder, log = tmp_path_factory.mktemp("hurried"), tiny.rows()
    tiny.write(folder, log | {"time": [tiny.START_MS + (time - tiny.START_MS) // 100 for time in log["time"]]})
    settings = tiny.settings()
    settings["data"]["split"] = {"by": "leave-last-out"}
    config = Config.of(settings, folder=folder)
    return Run(config, prepare(config, folder / "run").folder.parent, Silent()).learning_data("test")


@pytest.fixture(scope="session")
def tiny_chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny log, its edgerec.toml, and the whole chain run by `edgerec run` in ``run/``.

    Tests must leave it as it is, or copy it.
    """
    from typer.testing import CliRunner

    from edgerec.cli.main import app
    from tests import tiny

    folder = tmp_path_factory.mktemp("tiny-chain")
    tiny.write(folder)
    (folder / "edgerec.toml").write_text(tiny.toml(tiny.settings()))
    arguments = ["run", "-c", str(folder / "edgerec.toml"), "--run-dir", str(folder / "run")]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    (folder / "screen.txt").write_text(result.stdout)
    _keep_loaded()  # libraries that only a run loads
    return folder
