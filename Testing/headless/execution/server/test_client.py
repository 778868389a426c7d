"""What a client takes from a server, and how it knows the server's bundle."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.execution.server.client import _checked, _hash_of

pytestmark = pytest.mark.process


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "result.json/../../x", "other.txt", ""])
def test_a_server_cannot_write_where_no_result_is(name):
    with raises_error(InputError, "server-unexpected-file"):
        _checked(name)


@pytest.mark.parametrize("name", ["result.json", "vessels.nii.gz", "dicom/segmentation.dcm"])
def test_a_results_files_are_taken(name):
    assert str(_checked(name)) == name


def test_the_hash_of_a_bundle_is_the_same_in_a_folder_and_a_zip(bundle_folder, tmp_path):
    from twintrack.bundle.model_bundle import Bundle

    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", bundle_folder.parent, bundle_folder.name)
    with Bundle.open(bundle_folder) as opened:
        assert _hash_of(bundle_folder) == _hash_of(Path(archive)) == opened.sha256
