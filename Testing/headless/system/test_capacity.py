"""What cannot fit is refused from its header, with numbers, before memory is taken."""

from __future__ import annotations

import multiprocessing
import resource
import sys
from pathlib import Path

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.errors import InputError, OutputError
from twintrack.io.volumes import read_volume, write_volume
from twintrack.system.capacity import available_memory, check_memory, check_output, is_out_of_memory
from twintrack.volume import Geometry, Volume

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="measures memory by POSIX means")

SIDE = 2000  # 8 billion voxels of two bytes: 16 GB


def huge(folder: Path, ending: str) -> Path:
    """Write a file that takes no disk and says it holds 16 GB."""
    write_volume(Volume(np.zeros((2, 2, 2), np.int16), Geometry((2, 2, 2), (1.0, 1.0, 1.0))), folder / f"small{ending}")
    path = folder / f"huge{ending}"
    if ending == ".nii":
        header = bytearray((folder / "small.nii").read_bytes()[:352])
        header[42:48] = np.array([SIDE] * 3, "<i2").tobytes()
    elif ending == ".mha":
        kind = b"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        size = f"CompressedData = False\nDimSize = {SIDE} {SIDE} {SIDE}\n".encode()
        header = kind + size + b"ElementSpacing = 1 1 1\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    else:
        fields = "type: short\ndimension: 3\nspace: left-posterior-superior\nencoding: raw\nendian: little\n"
        space = "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n\n"
        header = f"NRRD0004\n{fields}sizes: {SIDE} {SIDE} {SIDE}\n{space}".encode()
    path.write_bytes(bytes(header))
    with path.open("r+b") as stream:
        stream.truncate(len(header) + 2 * SIDE**3)
    return path


@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha"])
def test_a_ct_of_16_gb_is_refused_from_its_header(tmp_path, ending):
    if (available_memory() or 0) > 200e9:
        pytest.skip("this computer could really do it")
    path, before = huge(tmp_path, ending), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with raises_error(InputError, "no-memory", "2000", "272.0", "GB"):
        read_volume(path, work_bytes=30)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_what_fits_is_not_refused():
    check_memory((100, 100, 100), 30, "the volume")
    free = available_memory()
    assert free is None or free > 0


def _limited(queue) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 50_000_000
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    queue.put(available_memory())


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_limit_of_the_process_counts():
    fork = multiprocessing.get_context("fork")
    queue = fork.SimpleQueue()
    process = fork.Process(target=_limited, args=(queue,))
    process.start()
    assert queue.get() <= 50_000_000
    process.join()


def test_a_place_for_results_is_checked_before_there_is_one(tmp_path):
    check_output(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("in the way")
    with raises_error(OutputError, "place-taken"):
        check_output(tmp_path / "file" / "out")
    with raises_error(OutputError, "no-disk-space", "TB"):
        check_output(tmp_path, 10**16)


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        *((MemoryError(), True), (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True)),
        *((RuntimeError("Failed to allocate memory for image."), True), (RuntimeError("std::bad_alloc"), True)),
        *((RuntimeError("shapes differ"), False), (ValueError("out of memory"), False)),
    ],
)
def test_shortage_of_memory_is_recognized_in_every_library_s_words(error, memory):
    assert is_out_of_memory(error) is memory
