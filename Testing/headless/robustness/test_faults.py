"""Whatever happens to a run: no half file under a final name, the earlier result whole, and a sentence that helps."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from faults import GEOMETRY, assert_whole, at, ct_file, finish, given_vessels, request, run, start, state
from twintrack.errors import Cancelled
from twintrack.inference import NetworkStore
from twintrack.io.volumes import write_volume
from twintrack.progress.callbacks import CancelToken
from twintrack.results.folder import segment_file
from twintrack.settings import SegmentSettings
from twintrack.system.atomic import STAGING_PREFIX
from twintrack.volume import Geometry, Volume

pytestmark = [pytest.mark.process, pytest.mark.skipif(sys.platform != "linux", reason="injects faults by Linux means")]

MIB = 1 << 20
M_MMAP_THRESHOLD = -3  # from malloc.h


def finished(out: Path) -> dict[str, str]:
    """Return the hash of every file below `out` but of those that a killed run had not finished."""
    return {name: digest for name, digest in state(out).items() if not name.startswith(STAGING_PREFIX)}


@pytest.fixture(scope="module")
def ct(tmp_path_factory) -> Path:
    return ct_file(tmp_path_factory.mktemp("ct"))


@pytest.fixture(scope="module")
def earlier(ct, bundle_folder, tmp_path_factory) -> Path:
    """A finished result; each test takes a copy."""
    import torch

    torch.set_num_threads(1)  # children are forked
    out = tmp_path_factory.mktemp("earlier") / "out"
    values = request(ct, bundle_folder, out)
    settings = {key: value for key, value in values.items() if key not in ("schema", "input", "bundle", "out")}
    segment_file(ct, bundle_folder, out, SegmentSettings.from_json(settings))
    assert_whole(out)
    return out


@pytest.fixture
def out(earlier, tmp_path) -> Path:
    shutil.copytree(earlier, tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture(scope="module")
def messages(ct, earlier, bundle_folder, tmp_path_factory) -> list[str]:
    """What a run says on its way, once each: one message for each stage or part of one."""
    folder = tmp_path_factory.mktemp("messages")
    ended = run(request(ct, bundle_folder, folder / "out", threshold=0.4), folder / "log")
    assert ended.code == 0
    heard: dict[str, str] = {}
    for event in ended.events:
        if event["event"] == "progress" and event["message"] != "done":
            heard.setdefault(re.sub(r"\d+", "N", event["message"]), event["message"])  # tiles are numbered
    return list(heard.values())


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_killed_at_any_stage_leaves_the_earlier_result_and_the_next_run_clears_up(
    messages, ct, bundle_folder, out, tmp_path
):
    before = state(out)
    assert len(messages) >= 5
    for message in messages:
        ended = run(request(ct, bundle_folder, out, threshold=0.4), tmp_path / "log", at(message, kill))
        assert ended.code == -signal.SIGKILL, message
        assert finished(out) == before, message
    assert run(request(ct, bundle_folder, out, threshold=0.4), tmp_path / "log").code == 0
    assert assert_whole(out)["threshold"] == 0.4


def limit_memory() -> None:
    """Leave this process almost nothing beyond what it uses: not what it has freed, either."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.mallopt(M_MMAP_THRESHOLD, 1 << 16)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + MIB // 4
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    block = 256 * MIB
    while block >= MIB // 2:
        if libc.malloc(block) is None:
            block //= 2


def test_out_of_memory_at_any_stage_is_said_and_leaves_the_earlier_result(messages, bundle_folder, out, tmp_path):
    geometry = Geometry((150, 140, 80), (0.8, 0.8, 3.0))
    large = ct_file(tmp_path, geometry)
    before = state(out)
    sentences = set()
    for message in messages:
        ended = run(request(large, bundle_folder, out), tmp_path / "log", at(message, limit_memory))
        if ended.code == 0:  # a library kept enough for itself to finish
            assert_whole(out, geometry)
            before = state(out)
            continue
        assert ended.code in (1, 2, -signal.SIGKILL, -signal.SIGABRT, -signal.SIGSEGV), message
        assert finished(out) == before, message
        if ended.code > 0:
            sentences.add(ended.sentence)
    assert sentences
    assert all("memory" in sentence or "free space" in sentence for sentence in sentences), sentences


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 6 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only an administrator can mount a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path, left: int) -> None:
    with (place / "filler").open("wb") as stream:
        stream.write(b"x" * (shutil.disk_usage(place).free - left))


