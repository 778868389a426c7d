"""DICOM series whose elements, sequences, lengths, encodings, pixels and folders are put together wrongly.

The seeds are taken apart into elements and written by a writer of its own, which writes whatever it is told to.
"""

from __future__ import annotations

import copy
import os
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np

from fuzzing.harness import Kind
from fuzzing.shapes import TEXTS
from fuzzing.volumes import bomb

SLICES = 6
LONG_FORMS = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UN", b"UT", b"UC", b"UR", b"SV", b"UV")
FORMS = (
    *LONG_FORMS,
    b"DS",
    b"IS",
    b"US",
    b"SS",
    b"UL",
    b"SL",
    b"FD",
    b"FL",
    b"LO",
    b"UI",
    b"CS",
    b"PN",
    b"AT",
    b"ZZ",
    b"\0\0",
)
UNDEFINED = 0xFFFFFFFF

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
RLE, JPEG, JPEG_LOSSLESS = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70"
JPEG_LS, J2K, HTJ2K = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201"
SYNTAXES = (
    *(IMPLICIT, EXPLICIT, DEFLATED, BIG, RLE, JPEG, JPEG_LOSSLESS, JPEG_LS, J2K, HTJ2K),
    *("1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.4.94"),
    *("1.2.840.10008.1.2.8.1", "1.2.840.10008.1.2.4.95", "1.2.840.113619.5.2", "1.2.3", "", "x" * 64),
)

NUMBERS = (0, 1, 2, 3, 7, 8, 12, 16, 23, 25, 32, 64, 255, 256, 4096, 32767, 32768, 65535)
DECIMALS = (
    *(
        "0",
        "-1",
        "nan",
        "inf",
        "1e400",
        "1e-300",
        "1e9",
        "1,5",
        "",
        "x",
        "9" * 5000,
        "1\\2",
        "1\\2\\3\\4\\5\\6\\7",
        "\\\\",
    ),
    *("0.0001", "-0", "1e", "0x10", " 1 ", "1\0", "1e30", "2147483648"),
)
CHARSETS = (
    "ISO_IR 999",
    "\\ISO 2022 IR 87",
    "ISO_IR 192",
    "GB18030",
    "utf-8",
    "rot13",
    "hex",
    "undefined",
    "a\\b\\c" * 500,
    "",
)

# (group, element): keyword and form of what readers look at
NUMERIC = {
    **{(0x28, 0x10): "Rows", (0x28, 0x11): "Columns", (0x28, 0x100): "BitsAllocated", (0x28, 0x101): "BitsStored"},
    **{(0x28, 0x102): "HighBit", (0x28, 0x103): "PixelRepresentation", (0x28, 2): "SamplesPerPixel"},
    **{(0x28, 6): "PlanarConfiguration"},
}
TEXTUAL = {
    **{(0x20, 0x32): "ImagePositionPatient", (0x20, 0x37): "ImageOrientationPatient", (0x28, 0x30): "PixelSpacing"},
    **{(0x28, 0x1052): "RescaleIntercept", (0x28, 0x1053): "RescaleSlope", (0x28, 8): "NumberOfFrames"},
    **{(0x20, 0x13): "InstanceNumber", (0x18, 0x50): "SliceThickness", (0x28, 4): "PhotometricInterpretation"},
    **{(8, 0x60): "Modality", (8, 8): "ImageType", (8, 0x16): "SOPClassUID", (8, 0x18): "SOPInstanceUID"},
    **{(0x20, 0xE): "SeriesInstanceUID", (0x20, 0xD): "StudyInstanceUID", (0x20, 0x52): "FrameOfReferenceUID"},
    **{(8, 0x103E): "SeriesDescription", (0x10, 0x10): "PatientName", (8, 5): "SpecificCharacterSet"},
}
NUMBER_TEXTS = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleIntercept", "RescaleSlope")


