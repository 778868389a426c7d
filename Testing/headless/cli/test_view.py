"""What ``twintrack view`` says before it shows anything; the viewer itself is tested in `Testing/view`."""

from __future__ import annotations

import importlib.util

import pytest

from twintrack.cli.app import run_command

needs_extra = pytest.mark.skipif(
    importlib.util.find_spec("trame_slicer") is None, reason="the extra 'view' is not installed: make view-tools"
)


@pytest.mark.skipif(importlib.util.find_spec("trame_slicer") is not None, reason="the extra 'view' is installed")
def test_a_missing_extra_is_said_with_what_to_install(tmp_path, capsys):
    assert run_command(["view", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert '".[view]"' in line
    assert "trame_slicer" in line


@needs_extra
@pytest.mark.parametrize(
    ("made", "options", "told"), [(["result.json"], [], "--ct"), ([], ["--ct", "x.nii.gz"], "result.json")]
)
def test_result_and_ct_are_told_apart(tmp_path, capsys, made, options, told):
    for name in made:
        (tmp_path / name).write_text("{}", encoding="utf-8")
    assert run_command(["view", str(tmp_path), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
