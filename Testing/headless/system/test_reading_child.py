"""A reader that dies, hangs or takes all memory is a sentence about its file, and the next file is read."""

from __future__ import annotations

import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from expected_errors import raises_error
from reading_tasks import TASKS
from twintrack.errors import Cancelled, InputError
from twintrack.progress.callbacks import CancelToken, checked
from twintrack.system.reading_child import FUNCTIONS, ReadingChild, time_limit_s
from twintrack.system.reading_child import parent as calling_side

pytestmark = pytest.mark.process

POSIX = pytest.mark.skipif(os.name == "nt", reason="signals and limits of POSIX")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


START = calling_side.START

HANGS_S = 40.0
"""Less than a task that hangs takes to end by itself, and more than anything else does on a busy computer."""


@pytest.fixture(scope="module")
def child() -> Iterator[ReadingChild]:
    with pytest.MonkeyPatch.context() as patch:  # on a busy computer a moment between two calls is long
        patch.setattr(calling_side, "START", START.replace("serve()", "serve(600)"))
        child = ReadingChild(TASKS)
        yield child
        child.close()


def ask(child: ReadingChild, task: str, *args: object, **options: object) -> object:
    return child.call(f"reading_tasks:{task}", *args, named=options.pop("named", "scan.dcm"), **options)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def wait_for_content(file: Path) -> None:
    until = time.monotonic() + 300
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < until
        time.sleep(0.02)


def gone_within_s(pid: int, limit_s: float) -> bool:
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        if not is_alive(pid):
            return True
        time.sleep(0.02)
    return False


def test_arrays_come_back_equal_and_can_be_written(child):
    result = ask(child, "ramp", 1_000_000, name="a series")
    np.testing.assert_array_equal(result.parts["large"], np.arange(1_000_000, dtype=np.int32))
    assert result.parts["small"].tolist() == [0, 1, 2]
    assert result.parts["cube"].flags.f_contiguous
    assert result.name == "a series"
    result.parts["large"] += 1
    assert result.parts["large"][-1] == 1_000_000


@LINUX
def test_shared_memory_is_given_back_with_the_array(child):
    ask(child, "ramp", 1000)
    gc.collect()
    files = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        kept = ask(child, "ramp", 1_000_000)
    assert len(list(Path("/proc/self/fd").iterdir())) <= files + 2
    assert "memfd:twintrack" in Path("/proc/self/maps").read_text()
    del kept
    gc.collect()
    assert "memfd:twintrack" not in Path("/proc/self/maps").read_text()