@dataclass
class Element:
    """One element as it will be written.

    Attributes
    ----------
    tag : tuple of int
        Group and element.
    form : bytes
        Value representation.
    value : bytes
        Its value, where it has no items.
    items : list of list of Element or None
        Items of a sequence.
    length : int or None
        What is written as its length, if not what it has.
    undefined : bool
        Whether a sequence ends with a delimiter.
    ends : bool
        Whether what needs a delimiter gets one.
    """

    tag: tuple[int, int]
    form: bytes
    value: bytes = b""
    items: list[list[Element]] | None = None
    length: int | None = None
    undefined: bool = False
    ends: bool = True
    raw: bytes | None = field(default=None, repr=False)


def taken_apart(dataset) -> list[Element]:
    """Return the elements of a pydicom data set."""
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_data_element

    elements = []
    for item in dataset:
        tag, form = (item.tag.group, item.tag.element), item.VR.encode()
        if item.VR == "SQ":
            elements.append(Element(tag, form, items=[taken_apart(inner) for inner in item.value]))
            continue
        stream = DicomBytesIO()
        stream.is_little_endian, stream.is_implicit_VR = True, True
        write_data_element(stream, item, ["ascii"])
        elements.append(Element(tag, form, stream.getvalue()[8:]))
    return elements


def written(elements: list[Element], *, implicit: bool = False, big: bool = False) -> bytes:
    """Return the bytes of elements."""
    return b"".join(_written(element, implicit, ">" if big else "<") for element in elements)


