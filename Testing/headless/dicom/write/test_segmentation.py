"""A DICOM-SEG shows every voxel of every segment where it lies, says what it is, and keeps to the standard."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pydicom
import pytest
from other_readers import segments_by_dcmqi, segments_by_highdicom, values_on_grid
from small_series import oblique_direction, phantom, sign_directions

from expected_errors import raises_error
from twintrack.dicom import (
    Algorithm,
    AlgorithmType,
    DicomSeries,
    read_series,
    segments_from_labels,
    write_ct_series,
    write_segmentation,
)
from twintrack.errors import InputError, OutputError
from twintrack.volume import Volume

pytestmark = pytest.mark.process

ALGORITHM = Algorithm("demo bundle", "1.2", "0123456789abcdef" * 4, {"roi": "auto"})
LABELS = {"tumor": 1, "PORTA": 2, "SMA": 6}


def label_volume(like: Volume) -> Volume:
    """Return a tumour, a vein and an artery that no flip maps onto themselves; the first slice holds none."""
    array = np.zeros(like.array.shape, dtype=np.uint8)
    array[1:3, 2:7, 3:11] = 1
    array[3, 2:4, 3:6] = 1
    array[1:6, 10, 4] = 2
    array[2:4, 15:18, 19:21] = 6
    return like.with_array(array)


def series_of(folder: Path, direction: np.ndarray | None = None) -> DicomSeries:
    write_ct_series(phantom(direction), folder, description="source")
    return read_series(folder)


def export(segments, series: DicomSeries, path: Path, **options) -> Path:
    return write_segmentation(segments, series, path, algorithm=ALGORITHM, threshold=0.5, **options)


DIRECTIONS = [*sign_directions(), oblique_direction(), np.eye(3)[:, [2, 0, 1]], np.eye(3)[:, [1, 0, 2]]]


@pytest.mark.parametrize("direction", DIRECTIONS, ids=[*(f"flip{n}" for n in range(8)), "oblique", "sagittal", "swap"])
def test_two_other_readers_find_every_voxel_at_its_place(tmp_path: Path, direction: np.ndarray) -> None:
    series = series_of(tmp_path / "ct", direction)
    labels = label_volume(series.volume)
    path = export(segments_from_labels(labels, LABELS), series, tmp_path / "seg.dcm")
    for found in (segments_by_highdicom(path), segments_by_dcmqi(path, tmp_path / "dcmqi")):
        assert sorted(found) == [1, 2, 3]
        for number, value in enumerate(LABELS.values(), start=1):
            assert np.array_equal(values_on_grid(found[number], series), labels.array == value)


@pytest.mark.parametrize("direction", sign_directions(), ids=range(8))
def test_masks_on_the_flipped_grid_of_the_input_volume_are_placed_right(tmp_path: Path, direction: np.ndarray) -> None:
    volume = phantom(direction)
    write_ct_series(volume, tmp_path / "ct", description="source")
    series = read_series(tmp_path / "ct")
    labels = label_volume(volume)
    path = export(segments_from_labels(labels, LABELS), series, tmp_path / "seg.dcm")
    for number, found in segments_by_dcmqi(path, tmp_path / "dcmqi").items():
        value = list(LABELS.values())[number - 1]
        expected = labels.with_array((labels.array == value).astype(np.uint8)).restored_to(series.volume.geometry)
        assert np.array_equal(values_on_grid(found, series), expected.array == 1)


@pytest.mark.parametrize("size", [(23, 19, 5), (22, 19, 5), (20, 19, 5)], ids=["1", "2", "4"])
def test_frames_that_do_not_fill_whole_bytes_follow_each_other_bit_by_bit(tmp_path: Path, size, dicom_errors) -> None:
    geometry = dataclasses.replace(phantom().geometry, size=size)
    array = np.random.default_rng(5).integers(-900, 900, geometry.shape).astype(np.int16)
    write_ct_series(Volume(array, geometry), tmp_path / "ct", description="odd size")
    series = read_series(tmp_path / "ct")
    masks = {name: series.volume.with_array(array > value) for name, value in (("tumor", 500), ("SMA", 0))}
    masks["SMA"].array[2] = False
    path = export(masks, series, tmp_path / "seg.dcm")
    assert dicom_errors(path) == []
    for found in (segments_by_highdicom(path), segments_by_dcmqi(path, tmp_path / "dcmqi")):
        for number, mask in enumerate(masks.values(), start=1):
            assert np.array_equal(values_on_grid(found[number], series), mask.array)


def test_overlapping_segments_keep_all_their_voxels(tmp_path: Path) -> None:
    series = series_of(tmp_path / "ct")
    masks = segments_from_labels(label_volume(series.volume), LABELS)
    masks["SMA"] = series.volume.with_array(masks["tumor"].array | masks["SMA"].array)
    path = export(masks, series, tmp_path / "seg.dcm")
    for found in (segments_by_highdicom(path), segments_by_dcmqi(path, tmp_path / "dcmqi")):
        for number, mask in enumerate(masks.values(), start=1):
            assert np.array_equal(values_on_grid(found[number], series), mask.array)


@pytest.mark.parametrize("direction", [np.eye(3), -np.eye(3), oblique_direction()], ids=["axial", "flipped", "oblique"])
def test_the_standard_finds_no_error(tmp_path: Path, dicom_errors, direction: np.ndarray) -> None:
    series = series_of(tmp_path / "ct", direction)
    path = export(segments_from_labels(label_volume(series.volume), LABELS), series, tmp_path / "seg.dcm")
    assert dicom_errors(path) == []


def test_each_frame_names_the_slice_it_was_made_from_and_empty_frames_are_left_out(tmp_path: Path) -> None:
    series = series_of(tmp_path / "ct")
    labels = label_volume(series.volume)
    dataset = pydicom.dcmread(export(segments_from_labels(labels, LABELS), series, tmp_path / "seg.dcm"))
    seen = []
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        number = int(frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        source = frame.DerivationImageSequence[0].SourceImageSequence
        assert len(source) == 1
        assert source[0].ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
        k = series.sop_instance_uids.index(source[0].ReferencedSOPInstanceUID)
        position = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        assert np.allclose(position, series.volume.geometry.to_lps_mm(np.array([0, 0, k])), atol=1e-6)
        seen.append((number, k))
    values = list(LABELS.values())
    expected = [(n + 1, k) for n, v in enumerate(values) for k in range(6) if (labels.array[k] == v).any()]
    assert sorted(seen) == expected
    listed = dataset.ReferencedSeriesSequence[0]
    assert listed.SeriesInstanceUID == series.series_uid
    assert {item.ReferencedSOPInstanceUID for item in listed.ReferencedInstanceSequence} == set(
        series.sop_instance_uids
    )


def test_it_says_what_it_shows_who_made_it_and_that_it_is_for_research(tmp_path: Path) -> None:
    series = series_of(tmp_path / "ct")
    dataset = pydicom.dcmread(export(segments_from_labels(label_volume(series.volume), LABELS), series, tmp_path / "s"))
    assert dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.4"
    assert dataset.SegmentationType == "BINARY"
    assert "research use only" in dataset.ContentDescription.lower()
    assert "research use only" in dataset.SeriesDescription
    tumor, vein, artery = dataset.SegmentSequence
    assert [item.SegmentLabel for item in dataset.SegmentSequence] == [
        "Tumour, at least 50 % of readers (working outline)",
        "Portal vein",
        "Superior mesenteric artery",
    ]
    assert tumor.SegmentedPropertyTypeCodeSequence[0].CodeValue == "372087000"
    assert tumor.AnatomicRegionSequence[0].CodeValue == "15776009"
    assert vein.SegmentedPropertyTypeCodeSequence[0].CodeValue == "32764006"
    assert artery.SegmentedPropertyTypeCodeSequence[0].CodeValue == "42258001"
    for item in dataset.SegmentSequence:
        assert item.SegmentAlgorithmType == "AUTOMATIC"
        made_by = item.SegmentationAlgorithmIdentificationSequence[0]
        assert made_by.AlgorithmName == "demo bundle"
        assert made_by.AlgorithmVersion == "1.2"
        assert made_by.AlgorithmFamilyCodeSequence[0].CodeValue == "123110"
        assert f"bundle_sha256={ALGORITHM.bundle_sha256}" in made_by.AlgorithmParameters
        assert "roi=auto" in made_by.AlgorithmParameters
        assert "research use only" in item.SegmentDescription
        assert item.TrackingID
        assert len(item.RecommendedDisplayCIELabValue) == 3
    assert len({item.TrackingUID for item in dataset.SegmentSequence}) == 3


def test_it_belongs_to_the_patient_and_study_of_the_source_but_is_a_series_of_its_own(tmp_path: Path, edit) -> None:
    write_ct_series(phantom(), tmp_path / "ct", description="source", patient_name="Müller^Jürgen^^Dr.")
    for path in (tmp_path / "ct").iterdir():

        def real_world(dataset) -> None:
            # A name without caret, a sex and an encoding that a strict library refuses or would report.
            dataset.SpecificCharacterSet = "ISO_IR 100"
            dataset.PatientSex = "M"
            dataset.AccessionNumber = "A-1"
            dataset.StudyDescription = "Oberbauch, Grüße"
            dataset.PatientBirthDate = "19500101"

        edit(path, real_world)
    series = read_series(tmp_path / "ct")
    source = pydicom.dcmread(series.files[0])
    dataset = pydicom.dcmread(export(segments_from_labels(label_volume(series.volume), LABELS), series, tmp_path / "s"))
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate"):
        assert str(dataset[keyword].value) == str(source[keyword].value)
    for keyword in ("StudyTime", "StudyID", "AccessionNumber", "StudyDescription", "FrameOfReferenceUID"):
        assert str(dataset[keyword].value) == str(source[keyword].value)
    assert str(dataset.PatientName) == "Müller^Jürgen^^Dr."
    assert dataset.SeriesInstanceUID != source.SeriesInstanceUID
    assert dataset.SeriesNumber != source.SeriesNumber


def test_odd_patient_data_neither_stop_the_export_nor_reach_a_log(tmp_path: Path, edit, caplog, recwarn, capfd) -> None:
    write_ct_series(phantom(), tmp_path / "ct", description="source")

    def odd(dataset) -> None:
        dataset.PatientName = "Secretname"
        dataset.PatientSex = "W"
        dataset.PatientBirthDate = "Secretname"
        dataset.StudyTime = "afternoon"
        del dataset.AccessionNumber

    with pydicom.config.disable_value_validation():
        for path in (tmp_path / "ct").iterdir():
            edit(path, odd)
    caplog.set_level(logging.DEBUG)
    series = read_series(tmp_path / "ct")
    path = export(segments_from_labels(label_volume(series.volume), LABELS), series, tmp_path / "seg.dcm")
    noise = caplog.text + "".join(str(item.message) for item in recwarn) + "".join(capfd.readouterr())
    assert "Secretname" not in noise
    assert str(pydicom.dcmread(path).PatientName) == "Secretname"


def test_a_segment_without_a_voxel_is_left_out(tmp_path: Path) -> None:
    series = series_of(tmp_path / "ct")
    masks = segments_from_labels(label_volume(series.volume), {"tumor": 1, "AORTA": 4, "SMA": 6})
    dataset = pydicom.dcmread(export(masks, series, tmp_path / "seg.dcm"))
    assert [item.TrackingID for item in dataset.SegmentSequence] == ["tumor", "SMA"]
    assert [int(item.SegmentNumber) for item in dataset.SegmentSequence] == [1, 2]


def test_no_voxel_at_all_gives_no_file_and_says_so(tmp_path: Path) -> None:
    series = series_of(tmp_path / "ct")
    empty = series.volume.with_array(np.zeros(series.volume.array.shape, dtype=bool))
    with raises_error(OutputError, "segments-empty"):
        export({"tumor": empty}, series, tmp_path / "seg.dcm")
    assert [item.name for item in tmp_path.iterdir()] == ["ct"]


def test_one_voxel_in_one_slice_is_kept(tmp_path: Path, dicom_errors) -> None:
    series = series_of(tmp_path / "ct")
    array = np.zeros(series.volume.array.shape, dtype=np.uint8)
    array[4, 19, 23] = 1
    path = export({"tumor": series.volume.with_array(array)}, series, tmp_path / "seg.dcm")
    assert dicom_errors(path) == []
    for found in (segments_by_highdicom(path), segments_by_dcmqi(path, tmp_path / "dcmqi")):
        assert np.array_equal(values_on_grid(found[1], series), array == 1)


def test_masks_of_another_grid_are_refused(tmp_path: Path) -> None:
    series = series_of(tmp_path / "ct")
    other = phantom(oblique_direction())
    with raises_error(InputError, "grid-differs", "'tumor'"):
        export({"tumor": label_volume(other)}, series, tmp_path / "seg.dcm")
    assert not (tmp_path / "seg.dcm").exists()


def test_a_vessel_of_any_other_name_is_a_blood_vessel(tmp_path: Path, dicom_errors) -> None:
    series = series_of(tmp_path / "ct")
    masks = segments_from_labels(label_volume(series.volume), {"Milzvene Größe": 2})
    path = export(masks, series, tmp_path / "seg.dcm")
    segment = pydicom.dcmread(path).SegmentSequence[0]
    assert segment.SegmentLabel == "Milzvene Größe"
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "59820001"
    assert dicom_errors(path) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    series = series_of(tmp_path / "ct")
    masks = segments_from_labels(label_volume(series.volume), LABELS)
    with raises_error(OutputError, "not-writable"):
        export(masks, series, tmp_path / "absent" / "seg.dcm")


def test_a_source_that_is_gone_is_told(tmp_path: Path) -> None:
    series = series_of(tmp_path / "ct")
    series.files[2].unlink()
    with raises_error(InputError, "file-unreadable", "CT_0003.dcm"):
        export(segments_from_labels(label_volume(series.volume), LABELS), series, tmp_path / "seg.dcm")


def test_the_real_series_gets_a_valid_segmentation_though_its_uids_were_removed(
    test_data: Path, tmp_path: Path, dicom_errors
) -> None:
    series = read_series(test_data / "data" / "ct_dicom")
    array = np.zeros(series.volume.array.shape, dtype=np.uint8)
    array[3:9, 200:230, 220:260] = 1
    array[2:15, 240:250, 255:265] = 3
    masks = segments_from_labels(series.volume.with_array(array), {"tumor": 1, "SMV": 3})
    path = export(masks, series, tmp_path / "seg.dcm")
    assert dicom_errors(path) == []
    dataset = pydicom.dcmread(path)
    assert dataset.FrameOfReferenceUID == series.frame_of_reference_uid
    assert dataset.StudyInstanceUID
    for found in (segments_by_highdicom(path), segments_by_dcmqi(path, tmp_path / "dcmqi")):
        assert np.array_equal(values_on_grid(found[1], series), array == 1)
        assert np.array_equal(values_on_grid(found[2], series), array == 3)
    again = pydicom.dcmread(export(masks, series, tmp_path / "again.dcm"))
    assert again.StudyInstanceUID == dataset.StudyInstanceUID
    assert again.SOPInstanceUID == dataset.SOPInstanceUID


def test_who_drew_a_segment_is_said_of_each(tmp_path: Path, dicom_errors) -> None:
    series = series_of(tmp_path / "ct")
    masks = segments_from_labels(label_volume(series.volume), LABELS)
    drawn_by = {"tumor": AlgorithmType.SEMIAUTOMATIC, "SMA": AlgorithmType.MANUAL}
    probability = series.volume.with_array((label_volume(series.volume).array == 1).astype(np.float32))
    path = export(masks, series, tmp_path / "seg.dcm", drawn_by=drawn_by, probability=probability)
    found = {item.TrackingID: item for item in pydicom.dcmread(path).SegmentSequence}
    types = {name: item.SegmentAlgorithmType for name, item in found.items()}
    levels = {name for name in types if name.startswith("tumor-")}
    assert types == {"tumor": "SEMIAUTOMATIC", "PORTA": "AUTOMATIC", "SMA": "MANUAL"} | dict.fromkeys(
        levels, "AUTOMATIC"
    )
    assert len(levels) == 4
    assert found["tumor"].SegmentLabel == "Tumour, edited by hand"
    assert "SegmentationAlgorithmIdentificationSequence" not in found["SMA"]
    assert "SegmentationAlgorithmIdentificationSequence" in found["tumor"]
    assert dicom_errors(path) == []
