"""How far the members of an ensemble are apart, added up member by member."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

__all__ = ["Disagreement"]


class Disagreement:
    """Spread of the members' tumour probability, in Welford's way: differences of large sums would be rounding errors.

    References
    ----------
    B. P. Welford, Technometrics 4(3), 1962, doi:10.1080/00401706.1962.10490022.
    """

    def __init__(self) -> None:
        self._members = 0
        self._looked: torch.Tensor | None = None
        self._mean: torch.Tensor | None = None
        self._squares: torch.Tensor | None = None

    def add(self, tumour: torch.Tensor, covered: torch.Tensor) -> None:
        """Add a member's probability, float32, (a, b, c), which counts where `covered`, bool, is true."""
        import torch

        self._members += 1
        if self._looked is None or self._mean is None or self._squares is None:
            self._looked, self._mean, self._squares = covered.float(), tumour * covered, torch.zeros_like(tumour)
            return
        # After a fall from the GPU, members' results lie in different places.
        self._looked, self._mean, self._squares = (
            tensor.to(tumour.device) for tensor in (self._looked, self._mean, self._squares)
        )
        self._looked += covered
        change = (tumour - self._mean) * covered
        self._mean += change / self._looked.clamp_min(1.0)
        self._squares += change * (tumour - self._mean)

    def volume_ml(self, region: NDArray[np.bool_], voxel_ml: float) -> float | None:
        """Return the standard deviation over the members, added up over the voxels of `region` (a, b, c).

        It is a volume: 1 mL is 2 mL that half of the members call tumour and half do not. None for a single member.
        """
        if self._looked is None or self._squares is None or self._members == 1:
            return None
        spread = (self._squares / self._looked.clamp_min(1.0)).sqrt_().cpu().numpy()
        return float(spread.sum(where=region, dtype=np.float64)) * voxel_ml
