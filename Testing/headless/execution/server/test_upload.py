"""What is sent to a server: whole, without names, the one series that is meant, and each part once."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.dicom import write_ct_series
from twintrack.errors import InputError
from twintrack.execution.server import upload as upload_module
from twintrack.execution.server.protocol import PART_BYTES
from twintrack.execution.server.upload import Upload, packed
from twintrack.io.volumes import write_volume
from twintrack.progress.callbacks import CancelToken
from twintrack.settings import SegmentSettings
from twintrack.volume import Geometry, Volume

GEOMETRY = Geometry((20, 20, 6), (1.5, 1.5, 3.0))


@pytest.fixture
def volume() -> Volume:
    return Volume(np.random.default_rng(1).normal(0, 60, GEOMETRY.shape).astype(np.int16), GEOMETRY)


@pytest.fixture
def pack(tmp_path):
    """Return a function that packs a CT, and gives what is to be sent with the content of each file."""

    def pack(source: Path, **settings: object) -> tuple[Upload, list[bytes]]:
        with packed(source, tmp_path / "out", SegmentSettings(**settings), CancelToken()) as upload:
            return upload, [file.path.read_bytes() for file in upload.files]

    return pack


def said_here(upload: Upload, path: str) -> str:
    """What the user reads of an error that the server met with one of its files."""
    error = InputError("no CT", code="not-a-ct", path=path)
    upload.name_here(error)
    return str(error)


def test_a_file_is_sent_whole_under_a_number(tmp_path, pack, volume):
    ct, own = tmp_path / "DOE_JANE.nii.gz", tmp_path / "site.json"
    write_volume(volume, ct)
    own.write_bytes(b"{}")
    upload, content = pack(ct, calibrator=str(own), threshold=0.4, case="DOE JANE", device="cpu")
    assert upload.kind == "nifti-gz"
    assert upload.listed() == [{"role": "ct", "bytes": len(content[0])}, {"role": "calibrator", "bytes": 2}]
    assert content == [ct.read_bytes(), b"{}"]
    assert upload.size == len(content[0]) + 2
    assert said_here(upload, "ct.nii.gz") == f"{ct}: no CT"
    assert said_here(upload, "calibrator.json") == f"{own}: no CT"
    assert said_here(upload, "result") == f"{tmp_path / 'out'}: no CT"
    sent = json.dumps([upload.kind, upload.listed(), upload.settings])
    assert not any(word in sent for word in ("DOE", "site", "device", "case", str(tmp_path)))
    assert upload.settings["threshold"] == 0.4


def test_of_a_results_segmentation_the_whole_vessels_are_sent(tmp_path, pack, volume):
    for name in ("ct", "segmentation", "vessels"):
        write_volume(Volume(volume.array + len(name), GEOMETRY), tmp_path / f"{name}.nii.gz")
    files = {name: (tmp_path / f"{name}.nii.gz").read_bytes() for name in ("segmentation", "vessels")}
    given = str(tmp_path / "segmentation.nii.gz")
    assert pack(tmp_path / "ct.nii.gz", vessels=given)[1][1] == files["segmentation"]
    (tmp_path / "result.json").write_text('{"labels": {"tumor": 1, "SMA": 2}, "vessel_values": {"SMA": 5}}')
    upload, content = pack(tmp_path / "ct.nii.gz", vessels=given)
    assert content[1] == files["vessels"]
    assert upload.listed()[1]["kind"] == "nifti-gz"
    assert said_here(upload, "vessels.nii.gz") == f"{given}: no CT"


@pytest.fixture
def series(tmp_path, volume) -> Path:
    """A folder with a series, a second one, and a file that is none of DICOM's."""
    folder = tmp_path / "DOE"
    folder.mkdir()
    write_ct_series(volume, folder / "one", description="one")
    write_ct_series(volume, folder / "two", description="two")
    (folder / "report of Jane Doe.txt").write_text("Jane Doe")
    return folder


def uid_of(folder: Path) -> str:
    import pydicom

    return str(pydicom.dcmread(next(folder.iterdir())).SeriesInstanceUID)


def test_of_a_folder_the_series_that_is_meant_is_sent(series, pack):
    upload, content = pack(series, series=uid_of(series / "two"))
    assert upload.kind == "dicom"
    assert content == [path.read_bytes() for path in sorted((series / "two").iterdir())]
    assert {file["role"] for file in upload.listed()} == {"ct"}
    third = sorted((series / "two").iterdir())[2]
    assert said_here(upload, "series/000002") == f"{third}: no CT"
    assert said_here(upload, "series") == f"{series}: no CT"
    with raises_error(InputError, "several-series"):
        pack(series)


def test_around_one_file_its_series_is_sent(series, pack):
    one = sorted((series / "one").iterdir())[3]
    upload, content = pack(one)
    assert content == [path.read_bytes() for path in sorted((series / "one").iterdir())]
    assert said_here(upload, "series") == f"{one}: no CT"


def test_of_an_archive_the_series_is_sent_and_nothing_is_left(series, pack, tmp_path, monkeypatch):
    import tempfile

    (tmp_path / "private").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "private"))
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        for path in (series / "one").iterdir():
            archive.write(path, f"CT/{path.name}")
    upload, content = pack(tmp_path / "scan.zip")
    assert sorted(content) == sorted(path.read_bytes() for path in (series / "one").iterdir())
    assert upload.files[0].place.startswith(f"{tmp_path / 'scan.zip'}/CT/")
    assert not list((tmp_path / "private").iterdir())


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ct.mhd", "voxels-elsewhere"),
        ("ct.nhdr", "voxels-elsewhere"),
        ("ct.txt", "volume-ending"),
        ("no", "file-missing"),
    ],
)
def test_what_is_no_whole_ct_is_refused_here(tmp_path, pack, name, code):
    if name != "no":
        (tmp_path / name).write_text("ObjectType = Image")
    with raises_error(InputError, code, tmp_path / name):
        pack(tmp_path / name)


def test_a_header_that_names_another_file_is_refused_here(tmp_path, pack, volume):
    write_volume(volume, tmp_path / "apart.mhd")
    header = (tmp_path / "apart.mhd").rename(tmp_path / "apart.mha")
    with raises_error(InputError, "voxels-elsewhere", header):
        pack(header)


def test_a_calibrator_that_is_not_there_is_missed_here(tmp_path, pack, volume):
    write_volume(volume, tmp_path / "ct.nrrd")
    with raises_error(InputError, "file-missing", "/nowhere/calibrator.json"):
        pack(tmp_path / "ct.nrrd", calibrator="/nowhere/calibrator.json")


def sizes_of_parts(size: int, bits_a_second: float) -> list[int]:
    """Return how large the parts of a file are on a link with 10 ms a question."""
    pace, sizes = upload_module._Pace(PART_BYTES), []
    while size > 0:
        part = min(pace.bytes, size)
        pace.note(part, 8 * part / bits_a_second + 0.01)
        sizes.append(part)
        size -= part
    return sizes


@pytest.mark.parametrize("bits_a_second", [60e3, 200e3, 1e6, 1e7, 1e9])
def test_no_part_takes_a_slow_link_longer_than_the_server_waits(bits_a_second):
    sizes = sizes_of_parts(20_000_000, bits_a_second)
    assert sum(sizes) == 20_000_000
    assert max(8 * part / bits_a_second for part in sizes) < 60


def test_a_fast_link_gets_large_parts_soon():
    assert len(sizes_of_parts(157_000_000, 1e9)) <= -(-157_000_000 // PART_BYTES) + 2
