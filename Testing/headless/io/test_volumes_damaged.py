"""A damaged or hostile volume file is one sentence: never fewer voxels, other voxels, a hang, a bomb or a crash."""

from __future__ import annotations

import gzip
import os
import socket
import subprocess
import sys
import time
import zlib
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.errors import InputError, OutputError
from twintrack.io import voxel_file
from twintrack.io.volumes import check_single_file, read_volume, write_volume
from twintrack.volume import Geometry, Volume

POSIX = pytest.mark.skipif(os.name == "nt", reason="pipes, links and devices of POSIX")

GEOMETRY = Geometry((40, 30, 20), (0.7, 0.8, 2.5), (1.5, -2.5, 30.0))
ARRAY = np.random.default_rng(0).integers(-1000, 1000, GEOMETRY.shape).astype("<i2")
RAW = ARRAY.tobytes()

NRRD = [
    "NRRD0004",
    "type: int16",
    "dimension: 3",
    "space: left-posterior-superior",
    "sizes: 40 30 20",
    "space directions: (0.7,0,0) (0,0.8,0) (0,0,2.5)",
    "space origin: (1.5,-2.5,30)",
    "endian: little",
    "encoding: raw",
]
META = [
    "ObjectType = Image",
    "NDims = 3",
    "BinaryData = True",
    "BinaryDataByteOrderMSB = False",
    "TransformMatrix = 1 0 0 0 1 0 0 0 1",
    "Offset = 1.5 -2.5 30",
    "ElementSpacing = 0.7 0.8 2.5",
    "DimSize = 40 30 20",
    "ElementType = MET_SHORT",
]


def name_of(field: str) -> str:
    return field.split("=")[0].split(":")[0].strip()


def changed(fields: list[str], *changes: str) -> list[str]:
    """Return a header with fields replaced, in their place, by those of the same name, and others added."""
    by_name: dict[str, list[str]] = {name_of(field): [field] for field in fields}
    by_name |= {name_of(change): [] for change in changes}
    for change in changes:
        by_name[name_of(change)].append(change)
    return [field for same in by_name.values() for field in same]


def nrrd(path: Path, *changes: str, data: bytes = RAW) -> Path:
    lines = changed(NRRD, *changes)
    path.write_bytes(("\n".join(lines) + "\n\n").encode() + data)
    return path


def meta(path: Path, *changes: str, data: bytes = RAW, at: str = "LOCAL") -> Path:
    lines = [*changed(META, *changes), f"ElementDataFile = {at}"]
    path.write_bytes(("\n".join(lines) + "\n").encode() + data)
    return path


def compressed_meta(path: Path, data: bytes, *changes: str) -> Path:
    fields = changed(["CompressedData = True", f"CompressedDataSize = {len(data)}"], *changes)
    return meta(path, *fields, data=data)


def refused(path: Path, *codes: str, name: str = "") -> str:
    """Read a file that must be refused in one sentence for one of the reasons `codes`, and return the sentence."""
    with pytest.raises(InputError) as told:
        read_volume(path)
    assert told.value.code in codes or not codes
    assert told.value.path == path
    assert name in str(told.value)
    assert "\n" not in str(told.value)
    return str(told.value)


def assert_whole(path: Path) -> None:
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, ARRAY)
    assert volume.array.dtype == np.int16
    assert volume.geometry == GEOMETRY


# --- whole ones


