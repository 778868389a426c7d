"""One synthetic patient: CT, anatomy, raters' outlines and the true expected mean human response."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError
from twintrack.labels import VESSEL_VALUES
from twintrack.phantom.anatomy import BODY_RADII_MM, OTHER_TUBES, PANCREAS, UNCINATE, VESSEL_TUBES, Warp, organs
from twintrack.phantom.image import add_scanner_noise, paint_ct
from twintrack.phantom.lesion import (
    Lesion,
    LesionField,
    draw_lesion,
    draw_second_lesion,
    joint_field,
    lesion_field,
)
from twintrack.phantom.panel import RaterPanel
from twintrack.phantom.raters import (
    RaterHabits,
    RaterModel,
    draw_false_mark,
    draw_rater,
    expected_false_marks,
    expected_response,
)
from twintrack.phantom.shapes import ellipsoid_depth, smooth_noise
from twintrack.phantom.slab import Slab
from twintrack.raters import numbered
from twintrack.volume import Geometry, Volume

__all__ = ["LABELS", "PhantomCase", "lesions_of", "make_phantom"]

LABELS: dict[str, int] = {
    "background": 0,
    "tumor": 1,
    "pancreas": 2,
    "portal_vein": 3,
    "smv": 4,
    "aorta": 5,
    "celiac": 6,
    "sma": 7,
}
"""Values of the anatomy label map that the demo networks are trained on."""

MOST_LESIONS = 2
RATERS = 5

_PATIENT, _IMAGE, _RATERS, _KIND, _SECOND_LESION = range(5)
"""Random streams of a seed: what is drawn from one does not move the others."""

_VESSEL_LABELS = {"PORTA": "portal_vein", "SMV": "smv", "AORTA": "aorta", "CELIAC": "celiac", "SMA": "sma"}


@dataclass(frozen=True)
class PhantomCase:
    """A synthetic case; every volume lies on the same grid.

    Attributes
    ----------
    seed : int
        What it was generated from; the same seed gives the same case.
    ct : Volume
        HU, int16.
    annotations : tuple of Volume
        One uint8 mask a rater.
    true_mhr : Volume
        Expected share of raters who mark each voxel, of the population or of the panel, float32 in [0, 1].
    vessels : Volume
        uint8, values as in `twintrack.labels.VESSEL_VALUES`.
    anatomy : Volume
        uint8, values as in `LABELS`; the tumour is the median rater's.
    lesions : tuple of Lesion
        What was drawn: none in a healthy patient, up to two.
    panel : RaterPanel or None
        The raters, if they are the same persons in other cases.
    true_raters : mapping of str to Volume
        Chance that this very rater of the panel marks each voxel, float32 in [0, 1]; empty without a panel.
    """

    seed: int
    ct: Volume
    annotations: tuple[Volume, ...]
    true_mhr: Volume
    vessels: Volume
    anatomy: Volume
    lesions: tuple[Lesion, ...]
    panel: RaterPanel | None
    true_raters: Mapping[str, Volume]

    @property
    def raters(self) -> tuple[str, ...]:
        """Names of the raters in the order of `annotations`: the panel's, else numbers."""
        return numbered(len(self.annotations)) if self.panel is None else tuple(self.panel.habits)

    @property
    def lesion(self) -> Lesion | None:
        """The only lesion; None if there is none or more than one."""
        return self.lesions[0] if len(self.lesions) == 1 else None


def lesions_of(seed: int, healthy: float) -> int:
    """Draw how many lesions the case of `seed` has in a cohort with the share `healthy` of patients without one.

    Of the others, the share ``healthy / 2`` has two. It depends on the seed alone, not on the cohort's other cases.

    Raises
    ------
    InputError
        If `healthy` is not in [0, 1].
    """
    if not 0.0 <= healthy <= 1.0:
        raise InputError(f"the share of healthy cases must be between 0 and 1, got {healthy:g}", code="phantom-number")
    first, second = np.random.default_rng([seed, _KIND]).uniform(size=2)
    return 0 if first < healthy else 2 if second < healthy / 2 else 1


