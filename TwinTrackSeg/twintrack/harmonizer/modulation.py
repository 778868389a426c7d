"""The noise harmonizer, equations 2 and 3: tokens look at a level's features and decide its gain and offset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

__all__ = ["Modulation", "NoiseHarmonizer"]


@dataclass(frozen=True)
class Modulation:
    """Gain and offset of one level, each (b, c)."""

    gain: torch.Tensor
    offset: torch.Tensor

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Return ``gain * features + offset`` (equation 3) of features (b, c, y, x)."""
        return self.gain[:, :, None, None] * features + self.offset[:, :, None, None]

    def penalty(self) -> torch.Tensor:
        """Return ``|gain - 1|^2 + |offset|^2``, summed over channels as equation 8 has it; mean over the batch."""
        return ((self.gain - 1) ** 2 + self.offset**2).sum(1).mean()


class NoiseHarmonizer(nn.Module):
    """Learnable tokens, attention and the first layer are shared by all levels; 1 x 1 layers adapt to their channels.

    At the start every gain is 1 and every offset 0, so that features stay as they are, bit for bit.

    Parameters
    ----------
    channels : sequence of int
        Of each level.
    tokens, token_width, hidden : int
        M and D_h of equation 2, and the width between W_1 and W_2, none of which the paper gives.
    """

    def __init__(self, channels: Sequence[int], *, tokens: int, token_width: int, hidden: int) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.empty(tokens, token_width))
        nn.init.normal_(self.tokens, std=token_width**-0.5)
        self.query, self.key, self.value = (nn.Linear(token_width, token_width) for _ in range(3))
        self.first = nn.Linear(token_width, hidden)
        self.enter = nn.ModuleList(nn.Conv2d(count, token_width, 1) for count in channels)
        leave = [nn.Linear(hidden, 2 * count) for count in channels]
        self.leave = nn.ModuleList(leave)
        for layer in leave:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, features: torch.Tensor, level: int) -> Modulation:
        """Return what to do with a level's features (b, c, y, x)."""
        seen = self.enter[level](features).flatten(2).transpose(1, 2)
        query = self.query(self.tokens).expand(len(seen), -1, -1)
        read = nn.functional.scaled_dot_product_attention(query, self.key(seen), self.value(seen))
        change = self.leave[level](nn.functional.gelu(self.first(read.mean(1))))
        gain, offset = change.chunk(2, dim=1)
        return Modulation(1 + gain, offset)