def test_the_ways_to_write_the_same_volume_are_read_alike(tmp_path):
    assert_whole(nrrd(tmp_path / "raw.nrrd"))
    assert_whole(nrrd(tmp_path / "big.nrrd", "endian: big", data=ARRAY.astype(">i2").tobytes()))
    assert_whole(nrrd(tmp_path / "gzip.nrrd", "encoding: gzip", data=gzip.compress(RAW)))
    parts = gzip.compress(RAW[:999]) + gzip.compress(RAW[999:]) + bytes(512)
    assert_whole(nrrd(tmp_path / "parts.nrrd", "encoding: gz", data=parts))
    text = " ".join(map(str, ARRAY.ravel())).encode()
    assert_whole(nrrd(tmp_path / "text.nrrd", "encoding: ascii", data=text))
    assert_whole(nrrd(tmp_path / "hex.nrrd", "encoding: hex", data=RAW.hex().encode()))
    (tmp_path / "voxels.raw").write_bytes(RAW)
    (tmp_path / "voxels.raw.gz").write_bytes(gzip.compress(b"lead" + RAW))
    assert_whole(nrrd(tmp_path / "apart.nhdr", "data file: voxels.raw", data=b""))
    apart = ("data file: ./voxels.raw.gz", "encoding: gzip", "byte skip: 4")
    assert_whole(nrrd(tmp_path / "skip.nhdr", *apart, data=b""))
    for number, plane in enumerate(ARRAY):
        (tmp_path / f"plane{number:02d}.raw").write_bytes(plane.tobytes())
    assert_whole(nrrd(tmp_path / "planes.nhdr", "data file: plane%02d.raw 0 19 1", data=b""))
    names = "\n".join(f"plane{number:02d}.raw" for number in range(20))
    assert_whole(nrrd(tmp_path / "list.nhdr", f"data file: LIST\n{names}", data=b""))
    assert_whole(meta(tmp_path / "raw.mha"))
    assert_whole(meta(tmp_path / "end.mha", "HeaderSize = -1", data=b"anything" + RAW))
    big = meta(tmp_path / "big.mha", "BinaryDataByteOrderMSB = True", data=ARRAY.astype(">i2").tobytes())
    assert_whole(big)
    assert_whole(compressed_meta(tmp_path / "zlib.mha", zlib.compress(RAW)))
    assert_whole(compressed_meta(tmp_path / "gzip.mha", gzip.compress(RAW)))
    assert_whole(meta(tmp_path / "apart.mhd", data=b"", at="voxels.raw"))
    assert_whole(meta(tmp_path / "pattern.mhd", data=b"", at="plane%02d.raw 0 19"))
    assert_whole(meta(tmp_path / "list.mhd", data=names.encode(), at="LIST"))


def test_compressed_metaimage_voxels_without_a_stated_size_are_voxels_and_not_zeros(tmp_path):
    assert_whole(meta(tmp_path / "a.mha", "CompressedData = True", data=zlib.compress(RAW)))


@pytest.mark.skipif(sys.platform != "linux", reason="file systems that take any bytes as a name")
def test_a_name_that_is_not_utf8_is_read_and_refused_for_writing(tmp_path):
    name = tmp_path / os.fsdecode(b"ct\xff\xfe.nrrd")
    assert_whole(nrrd(name))
    nifti = tmp_path / "ct.nii.gz"
    write_volume(Volume(ARRAY, GEOMETRY), nifti)
    nifti.rename(tmp_path / os.fsdecode(b"ct\xff.nii.gz"))
    np.testing.assert_array_equal(read_volume(tmp_path / os.fsdecode(b"ct\xff.nii.gz")).array, ARRAY)
    with raises_error(OutputError, "not-writable"):
        write_volume(Volume(ARRAY, GEOMETRY), name)


# --- damaged ones


@pytest.mark.parametrize("ending", [".mha", ".nrrd", ".nii.gz"])
@pytest.mark.parametrize("place", [0.1, 0.5, 0.9, 0.999])
def test_one_flipped_bit_in_compressed_voxels_is_found_or_changes_nothing(tmp_path, ending, place):
    """Compressed data hold bits that nobody reads, such as the lengths of codes that do not occur."""
    path = tmp_path / f"mask{ending}"
    mask = (ARRAY > 990).astype(np.uint8)
    write_volume(Volume(mask, GEOMETRY), path)
    np.testing.assert_array_equal(read_volume(path).array, mask)
    data = bytearray(path.read_bytes())
    start = 400 if ending != ".nii.gz" else 60
    data[start + int(place * (len(data) - start - 1))] ^= 4
    path.write_bytes(data)
    with suppress(InputError):
        np.testing.assert_array_equal(read_volume(path).array, mask)
        return
    refused(path, "voxels-damaged", "voxels-cut-off", "voxels-too-many")


