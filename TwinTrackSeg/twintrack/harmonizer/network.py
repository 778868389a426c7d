"""The network as a whole: a U-Net of slices with modulated features, prior, posterior, combiner and personalizer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from twintrack.bundle.slice_architecture import DECODER, ENCODER, NOWHERE, SliceArchitecture
from twintrack.harmonizer.latent import Combiner, GaussianEncoder
from twintrack.harmonizer.modulation import Modulation, NoiseHarmonizer
from twintrack.harmonizer.personalizer import Personalizer

__all__ = ["Features", "HarmonizerNetwork"]


@dataclass(frozen=True)
class Features:
    """What the U-Net makes of slices.

    Attributes
    ----------
    maps : torch.Tensor
        The decoder's last features, (b, c, y, x).
    modulations : tuple of Modulation
        What the harmonizer did; empty where it is off.
    """

    maps: torch.Tensor
    modulations: tuple[Modulation, ...]

    def penalty(self) -> torch.Tensor:
        """Return the sum over levels of equation 8."""
        return torch.stack([each.penalty() for each in self.modulations]).sum()


class HarmonizerNetwork(nn.Module):
    """A probabilistic U-Net after arXiv:2605.08210, for slices (b, 1, y, x) whose edges its halvings divide.

    What is no matter of raters is deterministic: `anatomy` says what lies at a pixel if it is not tumour.

    Parameters
    ----------
    architecture : SliceArchitecture
        Its numbers.
    classes : int
        Background and anatomy.
    """

    def __init__(self, architecture: SliceArchitecture, classes: int) -> None:
        super().__init__()
        features, latent, thin = architecture.features, architecture.latent, architecture.thin_start
        self.place = architecture.harmonize
        self.down = nn.ModuleList(
            _block(features[number - 1] if number else 1, count, stride=2 if number else 1, thin=thin and not number)
            for number, count in enumerate(features)
        )
        below = list(zip(features[1:], features, strict=False))
        self.widen = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for coarse, fine in below)
        self.up = nn.ModuleList(
            _block(2 * fine, fine, thin=thin and not number) for number, (_, fine) in enumerate(below)
        )
        levels = {DECODER: features[:-1], ENCODER: features, NOWHERE: ()}[self.place]
        if levels:
            self.harmonizer = NoiseHarmonizer(
                levels, tokens=architecture.tokens, token_width=architecture.token_width, hidden=architecture.hidden
            )
        self.prior = GaussianEncoder(1, features, latent)
        self.posterior = GaussianEncoder(2, features, latent)
        self.combine = Combiner(features[0], latent, architecture.combiner)
        self.anatomy = nn.Conv2d(features[0], classes, 1)
        self.personalizer = Personalizer(
            features[0],
            latent,
            architecture.raters,
            prompts=architecture.prompts,
            prompt_edge=architecture.prompt_edge,
        )

    def features(self, slices: torch.Tensor) -> Features:
        """Return the harmonized features of slices (b, 1, y, x)."""
        done: list[Modulation] = []

        def harmonized(maps: torch.Tensor, level: int, place: str) -> torch.Tensor:
            if self.place != place:
                return maps
            done.append(self.harmonizer(maps, level))
            return done[-1](maps)

        kept, maps = [], slices
        for level, block in enumerate(self.down):
            maps = harmonized(block(maps), level, ENCODER)
            kept.append(maps)
        for level in range(len(self.up) - 1, -1, -1):
            joined = torch.cat([kept[level], self.widen[level](maps)], dim=1)
            maps = harmonized(self.up[level](joined), level, DECODER)
        return Features(maps, tuple(done))

    def forward(self, slices: torch.Tensor, codes: torch.Tensor, personal: torch.Tensor) -> torch.Tensor:
        """Return the logits of slices (b, 1, y, x) for codes (s, latent) of samples and (r, latent) of raters.

        Returns
        -------
        torch.Tensor
            (b, classes + s + r, y, x): anatomy, of which one class is true, then one output for each code.
        """
        maps = self.features(slices).maps
        both = torch.cat([codes, personal])[None].expand(len(maps), -1, -1)
        return torch.cat([self.anatomy(maps), self.combine(maps, both)], dim=1)


def _block(before: int, after: int, *, stride: int = 1, thin: bool = False) -> nn.Sequential:
    """Return two convolutions, or one, with instance normalization, the first of which may halve the resolution."""
    layers: list[nn.Module] = []
    for count, step in ((before, stride), (after, 1))[: 1 if thin else 2]:
        layers += [nn.Conv2d(count, after, 3, stride=step, padding=1, bias=False)]
        layers += [nn.InstanceNorm2d(after, affine=True), nn.LeakyReLU(0.01)]
    return nn.Sequential(*layers)
