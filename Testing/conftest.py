"""Fixtures that every test may use."""

from __future__ import annotations

import multiprocessing.util
import os
import re
import signal
import sys
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Hold the markers: where tests that start processes are left out, nothing may start one."""
    if re.match("not .*process", config.getoption("markexpr", "")):
        os.environ.setdefault("nnUNet_n_proc_DA", "1")  # or it asks a program for the computer's name
        sys.addaudithook(_refuse_process)
        multiprocessing.util.spawnv_passfds = lambda *_: _refuse_process("os.fork", ())  # has no audit event


def _refuse_process(event: str, _arguments: tuple[object, ...]) -> None:
    if event in ("subprocess.Popen", "os.fork", "os.posix_spawn", "os.system"):
        raise RuntimeError(f"{event}: this test needs the marker `process`")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder with real CTs and reference numbers, named by TWINTRACK_TEST_DATA; skips without it."""
    folder = os.environ.get("TWINTRACK_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("TWINTRACK_TEST_DATA does not name a folder with the real test data")
    return Path(folder).resolve()


@pytest.fixture(scope="session", autouse=True)
def own_cache_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the tests, and the programs they start, out of the user's compiled networks and installed models."""
    folder = str(tmp_path_factory.mktemp("cache"))
    os.environ["XDG_CACHE_HOME"] = folder
    os.environ["WIN_PD_OVERRIDE_LOCAL_APPDATA"] = folder  # where platformdirs looks first on Windows
    os.environ["TWINTRACK_MODELS"] = str(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session", autouse=True)
def programs_of_the_environment() -> None:
    """Find the programs that were installed beside this Python (dcmqi's) without an activated environment."""
    beside = str(Path(sys.executable).parent)
    if beside not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([beside, os.environ.get("PATH", "")])


@pytest.fixture(scope="session", autouse=True)
def interrupts_arrive() -> None:
    """Let programs that tests start be interrupted: where the tests run in the background, they inherit ignoring it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
