"""What a client may ask for, and what is refused before anything of it is kept."""

from __future__ import annotations

import json

import pytest

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.execution.server.protocol import Limits
from twintrack.execution.server.submission import read_submission

CT = {"role": "ct", "bytes": 10}

LIMITS = Limits(runs=4, bytes=1000, files=20)


def said(**changes) -> bytes:
    content = {"schema": 1, "key": "0" * 32, "kind": "nrrd", "files": [CT], "settings": {}, "bundle_sha256": None}
    return json.dumps({**content, **changes}).encode()


def test_files_get_their_names_from_the_server():
    files = [CT, {"role": "vessels", "bytes": 5, "kind": "nifti-gz"}, {"role": "calibrator", "bytes": 0}]
    found = read_submission(said(files=files, settings={"roi": "full"}), LIMITS)
    assert [(file.name, file.bytes) for file in found.files] == [
        ("ct.nrrd", 10),
        ("vessels.nii.gz", 5),
        ("calibrator.json", 0),
    ]
    assert (found.source, found.bytes) == ("ct.nrrd", 15)
    assert found.settings == {"roi": "full", "vessels": "vessels.nii.gz", "calibrator": "calibrator.json"}


def test_a_series_is_a_folder_of_numbers():
    found = read_submission(said(kind="dicom", files=[CT] * 3), LIMITS)
    assert found.source == "series"
    assert [file.name for file in found.files] == ["series/000000", "series/000001", "series/000002"]


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"schema": None},
        {"key": "../../x"},
        {"key": "0" * 31},
        {"key": 7},
        {"kind": "../../x"},
        {"kind": ["nrrd"]},
        {"path": "/etc/passwd"},
        {"bundle": "demo"},
        {"files": []},
        {"files": None},
        {"files": {"role": "ct"}},
        {"files": [7]},
        {"files": [{"role": "vessels", "bytes": 1}]},
        {"files": [CT, CT]},
        {"kind": "dicom", "files": [CT, CT | {"bytes": 0}]},
        {"files": [CT, {"role": "vessels", "bytes": 1}, {"role": "vessels", "bytes": 1}]},
        {"files": [{**CT, "name": "../x"}]},
        {"files": [{**CT, "bytes": -1}]},
        {"files": [{**CT, "bytes": True}]},
        {"files": [{**CT, "bytes": 1.5}]},
        {"files": [{**CT, "bytes": "10"}]},
        {"files": [{**CT, "kind": "dicom"}]},
        {"files": [CT, {"role": "vessels", "bytes": 1, "kind": "exe"}]},
        {"settings": []},
        {"settings": {"vessels": "/etc/passwd"}},
        {"settings": {"calibrator": "/etc/passwd"}},
        {"settings": {"device": "cuda"}},
        {"settings": {"backend": "torch"}},
        {"settings": {"case": "DOE^JANE"}},
        {"settings": {"out": "/tmp"}},
        {"bundle_sha256": 5},
        {"bundle_sha256": "x"},
    ],
)
def test_what_is_no_submission_is_refused(changes):
    with raises_error(InputError, "request-malformed"):
        read_submission(said(**changes), LIMITS)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{" * 200_000, b"[" * 100_000, b"\xff", b'{"schema": NaN}'])
def test_what_is_no_object_is_refused(body):
    with raises_error(InputError, "request-malformed"):
        read_submission(body, LIMITS)


def test_settings_are_checked_as_they_are_here():
    with raises_error(InputError, "threshold-range"):
        read_submission(said(settings={"threshold": 2}), LIMITS)
    with raises_error(InputError, "option-type"):
        read_submission(said(settings={"threshold": "much"}), LIMITS)


@pytest.mark.parametrize(
    "files", [[CT] * 21, [{**CT, "bytes": 1001}], [{**CT, "bytes": 2**60}], [{**CT, "bytes": 600}] * 2]
)
def test_an_upload_has_limits(files):
    with raises_error(InputError, "upload-too-large"):
        read_submission(said(kind="dicom", files=files), LIMITS)