def test_nearly_every_flipped_bit_is_found(tmp_path):
    path = tmp_path / "mask.nii.gz"
    write_volume(Volume((ARRAY > 990).astype(np.uint8), GEOMETRY), path)
    data, found = path.read_bytes(), 0
    for place in range(20, len(data), 5):
        flipped = bytearray(data)
        flipped[place] ^= 4
        path.write_bytes(flipped)
        try:
            read_volume(path)
        except InputError:
            found += 1
    assert found > 0.7 * len(range(20, len(data), 5))


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.9999])
def test_what_is_cut_off_is_refused_in_every_encoding(tmp_path, kept):
    for data, write in (
        (RAW, lambda data: nrrd(tmp_path / "a.nrrd", data=data)),
        (gzip.compress(RAW), lambda data: nrrd(tmp_path / "b.nrrd", "encoding: gzip", data=data)),
        (RAW, lambda data: meta(tmp_path / "a.mha", data=data)),
        (
            zlib.compress(RAW),
            lambda data: meta(tmp_path / "b.mha", "CompressedData = True", data=data),
        ),
        (
            " ".join(map(str, ARRAY.ravel())).encode(),
            lambda data: nrrd(tmp_path / "c.nrrd", "encoding: text", data=data[: data.rfind(b" ")]),
        ),
        (RAW.hex().encode(), lambda data: nrrd(tmp_path / "d.nrrd", "encoding: hex", data=data[: len(data) & ~1])),
    ):
        refused(write(data[: int(kept * len(data))]), "voxels-cut-off")
    compressed = zlib.compress(RAW)
    path = compressed_meta(tmp_path / "e.mha", compressed)
    path.write_bytes(path.read_bytes()[:-1])
    refused(path, "voxels-cut-off")


def test_what_holds_more_than_its_header_says_is_refused(tmp_path):
    refused(nrrd(tmp_path / "a.nrrd", data=RAW + b"x"), "voxels-too-many")
    refused(nrrd(tmp_path / "b.nrrd", "encoding: gzip", data=gzip.compress(RAW + b"x")), "voxels-too-many")
    refused(
        nrrd(tmp_path / "c.nrrd", "encoding: gzip", data=gzip.compress(RAW) + gzip.compress(b"x")), "voxels-too-many"
    )
    refused(
        nrrd(tmp_path / "d.nrrd", "encoding: gzip", data=gzip.compress(RAW) + b"x"), "voxels-damaged", "voxels-cut-off"
    )
    text = " ".join(map(str, [*ARRAY.ravel(), 7])).encode()
    refused(nrrd(tmp_path / "e.nrrd", "encoding: text", data=text), "voxels-too-many")
    refused(nrrd(tmp_path / "f.nrrd", "encoding: hex", data=RAW.hex().encode() + b"00"), "voxels-too-many")
    refused(meta(tmp_path / "a.mha", data=RAW + b"x"), "voxels-too-many")
    refused(compressed_meta(tmp_path / "b.mha", zlib.compress(RAW + b"x")), "voxels-too-many")
    path = compressed_meta(tmp_path / "c.mha", zlib.compress(RAW))
    path.write_bytes(path.read_bytes() + b"x")
    refused(path, "voxels-too-many")
    refused(meta(tmp_path / "d.mha", "CompressedData = True", data=zlib.compress(RAW) + b"x"), "voxels-too-many")
    nifti = tmp_path / "ct.nii"
    write_volume(Volume(ARRAY, GEOMETRY), nifti)
    nifti.write_bytes(nifti.read_bytes() + b"x")
    refused(nifti, "voxels-too-many")


def test_a_stated_compressed_size_that_is_wrong_is_refused(tmp_path):
    data = zlib.compress(RAW)
    refused(compressed_meta(tmp_path / "a.mha", data, f"CompressedDataSize = {len(data) + 9}"), "voxels-cut-off")
    refused(compressed_meta(tmp_path / "b.mha", data, f"CompressedDataSize = {len(data) - 9}"), "voxels-too-many")


