from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.errors import Cancelled, InputError
from twintrack.progress.callbacks import CancelToken
from twintrack.training import (
    HARMONIZER_PRESETS,
    HarmonizerPlan,
    HarmonizerSettings,
    Layout,
    Prepared,
    Strategy,
    prepare_tumor,
    train_harmonizer,
)
from twintrack.training.harmonizer import HarmonizerEpoch, training_alarms
from twintrack.training.harmonizer_steps import personal_loss, shared_loss
from twintrack.training.slice_stacks import StackSource

from .small_cases import TINIEST, ball_case

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

pytestmark = [pytest.mark.network, pytest.mark.slow]

SHORT = HarmonizerSettings(
    replace(TINIEST, epochs=2, iterations=2, patch_size=(2, 16, 16)), personal_epochs=1, samples=2, bank=4
)


@pytest.fixture(scope="module")
def balls(tmp_path_factory) -> Prepared:
    cases = [ball_case(0), ball_case(1), ball_case(2, ("A", "B"))]
    return prepare_tumor(cases, tmp_path_factory.mktemp("balls") / "cases", TINIEST)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def plan_of(prepared: Prepared, settings: HarmonizerSettings = SHORT, seed: int = 0) -> HarmonizerPlan:
    return HarmonizerPlan(Layout(Strategy.HARMONIZER, prepared.raters, prepared.anatomy), settings, seed)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from twintrack.bundle.checkpoints import read_checkpoint

    return read_checkpoint(folder / "fold_0" / "checkpoint_final.pth")["network_weights"]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def logged(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(encoding="utf-8") as stream:
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(stream)]


@pytest.fixture(scope="module")
def whole(balls, tmp_path_factory) -> Path:
    torch.set_num_threads(1)
    return train_harmonizer(balls, plan_of(balls), tmp_path_factory.mktemp("whole"), device="cpu").folder


class Killed(BaseException):
    """What no part of the program catches."""


@pytest.mark.parametrize("step", [2, 3, 5, 6])
def test_a_training_that_was_killed_and_goes_on_gives_the_uninterrupted_one(balls, whole, tmp_path, step):
    """Killed within an epoch of either phase, or at the first step of one."""
    steps = 0

    def kill(fraction: float, text: str) -> None:
        nonlocal steps
        steps += 1
        if steps == step:
            raise Killed

    with pytest.raises(Killed):
        train_harmonizer(balls, plan_of(balls), tmp_path, device="cpu", progress=kill)
    assert not (tmp_path / "fold_0" / "checkpoint_final.pth").exists()
    torch.manual_seed(999)  # a new process has other random numbers
    train_harmonizer(balls, plan_of(balls), tmp_path, device="cpu")
    assert same(weights(tmp_path), weights(whole))
    assert logged(tmp_path) == logged(whole)


def test_another_seed_gives_other_weights(balls, whole, tmp_path):
    other = train_harmonizer(balls, plan_of(balls, seed=1), tmp_path, device="cpu").folder
    assert not same(weights(other), weights(whole))


def test_the_second_phase_changes_the_personalizer_alone(balls, whole, tmp_path):
    first: dict[str, torch.Tensor] = {}

    def stop(fraction: float, text: str) -> None:
        if text.startswith("phase 2"):
            raise Cancelled

    with pytest.raises(Cancelled):
        train_harmonizer(balls, plan_of(balls), tmp_path, device="cpu", progress=stop)
    first = torch.load(tmp_path / "fold_0" / "checkpoint_epoch.pth", weights_only=True)["network_weights"]
    last = weights(whole)
    changed = {name.split(".")[0] for name in last if not torch.equal(first[name], last[name])}
    assert changed == {"personalizer"}


def test_both_losses_fall(balls, tmp_path):
    settings = replace(SHORT.shortened(10, 6, 12), personal_rate=1e-2)
    rows = logged(train_harmonizer(balls, plan_of(balls, settings), tmp_path, device="cpu").folder)
    for phase, least in (("1.0", 0.8), ("2.0", 0.98)):
        losses = [float(row["loss"]) for row in rows if row["phase"] == phase]
        assert min(losses[1:]) < least * losses[0]


def test_a_loss_that_is_no_number_ends_the_training_and_keeps_the_last_good_checkpoint(balls, tmp_path):
    plan = plan_of(balls, replace(SHORT, stage=replace(SHORT.stage, epochs=6)))

    def spoil(fraction: float, text: str) -> None:
        if "epoch 2 " in text:
            for path in balls.arrays.glob("case_?????.npy"):
                image = np.load(path)
                np.save(path, np.full_like(image, np.nan))

    kept = {path: path.read_bytes() for path in balls.arrays.iterdir()}
    try:
        with raises_error(InputError, "training-diverged", path=tmp_path / "fold_0" / "checkpoint_epoch.pth"):
            train_harmonizer(balls, plan, tmp_path, device="cpu", progress=spoil)
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
    assert len(logged(tmp_path)) == 1
    run = train_harmonizer(balls, plan, tmp_path, device="cpu")
    assert len(run.log) == 7
    assert all(math.isfinite(epoch.loss) for epoch in run.log)


def test_cancelling_ends_at_the_next_step(balls, tmp_path):
    token = CancelToken()
    with pytest.raises(Cancelled):
        train_harmonizer(
            balls, plan_of(balls), tmp_path, device="cpu", progress=lambda *told: token.cancel(), cancel=token
        )


