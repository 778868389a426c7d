"""The latent code of the probabilistic U-Net, equation 1: its prior and posterior, and how a code becomes a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

__all__ = ["Combiner", "Gaussian", "GaussianEncoder", "divergence"]

LOG_STD = 1.0
"""Largest logarithm of a standard deviation, either way. Codes of one scale: with more room prior and posterior grow
together, until a reader's code, or the noise of a sample, lies where nothing was learnt."""


@dataclass(frozen=True)
class Gaussian:
    """Independent normal distributions.

    Attributes
    ----------
    mean, std : torch.Tensor
        (b, latent).
    """

    mean: torch.Tensor
    std: torch.Tensor

    def sample(self, noise: torch.Tensor) -> torch.Tensor:
        """Return codes (b, s, latent) of standard normal numbers (s, latent) or (b, s, latent)."""
        return self.mean[:, None] + self.std[:, None] * noise

    def over_slices(self, slices: int) -> Gaussian:
        """Return one distribution a volume, the mean of those of its slices: (b * slices, latent) to (b, latent)."""
        mean, std = (value.unflatten(0, (-1, slices)).mean(1) for value in (self.mean, self.std))
        return Gaussian(mean, std)


def divergence(one: Gaussian, other: Gaussian) -> torch.Tensor:
    """Return the Kullback-Leibler divergence of `one` from `other`, (b): 0 where they are the same."""
    ratio = (one.std / other.std) ** 2
    apart = ((one.mean - other.mean) / other.std) ** 2
    return 0.5 * (ratio + apart - 1 - ratio.log()).sum(1)


class GaussianEncoder(nn.Module):
    """Convolutions, an average over the slice, and a layer that gives mean and standard deviation.

    Parameters
    ----------
    inputs : int
        1 for the prior, which sees the CT; 2 for the posterior, which sees a mask too.
    features : sequence of int
        Channels of each resolution.
    latent : int
        D of the paper.
    """

    def __init__(self, inputs: int, features: Sequence[int], latent: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, count in enumerate(features):
            before = features[number - 1] if number else inputs
            layers += [nn.Conv2d(before, count, 3, stride=2, padding=1), nn.LeakyReLU(0.01)]
            layers += [nn.Conv2d(count, count, 3, padding=1), nn.LeakyReLU(0.01)]
        self.layers = nn.Sequential(*layers)
        self.last = nn.Linear(features[-1], 2 * latent)
        nn.init.zeros_(self.last.weight)  # prior and posterior begin as the same standard normal distribution
        nn.init.zeros_(self.last.bias)

    def forward(self, slices: torch.Tensor) -> Gaussian:
        """Return the distribution for each of (b, inputs, y, x)."""
        mean, log_std = self.last(self.layers(slices).mean((2, 3))).chunk(2, dim=1)
        return Gaussian(mean, (LOG_STD * log_std.tanh()).exp())  # a bound that keeps its gradient


class Combiner(nn.Module):
    """F_comb: three 1 x 1 convolutions over the decoder's features with a code at every pixel.

    The first layer is the sum of one over features, done once, and one over codes: the same numbers as if a code were
    copied to every pixel.

    Parameters
    ----------
    features, latent, hidden : int
        Channels of the features, numbers of a code, and channels between.
    """

    def __init__(self, features: int, latent: int, hidden: int) -> None:
        super().__init__()
        self.of_features = nn.Conv2d(features, hidden, 1)
        self.of_code = nn.Linear(latent, hidden, bias=False)
        self.second = nn.Conv2d(hidden, hidden, 1)
        self.third = nn.Conv2d(hidden, 1, 1)

    def forward(self, features: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Return logits (b, s, y, x) of features (b, c, y, x) and codes (b, s, latent)."""
        joined = self.of_features(features)[:, None] + self.of_code(codes)[..., None, None]
        hidden = nn.functional.leaky_relu(joined.flatten(0, 1), 0.01)
        logits: torch.Tensor = self.third(nn.functional.leaky_relu(self.second(hidden), 0.01))
        return logits[:, 0].unflatten(0, codes.shape[:2])
