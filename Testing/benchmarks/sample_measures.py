"""What `bench_harmonizer` measures of samples, entropies and worse images; arrays are (z, y, x)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from twintrack.metrics.outline_sets import overlaps

__all__ = ["DEGRADATIONS", "degraded", "dice_table", "entropy_sums", "mean_distance", "nested_outlines", "sample_curve"]

Mask = NDArray[np.bool_]

DEGRADATIONS = (
    *(("noise", amount) for amount in (0.1, 0.15, 0.25)),
    *(("blur", amount) for amount in (1.0, 1.5, 1.75)),
    *(("gamma", amount) for amount in (0.75, 1.5, 1.75)),
)
"""The paper's: see `degraded` for their units."""


def degraded(
    hu: NDArray[np.floating], window_hu: tuple[float, float], kind: str, amount: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return a CT made worse, in HU.

    Parameters
    ----------
    hu : numpy.ndarray
        The CT; values outside of `window_hu` are cut to it, as the network does.
    window_hu : tuple of float
        What counts as 0 and as 1.
    kind : str
        ``noise``: Gaussian, of standard deviation `amount` of the window. ``blur``: Gaussian in the slice, of
        standard deviation `amount` pixels. ``gamma``: values from 0 to 1 to the power of `amount`.
    rng : numpy.random.Generator
        Of the noise.
    """
    low, high = window_hu
    unit = (np.clip(hu, low, high).astype(np.float64) - low) / (high - low)
    if kind == "noise":
        unit = unit + amount * rng.standard_normal(unit.shape)
    elif kind == "blur":
        unit = ndimage.gaussian_filter(unit, (0.0, amount, amount))
    elif kind == "gamma":
        unit = unit**amount
    else:
        raise ValueError(f"degradation must be noise, blur or gamma, got {kind!r}")
    return (low + (high - low) * unit).astype(np.float32)


def mean_distance(masks: Sequence[Mask]) -> float:
    """Return the mean of 1 - IoU over pairs of two different masks; two empty ones do not differ."""
    rows = _columns(masks)
    apart = 1 - overlaps(rows, rows, np.ones(len(rows), np.int64))[0]
    return float(apart.sum()) / (len(masks) * (len(masks) - 1))


def sample_curve(samples: Sequence[Mask], masks: Sequence[Mask], counts: Sequence[int]) -> dict[int, dict[str, float]]:
    """Return the squared generalized energy distance of the first n samples from raters, for each n of `counts`.

    ``v`` counts an outline with itself, as public evaluation code does: then even samples that are drawn as raters
    draw have a distance that falls with n. ``u`` does not, and is there from two samples on.
    """
    ours, theirs = _columns(samples), _columns(masks)
    ones = np.ones(len(ours), np.int64)
    across, within, among = (
        1 - overlaps(one, other, ones)[0] for one, other in ((ours, theirs), (ours, ours), (theirs, theirs))
    )
    raters, found = len(masks), {}
    for n in counts:
        own, far = within[:n, :n], 2 * float(across[:n].mean())
        found[n] = {"v": far - float(own.mean()) - float(among.mean())}
        if n > 1:
            apart = float(own.sum()) / (n * (n - 1)) + float(among.sum()) / (raters * (raters - 1))
            found[n]["u"] = far - apart
    return found


def entropy_sums(chance: NDArray[np.floating], masks: Sequence[Mask]) -> dict[str, list[float]]:
    """Return the sum of the entropy in bits and the number of voxels, by right and wrong and by agreement.

    ``tp``, ``fp``, ``fn``, ``tn`` compare the chance from 0.5 on with more than half of the raters; ``0`` to ``n``
    are how many raters mark the voxel.
    """
    p = np.clip(chance.astype(np.float64), 1e-12, 1 - 1e-12)
    entropy = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    marked = np.sum(masks, axis=0)
    said, true = chance >= 0.5, marked > len(masks) / 2
    groups: Mapping[str, Mask] = {
        "tp": said & true,
        "fp": said & ~true,
        "fn": ~said & true,
        "tn": ~said & ~true,
        **{str(n): marked == n for n in range(len(masks) + 1)},
    }
    return {name: [float(entropy[where].sum()), float(np.count_nonzero(where))] for name, where in groups.items()}


def nested_outlines(score: NDArray[np.floating], order: Sequence[int]) -> list[Mask]:
    """Return a level set of a map for each rater: the widest for the first of `order`, who marks most.

    Rater ``order[k]`` of n gets the voxels above (k + 1/2) / n: what a map alone says of raters whose order is known.
    """
    level = {rater: (place + 0.5) / len(order) for place, rater in enumerate(order)}
    return [score > level[rater] for rater in range(len(order))]


def dice_table(outlines: Sequence[Mask], masks: Sequence[Mask]) -> NDArray[np.float64]:
    """Return the Dice score of every outline with every rater's mask, (outline, rater)."""
    ours, theirs = _columns(outlines), _columns(masks)
    return overlaps(ours, theirs, np.ones(len(ours), np.int64))[1]


def _columns(masks: Sequence[Mask]) -> Mask:
    return np.stack([np.asarray(mask, dtype=bool).ravel() for mask in masks], axis=1)
