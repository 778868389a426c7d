"""NIfTI, NRRD and MetaImage files whose headers, counts, lengths, encodings and parts do not fit each other."""

from __future__ import annotations

import bz2
import gzip
import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from random import Random

import numpy as np

from fuzzing.harness import Kind
from fuzzing.shapes import TEXTS

SIZE = (16, 24, 24)
"""Of the seeds, (z, y, x)."""

ODD_NUMBERS = (
    *("0", "-1", "1", "2", "7", "16", "1e9", "-0", "0.5", "nan", "inf", "-inf", "1e400", "1e-300", "2147483647"),
    *("2147483648", "4294967295", "4294967296", "9223372036854775807", "-9223372036854775808", "18446744073709551616"),
    *("99999999999999999999999999", "9" * 5000, "0x10", "1,5", "1/2", "+3", "1e", "", "x", "1" + "0" * 40),
)
BLOCK = 1 << 20


def array() -> np.ndarray:
    """Return a CT with air, fat and soft tissue."""
    values = np.random.default_rng(4).normal(40, 30, SIZE).round().astype(np.int16)
    values[:, :5], values[:2, :, 20:] = -1000, -100
    return values


def prepare(folder: Path) -> None:
    """Write the bytes of the CT's voxels."""
    (folder / "voxels").write_bytes(array().tobytes())


def bomb(megabytes: int, level: int = 9) -> bytes:
    """Return a raw deflate stream of that many MiB of zeros, made without deflating them all."""
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    block = packer.compress(bytes(BLOCK)) + packer.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(level, zlib.DEFLATED, -15)
    return block * megabytes + last.compress(b"end") + last.flush()


