"""Cases of a manifest by split: who is in two of them is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.io.manifest import read_manifest
from twintrack.io.splits import SPLITS, rows_by_split


def split(folder: Path, *lines: str, header: str = "case,image,split,patient"):
    for line in lines:
        (folder / line.split(",")[1]).touch()
    manifest = folder / "m.csv"
    manifest.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
    return rows_by_split(read_manifest(manifest, needs=("image", "split")))


def test_every_split_has_its_cases_in_the_manifest_s_order(tmp_path):
    found = split(tmp_path, "c3,3,test,", "c1,1,train,P", "c2,2,train,P", "c4,4,calibration,Q", "c5,5,test,")
    assert {name: [row.case for row in rows] for name, rows in found.items()} == {
        "train": ["c1", "c2"],
        "calibration": ["c4"],
        "test": ["c3", "c5"],
    }


def test_a_manifest_without_patients_is_taken_as_it_is(tmp_path):
    found = split(tmp_path, "c1,1,train", "c2,2,test", header="case,image,split")
    assert [len(found[name]) for name in SPLITS] == [1, 0, 1]


@pytest.mark.parametrize(("one", "other"), [("train", "test"), ("calibration", "train"), ("test", "calibration")])
def test_a_patient_in_two_splits_is_refused_with_both_lines(tmp_path, one, other):
    with raises_error(InputError, "patient-in-two-splits", "line 4", "line 2", one):
        split(tmp_path, f"c1,1,{one},P 7", "c2,2,test,", f"c3,3,{other}, P 7 ")


def test_a_patient_s_name_is_one_however_its_accents_are_written(tmp_path):
    with raises_error(InputError, "patient-in-two-splits"):
        split(tmp_path, "c1,1,train,Ren\u00e9", "c2,2,test,Rene\u0301")


def test_an_image_in_two_splits_is_refused_with_both_lines(tmp_path):
    with raises_error(InputError, "case-used-twice", "line 3", "line 2", "train"):
        split(tmp_path, "c1,1,train,", "c2,1,test,")


def test_an_unknown_split_is_refused(tmp_path):
    with raises_error(InputError, "split-unknown", "line 3", "'validation'", "train"):
        split(tmp_path, "c1,1,train,", "c2,2,validation,")
