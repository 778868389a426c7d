"""Errors keep their type and fields wherever they go: into a copy, another process, an event, another folder."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest

from twintrack.dicom.read.headers import TooMuchError
from twintrack.errors import BundleError, InputError, OutputError, RoiError, TwinTrackError, locating

FIELDS = ("message", "code", "path", "where")


def fields(error: TwinTrackError) -> tuple[object, ...]:
    return (type(error), *(getattr(error, name) for name in FIELDS), str(error))


@pytest.mark.parametrize(
    ("path", "where", "text"),
    [
        (None, None, "is damaged"),
        (Path("/data/ct.nii.gz"), None, "/data/ct.nii.gz: is damaged"),
        (None, "cases.csv, line 3", "cases.csv, line 3: is damaged"),
        ("/data/ct.nii.gz", "cases.csv, line 3", "cases.csv, line 3: /data/ct.nii.gz: is damaged"),
    ],
)
def test_the_text_is_the_place_and_then_the_sentence(path, where, text) -> None:
    assert str(InputError("is damaged", code="dicom-damaged", path=path, where=where)) == text


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
@pytest.mark.parametrize(
    "error",
    [
        BundleError("is altered", code="bundle-file-altered", path=Path("b.zip"), where="line 2"),
        TooMuchError("the file has 10 GB", Path("a.dcm"), "CT", "1.2.3"),
    ],
)
def test_copies_and_other_processes_get_every_field(error, again) -> None:
    found = again(error)
    assert fields(found) == fields(error)
    assert found.__dict__ == error.__dict__


@pytest.mark.parametrize("kind", [InputError, BundleError, RoiError, OutputError, TwinTrackError])
def test_an_event_carries_an_error_as_text(kind) -> None:
    error = kind("has no voxel", code="volume-empty", path="ct.mha", where="case 4")
    assert fields(TwinTrackError.of_fields(json.loads(json.dumps(error.fields())))) == fields(error)


def test_types_that_only_one_side_knows_arrive_as_their_base() -> None:
    found = TwinTrackError.of_fields(TooMuchError("is too large", Path("a.dcm"), "CT", "1.2.3").fields())
    assert (type(found), found.path) == (InputError, "a.dcm")
    assert type(TwinTrackError.of_fields({"kind": "SystemExit", "message": "no"})) is TwinTrackError


def test_a_block_fills_in_what_an_error_does_not_say() -> None:
    with pytest.raises(InputError) as found, locating(path="outer", where="line 2"), locating(path="inner"):
        raise InputError("is damaged", code="dicom-damaged")
    assert (found.value.path, found.value.where) == ("inner", "line 2")
    with pytest.raises(ZeroDivisionError), locating(path="outer"):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/tmp/draft", "/home/b.zip"),
        (Path("/tmp/draft/fine/plans.json"), str(Path("/home/b.zip/fine/plans.json"))),
        ("/tmp/draft-2/fine", "/tmp/draft-2/fine"),
        (None, "None"),
    ],
)
def test_a_private_folder_gets_the_name_that_the_user_knows(path, shown) -> None:
    error = BundleError("is damaged", code="json-unreadable", path=path)
    error.rename(Path("/tmp/draft"), Path("/home/b.zip"))
    assert str(error.path) == shown
