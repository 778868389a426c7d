from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from twintrack.harmonizer.losses import energy_loss, mask_distance, mean_distance, segmentation_loss  # noqa: E402
from twintrack.metrics.outline_sets import outline_set_scores  # noqa: E402


def masks(count: int, seed: int) -> torch.Tensor:
    return (torch.rand(1, count, 2, 4, 5, generator=torch.Generator().manual_seed(seed)) > 0.5).double()


EVERYBODY = torch.ones(1, 4, dtype=torch.bool)


def test_the_distance_is_one_less_the_overlap_of_binary_masks():
    one, other = (masks(1, seed)[0, 0] for seed in (0, 1))
    overlap = (one.bool() & other.bool()).sum() / (one.bool() | other.bool()).sum()
    assert float(mask_distance(one, other)) == pytest.approx(1 - float(overlap), abs=1e-6)
    empty = torch.zeros_like(one)
    assert float(mask_distance(empty, empty)) == 0.0
    assert float(mask_distance(one, empty)) == pytest.approx(1.0, abs=1e-6)


def test_a_blurred_mask_does_not_lie_apart_from_itself_so_that_blur_wins_no_diversity():
    blurred = torch.full((2, 3, 3), 0.5)
    assert float(mask_distance(blurred, blurred)) == 0.0
    product = 1 - (blurred**2).sum() / (2 * blurred - blurred**2).sum()
    assert float(product) == pytest.approx(2 / 3)  # what the form with products would call diverse


def test_the_loss_is_the_metric_less_what_raters_differ_by():
    """Equation 7, whose pairs of a sample with itself are left out, beside the energy distance without them."""
    samples, annotations = masks(5, 2), masks(4, 3)
    loss = float(energy_loss(samples, annotations, EVERYBODY)[0])
    metric = outline_set_scores(*([mask.numpy() > 0 for mask in each[0]] for each in (samples, annotations)))
    among_raters = np.mean([float(mask_distance(a, b)) for a, b in itertools.combinations(annotations[0], 2)])
    assert loss - metric.ged_u == pytest.approx(float(among_raters), abs=1e-5)


def test_disjoint_masks_by_hand():
    a, b = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)
    a[0, :2], b[0, 2:] = 1, 1
    samples, annotations = torch.stack([a, a, b])[None], torch.stack([a, b])[None]
    both = torch.ones(1, 2, dtype=torch.bool)
    # To raters: half of the pairs lie 1 apart; among samples: two of three pairs do.
    assert float(energy_loss(samples, annotations, both)) == pytest.approx(2 * 0.5 - 2 / 3, abs=1e-5)
    one = torch.tensor([[True, False]])
    assert float(energy_loss(samples, annotations, one)) == pytest.approx(2 / 3 - 2 / 3, abs=1e-5)
    assert float(mean_distance(samples)) == pytest.approx(2 / 3, abs=1e-5)


def test_a_mask_that_nobody_drew_does_not_count_for_the_segmentation():
    logits = torch.randn(2, 3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    targets = (logits > 0.3).float()
    known = torch.tensor([[True, True, False], [True, False, False]])
    spoiled = targets.clone()
    spoiled[~known] = 1 - spoiled[~known]
    first, second = (segmentation_loss(logits, each, known) for each in (targets, spoiled))
    assert torch.equal(first[:2], second[:2])
    perfect = segmentation_loss(torch.where(targets > 0, 50.0, -50.0), targets)
    torch.testing.assert_close(perfect, torch.zeros(3), rtol=0, atol=1e-4)
