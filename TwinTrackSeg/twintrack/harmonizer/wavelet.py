"""The Haar transform of feature maps: a quarter of the pixels, four bands, and the exact way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["haar", "inverse_haar"]


def haar(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Divide feature maps into a low and three high bands, orthonormally: the sum of squares stays.

    An odd row or column at the end is repeated, so that a constant map has no high bands.

    Parameters
    ----------
    maps : torch.Tensor
        (b, c, y, x).

    Returns
    -------
    tuple of torch.Tensor
        The low band (b, c, ceil(y / 2), ceil(x / 2)), and the high ones (b, 3 c, ...): differences along x, along y,
        and along both.
    """
    import torch
    from torch.nn import functional

    odd_y, odd_x = maps.shape[-2] % 2, maps.shape[-1] % 2
    if odd_y or odd_x:
        maps = functional.pad(maps, (0, odd_x, 0, odd_y), mode="replicate")
    a, b = maps[..., 0::2, 0::2], maps[..., 0::2, 1::2]
    c, d = maps[..., 1::2, 0::2], maps[..., 1::2, 1::2]
    high = [(a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2]
    return (a + b + c + d) / 2, torch.cat(high, dim=1)


def inverse_haar(low: torch.Tensor, high: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return the maps (b, c, y, x) of the bands that `haar` gave; `size` is (y, x), of which the last may be odd."""
    along_x, along_y, both = high.chunk(3, dim=1)
    b, c, y, x = low.shape
    maps = low.new_empty((b, c, 2 * y, 2 * x))
    maps[..., 0::2, 0::2] = (low + along_x + along_y + both) / 2
    maps[..., 0::2, 1::2] = (low - along_x + along_y - both) / 2
    maps[..., 1::2, 0::2] = (low + along_x - along_y - both) / 2
    maps[..., 1::2, 1::2] = (low - along_x - along_y + both) / 2
    return maps[..., : size[0], : size[1]]
