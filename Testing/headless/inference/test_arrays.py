"""What numpy and torch call differently gives the same numbers, and is what nnU-Net's functions give."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from twintrack.inference.arrays import (
    Array,
    add_product,
    all_finite,
    assign,
    at_least,
    class_probabilities,
    edge_values,
    flip,
    is_any_of,
    largest,
    like,
    padded,
    raise_to,
    to_device,
    to_host,
    transposed,
    zeros,
    zeros_beside,
)
from twintrack.inference.sliding_window import tile_weight

WHEREVER = pytest.mark.parametrize("placed", [np.asarray, torch.from_numpy], ids=["main memory", "as on a card"])
Placed = Callable[[np.ndarray], Array]
ROUNDING = 5e-7


def logits() -> np.ndarray:
    """Values as networks give them, and far beyond."""
    values = np.random.default_rng(0).normal(0, 8, (5, 3, 6, 7)).astype(np.float32)
    values[0, 0, 0, :4] = 200, -200, 1e4, -1e4
    return values


@WHEREVER
@pytest.mark.filterwarnings(  # but of what other tests left to be collected
    "error", "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_probabilities_are_those_of_float64(placed: Placed) -> None:
    given = logits()
    for overlapping, expected in (
        (False, softmax(given.astype(float), axis=0)),
        (True, expit(given.astype(float))),
    ):
        found = to_host(class_probabilities(placed(given.copy()), overlapping=overlapping))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=ROUNDING)
    assert np.array_equal(given, logits())


@WHEREVER
def test_a_weighted_sum_a_maximum_and_mirroring(placed: Placed) -> None:
    channels, weight = logits(), np.random.default_rng(1).random((3, 6, 7)).astype(np.float32)
    total = placed(np.ones_like(channels))
    add_product(total, placed(channels), placed(weight))
    np.testing.assert_allclose(to_host(total), 1 + channels.astype(float) * weight, rtol=1e-6, atol=1e-5)
    assert np.array_equal(to_host(largest(placed(channels))), channels.max(axis=0))
    assert np.array_equal(to_host(flip(placed(channels), (1, 3))), channels[:, ::-1, :, ::-1])
    assert np.array_equal(to_host(flip(placed(channels), ())), channels)


@WHEREVER
def test_labels_padding_edges_and_places_that_are_set(placed: Placed) -> None:
    labels = np.random.default_rng(2).integers(0, 5, (3, 6, 7))
    assert np.array_equal(to_host(is_any_of(placed(labels), [1, 4])), np.isin(labels, [1, 4]))
    assert np.array_equal(
        to_host(padded(placed(labels), [(0, 1), (2, 0), (0, 0)])), np.pad(labels, [(0, 1), (2, 0), (0, 0)])
    )
    assert np.array_equal(to_host(transposed(placed(labels), np.array([2, 0, 1]))), labels.transpose(2, 0, 1))
    values, other = logits()[:, 0], logits()[:, 1]
    low, high = (to_host(edge) for edge in edge_values(placed(values), (1, 2)))
    assert np.array_equal(low, values.min(axis=(1, 2), keepdims=True))
    assert np.array_equal(high, values.max(axis=(1, 2), keepdims=True))
    changed = placed(values.copy())
    raise_to(changed, placed(other))
    assert np.array_equal(to_host(changed), np.maximum(values, other))
    assert np.array_equal(to_host(at_least(changed, 1.5)), np.maximum(np.maximum(values, other), np.float32(1.5)))
    assign(changed, placed(values < 0), 9)
    assert np.array_equal(to_host(changed) == 9, values < 0)


@WHEREVER
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_is_noticed(placed: Placed, value: float) -> None:
    channels = logits()
    assert all_finite(placed(channels))
    channels[4, 2, 5, 6] = value
    assert not all_finite(placed(channels))


def test_arrays_lie_where_they_are_asked_to() -> None:
    values = logits()
    assert to_device(values, "cpu") is values
    there = to_device(values, "meta")  # stands for a card: no memory is touched
    assert there.device.type == zeros((2, 3), "meta").device.type == like(values, there).device.type == "meta"
    assert zeros((2, 3), "cpu", np.float64).dtype == np.float64
    assert zeros((2, 3), "meta", np.float64).dtype == torch.float64
    assert zeros_beside(values, (2, 3)).dtype == np.float32
    assert zeros_beside(there, (2, 3)).dtype == torch.float32
    assert isinstance(like(torch.ones(2), values), np.ndarray)


@pytest.mark.slow
@pytest.mark.parametrize("patch", [(16, 32, 32), (48, 128, 288), (5, 7, 9)])
def test_a_tile_counts_as_nnunets_gaussian_says(patch: tuple[int, int, int]) -> None:
    from nnunetv2.inference.sliding_window_prediction import compute_gaussian

    theirs = compute_gaussian(patch, value_scaling_factor=10, device=torch.device("cpu"))
    assert np.array_equal(tile_weight(patch), theirs.float().numpy())
