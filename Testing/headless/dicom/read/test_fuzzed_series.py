"""Whatever is wrong with the files: a sentence that names one of them or a right volume, never anything else."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from small_series import phantom

from expected_errors import raises_error
from twintrack.dicom import DicomSeries, read_series, write_ct_series
from twintrack.errors import InputError

pytestmark = pytest.mark.process

KEYWORDS = [
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "BitsAllocated"),
    *("BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel", "RescaleSlope", "RescaleIntercept"),
    *("Modality", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "ImageType", "FrameOfReferenceUID"),
    *("PhotometricInterpretation", "SpecificCharacterSet", "SeriesDescription", "PatientName", "PixelData"),
    *("SliceThickness", "SpacingBetweenSlices", "InstanceNumber", "NumberOfFrames"),
]
VALUES = [
    *(b"", b"\x00\x00", b"0", b"0\\0", b"-1\\1", b"nan\\inf ", b"1e400 ", b"1\\2\\3\\4\\5\\6\\7", b"\\\\\\"),
    *(b"ISO_IR 999", b"\\ISO 2022 IR 87", "Müller^Jürgen".encode("latin-1"), b"x" * 200, b"\x10\x00"),
    *(b"\xff\xff", b"\xff\xfe\xfd\xfc"),
]
REPRESENTATIONS = ["DS", "IS", "US", "SS", "FD", "LO", "UI", "CS", "UN", "OB", "SQ", "PN"]
"""Value representations that a damaged or careless writer may put on any element."""

FUZZ = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("good") / "ct"
    write_ct_series(phantom(), folder, description="good series")
    return folder


def outcome(folder: Path) -> DicomSeries | None:
    """Return the series that was read, None where it was refused properly; anything else fails the test."""
    try:
        return read_series(folder)
    except InputError as error:
        text = str(error)
        assert "\n" not in text
        assert str(folder) in text
        assert "Phantom" not in text
        return None


def assert_right_where_untouched(series: DicomSeries, touched: str) -> None:
    """Check that slices of files that nobody touched have the phantom's values at the phantom's places."""
    for k, path in enumerate(series.files):
        number = int(path.stem.split("_")[1]) - 1
        if path.name == touched:
            continue
        place = phantom().geometry.to_lps_mm(np.array([0, 0, number]))
        assert np.allclose(series.positions_mm[k], place, atol=1e-6)
        if series.layout is None:
            assert np.allclose(series.volume.geometry.to_lps_mm(np.array([0, 0, k])), place, atol=0.3)
            assert np.array_equal(series.volume.array[k], phantom().array[number])


@FUZZ
@given(keyword=st.sampled_from(KEYWORDS), value=st.sampled_from(VALUES), kind=st.sampled_from(REPRESENTATIONS))
def test_any_element_of_any_kind_and_value(good: Path, tmp_path: Path, keyword: str, value: bytes, kind: str) -> None:
    folder = tmp_path / "ct"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)
    path = folder / "CT_0003.dcm"
    dataset = pydicom.dcmread(path)
    tag = Tag(tag_for_keyword(keyword))
    dataset[tag] = RawDataElement(tag, kind, len(value), value + b" " * (len(value) % 2), 0, False, True)
    try:
        with pydicom.config.disable_value_validation():
            dataset.save_as(path)
    except Exception:  # what cannot even be written is no case
        return
    series = outcome(folder)
    if series is not None:
        assert_right_where_untouched(series, path.name)


@FUZZ
@given(keyword=st.sampled_from(KEYWORDS))
def test_any_element_missing(good: Path, tmp_path: Path, keyword: str) -> None:
    folder = tmp_path / "ct"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)
    path = folder / "CT_0003.dcm"
    dataset = pydicom.dcmread(path)
    if keyword in dataset:
        delattr(dataset, keyword)
    dataset.save_as(path)
    series = outcome(folder)
    if series is not None:
        assert_right_where_untouched(series, path.name)


@FUZZ
@given(data=st.data())
def test_bytes_overwritten_or_cut_anywhere(good: Path, tmp_path: Path, data: st.DataObject) -> None:
    folder = tmp_path / "ct"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)
    path = folder / "CT_0003.dcm"
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        start = data.draw(st.integers(0, 1700))
        content[start : start + 6] = data.draw(st.binary(min_size=6, max_size=6))
    path.write_bytes(content)
    series = outcome(folder)
    if series is not None:
        assert_right_where_untouched(series, path.name)


@pytest.mark.parametrize("spacing", [[0, 0], [0, 0.7], [-0.7, 0.7], [1e-9, 1e-9], [1e9, 1e9]])
def test_a_spacing_that_no_ct_has(good: Path, tmp_path: Path, spacing) -> None:
    shutil.copytree(good, tmp_path / "ct")
    for path in (tmp_path / "ct").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.PixelSpacing = spacing
        dataset.save_as(path)
    with raises_error(InputError, "dicom-header", "PixelSpacing"):
        read_series(tmp_path / "ct")


def test_names_in_any_script_and_encoding_do_not_matter(good: Path, tmp_path: Path) -> None:
    shutil.copytree(good, tmp_path / "ct")
    for path, (charset, name) in zip(
        sorted((tmp_path / "ct").iterdir()),
        [
            ("ISO_IR 100", "Müller^Jürgen"),
            ("ISO_IR 192", "膵臓^花子"),
            ("ISO_IR 144", "Люкceмбypг"),
            (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
            ("GB18030", "王^小东"),
            ("ISO_IR 192", "Ωμέγα^\u200f"),
        ],
        strict=True,
    ):
        dataset = pydicom.dcmread(path)
        dataset.SpecificCharacterSet = charset
        dataset.PatientName = dataset.SeriesDescription = name
        dataset.save_as(path)
    assert np.array_equal(read_series(tmp_path / "ct").volume.array, phantom().array)


def test_thousands_of_other_files_take_seconds(good: Path, tmp_path: Path) -> None:
    """2,000 in the test; the time grows with their number alone, so that 20,000 take ten times as long."""
    shutil.copytree(good, tmp_path / "ct")
    for number in range(2000):
        (tmp_path / "ct" / f"note-{number}.txt").write_text("nothing")
    start = time.process_time()
    assert np.array_equal(read_series(tmp_path / "ct").volume.array, phantom().array)
    assert time.process_time() - start < 10
