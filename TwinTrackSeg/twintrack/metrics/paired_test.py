"""Whether two methods differ over paired cases: a test that holds its level with few cases, and many tests at once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Name = TypeVar("_Name", bound=Hashable)

__all__ = ["FEWEST_CASES", "LEVEL", "holm", "paired_p_value"]

LEVEL = 0.05
"""Chance that any difference of a table is marked although no method is better."""

FEWEST_CASES = 6
"""With fewer, the signs of the differences can fall in too few ways for any of them to be rare."""

MOST_ENUMERATED = 12
"""Cases of which all assignments of signs are tried; of more, random ones."""

CHUNK = 1 << 20
"""Random numbers held at once."""


def paired_p_value(differences: NDArray[np.float64], *, resamples: int, seed: int) -> float | None:
    """Return how likely a mean this far from 0 is if the true mean is 0; the larger one of two tests.

    Sign flips: each case's difference might have had the other sign. Exact for differences that lie symmetrically
    around 0, and too often significant for skewed ones. Studentised bootstrap, both tails: right for skewed ones in
    larger samples, and too often significant in small ones. Only what both find counts.

    Parameters
    ----------
    differences : numpy.ndarray
        float64 (case,); NaN where a case lacks the metric.
    resamples, seed : int
        Random draws of either test.

    Returns
    -------
    float or None
        None for fewer than `FEWEST_CASES` cases.

    References
    ----------
    R. A. Fisher, The Design of Experiments, 1935 (sign flips); B. Efron, R. J. Tibshirani, An Introduction to the
    Bootstrap, 1993, section 12.5 (bootstrap-t).
    """
    found = differences[np.isfinite(differences)]
    if found.size < FEWEST_CASES:
        return None
    if not found.any():
        return 1.0
    random = np.random.default_rng(seed)
    return max(_sign_flips(found, resamples, random), _studentised(found, resamples, random))


def holm(p_values: Mapping[_Name, float | None]) -> dict[_Name, float | None]:
    """Return the p-values adjusted for their number: those below a level are significant together at that level.

    References
    ----------
    S. Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6 (1979) 65.
    """
    known = sorted(((value, name) for name, value in p_values.items() if value is not None), key=lambda pair: pair[0])
    adjusted: dict[_Name, float | None] = dict.fromkeys(p_values)
    largest = 0.0
    for number, (value, name) in enumerate(known):
        largest = max(largest, min(value * (len(known) - number), 1.0))
        adjusted[name] = largest
    return adjusted


def _sign_flips(differences: NDArray[np.float64], resamples: int, random: np.random.Generator) -> float:
    limit = abs(float(differences.sum())) * (1 - 1e-12)
    if differences.size <= MOST_ENUMERATED:
        signs = 1 - 2 * ((np.arange(1 << differences.size)[:, None] >> np.arange(differences.size)) & 1)
        return float((np.abs(signs @ differences) >= limit).mean())
    step = max(CHUNK // differences.size, 1)
    extreme = 0
    for start in range(0, resamples, step):
        shape = (min(step, resamples - start), differences.size)
        flipped = random.integers(0, 2, size=shape, dtype=np.int8).astype(np.float64) * 2 - 1
        extreme += int(np.count_nonzero(np.abs(flipped @ differences) >= limit))
    return (extreme + 1) / (resamples + 1)


def _studentised(differences: NDArray[np.float64], resamples: int, random: np.random.Generator) -> float:
    cases, mean = differences.size, float(differences.mean())
    error = float(differences.std()) / np.sqrt(cases)
    if error <= 1e-12 * abs(mean):  # no spread to compare with: the signs alone decide
        return 0.0
    step = max(CHUNK // cases, 1)
    below = above = 0
    for start in range(0, resamples, step):
        drawn = differences[random.integers(0, cases, size=(min(step, resamples - start), cases))]
        gap, spread = drawn.mean(axis=1) - mean, drawn.std(axis=1) / np.sqrt(cases)
        # A draw without spread says nothing about it: it counts as extreme wherever it lies off the mean.
        ratio = np.divide(gap, spread, out=np.where(gap == 0, 0.0, np.copysign(np.inf, gap)), where=spread > 0)
        below += int(np.count_nonzero(ratio <= mean / error))
        above += int(np.count_nonzero(ratio >= mean / error))
    return min(2 * (min(below, above) + 1) / (resamples + 1), 1.0)
