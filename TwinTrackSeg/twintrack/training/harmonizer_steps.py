"""One step of each phase of the strategy ``harmonizer``: what is lost, and what is measured on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twintrack.training.harmonizer_settings import HarmonizerSettings
from twintrack.training.slice_stacks import Stacks

if TYPE_CHECKING:
    import torch

    from twintrack.harmonizer import HarmonizerNetwork

__all__ = ["ANATOMY_WEIGHT", "diversity", "personal_loss", "sample_chances", "shared_loss"]

ANATOMY_WEIGHT = 0.5
"""Of the loss of the classes that are no matter of raters."""

Parts = dict[str, "torch.Tensor"]


def shared_loss(network: HarmonizerNetwork, stacks: Stacks, settings: HarmonizerSettings) -> Parts:
    """Return the parts of equation 8, of which ``loss`` is the weighted sum; random numbers are those of the CPU.

    A stack's code is drawn from the mean over its slices of the posterior, which sees the mask of one of its readers,
    for Dice and cross-entropy with that mask, and from the prior for the samples of the energy distance. Where nobody
    marked anything that distance is 1 for every mask but the empty one, and teaches nothing: there, samples have the
    cross-entropy with no tumour.
    """
    import torch
    from torch.nn import functional

    from twintrack.harmonizer import energy_loss, segmentation_loss
    from twintrack.harmonizer.latent import divergence

    depth, device = stacks.image.shape[1], stacks.image.device
    who = torch.multinomial(stacks.read.float().cpu() + 1e-9, 1)[:, 0].to(device)
    mask = stacks.masks[torch.arange(len(who), device=device), who]
    features = network.features(stacks.slices)
    prior = network.prior(stacks.slices).over_slices(depth)
    seen = torch.cat([stacks.slices, mask.flatten(0, 1)[:, None]], dim=1)
    posterior = network.posterior(seen).over_slices(depth)
    drawn = torch.randn(len(who), 1 + settings.samples, settings.latent).to(device)
    codes = torch.cat([posterior.sample(drawn[:, :1]), prior.sample(drawn[:, 1:])], dim=1)
    logits = _of_stacks(network.combine(features.maps, codes.repeat_interleave(depth, 0)), depth)
    parts = {
        "segmentation": segmentation_loss(logits[:, :1], mask[:, None])[0],
        "kl": divergence(posterior, prior).mean(),
        "penalty": features.penalty() if features.modulations else torch.zeros((), device=device),
        "energy": torch.zeros((), device=device),
    }
    told = stacks.drawn
    if settings.energy_weight and bool(told.any()):
        parts["energy"] = energy_loss(logits[told, 1:].sigmoid(), stacks.masks[told], stacks.read[told]).mean()
    if settings.energy_weight and not bool(told.all()):
        parts["energy"] = parts["energy"] + functional.softplus(logits[~told, 1:]).mean()
    loss = parts["segmentation"] + settings.kl_weight * parts["kl"] + settings.penalty_weight * parts["penalty"]
    loss = loss + settings.energy_weight * parts["energy"]
    classes = network.anatomy.out_channels
    if classes > 1:
        found, target = network.anatomy(features.maps), stacks.anatomy.flatten(0, 1)
        wanted = functional.one_hot(target, classes).movedim(-1, 1).float()
        entropy = functional.cross_entropy(found, target)
        chances = found.softmax(1)[:, 1:]
        shared, total = (chances * wanted[:, 1:]).sum((0, 2, 3)), (chances + wanted[:, 1:]).sum((0, 2, 3))
        parts["anatomy"] = entropy + (1 - (2 * shared + 1e-5) / (total + 1e-5)).mean()
        loss = loss + ANATOMY_WEIGHT * parts["anatomy"]
    return {"loss": loss, **parts}


def personal_loss(network: HarmonizerNetwork, stacks: Stacks, settings: HarmonizerSettings) -> Parts:
    """Return the loss of phase 2, equation 6: the sum over raters of Dice and cross-entropy with their own masks."""
    from twintrack.harmonizer import segmentation_loss

    loss = segmentation_loss(personal_logits(network, stacks, settings), stacks.masks, stacks.read).sum()
    return {"loss": loss, "segmentation": loss / stacks.masks.shape[1]}


def personal_logits(network: HarmonizerNetwork, stacks: Stacks, settings: HarmonizerSettings) -> torch.Tensor:
    """Return (b, rater, z, y, x): a stack's code of a rater is the mean of those of its slices."""
    import torch

    depth = stacks.image.shape[1]
    with torch.no_grad():
        maps = network.features(stacks.slices).maps
        prior = network.prior(stacks.slices).over_slices(depth)
        bank = prior.sample(torch.randn(settings.bank, settings.latent).to(maps.device))
    codes = network.personalizer(maps, bank.repeat_interleave(depth, 0))
    codes = codes.unflatten(0, (-1, depth)).mean(1)
    return _of_stacks(network.combine(maps, codes.repeat_interleave(depth, 0)), depth)


def sample_chances(network: HarmonizerNetwork, stacks: Stacks, noise: torch.Tensor) -> torch.Tensor:
    """Return the probabilities (b, s, z, y, x) of prior samples by standard normal numbers (s, latent)."""
    depth = stacks.image.shape[1]
    maps = network.features(stacks.slices).maps
    codes = network.prior(stacks.slices).over_slices(depth).sample(noise)
    return _of_stacks(network.combine(maps, codes.repeat_interleave(depth, 0)), depth).sigmoid()


def diversity(network: HarmonizerNetwork, stacks: Stacks, noise: torch.Tensor) -> tuple[float, float]:
    """Return the mean distance (1 - IoU) between two samples' masks, and two readers', where somebody marked something.

    Not a number where nobody did, or one reader alone read.
    """
    from twintrack.harmonizer import mean_distance

    pairs = []
    found = (sample_chances(network, stacks, noise) > 0.5).float()
    for masks, read, samples in zip(stacks.masks, stacks.read, found, strict=True):
        if bool(masks.any()) and int(read.sum()) > 1:
            pairs.append((float(mean_distance(samples[None])), float(mean_distance(masks[None, read]))))
    if not pairs:
        return float("nan"), float("nan")
    of_samples, of_raters = zip(*pairs, strict=True)
    return sum(of_samples) / len(pairs), sum(of_raters) / len(pairs)


def _of_stacks(logits: torch.Tensor, depth: int) -> torch.Tensor:
    """Return (b * z, s, y, x) as (b, s, z, y, x)."""
    return logits.unflatten(0, (-1, depth)).movedim(1, 2)