def test_missing_slices_are_refused_and_not_filled_with_zeros(tmp_path):
    for number, plane in enumerate(ARRAY):
        (tmp_path / f"{number}.raw").write_bytes(plane.tobytes())
    refused(meta(tmp_path / "a.mhd", data=b"0.raw\n", at="LIST"), "voxel-files", name="20 slices")
    refused(meta(tmp_path / "b.mhd", data=b"", at="%d.raw 0 18 1"), "voxel-files", name="20 slices")
    refused(meta(tmp_path / "c.mhd", data=b"", at="%d.raw 1 20 1"), "voxel-files", name="'20.raw'")
    refused(nrrd(tmp_path / "d.nhdr", "data file: %d.raw 1 20 1", data=b""), "voxel-files", name="'20.raw'")
    refused(nrrd(tmp_path / "e.nhdr", "data file: %d.raw 0 18 1", data=b""), "voxel-files", name="19 files")
    (tmp_path / "7.raw").write_bytes(ARRAY[7].tobytes()[:-2])
    refused(meta(tmp_path / "f.mhd", data=b"", at="%d.raw 0 19 1"), "voxels-cut-off", name="'7.raw'")


# --- hostile ones


@pytest.mark.parametrize(
    "field",
    [
        "NDims = 2147483648",
        "NDims = -3",
        "NDims = 0",
        "NDims = 99999999999999999999999999",
        "NDims = three",
        "DimSize = 40 30 -20",
        "DimSize = 40 30 0",
        "DimSize = 40 30",
        "DimSize = 40 30 20 1",
        "DimSize = 2097152 2097152 4194304",
        "DimSize = 4294967336 30 20",
        "DimSize = 4e1 30 20",
        "ElementType = MET_NONE",
        "ElementType = MET_SHORT_ARRAY",
        "ElementNumberOfChannels = 3",
        "ElementNumberOfChannels = -1",
        "ElementSpacing = nan 1 1",
        "ElementSpacing = 0 1 1",
        "ElementSpacing = 1_0 1 1",
        "Offset = inf 0 0",
        "TransformMatrix = 1 0 0 0 1 0 0 0",
        "TransformMatrix = 0 0 0 0 0 0 0 0 0",
        "BinaryData = False",
        "HeaderSize = 7",
        "HeaderSize = -2",
        "HeaderSize = 9999999999",
        "CompressedDataSize = -5\nCompressedData = True",
        "ObjectType = Image\nDimSize = 1 1 1",
        "a line without a sign",
        "\x00\xff\x1b[31m",
        "Comment = " + "x" * 70_000,
    ],
)
def test_odd_fields_of_a_metaimage_are_one_sentence(tmp_path, field):
    told = refused(meta(tmp_path / "a.mha", *field.split("\n")))
    assert told.isprintable()
    assert len(told) < 500 + len(str(tmp_path))


