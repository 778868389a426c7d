from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from twintrack.training.losses import (  # noqa: E402
    NOT_READ,
    RaterLoss,
    Reading,
    dice_loss,
    ranked_probability_score,
    soft_cross_entropy,
)
from twintrack.training.strategies import Layout, Strategy  # noqa: E402

RATERS = tuple("ABCDE")
ANATOMY = ("pancreas", "smv")


def scored(levels: list[float], marked: int) -> float:
    """The score of one voxel whose levels have these probabilities, of which `marked` raters marked it."""
    raters = len(levels) - 1
    cumulative = torch.tensor([float(marked <= k) for k in range(raters)])
    return float(ranked_probability_score(torch.tensor(levels)[None, :, None], cumulative[None, :, None]))


def random_levels(rng: np.random.Generator, count: int, raters: int = 5) -> torch.Tensor:
    return torch.tensor(rng.dirichlet(np.ones(raters + 1), count))


def prepared(drawn: list[list[int]], anatomy: list[int]) -> torch.Tensor:
    """One sample (1, 1 + rater, 1, 1, voxel) of what each rater marked, and what lies at each voxel."""
    return torch.tensor([anatomy, *drawn], dtype=torch.int16)[None, :, None, None, :]


def confident(channels: list[int], count: int) -> torch.Tensor:
    """Logits (1, channel, 1, 1, voxel) that are sure of one channel at each voxel."""
    logits = torch.full((1, count, 1, 1, len(channels)), -20.0)
    for voxel, channel in enumerate(channels):
        logits[0, channel, 0, 0, voxel] = 20.0
    return logits


@pytest.mark.parametrize(
    ("levels", "marked", "expected"),
    [
        ([1.0, 0, 0, 0, 0, 0], 5, 1.0),
        ([0, 0, 0, 1.0, 0, 0], 3, 0.0),
        ([1 / 6] * 6, 0, 55 / 180),
        ([0.3, 0.7], 1, 0.09),  # one rater: the Brier score
    ],
)
def test_the_ranked_probability_score_of_cases_that_can_be_counted(levels, marked, expected):
    assert scored(levels, marked) == pytest.approx(expected, abs=1e-6)


def test_the_ranked_probability_score_is_the_mean_brier_score_of_more_than_k_raters():
    rng = np.random.default_rng(0)
    levels = random_levels(rng, 50).numpy()
    marked = rng.integers(0, 6, 50)
    for p, n in zip(levels, marked, strict=True):
        brier = [(p[k + 1 :].sum() - (n > k)) ** 2 for k in range(5)]
        assert scored(p.tolist(), int(n)) == pytest.approx(np.mean(brier), abs=1e-6)
        assert scored(p[::-1].tolist(), int(5 - n)) == pytest.approx(np.mean(brier), abs=1e-6)


def test_the_expected_ranked_probability_score_is_least_at_the_true_distribution():
    rng = np.random.default_rng(1)
    truth = random_levels(rng, 1)[0].numpy()

    def expected(p: np.ndarray) -> float:
        return sum(chance * scored(p.tolist(), n) for n, chance in enumerate(truth))

    least = expected(truth)
    assert all(expected(other.numpy()) > least for other in random_levels(rng, 300))


def test_gradients_of_the_score_are_those_of_differences():
    levels = random_levels(np.random.default_rng(2), 4).T[None].double().requires_grad_()
    cumulative = (torch.arange(5)[None, :, None] >= torch.tensor([0, 2, 3, 5])).double()
    assert torch.autograd.gradcheck(lambda p: ranked_probability_score(p, cumulative), (levels,))


