from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from expected_errors import raises_error

from twintrack.errors import Cancelled, InputError
from twintrack.progress.callbacks import CancelToken
from twintrack.training import EnsemblePlan, Layout, Prepared, Strategy, plan_members, prepare_tumor, train_members

from .small_cases import TINIEST, ball_case

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

pytestmark = [pytest.mark.network, pytest.mark.slow]


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


def plan_of(prepared: Prepared, strategy: Strategy, **changes: object) -> EnsemblePlan:
    layout = Layout(strategy, prepared.raters, prepared.anatomy)
    members = plan_members(strategy, prepared.raters, rater=None, members=1)
    return EnsemblePlan(layout, members, TINIEST, **changes)


def weights(folder: Path, fold: str = "0") -> dict[str, object]:
    from twintrack.bundle.checkpoints import read_checkpoint

    return read_checkpoint(folder / f"fold_{fold}" / "checkpoint_final.pth")["network_weights"]


def same(one: dict[str, object], other: dict[str, object]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def logged(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(encoding="utf-8") as stream:
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(stream)]


@pytest.fixture(scope="module")
def whole(balls, tmp_path_factory) -> Path:
    torch.set_num_threads(1)
    return train_members(balls, plan_of(balls, Strategy.LABEL_SAMPLING), tmp_path_factory.mktemp("whole"), device="cpu")


class Killed(BaseException):
    """What no part of the program catches."""


@pytest.mark.parametrize("step", [3, 4, 5])
def test_a_training_that_was_killed_and_goes_on_gives_the_uninterrupted_one(balls, whole, tmp_path, step):
    """Killed in the first, second or last step of an epoch, of two steps each."""
    plan, steps = plan_of(balls, Strategy.LABEL_SAMPLING), 0

    def kill(fraction: float, text: str) -> None:
        nonlocal steps
        steps += 1
        if steps == step:
            raise Killed

    with pytest.raises(Killed):
        train_members(balls, plan, tmp_path, device="cpu", progress=kill)
    assert not (tmp_path / "fold_0" / "checkpoint_final.pth").exists()
    assert len(logged(tmp_path)) == (step - 1) // 2
    torch.manual_seed(999)  # a new process has other random numbers
    train_members(balls, plan, tmp_path, device="cpu")
    assert same(weights(tmp_path), weights(whole))
    assert logged(tmp_path) == logged(whole)


def test_another_seed_gives_other_weights(balls, whole, tmp_path):
    other = train_members(balls, plan_of(balls, Strategy.LABEL_SAMPLING, seed=1), tmp_path, device="cpu")
    assert not same(weights(other), weights(whole))


def test_what_is_complete_is_not_trained_again(balls, whole):
    before = (whole / "fold_0" / "checkpoint_final.pth").stat().st_mtime_ns
    train_members(balls, plan_of(balls, Strategy.LABEL_SAMPLING), whole, device="cpu")
    assert (whole / "fold_0" / "checkpoint_final.pth").stat().st_mtime_ns == before


@pytest.mark.parametrize("strategy", [Strategy.SOFT, Strategy.ORDINAL, Strategy.HEADS])
def test_a_network_learns_what_its_strategy_says(balls, tmp_path, strategy):
    plan = replace(plan_of(balls, strategy), stage=replace(TINIEST, epochs=6, iterations=10, rate=1e-2))
    rows = logged(train_members(balls, plan, tmp_path, device="cpu"))
    assert float(rows[-1]["loss"]) < 0.85 * float(rows[0]["loss"])
    assert (tmp_path / "loss.png").stat().st_size > 1000


def test_networks_of_raters_learn_from_the_cases_that_the_rater_read(balls, tmp_path):
    plan = plan_of(balls, Strategy.RATER_SPECIFIC)
    plan = replace(plan, stage=replace(TINIEST, epochs=1, iterations=1))
    train_members(balls, plan, tmp_path, device="cpu")
    assert [member.rater for member in plan.members] == ["A", "B", "C"]
    first, second = weights(tmp_path, "0"), weights(tmp_path, "2")
    assert not same(first, second)
    unread = replace(balls, cases=balls.cases[2:])
    with raises_error(InputError, "rater-unknown", "C"):
        train_members(unread, replace(plan, members=plan.members[2:]), tmp_path / "c", device="cpu")


def test_the_time_that_is_given_ends_a_training_with_the_rate_near_zero(balls, tmp_path):
    plan = replace(plan_of(balls, Strategy.SOFT, max_minutes=0.02), stage=replace(TINIEST, epochs=10_000, rate=1e-3))
    rows = logged(train_members(balls, plan, tmp_path, device="cpu"))
    assert 1 < len(rows) < 1000
    assert float(rows[-1]["rate"]) < 0.4e-3
    assert weights(tmp_path)


def test_cancelling_leaves_what_is_done(balls, tmp_path):
    cancel = CancelToken()

    def stop(fraction: float, text: str) -> None:
        if "epoch 2" in text:
            cancel.cancel()

    with pytest.raises(Cancelled):
        train_members(balls, plan_of(balls, Strategy.SOFT), tmp_path, device="cpu", progress=stop, cancel=cancel)
    assert (tmp_path / "fold_0" / "checkpoint_epoch.pth").is_file()


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan")])
def test_without_its_binary_part_the_ordinal_loss_is_refused(balls, weight):
    with raises_error(InputError, "ordinal-weight", "--ordinal-weight"):
        plan_of(balls, Strategy.ORDINAL, ordinal_weight=weight)


def test_checkpoints_are_what_the_safe_reader_of_bundles_takes(whole):
    from twintrack.bundle.checkpoint_file import check_checkpoint

    check_checkpoint(whole / "fold_0" / "checkpoint_final.pth", foreign=False)
