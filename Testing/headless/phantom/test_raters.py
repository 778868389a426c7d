"""Rater models: what the size of a tumour changes, and how far raters like real readers agree."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import norm

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.phantom import RATER_MODELS, RaterModel, write_cohort
from twintrack.phantom.lesion import LesionField, joint_field
from twintrack.phantom.raters import draw_rater, expected_response

LIDC = RATER_MODELS["lidc"]
SPACING_MM = (1.5, 1.5, 1.5)


def ball(radius_mm: float) -> LesionField:
    """A ball of this radius, in the middle of its grid, with a fade of 2 mm."""
    half = int(np.ceil(radius_mm * 1.6 / SPACING_MM[0]))
    axis = np.arange(-half, half + 1) * SPACING_MM[0]
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    depth = (radius_mm - np.sqrt(x**2 + y**2 + z**2)).astype(np.float32)
    return LesionField(depth, np.full_like(depth, 2.0), (4 / 3 * np.pi * radius_mm**3 / 1000,))


@pytest.mark.parametrize(
    ("diameter_mm", "chance"), [(4.9, 0.27), (5.1, 0.15), (9.0, 0.085), (10.1, 0.075), (40, 0.075)]
)
def test_smaller_tumors_are_overlooked_more_often(diameter_mm, chance):
    field = LesionField(
        *(np.full((3, 3, 3), value, np.float32) for value in (60.0, 2.0)), (np.pi / 6000 * diameter_mm**3,)
    )
    assert field.diameters_mm == pytest.approx((diameter_mm,))
    response = expected_response(field, np.ones((3, 3, 3), bool), LIDC)
    assert response == pytest.approx(1 - chance)
    rng = np.random.default_rng(1)
    readers = 2000
    missed = sum(not draw_rater(rng, field, np.ones((3, 3, 3), bool), (2, 2, 2), LIDC).any() for _ in range(readers))
    assert missed / readers == pytest.approx(chance, abs=4 * np.sqrt(chance / readers))


def test_the_response_of_two_sizes_is_exact_where_the_spread_grows_with_the_radius():
    model = RaterModel(spread_per_fade=0.2, spread_per_radius=0.1, stop_early=0.0, overlook=0.0)
    depth = np.full((2, 8, 8, 16), -5.0, np.float32)
    depth[0, ..., :8] = depth[1, ..., 8:] = 1.0
    fade = np.full((8, 8, 16), 2.0, np.float32)
    radii_mm = (20.0, 5.0)
    fields = [LesionField(d, fade, (4 / 3 * np.pi * r**3 / 1000,)) for d, r in zip(depth, radii_mm, strict=True)]
    field, allowed = joint_field(fields), np.ones(fade.shape, bool)
    expected = expected_response(field, allowed, model)
    rng = np.random.default_rng(3)
    readers = 1500
    share = np.mean([draw_rater(rng, field, allowed, (2, 2, 2), model)[4, 4] for _ in range(readers)], axis=0)
    for at, radius_mm in zip((3, 12), radii_mm, strict=True):
        assert expected[4, 4, at] == pytest.approx(norm.cdf(1.0 / (0.2 * 2.0 + 0.1 * radius_mm)), abs=1e-5)
        assert share[at] == pytest.approx(expected[4, 4, at], abs=4 * np.sqrt(0.25 / readers))


def agreement(model: RaterModel) -> tuple[float, float, float]:
    """Mean containment, mean relative spread of volumes, and the same of nested masks with the same mean map."""
    rng = np.random.default_rng(6)
    contained, spread, nested = [], [], []
    for radius_mm in np.linspace(7, 18, 24):
        field = ball(radius_mm)
        allowed = np.ones(field.depth_mm.shape, bool)
        masks = [mask for mask in (draw_rater(rng, field, allowed, SPACING_MM, model) for _ in range(4)) if mask.any()]
        contained += [(a & b).sum() / min(a.sum(), b.sum()) for a, b in combinations(masks, 2)]
        count = np.sum(masks, axis=0)
        for found, own in ((spread, masks), (nested, [count > least for least in range(len(masks))])):
            sizes = [mask.sum() for mask in own]
            found.append(np.std(sizes, ddof=1) / np.mean(sizes))
    return float(np.mean(contained)), float(np.mean(spread)), float(np.mean(nested))


def test_raters_like_those_of_lidc_agree_as_far_as_these_do():
    contained, spread, nested = agreement(LIDC)
    # LIDC-IDRI, nodules of 10 mm and more: see ADR 38.
    assert contained == pytest.approx(0.92, abs=0.025)
    assert spread == pytest.approx(0.155, abs=0.035)
    assert nested / spread == pytest.approx(1.7, abs=0.35)


def test_unknown_rater_models_are_refused(tmp_path):
    with raises_error(InputError, "rater-model-unknown", "'nobody'"):
        write_cohort(tmp_path / "out", cases=1, raters=1, seed=0, rater_model="nobody")
    assert not (tmp_path / "out").exists()


def test_the_default_rater_model_is_the_one_it_always_was():
    assert RATER_MODELS["default"] == RaterModel()
    assert RaterModel().spread_per_radius == 0
    assert RaterModel().overlook_below_mm == ()
