"""ZIP archives whose directories, sizes, names and streams lie, of bundles and of DICOM series."""

from __future__ import annotations

import shutil
import struct
import zlib
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from random import Random

from fuzzing import dicom, models
from fuzzing.harness import Kind
from fuzzing.volumes import bomb

ODD = (0, 1, 2, 255, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 10**6)
NAMES = (
    *(
        "../x",
        "/x",
        "a/../../x",
        "C:\\x",
        "a\\b",
        ".",
        "..",
        "a/./b",
        "CON",
        "NUL.txt",
        "",
        "/",
        "//",
        "a//b",
        "a/",
        "a",
    ),
    *(
        "bundle.json",
        "Bundle.JSON",
        "bundle.json/x",
        "x\0y",
        "\x1b[2J",
        "line\nbreak",
        "é" * 100,
        "n" * 65000,
        "d/" * 500 + "x",
    ),
    *("__MACOSX/x", ".DS_Store", "fine", "fine/fold_0", " ", "a.", "a ", "nul\0"),
)


@lru_cache(maxsize=64)
def _deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


@dataclass(frozen=True)
class Entry:
    """One file of an archive: what is stored, and what the two directories say about it."""

    name: bytes
    content: bytes
    method: int = 8
    flags: int = 0
    stated: int | None = None
    stated_packed: int | None = None
    crc: int | None = None
    packed: bytes | None = None
    local_name: bytes | None = None
    attributes: int = 0
    extra: bytes = b""
    same_place_as: int | None = None
    descriptor: bool = False
    version: int = 20
    offset: int | None = field(default=None)

    def stream(self) -> bytes:
        """Return the stored bytes."""
        if self.packed is not None:
            return self.packed
        if self.method == 0:
            return self.content
        return _deflated(self.content)


def written(rng: Random, entries: list[Entry], *, odd: bool) -> bytes:
    """Return an archive of these entries, with `odd` with something wrong in its end."""
    body, offsets, central = bytearray(), list[int](), bytearray()
    for entry in entries:
        offsets.append(len(body))
        if entry.same_place_as is not None and entry.same_place_as < len(offsets) - 1:
            offsets[-1] = offsets[entry.same_place_as]
            continue
        stream, name = entry.stream(), entry.name if entry.local_name is None else entry.local_name
        body += struct.pack("<IHHHHH", 0x04034B50, entry.version, entry.flags, entry.method, 0, 33) + _sizes(
            entry, stream
        )
        body += struct.pack("<HH", len(name), len(entry.extra)) + name + entry.extra + stream
        if entry.descriptor:
            body += struct.pack("<IIII", 0x08074B50, *struct.unpack("<III", _sizes(entry, stream)))
    start = len(body)
    for entry, offset in zip(entries, offsets, strict=True):
        offset = offset if entry.offset is None else entry.offset
        central += struct.pack("<IHHHHHH", 0x02014B50, 0x0314, entry.version, entry.flags, entry.method, 0, 33)
        central += _sizes(entry, entry.stream()) + struct.pack("<HHHHH", len(entry.name), len(entry.extra), 0, 0, 0)
        central += struct.pack("<II", entry.attributes, offset) + entry.name + entry.extra
    return bytes(body) + _end(rng, bytes(central), start, len(entries), odd=odd)


def _sizes(entry: Entry, stream: bytes) -> bytes:
    crc = zlib.crc32(entry.content) if entry.crc is None else entry.crc
    size = len(entry.content) if entry.stated is None else entry.stated
    packed = len(stream) if entry.stated_packed is None else entry.stated_packed
    return struct.pack("<III", crc, packed % 2**32, size % 2**32)