def _written(element: Element, implicit: bool, order: str) -> bytes:
    if element.raw is not None:
        return element.raw
    value = element.value if element.items is None else _items(element, implicit, order)
    if order == ">" and element.form in (b"US", b"SS", b"OW", b"UL", b"FD"):
        width = {b"UL": 4, b"FD": 8}.get(element.form, 2)
        value = np.frombuffer(value[: len(value) // width * width], f"<u{width}").byteswap().tobytes()
    if len(value) % 2 and element.items is None:
        value += b"\0" if element.form in (b"UI", b"OB", b"UN") else b" "
    length = element.length
    if length is None:
        length = UNDEFINED if element.undefined else len(value)
    head = struct.pack(order + "HH", *element.tag)
    if implicit:
        head += struct.pack(order + "I", length & UNDEFINED)
    elif element.form in LONG_FORMS:
        head += element.form + b"\0\0" + struct.pack(order + "I", length & UNDEFINED)
    else:
        head += element.form + struct.pack(order + "H", length & 0xFFFF)
    end = struct.pack(order + "HHI", 0xFFFE, 0xE0DD, 0) if element.undefined and element.ends else b""
    return head + value + end


def _items(element: Element, implicit: bool, order: str) -> bytes:
    parts = []
    for inner in element.items or []:
        content = b"".join(_written(one, implicit, order) for one in inner)
        length = UNDEFINED if element.undefined else len(content)
        parts.append(struct.pack(order + "HHI", 0xFFFE, 0xE000, length) + content)
        if element.undefined and element.ends:
            parts.append(struct.pack(order + "HHI", 0xFFFE, 0xE00D, 0))
    return b"".join(parts)


def deep(rng: Random, depth: int, implicit: bool) -> Element:
    """Return sequences in sequences, most of them where no reader has to look, written without recursion."""
    tag = rng.choice(((0x40, 0x275), (9, 0x1010), (0x8, 0x1140), (0x5200, 0x9229), (0x5200, 0x9230)))
    head = struct.pack("<HH", *tag)
    defined = rng.random() < 0.4
    form = rng.choice((b"SQ", b"SQ", b"UN"))
    core = b""
    if not defined:
        mark = struct.pack("<I", UNDEFINED)
        begin = head + (b"" if implicit else form + b"\0\0") + mark + b"\xfe\xff\x00\xe0" + mark
        end = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
        return Element(tag, form, raw=begin * depth + (end * depth if rng.random() < 0.6 else b""))
    parts, size = [], 0
    for _ in range(depth):
        outer = head + (b"" if implicit else form + b"\0\0") + struct.pack("<I", size + 8)
        parts.append(outer + b"\xfe\xff\x00\xe0" + struct.pack("<I", size))
        size += len(parts[-1])
    return Element(tag, form, raw=b"".join(reversed(parts)) + core)


def wide(rng: Random, implicit: bool) -> list[Element]:
    """Return very many elements, items, values or fragments."""
    way = rng.choice(("private", "items", "values", "same", "unknown"))
    count = rng.choice((1000, 20_000, 60_000))
    if way == "items":
        items: list[list[Element]] = [[] for _ in range(count)]
        return [Element((0x40, 0x275), b"SQ", items=items, undefined=rng.random() < 0.5)]
    if way == "values":
        text = rng.choice((b"1\\", b"\\", b"1.2.3\\", "膵\\".encode()))
        return [Element(rng.choice(list(TEXTUAL)), rng.choice((b"UC", b"UT", b"UN")), text * count)]
    if way == "same":
        return [Element((0x10, 0x4000), b"LT", b"x")] * count
    if way == "unknown":
        return [Element((0x9, 0x1000 + n % 0xEFF), b"UN", b"ab") for n in range(count)]
    return [Element((0x11 + 2 * (n // 0xEF00), 0x1000 + n % 0xEF00), b"LO", b"x") for n in range(count)]


def every(elements: list[Element]) -> list[tuple[list[Element], int]]:
    """Return each element at any depth, as its list and index."""
    found = []
    for index, element in enumerate(elements):
        found.append((elements, index))
        for inner in element.items or []:
            found += every(inner)
    return found


def _put(elements: list[Element], element: Element) -> None:
    """Replace an element, or add it in order."""
    for index, old in enumerate(elements):
        if old.tag == element.tag:
            elements[index] = element
            return
        if old.tag > element.tag:
            elements.insert(index, element)
            return
    elements.append(element)


CHANGES = (
    *("number", "number", "number", "text", "text", "form", "count", "remove", "twice", "order", "length", "length"),
    *("deep", "wide", "private", "charset", "pixels", "pixels", "items", "delimiter", "nest", "overlay", "lut"),
)


def change(rng: Random, elements: list[Element], implicit: bool) -> None:
    """Change the elements of one file in one place."""
    action = rng.choice(CHANGES)
    holder, index = rng.choice(every(elements))
    element = holder[index]
    if action == "number":
        tag = rng.choice(list(NUMERIC))
        _put(elements, Element(tag, b"US", struct.pack("<H", rng.choice(NUMBERS)) * rng.choice((1, 1, 1, 0, 2))))
    elif action == "text":
        tag = rng.choice(list(TEXTUAL))
        text = rng.choice(DECIMALS if TEXTUAL[tag] in NUMBER_TEXTS or rng.random() < 0.4 else TEXTS)
        form = next((old.form for (old,) in zip(elements) if old.tag == tag), b"LO")
        if tag == (0x28, 8):
            form, text = b"IS", rng.choice(("0", "-1", "2", "100", "65536", "2147483647", "999999999999", text))
        _put(elements, Element(tag, form, text.encode("utf-8", "surrogatepass")))
    elif action == "form":
        element.form = rng.choice(FORMS)
    elif action == "count":
        element.value = element.value * rng.choice((0, 2, 3, 1000)) if rng.random() < 0.5 else element.value[:-1]
        if element.items is not None:
            element.items = element.items * rng.choice((0, 2, 100))
    elif action == "remove":
        del holder[index]
    elif action == "twice":
        holder.insert(rng.randint(0, len(holder)), copy.deepcopy(element))
    elif action == "order":
        rng.shuffle(holder)
    elif action == "length":
        real = len(element.value)
        choices = (0, 1, real + 1, real + 2, max(0, real - 2), 0xFFFE, 0x7FFFFFFF, 0xFFFFFFFE, UNDEFINED, 3)
        element.length = rng.choice(choices)
    elif action == "deep":
        depth = rng.choice((10, 60, 200, 950, 3200, 3200, 40_000))
        elements.insert(rng.choice((0, len(elements) // 2, len(elements))), deep(rng, depth, implicit))
    elif action == "wide":
        elements[-1:-1] = wide(rng, implicit)
    elif action == "private":
        group = rng.choice((9, 0x29, 0x51, 1, 3, 0xFFFF, 8))
        creator = Element((group, rng.choice((0x10, 0x11, 0xFF, 1))), b"LO", b"SOME VENDOR")
        inside = rng.choice(
            (b"", b"\xfe\xff\x00\xe0\xff\xff\xff\xff", bytes(400), b"\xfe\xff\x00\xe0\x08\0\0\0" + bytes(3))
        )
        block = Element((group, 0x1010), rng.choice((b"UN", b"SQ", b"OB")), inside)
        block.length = rng.choice((None, UNDEFINED, 0x10000))
        elements[rng.randint(0, len(elements)) : 0] = [creator, block]
    elif action == "charset":
        _put(elements, Element((8, 5), b"CS", rng.choice(CHARSETS).encode()))
        name = rng.choice(
            (b"M\xfcller^\xff\xfe", "山田".encode("iso2022_jp"), b"\x1b$B;3", b"\x1b" * 500, "膵".encode())
        )
        _put(elements, Element((0x10, 0x10), b"PN", name))
        _put(elements, Element((8, 0x103E), b"LO", name))
    elif action == "pixels":
        _change_pixels(rng, elements)
    elif action == "items":
        item = [Element((8, 0x1150), b"UI", b"1.2.3"), Element((0x28, 0x30), b"DS", b"1\\1")]
        tag = rng.choice(((0x28, 0x9110), (0x5200, 0x9229), (0x5200, 0x9230), (0x8, 0x1140), (0x28, 0x9145)))
        items = [copy.deepcopy(item) for _ in range(rng.choice((0, 1, 2, 50)))]
        _put(elements, Element(tag, b"SQ", items=items, undefined=rng.random() < 0.5, ends=rng.random() < 0.7))
    elif action == "delimiter":
        stray = rng.choice((b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0", b"\xfe\xff\x00\xe0\x10\0\0\0"))
        elements.insert(rng.randint(0, len(elements)), Element((0, 0), b"UN", raw=stray * rng.choice((1, 2, 1000))))
    elif action == "nest":
        inner = copy.deepcopy(elements)
        place = Element((0x40, 0x275), b"SQ", items=[inner], undefined=rng.random() < 0.5)
        elements[:] = rng.choice(
            ([place], [*elements[:5], place, *elements[5:]], [*elements[:-1], place, elements[-1]])
        )
    elif action == "overlay":
        elements.append(Element((0x6000, 0x10), b"US", struct.pack("<H", 65535)))
        elements.append(Element((0x6000, 0x3000), b"OW", bytes(20)))
    elif action == "lut":
        table = [Element((0x28, 0x3002), b"US", struct.pack("<3H", rng.choice(NUMBERS), 0, 16))]
        table.append(Element((0x28, 0x3006), b"OW", bytes(rng.choice((0, 2, 131072)))))
        _put(elements, Element((0x28, 0x3000), b"SQ", items=[table]))


def _change_pixels(rng: Random, elements: list[Element]) -> None:
    holder = next((element for element in elements if element.tag == (0x7FE0, 0x10)), None)
    if holder is None:
        return
    action = rng.choice(("cut", "long", "none", "float", "undefined", "fragments", "form", "empty", "odd"))
    if action == "cut":
        holder.value = holder.value[: rng.randint(0, len(holder.value))]
    elif action == "long":
        holder.value += bytes(rng.choice((1, 2, 100_000)))
    elif action == "none":
        elements.remove(holder)
    elif action == "float":
        holder.tag, holder.form = rng.choice((((0x7FE0, 8), b"OF"), ((0x7FE0, 9), b"OD"), ((0x7FE0, 0), b"UL")))
    elif action == "undefined":
        holder.undefined, holder.ends = True, rng.random() < 0.5
    elif action == "fragments":
        holder.undefined, holder.value = True, fragments(rng, [holder.value])
    elif action == "form":
        holder.form = rng.choice(FORMS)
    elif action == "empty":
        holder.value = b""
    elif action == "odd":
        holder.value = holder.value[:-1]


def fragments(rng: Random, frames: list[bytes]) -> bytes:
    """Return encoded frames as items, with an offset table, most often with something wrong about both."""
    item = struct.Struct("<HHI")
    way = rng.choice(
        (
            "plain",
            "plain",
            "plain",
            "plain",
            "plain",
            "split",
            "none",
            "many",
            "table",
            "length",
            "delimiter",
            "cut",
            "extra",
            "nested",
        )
    )
    table = b""
    parts = [frame + b"\0" * (len(frame) % 2) for frame in frames]
    if way == "split":
        parts = [part[at : at + 100] for part in parts for at in range(0, len(part), 100)]
    elif way == "none":
        parts = []
    elif way == "many":
        parts = parts + [b""] * rng.choice((10, 50_000))
    elif way == "table":
        table = rng.choice(
            (struct.pack("<I", 0), struct.pack("<II", 0, 2**31), bytes(400_000), b"\1", rng.randbytes(40))
        )
    elif way == "extra":
        parts = parts * 2
    content = item.pack(0xFFFE, 0xE000, len(table)) + table
    for part in parts:
        length = rng.choice((0, len(part) + 2, UNDEFINED, 2**31)) if way == "length" else len(part)
        content += item.pack(0xFFFE, 0xE000, length) + part
    if way == "delimiter":
        content += item.pack(0xFFFE, rng.choice((0xE00D, 0xE0DD)), rng.choice((0, 8, UNDEFINED)))
    if way == "cut":
        content = content[: rng.randint(0, len(content))]
    if way == "nested":
        content = item.pack(0xFFFE, 0xE000, len(content)) + content
    return content


def _bent_frame(rng: Random, frame: bytes, syntax: str) -> bytes:
    """Change the header of an encoded frame: sizes, counts, offsets, markers."""
    frame_bytes = bytearray(frame)
    at = -1
    if syntax == RLE:
        offsets = (0, 1, 2, 15, 16, 255, 2**31, UNDEFINED)
        struct.pack_into("<I", frame_bytes, 4 * rng.randrange(16), rng.choice(offsets))
        if rng.random() < 0.2:
            frame_bytes = frame_bytes[:64] + bytes([129, 0]) * rng.choice((100, 200_000))
        return bytes(frame_bytes)
    markers = {
        J2K: b"\xff\x51",
        HTJ2K: b"\xff\x51",
        JPEG: b"\xff\xc0",
        JPEG_LOSSLESS: b"\xff\xc3",
        JPEG_LS: b"\xff\xf7",
    }
    at = frame_bytes.find(markers.get(syntax, b"\xff\xd8"))
    action = rng.choice(("size", "size", "byte", "cut", "marker", "tail"))
    if action == "size" and at >= 0:
        if syntax in (J2K, HTJ2K):
            place = at + 4 + rng.choice((2, 6, 10, 14, 18, 22, 26, 30))
            struct.pack_into(
                ">I", frame_bytes, place, rng.choice((0, 1, 24, 25, 255, 65535, 10**6, 2**31 - 1, UNDEFINED))
            )
            if rng.random() < 0.3:
                struct.pack_into(">H", frame_bytes, at + 38, rng.choice((0, 1, 3, 255, 16384, 65535)))
        else:
            struct.pack_into(">H", frame_bytes, at + rng.choice((2, 5, 7)), rng.choice((0, 1, 24, 25, 4096, 65535)))
            if rng.random() < 0.3:
                frame_bytes[at + rng.choice((4, 9))] = rng.choice((0, 1, 2, 3, 4, 8, 12, 16, 17, 255))
    elif action == "byte":
        place = rng.randrange(min(len(frame_bytes), 200))
        frame_bytes[place : place + 2] = rng.randbytes(2)
    elif action == "cut":
        del frame_bytes[rng.randrange(len(frame_bytes)) :]
    elif action == "marker":
        place = rng.randrange(2, min(len(frame_bytes), 200))
        frame_bytes[place:place] = (
            b"\xff" + bytes([rng.choice((0xD8, 0xD9, 0xC4, 0xDA, 0xFF, 0x90, 0x52, 0x64))]) + rng.randbytes(4)
        )
    elif action == "tail":
        frame_bytes += rng.randbytes(2) * rng.choice((1, 50_000))
    return bytes(frame_bytes)


def file_bytes(rng: Random, elements: list[Element], syntax: str, *, odd: bool) -> bytes:
    """Return a file: preamble, meta information and elements in the way of the syntax."""
    from_syntax = {IMPLICIT: (True, False), BIG: (False, True)}.get(syntax, (False, False))
    stated = syntax
    way = rng.choice(("stated", "stated", "meta", "preamble", "group", "bare", "big meta", "twice")) if odd else "plain"
    if way == "stated":
        stated = rng.choice(SYNTAXES)
    body = written(elements, implicit=from_syntax[0], big=from_syntax[1])
    if syntax == DEFLATED:
        body = _deflated(rng, body)
    meta = [
        *(Element((2, 1), b"OB", b"\0\1"), Element((2, 2), b"UI", b"1.2.840.10008.5.1.4.1.1.2")),
        *(Element((2, 3), b"UI", b"1.2.3.4"), Element((2, 0x10), b"UI", stated.encode())),
    ]
    if way == "meta":
        rng.shuffle(meta)
        del meta[rng.randrange(4) :]
    elif way == "big meta":
        meta.insert(2, Element((2, 0x102), b"OB", bytes(2_000_000)))
    elif way == "twice":
        meta *= rng.choice((2, 2000))
    head = written(meta)
    size = len(head) if way != "group" else rng.choice((0, 8, len(head) + 100, 2**31, UNDEFINED))
    head = written([Element((2, 0), b"UL", struct.pack("<I", size))]) + head
    preamble = bytes(128) + b"DICM"
    if way == "preamble":
        preamble = rng.choice(
            (b"", bytes(128), bytes(100) + b"DICM", bytes(128) + b"DICN", b"DICM", bytes(128) + b"DICM" * 2)
        )
    if way == "bare":
        return body
    return preamble + head + body


def _deflated(rng: Random, body: bytes) -> bytes:
    way = rng.choice(("plain", "plain", "plain", "plain", "zlib", "bomb", "bomb", "cut", "tail", "inside", "members"))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    if way == "bomb":  # pixels without end
        start = packer.compress(body) + packer.flush(zlib.Z_FULL_FLUSH)
        return start + bomb(rng.choice((64, 700, 2500, 6000)))
    if way == "inside":  # an element that says it is that large
        head = struct.pack("<HH", 0x7FE0, 0x10) + b"OW\0\0" + struct.pack("<I", rng.choice((2**30, 2**32 - 2)))
        start = packer.compress(body[:400] + head) + packer.flush(zlib.Z_FULL_FLUSH)
        return start + bomb(rng.choice((64, 700, 2500)))
    whole = packer.compress(body) + packer.flush()
    if way == "zlib":
        return zlib.compress(body)
    if way == "cut":
        return whole[: rng.randint(0, len(whole))]
    if way == "tail":
        return whole + rng.randbytes(100)
    if way == "members":
        return whole * 3
    return whole


# Seeds


def prepare(folder: Path) -> None:
    """Write a series, the same as an enhanced CT, and both in several encodings of the pixels."""
    import pickle

    from pydicom import dcmread

    from fuzzing.volumes import array
    from twintrack.dicom import write_ct_series
    from twintrack.volume import Geometry, Volume

    volume = Volume(array()[:SLICES], Geometry((24, 24, SLICES), (1.5, 1.6, 3.0), (-10.0, 5.0, 7.0)))
    write_ct_series(volume, folder / "ct", description="seed")
    datasets = [dcmread(path) for path in sorted((folder / "ct").iterdir())]
    seeds = {"plain": [taken_apart(dataset) for dataset in datasets], "enhanced": [taken_apart(_enhanced(datasets))]}
    for syntax in (RLE, J2K, JPEG_LS, HTJ2K):
        encoded = [_encoded(dataset, syntax) for dataset in datasets]
        if all(encoded):
            seeds[syntax] = encoded
    seeds[JPEG] = [_jpeg(dataset) for dataset in datasets]
    (folder / "seeds.pickle").write_bytes(pickle.dumps(seeds))


def _enhanced(slices: list) -> object:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    def item(**elements) -> Sequence:
        made = Dataset()
        for keyword, value in elements.items():
            setattr(made, keyword, value)
        return Sequence([made])

    first = copy.deepcopy(slices[0])
    first.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    shared = Dataset()
    shared.PixelMeasuresSequence = item(PixelSpacing=first.PixelSpacing, SliceThickness="3")
    shared.PlaneOrientationSequence = item(ImageOrientationPatient=first.ImageOrientationPatient)
    shared.PixelValueTransformationSequence = item(RescaleSlope="1", RescaleIntercept="0", RescaleType="HU")
    frames = []
    for source in slices:
        frame = Dataset()
        frame.PlanePositionSequence = item(ImagePositionPatient=source.ImagePositionPatient)
        frames.append(frame)
    for keyword in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
    ):
        delattr(first, keyword)
    first.SharedFunctionalGroupsSequence = Sequence([shared])
    first.PerFrameFunctionalGroupsSequence = Sequence(frames)
    first.NumberOfFrames = len(frames)
    first.PixelData = b"".join(source.PixelData for source in slices)
    return first


def _encoded(dataset, syntax: str) -> tuple[list[Element], bytes] | None:
    """Return the elements of a slice and its one encoded frame, None where no encoder is installed."""
    from pydicom.encaps import generate_frames

    made = copy.deepcopy(dataset)
    try:
        made.compress(syntax, generate_instance_uid=False)
    except Exception:  # no encoder here
        return None
    frame = next(iter(generate_frames(made.PixelData, number_of_frames=1)))
    return taken_apart(dataset), frame


def _jpeg(dataset) -> tuple[list[Element], bytes]:
    """Return a slice of 8 bits and its JPEG frame."""
    import io

    from PIL import Image

    made = copy.deepcopy(dataset)
    pixels = (np.frombuffer(dataset.PixelData, "<i2").reshape(24, 24) // 8 + 128).clip(0, 255).astype(np.uint8)
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return taken_apart(made), stream.getvalue()


# Inputs


def make(rng: Random, seeds: Path, folder: Path) -> Path:
    """Write a folder with a series that is wrong in one or all of its files, or that holds other things too."""
    import pickle

    known = pickle.loads((seeds / "seeds.pickle").read_bytes())
    place = folder / "ct"
    place.mkdir()
    way = rng.choice(("plain",) * 5 + ("enhanced",) * 2 + ("encoded",) * 3)
    if way == "encoded":
        syntax = rng.choice([name for name in known if name not in ("plain", "enhanced")])
        files = [_with_frame(rng, elements, frame, syntax) for elements, frame in known[syntax]]
        files = [(elements, syntax) for elements in files]
    else:
        syntax = rng.choice((EXPLICIT,) * 4 + (IMPLICIT, IMPLICIT, DEFLATED, BIG))
        files = [(elements, syntax) for elements in known[way]]
    touched = range(len(files)) if rng.random() < 0.25 else [rng.randrange(len(files))]
    times, odd = rng.choice((0, 1, 1, 1, 2, 4)), rng.random() < 0.2
    state = rng.getstate()
    contents = []
    for number, (elements, syntax) in enumerate(files):
        if number in touched:
            rng.setstate(state)  # the same change in all of them
            for _ in range(times):
                change(rng, elements, syntax == IMPLICIT)
            contents.append(file_bytes(rng, elements, syntax, odd=odd))
        else:
            plain = EXPLICIT if syntax == DEFLATED else syntax
            contents.append(file_bytes(rng, elements, plain, odd=False))
    for number, content in enumerate(contents):
        (place / f"{number:04d}.dcm").write_bytes(content)
    if rng.random() < 0.3:
        for _ in range(rng.choice((1, 1, 3))):
            _stray(rng, place, contents)
    if rng.random() < 0.1:
        return place / "0000.dcm"
    return place


def _with_frame(rng: Random, elements: list[Element], frame: bytes, syntax: str) -> list[Element]:
    frame = _bent_frame(rng, frame, syntax) if rng.random() < 0.6 else frame
    pixels = next(element for element in elements if element.tag == (0x7FE0, 0x10))
    pixels.form, pixels.undefined = b"OB", True
    pixels.value = fragments(rng, [frame])
    return elements


def _stray(rng: Random, place: Path, contents: list[bytes]) -> None:
    """Put something else into the folder."""
    way = rng.choice(
        ("text", "empty", "bomb", "deep", "copy", "cut", "folder", "link", "pipe", "index", "name", "large", "zip")
    )
    path = place / f"stray{rng.randrange(100)}{rng.choice(('', '.dcm', '.txt', '.nii.gz'))}"
    if path.exists():
        return
    if way == "text":
        path.write_text("nothing")
    elif way == "empty":
        path.touch()
    elif way == "bomb":
        body = written([Element((8, 0x60), b"CS", b"CT")])
        path.write_bytes(_meta_of(DEFLATED) + _deflated(rng, body)[:0] + _bomb_file(rng, body))
    elif way == "deep":
        depth = rng.choice((900, 3200, 40_000))
        path.write_bytes(_meta_of(EXPLICIT) + written([deep(rng, depth, False)]))
    elif way == "copy":
        path.write_bytes(contents[0])
    elif way == "cut":
        path.write_bytes(contents[0][: rng.randint(0, len(contents[0]))])
    elif way == "folder":
        path.mkdir()
    elif way == "link":
        path.symlink_to(rng.choice(("/dev/zero", "/etc/passwd", path.name, "nowhere", ".", "0000.dcm")))
    elif way == "pipe":
        os.mkfifo(path)
    elif way == "index":
        path.write_bytes(contents[0].replace(b"1.2.840.10008.5.1.4.1.1.2\0", b"1.2.840.10008.1.3.10\0\0\0\0\0\0"))
    elif way == "name":
        name = rng.choice((b"\xff\xfe.dcm", b"\x1b[2J.dcm", b"line\nbreak.dcm", b"n" * 250))
        with open(os.fsencode(place) + b"/" + name, "wb") as stream:  # noqa: PTH123
            stream.write(rng.choice((contents[0], contents[0][:500])))
    elif way == "large":
        with path.open("wb") as stream:
            stream.write(rng.choice((contents[0], b"")))
            stream.truncate(rng.choice((10**8, 5 * 10**9)))
    elif way == "zip":
        path.write_bytes(b"PK\x03\x04" + bytes(100))


def _meta_of(syntax: str) -> bytes:
    meta = [Element((2, 2), b"UI", b"1.2.840.10008.5.1.4.1.1.2"), Element((2, 0x10), b"UI", syntax.encode())]
    head = written(meta)
    return bytes(128) + b"DICM" + written([Element((2, 0), b"UL", struct.pack("<I", len(head)))]) + head


def _bomb_file(rng: Random, body: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(body + struct.pack("<HH", 0x7FE0, 0x10) + b"OW\0\0" + b"\xf0\xff\xff\xff")
    return start + packer.flush(zlib.Z_FULL_FLUSH) + bomb(rng.choice((64, 700, 2500, 6000)))


def read(made: object, folder: Path) -> None:
    """Read the series, and check what comes back."""
    from twintrack.dicom import read_series

    series = read_series(Path(str(made)))
    volume = series.volume
    assert volume.array.shape == volume.geometry.shape
    assert np.isfinite(volume.array).all()
    assert min(volume.geometry.spacing_mm) > 0


def command(made: object, folder: Path) -> tuple[list[str], bytes]:
    """Segment the series."""
    from fuzzing.commands import segment

    return segment(made, folder), b""


def load() -> None:
    """Import what reads the files."""
    import pydicom.pixels  # noqa: F401
    import pylibjpeg  # noqa: F401
    import SimpleITK  # noqa: F401

    import twintrack.dicom.read.series  # noqa: F401


DICOM = Kind("dicom", prepare, make, read, command, load)
