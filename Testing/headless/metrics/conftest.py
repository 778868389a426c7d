"""Reference numbers of the CURVAS-PDACVI evaluation, and volumes from arrays."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from twintrack.volume import Geometry, Volume


@pytest.fixture(scope="session")
def reference(test_data: Path) -> Path:
    """The folder with the reference numbers."""
    folder = test_data / "reference" / "curvas_pdacvi"
    if not folder.is_dir():
        pytest.skip("the reference numbers are not among the test data")
    return folder


@pytest.fixture(scope="session")
def generator(reference: Path) -> ModuleType:
    """The module that draws the reference cases."""
    spec = importlib.util.spec_from_file_location("curvas_cases_of_metrics", reference / "make_cases.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def public(reference: Path) -> Any:
    """All numbers of the reference cases."""
    return json.loads((reference / "public.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def micro(reference: Path) -> Any:
    """Probes of single functions."""
    return json.loads((reference / "micro.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def on_grid() -> Callable[..., Volume]:
    """Return a function that puts a (z, y, x) array on a grid with the given (x, y, z) spacing."""

    def put(array: Any, spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Volume:
        array = np.asarray(array)
        return Volume(array, Geometry((array.shape[2], array.shape[1], array.shape[0]), spacing_mm))

    return put