def make_phantom(
    seed: int,
    *,
    raters: int | None = None,
    tendencies: tuple[float, ...] | None = None,
    model: RaterModel | None = None,
    lesions: int = 1,
    panel: RaterPanel | None = None,
    slab: Slab | None = None,
) -> PhantomCase:
    """Generate the case of `seed`.

    Parameters
    ----------
    seed : int
        Not negative. Patient, lesion and image depend on it alone, whatever the number of raters.
    raters : int, optional
        Number of raters; 5 when not given.
    tendencies : tuple of float, optional
        Fixed tendency of each rater in standard deviations (positive: generous) instead of a random one.
    model : RaterModel, optional
        Behaviour of the rater population; `twintrack.phantom.RATER_MODELS` has some by name.
    lesions : int
        Number of tumours: 0 (the same patient in health), 1 or 2 (the first is the same as with 1).
    panel : RaterPanel, optional
        Raters who are the same in every case (`twintrack.phantom.draw_panel`) instead of new ones from the population;
        the true mean human response then is the panel's.
    slab : Slab, optional
        Make only a block around the lesion. Another case than without it: lesion and noise are drawn anew.

    Returns
    -------
    PhantomCase
        CT in HU, masks, vessels and the true mean human response in [0, 1], all (z, y, x) on one grid.

    Raises
    ------
    InputError
        If `seed` is negative, there is no rater, `lesions` is not 0, 1 or 2, or a panel comes with what it determines.

    Examples
    --------
    >>> import twintrack as tt
    >>> case = tt.make_phantom(7, raters=3)
    >>> len(case.annotations), case.true_mhr.array.shape == case.ct.array.shape
    (3, True)
    """
    if panel is not None and (raters, tendencies, model) != (None, None, None):
        raise InputError(
            "a panel has its own raters, tendencies and model; leave those out, or the panel", code="panel-options"
        )
    raters = RATERS if raters is None else raters
    if seed < 0 or raters < 1:
        raise InputError(
            f"a phantom needs a seed of at least 0 and at least 1 rater, got seed {seed}, raters {raters}",
            code="phantom-number",
        )
    if lesions not in range(MOST_LESIONS + 1):
        raise InputError(f"a phantom has 0, 1 or 2 lesions, got {lesions}", code="phantom-number")
    model = panel.model if panel is not None else model or RaterModel()
    patient_rng, image_rng, rater_rng = (np.random.default_rng([seed, s]) for s in (_PATIENT, _IMAGE, _RATERS))
    geometry, warp = _draw_grid(patient_rng), Warp.draw(patient_rng)
    if slab is None:
        first = draw_lesion(patient_rng)
    else:
        first = draw_lesion(patient_rng, slab.volume_range_ml)
        geometry = slab.around(patient_rng, warp, first)
    position = warp(_positions(geometry))
    spacing = geometry.spacing_mm
    depth = _depths(patient_rng, position, spacing)
    placed = organs(patient_rng)
    vessels = _vessel_map(depth)
    allowed = (depth["body"] > 10.0) & (vessels == 0)
    drawn, field = _draw_tumors(seed, patient_rng, first, lesions, position, allowed, spacing)
    hu = paint_ct(image_rng, position, depth, placed, field, spacing)
    scene = _Scene(field, (depth["pancreas"] > 0) & allowed, allowed, spacing, model)
    masks = [scene.mask(rater_rng, habits) for habits in _who_draws(raters, tendencies, model, panel)]
    chances = {} if panel is None else {name: scene.chance(habits) for name, habits in panel.habits.items()}
    response = _mean(chances) if chances else scene.chance(None)
    return PhantomCase(
        seed=seed,
        ct=Volume(add_scanner_noise(image_rng, hu, spacing), geometry),
        annotations=tuple(Volume(mask.astype(np.uint8), geometry) for mask in masks),
        true_mhr=Volume(response, geometry),
        vessels=Volume(vessels, geometry),
        anatomy=Volume(_anatomy_map(depth, vessels, field, allowed), geometry),
        lesions=drawn,
        panel=panel,
        true_raters={name: Volume(chance, geometry) for name, chance in chances.items()},
    )


@dataclass(frozen=True)
class _Scene:
    """What raters look at; arrays are (z, y, x), and `field` is None in a healthy patient."""

    field: LesionField | None
    gland: NDArray[np.bool_]
    allowed: NDArray[np.bool_]
    spacing_xyz_mm: tuple[float, float, float]
    model: RaterModel

    def mask(self, rng: np.random.Generator, habits: RaterHabits | None) -> NDArray[np.bool_]:
        """Draw the mask of a rater; with None of somebody of the population."""
        if self.field is None:
            return draw_false_mark(rng, self.gland, self.allowed, self.spacing_xyz_mm, self.model, habits)
        return draw_rater(rng, self.field, self.allowed, self.spacing_xyz_mm, self.model, habits=habits)

    def chance(self, habits: RaterHabits | None) -> NDArray[np.float32]:
        """Return the chance that the rater marks each voxel; with None that somebody of the population does."""
        if self.field is None:
            return expected_false_marks(self.gland, self.allowed, self.spacing_xyz_mm, self.model, habits)
        return expected_response(self.field, self.allowed, self.model, habits)