def _end(rng: Random, central: bytes, start: int, count: int, *, odd: bool) -> bytes:
    way = (
        rng.choice(("counts", "offset", "size", "comment", "cut", "twice", "zip64", "zip64", "disk", "none"))
        if odd
        else ""
    )
    size, comment, disk = len(central), b"", 0
    if way == "counts":
        count = rng.choice((0, 1, count + 1, 65535))
    elif way == "offset":
        start = rng.choice((0, 1, start + 1, start - 1, 2**32 - 1))
    elif way == "size":
        size = rng.choice((0, size + 1, size - 1, 2**32 - 1))
    elif way == "comment":
        comment = rng.choice((bytes(65535), b"PK\x05\x06" * 1000, central[:60000]))
    elif way == "disk":
        disk = rng.choice((1, 65535))
    end = struct.pack(
        "<IHHHHIIH", 0x06054B50, disk, disk, count % 65536, count % 65536, size % 2**32, start % 2**32, len(comment)
    )
    if way == "zip64":
        wrong = rng.choice((0, 1, 2**63, 2**64 - 1))
        values = [count, count, len(central), start]
        if rng.random() < 0.7:
            values[rng.randrange(4)] = wrong
        record = struct.pack("<IQHHIIQQQQ", 0x06064B50, rng.choice((44, 0, 2**63)), 45, 45, 0, 0, *values)
        place = rng.choice((start + len(central), 0, 2**63))
        locator = struct.pack("<IIQI", 0x07064B50, 0, place, rng.choice((1, 0, 9)))
        end = record + locator + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)
    if way == "cut":
        whole = central + end
        return whole[: rng.randint(0, len(whole))]
    if way == "none":
        return central
    return central + end + comment + (end if way == "twice" else b"")


def change(rng: Random, entries: list[Entry]) -> None:
    """Change the entries in one place."""
    ways = (
        "size",
        "packed size",
        "crc",
        "method",
        "flags",
        "name",
        "local name",
        "bomb",
        "bomb",
        "link",
        "overlap",
        "extra",
    )
    way = rng.choice(
        (*ways, "many", "twice", "remove", "offset", "descriptor", "stream", "below", "nested", "order", "version")
    )
    at = rng.randrange(len(entries)) if entries else 0
    if not entries:
        entries.append(Entry(b"x", b"x"))
    entry = entries[at]
    if way == "size":
        entry = replace(entry, stated=rng.choice((*ODD, len(entry.content) - 1, len(entry.content) + 1)))
    elif way == "packed size":
        entry = replace(entry, stated_packed=rng.choice((*ODD, len(entry.stream()) - 1)))
    elif way == "crc":
        entry = replace(entry, crc=rng.choice((0, 2**32 - 1)))
    elif way == "method":
        entry = replace(entry, method=rng.choice((0, 1, 6, 8, 9, 12, 14, 93, 95, 98, 99, 65535)))
    elif way == "flags":
        entry = replace(entry, flags=rng.choice((1, 8, 0x20, 0x40, 0x41, 0x800, 0x2000, 0xFFFF)))
    elif way == "name":
        entry = replace(entry, name=rng.choice((*(name.encode()[:65000] for name in NAMES), b"\xff\xfe", b"\x80" * 20)))
        if rng.random() < 0.4:
            entry = replace(entry, flags=entry.flags | 0x800)
    elif way == "local name":
        entry = replace(entry, local_name=rng.choice((b"", b"other", b"../x", entry.name * 50)))
    elif way == "bomb":
        megabytes = rng.choice((64, 700, 2500, 6000, 20_000))
        size = rng.choice((megabytes * 2**20 + 3, len(entry.content), 0)) % 2**32
        entry = replace(entry, packed=bomb(megabytes), stated=size, name=rng.choice((entry.name, b"bomb")))
    elif way == "link":
        kind = rng.choice((0o120777, 0o010644, 0o060644, 0o140644, 0o040755, 0o104755))
        target = rng.choice((b"/etc/passwd", b"..", b"bundle.json", b"/dev/zero"))
        entry = replace(entry, attributes=kind << 16, content=target)
    elif way == "overlap":
        entries += [replace(entry, name=f"copy{n}".encode(), same_place_as=at) for n in range(rng.choice((1, 5, 1000)))]
    elif way == "extra":
        extra = rng.choice(
            (struct.pack("<HHQQ", 1, 16, 2**63, 2**62), struct.pack("<HH", 1, 0), struct.pack("<HH", 1, 60000))
        )
        entry = replace(entry, extra=rng.choice((extra, b"\1", bytes(60000), struct.pack("<HHB", 0x7075, 1, 1))))
        if rng.random() < 0.5:
            entry = replace(entry, stated=2**32 - 1, stated_packed=2**32 - 1)
    elif way == "many":
        count = rng.choice((20, 255, 257, 3000, 70_000))
        entries += [Entry(f"n{n}".encode(), b"") for n in range(count)]
    elif way == "twice":
        entries.insert(rng.randint(0, len(entries)), replace(entry, name=rng.choice((entry.name, entry.name.upper()))))
    elif way == "remove":
        del entries[at]
        return
    elif way == "offset":
        entry = replace(entry, offset=rng.choice((*ODD, 10)))
    elif way == "descriptor":
        entry = replace(entry, descriptor=True, flags=entry.flags | 8)
    elif way == "stream":
        stream = entry.stream()
        cut = rng.randint(0, len(stream))
        packed = rng.choice((stream[:cut], stream + stream, b"", zlib.compress(entry.content), rng.randbytes(50)))
        entry = replace(entry, packed=packed)
    elif way == "below":  # a file where a folder is needed
        entries.insert(0, Entry(entry.name.split(b"/")[0], b"x"))
        return
    elif way == "nested":
        entry = replace(entry, content=written(rng, list(entries[:3]), odd=False))
    elif way == "order":
        rng.shuffle(entries)
        return
    elif way == "version":
        entry = replace(entry, version=rng.choice((0, 45, 63, 255)))
    entries[min(at, len(entries) - 1)] = entry


