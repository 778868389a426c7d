"""Samples and raters of a network of slices, drawn from random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from twintrack.inference.slices import SliceScorer
from twintrack.inference.tiling import plan_tiles
from twintrack.training.cases import TrainingCase
from twintrack.volume import Geometry, Volume

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

pytestmark = [pytest.mark.network, pytest.mark.slow]


@pytest.mark.parametrize("shape", [(1, 9, 8), (5, 9, 8), (12, 20, 30)])
def test_tiles_of_one_slice_cover_each_slice_once_and_the_same_way(shape):
    tiles = plan_tiles(shape, (1, 8, 8))
    places = [tuple(side.start for side in tile) for tile in tiles]
    assert len(set(places)) == len(places)
    of_slice = [{place[1:] for place in places if place[0] == number} for number in range(shape[0])]
    assert all(found == of_slice[0] for found in of_slice)
    covered = np.zeros(shape, bool)
    for tile in tiles:
        covered[tile] = True
    assert covered.all()


@pytest.fixture(scope="module")
def scorer(tmp_path_factory) -> SliceScorer:
    """A network whose random weights make much of a code, so that samples differ."""
    from twintrack.bundle.model_bundle import CHECKPOINT_NAME
    from twintrack.harmonizer import HarmonizerNetwork
    from twintrack.training import (
        CaseVolumes,
        HarmonizerPlan,
        HarmonizerSettings,
        Layout,
        StageSettings,
        Strategy,
        prepare_tumor,
        train_harmonizer,
    )

    grid = Geometry((24, 20, 6), (2.0, 2.0, 3.0))
    rng = np.random.default_rng(0)
    ct = Volume(rng.normal(60, 30, grid.shape).astype(np.int16), grid)
    mask = np.zeros(grid.shape, np.uint8)
    mask[2:4, 6:12, 6:12] = 1
    masks = {rater: Volume(mask, grid) for rater in "AB"}
    case = TrainingCase("case", lambda: CaseVolumes(ct, masks), ("A", "B"))
    stage = StageSettings(epochs=1, iterations=1, spacing_mm=(3.0, 2.0, 2.0), patch_size=(1, 16, 16), features=(4, 8))
    settings = HarmonizerSettings(stage, personal_epochs=1, samples=2, bank=4)
    folder: Path = tmp_path_factory.mktemp("slices")
    prepared = prepare_tumor([case], folder / "cases", stage)
    layout = Layout(Strategy.HARMONIZER, prepared.raters, prepared.anatomy)
    run = train_harmonizer(prepared, HarmonizerPlan(layout, settings), folder / "network", device="cpu")
    path = run.folder / "fold_0" / CHECKPOINT_NAME
    stored = torch.load(path, weights_only=True)
    torch.manual_seed(0)
    network = HarmonizerNetwork(settings.architecture(prepared.raters), 1)
    with torch.no_grad():
        network.combine.of_code.weight.mul_(5)
        network.personalizer.of_rater[1] = -3.0
        network.personalizer.last.weight.mul_(5)
    torch.save({**stored, "network_weights": network.state_dict()}, path)
    return SliceScorer(run.folder)


@pytest.fixture(scope="module")
def alike() -> Volume:
    """A CT of five slices that are all the same, larger than a patch."""
    grid = Geometry((30, 26, 5), (2.0, 2.0, 3.0))
    one = np.random.default_rng(1).normal(60, 30, (26, 30)).astype(np.int16)
    return Volume(np.repeat(one[None], 5, axis=0), grid)


def test_a_sample_has_one_code_in_all_slices_and_so_has_a_rater(scorer, alike):
    samples, raters = scorer(alike, samples=5)
    assert samples.shape == (5, 5, 26, 30)
    assert raters.shape == (2, 5, 26, 30)
    for maps in (samples, raters):
        assert maps.min() >= 0
        assert maps.max() <= 1
        np.testing.assert_allclose(maps, np.repeat(maps[:, :1], 5, axis=1), atol=1e-5)
        assert np.abs(maps[0] - maps[1]).max() > 1e-3, "they do not differ"


def test_the_first_samples_are_the_same_for_every_number(scorer, alike):
    few, none = scorer(alike, samples=2, raters=False)
    many, _ = scorer(alike, samples=7)
    assert none.shape == (0, 5, 26, 30)
    np.testing.assert_allclose(few, many[:2], atol=1e-6)


def test_outside_of_the_box_there_is_nothing(scorer, alike):
    box = (slice(1, 3), slice(4, 22), slice(5, 25))
    samples, _ = scorer(alike, box, samples=2, raters=False)
    assert samples[:, 1:3, 4:22, 5:25].min() > 0
    outside = samples.copy()
    outside[:, 1:3, 4:22, 5:25] = 0
    assert not outside.any()


def test_a_ct_in_another_spacing_gets_maps_on_its_own_grid(scorer):
    grid = Geometry((33, 31, 9), (1.6, 1.6, 2.0))
    ct = Volume(np.random.default_rng(2).normal(60, 30, grid.shape).astype(np.int16), grid)
    samples, _ = scorer(ct, samples=1, raters=False)
    assert samples.shape == (1, 9, 31, 33)