def test_one_child_serves_all_calls_and_threads(child):
    seen: list[object] = []
    threads = [threading.Thread(target=lambda: seen.append(ask(child, "own_id"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [ask(child, "own_id")] * 6
    assert seen[0] == child.pid != os.getpid()


def test_only_listed_functions_are_called():
    with pytest.raises(ValueError, match="os:system is none of the functions"):
        ReadingChild().call("os:system", "true", named="x")
    assert all(name.startswith("twintrack.") for name in FUNCTIONS)


def test_errors_come_back_as_themselves(child, tmp_path):
    with raises_error(InputError, "patients-mixed") as told:
        ask(child, "refuse", tmp_path / "study")
    assert str(told.value) == f"{tmp_path / 'study'}: two patients in one series"
    assert "in refuse" in str(told.value.__cause__)
    with pytest.raises(RuntimeError, match="OddError: notforeseen"):
        ask(child, "odd")


def test_the_child_has_neither_the_standard_streams_nor_a_voice_of_its_own(child, capfd, caplog):
    with caplog.at_level(logging.INFO, "twintrack"):
        assert ask(child, "chatter") == "nothing to read"
    assert [record.getMessage() for record in caplog.records if record.name == "twintrack.there"] == [
        "a remark on 3 slices"
    ]
    assert capfd.readouterr() == ("", "")


@POSIX
@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGKILL", "SIGTERM"])
def test_a_death_by_a_signal_is_one_sentence_that_names_the_file(child, name):
    with raises_error(InputError, "reading-died", "bad.dcm", name) as told:
        ask(child, "signalled", name, named="bad.dcm")
    assert "\n" not in str(told.value)
    assert ask(child, "steps", 1, progress=lambda *_: None) == 1


def test_a_segmentation_fault_is_one_sentence_and_the_next_call_works(child):
    before = ask(child, "own_id")
    with raises_error(InputError, "reading-died", "bad.dcm"):
        ask(child, "segfault", named="bad.dcm")
    assert ask(child, "own_id") not in (before, os.getpid())


def test_a_child_that_ended_between_two_calls_is_replaced(child):
    pid = ask(child, "own_id")
    os.kill(pid, signal.SIGTERM)
    assert ask(child, "own_id") != pid


def test_too_long_is_one_sentence(child):
    began = time.monotonic()
    with raises_error(InputError, "reading-too-slow", "slow.dcm"):
        ask(child, "hang", os.devnull, named="slow.dcm", limit_s=1.0)
    assert time.monotonic() - began < HANGS_S
    assert ask(child, "ramp", 3).parts["large"].tolist() == [0, 1, 2]


def test_the_time_limit_grows_with_the_input():
    assert time_limit_s(0) == 60
    assert time_limit_s(1_000_000_000) == pytest.approx(660)


@LINUX
def test_memory_has_a_limit_and_the_next_call_works(child):
    ask(child, "own_id")
    with pytest.raises(MemoryError, match=r"^bomb\.dcm: too large for the free memory"):
        ask(child, "bomb", 400_000_000, named="bomb.dcm", memory_bytes=200_000_000)
    assert ask(child, "bomb", 100_000_000, memory_bytes=200_000_000) == 100_000_000


def test_progress_is_told_in_the_calling_thread(child):
    told = []
    assert ask(child, "steps", 3, progress=lambda *step: told.append((*step, threading.get_ident()))) == 3
    assert told == [(step / 3, f"slice {step}", threading.get_ident()) for step in range(3)]


def test_what_progress_raises_ends_the_call(child):
    cancel = CancelToken()
    with pytest.raises(Cancelled):
        ask(child, "steps", 1000, progress=checked(lambda *_: cancel.cancel(), cancel))
    assert child.pid is None
    assert ask(child, "steps", 2, progress=lambda *_: None) == 2


@LINUX
def test_cancel_ends_the_child_at_once(child, tmp_path):
    cancel, pid_file, at = CancelToken(), tmp_path / "pid", []

    def stop() -> None:
        wait_for_content(pid_file)
        at.append(time.monotonic())
        cancel.cancel()

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(Cancelled):
        ask(child, "hang", str(pid_file), cancel=cancel)
    assert time.monotonic() - at[0] < HANGS_S
    assert not is_alive(int(pid_file.read_text()))


def test_a_call_that_waits_for_its_turn_can_be_cancelled(child, tmp_path):
    first, second, pid_file = CancelToken(), CancelToken(), tmp_path / "pid"

    def occupy() -> None:
        with pytest.raises(Cancelled):
            ask(child, "hang", str(pid_file), cancel=first)

    occupied = threading.Thread(target=occupy)
    occupied.start()
    wait_for_content(pid_file)
    second.cancel()
    with pytest.raises(Cancelled):
        ask(child, "own_id", cancel=second)
    first.cancel()
    occupied.join()


PARENT = """
import sys
sys.path[:0] = {path!r}
from reading_tasks import TASKS
from twintrack.system.reading_child import ReadingChild
ReadingChild(TASKS).call("reading_tasks:{task}", {pid_file!r}, named="x", limit_s={limit_s})
"""


def parent_of(task: str, pid_file: Path, limit_s: float = 60.0) -> subprocess.Popen[str]:
    text = PARENT.format(path=sys.path, task=task, pid_file=str(pid_file), limit_s=limit_s)
    parent = subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for_content(pid_file)
    return parent


@LINUX
def test_the_child_ends_with_its_killed_parent(tmp_path):
    parent = parent_of("hang", tmp_path / "pid")
    parent.kill()
    parent.communicate()
    assert gone_within_s(int((tmp_path / "pid").read_text()), HANGS_S)


@LINUX
def test_the_child_of_a_killed_parent_ends_in_native_code_at_its_limit_at_the_latest(tmp_path):
    parent = parent_of("hold", tmp_path / "pid", limit_s=1.0)
    parent.kill()
    parent.communicate()
    assert gone_within_s(int((tmp_path / "pid").read_text()), HANGS_S)


@LINUX
def test_the_interrupt_of_a_terminal_ends_both_and_the_child_says_nothing(tmp_path):
    parent = parent_of("hang", tmp_path / "pid")
    os.killpg(parent.pid, signal.SIGINT)
    out, err = parent.communicate(timeout=HANGS_S)
    assert out == ""
    assert err.count("Traceback") == 1  # this parent's own
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert gone_within_s(int((tmp_path / "pid").read_text()), HANGS_S)


@LINUX
def test_an_idle_child_ends_by_itself_and_is_started_anew(monkeypatch):
    monkeypatch.setattr(calling_side, "START", START.replace("serve()", "serve(0.3)"))
    child = ReadingChild(TASKS)
    pid = ask(child, "own_id")
    assert gone_within_s(pid, HANGS_S)
    assert ask(child, "own_id") != pid
    child.close()


@LINUX
def test_nothing_of_a_closed_child_is_left():
    child = ReadingChild(TASKS)
    pid = ask(child, "own_id")
    child.close()
    assert not is_alive(pid)
    assert child.pid is None
