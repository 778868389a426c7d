"""Names that the system does not take are files that are not there, not errors of the program."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from twintrack.bundle.model_bundle import Bundle
from twintrack.errors import TwinTrackError
from twintrack.execution.answer import Events
from twintrack.execution.worker.run_request import answer_request
from twintrack.io.ct import load_ct
from twintrack.io.manifest import read_manifest
from twintrack.io.volumes import read_volume
from twintrack.progress.callbacks import CancelToken
from twintrack.settings import SegmentSettings
from twintrack.system.paths import is_there

ODD = ["x" * 5000, "a\0b", "a/" * 3000 + "ct.nii.gz"]


def test_what_is_there_is_there(tmp_path):
    assert is_there(tmp_path)
    assert is_there(str(tmp_path))
    assert not is_there(tmp_path / "other")


@pytest.mark.parametrize("name", ODD, ids=["long", "zero byte", "deep"])
def test_names_that_no_file_can_have_are_refused(name, tmp_path):
    for read in (load_ct, read_volume, Bundle.open, lambda path: SegmentSettings(vessels=path)):
        with pytest.raises(TwinTrackError):
            read(name)
    (tmp_path / "m.csv").write_text(f"case,image\na,{name}\n")
    with pytest.raises(TwinTrackError):
        read_manifest(tmp_path / "m.csv", needs=("image",))


@pytest.mark.parametrize("key", ["input", "bundle", "out", "vessels", "calibrator"])
def test_a_worker_refuses_a_request_with_a_path_that_is_too_long(key, bundle_folder, tmp_path):
    from faults import ct_file

    request = {"schema": 1, "input": str(ct_file(tmp_path)), "bundle": str(bundle_folder), "out": str(tmp_path / "out")}
    said = io.StringIO()
    assert answer_request({**request, key: str(Path("/") / ("x" * 5000))}, Events(said), CancelToken()) == 2
    assert json.loads(said.getvalue().splitlines()[-1])["event"] == "error"