@pytest.mark.parametrize("seed", range(3))
def test_on_masks_the_dice_loss_is_that_of_nnunet(seed):
    dice = pytest.importorskip("nnunetv2.training.loss.dice")
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.rand((2, 4, 3, 5, 5), generator=generator).softmax(1)
    target = torch.nn.functional.one_hot(torch.randint(0, 4, (2, 3, 5, 5), generator=generator), 4).movedim(-1, 1)
    theirs = dice.MemoryEfficientSoftDiceLoss(apply_nonlin=None, batch_dice=True, do_bg=True, smooth=1e-5, ddp=False)
    assert float(dice_loss(probabilities, target.float())) == pytest.approx(
        1 + float(theirs(probabilities, target.float())), abs=1e-5
    )


def test_on_fractions_the_dice_loss_is_least_at_the_fraction_and_nnunets_is_not():
    target = torch.tensor([0.2, 0.4, 0.6, 0.8, 1.0]).view(1, 1, 1, 1, 5)
    at_target, thresholded = target.clone(), (target > 0.3).float()
    assert float(dice_loss(at_target, target)) == pytest.approx(0, abs=1e-6)
    assert float(dice_loss(thresholded, target)) > 0.1

    def usual(x: torch.Tensor) -> float:
        return float(1 - 2 * (x * target).sum() / (x.sum() + target.sum()))

    assert usual(thresholded) < usual(at_target)


def test_the_cross_entropy_of_fractions_is_least_at_the_fractions():
    target = torch.tensor([0.3, 0.7]).view(1, 2, 1, 1, 1)
    entropy = float(soft_cross_entropy(target.log(), target))
    assert entropy == pytest.approx(-(0.3 * np.log(0.3) + 0.7 * np.log(0.7)), abs=1e-6)
    for p in (0.1, 0.25, 0.35, 0.9):
        assert float(soft_cross_entropy(torch.tensor([p, 1 - p]).log().view(1, 2, 1, 1, 1), target)) > entropy


def test_who_did_not_read_does_not_count():
    reading = Reading.of(prepared([[1, 1, 0], [1, 0, 0], [NOT_READ] * 3], [0, 2, 2]))
    assert reading.response.flatten().tolist() == [1.0, 0.5, 0.0]
    assert reading.counts[1].flatten().tolist() == [2, 2, 2]


def test_label_sampling_draws_each_reader_of_the_case_as_often_and_nobody_else():
    reading = Reading.of(prepared([[0], [0], [NOT_READ], [1], [0]], [0]).repeat(12_000, 1, 1, 1, 1))
    torch.manual_seed(3)
    counts = np.bincount(reading.draw_raters().numpy(), minlength=5)
    assert counts[2] == 0
    sigma = np.sqrt(12_000 * 0.25 * 0.75)
    assert np.abs(counts[[0, 1, 3, 4]] - 3000).max() < 4 * sigma


def loss_of(strategy: Strategy, logits: torch.Tensor, segmentation: torch.Tensor, rater: int | None = None) -> float:
    return float(RaterLoss(Layout(strategy, RATERS, ANATOMY), (1.0,), rater)(logits, segmentation))


SEGMENTATION = prepared(
    [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0]], [2, 2, 2, 3, 0]
)
"""Five raters: all mark the first voxel, two the second; below lies pancreas, then a vessel, then nothing."""


@pytest.mark.parametrize(
    ("strategy", "rater", "right", "wrong"),
    [
        (Strategy.SINGLE, 0, [1, 1, 2, 3, 0], [1, 2, 2, 3, 0]),
        (Strategy.RATER_SPECIFIC, 4, [1, 2, 2, 3, 0], [1, 1, 2, 3, 0]),
        (Strategy.MAJORITY, None, [1, 2, 2, 3, 0], [1, 1, 2, 3, 0]),
        (Strategy.ORDINAL, None, [5, 2, 6, 7, 0], [5, 3, 6, 7, 0]),
        (Strategy.ORDINAL, None, [5, 2, 6, 7, 0], [5, 2, 7, 6, 0]),
    ],
)
def test_a_sure_and_right_network_has_no_loss_and_a_wrong_one_has(strategy, rater, right, wrong):
    count = Layout(strategy, RATERS, ANATOMY).channels
    assert loss_of(strategy, confident(right, count), SEGMENTATION, rater) == pytest.approx(0, abs=1e-3)
    assert loss_of(strategy, confident(wrong, count), SEGMENTATION, rater) > 0.05


