"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder with real CTs and reference numbers, named by TWINTRACK_TEST_DATA; skips without it."""
    folder = os.environ.get("TWINTRACK_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("TWINTRACK_TEST_DATA does not name a folder with the real test data")
    return Path(folder).resolve()
