"""What the rules say of one vessel: which voxels it is, how sure that is, and by what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Evidence", "Found"]

Evidence = dict[str, float]
"""Measures by which a vessel was recognised; their names end in their units."""


@dataclass
class Found:
    """One vessel, named or not.

    Attributes
    ----------
    voxels : numpy.ndarray or None
        Numbers of its voxels; None where it is not named.
    confidence : str or None
        ``high`` or ``low``; None where it is not named.
    reason : str
        By what it was recognised, or why it is not named.
    evidence : dict of str to float
        What was measured.
    source : object or None
        What the rules found it as.
    arms : tuple or None
        Where it parts.
    """

    voxels: NDArray[np.int64] | None
    confidence: str | None
    reason: str
    evidence: Evidence = field(default_factory=dict)
    source: Any = None
    arms: tuple[int, int | None, int | None] | None = None

    @classmethod
    def unnamed(cls, reason: str) -> Found:
        """Return a vessel without a name."""
        return cls(None, None, reason)

    @property
    def named(self) -> bool:
        """Whether it has its name."""
        return self.voxels is not None
