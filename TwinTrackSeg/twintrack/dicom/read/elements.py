"""Walk through the elements of a DICOM file and keep those that are wanted, within stated limits.

The parser of pydicom reads whatever a file holds: sequences to any depth, values of any length, a deflated data set of
any size. Here a file is walked once, forwards, in blocks. What is not wanted is passed over, not read; what is wanted
is handed to pydicom as raw bytes, which converts single values. The walk decides as pydicom does where a file is
implicit where it says explicit, or the other way round.

References
----------
DICOM PS3.5, 7 (data elements, sequences), A.4 (encapsulated pixels), A.5 (deflated); PS3.10, 7 (file format).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement, RawDataElement
    from pydicom.dataset import Dataset

__all__ = [
    "BeyondLimit",
    "Broken",
    "FileElements",
    "Limits",
    "PixelPlace",
    "Wanted",
    "read_elements",
    "read_pixel_bytes",
]

Wanted = Mapping[int, Any]
"""Tags to keep; for a sequence, the tags to keep of its items; None for a single value."""

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXELS = frozenset({0x7FE00010, 0x7FE00009, 0x7FE00008})
CHARACTER_SET, NUMBER_OF_FRAMES, MODALITY = 0x00080005, 0x00280008, 0x00080060

IMPLICIT, BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
DIRECTORY_STORAGE = "1.2.840.10008.1.3.10"
"""SOP class of a DICOMDIR file."""

BLOCK_BYTES = 16 * 1024
"""Bytes read at a time: the header of most CT slices fits."""

NOTHING: Wanted = {}


class Broken(ValueError):
    """The bytes are no DICOM elements."""


class BeyondLimit(Exception):
    """A file has more of something than any CT has.

    Attributes
    ----------
    what : str
        What it has, as part of a sentence.
    found : Dataset or None
        What was read before.
    """

    def __init__(self, what: str, found: Dataset | None = None) -> None:
        super().__init__(what)
        self.what, self.found = what, found


@dataclass(frozen=True)
class Limits:
    """What one file's header may hold.

    Attributes
    ----------
    depth : int
        Sequences within sequences.
    elements : int
        Elements and items that are walked through; those of sequences of stated length that are passed over are not.
    elements_a_frame : int
        So many more for each frame that the file states.
    frames : int
        Frames a file may state.
    value_bytes : int
        Length of one wanted value.
    total_bytes : int
        Length of all wanted values.
    inflated_bytes : int
        Bytes that a deflated data set may have before its pixels.
    drop_longer : bool
        Leave out wanted values that are too long instead of refusing the file.
    """

    depth: int = 16
    elements: int = 50_000
    elements_a_frame: int = 200
    frames: int = 20_000
    value_bytes: int = 4096
    total_bytes: int = 64 * 1024**2
    inflated_bytes: int = 64 * 1024**2
    drop_longer: bool = False


@dataclass(frozen=True)
class PixelPlace:
    """Where the pixels of a file lie.

    Attributes
    ----------
    start : int
        Bytes before them, from the start of the file or of its inflated data set.
    length : int or None
        As stated; None where it is undefined, as for encapsulated pixels.
    deflated_from : int or None
        Where in the file a deflated data set starts.
    """

    start: int
    length: int | None
    deflated_from: int | None


@dataclass(frozen=True)
class FileElements:
    """The wanted elements of a file.

    Attributes
    ----------
    dataset, meta : Dataset
        Those of the data set, and all of the file meta information.
    little_endian : bool
        Order of the bytes of the data set, pixels included.
    pixels : PixelPlace or None
        Where the pixels are, if the walk came that far.
    walked : int
        Number of elements that were walked through.
    """

    dataset: Dataset
    meta: Dataset
    little_endian: bool
    pixels: PixelPlace | None
    walked: int


def read_elements(
    file: BinaryIO,
    size: int,
    wanted: Wanted | None,
    *,
    limits: Limits,
    marked: bool,
    stop_at: frozenset[str] = frozenset(),
    without: frozenset[int] = frozenset(),
) -> FileElements:
    """Read the wanted elements of a DICOM file up to its pixels.

    Parameters
    ----------
    file : binary file
        Opened without a buffer.
    size : int
        Its length.
    wanted : mapping or None
        What to keep; None for all standard elements but `without`.
    limits : Limits
        What the file may hold.
    marked : bool
        Whether it has a preamble; else it starts with its first element.
    stop_at : frozenset of str
        Modalities of which nothing more is needed.
    without : frozenset of int
        Elements to leave out where all are wanted.

    Raises
    ------
    BeyondLimit
        If the file has more than `limits` of something.
    Broken
        If it is damaged. Conversions by pydicom, which happen later, raise other errors.
    OSError
        If it cannot be read.
    """
    stream = _Stream(file, size)
    if marked:
        stream.skip(132)
    walk = _Walk(stream, limits, without)
    meta = walk.meta()
    syntax = _uid(meta, 0x00020010)
    if _uid(meta, 0x00020002) == DIRECTORY_STORAGE:  # an index, often a long one
        return FileElements(walk.so_far(), meta, True, None, walk.walked)
    walk.pass_over_commands()
    deflated_from = None
    if syntax == DEFLATED:
        deflated_from = stream.tell()
        walk.stream = _Inflated(file, size, deflated_from, limits.inflated_bytes)
    implicit = walk.choose_encoding(syntax)
    walk.stop_at = stop_at
    try:
        dataset = walk.dataset(implicit, None, 0, wanted, "iso8859", top=True)
    except BeyondLimit as error:
        error.found = walk.so_far()
        raise
    assert dataset is not None
    pixels = None
    if walk.pixels is not None:
        start, length = walk.pixels
        pixels = PixelPlace(start, length, deflated_from)
    return FileElements(dataset, meta, walk.little, pixels, walk.walked)


def read_pixel_bytes(file: BinaryIO, size: int, place: PixelPlace, *, needed: int, little_endian: bool) -> bytes:
    """Return the first `needed` bytes of pixels of stated length, or all items of encapsulated pixels up to that.

    Raises
    ------
    Broken
        If there are fewer, or more in the items of encapsulated pixels.
    OSError
        If the file cannot be read.
    """
    stream = _Stream(file, size)
    if place.deflated_from is not None:
        stream = _Inflated(file, size, place.deflated_from, place.start + needed + BLOCK_BYTES)
    stream.skip(place.start)
    if place.length is not None:
        return stream.take(min(needed, place.length))
    head = struct.Struct("<HHL" if little_endian else ">HHL")
    parts: list[bytes] = []
    total = 0
    while True:
        opening = stream.take(8)
        group, element, length = head.unpack(opening)
        tag = group << 16 | element
        if tag == SEQUENCE_END:
            return b"".join(parts)
        total += 8 + length
        if tag != ITEM or length == UNDEFINED or total > needed:
            raise Broken("encapsulated pixels without an end")
        parts += [opening, stream.take(length)]


@dataclass
class _Stream:
    """A file read forwards in blocks."""

    file: BinaryIO
    size: int
    data: bytes = b""
    base: int = 0
    at: int = 0

    def tell(self) -> int:
        return self.base + self.at

    def peek(self, count: int) -> bytes:
        """Return the next `count` bytes without passing over them; fewer at the end."""
        if len(self.data) - self.at < count:
            self._fill(count)
        return self.data[self.at : self.at + count]

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        self.check(count)
        found = self.peek(count)
        if len(found) < count:
            raise Broken("the file ends within a value")
        self.at += count
        return found

    def skip(self, count: int) -> None:
        """Pass over `count` bytes; at most to the end."""
        if self.at + count <= len(self.data):
            self.at += count
            return
        self.base, self.at, self.data = min(self.size, self.tell() + count), 0, b""

    def check(self, count: int) -> None:
        """Make sure that `count` bytes can be there, before anything of that size is asked for."""
        if self.tell() + count > self.size:
            raise Broken("the file ends within a value")

    def _fill(self, count: int) -> None:
        """Have at least `count` bytes ready, if the file has them."""
        place = self.tell()
        self.file.seek(place)
        wanted = min(max(count, BLOCK_BYTES), max(self.size - place, 0))
        parts, length = [], 0
        while length < wanted and (part := self.file.read(wanted - length)):
            parts.append(part)
            length += len(part)
        self.data, self.base, self.at = b"".join(parts), place, 0


class _Inflated(_Stream):
    """The inflated data set of a deflated file, as far as it was asked for."""

    def __init__(self, file: BinaryIO, size: int, start: int, most_bytes: int) -> None:
        super().__init__(file, most_bytes)
        file.seek(start)
        self._left = size - start
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._most = most_bytes

    def skip(self, count: int) -> None:
        while count > 0:
            if self.at == len(self.data):
                self._fill(1)
                if not self.data:
                    return
            step = min(count, len(self.data) - self.at)
            self.at += step
            count -= step

    def check(self, count: int) -> None:
        if self.tell() + count > self._most:
            raise BeyondLimit(f"more than {self._most // 1024**2} MB in its deflated header")

    def _fill(self, count: int) -> None:
        place = self.tell()
        parts = [self.data[self.at :]]
        length = len(parts[0])
        while length < count:
            part = self._next()
            if not part:
                break
            parts.append(part)
            length += len(part)
        self.data, self.base, self.at = b"".join(parts), place, 0
        if place + length > self._most + BLOCK_BYTES:
            raise BeyondLimit(f"more than {self._most // 1024**2} MB in its deflated header")

    def _next(self) -> bytes:
        """Inflate the next block."""
        while not self._inflate.eof:
            deflated = self._inflate.unconsumed_tail
            if not deflated:
                deflated = self.file.read(min(BLOCK_BYTES, self._left)) if self._left > 0 else b""
                self._left -= len(deflated)
            try:
                part = self._inflate.decompress(deflated, BLOCK_BYTES)
            except zlib.error as error:
                raise Broken("the deflated data set is damaged") from error
            if part or not deflated:
                return part
        return b""


@dataclass
class _Walk:
    """The walk through one file."""

    stream: _Stream
    limits: Limits
    without: frozenset[int]
    little: bool = True
    stop_at: frozenset[str] = frozenset()
    walked: int = 0
    total_bytes: int = 0
    frames: int = 0
    pixels: tuple[int, int | None] | None = None
    _elements: dict[int, RawDataElement | DataElement] = field(default_factory=dict)

    def so_far(self) -> Dataset:
        """Return what was kept of the data set."""
        return self._wrapped(dict(self._elements), True, "iso8859", "iso8859")

    def meta(self) -> Dataset:
        """Read the file meta information, which is explicit, little endian."""
        from pydicom.dataelem import RawDataElement
        from pydicom.dataset import Dataset
        from pydicom.tag import BaseTag

        found: dict[Any, Any] = {}
        implicit = not _is_vr(self.stream.peek(6)[4:])
        while len(opening := self.stream.peek(4)) == 4 and opening[:2] == b"\2\0":
            self._count()
            tag, vr, length = self._opening(implicit, self.stream.peek(8))
            place = self.stream.tell()
            if length > self.limits.value_bytes:
                if length == UNDEFINED:
                    raise Broken("file meta information of undefined length")
                self.stream.check(length)
                self.stream.skip(length)
            else:
                value = self.stream.take(length)
                found[BaseTag(tag)] = RawDataElement(
                    BaseTag(tag), vr, length, value or _empty(vr), place, implicit, True
                )
        meta = Dataset(found)
        meta.set_original_encoding(implicit, True, "iso8859")
        return meta

    def pass_over_commands(self) -> None:
        """Pass over elements of group 0000, which are implicit and do not belong into files."""
        while len(opening := self.stream.peek(8)) == 8 and opening[:2] == b"\0\0":
            self._count()
            _, _, length = self._opening(True, opening)
            self._pass_over(length, None, True, 0)

    def choose_encoding(self, syntax: str) -> bool:
        """Note whether the data set is little endian, and return whether it is implicit, as far as stated."""
        self.little = syntax != BIG_ENDIAN
        if syntax:
            return syntax == IMPLICIT
        opening = self.stream.peek(6)
        if len(opening) == 6 and opening[4:6].decode("latin-1") in _known_vrs():
            self.little = int.from_bytes(opening[:2], "little") < 1024
            return False
        return True

    def dataset(
        self, implicit: bool, end: int | None, depth: int, wanted: Wanted | None, encoding: Any, *, top: bool = False
    ) -> Dataset | None:
        """Walk through the elements of the data set or of an item; return None if nothing of it is wanted."""
        from pydicom.charset import convert_encodings
        from pydicom.dataelem import DataElement, RawDataElement
        from pydicom.sequence import Sequence
        from pydicom.tag import BaseTag
        from pydicom.values import convert_string

        implicit = self._found_implicit(implicit, top)
        stream = self.stream
        found: dict[Any, Any] = {}
        parent_encoding = encoding
        if top:
            self._elements = found
        while end is None or stream.tell() < end:
            opening = stream.peek(8)
            if len(opening) < 8:
                break
            self._count()
            before = stream.tell()
            tag, vr, length = self._opening(implicit, opening)
            if tag == ITEM_END:
                break
            if top and tag in PIXELS:
                if tag == 0x7FE00010:
                    self.pixels = (stream.tell(), None if length == UNDEFINED else length)
                break
            keep, inner = self._is_wanted(tag, wanted)
            if not keep:
                if length != UNDEFINED:
                    stream.skip(length)
                else:
                    self._pass_over(length, self._sequence_vr(tag, vr, length), implicit, depth)
                continue
            kind = self._sequence_vr(tag, vr, length)
            place = stream.tell()
            if kind == "SQ" and wanted is not None and inner is None:
                raise Broken("a sequence where a value belongs")
            if kind == "SQ":
                items = self._items(length, implicit, depth, inner, encoding)
                sequence: DataElement = DataElement(BaseTag(tag), "SQ", Sequence(items))
                sequence.is_undefined_length = length == UNDEFINED
                found[BaseTag(tag)] = sequence
                continue
            if length == UNDEFINED:
                if wanted is not None:
                    raise Broken("a value without a length")
                self._pass_over(length, kind, implicit, depth)
                continue
            if stream.tell() + length > stream.size and not isinstance(stream, _Inflated):
                break  # what the file still had is not there to be read
            if length > self.limits.value_bytes:
                if self.limits.drop_longer:
                    stream.skip(length)
                    continue
                raise BeyondLimit(f"a value of {length} bytes in element ({tag >> 16:04X},{tag & 0xFFFF:04X})")
            self.total_bytes += length
            if self.total_bytes > self.limits.total_bytes:
                raise BeyondLimit(f"more than {self.limits.total_bytes // 1024**2} MB in its header")
            value = stream.take(length)
            found[BaseTag(tag)] = RawDataElement(
                BaseTag(tag), vr, length, value if length else _empty(vr), place, implicit, self.little
            )
            if tag == CHARACTER_SET:
                encoding = convert_encodings(convert_string(value, self.little))
            elif top and tag == NUMBER_OF_FRAMES:
                self.frames = self._frames(value)
            elif top and tag == MODALITY and value.decode("latin-1").strip("\0 ") in self.stop_at:
                break
            if stream.tell() <= before:
                raise Broken("the walk does not go on")
        if wanted is NOTHING:
            return None
        return self._wrapped(found, implicit, encoding, parent_encoding)

    def _wrapped(self, found: dict[Any, Any], implicit: bool, encoding: Any, parent_encoding: Any) -> Dataset:
        from pydicom.dataset import Dataset

        dataset = Dataset(found, parent_encoding=parent_encoding)
        dataset.set_original_encoding(implicit, self.little, encoding)
        return dataset

    def _items(self, length: int, implicit: bool, depth: int, wanted: Wanted | None, encoding: Any) -> list[Dataset]:
        """Walk through the items of a sequence and return what is wanted of them."""
        stream = self.stream
        if depth >= self.limits.depth:
            raise BeyondLimit(f"sequences nested deeper than {self.limits.depth}")
        end = None if length == UNDEFINED else stream.tell() + length
        if end is not None and not isinstance(stream, _Inflated) and end > stream.size:
            raise Broken("a sequence longer than the file")
        items = []
        head = "<HHL" if self.little else ">HHL"
        while end is None or stream.tell() < end:
            self._count()
            group, element, item_length = struct.unpack(head, stream.take(8))
            tag = group << 16 | element
            if tag == SEQUENCE_END:
                break
            if tag != ITEM:
                raise Broken("no item where one belongs")
            item_end = None if item_length == UNDEFINED else stream.tell() + item_length
            item = self.dataset(implicit, item_end, depth + 1, wanted, encoding)
            if item is not None:
                items.append(item)
        if end is not None and stream.tell() > end:
            raise Broken("items longer than their sequence")
        return items

    def _pass_over(self, length: int, vr: str | None, implicit: bool, depth: int) -> None:
        """Pass over a value: a sequence of undefined length item by item, other bytes to their end."""
        stream = self.stream
        if length != UNDEFINED:
            stream.skip(length)
        elif vr == "SQ":
            self._items(length, implicit, depth, NOTHING, "iso8859")
        else:
            self._pass_over_fragments()

    def _pass_over_fragments(self) -> None:
        """Pass over a value of undefined length, which consists of items or at least ends as a sequence does."""
        stream = self.stream
        head = "<HHL" if self.little else ">HHL"
        while len(opening := stream.peek(8)) == 8:
            self._count()
            group, element, length = struct.unpack(head, opening)
            tag = group << 16 | element
            if tag not in (ITEM, SEQUENCE_END) or length == UNDEFINED:
                break
            stream.skip(8 + length)
            if tag == SEQUENCE_END:
                return
        wanted = struct.pack(head[:3], SEQUENCE_END >> 16, SEQUENCE_END & 0xFFFF)
        while len(block := stream.peek(BLOCK_BYTES)) >= 8:
            found = block.find(wanted)
            if found >= 0:
                stream.skip(found + 8)
                return
            self._count()
            stream.skip(len(block) - 3)
        raise Broken("a value of undefined length without an end")

    def _opening(self, implicit: bool, opening: bytes) -> tuple[int, str | None, int]:
        """Take in tag, value representation and length of the next element."""
        if len(opening) < 8:
            raise Broken("the file ends within an element")
        order = "<" if self.little else ">"
        self.stream.skip(8)
        vr_bytes = opening[4:6]
        if implicit or not (b"AA" <= vr_bytes <= b"ZZ"):
            group, element, length = struct.unpack(order + "HHL", opening)
            return group << 16 | element, None, length
        group, element, _, length = struct.unpack(order + "HH2sH", opening)
        vr = vr_bytes.decode("latin-1")
        if vr in _long_vrs():
            (length,) = struct.unpack(order + "L", self.stream.take(4))
        return group << 16 | element, vr, length

    def _found_implicit(self, implicit: bool, top: bool) -> bool:
        """Return whether a data set or item is implicit: by its first element, since writers mix the two."""
        if implicit and not top:
            return True
        opening = self.stream.peek(6)
        if len(opening) < 6:
            return implicit
        return not _is_vr(opening[4:])

    def _sequence_vr(self, tag: int, vr: str | None, length: int) -> str | None:
        """Return the value representation, as far as it matters whether it is a sequence."""
        from pydicom.datadict import dictionary_VR

        if vr == "UN" and length == UNDEFINED:
            return "SQ"
        if vr in (None, "UN"):
            try:
                return dictionary_VR(tag)
            except KeyError:
                if length == UNDEFINED:
                    order = "<HH" if self.little else ">HH"
                    if self.stream.peek(4) == struct.pack(order, ITEM >> 16, ITEM & 0xFFFF):
                        return "SQ"
        return vr

    def _is_wanted(self, tag: int, wanted: Wanted | None) -> tuple[bool, Wanted | None]:
        """Return whether an element is wanted, and what of its items."""
        if wanted is None:
            return not tag >> 16 & 1 and tag not in self.without, None
        return (True, wanted[tag]) if tag in wanted else (False, None)

    def _count(self) -> None:
        self.walked += 1
        if self.walked > self.limits.elements + self.frames * self.limits.elements_a_frame:
            raise BeyondLimit(f"more than {self.walked - 1} elements")

    def _frames(self, value: bytes) -> int:
        try:
            frames = max(0, int(value.decode("ascii").strip("\0 ").split("\\")[0] or 0))
        except ValueError:
            return 0
        if frames > self.limits.frames:
            raise BeyondLimit(f"{frames} frames")
        return frames


def _uid(dataset: Dataset, tag: int) -> str:
    """Return a UID as plain text."""
    element = dataset.get_item(tag) if tag in dataset else None
    value = getattr(element, "value", None) or b""
    return value.decode("latin-1").split("\\")[0].strip("\0 ") if isinstance(value, bytes) else str(value)


def _is_vr(letters: bytes) -> bool:
    return len(letters) == 2 and 0x40 < letters[0] < 0x5B and 0x40 < letters[1] < 0x5B


def _empty(vr: str | None) -> Any:
    """Return what pydicom takes for an empty value."""
    from pydicom.dataelem import empty_value_for_VR

    return empty_value_for_VR(vr, raw=True)


@lru_cache(maxsize=1)
def _long_vrs() -> frozenset[str]:
    """Value representations whose length has four bytes."""
    from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

    return frozenset(str(vr) for vr in EXPLICIT_VR_LENGTH_32)


@lru_cache(maxsize=1)
def _known_vrs() -> frozenset[str]:
    from pydicom.values import converters

    return frozenset(str(vr) for vr in converters)