def _archive(rng: Random, folder: Path, below: str) -> bytes:
    """Return an archive of the files of `folder`, changed."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    method = rng.choice((0, 8))
    entries = [
        Entry(f"{below}{path.relative_to(folder).as_posix()}".encode(), path.read_bytes(), method) for path in files
    ]
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        change(rng, entries)
    content = written(rng, entries, odd=rng.random() < 0.25)
    way = rng.choice(("plain",) * 14 + ("before", "cut", "after", "twice"))
    if way == "before":
        return rng.choice((b"#!/bin/sh\n", b"\x89PNG" + bytes(100))) + content
    if way == "cut":
        return content[: rng.randint(0, len(content))]
    if way == "after":
        return content + bytes(rng.choice((1, 70_000)))
    return content + content if way == "twice" else content


def make_bundle_zip(rng: Random, seeds: Path, folder: Path) -> Path:
    """Write the ZIP of a bundle."""
    path = folder / "bundle.zip"
    path.write_bytes(_archive(rng, seeds / "bundle", rng.choice(("", "", "wrapped/"))))
    return path


def make_dicom_zip(rng: Random, seeds: Path, folder: Path) -> Path:
    """Write the ZIP of a series."""
    path = folder / "scan.zip"
    path.write_bytes(_archive(rng, seeds / "ct", rng.choice(("", "DICOM/S1/"))))
    return path


def prepare_bundle(folder: Path) -> None:
    """Write a bundle without its weights' size: the ways of a ZIP do not depend on it."""
    models.prepare(folder)
    shutil.rmtree(folder / "bundle" / "fine" / "fold_0")  # 0.7 MB for each input
    (folder / "bundle" / "fine" / "fold_0").mkdir()
    (folder / "bundle" / "fine" / "fold_0" / "checkpoint_final.pth").write_bytes(b"weights" * 100)
    models.hash_anew(folder / "bundle")


def read_bundle(made: object, folder: Path) -> None:
    """Open the bundle."""
    from twintrack.bundle.model_bundle import Bundle

    with Bundle.open(Path(str(made))) as bundle:
        bundle.describe()


def read_dicom(made: object, folder: Path) -> None:
    """Read the series; what was unpacked goes with it."""
    import gc

    dicom.read(made, folder)
    gc.collect()


def bundle_command(made: object, folder: Path) -> tuple[list[str], bytes]:
    """Verify the bundle."""
    return ["bundle", "verify", str(made)], b""


def load_bundle() -> None:
    """Import what opens a bundle."""
    import twintrack.bundle.model_bundle  # noqa: F401


BUNDLE_ZIP = Kind("bundle-zip", prepare_bundle, make_bundle_zip, read_bundle, bundle_command, load_bundle)
DICOM_ZIP = Kind("dicom-zip", dicom.prepare, make_dicom_zip, read_dicom, dicom.command, dicom.load)
