"""Files that are made to exhaust memory or time: one sentence within a second or two, and no slice is lost on the way.

What would take gigabytes is read in a process of its own whose address space is limited.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import UID, generate_uid
from small_series import phantom

from expected_errors import raises_error
from twintrack.dicom import is_dicom_input, read_series, write_ct_series
from twintrack.dicom.read import archive as archive_module
from twintrack.dicom.read.elements import BeyondLimit, Limits, read_elements
from twintrack.dicom.read.headers import read_header
from twintrack.errors import InputError

LIMIT_BYTES = 3 * 1024**3
"""Address space of a limited reading: the libraries alone map more than one gigabyte."""

LARGEST_MB = 260
"""Memory of such a reading: that of the libraries, and little more."""

READ = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
from twintrack.dicom import read_series
from twintrack.errors import InputError
from twintrack.system.reading_child import parent
told = []
for path in sys.argv[2:]:
    try:
        told.append(len(read_series(path).files))
    except InputError as error:
        told.append(str(error))
parent._own_child().close()
# Not ru_maxrss of this process: that counts what the test's own process held when it started this one.
own = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps([told, max(own, children) / 1024]))
"""

DEFLATED = "1.2.840.10008.1.2.1.99"
CT = b"1.2.840.10008.5.1.4.1.1.2\0"

needs_limits = pytest.mark.skipif(sys.platform != "linux", reason="needs limits of memory that hold")


