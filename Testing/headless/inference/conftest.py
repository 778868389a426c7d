"""Small CTs and opened stages for the inference tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from twintrack.bundle.model_bundle import Bundle
from twintrack.inference.nnunet_model import Stage, open_stage
from twintrack.volume import Geometry, Volume

MakeCt = Callable[..., Volume]


@pytest.fixture(scope="session")
def make_ct() -> MakeCt:
    """Return a function that makes a smooth random CT of a given size (x, y, z) and spacing."""

    def make(
        size: tuple[int, int, int], spacing_mm: tuple[float, float, float] = (1.5, 1.5, 3.0), seed: int = 0
    ) -> Volume:
        noise = np.random.default_rng(seed).normal(size=size[::-1])
        smooth = ndimage.gaussian_filter(noise, 2.0)
        return Volume((40 + 800 * smooth).astype(np.float32), Geometry(size, spacing_mm))

    return make


@pytest.fixture(scope="session")
def bundle(bundle_folder: Path) -> Iterator[Bundle]:
    """The tiny bundle, opened."""
    with Bundle.open(bundle_folder) as opened:
        yield opened


@pytest.fixture(scope="session")
def fine(bundle: Bundle) -> Stage:
    """Its fine stage: network voxels of 1.5 x 1.5 x 3 mm, patch 32 x 32 x 16 (x, y, z)."""
    return open_stage(bundle, "fine")


@pytest.fixture
def float32_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nnU-Net sum tiles in float32: its float16 sums alone differ from themselves by more than 1e-4."""
    monkeypatch.setattr(torch, "half", torch.float32)
