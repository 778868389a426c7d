from __future__ import annotations

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.metrics import evaluate_case

NAMES = {"PORTA": 1, "SMV": 2, "AORTA": 3, "CELIAC": 4, "SMA": 5}
SHAPE = (30, 40, 50)


def ball(radius: float, center=(15, 20, 25)) -> np.ndarray:
    z, y, x = np.indices(SHAPE)
    return (z - center[0]) ** 2 + (y - center[1]) ** 2 + (x - center[2]) ** 2 <= radius**2


@pytest.fixture
def arrays():
    """Map, masks by rater, vessels."""
    p = np.select([ball(4), ball(6), ball(8)], [0.95, 0.6, 0.2], 0.0).astype(np.float32)
    masks = {rater: ball(radius).astype(np.uint8) for rater, radius in ((1, 5), (2, 6), (4, 7))}
    vessels = np.zeros(SHAPE, dtype=np.uint8)
    vessels[:, 24:28, 24:28] = 5
    return p, masks, vessels


def score(arrays, on_grid, **kwargs):
    p, masks, vessels = arrays
    masks = {rater: on_grid(mask) for rater, mask in masks.items()}
    return evaluate_case(on_grid(p), masks, on_grid(vessels), names=NAMES, **kwargs)


def test_the_columns_start_with_the_protocol_s(arrays, on_grid):
    row = score(arrays, on_grid).row(list(NAMES))
    protocol = ["tdsc", "dsc", "ece", "crps", "vi_porta", "vi_smv", "vi_aorta", "vi_celiac", "vi_sma"]
    assert list(row)[:9] == protocol
    assert all(value is None or np.isfinite(value) for value in row.values())


def test_without_vessels_their_columns_are_unknown(arrays, on_grid):
    p, masks, _ = arrays
    case = evaluate_case(on_grid(p), {rater: on_grid(mask) for rater, mask in masks.items()})
    row = case.row(list(NAMES))
    assert {name for name, value in row.items() if value is None} == {
        f"{kind}_{vessel.lower()}" for kind in ("vi", "vi_corrected") for vessel in NAMES
    }


def test_the_order_of_the_raters_does_not_matter(arrays, on_grid):
    p, masks, vessels = arrays
    one = score((p, masks, vessels), on_grid).row(list(NAMES))
    other = score((p, dict(reversed(masks.items())), vessels), on_grid).row(list(NAMES))
    for name, value in one.items():
        assert other[name] == pytest.approx(value, rel=1e-12), name


def test_more_background_around_changes_nothing(arrays, on_grid):
    p, masks, vessels = arrays
    padded = (np.pad(p, 25), {rater: np.pad(mask, 25) for rater, mask in masks.items()}, np.pad(vessels, 25))
    larger = (np.pad(p, 40), {rater: np.pad(mask, 40) for rater, mask in masks.items()}, np.pad(vessels, 40))
    one, other = (score(case, on_grid).row(list(NAMES)) for case in (padded, larger))
    assert one.keys() == other.keys()
    for name in one.keys() - {"dsc"}:  # STAPLE's prior depends on the volume's size
        assert other[name] == pytest.approx(one[name], rel=1e-9), name


def test_a_perfect_map_of_a_single_reader_has_no_error(on_grid):
    mask = ball(6).astype(np.uint8)
    vessels = np.zeros(SHAPE, dtype=np.int16)
    vessels[:, 24:28, 24:28] = 1
    row = score((mask.astype(np.float32), {1: mask}, vessels), on_grid).row(list(NAMES))
    for name in ("tdsc", "dsc", "soft_dice", "dice_max", "dice_match", "surface_dice"):
        assert row.pop(name) == pytest.approx(1, abs=1e-6), name
    for name in ("raters_ml", "predicted_ml"):
        assert row.pop(name) == pytest.approx(mask.sum() / 1000), name
    rate = row.pop("base_rate")
    assert row.pop("brier_constant") == pytest.approx(rate * (1 - rate), rel=1e-6)
    row.pop("ece_constant")  # the tumour lies so near to the first slice that the protocol's box is another one
    for name, value in row.items():
        assert value == pytest.approx(0, abs=1e-6), name