@pytest.mark.parametrize("left", [0, 20_000, 120_000])
@pytest.mark.parametrize("message", ["writing volumes", "drawing the overview"])
def test_a_disk_that_fills_up_while_writing_leaves_the_earlier_result(
    earlier, ct, bundle_folder, small_disk, tmp_path, message, left
):
    out = small_disk / "out"
    shutil.copytree(earlier, out)
    before = state(out)
    content = request(ct, bundle_folder, out, threshold=0.4)
    ended = run(content, tmp_path / "log", at(message, lambda: fill(small_disk, left)))
    assert (ended.code, ended.events[-1]["kind"]) == (2, "OutputError")
    assert "space" in ended.sentence
    assert str(out) in ended.sentence
    assert state(out) == before
    if left:
        return
    (small_disk / "filler").unlink()
    assert run(content, tmp_path / "log").code == 0
    assert assert_whole(out)["threshold"] == 0.4


def test_a_disk_without_room_is_refused_before_the_work_with_numbers(ct, bundle_folder, small_disk, tmp_path):
    fill(small_disk, 2 * MIB)
    ended = run(request(ct, bundle_folder, small_disk / "out"), tmp_path / "log")
    assert ended.code == 2
    assert "needs at least 4 MB of disk space, and 2 MB are free" in ended.sentence
    assert not (small_disk / "out").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(ct, bundle_folder, small_disk, tmp_path):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    ended = run(request(ct, bundle_folder, small_disk / "new" / "out"), tmp_path / "log")
    assert (ended.code, len(ended.events)) == (2, 1)
    assert "no permission to write" in ended.sentence


@pytest.mark.parametrize("message", ["reading the CT", "writing volumes", "drawing the overview"])
def test_a_result_folder_removed_during_the_run_is_told_or_made_again(ct, bundle_folder, out, tmp_path, message):
    ended = run(request(ct, bundle_folder, out), tmp_path / "log", at(message, lambda: shutil.rmtree(out)))
    if message == "reading the CT":
        assert ended.code == 0
        assert_whole(out)
    else:
        assert (ended.code, ended.events[-1]["kind"]) == (2, "OutputError")
        assert not out.exists() or not list(out.iterdir())


