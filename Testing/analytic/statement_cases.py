"""Calibration cases drawn from a known map of levels to fractions of raters, for fits whose answer is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.calibration.statements import (
    ANGLES_DEG,
    CaseStatements,
    LevelCount,
    StatementKey,
    StatementTable,
    VesselCounts,
)
from twintrack.calibration.statements.table import ANY_TUMOR, artery_share

__all__ = ["KEY", "TruePanel", "draw_levels", "draw_table"]

KEY = StatementKey("ab" * 32, "predicted", 1.9)

NAMES = ("PORTA", "SMV", "SMA")

TURN = np.asarray(ANGLES_DEG) / 360.0


@dataclass(frozen=True)
class TruePanel:
    """A panel of raters: the fraction over an angle is logistic in the logit of its level and in the angle.

    Attributes
    ----------
    offset, slope, turn : float
        Of the logit, for each turn of 360 degrees.
    spread : float
        Standard deviation, in logits, of a case around that: cases differ more than a level tells.
    artery : float
        Added to the logit of arteries.
    """

    offset: float = 0.3
    slope: float = 1.6
    turn: float = 1.0
    spread: float = 0.7
    artery: float = 0.0

    def fractions(self, levels: NDArray[np.float64], shift: NDArray[np.float64] | float = 0.0) -> NDArray[np.float64]:
        """Return the true fractions for levels (n, angle); `shift` in logits."""
        bounded = np.clip(levels, 1e-6, 1 - 1e-6)
        value = self.offset + self.slope * np.log(bounded / (1 - bounded)) + self.turn * TURN + shift
        return np.minimum.accumulate(1 / (1 + np.exp(-value)), axis=-1)

    def mean_fractions(self, levels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the fractions over all cases with these levels."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(15)
        found = [
            weight * self.fractions(levels, self.spread * node) for node, weight in zip(nodes, weights, strict=True)
        ]
        return np.asarray(np.sum(found, axis=0) / weights.sum())


def draw_levels(random: np.random.Generator, vessels: int) -> NDArray[np.float64]:
    """Draw levels (n, angle) that fall with the angle, from hardly any contact to encasement."""
    first = random.normal(0.3, 2.2, vessels)[:, None]
    steep = random.gamma(2.0, 2.5, vessels)[:, None]
    return 1 / (1 + np.exp(-(first - steep * TURN)))


def draw_table(
    seed: int,
    cases: int,
    *,
    raters: int = 5,
    panel: TruePanel | None = None,
    key: StatementKey = KEY,
    healthy: int = 0,
) -> StatementTable:
    """Draw a table whose raters follow `panel`, and `healthy` cases with a low peak in which nobody marks tumour."""
    panel, random = panel or TruePanel(), np.random.default_rng(seed)
    drawn = {}
    for number in range(cases):
        levels = np.round(draw_levels(random, len(NAMES)), 5)
        own_kind = panel.artery * np.array([[artery_share(name)] for name in NAMES])
        true = panel.fractions(levels, random.normal(0, panel.spread, (len(NAMES), 1)) + own_kind)
        own = random.uniform(size=(raters, 1, 1))  # a rater is tight or generous with all vessels of a case
        counts = (own < true[None]).sum(axis=0)
        vessels = {
            name: VesselCounts(tuple(level.tolist()), 2, tuple(count.tolist()), raters)
            for name, level, count in zip(NAMES, levels, counts, strict=True)
        }
        told = (LevelCount(round(float(random.uniform(0.6, 0.99)), 5), raters, raters),)
        drawn[seed * 100_000 + number] = CaseStatements(vessels, {ANY_TUMOR: told})
    for number in range(healthy):
        told = (LevelCount(round(float(random.uniform(0.02, 0.5)), 5), 0, raters),)
        drawn[seed * 100_000 + cases + number] = CaseStatements({}, {ANY_TUMOR: told})
    return StatementTable(key, drawn)
