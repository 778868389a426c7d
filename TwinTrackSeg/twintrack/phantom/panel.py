"""Panels: raters who are the same persons in every case, each with habits that stay."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from twintrack.errors import InputError
from twintrack.phantom.raters import RaterHabits, RaterModel
from twintrack.raters import by_name, check_apart, lettered

__all__ = ["RaterPanel", "draw_panel"]

_PANEL = 5
"""Random stream of a panel's seed; a case's seed has the streams 0 to 4, so that equal seeds share nothing."""

_HABIT = 0.7
"""Part of the hand noise's variance that in a panel is bias, so that raters rank much alike in all cases (ADR 44)."""

_VARIETY = 0.25
"""Standard deviation, over raters, of the logarithm of hand noise and of its correlation length."""

_LEAST_SHARE = 1e-6
"""Share of the population beyond the tightest and the most generous rater that can be drawn."""


@dataclass(frozen=True)
class RaterPanel:
    """Raters who keep their habits from case to case.

    Attributes
    ----------
    model : RaterModel
        The population that they are of.
    habits : mapping of str to RaterHabits
        What each does, by the rater's pseudonym.
    seed : int or None
        What the panel was drawn from; None if it was put together.

    Raises
    ------
    InputError
        If there is no rater, or a name is not allowed or looks like another.
    """

    model: RaterModel
    habits: Mapping[str, RaterHabits]
    seed: int | None = None

    def __post_init__(self) -> None:
        if not self.habits:
            raise InputError("a panel needs at least 1 rater", code="phantom-number")
        check_apart(by_name(self.habits))


def draw_panel(raters: int, *, seed: int = 0, model: RaterModel | None = None) -> RaterPanel:
    """Draw raters A, B, ... from a population, once for all cases.

    There is one bias from each of as many equally likely parts of the population, in random order, so that they cover
    it from tight to generous; besides the tendency it takes most of what is hand noise in raters of one case. The rest
    of that noise and its length differ between raters, and the chances of stopping early, overlooking and false marks
    are uniform between 0 and twice the population's. Over panels, the mean variance of the outline and the mean of
    these chances are the population's.

    Parameters
    ----------
    raters : int
        Number of raters.
    seed : int
        Not negative; with the number and the model it determines the panel.
    model : RaterModel, optional
        The population.

    Raises
    ------
    InputError
        If `seed` is negative, there is no rater, or the population has no hand noise.

    Examples
    --------
    >>> from twintrack.phantom import draw_panel
    >>> tuple(draw_panel(3, seed=4).habits)
    ('A', 'B', 'C')
    """
    from scipy.special import ndtri

    if seed < 0 or raters < 1:
        raise InputError(
            f"a panel needs a seed of at least 0 and at least 1 rater, got seed {seed}, raters {raters}",
            code="phantom-number",
        )
    model = model or RaterModel()
    rng = np.random.default_rng([seed, _PANEL])
    share = (rng.permutation(raters) + rng.uniform(size=raters)) / raters
    hand = model.hand_spread * math.sqrt(1 - _HABIT)
    bias = math.sqrt(1 - hand**2) * ndtri(np.clip(share, _LEAST_SHARE, 1 - _LEAST_SHARE))
    noise, length = _VARIETY * rng.standard_normal((2, raters))
    stop, overlook, false_mark = rng.uniform(0.0, 2.0, (3, raters))
    habits = {
        name: RaterHabits(
            bias=float(bias[i]),
            # The mean of the square stays: E exp(2 (v z - v^2)) = 1 for a standard normal z.
            spread=float(hand * np.exp(noise[i] - _VARIETY**2)),
            hand_length_mm=float(model.hand_length_mm * np.exp(length[i])),
            stop_early=min(1.0, float(stop[i] * model.stop_early)),
            overlook_factor=float(overlook[i]),
            false_mark=min(1.0, float(false_mark[i] * model.false_mark)),
        )
        for i, name in enumerate(lettered(raters))
    }
    return RaterPanel(model, habits, seed)