class CancelAt(CancelToken):
    """Cancelled from another thread while the run is between two checks, the later of which has the given number."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.left = number

    def check(self) -> None:
        if self.left == 0:
            other = threading.Thread(target=self.cancel)
            other.start()
            other.join()
        self.left -= 1
        super().check()


def test_cancel_at_five_random_moments_changes_nothing(ct, bundle_folder, out):
    """In one process with kept networks, as in the worker; a cancel acts at the next check, so that one is drawn."""
    before, rng = state(out), np.random.default_rng(8)
    quick = {"calibrate": False, "backend": "torch", "device": "cpu"}
    settings = SegmentSettings(roi="full", every_tile=True, **quick, **given_vessels(ct))
    kept = NetworkStore("cpu", "torch")
    never = CancelAt(-1)
    segment_file(ct, bundle_folder, out.parent / "other", settings, store=kept, cancel=never)
    checks = -1 - never.left
    assert checks > 30
    for number in {checks - 1, *rng.choice(checks - 1, 4, replace=False).tolist()}:
        with pytest.raises(Cancelled):
            segment_file(ct, bundle_folder, out, settings, store=kept, cancel=CancelAt(number))
        assert state(out) == before, number
    segment_file(ct, bundle_folder, out, settings, store=kept, cancel=CancelToken())  # the kept networks still serve
    assert assert_whole(out)["roi"]["stop"] == list(GEOMETRY.size)


def test_two_runs_into_one_folder_leave_the_whole_result_of_one(ct, plain_bundle, out, tmp_path):
    logs = [tmp_path / "log 1", tmp_path / "log 2"]
    runs = [
        start(request(ct, plain_bundle, out, threshold=value), log) for value, log in zip((0.3, 0.7), logs, strict=True)
    ]
    assert [finish(process, log).code for process, log in zip(runs, logs, strict=True)] == [0, 0]
    threshold = assert_whole(out)["threshold"]
    assert threshold in (0.3, 0.7)
    assert f"{threshold:g}" in (out / "report.html").read_text()


@pytest.mark.parametrize("name", ["Müller 膵臓 ct", "a 'quoted' & $(odd) name", "x" * 200, "-v", "%s{0}"])
def test_odd_paths_are_paths_like_others(earlier, ct, plain_bundle, tmp_path, name):
    folder = tmp_path / name / name
    folder.mkdir(parents=True)
    shutil.copy(ct, folder / f"{name}.nrrd")
    shutil.copytree(plain_bundle, folder / "bundle")
    ended = run(request(folder / f"{name}.nrrd", folder / "bundle", folder / "out"), tmp_path / "log")
    assert ended.events[-1] == {"event": "done", "out": str(folder / "out")}
    assert_whole(folder / "out")


@pytest.mark.parametrize(
    ("size", "spacing_mm"),
    [((30, 30, 2000), (1.5, 1.5, 0.5)), ((60, 60, 30), (0.3, 0.3, 0.3)), ((40, 40, 6), (10.0, 10.0, 10.0))],
)
def test_volumes_of_odd_shape_and_spacing_are_segmented(earlier, plain_bundle, tmp_path, size, spacing_mm):
    geometry = Geometry(size, spacing_mm)
    array = np.random.default_rng(1).normal(0, 60, geometry.shape).astype(np.int16)
    write_volume(Volume(array, geometry), tmp_path / "ct.nrrd")
    roi = [2, 28, 2, 28, 1, min(20, size[2])]
    ended = run(request(tmp_path / "ct.nrrd", plain_bundle, tmp_path / "out", roi=roi), tmp_path / "log")
    assert ended.events[-1]["event"] == "done", ended.sentence
    assert_whole(tmp_path / "out", geometry)


def test_a_single_slice_is_refused_with_its_size(earlier, plain_bundle, tmp_path):
    geometry = Geometry((40, 40, 1), (1.0, 1.0, 1.0))
    write_volume(Volume(np.zeros(geometry.shape, np.int16), geometry), tmp_path / "ct.nrrd")
    ended = run(request(tmp_path / "ct.nrrd", plain_bundle, tmp_path / "out"), tmp_path / "log")
    assert (ended.code, "single slice" in ended.sentence) == (2, True)


def test_clocks_that_jump_do_no_harm(ct, plain_bundle, out, tmp_path):
    def jump(message: str) -> None:
        moment = np.random.default_rng(len(message)).choice([0.0, 4e9])
        time.time = lambda: moment

    ended = run(request(ct, plain_bundle, out, threshold=0.4), tmp_path / "log", jump)
    assert ended.code == 0
    result = assert_whole(out)
    assert all(0 <= seconds < 1000 for seconds in result["seconds"].values())


def test_the_same_input_gives_bit_identical_maps_also_when_runs_go_in_parallel(ct, plain_bundle, earlier, tmp_path):
    logs = [tmp_path / f"log {n}" for n in range(4)]
    runs = [start(request(ct, plain_bundle, tmp_path / str(n)), log) for n, log in enumerate(logs)]
    assert {finish(process, log).code for process, log in zip(runs, logs, strict=True)} == {0}
    found = [state(tmp_path / str(n)) for n in range(4)]
    assert {files["probability.nii.gz"] for files in found} == {state(earlier)["probability.nii.gz"]}
    assert len({files["segmentation.nii.gz"] for files in found}) == 1
