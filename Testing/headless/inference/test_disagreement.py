"""The members' disagreement is the standard deviation of their probabilities, added up in mL over the region."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from expected_errors import raises_error
from twintrack import inference
from twintrack.bundle.model_bundle import Bundle
from twintrack.cli.app import run_command
from twintrack.errors import InputError
from twintrack.inference.ensemble import Disagreement, score_ensemble
from twintrack.inference.network_store import NetworkStore
from twintrack.inference.nnunet_model import load_member, open_stage
from twintrack.inference.preprocess import preprocess
from twintrack.inference.roi import roi_box, roi_full
from twintrack.inference.sliding_window import Canvas, sliding_logits
from twintrack.inference.tiling import TileMeter
from twintrack.io.volumes import write_volume
from twintrack.progress.callbacks import CancelToken, no_progress
from twintrack.studies.make_bundle.inputs import measure_disagreement
from twintrack.volume import Volume

SHAPE = (4, 5, 6)


@pytest.mark.filterwarnings("ignore:Degrees of freedom")
def test_it_is_numpys_standard_deviation_over_those_that_looked() -> None:
    rng = np.random.default_rng(0)
    members = rng.random((4, *SHAPE), dtype=np.float32)
    looked = rng.random((4, *SHAPE)) < 0.6
    region = rng.random(SHAPE) < 0.5
    apart = Disagreement()
    for tumor, covered in zip(members, looked, strict=True):
        apart.add(tumor, covered)
    several = looked.sum(axis=0) > 1
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.where(several, np.std(members, axis=0, where=looked, dtype=np.float64), 0)
    assert apart.volume_ml(region, 0.25) == pytest.approx(0.25 * expected[region].sum(), rel=1e-5)


def test_members_that_agree_have_none_and_half_against_half_has_half_the_volume() -> None:
    apart, agreed = Disagreement(), Disagreement()
    everywhere = np.ones(SHAPE, bool)
    for value in (0.0, 1.0):
        apart.add(np.full(SHAPE, value, np.float32), everywhere)
        agreed.add(np.full(SHAPE, 0.3, np.float32), everywhere)
    assert agreed.volume_ml(np.ones(SHAPE, bool), 1.0) == 0.0
    assert apart.volume_ml(np.ones(SHAPE, bool), 1.0) == pytest.approx(np.prod(SHAPE) / 2)


def test_a_single_member_has_no_disagreement() -> None:
    apart = Disagreement()
    apart.add(np.ones(SHAPE, np.float32), np.ones(SHAPE, bool))
    assert apart.volume_ml(np.ones(SHAPE, bool), 1.0) is None


@pytest.mark.network
def test_a_run_states_it_for_its_region(make_ct: Callable[..., Volume], bundle: Bundle) -> None:
    ct, stage = make_ct((40, 36, 20)), open_stage(bundle, "fine")  # the networks' own grid
    canvas = Canvas.of(preprocess(ct.array, ct.geometry.spacing_mm[::-1], stage).data, stage)
    members = []
    for fold in bundle.folds["fine"]:
        meter = TileMeter(1, "Testing", no_progress, CancelToken())
        member = load_member(stage, fold)
        members.append(softmax(sliding_logits(member, canvas, canvas.tiles, stage, meter)[0], axis=0)[1])
    store = NetworkStore("cpu", "torch")
    found = score_ensemble(ct, roi_full(ct.geometry), bundle, store=store, skip_below=0.0)
    expected = np.std(members, axis=0, dtype=np.float64).sum() * ct.geometry.voxel_ml
    assert found.disagreement_ml == pytest.approx(expected, rel=1e-4, abs=1e-3)
    assert found.engine["disagreement_ml"] == found.disagreement_ml
    part = score_ensemble(ct, roi_box(ct.geometry, (5, 25, 5, 25, 4, 12)), bundle, store=store)
    assert part.disagreement_ml is not None
    assert 0 < part.disagreement_ml < found.disagreement_ml


@pytest.mark.network
@pytest.mark.process
def test_what_a_bundle_s_networks_do_on_some_cts_becomes_a_range(
    make_ct: Callable[..., Volume],
    make_bundle: Callable[..., Path],
    coarse_results: Path,
    fine_results: Path,
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Random networks find no organ: the whole CT is the region.
    monkeypatch.setattr(inference, "localize", lambda ct, *_, **__: roi_full(ct.geometry))
    for number in (1, 2):
        write_volume(make_ct((40, 36, 20), seed=number), tmp_path / f"{number}.nrrd")
    (tmp_path / "m.csv").write_text("case,image\na,1.nrrd\nb,2.nrrd\n")
    found = measure_disagreement(tmp_path / "m.csv", bundle, device="cpu")
    low, high = found.ranges["disagreement_ml"]
    assert 0 < low < high
    assert (set(found.ranges), found.cases) == ({"disagreement_ml"}, 2)
    assert found.outside({"disagreement_ml": high}) == ()
    (words,) = found.outside({"disagreement_ml": 4 * high})
    assert words.startswith("volume on which the networks disagree in mL")
    assert found.outside({}) == ()
    command = ["bundle", "create", "--coarse", coarse_results, "--fine", fine_results, "--out", tmp_path / "b"]
    options = ["--inputs", tmp_path / "m.csv", "--disagreement", tmp_path / "m.csv"]
    assert run_command([str(word) for word in (*command, *options)]) == 0
    with Bundle.open(tmp_path / "b") as made:
        assert made.inputs is not None
        assert made.inputs.ranges["disagreement_ml"] == pytest.approx((low, high), rel=0.01)  # whatever runs them
        assert "slice_mm" in made.inputs.ranges
    with (
        Bundle.open(make_bundle(folds=("0",), out=tmp_path / "one")) as single,
        raises_error(InputError, "single-network"),
    ):
        measure_disagreement(tmp_path / "m.csv", single, device="cpu")


def test_the_series_that_a_manifest_names_is_the_one_that_is_read(
    make_ct: Callable[..., Volume], bundle: Bundle, tmp_path: Path
) -> None:
    write_volume(make_ct((40, 36, 20), seed=1), tmp_path / "1.nrrd")
    (tmp_path / "m.csv").write_text("case,image,series\na,1.nrrd,1.2.3\n")
    with raises_error(InputError, "series-of-a-file", "DICOM"):
        measure_disagreement(tmp_path / "m.csv", bundle, device="cpu")
