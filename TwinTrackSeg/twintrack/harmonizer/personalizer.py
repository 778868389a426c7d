"""The personalizer, equations 4 and 5: from features and a bank of codes to the code of one rater."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from twintrack.harmonizer.wavelet import haar, inverse_haar

__all__ = ["Personalizer"]

LEAST_CHANNELS = 4
"""After the projection to a quarter: of a network as small as the preset tiny's, a quarter would be nothing."""

POOLED = 4
"""Pixels of a half-resolution map that ask the bank as one, along each axis."""

ATTENTION_WIDTH = 16


class LargeKernelAttention(nn.Module):
    """A gate from a 5 x 5 and a dilated 7 x 7 convolution of each channel, and one over channels (arXiv:2202.09741)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.near = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.far = nn.Conv2d(channels, channels, 7, padding=9, dilation=3, groups=channels)
        self.across = nn.Conv2d(channels, channels, 1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the maps (b, c, y, x), gated, with the shortcut: a gate of 0 leaves them as they are."""
        gate: torch.Tensor = self.across(self.far(self.near(maps)))
        return maps * (1 + gate)


class Personalizer(nn.Module):
    """Rater-aware prompts over the high bands of a slice's features, and a bank of prior codes that they ask.

    Parameters
    ----------
    features, latent, raters : int
        Channels of the decoder's features, numbers of a code, and raters.
    prompts, prompt_edge : int
        N, and the edge in pixels at which prompts are kept; they are resized to the slice's.
    """

    def __init__(self, features: int, latent: int, raters: int, *, prompts: int, prompt_edge: int) -> None:
        super().__init__()
        low = max(features // 4, LEAST_CHANNELS)
        high = 3 * low
        self.reduce = nn.Conv2d(features, low, 1)
        self.weigh = nn.Conv2d(high, prompts, 1)
        # Each differs from the others as a whole too: what has no mean over a slice hardly changes a code.
        self.prompts = nn.Parameter(
            torch.randn(prompts, high, 1, 1) + 0.5 * torch.randn(prompts, high, prompt_edge, prompt_edge)
        )
        self.of_rater = nn.Parameter(torch.empty(raters, prompts))
        nn.init.normal_(self.of_rater, mean=1.0, std=0.5)  # all alike, raters are told apart late
        self.smooth = nn.Conv2d(high, high, 3, padding=1)
        self.join = nn.Conv2d(2 * high, high, 1)
        self.attend = LargeKernelAttention(high)
        self.refine = nn.Conv2d(high, high, 1)
        self.local = nn.Conv2d(high + low, ATTENTION_WIDTH, 3, padding=1)
        self.query = nn.Linear(ATTENTION_WIDTH, ATTENTION_WIDTH)
        self.key, self.value = (nn.Linear(latent, ATTENTION_WIDTH) for _ in range(2))
        self.fuse = nn.Conv2d(low + ATTENTION_WIDTH, ATTENTION_WIDTH, 1)
        self.last = nn.Linear(ATTENTION_WIDTH, latent)

    def forward(self, features: torch.Tensor, bank: torch.Tensor) -> torch.Tensor:
        """Return the codes (b, rater, latent) of features (b, c, y, x) and a bank of prior codes (b, m, latent)."""
        reduced = self.reduce(features)
        low, high = haar(reduced)
        batch, raters = len(features), len(self.of_rater)
        prompt = self._prompts(high)
        joined = self.join(torch.cat([_repeated(high, raters), prompt], dim=1))
        refined = self.refine(joined + self.attend(joined))  # equation 5
        low = _repeated(low, raters)
        local = functional.leaky_relu(self.local(torch.cat([refined, low], dim=1)), 0.01)
        answer = self._ask(local, _repeated(bank, raters))
        whole = inverse_haar(low, refined, (features.shape[-2], features.shape[-1]))
        answer = functional.interpolate(answer, whole.shape[-2:], mode="nearest")
        fused = functional.leaky_relu(self.fuse(torch.cat([whole, answer], dim=1)), 0.01)
        codes = self.last(fused.mean((2, 3))).unflatten(0, (batch, raters))
        return bank.mean(1, keepdim=True) + codes

    def _prompts(self, high: torch.Tensor) -> torch.Tensor:
        """Return the prompt of each rater (b * rater, c, y, x): equation 4, a weight a prompt from slice and rater."""
        weights = self.weigh(high).mean((2, 3)).softmax(1)[:, None] * self.of_rater[None]
        mixed = torch.einsum("brn,nchw->brchw", weights, self.prompts).flatten(0, 1)
        resized = functional.interpolate(mixed, high.shape[-2:], mode="bilinear", align_corners=False)
        return self.smooth(resized)

    def _ask(self, local: torch.Tensor, bank: torch.Tensor) -> torch.Tensor:
        """Let places of the maps (b, c, y, x) look up the codes (b, m, latent); return what they find, as maps."""
        pooled = functional.avg_pool2d(local, POOLED, ceil_mode=True)
        places = pooled.flatten(2).transpose(1, 2)
        found = functional.scaled_dot_product_attention(self.query(places), self.key(bank), self.value(bank))
        # What asks goes on beside what it finds, as in any attention: high bands alone have no mean over a slice.
        return (places + found).transpose(1, 2).unflatten(2, pooled.shape[-2:])


def _repeated(values: torch.Tensor, times: int) -> torch.Tensor:
    """Return (b, ...) as (b * times, ...)."""
    return values.repeat_interleave(times, dim=0)
