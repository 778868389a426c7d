"""Raters who outline the tumour, each in an own way, and the mean human response expected of them.

A rater marks voxel x when ``depth(x) + spread(x) * u(x) > 0``, where ``u`` is the rater's tendency plus smooth hand
noise, standard normal at every voxel. The share of raters who mark x therefore is known in closed form: the normal
distribution function of ``depth / spread``, times the chance that the voxel was not missed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.phantom.lesion import LesionField
from twintrack.phantom.shapes import smooth_noise

__all__ = ["RaterModel", "draw_rater", "expected_response"]


@dataclass(frozen=True)
class RaterModel:
    """How the population of raters behaves.

    Attributes
    ----------
    spread_per_fade : float
        Standard deviation of the outline in units of the margin's fade length.
    tendency_share : float
        Share of that variance which is the rater's own constant tendency (tight or generous); the rest is hand noise.
    hand_length_mm : float
        Correlation length of the hand noise.
    stop_early, stop_part : float
        Chance that a rater stops too early at the upper or lower end, and the largest part of the extent then lost.
    overlook : float
        Chance that a rater does not mark the tumour at all.
    """

    spread_per_fade: float = 1.1
    tendency_share: float = 0.5
    hand_length_mm: float = 7.0
    stop_early: float = 0.15
    stop_part: float = 0.25
    overlook: float = 0.02


def draw_rater(
    rng: np.random.Generator,
    field: LesionField,
    allowed: NDArray[np.bool_],
    spacing_xyz_mm: tuple[float, float, float],
    model: RaterModel,
    *,
    tendency: float | None = None,
) -> NDArray[np.bool_]:
    """Return one rater's mask (z, y, x).

    Parameters
    ----------
    allowed : numpy.ndarray
        Voxels that a rater may mark (inside the body, outside vessel lumens).
    tendency : float, optional
        The rater's own tendency in standard deviations, positive for generous; drawn when not given.
    """
    own = rng.standard_normal() if tendency is None else tendency
    hand = smooth_noise(rng, field.depth_mm.shape, model.hand_length_mm, spacing_xyz_mm)
    u = np.sqrt(model.tendency_share) * own + np.sqrt(1 - model.tendency_share) * hand
    mask: NDArray[np.bool_] = (field.depth_mm + model.spread_per_fade * field.fade_mm * u > 0) & allowed
    overlooked, stops, at_top = rng.uniform(size=3)
    lost = rng.uniform(0.0, model.stop_part)
    if overlooked < model.overlook:
        mask[:] = False
    elif stops < model.stop_early:
        height = _relative_height(field)
        mask &= ((height <= 1 - lost) if at_top < 0.5 else (height >= lost))[:, None, None]
    return mask


def expected_response(field: LesionField, allowed: NDArray[np.bool_], model: RaterModel) -> NDArray[np.float32]:
    """Return the true mean human response (z, y, x): the share of the rater population that marks each voxel."""
    from scipy.special import ndtr

    drawn = ndtr(field.depth_mm / (np.float32(model.spread_per_fade) * field.fade_mm))
    height = _relative_height(field)
    # The lost part is uniform on (0, stop_part): the chance to lose a voxel grows linearly towards the end.
    top = np.clip((height - (1 - model.stop_part)) / model.stop_part, 0.0, 1.0)
    bottom = np.clip((model.stop_part - height) / model.stop_part, 0.0, 1.0)
    not_missed = (1 - model.overlook) * (1 - model.stop_early * 0.5 * (top + bottom))
    response: NDArray[np.float32] = np.where(allowed, drawn * not_missed[:, None, None], 0.0).astype(np.float32)
    return response


def _relative_height(field: LesionField) -> NDArray[np.float64]:
    """Height of each slice within the median outline's extent: 0 at its lowest slice, 1 at its highest."""
    slices = np.flatnonzero((field.depth_mm > 0).any(axis=(1, 2)))
    low, high = (slices[0], slices[-1]) if slices.size else (0, 1)
    height: NDArray[np.float64] = (np.arange(field.depth_mm.shape[0]) - low) / max(high - low, 1)
    return height
