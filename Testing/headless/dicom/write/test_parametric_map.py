"""A DICOM parametric map gives the map's own values at their places to readers that others wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from other_readers import DCMQI_VERSIONS, from_highdicom, map_by_dcmqi, values_on_grid
from small_series import oblique_direction, phantom, sign_directions

from expected_errors import raises_error
from twintrack.dicom import Algorithm, DicomSeries, MapMeaning, read_series, write_ct_series, write_parametric_map
from twintrack.errors import InputError, OutputError
from twintrack.volume import Volume

pytestmark = pytest.mark.process

ALGORITHM = Algorithm("demo bundle", "1.2", "0123456789abcdef" * 4)
DIRECTIONS = [*sign_directions(), oblique_direction(), np.eye(3)[:, [2, 0, 1]]]


def probability_like(like: Volume) -> Volume:
    """Return a blob of values that no flip maps onto itself, in slices 1 to 4, and 0 elsewhere."""
    array = np.zeros(like.array.shape, dtype=np.float32)
    array[1:5, 2:12, 3:20] = np.random.default_rng(3).uniform(0.01, 1, (4, 10, 17)).astype(np.float32)
    array[3] *= 0.1
    return like.with_array(array)


def series_of(folder: Path, direction: np.ndarray | None = None) -> DicomSeries:
    write_ct_series(phantom(direction), folder, description="source")
    return read_series(folder)


@pytest.mark.parametrize("version", DCMQI_VERSIONS)
@pytest.mark.parametrize("direction", DIRECTIONS, ids=[*(f"flip{n}" for n in range(8)), "oblique", "sagittal"])
def test_dcmqi_finds_every_value_at_its_place(tmp_path: Path, direction: np.ndarray, version: str) -> None:
    series = series_of(tmp_path / "ct", direction)
    probability = probability_like(series.volume)
    path = write_parametric_map(probability, series, tmp_path / "map.dcm", algorithm=ALGORITHM)
    found = values_on_grid(map_by_dcmqi(path, tmp_path / "dcmqi", version), series)
    assert np.allclose(found, probability.array, rtol=0, atol=1e-6)


@pytest.mark.parametrize("direction", [np.eye(3), np.diag([-1.0, -1.0, 1.0]), oblique_direction()], ids=range(3))
def test_highdicom_finds_every_value_at_its_place(tmp_path: Path, direction: np.ndarray) -> None:
    import highdicom as hd

    if int(hd.__version__.split(".")[1]) < 28:
        pytest.skip("this version of highdicom cannot read float maps as a volume")
    series = series_of(tmp_path / "ct", direction)
    probability = probability_like(series.volume)
    path = write_parametric_map(probability, series, tmp_path / "map.dcm", algorithm=ALGORITHM)
    found = values_on_grid(from_highdicom(hd.imread(str(path)).get_volume()), series)
    assert np.array_equal(found.astype(np.float32), probability.array)


@pytest.mark.parametrize("direction", sign_directions(), ids=range(8))
def test_a_map_on_the_flipped_grid_of_the_input_volume_is_placed_right(tmp_path: Path, direction: np.ndarray) -> None:
    volume = phantom(direction)
    write_ct_series(volume, tmp_path / "ct", description="source")
    series = read_series(tmp_path / "ct")
    probability = probability_like(volume)
    path = write_parametric_map(probability, series, tmp_path / "map.dcm", algorithm=ALGORITHM)
    expected = probability.restored_to(series.volume.geometry).array
    found = values_on_grid(map_by_dcmqi(path, tmp_path / "dcmqi"), series)
    assert np.allclose(found, expected, rtol=0, atol=1e-6)


def test_the_standard_finds_no_error(tmp_path: Path, dicom_errors) -> None:
    series = series_of(tmp_path / "ct", oblique_direction())
    path = write_parametric_map(probability_like(series.volume), series, tmp_path / "map.dcm", algorithm=ALGORITHM)
    assert dicom_errors(path) == []


def test_each_frame_names_its_source_slice_and_empty_ends_are_left_out(tmp_path: Path) -> None:
    series = series_of(tmp_path / "ct")
    path = write_parametric_map(probability_like(series.volume), series, tmp_path / "map.dcm", algorithm=ALGORITHM)
    dataset = pydicom.dcmread(path)
    sources = []
    for rank, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence, start=1):
        sources.append(frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID)
        assert frame.FrameContentSequence[0].DimensionIndexValues == rank
        position = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        assert np.allclose(position, series.volume.geometry.to_lps_mm(np.array([0, 0, rank])), atol=1e-6)
    assert tuple(sources) == series.sop_instance_uids[1:5]


def test_it_says_what_the_values_are_and_that_it_is_for_research(tmp_path: Path) -> None:
    series = series_of(tmp_path / "ct")
    probability = probability_like(series.volume)
    for meaning, words in ((MapMeaning.MHR, "Fraction of readers"), (MapMeaning.SCORE, "Uncalibrated")):
        path = tmp_path / f"{meaning.value}.dcm"
        write_parametric_map(probability, series, path, algorithm=ALGORITHM, meaning=meaning)
        dataset = pydicom.dcmread(path)
        mapping = dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
        assert mapping.LUTExplanation.startswith(words)
        assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1"
        assert mapping.RealWorldValueSlope == 1.0
        assert mapping.RealWorldValueIntercept == 0.0
        assert "research use only" in dataset.SeriesDescription
        assert ALGORITHM.bundle_sha256 in dataset.DerivationDescription
        assert dataset.ContentQualification == "RESEARCH"
        assert dataset.StudyInstanceUID == series.study_uid


def test_bad_maps_are_refused_and_leave_no_file(tmp_path: Path) -> None:
    series = series_of(tmp_path / "ct")
    good = probability_like(series.volume)
    path = tmp_path / "map.dcm"
    with raises_error(OutputError, "map-empty"):
        write_parametric_map(good.with_array(good.array * 0), series, path, algorithm=ALGORITHM)
    for bad in (good.array * 100, good.array - 1, np.where(good.array > 0.5, np.nan, good.array)):
        with raises_error(InputError, "probability-range"):
            write_parametric_map(good.with_array(bad), series, path, algorithm=ALGORITHM)
    with raises_error(InputError, "grid-differs"):
        write_parametric_map(probability_like(phantom(oblique_direction())), series, path, algorithm=ALGORITHM)
    assert [item.name for item in tmp_path.iterdir()] == ["ct"]


def test_the_real_series_gets_a_valid_map(test_data: Path, tmp_path: Path, dicom_errors) -> None:
    series = read_series(test_data / "data" / "ct_dicom")
    probability = probability_like(series.volume)
    path = write_parametric_map(probability, series, tmp_path / "map.dcm", algorithm=ALGORITHM)
    assert dicom_errors(path) == []
    found = values_on_grid(map_by_dcmqi(path, tmp_path / "dcmqi"), series)
    assert np.allclose(found, probability.array, rtol=0, atol=1e-6)
