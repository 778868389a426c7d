"""A block around a phantom's lesion instead of the whole abdomen."""

from __future__ import annotations

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.phantom import Slab, draw_panel, make_phantom

SLAB = Slab()


def test_it_has_the_grid_that_was_asked_for_and_the_same_seed_gives_the_same_case() -> None:
    slab = Slab(size=(48, 40, 20), spacing_mm=(2.0, 2.0, 2.5))
    one, other = (make_phantom(5, slab=slab) for _ in range(2))
    assert one.ct.array.shape == (20, 40, 48)
    assert one.ct.geometry.spacing_mm == (2.0, 2.0, 2.5)
    assert np.array_equal(one.ct.array, other.ct.array)
    assert all(np.array_equal(a.array, b.array) for a, b in zip(one.annotations, other.annotations, strict=True))


@pytest.mark.slow
def test_the_lesion_lies_inside_with_the_volume_that_was_drawn() -> None:
    for seed in range(12):
        case = make_phantom(seed, slab=SLAB)
        assert case.lesion is not None
        tumor = case.anatomy.array == 1
        voxel_ml = case.ct.geometry.voxel_ml
        assert tumor.sum() * voxel_ml == pytest.approx(case.lesion.volume_ml, abs=2 * voxel_ml)
        edge = tumor.copy()
        edge[1:-1, 1:-1, 1:-1] = False
        assert edge.sum() < 0.02 * tumor.sum(), seed
        # Tumour is darker than the gland that it grows in.
        assert np.median(case.ct.array[tumor]) < np.median(case.ct.array[case.anatomy.array == 2])


@pytest.mark.slow
def test_the_raters_of_a_panel_mark_what_the_closed_form_says() -> None:
    """Over many cases: the sum of a rater's mask less the chance has the mean 0."""
    panel = draw_panel(3, seed=4)
    cases = [make_phantom(seed, panel=panel, slab=SLAB) for seed in range(60)]
    for place, name in enumerate(panel.habits):
        found = [case.annotations[place].array.sum() for case in cases]
        expected = [case.true_raters[name].array.sum() for case in cases]
        gaps = np.subtract(found, expected, dtype=float)
        assert abs(gaps.mean()) < 4 * gaps.std(ddof=1) / np.sqrt(len(gaps))
    mean = np.mean([case.array for case in cases[0].true_raters.values()], axis=0)
    assert np.allclose(mean, cases[0].true_mhr.array, atol=1e-6)


def test_without_a_slab_nothing_has_changed_and_a_healthy_patient_has_no_tumor() -> None:
    healthy = make_phantom(3, lesions=0, slab=SLAB)
    assert healthy.lesions == ()
    assert not (healthy.anatomy.array == 1).any()


@pytest.mark.parametrize(
    "changed",
    [{"size": (0, 64, 16)}, {"spacing_mm": (1.6, -1.0, 2.5)}, {"volume_range_ml": (5.0, 1.0)}, {"size": (64, 64, 4)}],
)
def test_what_no_lesion_fits_into_is_refused(changed: dict[str, tuple[float, ...]]) -> None:
    with raises_error(InputError, "phantom-number"):
        Slab(**changed)