def test_an_empty_rater_is_data_and_an_empty_case_has_our_error_but_not_the_protocol_s(arrays, on_grid):
    p, masks, vessels = arrays
    empty = np.zeros(SHAPE, dtype=np.uint8)
    with_empty = score((p, {**masks, 5: empty}, vessels), on_grid)
    assert len(with_empty.ece_raters) == 4
    nothing = score((p, {1: empty, 2: empty}, vessels), on_grid)
    confidence = np.maximum(p, 1 - p).astype(float)
    wrong = p > 0.5
    gaps = [(confidence[p == v].mean() - (~wrong[p == v]).mean()) * (p == v).mean() for v in np.unique(p)]
    # 0.2 and 0.6 have bins of their own, 0.95 and 1 as well.
    assert nothing.further["ece_corrected"] == pytest.approx(np.abs(gaps).sum(), abs=1e-6)
    assert nothing.ece is None
    assert set(nothing.ece_raters.values()) == {None}
    assert "no rater marked tumour" in nothing.notes[0]
    assert nothing.crps == 0
    assert nothing.further["hd95_mm"] is None


def test_nothing_predicted_and_nothing_drawn_is_agreement(on_grid):
    empty = np.zeros(SHAPE, dtype=np.uint8)
    row = score((empty.astype(np.float32), {1: empty, 2: empty}, empty), on_grid).row(list(NAMES))
    assert (row["tdsc"], row["dsc"], row["ece"], row["ece_corrected"], row["hd95_mm"]) == (1, 0, None, 0, 0)
    assert (row["d_ece"], row["raters_ml"], row["predicted_ml"]) == (None, 0, 0)


def test_other_grids_are_refused_by_name(arrays, on_grid):
    p, masks, vessels = arrays
    annotations = {rater: on_grid(mask) for rater, mask in masks.items()}
    with raises_error(InputError, "grid-differs"):
        evaluate_case(on_grid(p), annotations, on_grid(vessels, (1, 1, 2)))
    with raises_error(InputError, "grid-differs", "annotation_2"):
        evaluate_case(on_grid(p), {**annotations, 2: on_grid(masks[2], (1, 1, 2))})


@pytest.mark.parametrize("value", [1.01, -0.01, np.nan])
def test_what_is_no_probability_is_refused(arrays, on_grid, value):
    p, masks, vessels = arrays
    p[3, 3, 3] = value
    with raises_error(InputError, "probability-range"):
        score((p, masks, vessels), on_grid)


def test_masks_and_label_maps_of_other_kinds_are_refused(arrays, on_grid):
    p, masks, vessels = arrays
    with raises_error(InputError, "mask-not-binary", "annotation_1"):
        score((p, {**masks, 1: masks[1] * 255}, vessels), on_grid)
    with raises_error(InputError, "not-labels"):
        score((p, masks, vessels + 0.5), on_grid)
    with raises_error(InputError, "mask-not-binary"):
        score(arrays, on_grid, binary=on_grid(masks[1] * 2))
    with raises_error(InputError, "no-annotation"):
        evaluate_case(on_grid(p), {})


def test_label_maps_and_masks_may_be_stored_as_floating_point(arrays, on_grid):
    p, masks, vessels = arrays
    stored = ({rater: mask.astype(np.float32) for rater, mask in masks.items()}, vessels.astype(np.float64))
    assert score((p, *stored), on_grid).row(list(NAMES)) == score(arrays, on_grid).row(list(NAMES))


def test_raters_are_told_apart_by_text_whatever_they_were_given_as(arrays, on_grid):
    p, masks, vessels = arrays
    found = score((p, {f"R {rater}": mask for rater, mask in masks.items()}, vessels), on_grid)
    assert list(found.ece_raters) == [f"R {rater}" for rater in masks]
    numbered = score((p, dict(enumerate(masks.values())), vessels), on_grid)
    assert list(numbered.ece_raters) == ["0", "1", "2"]
    assert found.row(list(NAMES)) == numbered.row(list(NAMES))
    with raises_error(InputError, "raters-alike"):
        score((p, {1: masks[1], "1": masks[2]}, vessels), on_grid)


def test_a_map_just_outside_of_0_and_1_is_scored_as_one_that_rounding_did_not_touch(arrays, on_grid):
    p, masks, vessels = arrays
    near = np.where(p == 0, -1e-7, p).astype(np.float32)
    assert score((near, masks, vessels), on_grid).row(list(NAMES)) == score(arrays, on_grid).row(list(NAMES))