def packed(rng: Random, content: bytes) -> bytes:
    """Return a gzip file of `content`, most often with something odd in its structure."""
    ways = ("plain",) * 16 + ("members", "empties", "tail", "zeros", "flags", "crc", "length", "cut", "method", "bomb")
    way = rng.choice((*ways, "bombtail", "stored", "twice", "extra"))
    whole = gzip.compress(content, rng.choice((0, 1, 6, 9)), mtime=0)
    if way == "members":
        parts = rng.choice((2, 3, 50))
        step = max(1, len(content) // parts)
        return b"".join(gzip.compress(content[at : at + step], mtime=0) for at in range(0, len(content), step))
    if way == "empties":
        return gzip.compress(b"", mtime=0) * rng.choice((1, 1000, 50_000)) + whole
    if way == "tail":
        return whole + rng.choice((b"x", b"\x1f\x8b", b"\x1f\x8b\x08\x00", b"junk" * 50, whole[:30]))
    if way == "zeros":
        return whole + bytes(rng.choice((1, 512, 100_000)))
    if way == "flags":
        return whole[:3] + bytes([rng.randint(1, 255)]) + whole[4:]
    if way == "crc":
        return whole[:-8] + rng.randbytes(4) + whole[-4:]
    if way == "length":
        return whole[:-4] + rng.choice((b"\0" * 4, b"\xff" * 4, rng.randbytes(4)))
    if way == "cut":
        return whole[: rng.randint(0, len(whole))]
    if way == "method":
        return whole[:2] + bytes([rng.choice((0, 7, 9, 255))]) + whole[3:]
    if way == "bomb":
        size = rng.choice((64, 700, 2500, 6000))
        return whole[:10] + bomb(size) + struct.pack("<II", 0, (size * BLOCK + 3) % 2**32)
    if way == "bombtail":
        first = zlib.compressobj(6, zlib.DEFLATED, -15)
        head = first.compress(content) + first.flush(zlib.Z_FULL_FLUSH)
        return whole[:10] + head + bomb(rng.choice((64, 700, 2500, 6000))) + rng.randbytes(8)
    if way == "twice":
        return gzip.compress(whole, mtime=0)
    if way == "extra":
        name = b"n" * rng.choice((10, 70_000)) + rng.choice((b"\0", b""))
        return whole[:3] + b"\x0c" + whole[4:10] + struct.pack("<H", 65535) + bytes(65535) + name + whole[10:]
    return whole


def _save(rng: Random, folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


# NIfTI

FIELDS_1 = {
    **{"sizeof_hdr": (0, "i"), "dim": (40, "8h"), "intent_code": (68, "h"), "datatype": (70, "h"), "bitpix": (72, "h")},
    **{"pixdim": (76, "8f"), "vox_offset": (108, "f"), "scl_slope": (112, "f"), "scl_inter": (116, "f")},
    **{"xyzt_units": (123, "B"), "qform_code": (252, "h"), "sform_code": (254, "h"), "quatern": (256, "3f")},
    **{"qoffset": (268, "3f"), "srow": (280, "12f"), "magic": (344, "4s")},
}
FIELDS_2 = {
    **{"sizeof_hdr": (0, "i"), "magic": (4, "8s"), "datatype": (12, "h"), "bitpix": (14, "h"), "dim": (16, "8q")},
    **{"intent_code": (504, "i"), "pixdim": (104, "8d"), "vox_offset": (168, "q"), "scl_slope": (176, "d")},
    **{"scl_inter": (184, "d"), "xyzt_units": (500, "i"), "qform_code": (344, "i"), "sform_code": (348, "i")},
    **{"quatern": (352, "3d"), "qoffset": (376, "3d"), "srow": (400, "12d")},
}
DATATYPES = {
    **{1: 1, 2: 8, 4: 16, 8: 32, 16: 32, 32: 64, 64: 64, 128: 24, 256: 8, 512: 16, 768: 32, 1024: 64, 1280: 64},
    **{1536: 128, 1792: 128, 2048: 256, 2304: 32},
}
WHOLE = (0, 1, -1, 2, 3, 7, 8, 127, 255, 256, 32767, -32768, 348, 352, 540, 2**31 - 1, -(2**31), 2**40, 2**62)
REALS = (0.0, -1.0, 1.0, 1e-9, 1e-38, 1e30, 1e38, -1e38, float("nan"), float("inf"), float("-inf"), 352.0, 348.5, 1e9)


class _Nifti:
    """A header whose fields can be set one by one, and what follows it."""

    def __init__(self, voxels: bytes, version: int, big: bool) -> None:
        self.fields, self.end = (FIELDS_1, 348) if version == 1 else (FIELDS_2, 540)
        self.order, self.content = ">" if big else "<", bytearray(self.end)
        self.voxels = np.frombuffer(voxels, "<i2").astype(f"{self.order}i2").tobytes()
        self.extensions = bytes(4)
        z, y, x = SIZE
        self.set("sizeof_hdr", self.end)
        self.set("dim", 3, x, y, z, 1, 1, 1, 1)
        self.set("datatype", 4)
        self.set("bitpix", 16)
        self.set("pixdim", 1, 1.5, 1.6, 3, 0, 0, 0, 0)
        self.set("vox_offset", self.end + 4)
        self.set("scl_slope", 1)
        self.set("xyzt_units", 2)
        self.set("sform_code", 1)
        self.set("srow", 1.5, 0, 0, -10, 0, 1.6, 0, 5, 0, 0, 3, 7)
        self.set("magic", b"n+1\0" if version == 1 else b"n+2\0\r\n\x1a\n")

    def set(self, name: str, *values: object) -> None:
        at, form = self.fields[name]
        try:
            struct.pack_into(self.order + form, self.content, at, *values)
        except (struct.error, OverflowError):
            size = struct.calcsize(form)
            self.content[at : at + size] = b"\xff" * size

    def set_one(self, name: str, index: int, value: object) -> None:
        at, form = self.fields[name]
        one = form[-1]
        with suppress(struct.error, OverflowError):
            struct.pack_into(self.order + one, self.content, at + index * struct.calcsize(one), value)

    def bytes(self) -> bytes:
        return bytes(self.content) + self.extensions + self.voxels


def _change_nifti(rng: Random, image: _Nifti) -> None:
    action = rng.choice(
        (
            "dim",
            "dims",
            "type",
            "bitpix",
            "offset",
            "scale",
            "spacing",
            "form",
            "extension",
            "length",
            "magic",
            "any",
            "nan",
        )
    )
    if action == "dim":
        image.set_one("dim", rng.randint(0, 7), rng.choice(WHOLE))
    elif action == "dims":  # as many values as there are, in another number of dimensions, or far more
        counts = rng.choice(
            ([1], [2], [2, 9216], [3, 9216, 1, 1], [4, 24, 24, 8, 2], [5, 24, 24, 8, 1, 2], [7] + [2] * 7)
        )
        counts = rng.choice(
            (counts, [3, 30000, 30000, 30000], [3, 2000, 2000, 1], [3, 1, 1, 1], [4, 24, 24, 16, 30000])
        )
        image.set("dim", *(counts + [1] * 8)[:8])
    elif action == "type":
        code = rng.choice((*DATATYPES, 0, -1, 3, 9999))
        image.set("datatype", code)
        image.set("bitpix", DATATYPES.get(code, 0) if rng.random() < 0.8 else rng.choice(WHOLE))
        if rng.random() < 0.6:
            image.voxels = (image.voxels * 16)[: 9216 * max(1, DATATYPES.get(code, 8)) // 8]
    elif action == "bitpix":
        image.set("bitpix", rng.choice(WHOLE))
    elif action == "offset":
        image.set("vox_offset", rng.choice((*REALS, *WHOLE)) if image.end == 348 else rng.choice(WHOLE))
    elif action == "scale":
        image.set(rng.choice(("scl_slope", "scl_inter")), rng.choice(REALS))
    elif action == "spacing":
        image.set_one("pixdim", rng.randint(0, 7), rng.choice(REALS))
    elif action == "form":
        for code in ("sform_code", "qform_code"):
            image.set(code, rng.choice((0, 1, 2, 3, 4, 5, -1, 30000)))
        name, count = rng.choice((("quatern", 3), ("qoffset", 3), ("srow", 12)))
        for _ in range(rng.randint(1, count)):
            image.set_one(name, rng.randrange(count), rng.choice((*REALS, 0.7, 1.5, 0.0)))
    elif action == "extension":
        size, count = rng.choice((0, 8, 16, 17, -16, 2**31 - 1, 64, 100_000)), rng.choice((1, 2, 1000, 50_000))
        one = struct.pack(image.order + "ii", size, rng.choice((0, 2, 4, 6, -1)))
        body = one + bytes(max(0, min(size, 200) - 8))
        image.extensions = bytes([1, 0, 0, 0]) + body * count
        if rng.random() < 0.7:
            image.set("vox_offset", image.end + len(image.extensions))
    elif action == "length":
        keep = rng.choice((0, 1, len(image.voxels) - 1, len(image.voxels) // 2, rng.randint(0, len(image.voxels))))
        image.voxels = rng.choice((image.voxels[:keep], image.voxels + bytes(rng.choice((1, 1000, 10**6)))))
    elif action == "magic":
        image.set(
            "magic", rng.choice((b"ni1\0", b"n+1\0", b"n+2\0\r\n\x1a\n", b"n+3\0", b"\0" * 8, b"ni2\0\r\n\x1a\n"))
        )
    elif action == "nan":
        image.set("datatype", 16)
        image.set("bitpix", 32)
        whole = image.voxels[: len(image.voxels) // 2 * 2] or bytes(2)
        values = np.frombuffer(whole, f"{image.order}i2").astype(f"{image.order}f4")
        values[rng.randrange(values.size)] = rng.choice((np.nan, np.inf, -np.inf, 1e38, 5))
        image.voxels = values.tobytes()
    else:
        at = rng.randrange(image.end)
        image.content[at : at + rng.choice((1, 2, 4))] = rng.randbytes(rng.choice((1, 2, 4)))


def make_nifti(rng: Random, seeds: Path, folder: Path) -> Path:
    """Write a NIfTI file with a wrong structure."""
    image = _Nifti((seeds / "voxels").read_bytes(), rng.choice((1, 1, 1, 2)), rng.random() < 0.2)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        _change_nifti(rng, image)
    content = image.bytes()
    if bytes(image.content[344:346]) == b"ni" and rng.random() < 0.7:
        (folder / "ct.img").write_bytes(image.voxels)
        (folder / "ct.hdr").write_bytes(image.content)
    if rng.random() < 0.06:
        content = content[: rng.choice((0, 1, 3, 100, 347, 348, 352, 540, 544, len(content) - 1))]
    ending = rng.choice((".nii", ".nii.gz", ".nii.gz"))
    wrapped = (ending == ".nii.gz") != (rng.random() < 0.05)
    if rng.random() < 0.03:
        ending = rng.choice((".nrrd", ".mha", ".nhdr", ".mhd", ".NII", ".nii.GZ", ".hdr"))
    return _save(rng, folder, f"ct{ending}", packed(rng, content) if wrapped else content)


# Data files of headers that name them


def other_file(rng: Random, folder: Path, voxels: bytes) -> str:
    """Return the name of a data file as a header may name it; it lies there, elsewhere, or is no file."""
    (folder / "ct.raw").write_bytes(voxels)
    (folder / "sub").mkdir(exist_ok=True)
    way = rng.choice(
        ("beside", "beside", "sub", "absolute", "fifo", "device", "above", "link", "folder", "self", "none", "text")
    )
    if way == "fifo":
        os.mkfifo(folder / "pipe.raw")
        return "pipe.raw"
    if way == "link":
        (folder / "link.raw").symlink_to(rng.choice(("/etc/passwd", "/dev/zero", "link.raw", "ct.raw", "nowhere")))
        return "link.raw"
    if way == "sub":
        (folder / "sub" / "ct.raw").write_bytes(voxels)
        return "sub/ct.raw"
    device = rng.choice(("/dev/zero", "/dev/urandom", "/dev/stdin", "/proc/self/mem", "/dev/null"))
    names = {
        "absolute": rng.choice(("/etc/passwd", str(folder / "ct.raw"))),
        "device": device,
        "above": "../../../etc/passwd",
    }
    names |= {"folder": "sub", "self": "ct.nhdr", "none": "nowhere.raw", "beside": "ct.raw", "text": rng.choice(TEXTS)}
    return names[way]


def many_files(rng: Random, folder: Path, voxels: bytes) -> tuple[str, list[str]]:
    """Write slices one by one; return a pattern and the list of their names, now and then with some missing."""
    step = len(voxels) // SIZE[0]
    names = [f"s{k:02d}.raw" for k in range(1, SIZE[0] + 1)]
    for k, name in enumerate(names):
        (folder / name).write_bytes(voxels[k * step : (k + 1) * step])
    if rng.random() < 0.3:
        (folder / rng.choice(names)).unlink()
    if rng.random() < 0.4:
        rng.shuffle(names)
        names = names[: rng.randint(0, len(names))] * rng.choice((1, 1, 2, 1000))
    last = rng.choice((SIZE[0], SIZE[0] - 1, 10**9, 0, -1))
    pattern = rng.choice(("s%02d.raw", "s%02d.raw", "%s%s%n", "%9999999d.raw", "s%02d%02d.raw", "s%*d.raw", "%d" * 200))
    return f"{pattern} {rng.choice((1, 1, 0, -5))} {last} {rng.choice((1, 1, 0, -1, 10**9))}", names


def _bent_lines(rng: Random, lines: list[str]) -> list[str]:
    """Repeat, remove, reorder and lengthen lines of a text header."""
    lines = list(lines)
    action = rng.choice(("none",) * 20 + ("remove", "twice", "shuffle", "long", "many", "blank", "odd"))
    at = rng.randrange(len(lines)) if lines else 0
    if action == "remove" and lines:
        del lines[at]
    elif action == "twice" and lines:
        lines.insert(rng.randint(0, len(lines)), lines[at])
    elif action == "shuffle":
        rng.shuffle(lines)
    elif action == "long" and lines:
        lines[at] += rng.choice((" ", "1 ", "x")) * rng.choice((2000, 40_000, 1_000_000))
    elif action == "many":
        line = rng.choice(("# note", "a:=b", "Comment = x", "key: value"))
        lines[at:at] = [line] * rng.choice((1000, 100_000))
    elif action == "blank":
        lines.insert(at, "")
    elif action == "odd":
        lines.insert(at, rng.choice(("\0" * 50, "\xff\xfe", "膵臓: 1", ": ", "=", ":=", "sizes", "\x1b[2J: 1")))
    return lines


def _text(rng: Random, lines: list[str], end: str = "") -> bytes:
    ends = rng.choice(("\n",) * 24 + ("\r\n",) * 4 + ("\r", "\n\r", "\n\n"))
    content = (ends.join(lines) + ends + (ends if end == "blank" else "")).encode("utf-8", "surrogatepass")
    return rng.choice(
        (content,) * 40 + (b"\xef\xbb\xbf" + content, content.decode("utf-8", "replace").encode("utf-16"))
    )


def _values(rng: Random, text: str) -> str:
    """Replace, add or drop one of the numbers of a field."""
    parts = text.split(" ")
    action = rng.choice(("replace", "replace", "replace", "add", "drop", "many", "all"))
    at = rng.randrange(len(parts))
    if action == "replace":
        parts[at] = rng.choice(ODD_NUMBERS)
    elif action == "add":
        parts.insert(at, rng.choice(ODD_NUMBERS))
    elif action == "drop":
        del parts[at]
    elif action == "many":
        parts *= rng.choice((2, 20, 10_000))
    else:
        parts = [rng.choice(ODD_NUMBERS)] * len(parts)
    return " ".join(parts)


# NRRD


def make_nrrd(rng: Random, seeds: Path, folder: Path) -> Path:
    """Write a NRRD file, or a header with its data files, with a wrong structure."""
    voxels = (seeds / "voxels").read_bytes()
    z, y, x = SIZE
    fields = {
        **{"type": "short", "dimension": "3", "space": "left-posterior-superior", "sizes": f"{x} {y} {z}"},
        **{"space directions": "(1.5,0,0) (0,1.6,0) (0,0,3)", "kinds": "domain domain domain", "endian": "little"},
        **{"encoding": "raw", "space origin": "(-10,5,7)"},
    }
    encoding = rng.choice(("raw", "raw", "raw", "gzip", "gzip", "gzip", "gz", "ascii", "text", "hex", "bzip2"))
    fields["encoding"] = encoding
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        voxels = _change_nrrd(rng, fields, voxels)
    data = _nrrd_data(rng, encoding, voxels)
    detached = rng.random() < 0.3
    lines = [f"{key}: {value}" for key, value in fields.items()]
    if detached:
        lines += _nrrd_data_file(rng, folder, data)
    lines = [
        rng.choice(("NRRD0004",) * 30 + ("NRRD0001", "NRRD0005", "NRRD0006", "NRRD9999", "NRRD", "nrrd0004")),
        *lines,
    ]
    header = _text(rng, _bent_lines(rng, lines), rng.choice(("blank",) * 30 + ("",)))
    if rng.random() < 0.05:
        data = data[: rng.randint(0, len(data))]
    ending = ".nhdr" if detached != (rng.random() < 0.05) else ".nrrd"
    return _save(rng, folder, f"ct{ending}", header + (b"" if detached else data))


def _change_nrrd(rng: Random, fields: dict[str, str], voxels: bytes) -> bytes:
    action = rng.choice(("value", "value", "value", "remove", "add", "dims", "type", "space", "skip", "text", "length"))
    name = rng.choice(list(fields))
    if action == "value":
        name = rng.choice(("dimension", "sizes", "sizes", "space directions", "space origin"))
        if name in fields:
            fields[name] = _values(rng, fields[name])
    elif action == "remove":
        del fields[name]
    elif action == "add":
        name = rng.choice(
            ("spacings", "thicknesses", "axis mins", "axis maxs", "space dimension", "block size", "content")
        )
        name = rng.choice(
            (name, "measurement frame", "units", "space units", "sample units", "old min", "max", "number")
        )
        fields[name] = rng.choice((*ODD_NUMBERS, "1 1 1", "(1,0,0) (0,1,0) (0,0,1)", *TEXTS))
    elif action == "dims":
        count = rng.choice((1, 2, 4, 5, 16, 17, 1000, 100_000))
        fields |= {"dimension": str(count), "sizes": " ".join(["1"] * max(0, count - 1) + ["9216"])}
        fields["kinds"] = " ".join(["domain"] * count)
        fields["space directions"] = " ".join(["(1,0,0)", "(0,1,0)", "(0,0,1)"] + ["none"] * max(0, count - 3))
    elif action == "type":
        fields["type"] = rng.choice(
            ("uchar", "float", "double", "int64", "uint8_t", "block", "longlong", "complex", "bool")
        )
        voxels = voxels * rng.choice((1, 2, 4))
    elif action == "space":
        fields["space"] = rng.choice(
            ("RAS", "LPS", "right-up", "3D-right-handed", "scanner-xyz-time", "left-posterior", "x")
        )
        directions = (
            "none none none",
            "(nan,0,0) (0,1,0) (0,0,1)",
            "(1,0,0) (1,0,0) (1,0,0)",
            "(0,0,0) (0,0,0) (0,0,0)",
        )
        more = (
            "(1,0) (0,1) (0,0)",
            "(1,0,0)",
            "none (1,0,0) (0,1,0)",
            "((1,0,0) (0,1,0",
            "(1e300,0,0) (0,1e300,0) (0,0,1)",
        )
        fields["space directions"] = rng.choice((*directions, *more))
    elif action == "skip":
        fields[rng.choice(("line skip", "byte skip", "lineskip", "byteskip"))] = rng.choice(ODD_NUMBERS)
    elif action == "text":
        fields[name] = rng.choice((fields[name].upper(), f" {fields[name]}", f'"{fields[name]}"', *TEXTS))
    elif action == "length":
        voxels = rng.choice((voxels[: rng.randint(0, len(voxels))], voxels * 2, b""))
    return voxels


def _nrrd_data(rng: Random, encoding: str, voxels: bytes) -> bytes:
    if encoding in ("gzip", "gz"):
        return packed(rng, voxels)
    if encoding in ("ascii", "text"):
        numbers = " ".join(map(str, np.frombuffer(voxels[: len(voxels) // 2 * 2], "<i2").tolist()))
        return (numbers + rng.choice(("", "", " x", " 99999999999999999999", " nan"))).encode()
    if encoding == "hex":
        return voxels.hex().encode() + rng.choice((b"", b"", b"zz", b"0"))
    if encoding in ("bzip2", "bz2"):
        whole = bz2.compress(voxels)
        return rng.choice(
            (whole, whole, whole[: len(whole) // 2], whole + whole, whole + b"x", bz2.compress(bytes(10**8)))
        )
    return voxels


def _nrrd_data_file(rng: Random, folder: Path, data: bytes) -> list[str]:
    way = rng.choice(("one", "one", "pattern", "list", "list"))
    if way == "one":
        return [f"data file: {other_file(rng, folder, data)}"]
    pattern, names = many_files(rng, folder, data)
    if way == "pattern":
        return [f"data file: {pattern}{rng.choice(('', '', ' 2', ' 99'))}"]
    return [f"data file: LIST{rng.choice(('', '', ' 2', ' 3', ' -1', ' 1e9'))}", *names]


# MetaImage

META_TYPES = {
    "MET_UCHAR": 1,
    "MET_SHORT": 2,
    "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
    "MET_LONG_LONG": 8,
    "MET_USHORT_ARRAY": 2,
}


def make_mha(rng: Random, seeds: Path, folder: Path) -> Path:
    """Write a MetaImage file, or a header with its data files, with a wrong structure."""
    voxels = (seeds / "voxels").read_bytes()
    z, y, x = SIZE
    fields = {
        **{"ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False"},
        **{"CompressedData": "False", "TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "-10 5 7"},
        **{"CenterOfRotation": "0 0 0", "ElementSpacing": "1.5 1.6 3", "DimSize": f"{x} {y} {z}"},
        **{"ElementType": "MET_SHORT"},
    }
    data = voxels
    if rng.random() < 0.5:
        data = zlib.compress(voxels)
        fields |= {"CompressedData": "True", "CompressedDataSize": str(len(data))}
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        data = _change_mha(rng, fields, data)
    detached = rng.random() < 0.3
    lines = [f"{key} = {value}" for key, value in fields.items()]
    last = ["ElementDataFile = LOCAL"]
    if detached:
        pattern, names = many_files(rng, folder, data)
        lists = [f"ElementDataFile = LIST{rng.choice(('', '', ' 2D', ' 3D', ' 9'))}", *names]
        last = rng.choice(
            (lists, [f"ElementDataFile = {pattern}"], [f"ElementDataFile = {other_file(rng, folder, data)}"])
        )
    header = _text(rng, [*_bent_lines(rng, lines), *last])
    ending = ".mhd" if detached != (rng.random() < 0.05) else ".mha"
    return _save(rng, folder, f"ct{ending}", header + (b"" if detached else data))


def _change_mha(rng: Random, fields: dict[str, str], data: bytes) -> bytes:
    action = rng.choice(
        ("value", "value", "value", "remove", "dims", "type", "flag", "packed", "add", "text", "length")
    )
    numeric = (
        "NDims",
        "DimSize",
        "TransformMatrix",
        "Offset",
        "ElementSpacing",
        "CenterOfRotation",
        "CompressedDataSize",
    )
    if action == "value":
        name = rng.choice([name for name in (*numeric, "NDims", "DimSize") if name in fields] or list(fields))
        fields[name] = _values(rng, fields[name])
    elif action == "remove":
        fields.pop(rng.choice((*fields, "CompressedDataSize", "NDims")), None)
    elif action == "dims":
        count = rng.choice((0, 1, 2, 4, 5, 10, 11, 100, 2**31 - 1, 2**31, 2**32 + 3, -3))
        few = max(1, min(abs(count), 200))
        fields |= {"NDims": str(count), "DimSize": " ".join(["1"] * (few - 1) + ["9216"])}
        if rng.random() < 0.6:
            fields |= {"TransformMatrix": " ".join(["1"] * few**2), "Offset": " ".join(["0"] * few)}
            fields["ElementSpacing"] = " ".join(["1"] * few)
    elif action == "type":
        fields["ElementType"] = rng.choice((*META_TYPES, "MET_STRING", "MET_OTHER", "MET_NONE", "MET_ASCII_CHAR", "x"))
        data = data * rng.choice((1, 1, 4))
    elif action == "flag":
        name = rng.choice(("BinaryData", "BinaryDataByteOrderMSB", "CompressedData", "ElementByteOrderMSB"))
        fields[name] = rng.choice(("True", "False", "true", "T", "1", "", "x"))
    elif action == "packed":
        ways = (packed(rng, data), zlib.compress(zlib.compress(data)), data[: len(data) // 2], data + data, b"\x78\x9c")
        data = rng.choice((*ways, b"\x78\x9c" + bomb(rng.choice((64, 700, 2500)))))
        fields |= {"CompressedData": "True", "CompressedDataSize": rng.choice((str(len(data)), *ODD_NUMBERS))}
    elif action == "add":
        name = rng.choice(
            ("HeaderSize", "HeaderSize", "ElementNumberOfChannels", "ElementMin", "ElementSize", "Modality")
        )
        name = rng.choice(
            (name, "ElementNBits", "ElementToIntensityFunctionSlope", "AnatomicalOrientation", "ID", "Name")
        )
        fields[name] = rng.choice((*ODD_NUMBERS, *TEXTS))
    elif action == "text":
        name = rng.choice(list(fields))
        fields[name] = rng.choice((*TEXTS, fields[name] + " " * 5000, fields[name].lower()))
    elif action == "length":
        data = rng.choice((data[: rng.randint(0, len(data))], data + bytes(1000), b""))
    return data


# Reading


def read(made: object, folder: Path) -> None:
    """Read the file as a CT's, and check what comes back."""
    from twintrack.io.volumes import read_volume

    volume = read_volume(Path(str(made)))
    assert volume.array.shape == volume.geometry.shape
    assert np.isfinite(volume.array).all()
    assert min(volume.geometry.spacing_mm) > 0
    assert np.isfinite(volume.geometry.affine).all()
    volume.to_lps()


def command(made: object, folder: Path) -> tuple[list[str], bytes]:
    """Segment the file."""
    from fuzzing.commands import segment

    return segment(made, folder), b""


def load() -> None:
    """Import what reads the files."""
    import nibabel  # noqa: F401
    import SimpleITK  # noqa: F401

    import twintrack.io.ct  # noqa: F401


NIFTI = Kind("nifti", prepare, make_nifti, read, command, load)
NRRD = Kind("nrrd", prepare, make_nrrd, read, command, load)
MHA = Kind("mha", prepare, make_mha, read, command, load)