def _who_draws(
    raters: int, tendencies: tuple[float, ...] | None, model: RaterModel, panel: RaterPanel | None
) -> list[RaterHabits | None]:
    """Return the habits of each rater, None for those of whom nothing is fixed."""
    if panel is not None:
        return list(panel.habits.values())
    if tendencies:
        return [model.habits(model.tendency_spread * tendencies[i], model.hand_spread) for i in range(raters)]
    return [None] * raters


def _mean(chances: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the mean over raters, without all of them in memory once more."""
    total = np.zeros(next(iter(chances.values())).shape)
    for chance in chances.values():
        total += chance
    return (total / len(chances)).astype(np.float32)


def _draw_tumors(
    seed: int,
    patient_rng: np.random.Generator,
    first: Lesion,
    lesions: int,
    position: NDArray[np.float32],
    allowed: NDArray[np.bool_],
    spacing: tuple[float, float, float],
) -> tuple[tuple[Lesion, ...], LesionField | None]:
    """Return the tumours and their joint field, None in a healthy patient."""
    if lesions == 0:
        return (), None
    field = lesion_field(patient_rng, first, position, allowed, spacing)
    if lesions == 1:
        return (first,), field
    rng = np.random.default_rng([seed, _SECOND_LESION])
    second = draw_second_lesion(rng, first)
    return (first, second), joint_field([field, lesion_field(rng, second, position, allowed, spacing)])


def _draw_grid(rng: np.random.Generator) -> Geometry:
    """Draw spacing and field of view; index (0, 0, 0) is the right anterior inferior corner (LPS axes)."""
    in_plane, slice_mm = float(rng.uniform(1.4, 1.9)), float(rng.choice([2.0, 2.5, 3.0]))
    extent = np.array([338.0, 246.0, rng.uniform(165.0, 190.0)])
    spacing = (round(in_plane, 3), round(in_plane, 3), slice_mm)
    size = np.ceil(extent / spacing).astype(int)
    corner = np.array([-169.0, -123.0, -extent[2] * rng.uniform(0.54, 0.6)]).round(1)
    return Geometry((int(size[0]), int(size[1]), int(size[2])), spacing, (corner[0], corner[1], corner[2]))


def _positions(geometry: Geometry) -> NDArray[np.float32]:
    """LPS position of every voxel, (z, y, x, 3) in mm."""
    axes = (
        np.arange(n) * s + o for n, s, o in zip(geometry.size, geometry.spacing_mm, geometry.origin_mm, strict=True)
    )
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return np.stack([x, y, z], axis=-1).transpose(2, 1, 0, 3).astype(np.float32)


def _depths(
    rng: np.random.Generator, position: NDArray[np.float32], spacing: tuple[float, float, float]
) -> dict[str, NDArray[np.float32]]:
    """Signed depth in mm of the body, the gland and every tube."""
    depth = {name: tube.depth(position) for name, tube in {**VESSEL_TUBES, **OTHER_TUBES}.items()}
    gland = np.maximum(PANCREAS.depth(position), ellipsoid_depth(position, *UNCINATE))
    # Lobulated surface, and no gland inside a lumen.
    gland += np.float32(0.9) * smooth_noise(rng, gland.shape, 4.0, spacing)
    lumen = np.max([depth[name] for name in VESSEL_TUBES], axis=0)
    depth["pancreas"] = np.minimum(gland, -lumen)
    flat = np.sqrt((position[..., 0] / BODY_RADII_MM[0]) ** 2 + (position[..., 1] / BODY_RADII_MM[1]) ** 2)
    depth["body"] = (np.mean(BODY_RADII_MM) * (1 - flat)).astype(np.float32)
    return depth


def _vessel_map(depth: dict[str, NDArray[np.float32]]) -> NDArray[np.uint8]:
    """Label map of the five lumens; where two meet, the voxel belongs to the one it lies deeper in."""
    names = list(VESSEL_VALUES)
    stacked = np.stack([depth[name] for name in names])
    deepest = stacked.argmax(axis=0)
    values = np.array([VESSEL_VALUES[name] for name in names], dtype=np.uint8)
    return np.where(stacked.max(axis=0) > 0, values[deepest], 0).astype(np.uint8)


def _anatomy_map(
    depth: dict[str, NDArray[np.float32]],
    vessels: NDArray[np.uint8],
    field: LesionField | None,
    allowed: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Label map with the median rater's tumour, gland and vessels."""
    anatomy = np.where(depth["pancreas"] > 0, LABELS["pancreas"], 0).astype(np.uint8)
    if field is not None:
        anatomy[(field.depth_mm > 0) & allowed] = LABELS["tumor"]
    for name, value in VESSEL_VALUES.items():
        anatomy[vessels == value] = LABELS[_VESSEL_LABELS[name]]
    return anatomy
