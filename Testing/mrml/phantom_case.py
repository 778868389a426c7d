"""A phantom that the demo networks have not seen, drawn once for all tests of a session."""

from __future__ import annotations

import functools

import numpy as np

from twintrack.phantom import PhantomCase, make_phantom

__all__ = ["boxAround", "phantomCase"]

SEED = 50007
READERS = 3
MARGIN_VOXELS = 12


@functools.cache
def phantomCase() -> PhantomCase:
    """Return the phantom with three readers."""
    return make_phantom(SEED, raters=READERS)


def boxAround(phantom: PhantomCase) -> tuple[int, int, int, int, int, int]:
    """Return a small region around the phantom's tumour, (i0, i1, j0, j1, k0, k1), to spend seconds, not minutes."""
    found = np.argwhere(phantom.true_mhr.array > 0.05)
    low = np.maximum(found.min(axis=0) - MARGIN_VOXELS, 0)
    high = np.minimum(found.max(axis=0) + 1 + MARGIN_VOXELS, phantom.true_mhr.array.shape)
    (k0, j0, i0), (k1, j1, i1) = low.tolist(), high.tolist()
    return (i0, i1, j0, j1, k0, k1)
