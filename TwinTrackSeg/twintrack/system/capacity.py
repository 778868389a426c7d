"""Whether there is room for a run, asked of headers before memory is taken or time is spent."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from math import prod
from pathlib import Path

from twintrack.errors import InputError, OutputError

__all__ = [
    "NO_MEMORY",
    "WORK_BYTES",
    "available_memory",
    "check_memory",
    "check_output",
    "check_room",
    "free_bytes",
    "is_out_of_memory",
    "lacking_memory",
    "size_text",
    "total_memory",
    "usable_cores",
]

WORK_BYTES = 14
"""Memory that a segmentation takes for each voxel of the CT, beside the file's voxels and their copy: map and score in
float32, labels, copies on the way to files. With 16-bit voxels 17.5 bytes in all were measured at the peak, with a
small region; a large region takes more."""

LEAST_OUTPUT_BYTES = 4e6
"""Pictures, report, tables and, with little found, the compressed maps."""

OUTPUT_BYTES = 0.1
"""Least size of the compressed maps for each voxel."""

OUT_OF_MEMORY = (
    *("out of memory", "not enough memory", "allocate memory", "failed to allocate", "bad_alloc"),
    "alloc_failed",
)
"""What SimpleITK, torch (on CUDA, MPS, Linux and Windows), NVIDIA's libraries and OpenVINO say, in small letters, when
memory is short; they raise RuntimeError."""

NO_MEMORY = "the memory was not enough; close other programs, give a smaller region, or use a computer with more memory"
"""What a user is told when memory ran out during a run."""

_CGROUP = Path("/sys/fs/cgroup")


def check_memory(size_xyz: Sequence[int], bytes_per_voxel: float, what: str) -> None:
    """Refuse a volume that does not fit into memory.

    Parameters
    ----------
    size_xyz : sequence of int
        Its size in voxels, as its header tells.
    bytes_per_voxel : float
        What is needed for each voxel.
    what : str
        What it is, for the message.

    Raises
    ------
    InputError
        With the memory that is needed and the memory that is free. Nothing where the latter is unknown.
    """
    lacking = lacking_memory(prod(size_xyz) * bytes_per_voxel)
    if lacking is not None:
        size = " x ".join(str(n) for n in size_xyz)
        raise InputError(
            f"{what} of {size} voxels {lacking}; crop or resample the volume, close other programs, or use a computer "
            "with more memory",
            code="no-memory",
        )


def lacking_memory(needed_bytes: float) -> str | None:
    """Say that something needs more memory than is free, as the end of a clause; None if it fits or nobody knows."""
    free = available_memory()
    if free is None or needed_bytes <= free:
        return None
    return f"needs about {size_text(needed_bytes)} of memory, and {size_text(free)} are free"


def check_output(out: str | Path, voxels: int = 0) -> None:
    """Refuse a result folder that cannot be written to, or whose disk has no room for the result of that many voxels.

    Raises
    ------
    OutputError
        With the space that is needed and the space that is free.
    """
    out = Path(out)
    place = next((p for p in (out.absolute(), *out.absolute().parents) if os.path.lexists(p)), Path())
    if not place.is_dir():
        raise OutputError(
            f"cannot be used as result folder, because {place} is a file; choose another one",
            code="place-taken",
            path=out,
        )
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(
            f"cannot be used as result folder (no permission to write to {place}); choose another",
            code="not-writable",
            path=out,
        )
    check_room(out, LEAST_OUTPUT_BYTES + OUTPUT_BYTES * voxels, "the result")


def check_room(place: str | Path, needed_bytes: float, what: str) -> None:
    """Refuse what does not fit on a disk.

    Parameters
    ----------
    place : path
        A folder on it, which need not exist yet.
    needed_bytes : float
        What it takes.
    what : str
        What that is, for the message.

    Raises
    ------
    OutputError
        With the space that is needed and the space that is free. Nothing where the latter is unknown.
    """
    free = free_bytes(place)
    if free is not None and free < needed_bytes:
        raise OutputError(
            f"{what} needs at least {size_text(needed_bytes)} of disk space, and {size_text(free)} are free; free some "
            "or choose another place",
            code="no-disk-space",
            path=place,
        )


def free_bytes(place: str | Path) -> int | None:
    """Return how many bytes are free on the disk of a folder, which need not exist yet; None if nobody knows."""
    place = Path(place).absolute()
    with suppress(OSError):  # a file system that does not tell
        return shutil.disk_usage(next(p for p in (place, *place.parents) if os.path.lexists(p))).free
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says, in whatever words, that memory is short."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error).lower() for words in OUT_OF_MEMORY)
    )


def available_memory() -> int | None:
    """Return how many bytes this process can still take without harm; None if that is not known."""
    known = [found for found in (_system_memory(), _cgroup_memory(), _address_space()) if found is not None]
    return max(0, min(known)) if known else None


def usable_cores() -> int:
    """Return how many cores this process may use, which a container or a batch system can limit."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def total_memory() -> int | None:
    """Return how many bytes of main memory this computer has; None if that is not known."""
    if sys.platform == "win32":
        return _windows_memory(1)
    with suppress(OSError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _system_memory() -> int | None:
    if sys.platform == "win32":
        return _windows_memory()
    with suppress(OSError, ValueError, KeyError):
        lines = (line.split() for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        kilobytes = {words[0]: int(words[1]) for words in lines}
        return 1024 * (kilobytes["MemAvailable:"] + kilobytes["SwapFree:"])
    with suppress(OSError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # macOS: all there is
    return None


def _cgroup_memory() -> int | None:
    """Return what a container or a batch system leaves (control groups, version 2)."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        group = next(line.removeprefix("0::/") for line in lines if line.startswith("0::/"))
        folder = _CGROUP / group if (_CGROUP / group / "memory.max").exists() else _CGROUP
        limit = int((folder / "memory.max").read_text())  # "max" is no number: no limit
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return limit - int((folder / "memory.current").read_text()) + int(stat.get("inactive_file", 0))
    return None


def _address_space() -> int | None:
    """Return what a limit such as ``ulimit -v`` leaves."""
    if sys.platform == "win32":
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    with suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        return limit - pages * os.sysconf("SC_PAGE_SIZE")
    return limit


def _windows_memory(field: int = 4) -> int | None:
    """Return a field of MEMORYSTATUSEX: 1 is all the main memory, 4 what can still be had."""
    if sys.platform == "win32":
        import ctypes

        # Two 32-bit numbers, together one here, then seven of 64 bits.
        status = (ctypes.c_uint64 * 8)()
        status[0] = ctypes.sizeof(status)
        if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
            return int(status[field])
    return None


def size_text(number: float) -> str:
    """Write a number of bytes for people."""
    if number >= 1e13:
        return f"{number / 1e12:,.0f} TB"
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"
