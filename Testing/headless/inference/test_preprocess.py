"""The network sees bit for bit what nnU-Net's own preprocessor would give it, and results come back in place."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage.transform import resize

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.inference import preprocess as preprocess_module
from twintrack.inference.arrays import Array, to_host, uploaded
from twintrack.inference.nnunet_model import Stage, nnunet_managers, read_stage
from twintrack.inference.preprocess import Preprocessed, preprocess
from twintrack.inference.resample import linear_pieces, linear_resample, range_touched
from twintrack.volume import Volume

MakeCt = Callable[..., Volume]
Placed = Callable[[np.ndarray], Array]
WHEREVER = pytest.mark.parametrize("placed", [np.asarray, torch.from_numpy], ids=["main memory", "as on a card"])
"""Arrays of main memory are numpy's; those on a graphics card are torch's, and here lie in main memory too."""


def stage_with(fine: Stage, transpose: list[int] | None = None, **changes: Any) -> Stage:
    """Return the tiny fine stage with other plans."""
    plans = {**fine.plans}
    configuration = {**plans["configurations"]["3d_fullres"], **changes}
    plans["configurations"] = {"3d_fullres": configuration}
    if transpose:
        plans["transpose_forward"] = transpose
        plans["transpose_backward"] = np.argsort(transpose).tolist()
    dataset = {"channel_names": {"0": "CT"}, "labels": fine.dataset["labels"]}
    return read_stage(Path("tiny"), plans, dataset, "3d_fullres", False)


def nnunets(ct: Volume, stage: Stage) -> tuple[np.ndarray, dict[str, Any]]:
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    properties = {"spacing": list(ct.geometry.spacing_mm[::-1])}
    data, _, properties = DefaultPreprocessor(verbose=False).run_case_npy(
        ct.array[None], None, properties, *nnunet_managers(stage), {}
    )
    return data, properties


CASES = {
    "same spacing": ((30, 34, 12), (1.5, 1.5, 3.0), {}),
    "finer": ((41, 37, 23), (0.9, 0.8, 1.3), {}),
    "coarser": ((21, 17, 13), (2.5, 2.5, 5.0), {}),
    "thick slices, resampled slice by slice": ((30, 31, 7), (0.8, 0.8, 5.0), {}),
    "thick network voxels": ((30, 31, 25), (1.0, 1.0, 1.0), {"spacing": [5.0, 1.2, 1.2]}),
    "turned axes": ((30, 26, 12), (1.1, 1.5, 2.0), {"transpose": [2, 0, 1]}),
    "z-score": ((20, 21, 12), (1.0, 1.0, 3.0), {"normalization_schemes": ["ZScoreNormalization"]}),
    "z-score inside the nonzero mask": (
        (20, 21, 12),
        (1.0, 1.0, 3.0),
        {"normalization_schemes": ["ZScoreNormalization"], "use_mask_for_norm": [True]},
    ),
    "to the range of 0 to 1": (
        (20, 21, 12),
        (1.0, 1.0, 3.0),
        {"normalization_schemes": ["RescaleTo01Normalization"]},
    ),
    "as it is": ((20, 21, 12), (1.0, 1.0, 3.0), {"normalization_schemes": ["NoNormalization"]}),
    "one slice": ((30, 30, 1), (1.0, 1.0, 4.0), {}),
}


RIMS = [(case, rim) for case in CASES for rim in (False, True) if not (rim and case == "one slice")]


@pytest.mark.parametrize(("case", "rim"), RIMS)
def test_data_are_bit_equal_to_nnunets_preprocessor(make_ct: MakeCt, fine: Stage, case: str, rim: bool) -> None:
    size, spacing_mm, changes = CASES[case]
    stage = stage_with(fine, **changes)
    ct = make_ct(size, spacing_mm)
    if rim:
        ct.array[:2] = 0
        ct.array[:, -3:] = 0
        ct.array[5, 6, 7] = 0  # a hole
    before = ct.array.copy()
    expected, properties = nnunets(ct, stage)
    made = preprocess(ct.array, ct.geometry.spacing_mm[::-1], stage)
    assert made.data.dtype == np.float32
    assert np.array_equal(made.data, expected)
    assert [list(r) for r in made.nonzero] == [list(r) for r in properties["bbox_used_for_cropping"]]
    assert np.array_equal(ct.array, before)


@pytest.mark.parametrize("case", [name for name in CASES if name != "same spacing"])
def test_on_a_card_the_data_are_those_of_main_memory_and_stay_there(
    monkeypatch: pytest.MonkeyPatch, make_ct: MakeCt, fine: Stage, case: str
) -> None:
    def on_card(array: np.ndarray, _device: str) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array))

    size, spacing_mm, changes = CASES[case]
    stage = stage_with(fine, **changes)
    ct = make_ct(size, spacing_mm)
    ct.array[:, -2:] = 0
    spacing = ct.geometry.spacing_mm[::-1]
    expected = preprocess(ct.array, spacing, stage)
    for name in ("uploaded", "to_device"):
        monkeypatch.setattr(preprocess_module, name, on_card)
    before = ct.array.copy()
    found = preprocess(ct.array, spacing, stage, device="cuda")
    assert isinstance(found.data, torch.Tensor)
    assert (found.nonzero, found.shape) == (expected.nonzero, expected.shape)
    np.testing.assert_allclose(found.data.numpy(), expected.data, rtol=3e-7, atol=1e-6)
    assert np.count_nonzero(found.data.numpy() != expected.data) <= 1
    assert np.array_equal(ct.array, before)


@pytest.mark.parametrize("kind", ["<i2", ">i2", "<u2", "<u4", "|u1", "<f8", "<f2", "|b1"])
def test_a_ct_of_any_kind_of_number_reaches_a_card(kind: str) -> None:
    values = np.arange(24).reshape(2, 3, 4).astype(kind)[:, ::-1]
    values.setflags(write=False)
    there = uploaded(values, "meta")  # stands for a card: no memory is touched
    assert there.shape == values.shape
    assert there.is_contiguous()


def test_integer_cts_give_the_same_as_floats(make_ct: MakeCt, fine: Stage) -> None:
    ct = make_ct((20, 21, 12))
    whole = np.rint(ct.array).astype(np.int16)
    spacing = ct.geometry.spacing_mm[::-1]
    assert np.array_equal(
        preprocess(whole, spacing, fine).data, preprocess(whole.astype(np.float32), spacing, fine).data
    )


def test_a_ct_of_zeros_is_refused(fine: Stage) -> None:
    with raises_error(InputError, "region-zero"):
        preprocess(np.zeros((5, 6, 7), dtype=np.int16), (1.0, 1.0, 1.0), fine)


def test_a_slab_thinner_than_half_a_network_voxel_keeps_one_voxel(make_ct: MakeCt, fine: Stage) -> None:
    ct = make_ct((20, 20, 1), (1.0, 1.0, 1.0))
    case = preprocess(ct.array, (1.0, 1.0, 1.0), fine)
    assert case.data.shape[1] == 1
    ones = np.ones((1, *case.data.shape[1:]), np.float32)
    assert case.to_grid(ones, [(0, 1), (0, 20), (0, 20)]).shape == (1, 1, 20, 20)


@WHEREVER
@pytest.mark.parametrize("target", [(9, 14, 20), (4, 7, 5), (6, 7, 8), (1, 30, 3), (6, 150, 200)])
def test_linear_resampling_is_that_of_skimage_in_every_window(target: tuple[int, int, int], placed: Placed) -> None:
    volume = np.random.default_rng(1).random((2, 6, 7, 8))
    expected = np.stack([resize(v, target, order=1, mode="edge", anti_aliasing=False) for v in volume])
    whole = linear_resample(placed(volume), target, [(0, n) for n in target])
    np.testing.assert_allclose(to_host(whole), expected, atol=1e-12)
    window = [(n // 3, n - n // 4) for n in target]
    part = linear_resample(placed(volume), target, window)
    np.testing.assert_allclose(to_host(part), expected[(slice(None), *(slice(a, b) for a, b in window))], atol=1e-12)


@pytest.mark.parametrize(
    "target",
    [(9, 14, 90), (9, 150, 20), (150, 14, 20), (4, 7, 5), (6, 7, 8), (1, 30, 3), (70, 150, 160), (3, 3, 3), (6, 7, 90)],
)
def test_pieces_are_linear_resampling_to_the_last_bit(target: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(2)
    volumes = list(rng.random((3, 6, 7, 8), dtype=np.float32))
    for _ in range(4):
        starts = [int(rng.integers(0, n)) for n in target]
        window = [(start, int(rng.integers(start + 1, n + 1))) for start, n in zip(starts, target, strict=True)]
        found = np.full((3, *(stop - start for start, stop in window)), np.nan, dtype=np.float32)
        for piece in linear_pieces(volumes, target, window):
            assert np.isnan(found[(slice(None), *piece.place)]).all()
            for number in (2, 0, 1):
                found[(number, *piece.place)] = piece.values(number)
            other = 1 - volumes[0]
            other[piece.touched] = volumes[0][piece.touched]
            again = next(p for p in linear_pieces([other], target, window) if p.place == piece.place)
            assert np.array_equal(again.values(0), found[(0, *piece.place)])
        for volume, values in zip(volumes, found, strict=True):
            assert np.array_equal(values, linear_resample(volume[None], target, window)[0])


@pytest.mark.parametrize(("size_in", "size_out"), [(7, 20), (20, 7), (9, 9), (1, 5), (5, 1)])
def test_touched_range_holds_exactly_the_outputs_that_change(size_in: int, size_out: int) -> None:
    for first in range(size_in):
        for end in range(first + 1, size_in + 1):
            volume = np.zeros((1, size_in, 1, 1))
            volume[0, first:end] = 1
            out = linear_resample(volume, (size_out, 1, 1), [(0, size_out), (0, 1), (0, 1)])
            changed = np.nonzero(out.ravel())[0]
            expected = (changed[0], changed[-1] + 1) if changed.size else (0, 0)
            assert range_touched(size_in, size_out, (first, end)) == expected


@WHEREVER
@pytest.mark.parametrize("transpose", [[0, 1, 2], [2, 0, 1], [1, 2, 0], [0, 2, 1]])
def test_a_position_map_comes_back_to_its_own_voxels_through_any_axis_order(
    make_ct: MakeCt, fine: Stage, transpose: list[int], placed: Placed
) -> None:
    spacing = [(3.0, 1.5, 1.2)[axis] for axis in transpose]
    stage = stage_with(fine, transpose, spacing=spacing)
    ct = make_ct((33, 26, 14), (0.6, 1.5, 2.0))
    ct.array[:3] = 0
    ct.array[:, :, 30:] = 0
    case = preprocess(ct.array, (2.0, 1.5, 0.6), stage)
    # A field that is linear in mm, sampled at the centres of the network's voxels, must come back linear.
    grids = np.meshgrid(*(np.arange(n) for n in case.data.shape[1:]), indexing="ij")
    field = np.zeros(case.data.shape[1:])
    for n, axis in enumerate(transpose):
        start, stop = case.nonzero[n]
        size = stop - start
        field += (10, 100, 1000)[axis] * ((grids[n] + 0.5) * size / case.data.shape[n + 1] - 0.5 + start)
    window = [(2, 13), (4, 20), (10, 32)]
    back = to_host(case.to_grid(placed(field[None]), window)[0])
    z, y, x = np.meshgrid(*(np.arange(a, b) for a, b in window), indexing="ij")
    expected = 10.0 * z + 100.0 * y + 1000.0 * x
    cropped_away = (z < 3) | (x >= 30)
    assert np.all(back[cropped_away] == 0)
    inner = ~cropped_away & (z > 4) & (z < 12) & (y > 5) & (x < 28)
    np.testing.assert_allclose(back[inner], expected[inner], rtol=1e-9)


def test_windows_outside_the_nonzero_box_are_zero(fine: Stage) -> None:
    case = Preprocessed(np.zeros((1, 4, 4, 4), np.float32), (8, 8, 8), (0, 1, 2), ((4, 8), (0, 4), (0, 4)))
    out = case.to_grid(np.ones((2, 4, 4, 4)), [(0, 3), (0, 8), (2, 8)])
    assert out.shape == (2, 3, 8, 6)
    assert not out.any()
    assert dataclasses.is_dataclass(case)
