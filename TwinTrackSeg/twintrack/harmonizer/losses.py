"""What the network is trained on: Dice with cross-entropy, and the energy distance of samples from raters (eq. 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["energy_loss", "mask_distance", "mean_distance", "segmentation_loss"]

SMOOTH = 1e-5
"""Added to denominators: two empty masks do not differ."""


def mask_distance(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return ``1 - IoU`` of masks in [0, 1] over their last three axes; of two empty ones 0.

    ``sum |p - q| / sum max(p, q)``: for masks of 0 and 1 that is ``1 - IoU``, and for others it is 0 only where both
    are equal. With products, ``1 - sum p q / sum (p + q - p q)``, a blurred mask lies apart from itself, and the
    diversity of equation 7 is won by blurring.

    References
    ----------
    Z. Wang et al., "Jaccard metric losses", NeurIPS 2023, arXiv:2302.05666.
    """
    import torch

    apart = (one - other).abs().sum((-3, -2, -1))
    return apart / (torch.maximum(one, other).sum((-3, -2, -1)) + SMOOTH)


def energy_loss(samples: torch.Tensor, masks: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
    """Return equation 7 of each volume, (b): twice the distance to raters less the distance among samples.

    The distance among raters, a constant, is left out, as in the paper. The pairs of a sample with itself are too.

    Parameters
    ----------
    samples : torch.Tensor
        (b, k, z, y, x) in [0, 1], at least two samples.
    masks : torch.Tensor
        (b, n, z, y, x), 0 or 1.
    read : torch.Tensor
        (b, n), whether the rater read the volume.
    """
    read = read.to(samples.dtype)
    to_raters = mask_distance(samples[:, :, None], masks[:, None])
    fidelity = (to_raters.mean(1) * read).sum(1) / read.sum(1).clamp(min=1)
    return 2 * fidelity - mean_distance(samples)


def mean_distance(masks: torch.Tensor) -> torch.Tensor:
    """Return the mean distance of two different masks of each volume, (b), of (b, k, z, y, x) with k > 1."""
    import torch

    first, second = torch.triu_indices(masks.shape[1], masks.shape[1], offset=1, device=masks.device)
    return mask_distance(masks[:, first], masks[:, second]).mean(1)


def segmentation_loss(logits: torch.Tensor, masks: torch.Tensor, known: torch.Tensor | None = None) -> torch.Tensor:
    """Return cross-entropy and Dice, each over the whole batch, of one column of masks after the other.

    Parameters
    ----------
    logits, masks : torch.Tensor
        (b, n, z, y, x).
    known : torch.Tensor, optional
        (b, n), whether the mask counts.

    Returns
    -------
    torch.Tensor
        (n).
    """
    from torch.nn import functional

    entropy = functional.binary_cross_entropy_with_logits(logits, masks, reduction="none").mean((-3, -2, -1))
    chances = logits.sigmoid()
    shared, total = (chances * masks).sum((-3, -2, -1)), (chances + masks).sum((-3, -2, -1))
    if known is None:
        return entropy.mean(0) + 1 - (2 * shared.sum(0) + SMOOTH) / (total.sum(0) + SMOOTH)
    weight = known.to(logits.dtype)
    entropy = (entropy * weight).sum(0) / weight.sum(0).clamp(min=1)
    dice = (2 * (shared * weight).sum(0) + SMOOTH) / ((total * weight).sum(0) + SMOOTH)
    return entropy + 1 - dice
