"""The same content made again is the same object; another content, run or series is another one."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from small_series import phantom

from twintrack.dicom import (
    Algorithm,
    read_series,
    segments_from_labels,
    write_ct_series,
    write_fractional,
    write_parametric_map,
    write_segmentation,
    write_structured_report,
)
from twintrack.dicom.write.identity import derived_uid, name_instance
from twintrack.dicom.write.segmentation import SegmentationKind
from twintrack.dicom.write.structured_report import change_case_label

pytestmark = pytest.mark.process

ALGORITHM = Algorithm("demo bundle", "1.2", "0123456789abcdef" * 4, settings={"roi": "auto", "threshold": 0.5})
RESULT = {"threshold": 0.5, "volume_ml": {"at_threshold": 1.0, "expected": 1.5}, "lesions": []}
KINDS = ("seg", "map", "report", "fractional", "labelmap")

IN_ANOTHER_PROCESS = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from test_identity import write_all
write_all(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def write_all(
    ct: Path, out: Path, *, algorithm: Algorithm = ALGORITHM, last: float = 1.0, case: str = "", result: dict = RESULT
) -> dict[str, Path]:
    """Write all kinds of objects of a map whose highest value is `last`."""
    out.mkdir()
    series = read_series(ct)
    array = np.zeros(series.volume.array.shape, dtype=np.float32)
    array[1:4, 3:9, 4:12] = np.linspace(0.1, last, 8, dtype=np.float32)
    probability = series.volume.with_array(array)
    masks = segments_from_labels(probability.with_array((array >= 0.5).astype(np.uint8)), {"tumor": 1})
    drawn = {"algorithm": algorithm, "threshold": 0.5, "raters": 5}
    seg = write_segmentation(masks, series, out / "seg.dcm", probability=probability, **drawn)
    stated = {"algorithm": algorithm}
    labelled = result | {"input": {"case": case}} if case else result
    return {
        "seg": seg,
        "map": write_parametric_map(probability, series, out / "map.dcm", **stated),
        "report": write_structured_report(labelled, None, series, seg, out / "report.dcm", **stated),
        "fractional": write_fractional(probability, series, out / "fractional.dcm", **stated),
        "labelmap": write_segmentation(masks, series, out / "labelmap.dcm", kind=SegmentationKind.LABELMAP, **drawn),
    }


def instances(files: dict[str, Path]) -> dict[str, str]:
    return {kind: str(pydicom.dcmread(path).SOPInstanceUID) for kind, path in files.items()}


def series_uids(files: dict[str, Path]) -> dict[str, str]:
    return {kind: str(pydicom.dcmread(path).SeriesInstanceUID) for kind, path in files.items()}


def all_uids(dataset: Dataset) -> Iterator[str]:
    for element in dataset.iterall():
        if element.VR == "UI":
            yield from [str(element.value)] if isinstance(element.value, str) else map(str, element.value)


@pytest.fixture(scope="module")
def ct(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "ct"
    write_ct_series(phantom(), folder, description="source", patient_name="Doe^Jane", patient_id="4711")
    return folder


@pytest.fixture(scope="module")
def files(ct: Path, tmp_path_factory) -> dict[str, Path]:
    return write_all(ct, tmp_path_factory.mktemp("objects") / "first")


def test_a_derived_uid_is_a_uuid_under_2_25() -> None:
    made = {derived_uid("a", str(number)) for number in range(200)}
    assert len(made) == 200
    for uid in made:
        assert pydicom.uid.UID(uid).is_valid
        assert len(uid) < 64
        number = uuid.UUID(int=int(uid.removeprefix("2.25.")))
        assert number.variant == uuid.RFC_4122
        assert number.version == 8
    assert derived_uid("ab", "c") != derived_uid("a", "bc")


def test_another_process_makes_the_same_objects_but_for_their_time(ct: Path, files, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "77", "TZ": "Pacific/Auckland"}
    places = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, str(ct), str(tmp_path / "again"), *places]
    subprocess.run(command, check=True, env=environment, timeout=600)
    for kind, path in files.items():
        one, two = pydicom.dcmread(path), pydicom.dcmread(tmp_path / "again" / path.name)
        assert list(all_uids(one)) == list(all_uids(two)), kind
        assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID
        for dataset in (one, two):
            dataset.walk(lambda holder, element: holder.pop(element.tag) if element.VR in ("DA", "TM", "DT") else None)
        assert one == two, kind


def test_every_kind_is_a_series_of_its_own_and_all_uids_are_valid(files, dicom_errors) -> None:
    assert len(set(series_uids(files).values())) == len(KINDS)
    assert len(set(instances(files).values())) == len(KINDS)
    for kind, path in files.items():
        for uid in all_uids(pydicom.dcmread(path)):
            assert pydicom.uid.UID(uid).is_valid
            assert len(uid) <= 64
        if kind != "labelmap":  # dciodvfy does not know the kind of object yet
            assert dicom_errors(path) == []


def test_a_changed_voxel_is_another_instance_in_the_same_series(ct: Path, files, tmp_path: Path) -> None:
    changed = write_all(ct, tmp_path / "changed", last=0.9)
    assert series_uids(changed) == series_uids(files)
    before, now = instances(files), instances(changed)
    assert [kind for kind in KINDS if before[kind] == now[kind]] == ["labelmap"]  # the outline is the same
    one, two = (pydicom.dcmread(group["seg"]) for group in (files, changed))
    assert one.SegmentSequence[0].TrackingUID == two.SegmentSequence[0].TrackingUID


def test_a_changed_number_is_another_report_alone(ct: Path, files, tmp_path: Path) -> None:
    other = write_all(ct, tmp_path / "other", result=RESULT | {"volume_ml": {"at_threshold": 1.0, "expected": 1.6}})
    before, now = instances(files), instances(other)
    assert [kind for kind in KINDS if before[kind] != now[kind]] == ["report"]


@pytest.mark.parametrize(
    "other",
    [{"bundle_sha256": "ff" * 32}, {"settings": {"roi": "full", "threshold": 0.5}}],
    ids=["bundle", "settings"],
)
def test_another_bundle_or_setting_is_another_series(ct: Path, files, tmp_path: Path, other) -> None:
    made = write_all(ct, tmp_path / "other", algorithm=replace(ALGORITHM, **other))
    for uids in (series_uids, instances):
        assert not set(uids(made).values()) & set(uids(files).values())


def test_another_version_is_another_series(ct: Path, files, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("twintrack.dicom.write.identity.__version__", "999.0")
    made = write_all(ct, tmp_path / "other")
    assert not set(series_uids(made).values()) & set(series_uids(files).values())


def test_the_same_voxels_of_another_series_give_other_objects(files, tmp_path: Path) -> None:
    write_ct_series(phantom(), tmp_path / "ct", description="source", patient_name="Doe^Jane", patient_id="4711")
    made = write_all(tmp_path / "ct", tmp_path / "other")
    assert not set(series_uids(made).values()) & set(series_uids(files).values())


def test_a_series_with_a_slice_more_gives_other_instances_in_the_same_series(ct: Path, tmp_path: Path) -> None:
    found = []
    for count in (5, 6):
        part = tmp_path / f"ct{count}"
        part.mkdir()
        for path in sorted(ct.iterdir())[:count]:
            (part / path.name).write_bytes(path.read_bytes())
        found.append(write_all(part, tmp_path / f"of{count}"))
    assert series_uids(found[0]) == series_uids(found[1])
    assert not set(instances(found[0]).values()) & set(instances(found[1]).values())


def test_a_corrected_name_and_another_day_leave_the_instance_what_it_was(ct: Path, files, tmp_path: Path) -> None:
    corrected = tmp_path / "ct"
    corrected.mkdir()
    for path in ct.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.PatientName, dataset.PatientID, dataset.StudyTime = "Doe^Janet", "4712", "010203"
        dataset.save_as(corrected / path.name)
    made = write_all(corrected, tmp_path / "made")
    assert instances(made) == instances(files)
    assert pydicom.dcmread(made["map"]).PatientName == "Doe^Janet"
    dataset = pydicom.dcmread(files["report"])
    dataset.ContentDate, dataset.ContentTime, dataset.SeriesDate = "19991231", "235959", "19991231"
    name_instance(dataset)
    assert dataset.SOPInstanceUID == instances(files)["report"]


def test_reading_and_writing_an_object_leaves_it_the_same(files) -> None:
    for kind, path in files.items():
        dataset = pydicom.dcmread(path)
        before = str(dataset.SOPInstanceUID)
        name_instance(dataset)
        assert dataset.SOPInstanceUID == before, kind


def test_a_report_that_is_labelled_later_is_the_one_that_was_written_with_the_label(ct: Path, tmp_path: Path) -> None:
    late = write_all(ct, tmp_path / "late", case="0123abcd")["report"]
    before = pydicom.dcmread(late).SOPInstanceUID
    change_case_label(late, "Fall 7")
    direct = write_all(ct, tmp_path / "direct", case="Fall 7")["report"]
    assert pydicom.dcmread(late).SOPInstanceUID == pydicom.dcmread(direct).SOPInstanceUID != before
