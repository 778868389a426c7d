"""The voxels of a volume file, once its header is known: read in one pass, to the last byte, and checked on the way.

Nothing is taken on trust: a file must be a regular one, hold exactly what its header promises, and fit the checksum of
its compression. Reading stops at the first byte too many, so that no file unpacks to more than its header says.
"""

from __future__ import annotations

import os
import stat
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import cache
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError
from twintrack.io.file_grid import FileGrid
from twintrack.volume import Geometry

__all__ = [
    "HEADER_BYTES",
    "Encoding",
    "Layout",
    "beside",
    "head_of",
    "open_regular",
    "read_voxels",
    "shown",
    "unpacking",
]

HEADER_BYTES = 1 << 20
"""Most bytes of a header. Slicer's segmentations write about 500 for each segment."""

TEXT_BYTES = 256 << 20
"""Most bytes of voxels that are written as text; such files are small ones."""

GZIP = b"\x1f\x8b"

_BLOCK_BYTES = 256 << 10
_UNPACKED_BYTES = 1 << 20
"""How much is read and unpacked at a time."""

_LEAST_MEMBER_BYTES = 256
"""Mean size below which the parts of a gzip file are not data but a way to keep a reader busy."""

_MEMBERS = 1000
"""So many parts of any size are accepted."""

DAMAGED = "is damaged: what it holds does not fit its checksum; copy it again"


class Encoding(Enum):
    """How voxels lie in a file."""

    RAW = "raw"
    GZIP = "gzip"
    ZLIB = "zlib"
    TEXT = "text"
    HEX = "hex"


@dataclass(frozen=True)
class Layout:
    """What a header says: a grid, and how and where its voxels are stored.

    Attributes
    ----------
    geometry : Geometry
        The grid.
    stored : numpy.dtype
        Type of the voxels in the file, with their byte order.
    encoding : Encoding
        How they are encoded.
    files : tuple of str
        Names of the files that hold the voxels, in equal parts; empty if that is the header's own file.
    start : int, optional
        Bytes before them in each file; with None, they are the last bytes of it.
    lines : int
        Lines to pass over from `start` on.
    skip : int
        Bytes to pass over after that, once they are unpacked.
    compressed_bytes : int, optional
        How many bytes they take in the file, if the header says so.
    slope, intercept : float
        The voxels' values are stored values times `slope` plus `intercept`.
    layers : int
        Values of each voxel, one after the other; 1 for a volume.
    grid : FileGrid, optional
        Where the voxels lie, if not exactly on `geometry`.
    notes : tuple of str
        What a user must be told about where they lie.
    """

    geometry: Geometry
    stored: np.dtype[Any]
    encoding: Encoding = Encoding.RAW
    files: tuple[str, ...] = ()
    start: int | None = 0
    lines: int = 0
    skip: int = 0
    compressed_bytes: int | None = None
    slope: float = 1.0
    intercept: float = 0.0
    layers: int = 1
    grid: FileGrid | None = None
    notes: tuple[str, ...] = ()

    @property
    def voxels(self) -> int:
        """Number of all values."""
        return prod(self.geometry.size) * self.layers

    @property
    def is_scaled(self) -> bool:
        """Whether values differ from what is stored."""
        return self.slope != 1.0 or self.intercept != 0.0

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the array: that of the file, in float32 if it holds integers with a scale."""
        if self.is_scaled and self.stored.kind != "f":
            return np.dtype(np.float32)
        return self.stored.newbyteorder("=")


def shown(text: str) -> str:
    """Return a word of a stranger's file as it may stand in a sentence."""
    return repr(text if len(text) <= 80 else text[:77] + "...")


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading; nothing else is opened, because a pipe or a device may never answer.

    Raises
    ------
    InputError
        If it is something else, without naming it.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise InputError("is a folder, pipe, socket or device; give a regular file", code="not-a-regular-file")
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    with os.fdopen(os.open(path, flags), "rb", buffering=0) as raw:
        if not stat.S_ISREG(os.fstat(raw.fileno()).st_mode):  # another one since
            raise InputError("is a folder, pipe, socket or device; give a regular file", code="not-a-regular-file")
        yield raw


def head_of(path: Path, count: int, *, unpacked: bool = False) -> tuple[bytes, bool]:
    """Return the first bytes of a file, unpacked if asked and if gzip packed them, and whether it did."""
    with open_regular(path) as stream:
        head = _up_to(stream, count)
        if not (unpacked and head.startswith(GZIP)):
            return head, False
        stream.seek(0)
        room = bytearray(count)
        there = _Decompressed(stream, Encoding.GZIP).into(memoryview(room))
        return bytes(room[:there]), True