@pytest.mark.parametrize(
    "field",
    [
        "dimension: 2147483648",
        "dimension: 17",
        "dimension: -1",
        "dimension: 2",
        "sizes: 40 30 -20",
        "sizes: 40 30 0",
        "sizes: 40 30",
        "sizes: 2097152 2097152 4194304",
        "sizes: 18446744073709551656 30 20",
        "type: block",
        "type: float",
        "encoding: bzip2",
        "encoding: zip",
        "endian: middle",
        "kinds: list domain domain",
        "kinds: domain domain",
        "space directions: (0.7,0,0) (0,0.8,0)",
        "space directions: (0.7,0,0) none (0,0,2.5)",
        "space directions: (0,0,0) (0,0.8,0) (0,0,2.5)",
        "space directions: (1e999,0,0) (0,0.8,0) (0,0,2.5)",
        "space directions: (1,1,0) (0,0.8,0) (0,0,2.5)",
        "byte skip: 5",
        "byte skip: -2",
        "byte skip: 99999999999",
        "line skip: -1",
        "line skip: 19999",
        "spce origin: (0,0,0)",
        "number",
        "type: int16\ntype: uint8",
        "data file: LIST",
        "data file: %s%n.raw 0 1 1",
        "data file: x%d.raw 0 99999999 1",
        "data file: x%d.raw 0 9 0",
        "data file: x%d.raw 9 0 1",
        "data file: x%99d.raw 0 19 1",
    ],
)
def test_odd_fields_of_a_nrrd_are_one_sentence(tmp_path, field):
    told = refused(nrrd(tmp_path / "a.nrrd", *field.split("\n")))
    assert told.isprintable()
    assert len(told) < 500 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("at", "type_", "values"),
    [
        (0, "<i4", 349),
        (40, "<i2", 2),
        (40, "<i2", 9),
        (42, "<i2", 0),
        (42, "<i2", -40),
        (42, "<i2", 32767),
        (70, "<i2", 32),
        (70, "<i2", 128),
        (70, "<i2", 1536),
        (70, "<i2", 9999),
        (108, "<f4", np.nan),
        (108, "<f4", -1.0),
        (108, "<f4", 1e30),
        (112, "<f4", 1e38),  # float32 values of the voxels overflow
        (344, "S4", b"ni1"),
        (344, "S4", b""),
        (252, "<i2", (0, 4)),  # a sheared sform alone
    ],
)
def test_odd_fields_of_a_nifti_are_one_sentence(tmp_path, at, type_, values):
    path = tmp_path / "ct.nii"
    write_volume(Volume(ARRAY.astype(np.float32) * 1e4, GEOMETRY), path)
    data = bytearray(path.read_bytes())
    if at == 252:
        data[280:296] = np.array([1, 1, 0, 0], "<f4").tobytes()
    new = np.array(values, type_).tobytes()
    data[at : at + len(new)] = new
    path.write_bytes(data)
    told = refused(path)
    assert told.isprintable()


