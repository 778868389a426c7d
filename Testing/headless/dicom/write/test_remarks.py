"""A doubtful result says so in every object, in the texts that viewers show, and stays readable for everybody."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from other_readers import map_by_dcmqi, report_by_dcmqi, segments_by_dcmqi, segments_by_highdicom
from small_series import phantom

from twintrack.dicom import Remarks, read_series, write_ct_series
from twintrack.results.dicom_objects import write_objects
from twintrack.volume import Volume

pytestmark = pytest.mark.process

OUTSIDE = "slice spacing in mm 5 (training: 2 to 3)"
LONGEST = {"SH": 16, "LO": 64, "ST": 1024}
"""Characters that a value may have (PS3.5, 6.2)."""


def result(*, demo: bool = False, outside: tuple[str, ...] = (), phase: str = "portal venous") -> dict:
    return {
        "bundle": {"name": "bundle", "version": "1.2", "sha256": "ab" * 32, "raters": 5, "demo": demo},
        **{"calibrator": {"target": "mhr", "bins": 250}, "device": "cpu", "threshold": 0.6},
        "volume_ml": {"expected": 4.25, "at_threshold": 3.5, "p10": 1.25, "p90": 7.75},
        "lesions": [{"volume_ml": 3.0, "longest_diameter_mm": 26.5, "max_probability": 0.9}],
        "labels": {"tumor": 1},
        "suitability": {"outside": list(outside), "contrast": {"phase_estimate": phase}},
    }


def objects(folder: Path, content: dict) -> dict[str, Path]:
    """Write all objects of a result; return them by name."""
    write_ct_series(phantom(), folder / "ct", description="source")
    series = read_series(folder / "ct")
    array = np.zeros(series.volume.array.shape, dtype=np.float32)
    array[1:4, 3:9, 4:12] = np.linspace(0.3, 1, 8)
    probability = series.volume.with_array(array)
    labels: Volume = probability.with_array((array >= 0.6).astype(np.uint8))
    made = write_objects(folder / "out", series, labels, probability, content, fractional=True, labelmap=True)
    return {path.stem: path for path in made}


@pytest.fixture(scope="module")
def doubtful(tmp_path_factory) -> dict[str, Path]:
    return objects(tmp_path_factory.mktemp("doubtful"), result(demo=True, outside=(OUTSIDE,)))


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> dict[str, Path]:
    return objects(tmp_path_factory.mktemp("plain"), result())


def told(path: Path) -> str:
    """Return all that an object says in words, and check that no value is longer than its kind allows."""
    words = []
    for element in pydicom.dcmread(path, stop_before_pixels=True).iterall():
        if element.VR in LONGEST:
            assert len(str(element.value)) <= LONGEST[element.VR], element
        if element.VR in (*LONGEST, "UT"):
            words.append(str(element.value))
    return "\n".join(words)


def test_every_object_of_a_doubtful_result_says_so(doubtful: dict[str, Path], dicom_errors) -> None:
    assert len(doubtful) == 5
    for name, path in doubtful.items():
        text, dataset = told(path), pydicom.dcmread(path, stop_before_pixels=True)
        assert dataset.SeriesDescription.startswith("DEMO, UNUSUAL CT: TwinTrackSeg"), name
        assert "research use only" in dataset.SeriesDescription, name
        assert OUTSIDE in text, name
        assert "synthetic phantoms only" in text, name
        if name != "report":
            assert dataset.ContentDescription == "Research use only. Demo model. CT unlike training: doubtful"
        if name != "labelmap":  # newer than the validator
            assert dicom_errors(path) == [], name


def test_other_readers_still_read_them(doubtful: dict[str, Path], plain: dict[str, Path], tmp_path: Path) -> None:
    for read, kind in ((segments_by_dcmqi, "segmentation"), (segments_by_highdicom, "segmentation")):
        folders = ([tmp_path / f"a-{kind}"], [tmp_path / f"b-{kind}"]) if read is segments_by_dcmqi else ([], [])
        found, usual = read(doubtful[kind], *folders[0]), read(plain[kind], *folders[1])
        assert found.keys() == usual.keys()
        assert all(np.array_equal(found[number].array, usual[number].array) for number in usual)
    maps = [map_by_dcmqi(group["probability"], tmp_path / f"m{n}") for n, group in enumerate((doubtful, plain))]
    assert np.array_equal(maps[0].array, maps[1].array)
    reports = [report_by_dcmqi(group["report"], tmp_path / f"r{n}") for n, group in enumerate((doubtful, plain))]
    numbers = [
        [item["value"] for group in content["Measurements"] for item in group["measurementItems"]]
        for content in reports
    ]
    assert numbers[0] == numbers[1]
    assert "Demo: knows phantoms only" in json.dumps(reports[0])
    assert "CT is unlike the training images" in json.dumps(reports[0])


def test_highdicom_finds_the_report_s_groups_and_its_comment(doubtful: dict[str, Path]) -> None:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    tumor, lesion = hd.sr.srread(str(doubtful["report"])).content.get_volumetric_roi_measurement_groups()
    assert len(tumor.get_measurements()) == 4
    comments = [item.value for item in tumor[0].ContentSequence if item.name == codes.DCM.Comment]
    assert len(comments) == 1
    assert OUTSIDE in comments[0]
    assert all(item.name != codes.DCM.Comment for item in lesion[0].ContentSequence)


def test_a_result_without_remarks_has_none(plain: dict[str, Path]) -> None:
    for path in plain.values():
        text = told(path)
        assert "research use only" in text.lower()
        for words in ("DEMO", "UNUSUAL", "phantoms", "unlike", "Comment"):
            assert words not in text


@pytest.mark.parametrize("count", [1, 40])
@pytest.mark.parametrize("demo", [False, True])
def test_texts_fit_however_much_is_unlike(demo: bool, count: int) -> None:
    remarks = Remarks(demo, (OUTSIDE,) * count)
    assert len(remarks.content_description) <= LONGEST["LO"]
    assert len(remarks.sentences("Tumour.")) <= LONGEST["ST"]
    assert remarks.sentences("Tumour.").startswith("Tumour. For research use only")
    assert len(remarks.series_description("TwinTrackSeg segmentation (research use only)")) <= LONGEST["LO"]


def test_an_unenhanced_ct_is_unlike_too_and_a_result_of_an_older_version_has_no_remarks() -> None:
    assert Remarks.of(result(phase="unenhanced")).unlike == ("vessels are not brighter than without contrast medium",)
    assert Remarks.of({"bundle": {}}) == Remarks.of({"bundle": {}, "suitability": None}) == Remarks()