def beside(path: Path, name: str) -> Path:
    """Return the file of that name in the folder of the header `path`.

    Raises
    ------
    InputError
        If it would lie elsewhere, also by a link.
    """
    elsewhere = InputError(
        f"names {shown(name)} as the file of its voxels, which does not lie beside it; put both into one folder and "
        "write the bare file name into the header",
        code="voxels-elsewhere",
    )
    try:
        found = path.parent / name
        if found.resolve().parent != path.parent.resolve():
            raise elsewhere
        if not found.exists():
            raise InputError(
                f"names {shown(name)} as a file of its voxels, which is not there; copy that file as well",
                code="voxel-files",
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise elsewhere from error
    return found


def read_voxels(path: Path, layout: Layout, room: NDArray[Any] | None = None) -> NDArray[Any]:
    """Return the voxels (z, y, x), or (z, y, x, layer), of the volume whose header in `path` says `layout`.

    With `room`, a contiguous array of their shape and type, they are read into it, and it is returned.

    Raises
    ------
    InputError
        If there are too few or too many of them, a checksum is wrong, or some are not finite; without naming `path`.
    OSError
        If the system cannot read them.
    """
    files = [beside(path, name) for name in layout.files] or [path]
    if layout.encoding in (Encoding.TEXT, Encoding.HEX):
        array = _from_text(files, path, layout)
    else:
        # What has to be scaled into another type, or another place, has a place of its own first.
        if room is not None and room.dtype.itemsize == layout.stored.itemsize:
            array = room.reshape(-1).view(layout.stored)
        else:
            array = np.empty(layout.voxels, layout.stored)
        place = array.view(np.uint8).data
        share = len(place) // len(files)
        for number, file in enumerate(files):
            with _named(file, path), open_regular(file) as stream:
                _read_part(stream, layout, place[number * share : (number + 1) * share])
    if not array.dtype.isnative:
        array = array.byteswap(inplace=True).view(layout.stored.newbyteorder("="))
    array = array.reshape((*layout.geometry.shape, *((layout.layers,) if layout.layers > 1 else ())))
    values = _finite(_scaled(array, layout) if layout.is_scaled else array)
    if room is None:
        return values
    if not np.may_share_memory(values, room):
        room[...] = values
    return room


@contextmanager
def _named(file: Path, path: Path) -> Iterator[None]:
    """Name a file of voxels in what is wrong with it, if it is another one than the header's."""
    try:
        yield
    except InputError as error:
        if file is path:
            raise
        raise InputError(f"its file of voxels, {shown(file.name)}, {error}", code=error.code) from error


def _read_part(stream: BinaryIO, layout: Layout, room: memoryview) -> None:
    """Fill `room` with the voxels of one file."""
    size = os.fstat(stream.fileno()).st_size
    start = _after_lines(stream, layout)
    if layout.encoding is Encoding.RAW:
        if layout.start is None:
            start = max(size - len(room), 0)
        _compare(size, start + layout.skip + len(room))
        stream.seek(start + layout.skip)
        _compare(start + layout.skip + _into(stream, room), size)
        return
    if layout.compressed_bytes is not None:
        _compare(size, start + layout.compressed_bytes)
    stream.seek(start)
    stream_of = _Decompressed(stream, layout.encoding)
    needed, passed = layout.skip + len(room), 0
    dump = memoryview(bytearray(min(layout.skip, _BLOCK_BYTES)))
    while passed < layout.skip:
        passed += (got := stream_of.into(dump[: layout.skip - passed]))
        if not got:
            _compare(passed, needed)
    _compare(layout.skip + stream_of.into(room), needed)
    stream_of.end(needed)


def _after_lines(stream: BinaryIO, layout: Layout) -> int:
    """Return where the voxels start in a file."""
    start = layout.start or 0
    if layout.lines:
        stream.seek(start)
        head = _up_to(stream, HEADER_BYTES)
        for _ in range(layout.lines):
            end = head.find(b"\n")
            if end < 0:
                raise InputError(
                    f"has no {layout.lines} lines before its voxels; export it again", code="voxels-cut-off"
                )
            start, head = start + end + 1, head[end + 1 :]
    return start


def _compare(there: int, needed: int) -> None:
    """Refuse a file that ends too early or too late."""
    if there < needed:
        raise InputError(f"is cut off, {there:,} of {needed:,} bytes are there; copy it again", code="voxels-cut-off")
    if there > needed:
        raise InputError(
            f"holds more than the {needed:,} bytes that its header promises; copy or export it again",
            code="voxels-too-many",
        )


@cache
def unpacking() -> Any:
    """Return what unpacks: ISA-L where it is installed, which takes a fifth of zlib's time; it has the same face."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib
    return isal_zlib


class _Decompressed:
    """The content of a stream that gzip or zlib packed; no more of it is unpacked than is asked for."""

    def __init__(self, stream: BinaryIO, encoding: Encoding) -> None:
        self._stream = stream
        # MetaImage files hold either form; NRRD and NIfTI files gzip's, which may come in several parts.
        self._window = zlib.MAX_WBITS + (16 if encoding is Encoding.GZIP else 32)
        self._in_parts = encoding is Encoding.GZIP
        self._library = unpacking()
        self._inflate = self._library.decompressobj(self._window)
        self._pending = b""
        self._members, self._bytes = 1, 0

    def into(self, room: memoryview) -> int:
        """Fill `room`; return how far that went."""
        done = 0
        while done < len(room):
            part = self._next(min(len(room) - done, _UNPACKED_BYTES))
            if part is None:
                break
            room[done : done + len(part)] = part
            done += len(part)
        return done

    def end(self, needed: int) -> None:
        """Refuse what holds anything more, or lacks its checksum."""
        if self._next(1) is not None:
            raise InputError(
                f"unpacks to more than the {needed:,} bytes that its header promises, it is damaged; copy or export it "
                "again",
                code="voxels-too-many",
            )
        if not self._inflate.eof:
            raise InputError("is cut off before its checksum; copy it again", code="voxels-cut-off")

    def _next(self, most: int) -> bytes | None:
        """Return the next bytes, at least one and at most `most`; None at the end."""
        while True:
            if self._inflate.eof and not self._begin_member():
                return None
            self._pending = self._pending or self._more()
            ended = not self._pending
            try:
                part = self._inflate.decompress(self._pending, most)  # at the end what the library has held back
            except self._library.error as error:
                raise InputError(DAMAGED, code="voxels-damaged") from error
            self._pending = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            if part:
                return part
            if ended and not self._inflate.eof:
                return None

    def _begin_member(self) -> bool:
        """Go on with the next part of a gzip file, if there is one after zeros that fill it up."""
        self._pending = self._pending.lstrip(b"\0") if self._in_parts else self._pending
        while not self._pending and (more := self._more()):
            self._pending = more.lstrip(b"\0") if self._in_parts else more
        if not self._pending:
            return False
        if not self._in_parts:
            raise InputError("holds more than its compressed voxels; copy or export it again", code="voxels-too-many")
        self._members += 1
        if self._members > max(_MEMBERS, self._bytes // _LEAST_MEMBER_BYTES):
            raise InputError("is compressed in too many parts; compress it again", code="voxels-damaged")
        self._inflate = self._library.decompressobj(self._window)
        return True

    def _more(self) -> bytes:
        block = self._stream.read(_BLOCK_BYTES)
        self._bytes += len(block)
        return block


def _into(stream: BinaryIO, room: memoryview) -> int:
    """Fill `room` from a file; return how far that went."""
    done = 0
    readinto = stream.readinto  # type: ignore[attr-defined] # an unbuffered file has it
    while done < len(room):
        got = readinto(room[done : done + (64 << 20)])
        if not got:
            break
        done += got
    return done


def _up_to(stream: BinaryIO, count: int) -> bytes:
    """Return the next bytes of a file, `count` of them or all."""
    parts = []
    while count > 0 and (part := stream.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _from_text(files: list[Path], path: Path, layout: Layout) -> NDArray[Any]:
    """Return voxels that are written as numbers or as hexadecimal digits, flat."""
    text = b""
    for file in files:
        with _named(file, path), open_regular(file) as stream:
            stream.seek(_after_lines(stream, layout) + layout.skip)
            text += _up_to(stream, TEXT_BYTES + 1) + b"\n"
        if len(text) > TEXT_BYTES:
            raise InputError(
                f"holds more than {TEXT_BYTES:,} bytes of voxels written as text; save it compressed",
                code="voxels-as-text",
            )
    count = layout.voxels
    unreadable = InputError("holds voxels that are not numbers of its type; export it again", code="voxels-damaged")
    if layout.encoding is Encoding.HEX:
        try:
            raw = bytearray.fromhex(text.decode("ascii"))
        except ValueError as error:
            raise unreadable from error
        _compare(len(raw), count * layout.stored.itemsize)
        return np.frombuffer(raw, layout.stored)
    wide = np.dtype({"f": "f8", "i": "i8", "u": "u8"}[layout.stored.kind])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy warns of what is no number
            values = np.fromstring(text.replace(b",", b" ").decode("ascii"), wide, sep=" ")
            array = values.astype(layout.stored)
    except (ValueError, OverflowError, Warning) as error:
        raise unreadable from error
    if layout.stored.kind != "f" and not np.array_equal(array, values):
        raise unreadable
    if values.size != count:
        less = values.size < count
        raise InputError(
            f"{'is cut off' if less else 'holds too much'}, {values.size:,} voxels stand where its header promises "
            f"{count:,}; copy or export it again",
            code="voxels-cut-off" if less else "voxels-too-many",
        )
    return array


def _scaled(array: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """Return values from stored ones, computed in float64 and kept in the array's type, slice by slice."""
    values = array if array.dtype == layout.dtype else np.empty(array.shape, layout.dtype)
    with np.errstate(all="ignore"):  # what is not finite is refused below
        for stored, value in zip(array, values, strict=True):
            value[...] = stored.astype(layout.dtype).astype(np.float64) * layout.slope + layout.intercept
    return values


def _finite(array: NDArray[Any]) -> NDArray[Any]:
    """Refuse floating-point voxels that are no numbers."""
    if array.dtype.kind == "f" and not all(np.isfinite(plane).all() for plane in array):
        raise InputError(
            "holds voxels that are not finite (NaN or infinity); replace them and try again", code="values-not-finite"
        )
    return array