def test_a_header_without_an_end_is_not_read_for_ever(tmp_path):
    for name, start in (("a.nrrd", b"NRRD0004\n#"), ("a.mha", b"Comment = ")):
        path = tmp_path / name
        path.write_bytes(start + b"x" * (voxel_file.HEADER_BYTES + 100))
        refused(path)
        path.write_bytes(start + b"x\n" + b"#\n" * (voxel_file.HEADER_BYTES // 2 - 10))
        refused(path)


@pytest.mark.parametrize(
    "place", ["/etc/passwd", "../voxels.raw", "inner/voxels.raw", "link.raw", "..", ".", "\0", "~"]
)
def test_voxels_that_lie_elsewhere_are_refused(tmp_path, place):
    folder = tmp_path / "case"
    (folder / "inner").mkdir(parents=True)
    for path in (tmp_path / "voxels.raw", folder / "inner" / "voxels.raw"):
        path.write_bytes(RAW)
    if os.name != "nt":
        (folder / "link.raw").symlink_to(tmp_path / "voxels.raw")
    refused(meta(folder / "a.mha", data=b"", at=place), "voxels-elsewhere", "voxel-files")
    refused(nrrd(folder / "a.nrrd", f"data file: {place}", data=b""), "voxels-elsewhere", "voxel-files")
    if place not in ("\0", "~"):
        refused(meta(folder / "b.mhd", data=(place + "\n").encode() * 20, at="LIST"), "voxels-elsewhere")


def test_a_place_for_single_files_refuses_all_that_name_others(tmp_path):
    (tmp_path / "voxels.raw").write_bytes(RAW)
    for path in (
        meta(tmp_path / "a.mha", data=b"", at="voxels.raw"),
        nrrd(tmp_path / "a.nrrd", "data file: voxels.raw", data=b""),
    ):
        assert_whole(path)
        with raises_error(InputError, "voxels-elsewhere", "'voxels.raw'"):
            check_single_file(path)
    check_single_file(meta(tmp_path / "b.mha"))
    check_single_file(tmp_path / "series")
    with raises_error(InputError, "file-missing", "none.mha"):
        check_single_file(tmp_path / "none.mha")


@POSIX
@pytest.mark.parametrize("name", ["a.mha", "a.nrrd", "a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "socket", "device", "link"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, name, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    path = Path(name)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(name)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo("pipe")
        path.symlink_to("pipe")
    began = time.monotonic()
    refused(path, "not-a-regular-file")
    assert time.monotonic() - began < 30  # a pipe would be waited for without an end


@POSIX
def test_a_pipe_as_the_file_of_voxels_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refused(meta(tmp_path / "a.mha", data=b"", at="pipe"), "not-a-regular-file", name="'pipe'")
    refused(nrrd(tmp_path / "a.nrrd", "data file: pipe", data=b""), "not-a-regular-file", name="'pipe'")


LIMITED = """
import resource, sys
from twintrack.errors import InputError
from twintrack.io.volumes import read_volume
import SimpleITK
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        read_volume(path)
    except InputError as error:
        print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.process
@POSIX
def test_a_bomb_takes_neither_memory_nor_time(tmp_path):
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    data = b"".join(bomb.compress(bytes(1 << 20)) for _ in range(100)) + bomb.flush()
    members = gzip.compress(b"") * 100_000
    paths = [
        nrrd(tmp_path / "bomb.nrrd", "encoding: gzip", data=data),
        meta(tmp_path / "bomb.mha", "CompressedData = True", data=data),
        nrrd(tmp_path / "members.nrrd", "encoding: gzip", data=members),
        nrrd(tmp_path / "promise.nrrd", "encoding: gzip", "sizes: 1000 1000 400", data=gzip.compress(RAW)),
    ]
    write_volume(Volume(ARRAY, GEOMETRY), tmp_path / "ct.nii")
    nifti = tmp_path / "bomb.nii.gz"
    nifti.write_bytes(gzip.compress((tmp_path / "ct.nii").read_bytes()[:352]) + data)
    import resource  # not on Windows

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *map(str, paths), str(nifti)], capture_output=True, text=True, timeout=600
    )
    *sentences, grown_kb = done.stdout.splitlines()
    assert [sentence.split(":")[0].rsplit("/", 1)[-1] for sentence in sentences] == [
        *("bomb.nrrd", "bomb.mha", "members.nrrd", "promise.nrrd", "bomb.nii.gz"),
    ]
    assert int(grown_kb) < 60_000 * (1 if sys.platform == "linux" else 1000)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 20


def unpacked_by(library: ModuleType, monkeypatch: pytest.MonkeyPatch, path: Path) -> bytes | str:
    """Return the voxels that one of the libraries unpacks, or the code of what it says."""
    monkeypatch.setattr(voxel_file, "unpacking", lambda: library)
    try:
        return read_volume(path).array.tobytes()
    except InputError as error:
        return error.code


def test_both_libraries_unpack_the_same_and_refuse_the_same_damage(tmp_path, monkeypatch):
    isal_zlib = pytest.importorskip("isal.isal_zlib")
    plain, path = tmp_path / "ct.nii", tmp_path / "damaged.nii.gz"
    small = Geometry((4, 3, 2), (1.0, 1.0, 1.0))
    write_volume(Volume(ARRAY[:2, :3, :4], small), plain)
    rng, refused_both = np.random.default_rng(0), 0
    for number in range(400):
        raw = plain.read_bytes()
        raw = raw[: rng.integers(352, len(raw))] if number % 5 == 0 else raw + bytes(rng.integers(0, 3))
        cut = int(rng.integers(len(raw)))
        whole = gzip.compress(raw, int(rng.integers(10)))
        packed = bytearray(whole if number % 3 else gzip.compress(raw[:cut]) + gzip.compress(raw[cut:]) + bytes(9))
        for _ in range(number % 4):
            packed[rng.integers(len(packed))] = rng.integers(256)
        path.write_bytes(packed if number % 7 else packed[: rng.integers(20, len(packed))])
        by_zlib, by_isal = (unpacked_by(library, monkeypatch, path) for library in (zlib, isal_zlib))
        if isinstance(by_zlib, bytes):
            assert by_isal == by_zlib
        elif isinstance(by_isal, bytes):
            # ISA-L passes over bits of a part's header that have no meaning yet; what it unpacks fits the checksum.
            assert by_isal == plain.read_bytes()[352:]
        else:
            refused_both += 1
    assert refused_both > 100
