"""Raters who outline the tumour, each in an own way, and the mean human response expected of them.

A rater marks voxel x when ``depth(x) + spread(x) * u(x) > 0``, where ``u`` is the rater's tendency plus smooth hand
noise, standard normal at every voxel. The share of raters who mark x therefore is known in closed form: the normal
distribution function of ``depth / spread``, times the chance that the voxel was not missed. With two tumours every
voxel belongs to one of them, a rater's tendency is the same for both, and each is overlooked or left early on its own:
the closed form holds at every voxel. Where there is no tumour, a rater may rarely mark a small ball of gland.

Of one rater whose habits are known, ``u`` is the rater's bias plus hand noise: the closed form is the same with
``(depth / spread + bias) / noise`` in place of ``depth / spread``, and the rater's own chances of a miss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError
from twintrack.phantom.lesion import LesionField
from twintrack.phantom.shapes import smooth_noise

__all__ = [
    "RATER_MODELS",
    "RaterHabits",
    "RaterModel",
    "draw_false_mark",
    "draw_rater",
    "expected_false_marks",
    "expected_response",
]


@dataclass(frozen=True)
class RaterHabits:
    """How one rater draws, in one case or in every case.

    Attributes
    ----------
    bias : float
        Shift of the outline in standard deviations of the population's outlines (`RaterModel.spread_mm`), positive for
        generous.
    spread : float
        Standard deviation of the hand noise, above 0, in the same unit.
    hand_length_mm : float
        Correlation length of the hand noise.
    stop_early : float
        Chance that the rater stops too early at the upper or lower end.
    overlook_factor : float
        Multiple of the population's chance to overlook a tumour of a given size.
    false_mark : float
        Chance that the rater marks something in a pancreas without tumour.

    Raises
    ------
    InputError
        If one of them is not in its range.
    """

    bias: float
    spread: float
    hand_length_mm: float
    stop_early: float
    overlook_factor: float
    false_mark: float

    def __post_init__(self) -> None:
        chances = (self.stop_early, self.false_mark)
        positive = self.spread > 0 and self.hand_length_mm > 0 and self.overlook_factor >= 0
        if not (positive and math.isfinite(self.bias) and all(0 <= chance <= 1 for chance in chances)):
            raise InputError(
                "a rater's habits need a finite bias, a spread and a hand_length_mm above 0, an overlook_factor of at "
                f"least 0 and chances from 0 to 1, got {self}",
                code="phantom-number",
            )


@dataclass(frozen=True)
class RaterModel:
    """How the population of raters behaves.

    Attributes
    ----------
    spread_per_fade : float
        Standard deviation of the outline in units of the margin's fade length ...
    spread_per_radius : float
        ... to which is added this multiple of the radius of the ball of the tumour's volume.
    tendency_share : float
        Share of that variance which is the rater's own constant tendency (tight or generous); the rest is hand noise.
    hand_length_mm : float
        Correlation length of the hand noise.
    stop_early, stop_part : float
        Chance that a rater stops too early at the upper or lower end, and the largest part of the extent then lost.
    overlook : float
        Chance that a rater does not mark a tumour at all.
    overlook_below_mm : tuple of (float, float)
        Diameter (mm, of the ball of the tumour's volume) and the chance for tumours below it, rising; `overlook` holds
        from the last diameter on.
    false_mark : float
        Chance that a rater marks something in a pancreas without tumour.
    false_mark_mm : float
        Radius of the ball then marked; its centre is any voxel of the gland, all alike.
    """

    spread_per_fade: float = 1.1
    tendency_share: float = 0.5
    hand_length_mm: float = 7.0
    stop_early: float = 0.15
    stop_part: float = 0.25
    overlook: float = 0.02
    false_mark: float = 0.02
    false_mark_mm: float = 4.0
    spread_per_radius: float = 0.0
    overlook_below_mm: tuple[tuple[float, float], ...] = ()

    def spread_mm(self, field: LesionField) -> NDArray[np.float32]:
        """Return the standard deviation of the outline at each voxel (z, y, x) in mm."""
        spread: NDArray[np.float32] = self.spread_per_fade * field.fade_mm
        if self.spread_per_radius:
            for diameter_mm, domain in zip(field.diameters_mm, field.domains(), strict=True):
                spread[domain] += np.float32(self.spread_per_radius * diameter_mm / 2)
        return spread

    def overlook_chance(self, diameter_mm: float) -> float:
        """Return the chance that a rater overlooks a tumour of this diameter."""
        return next((chance for below, chance in self.overlook_below_mm if diameter_mm < below), self.overlook)

    def habits(self, bias: float, spread: float) -> RaterHabits:
        """Return the habits of a rater who draws with this bias and hand noise, and else as the population does."""
        return RaterHabits(bias, spread, self.hand_length_mm, self.stop_early, 1.0, self.false_mark)

    @property
    def tendency_spread(self) -> float:
        """Standard deviation of the raters' biases, in standard deviations of the outline."""
        return math.sqrt(self.tendency_share)

    @property
    def hand_spread(self) -> float:
        """Standard deviation of the hand noise, in standard deviations of the outline."""
        return math.sqrt(1 - self.tendency_share)

    @property
    def anyone(self) -> RaterHabits:
        """What is known of a rater of whom nothing is known: bias and hand noise together have the spread 1."""
        return self.habits(0.0, 1.0)


RATER_MODELS: dict[str, RaterModel] = {
    "default": RaterModel(),
    "lidc": RaterModel(
        spread_per_fade=0.0,
        spread_per_radius=0.105,
        tendency_share=0.1,
        stop_early=0.0,
        overlook=0.075,
        overlook_below_mm=((5.0, 0.27), (8.0, 0.15), (10.0, 0.085)),
    ),
}
"""Populations by name. ``lidc`` agrees as far as the four radiologists of LIDC-IDRI do: see ADR 38."""


def draw_rater(
    rng: np.random.Generator,
    field: LesionField,
    allowed: NDArray[np.bool_],
    spacing_xyz_mm: tuple[float, float, float],
    model: RaterModel,
    *,
    habits: RaterHabits | None = None,
) -> NDArray[np.bool_]:
    """Return one rater's mask (z, y, x).

    Parameters
    ----------
    allowed : numpy.ndarray
        Voxels that a rater may mark (inside the body, outside vessel lumens).
    habits : RaterHabits, optional
        Who draws; somebody of the population when not given.
    """
    if habits is None:
        habits = model.habits(model.tendency_spread * rng.standard_normal(), model.hand_spread)
    hand = smooth_noise(rng, field.depth_mm.shape, habits.hand_length_mm, spacing_xyz_mm)
    u = habits.bias + np.float64(habits.spread) * hand
    mask: NDArray[np.bool_] = (field.depth_mm + model.spread_mm(field) * u > 0) & allowed
    for diameter_mm, domain in zip(field.diameters_mm, field.domains(), strict=True):
        overlooked, stops, at_top = rng.uniform(size=3)
        lost = rng.uniform(0.0, model.stop_part)
        if overlooked < habits.overlook_factor * model.overlook_chance(diameter_mm):
            mask &= ~domain
        elif stops < habits.stop_early:
            height = _relative_height(field, domain)
            mask &= ~domain | ((height <= 1 - lost) if at_top < 0.5 else (height >= lost))[:, None, None]
    return mask


def expected_response(
    field: LesionField, allowed: NDArray[np.bool_], model: RaterModel, habits: RaterHabits | None = None
) -> NDArray[np.float32]:
    """Return the true mean human response (z, y, x): the share of the rater population that marks each voxel.

    With `habits`, the chance that this very rater marks it.
    """
    from scipy.special import ndtr

    habits = habits or model.anyone
    drawn = ndtr((field.depth_mm / model.spread_mm(field) + habits.bias) / habits.spread)
    response = np.zeros(field.depth_mm.shape, dtype=np.float32)
    for diameter_mm, domain in zip(field.diameters_mm, field.domains(), strict=True):
        height = _relative_height(field, domain)
        # The lost part is uniform on (0, stop_part): the chance to lose a voxel grows linearly towards the end.
        top = np.clip((height - (1 - model.stop_part)) / model.stop_part, 0.0, 1.0)
        bottom = np.clip((model.stop_part - height) / model.stop_part, 0.0, 1.0)
        overlooked = min(1.0, habits.overlook_factor * model.overlook_chance(diameter_mm))
        not_missed = (1 - overlooked) * (1 - habits.stop_early * 0.5 * (top + bottom))
        np.copyto(response, drawn * not_missed[:, None, None], where=domain & allowed, casting="same_kind")
    return response


def draw_false_mark(
    rng: np.random.Generator,
    gland: NDArray[np.bool_],
    allowed: NDArray[np.bool_],
    spacing_xyz_mm: tuple[float, float, float],
    model: RaterModel,
    habits: RaterHabits | None = None,
) -> NDArray[np.bool_]:
    """Return one rater's mask (z, y, x) of a patient without tumour: nearly always empty."""
    mask = np.zeros(gland.shape, dtype=bool)
    places = np.flatnonzero(gland)
    place = rng.integers(places.size)
    if rng.uniform() < (habits or model.anyone).false_mark:
        mask.flat[places[place]] = True
        mask = _dilated(mask, spacing_xyz_mm, model) > 0.5
    return mask & allowed


def expected_false_marks(
    gland: NDArray[np.bool_],
    allowed: NDArray[np.bool_],
    spacing_xyz_mm: tuple[float, float, float],
    model: RaterModel,
    habits: RaterHabits | None = None,
) -> NDArray[np.float32]:
    """Return the true mean human response (z, y, x) of a patient without tumour; with `habits`, that rater's.

    A voxel is marked if the centre of a ball is within the ball's radius: the chance of a ball, times the share of the
    gland that is.
    """
    share = _dilated(gland, spacing_xyz_mm, model) / np.count_nonzero(gland)
    chance = (habits or model.anyone).false_mark
    response: NDArray[np.float32] = np.where(allowed, chance * share, 0.0).astype(np.float32)
    return response


def _dilated(
    points: NDArray[np.bool_], spacing_xyz_mm: tuple[float, float, float], model: RaterModel
) -> NDArray[np.float64]:
    """Count the `points` (z, y, x) within the radius of a false mark around each voxel."""
    from scipy.signal import fftconvolve

    reach = [int(model.false_mark_mm // step) for step in reversed(spacing_xyz_mm)]
    axes = (np.arange(-n, n + 1) * step for n, step in zip(reach, reversed(spacing_xyz_mm), strict=True))
    z, y, x = np.meshgrid(*axes, indexing="ij")
    ball = (z**2 + y**2 + x**2 <= model.false_mark_mm**2).astype(np.float64)
    return np.rint(fftconvolve(points.astype(np.float64), ball, mode="same"))


def _relative_height(field: LesionField, domain: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Height of each slice within the extent of a median outline: 0 at its lowest slice, 1 at its highest."""
    slices = np.flatnonzero(((field.depth_mm > 0) & domain).any(axis=(1, 2)))
    low, high = (slices[0], slices[-1]) if slices.size else (0, 1)
    height: NDArray[np.float64] = (np.arange(field.depth_mm.shape[0]) - low) / max(high - low, 1)
    return height
