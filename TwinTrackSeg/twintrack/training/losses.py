"""Losses of the strategies: targets that are fractions of raters, levels of agreement, or one mask a rater.

Everything takes tensors whose first axes are (sample, channel) and whose others are space, here written (z, y, x).

References
----------
Z. Wang et al., "Dice semimetric losses", MICCAI 2023, arXiv:2303.16296 (a Dice loss that is least at a soft target);
E. S. Epstein, J. Appl. Meteorol. 8 (1969) 985 (ranked probability score); the ordinal objective after
arXiv:2605.02437, whose weights are not published: see ADR 47.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twintrack.training.strategies import Layout, Strategy

if TYPE_CHECKING:
    import torch

__all__ = [
    "NOT_READ",
    "RaterLoss",
    "Reading",
    "dice_loss",
    "ranked_probability_score",
    "soft_cross_entropy",
    "squared_dice_loss",
]

NOT_READ = 100
"""Value of a rater's prepared mask where the rater did not read the case; no label has it."""

FIRST_ANATOMY = 2
"""Value of the first label of the prepared anatomy map; 1 is tumour, in the raters' masks."""

SMOOTH = 1e-5
"""Added above and below, as nnU-Net does: a class that nobody sees has no error."""


def soft_cross_entropy(
    log_probabilities: torch.Tensor, target: torch.Tensor, known: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the mean over voxels of ``-sum_c target log p``.

    Parameters
    ----------
    log_probabilities, target : torch.Tensor
        (b, c, z, y, x); `target` sums to 1 over the channels.
    known : torch.Tensor, optional
        (b, z, y, x), true for the voxels that count.
    """
    each = -(target * log_probabilities).sum(1)
    return each.mean() if known is None else (each * known).sum() / known.sum().clamp(min=1)


def squared_dice_loss(probabilities: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return ``sum_x (x - y)^2 / sum_x (x^2 + y^2)``, over the whole batch, averaged over the channels.

    For a target that is a fraction and not certain: the squared difference is least on average at the mean of what may
    be true, where `dice_loss` is least at the median, which makes maps sharper than raters are.

    Parameters
    ----------
    probabilities, target : torch.Tensor
        (b, c, z, y, x) in [0, 1].

    References
    ----------
    F. Milletari, N. Navab, S.-A. Ahmadi, V-Net, 3DV 2016, doi:10.1109/3DV.2016.79 (squared denominators).
    """
    axes = (0, *range(2, probabilities.ndim))
    apart = ((probabilities - target) ** 2).sum(axes)
    return (apart / ((probabilities**2 + target**2).sum(axes) + SMOOTH)).mean()


def dice_loss(probabilities: torch.Tensor, target: torch.Tensor, known: torch.Tensor | None = None) -> torch.Tensor:
    """Return 1 minus the Dice of fractions, over the whole batch, averaged over the channels.

    With ``2 |x y|`` written as ``|x| + |y| - |x - y|`` it is nnU-Net's soft Dice where `target` is 0 or 1, and
    elsewhere least at ``x = y``, where the usual form is least at 0 or 1.

    Parameters
    ----------
    probabilities, target : torch.Tensor
        (b, c, z, y, x) in [0, 1].
    known : torch.Tensor, optional
        As them, or (b, 1, z, y, x); true for what counts.
    """
    axes = (0, *range(2, probabilities.ndim))
    if known is not None:
        probabilities, target = probabilities * known, target * known
    total = probabilities.sum(axes) + target.sum(axes)
    apart = (probabilities - target).abs().sum(axes)
    return 1 - ((total - apart + SMOOTH) / (total + SMOOTH)).mean()


def ranked_probability_score(levels: torch.Tensor, cumulative: torch.Tensor) -> torch.Tensor:
    """Return ``sum_k (F_k - G_k)^2 / K`` over ``k = 0 .. K - 1``, averaged over voxels: 0 is best, 1 worst.

    It is the mean over k of the Brier score of the event "more than k raters".

    Parameters
    ----------
    levels : torch.Tensor
        (b, K + 1, z, y, x), probability of 0 to K raters; F is their cumulative sum.
    cumulative : torch.Tensor
        (b, K, z, y, x), G, the same of the target: 1 where at most k raters marked the voxel.
    """
    found = levels[:, :-1].cumsum(1)
    return ((found - cumulative) ** 2).mean()


@dataclass(frozen=True)
class Reading:
    """What raters marked in a batch, as prepared cases hold it.

    Attributes
    ----------
    anatomy : torch.Tensor
        (b, z, y, x), whole numbers: 0, or a label from `FIRST_ANATOMY` on.
    drawn, read : torch.Tensor
        (b, rater, z, y, x), boolean: marked as tumour, and looked at.
    """

    anatomy: torch.Tensor
    drawn: torch.Tensor
    read: torch.Tensor

    @classmethod
    def of(cls, segmentation: torch.Tensor) -> Reading:
        """Divide the prepared channels (b, 1 + rater, z, y, x)."""
        marks = segmentation[:, 1:]
        return cls(segmentation[:, 0].long(), marks == 1, marks != NOT_READ)

    @property
    def counts(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Number of raters who marked, and who read, each voxel; (b, z, y, x), the latter at least 1."""
        return self.drawn.sum(1), self.read.sum(1).clamp(min=1)

    @property
    def response(self) -> torch.Tensor:
        """Fraction of those who read the voxel that marked it."""
        marked, readers = self.counts
        return marked / readers

    def draw_raters(self) -> torch.Tensor:
        """Draw one of its readers for each sample, each as likely; (b,). Random numbers are those of the CPU."""
        import torch

        readers = self.read.flatten(2).float().mean(2) > 0.5  # padding counts as read by everybody
        return torch.multinomial((readers.float() + 1e-9).cpu(), 1)[:, 0].to(self.drawn.device)


@dataclass(frozen=True)
class RaterLoss:
    """The loss of a strategy over the outputs of all resolutions.

    Attributes
    ----------
    layout : Layout
        What the outputs mean.
    scales : tuple of float
        Weight of each resolution, finest first.
    rater : int or None
        Whose masks are the target, of a strategy with one rater.
    ordinal_weight : float
        Weight of the binary part beside the ranked probability score.
    """

    layout: Layout
    scales: tuple[float, ...]
    rater: int | None = None
    ordinal_weight: float = 1.0

    def __call__(
        self, outputs: Sequence[torch.Tensor] | torch.Tensor, targets: Sequence[torch.Tensor] | torch.Tensor
    ) -> torch.Tensor:
        """Return the loss of logits (b, c, ...) for prepared channels (b, 1 + rater, ...), of one or more scales."""
        import torch

        if isinstance(outputs, torch.Tensor):
            outputs, targets = [outputs], [targets]  # type: ignore[list-item]
        chosen = self._chosen(Reading.of(targets[0]))
        parts = [
            weight * self._at(logits.float(), Reading.of(target), chosen)
            for weight, logits, target in zip(self.scales, outputs, targets, strict=True)
            if weight > 0
        ]
        return torch.stack(parts).sum()

    def readout(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the fraction of raters (b, z, y, x) that logits (b, c, z, y, x) stand for."""
        import torch

        first = int(not self.layout.overlapping)
        weights = torch.tensor(list(self.layout.tumor_weights.values()), device=logits.device)
        probabilities = logits.float().sigmoid() if self.layout.overlapping else logits.float().softmax(1)
        levels = probabilities[:, first : first + len(weights)]
        return torch.einsum("bc...,c->b...", levels, weights)

    def _chosen(self, reading: Reading) -> torch.Tensor | None:
        """Return the rater of each sample, where one is the target."""
        import torch

        if self.layout.strategy is Strategy.LABEL_SAMPLING:
            return reading.draw_raters()
        if self.rater is None:
            return None
        return torch.full((len(reading.drawn),), self.rater, device=reading.drawn.device)

    def _at(self, logits: torch.Tensor, reading: Reading, chosen: torch.Tensor | None) -> torch.Tensor:
        if self.layout.strategy is Strategy.HEADS:
            return self._heads(logits, reading)
        if self.layout.strategy is Strategy.ORDINAL:
            return self._ordinal(logits, reading)
        import torch

        if chosen is not None:
            rows = torch.arange(len(chosen), device=chosen.device)
            response = reading.drawn[rows, chosen].float()
        elif self.layout.strategy is Strategy.MAJORITY:
            response = (reading.response > 0.5).float()
        else:
            response = reading.response
        log_probabilities = logits.log_softmax(1)
        # What is not tumour keeps its label: the mass that the raters leave goes to what lies there.
        target = self._anatomy(reading, logits.shape[1]) * (1 - response[:, None])
        target[:, 1] = response
        overlap = squared_dice_loss if self.layout.strategy is Strategy.SOFT else dice_loss
        return soft_cross_entropy(log_probabilities, target) + overlap(log_probabilities.exp()[:, 1:], target[:, 1:])

    def _anatomy(self, reading: Reading, channels: int) -> torch.Tensor:
        """Return what lies at each voxel but for tumour, 0 or 1, by channel of the network."""
        import torch

        channel = (reading.anatomy + (self.layout.first_anatomy - FIRST_ANATOMY)) * (reading.anatomy > 0)
        return torch.nn.functional.one_hot(channel, channels).movedim(-1, 1).float()

    def _ordinal(self, logits: torch.Tensor, reading: Reading) -> torch.Tensor:
        """Return the ranked probability score of the levels, and the binary objective: majority or not, and anatomy.

        A voxel that a minority marked is in the binary objective "no tumour", whatever lies there: its own level and
        the anatomy are both right.
        """
        import torch

        raters = len(self.layout.raters)
        marked, readers = reading.counts
        log_probabilities = logits.log_softmax(1)
        probabilities = log_probabilities.exp()
        some = probabilities[:, 1 : raters + 1]
        levels = torch.cat((1 - some.sum(1, keepdim=True), some), 1)
        steps = torch.arange(raters, device=logits.device).view(1, -1, *[1] * (marked.ndim - 1))
        # n / m <= k / K, in whole numbers.
        cumulative = (marked[:, None] * raters <= steps * readers[:, None]).float()
        score = ranked_probability_score(levels, cumulative)

        high = raters // 2 + 1  # the first level above half
        majority = 2 * marked > readers
        anatomy = self._anatomy(reading, logits.shape[1])
        allowed = torch.where((marked == 0)[:, None], anatomy, torch.ones_like(anatomy))
        allowed[:, high : raters + 1] = 0
        allowed = torch.where(majority[:, None], _only(allowed, high, raters + 1), allowed)
        entropy = -(log_probabilities + allowed.log()).logsumexp(1).mean()
        merged = torch.cat(
            (probabilities[:, high : raters + 1].sum(1, keepdim=True), probabilities[:, raters + 1 :]), 1
        )
        wanted = torch.cat((majority[:, None].float(), anatomy[:, raters + 1 :] * (marked == 0)[:, None]), 1)
        return score + self.ordinal_weight * (entropy + dice_loss(merged, wanted))

    def _heads(self, logits: torch.Tensor, reading: Reading) -> torch.Tensor:
        """Return cross-entropy and Dice of every rater's own mask, where the rater read, and of the anatomy."""
        import torch

        raters = len(self.layout.raters)
        anatomy = self._anatomy_regions(reading, logits.shape[1])
        target = torch.cat((reading.drawn.float(), anatomy), 1)
        known = torch.cat((reading.read, torch.ones_like(anatomy, dtype=torch.bool)), 1)
        each = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        entropy = (each * known).sum() / known.sum().clamp(min=1)
        probabilities = logits.sigmoid()
        seen = known[:, :raters].flatten(2).any(2).any(0)  # of a rater without a case in the batch nothing is known
        kept = torch.cat((seen, seen.new_ones(logits.shape[1] - raters)))
        return entropy + dice_loss(probabilities[:, kept], target[:, kept], known[:, kept])

    def _anatomy_regions(self, reading: Reading, channels: int) -> torch.Tensor:
        """Return the anatomy's own channels of `_anatomy`, without a background in front."""
        import torch

        labels = channels - self.layout.first_anatomy
        shown = (reading.anatomy - (FIRST_ANATOMY - 1)).clamp(min=0)
        return torch.nn.functional.one_hot(shown, labels + 1).movedim(-1, 1)[:, 1:].float()


def _only(like: torch.Tensor, start: int, stop: int) -> torch.Tensor:
    import torch

    mask = torch.zeros_like(like)
    mask[:, start:stop] = 1
    return mask
