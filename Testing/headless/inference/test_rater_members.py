"""Labels with weights, and networks that belong to raters: what constant networks say is known beforehand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binom

from twintrack.bundle.model_bundle import Bundle
from twintrack.inference.ensemble import EnsembleResult, score_ensemble
from twintrack.inference.network_store import NetworkStore
from twintrack.inference.roi import roi_full
from twintrack.inference.vessel_map import VesselChannels
from twintrack.volume import Volume

MakeCt = Callable[..., Volume]
MakeBundle = Callable[..., Path]
MakeResults = Callable[..., Path]

FINE = {"background": 0, "tumor": 1, "vessel": 2}
SHAPE = (3, 4, 5)


def say(folder: Path, fold: str, logits: Sequence[float]) -> None:
    """Make a network give the same logits everywhere."""
    path = folder / f"fold_{fold}" / "checkpoint_final.pth"
    checkpoint: dict[str, Any] = torch.load(path, weights_only=False)
    for name, tensor in checkpoint["network_weights"].items():
        if "seg_layers" in name:
            tensor.copy_(torch.tensor(logits) if name.endswith("bias") else torch.zeros_like(tensor))
    torch.save(checkpoint, path)


@pytest.fixture(scope="module")
def five(make_results: MakeResults) -> Path:
    """Five networks: the first is sure of background everywhere, the others of tumour."""
    folder = make_results(FINE, folds=5, seed=70)
    for fold in range(5):
        say(folder, str(fold), (40.0, 0.0, 0.0) if fold == 0 else (0.0, 40.0, 0.0))
    return folder


def score(ct: Volume, folder: Path, **options: Any) -> EnsembleResult:
    with Bundle.open(folder) as bundle:
        return score_ensemble(ct, roi_full(ct.geometry), bundle, store=NetworkStore("cpu", "torch"), **options)


def members(**of: str) -> list[dict[str, Any]]:
    return [{"id": rater, "members": list(folds)} for rater, folds in of.items()]


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize(
    ("raters", "expected"),
    [
        (members(A="0", B="1", C="2", D="3", E="4"), 0.8),  # each says its own
        (members(A="01", B="23", C="4"), (0.5 + 1 + 1) / 3),  # a rater's mean first
        (members(A="4", B="0123"), (0.75 + 1) / 2),
        (members(A="01234"), 0.8),
    ],
)
def test_a_rater_who_sees_nothing_does_not_silence_the_others(
    make_ct: MakeCt, make_bundle: MakeBundle, five: Path, tmp_path: Path, raters: list[dict[str, Any]], expected: float
) -> None:
    values: dict[str, Any] = {"fine": five, "folds": tuple("01234"), "vessel_labels": {}}
    ct = make_ct((40, 36, 20))
    found = score(ct, make_bundle(**values, rater_members=raters, out=tmp_path / "b"), keep_each=True)
    np.testing.assert_allclose(found.score, expected, atol=1e-6)
    assert found.skipped == 0
    assert [float(member.score.max()) for member in found.each] == [0, 1, 1, 1, 1]
    # Networks that all learnt the same still spare the others the tiles where the first saw nothing.
    assert score(ct, make_bundle(**values, out=tmp_path / "plain")).score.max() < 1e-6


@pytest.mark.network
def test_weights_of_one_give_the_bits_of_schema_1(make_ct: MakeCt, bundle_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundle_folder, tmp_path / "b"))
    content = json.loads((folder / "bundle.json").read_text())
    content |= {"schema": 2, "tumor_weights": dict.fromkeys(content.pop("tumor_labels"), 1.0)}
    (folder / "bundle.json").write_text(json.dumps(content))
    ct = make_ct((61, 50, 33), (0.9, 1.1, 1.7))
    before, after = score(ct, bundle_folder), score(ct, folder)
    assert np.array_equal(before.score, after.score)
    assert np.array_equal(before.vessels, after.vessels)
    assert before.disagreement_ml == after.disagreement_ml


@pytest.mark.network
def test_levels_of_raters_add_up_to_the_expected_fraction(
    make_ct: MakeCt, make_bundle: MakeBundle, make_results: MakeResults, tmp_path: Path
) -> None:
    """Levels of five raters who each draw with the chance pi are binomial, and their mean is pi."""
    labels = {"background": 0} | {f"level_{k}": k for k in range(1, 6)}
    fine = make_results(labels, seed=71)
    say(fine, "0", np.log(binom.pmf(range(6), 5, 0.3)).tolist())
    weights = {f"level_{k}": k / 5 for k in range(1, 6)}
    folder = make_bundle(fine=fine, folds=("0",), vessel_labels={}, tumor_weights=weights, out=tmp_path / "b")
    np.testing.assert_allclose(score(make_ct((34, 33, 17)), folder).score, 0.3, atol=1e-6)


@pytest.mark.network
def test_heads_of_raters_add_up_to_their_mean(
    make_ct: MakeCt, make_bundle: MakeBundle, make_results: MakeResults, tmp_path: Path
) -> None:
    chances = np.array([0.9, 0.5, 0.1])
    fine = make_results({"background": 0, "rater_A": [1, 4], "rater_B": [2, 4], "rater_C": [3, 4]}, seed=72)
    say(fine, "0", np.log(chances / (1 - chances)).tolist())
    raters = [{"id": name, "label": f"rater_{name}"} for name in "ABC"]
    folder = make_bundle(
        fine=fine,
        folds=("0",),
        vessel_labels={},
        tumor_weights={entry["label"]: 1 / 3 for entry in raters},
        rater_members=raters,
        out=tmp_path / "b",
    )
    np.testing.assert_allclose(score(make_ct((34, 33, 17)), folder).score, 0.5, atol=1e-6)


@st.composite
def weighted(draw: st.DrawFn) -> tuple[np.ndarray, tuple[float, ...], bool]:
    """Probabilities of some channels and a weight for each, as a bundle may have them; whether channels overlap."""
    channels, overlapping = draw(st.integers(1, 6)), draw(st.booleans())
    values = draw(arrays(np.float32, (channels, *SHAPE), elements=st.floats(0, 1, width=32)))
    weights = [draw(st.floats(1e-3, 1)) for _ in range(channels)]
    if overlapping:
        weights = [weight / max(sum(weights), 1) for weight in weights]
    else:
        values = values / values.sum(axis=0).clip(min=1)
    return values.astype(np.float32), tuple(weights), overlapping


@given(weighted())
@settings(max_examples=100, deadline=None)
def test_a_score_is_the_weighted_sum_and_at_most_one(drawn: tuple[np.ndarray, tuple[float, ...], bool]) -> None:
    values, weights, overlapping = drawn
    kept = values.copy()
    channels = VesselChannels(tuple(range(len(weights))), {}, frozenset(), overlapping, weights)
    found = channels.score(values)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.tensordot(np.array(weights), values.astype(float), 1), atol=1e-6)
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-6
    assert np.array_equal(values, kept)
    tensor = channels.score(torch.from_numpy(values))
    np.testing.assert_allclose(tensor.numpy(), found, atol=1e-7)


@given(weighted())
@settings(max_examples=50, deadline=None)
def test_no_weights_are_the_plain_sum_bit_for_bit(drawn: tuple[np.ndarray, tuple[float, ...], bool]) -> None:
    values, weights, overlapping = drawn
    tumor = tuple(range(len(weights)))
    plain = VesselChannels(tumor, {}, frozenset(), overlapping)
    assert np.array_equal(plain.score(values), values[list(tumor)].sum(axis=0))
    ones = VesselChannels(tumor, {}, frozenset(), overlapping, (1.0,) * len(tumor))
    np.testing.assert_allclose(ones.score(values), plain.score(values), atol=1e-6)


def test_a_vessel_is_hidden_by_every_level_in_full() -> None:
    """Where a network says "one of five readers", what is left for a vessel is what is no level at all."""
    values = np.zeros((3, *SHAPE), np.float32)
    values[0], values[1], values[2] = 0.1, 0.6, 0.3
    levels = VesselChannels((1,), {2: 1}, frozenset({2}), overlapping=False, weights=(0.2,))
    np.testing.assert_allclose(levels.score(values), 0.12, atol=1e-7)
    np.testing.assert_allclose(levels.taken(values), 0.6, atol=1e-7)
    regions = VesselChannels((1,), {2: 1}, frozenset({2}), overlapping=True, weights=(0.2,))
    np.testing.assert_allclose(regions.taken(values), 0.12, atol=1e-7)
