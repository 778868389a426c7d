"""How often a calibrator's band covers the map of the whole population, and the interval of a volume its true value.

A synthetic population whose map is known: in each case the raters mark a voxel of score s with a probability that
depends on s and on the case, the truth is the mean over all cases. ``resampled`` is the band of the bare percentiles,
``band`` the one in ``calibrator.json``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy.special import expit, logit

from twintrack.calibration import Calibrator, ScoreSketch, bootstrap_band, fit_calibrator
from twintrack.calibration.band import LEVEL, SCORE_GRID, CalibratorBand

GRID = np.array(SCORE_GRID)
JUDGED = (GRID >= 0.02) & (GRID <= 0.98)
"""Scores that the share of covered ones is taken over; beyond, the bins' own width counts."""

VOXELS = 2500
BINS = 40


def true_map(scores: np.ndarray, spread: float) -> np.ndarray:
    """The mean over all cases, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    inside = np.clip(scores, 1e-9, 1 - 1e-9)
    return expit(0.7 * logit(inside)[:, None] - 0.6 + spread * nodes) @ weights / weights.sum()


def case(random: np.random.Generator, spread: float) -> tuple[ScoreSketch, np.ndarray]:
    """A case: mostly background, a tumour of random size, raters who differ from case to case."""
    size = int(VOXELS * random.uniform(0.05, 0.4))
    background = 0.3 * random.beta(0.6, 4, VOXELS - size)
    score = np.concatenate([background, random.beta(1.2, 0.9, size)]).clip(1e-5, 1).astype(np.float32)
    chance = expit(0.7 * logit(score.astype(float).clip(1e-9, 1 - 1e-7)) - 0.6 + spread * random.standard_normal())
    shared = random.random(score.size)
    masks = [np.where(random.random(score.size) < 0.5, shared, random.random(score.size)) < chance for _ in range(3)]
    return ScoreSketch.of_case(score, masks), score


def trials(cases: int, spread: float, number: int, resamples: int, seed: int) -> Iterator[Calibrator]:
    """Fit a calibrator with its band on `number` cohorts."""
    random = np.random.default_rng(seed)
    for _ in range(number):
        sketch = sum((case(random, spread)[0] for _ in range(cases)), ScoreSketch.empty())
        band = bootstrap_band(sketch, bins=BINS, resamples=resamples)
        yield replace(fit_calibrator(sketch, bins=BINS), band=band)


def bare(band: CalibratorBand, middle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The percentiles that a band was widened from."""
    low, high = (middle + (np.asarray(edge) - middle) / band.widening for edge in (band.low, band.high))
    return low, high


def covered(low: np.ndarray, high: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean(((low <= truth) & (truth <= high))[JUDGED]))


def coverage(cases: int, spread: float, *, number: int, resamples: int, seed: int = 11) -> dict[str, float]:
    """Return the share of scores (and of volumes) that are covered, over `number` cohorts."""
    truth, found = true_map(GRID, spread), []
    volume = case(np.random.default_rng(seed), spread)[1]
    expected = float(true_map(volume.astype(float), spread).sum())
    for calibrator in trials(cases, spread, number, resamples, seed):
        band, middle = calibrator.band, np.interp(GRID, calibrator.knots_x, calibrator.knots_y)
        assert band is not None
        low, high = calibrator.sum_interval(volume)
        found.append(
            (
                covered(*bare(band, middle), truth),
                covered(np.asarray(band.low), np.asarray(band.high), truth),
                low <= expected <= high,
            )
        )
    return dict(zip(("resampled", "band", "volume"), np.mean(found, axis=0).tolist(), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=200)
    parser.add_argument("--resamples", type=int, default=200)
    options = parser.parse_args()
    print(f"{options.cohorts} cohorts a line; the aim is {LEVEL:.0%}")
    print("spread of the cases (logit)  cases  resampled   band  volume")
    for spread in (0.4, 0.9):
        for cases in (5, 10, 40):
            found = coverage(cases, spread, number=options.cohorts, resamples=options.resamples)
            print(
                f"{spread:27}  {cases:5}  {found['resampled']:9.1%}  {found['band']:5.1%}  {found['volume']:6.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
