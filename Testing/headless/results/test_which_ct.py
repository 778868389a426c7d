"""Result and report say which CT they belong to."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pydicom
import pytest

from twintrack.dicom import write_ct_series
from twintrack.errors import InputError
from twintrack.io.ct import Ct, ct_sha256, load_ct
from twintrack.io.volumes import write_volume
from twintrack.results.schema import read_result_json
from twintrack.results.which_ct import WhichCt, describe_ct
from twintrack.volume import Geometry, Volume

FIELDS = {"case", "name", "series_number", "series_description", "study_date", "sha256", "created"}


@pytest.fixture(scope="module")
def volume() -> Volume:
    geometry = Geometry((20, 18, 12), (1.0, 1.0, 2.0))
    return Volume(np.random.default_rng(6).normal(0, 100, geometry.shape).astype(np.int16), geometry)


@pytest.fixture
def series(volume, tmp_path) -> Path:
    write_ct_series(volume, tmp_path / "DOE JANE", description="x")
    for path in (tmp_path / "DOE JANE").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.StudyDate, dataset.SeriesNumber, dataset.SeriesDescription = "20240229", 4, "Portal venös  1.0"
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.save_as(path)
    return tmp_path / "DOE JANE"


@pytest.mark.process
def test_a_series_is_told_by_folder_number_description_and_date(series, volume):
    before = datetime.now(timezone.utc).replace(microsecond=0)
    told = describe_ct(load_ct(series), "seven")
    assert set(told) == FIELDS
    created = datetime.strptime(told.pop("created"), "%Y-%m-%dT%H:%M:%S%z")
    assert before <= created <= datetime.now(timezone.utc)
    assert told == {
        "case": "seven",
        "name": "DOE JANE",
        "series_number": 4,
        "series_description": "Portal venös 1.0",
        "study_date": "2024-02-29",
        "sha256": ct_sha256(volume),
    }
    assert describe_ct(load_ct(next(series.iterdir())), None)["name"].startswith("CT_")


def test_a_file_is_told_by_its_name_and_a_volume_in_memory_by_its_hash_alone(volume, tmp_path, monkeypatch):
    write_volume(volume, tmp_path / "ct.nii.gz")
    monkeypatch.chdir(tmp_path)
    told = describe_ct(load_ct("ct.nii.gz"), None)
    assert told["name"] == "ct.nii.gz"
    assert told["case"] == told["sha256"][:8] == ct_sha256(volume)[:8]
    assert {told[name] for name in ("series_number", "series_description", "study_date")} == {None}
    assert describe_ct(Ct(volume, "file"), None)["name"] is None


@pytest.mark.process
@pytest.mark.parametrize(
    ("keyword", "value", "field"),
    [
        ("StudyDate", "", "study_date"),
        ("StudyDate", "20240230", "study_date"),
        ("StudyDate", "2024", "study_date"),
        ("StudyDate", None, "study_date"),
        ("SeriesNumber", None, "series_number"),
        ("SeriesDescription", None, "series_description"),
    ],
)
def test_what_a_de_identification_removed_is_null(series, keyword, value, field):
    for path in series.iterdir():
        dataset = pydicom.dcmread(path)
        with pydicom.config.disable_value_validation():
            delattr(dataset, keyword) if value is None else setattr(dataset, keyword, value)
            dataset.save_as(path)
    assert describe_ct(load_ct(series), None)[field] is None


@pytest.mark.process
def test_label_and_name_are_left_out_where_settings_and_ct_are_written_as_text(series):
    from twintrack.settings import SegmentSettings

    ct = load_ct(series)
    assert "DOE" not in repr(SegmentSettings(case="DOE"))
    assert "DOE" not in repr(Ct(ct.volume, "file", name=ct.name))


RESULT = {
    "bundle": {"name": "b", "version": "1", "sha256": "0" * 64},
    "labels": {"tumor": 1},
    "device": "cpu",
    "threshold": 0.5,
    "calibrator": None,
}


def read(folder: Path, stated: object) -> dict:
    (folder / "result.json").write_text(json.dumps({**RESULT, "input": stated}), encoding="utf-8")
    return read_result_json(folder / "result.json")


@pytest.mark.process
def test_results_of_earlier_versions_are_read(series, tmp_path):
    for stated in (None, {}, {"source": "file"}, describe_ct(load_ct(series), "x"), dict.fromkeys(FIELDS)):
        assert read(tmp_path, stated)["input"] == stated


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("case", value) for value in ("", 7, "x" * 65, "a\nb", ["a"])),
        *(("name", value) for value in (1, "x" * 256, "\x1b")),
        *(("series_number", value) for value in ("4", 1.5, True)),
        ("series_description", {}),
        *(("study_date", value) for value in ("20240101", "2024-1-1", "2024-01-01T00", "٢٠٢٤-٠١-٠١")),
        *(("sha256", value) for value in ("ab", "A" * 64, 5, "a" * 64 + "\n")),
        *(("created", value) for value in ("2024-01-01", "2024-01-01T00:00:00", "2024-01-01T00:00:00Z\n")),
    ],
)
def test_other_forms_are_refused_by_name(tmp_path, field, value):
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / 'result.json'}: '{field}'")):
        read(tmp_path, {field: value})


@pytest.mark.parametrize("stated", [None, 5, [], {"case": 5, "sha256": None, "series_number": "x"}])
def test_what_is_not_known_is_left_out(stated):
    which = WhichCt.of({"input": stated})
    assert (which.short, which.page_head, which.entries) == ("", (), ())


def test_label_and_hash_are_not_told_twice_where_they_are_the_same():
    digits = "0123abcd"
    assert WhichCt.of({"input": {"case": digits, "sha256": digits * 8}}).short == "CT 0123abcd"
    assert WhichCt.of({"input": {"case": "x", "sha256": digits * 8}}).short == "Case x · CT 0123abcd"