def epoch(**changes: float) -> HarmonizerEpoch:
    numbers = {"phase": 1, "rate": 1e-3, "loss": 1.0, "segmentation": 0.5, "kl": 4.0, "penalty": 0.0, "energy": 0.5}
    numbers |= {"modulation": 0.1, "sample_diversity": 0.2, "rater_diversity": 0.3, "seconds": 1.0}
    return HarmonizerEpoch(**(numbers | changes))


def test_alarms_say_what_went_wrong():
    personal = epoch(phase=2, sample_diversity=0.0)
    assert training_alarms([epoch(), personal], SHORT) == ()
    (collapse,) = training_alarms([epoch(sample_diversity=0.029), personal], SHORT)
    assert "posterior collapse" in collapse
    assert "0.029" in collapse
    assert training_alarms([epoch(sample_diversity=0.031)], SHORT) == ()
    idle = epoch(modulation=0.5, penalty=30.0)  # 0.9 % of the loss
    (penalty,) = training_alarms([idle], SHORT)
    assert "penalty does nothing" in penalty
    assert training_alarms([idle], replace(SHORT, penalty_weight=3e-3)) == ()
    assert training_alarms([epoch(sample_diversity=math.nan, rater_diversity=math.nan)], SHORT) == ()


def test_stacks_hold_what_raters_drew_and_who_read(balls):
    source = StackSource(balls, balls.cases, (2, 16, 16), 4, "cpu")
    stacks = source.draw(np.random.default_rng(0), 12, augment=False)
    assert stacks.image.shape == (12, 2, 16, 16)
    assert stacks.masks.shape == (12, 3, 2, 16, 16)
    assert set(stacks.masks.unique().tolist()) == {0.0, 1.0}
    assert stacks.read.all(1).any()
    assert not stacks.read.all(1).all()  # rater C did not read the last case
    assert not stacks.masks[~stacks.read].any()
    nested = stacks.masks[stacks.read.all(1)]
    assert bool((nested[:, 0] <= nested[:, 1]).all())
    assert bool((nested[:, 1] <= nested[:, 2]).all())
    again = StackSource(balls, balls.cases, (2, 16, 16), 4, "cpu").draw(np.random.default_rng(0), 12, augment=False)
    assert torch.equal(again.image, stacks.image)
    assert int(stacks.anatomy.max()) == len(balls.anatomy)


def test_a_stack_has_slices_of_all_of_its_reach_each_once(balls):
    source = StackSource(balls, balls.cases, (3, 16, 16), 7, "cpu")
    rng = np.random.default_rng(0)
    drawn = [source._slices(10, 30, rng) for _ in range(200)]
    assert all(stack == sorted(set(stack)) and 10 in stack for stack in drawn)
    assert {number for stack in drawn for number in stack} == set(range(7, 14))
    assert all(set(source._slices(0, 2, rng)) <= {0, 1} for _ in range(20))  # a volume of fewer slices than a stack


def test_where_nobody_marked_anything_samples_are_drawn_to_nothing(balls):
    from twintrack.harmonizer import HarmonizerNetwork

    torch.manual_seed(0)
    network = HarmonizerNetwork(SHORT.architecture(balls.raters), 1 + len(balls.anatomy))
    stacks = StackSource(balls, balls.cases, (2, 16, 16), 4, "cpu").draw(np.random.default_rng(0), 4)
    stacks = replace(stacks, masks=torch.zeros_like(stacks.masks))
    bias = network.combine.third.bias
    energies = []
    for shift in (-2.0, 0.0, 2.0):
        torch.manual_seed(1)
        with torch.no_grad():
            bias.fill_(shift)
        energies.append(shared_loss(network, stacks, SHORT)["energy"].item())
    assert 0 < energies[0] < energies[1] < energies[2]
    assert shared_loss(network, stacks, replace(SHORT, energy_weight=0.0))["energy"].item() == 0.0


def test_readers_begin_apart(balls):
    from twintrack.harmonizer import HarmonizerNetwork

    torch.manual_seed(0)
    network = HarmonizerNetwork(SHORT.architecture(balls.raters), 1 + len(balls.anatomy))
    features, bank = torch.randn(1, SHORT.stage.features[0], 16, 16), torch.zeros(1, 4, SHORT.latent)
    with torch.no_grad():
        apart = network.personalizer(features, bank)[0]
        network.personalizer.of_rater.fill_(1.0)
        alike = network.personalizer(features, bank)[0]
    assert torch.allclose(alike[0], alike[1], atol=1e-6)
    assert float((apart[0] - apart[1]).abs().max()) > 1e-4


def test_a_rater_who_did_not_read_has_no_part_in_a_loss(balls):
    from twintrack.harmonizer import HarmonizerNetwork

    torch.manual_seed(0)
    network = HarmonizerNetwork(SHORT.architecture(balls.raters), 1 + len(balls.anatomy))
    source = StackSource(balls, balls.cases[2:], (2, 16, 16), 4, "cpu")
    stacks = source.draw(np.random.default_rng(0), 4)
    masks = stacks.masks.clone()
    masks[:, 2] = 1 - masks[:, 2]
    for step in (shared_loss, personal_loss):
        losses = []
        for each in (stacks, replace(stacks, masks=masks)):
            torch.manual_seed(1)
            losses.append(step(network, each, SHORT)["loss"].item())
        assert losses[0] == losses[1]


def test_the_presets_are_networks_that_a_bundle_may_hold(balls):
    from twintrack.bundle.slice_architecture import read_slice_architecture
    from twintrack.training.harmonizer import SLICES, harmonizer_plans

    for settings in HARMONIZER_PRESETS.values():
        plans = harmonizer_plans(balls, settings)
        found = read_slice_architecture(plans["configurations"][SLICES], "plans.json")
        assert found == settings.architecture(balls.raters)