def read_limited(*paths: Path) -> tuple[list[int | str], float]:
    """Read each path; return the number of files or the sentence of each, and the largest memory in MB."""
    run = subprocess.run(
        [sys.executable, "-c", READ, str(LIMIT_BYTES), *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    told, largest_mb = json.loads(run.stdout)
    return told, largest_mb


def element(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    value += b" " * (len(value) % 2)
    stated = len(value) if length is None else length
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr
    wide = vr in (b"OB", b"OW", b"UN", b"SQ")
    return head + (struct.pack("<HL", 0, stated) if wide else struct.pack("<H", stated)) + value


def meta(syntax: bytes) -> bytes:
    held = element(0x00020002, b"UI", CT) + element(0x00020003, b"UI", b"1.2.3\0")
    held += element(0x00020010, b"UI", syntax + b"\0" * (len(syntax) % 2))
    return bytes(128) + b"DICM" + element(0x00020000, b"UL", struct.pack("<L", len(held))) + held


def nested(tag: int, levels: int, undefined: bool) -> bytes:
    """Return sequences within each other."""
    if undefined:
        head = element(tag, b"SQ", b"", 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
        return head * levels + b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0" * levels
    content = b""
    for _ in range(levels):
        content = element(tag, b"SQ", b"\xfe\xff\x00\xe0" + struct.pack("<L", len(content)) + content)
    return content


def insert(path: Path, content: bytes, before: int) -> None:
    """Write elements into an explicit little endian file, before the first element that is not less than `before`."""
    data = path.read_bytes()
    with pydicom.dcmread(path) as dataset:
        tag = next(tag for tag in sorted(dataset.keys()) if tag >= before)
    place = data.index(struct.pack("<HH", tag.group, tag.element), 132)
    path.write_bytes(data[:place] + content + data[place:])


def uid_of(folder: Path) -> str:
    return str(pydicom.dcmread(next(folder.glob("CT_*")), stop_before_pixels=True).SeriesInstanceUID)


@pytest.mark.process
@needs_limits
def test_nested_sequences_cost_nothing_and_lose_no_slice(series_folder: Path, tmp_path: Path) -> None:
    for undefined in (False, True):
        for tag in (0x52009229, 0x52009230, 0x00081140, 0x00091010, 0x00189999):
            folder = shutil.copytree(series_folder, tmp_path / f"{undefined}-{tag:08x}")
            for path in folder.iterdir():
                insert(path, nested(tag, 3000, undefined), tag)
    told, largest_mb = read_limited(*sorted(tmp_path.glob("False-*")), *sorted(tmp_path.glob("True-*")))
    assert largest_mb < LARGEST_MB
    # With stated lengths they are passed over unread; else the file is named.
    assert told[:5] == [6] * 5
    assert all("CT_0001.dcm: the DICOM file has sequences nested deeper than 16" in str(text) for text in told[5:])


@pytest.mark.process
def test_a_file_beyond_a_limit_is_passed_over_only_if_it_cannot_be_a_slice(series_folder: Path, caplog) -> None:
    stray = series_folder / "stray.dcm"
    for modality, uid, before, lost in (
        ("CT", uid_of(series_folder), 0x00209999, True),
        ("CT", generate_uid(), 0x00209999, False),
        ("MR", "", 0x00209999, False),
        ("MR", generate_uid(), 0x00080000, True),  # what it belongs to is not known before the limit
    ):
        shutil.copy(series_folder / "CT_0002.dcm", stray)
        dataset = pydicom.dcmread(stray)
        dataset.Modality, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = modality, uid, generate_uid()
        dataset.save_as(stray)
        insert(stray, nested(before + 1, 100, True), before)
        caplog.clear()
        if lost:
            with raises_error(InputError, "dicom-too-large", "stray.dcm", "DICOM", "16"):
                read_series(series_folder)
        else:
            assert np.array_equal(read_series(series_folder).volume.array, phantom().array)
            assert "stray.dcm" in caplog.text


def deflated(header: bytes, zeros: int) -> bytes:
    packer = zlib.compressobj(9, wbits=-15)
    parts = [packer.compress(header)]
    parts += [packer.compress(bytes(1 << 24)) for _ in range(zeros >> 24)]
    return meta(DEFLATED.encode()) + b"".join([*parts, packer.flush()])


@pytest.mark.process
@needs_limits
def test_deflated_files_are_inflated_as_far_as_their_pixels_need(series_folder: Path, tmp_path: Path) -> None:
    start = element(0x00080016, b"UI", CT) + element(0x00080060, b"CS", b"CT")
    size = element(0x00280010, b"US", b"\x28\0") + element(0x00280011, b"US", b"\x28\0")
    bombs = {
        "pixels": start + size + element(0x7FE00010, b"OW", b"", 0xFFFFFFF0),
        "private": start + element(0x00091001, b"OB", b"", 0xFFFFFFF0),
        "wanted": start + element(0x00081140, b"SQ", b"", 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff",
    }
    folders = []
    for name, content in bombs.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "bomb.dcm").write_bytes(deflated(content, 1 << 28))
        folders.append(tmp_path / name)
    shutil.copy(folders[0] / "bomb.dcm", series_folder / "bomb.dcm")
    told, largest_mb = read_limited(*folders, series_folder)
    assert [str(item).startswith(str(folder)) for item, folder in zip(told[:3], folders, strict=True)] == [True] * 3
    assert told[3] == 6
    assert largest_mb < LARGEST_MB


@pytest.mark.process
@needs_limits
def test_a_length_beyond_the_file_is_no_memory(series_folder: Path, tmp_path: Path) -> None:
    folders = []
    for length in (0xFFFFFFF0, 0x7FFFFFFF, 70000):
        for tag in (0x00081032, 0x00080060):
            folders.append(shutil.copytree(series_folder, tmp_path / f"{length}-{tag}"))
            insert(folders[-1] / "CT_0003.dcm", element(tag, b"UN", b"", length), tag)
    told, largest_mb = read_limited(*folders)
    assert all(str(folder / "CT_0003.dcm") in str(text) for folder, text in zip(folders, told, strict=True))
    assert largest_mb < LARGEST_MB


@pytest.mark.process
@pytest.mark.parametrize(
    ("keyword", "value"), [("Rows", 65535), ("Columns", 65535), ("NumberOfFrames", 100_000), ("NumberOfFrames", 7)]
)
def test_sizes_that_the_file_does_not_hold_are_refused(series_folder: Path, edit, keyword: str, value: int) -> None:
    for path in series_folder.iterdir():
        edit(path, lambda dataset: setattr(dataset, keyword, value))
    with pytest.raises(InputError, match="CT_000"):
        read_series(series_folder)


def jpeg_2000(columns: int, rows: int, tile: int = 0) -> bytes:
    """Return the start of a code stream of stated size and of no values."""
    size = struct.pack(">HLLLLLLLLH", 0, columns, rows, 0, 0, tile or columns, tile or rows, 0, 0, 1) + b"\x0f\1\1"
    return b"\xff\x4f\xff\x51" + struct.pack(">H", len(size) + 2) + size + b"\xff\xd9" + bytes(100)


FRAMES = [
    ("1.2.840.10008.1.2.4.90", jpeg_2000(60000, 60000)),
    ("1.2.840.10008.1.2.4.90", jpeg_2000(24, 20, 1)[:40] + jpeg_2000(60000, 60000)),
    ("1.2.840.10008.1.2.4.70", b"\xff\xd8\xff\xc3\0\x0b\x10\xff\xff\xff\xff\1\1\x11\0\xff\xda" + bytes(100)),
    ("1.2.840.10008.1.2.4.80", b"\xff\xd8\xff\xf7\0\x0b\x10\xff\xff\xff\xff\1\1\x11\0\xff\xda" + bytes(100)),
    ("1.2.840.10008.1.2.4.70", b"\xff\xd8\xff\xc3\0\x0b\x10\0\x14\0\x18\xff\1\x11\0\xff\xda" + bytes(100)),
    ("1.2.840.10008.1.2.5", struct.pack("<16L", 15, *range(64, 79)) + b"\x81\0" * 50),
    ("1.2.840.10008.1.2.5", struct.pack("<16L", 2, 64, 66, *[0] * 13) + b"\x81\0" * 600_000),
]
"""Frames that state many values: JPEG 2000, its tiles, JPEG, JPEG-LS, many components, RLE of many parts, long RLE."""


@pytest.mark.process
@needs_limits
def test_a_frame_that_states_another_size_is_not_decoded(series_folder: Path, tmp_path: Path, edit) -> None:
    folders = []
    for number, (syntax, frame) in enumerate(FRAMES):
        folders.append(shutil.copytree(series_folder, tmp_path / str(number)))

        def change(dataset, syntax=syntax, frame=frame) -> None:
            dataset.PixelData = encapsulate([frame])
            dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
            dataset.file_meta.TransferSyntaxUID = UID(syntax)

        edit(folders[-1] / "CT_0004.dcm", change)
    told, largest_mb = read_limited(*folders)
    assert all("CT_0004.dcm: the pixels cannot be read" in str(text) for text in told)
    assert largest_mb < LARGEST_MB


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_links_and_odd_names_in_a_folder_are_passed_over(series_folder: Path, tmp_path: Path) -> None:
    os.mkfifo(series_folder / "a.dcm")
    (series_folder / "b.dcm").symlink_to("/dev/zero")
    (series_folder / "c.dcm").symlink_to("c.dcm")
    if sys.platform == "linux":
        shutil.copy(series_folder / "CT_0001.dcm", os.fsencode(series_folder) + b"/\xff.dcm")
    assert np.array_equal(read_series(series_folder).volume.array, phantom().array)
    os.mkfifo(tmp_path / "pipe")
    assert not is_dicom_input(tmp_path / "pipe")
    with raises_error(InputError, "not-a-regular-file"):
        read_series(tmp_path / "pipe")


def test_limits_of_one_file_hold(series_folder: Path) -> None:
    path = series_folder / "CT_0001.dcm"
    for limits, words in (
        (Limits(elements=20), "more than 20 elements"),
        (Limits(value_bytes=8), "a value of"),
        (Limits(total_bytes=200), "in its header"),
    ):
        with path.open("rb", buffering=0) as file, pytest.raises(BeyondLimit, match=words):
            read_elements(file, path.stat().st_size, None, limits=limits, marked=True)


def test_nothing_is_read_beyond_what_is_wanted(series_folder: Path) -> None:
    path = series_folder / "CT_0001.dcm"
    insert(path, element(0x00091001, b"OB", b"x" * 5_000_000), 0x00091001)
    header = read_header(path)
    assert header is not None
    assert header.size == (24, 20)
    assert sum(len(bytes(str(item.value), "utf8")) for item in header.dataset) < 4000


# --- ZIP archives


def packed(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for item in sorted(folder.iterdir()):
            archive.write(item, item.name)
    return path


def test_a_directory_of_millions_of_entries_is_refused_before_it_is_listed(tmp_path: Path, monkeypatch) -> None:
    entry = b"PK\1\2" + bytes(42)
    count = 300_000
    end = b"PK\5\6" + struct.pack("<HHHHLLH", 0, 0, 1, 1, len(entry) * count, 0, 0)
    (tmp_path / "many.zip").write_bytes(b"PK" + entry * count + end)
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("was listed"))
    with raises_error(InputError, "archive-too-large"):
        unpack_here(tmp_path, "many.zip")


def unpack_here(tmp_path: Path, name: str) -> dict[Path, Path]:
    from twintrack.progress.callbacks import CancelToken, no_progress

    folder = tmp_path / "unpacked"
    folder.mkdir(exist_ok=True)
    return archive_module.unpack(tmp_path / name, folder, no_progress, CancelToken())


@pytest.mark.process
def test_a_stated_size_that_lies_is_refused(series_folder: Path, tmp_path: Path) -> None:
    data = bytearray(packed(series_folder, tmp_path / "ct.zip").read_bytes())
    place = data.index(b"PK\1\2")
    data[place + 24 : place + 28] = struct.pack("<L", 5)
    (tmp_path / "ct.zip").write_bytes(data)
    with raises_error(InputError, "archive-damaged"):
        read_series(tmp_path / "ct.zip")


def test_entries_that_share_their_bytes_are_refused(series_folder: Path, tmp_path: Path) -> None:
    data = bytearray(packed(series_folder, tmp_path / "ct.zip").read_bytes())
    first = data.index(b"PK\1\2")
    second = data.index(b"PK\1\2", first + 4)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    data[second + 16 : second + 28] = data[first + 16 : first + 28]
    (tmp_path / "ct.zip").write_bytes(data)
    with raises_error(InputError, "archive-damaged"):
        unpack_here(tmp_path, "ct.zip")


@pytest.mark.slow
def test_a_bomb_is_refused_by_its_ratio(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(5):
            archive.writestr(f"{number}.dcm", bytes(60 * 1024**2))
    with raises_error(InputError, "archive-too-large"):
        unpack_here(tmp_path, "bomb.zip")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_inflate_at_once_are_refused(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "odd.zip", "w", method) as archive:
        archive.writestr("a.dcm", bytes(1000))
    with raises_error(InputError, "archive-damaged"):
        unpack_here(tmp_path, "odd.zip")


def test_names_with_control_characters_and_links_do_no_harm(series_folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as archive:
        archive.write(series_folder / "CT_0001.dcm", "ct/\x1b[31mDoe\u202e.dcm")
        archive.write(series_folder / "CT_0002.dcm", "a/" * 3000 + "x" * 3000)
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    places = list(unpack_here(tmp_path, "odd.zip").values())
    assert len(places) == 2
    assert all(str(place).isprintable() and len(str(place)) < len(str(tmp_path)) + 700 for place in places)


@pytest.mark.process
def test_an_archive_is_unpacked_and_read_and_its_files_stay(series_folder: Path, tmp_path: Path) -> None:
    series = read_series(packed(series_folder, tmp_path / "ct.zip"))
    assert np.array_equal(series.volume.array, phantom().array)
    assert all(path.is_file() for path in series.files)
    series.volume.array[0, 0, 0] = 1  # what comes from another process can be written to
    folder = series.files[0].parents[1]
    del series
    assert not folder.exists()


@pytest.mark.process
def test_a_decoder_that_dies_is_a_sentence_and_the_next_series_is_read(series_folder: Path, tmp_path: Path) -> None:
    """The death of the process that reads, in the middle of it, stands for that of a decoder."""
    import signal

    from twintrack.system.reading_child import parent

    def kill(fraction: float, message: str) -> None:
        os.kill(parent._own_child().pid, signal.SIGSEGV if hasattr(signal, "SIGKILL") else signal.SIGTERM)

    write_ct_series(phantom(), tmp_path / "other", description="other")
    for folder in (series_folder, tmp_path / "other"):
        with pytest.raises(InputError) as caught:
            read_series(folder, progress=kill)
        assert str(caught.value).startswith(f"{folder}: cannot be read")
        assert np.array_equal(read_series(folder).volume.array, phantom().array)
