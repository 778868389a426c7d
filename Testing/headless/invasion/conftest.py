"""The analytic tubes, for every test of this folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TESTING = str(Path(__file__).resolve().parent.parent.parent)
if TESTING not in sys.path:
    sys.path.insert(0, TESTING)

from analytic_vessels import TubeCase, make_tube  # noqa: E402


@pytest.fixture(scope="session")
def tube() -> Callable[..., TubeCase]:
    """The maker of tube cases."""
    return make_tube
