"""What the tests of the command line share: a small CT, the files of a run, and how a refusal looks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from twintrack.cli.app import run_command
from twintrack.volume import Geometry, Volume

ROI = "4,30,2,26,3,15"


FILES = {
    "result.json",
    "probability.nii.gz",
    "segmentation.nii.gz",
    "vessels.nii.gz",
    "invasion.json",
    "invasion.csv",
    "overview.png",
    "report.html",
}

VESSEL_FILES = {"vessels.nii.gz", "invasion.json", "invasion.csv"}
"""Those that a run with a bundle without vessels does not write."""


def small_ct(direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1)) -> Volume:
    """A CT with air, fat and soft tissue that no flip maps onto itself."""
    geometry = Geometry((36, 30, 18), (1.5, 1.6, 3.0), (30.0, -12.5, 100.0), tuple(float(d) for d in direction))
    array = np.random.default_rng(4).normal(40, 30, geometry.shape)
    array[:3], array[:, :4], array[..., 28:] = -1000, -100, 120
    return Volume(array.round().astype(np.int16), geometry)


def assert_refused(arguments: list[str], capsys, *words: str, out: Path | None = None) -> None:
    """The command ends with code 2, one error line that holds `words`, and nothing under a final name."""
    assert run_command([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("error: ")
    for word in words:
        assert str(word) in lines[0]
    if out is not None and out.exists():
        assert list(out.iterdir()) == []