def test_soft_training_leaves_to_what_lies_there_what_raters_do_not_mark():
    target = torch.tensor([[0, 1, 0, 0], [0, 0.4, 0.6, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]])
    logits = (target.T[None, :, None, None, :] + 1e-9).log()
    at_target = loss_of(Strategy.SOFT, logits, SEGMENTATION)
    entropy = -(0.4 * np.log(0.4) + 0.6 * np.log(0.6)) / 5
    assert at_target == pytest.approx(entropy, abs=1e-3)
    generator = torch.Generator().manual_seed(4)
    for _ in range(20):
        moved = logits + 0.5 * torch.randn(logits.shape, generator=generator)
        assert loss_of(Strategy.SOFT, moved, SEGMENTATION) > at_target


def test_with_readers_missing_the_ordinal_target_is_their_fraction():
    everybody = prepared([[1], [1], [0], [0]], [2])
    half = prepared([[1], [0], [NOT_READ], [NOT_READ]], [2])
    layout = Layout(Strategy.ORDINAL, RATERS[:4], ANATOMY)
    logits = torch.randn((1, layout.channels, 1, 1, 1), generator=torch.Generator().manual_seed(5))
    both = [float(RaterLoss(layout, (1.0,))(logits, each)) for each in (everybody, half)]
    assert both[0] == pytest.approx(both[1], abs=1e-6)


def test_heads_learn_nothing_of_a_case_that_their_rater_did_not_read():
    segmentation = SEGMENTATION.clone()
    segmentation[:, 3] = NOT_READ
    layout = Layout(Strategy.HEADS, RATERS, ANATOMY)
    logits = torch.zeros((1, layout.channels, 1, 1, 5), requires_grad=True)
    RaterLoss(layout, (1.0,))(logits, segmentation).backward()
    moved = logits.grad.abs().sum((0, 2, 3, 4)) > 0
    assert moved.tolist() == [True, True, False, True, True, True, True]


def test_levels_of_independent_raters_read_out_as_their_chance():
    pi = torch.tensor([0.1, 0.5, 0.85])
    binomial = torch.distributions.Binomial(5, pi)
    levels = torch.stack([binomial.log_prob(torch.tensor(float(k))) for k in range(6)])
    logits = torch.cat((levels, torch.full((2, 3), -60.0)))[None, :, None, None, :]
    found = RaterLoss(Layout(Strategy.ORDINAL, RATERS, ANATOMY), (1.0,)).readout(logits)
    assert found.flatten().tolist() == pytest.approx(pi.tolist(), abs=1e-5)


def test_heads_read_out_as_the_mean_of_the_raters():
    logits = torch.logit(torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.9, 0.9])).view(1, 7, 1, 1, 1)
    found = RaterLoss(Layout(Strategy.HEADS, RATERS, ANATOMY), (1.0,)).readout(logits)
    assert float(found.flatten()[0]) == pytest.approx(0.3, abs=1e-6)


def test_resolutions_weigh_as_they_are_told_and_a_weight_of_zero_is_left_out():
    layout = Layout(Strategy.SOFT, RATERS, ANATOMY)
    fine = torch.randn((1, layout.channels, 1, 1, 5), generator=torch.Generator().manual_seed(6))
    one = RaterLoss(layout, (1.0,))(fine, SEGMENTATION)
    broken = torch.full_like(fine, float("nan"))
    both = RaterLoss(layout, (0.75, 0.0))([fine, broken], [SEGMENTATION, SEGMENTATION])
    assert float(both) == pytest.approx(0.75 * float(one), abs=1e-6)
