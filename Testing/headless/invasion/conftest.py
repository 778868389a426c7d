"""The analytic tubes, for every test of this folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from analytic_vessels import TubeCase, make_tube


@pytest.fixture(scope="session")
def tube() -> Callable[..., TubeCase]:
    """The maker of tube cases."""
    return make_tube


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures go: a temporary folder, or the one named by TWINTRACK_PICTURES to look at them."""
    kept = os.environ.get("TWINTRACK_PICTURES")
    folder = Path(kept) if kept else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    return folder
