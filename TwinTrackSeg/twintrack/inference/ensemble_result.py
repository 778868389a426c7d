"""What stage 2 found, on the voxels of the region's box."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twintrack.inference.roi import Roi
from twintrack.volume import Geometry, Volume

__all__ = ["EnsembleResult", "MemberMap"]


@dataclass(frozen=True)
class MemberMap:
    """What one member of an ensemble says, on the voxels of the region's box.

    Where a later member did not look, because the first one saw no tumour near, the values are the first one's: there
    the members' spread is not known, and reads as none.

    Attributes
    ----------
    score : numpy.ndarray
        Uncalibrated tumour score, float16 in [0, 1], (z, y, x) of the box; 0 outside the region's mask.
    vessels : numpy.ndarray or None
        Vessel label map, uint8, as in `EnsembleResult`; None where the bundle predicts none, or none was asked for.
    """

    score: NDArray[np.float16]
    vessels: NDArray[np.uint8] | None


@dataclass(frozen=True)
class EnsembleResult:
    """What stage 2 found, on the voxels of the region's box.

    Attributes
    ----------
    roi : Roi
        The region.
    score : numpy.ndarray
        Pooled, uncalibrated tumour score, float32 in [0, 1], (z, y, x) of the box; 0 outside the region's mask.
    vessels : numpy.ndarray or None
        Vessel label map, uint8, (z, y, x) of the box (mask or not), where the bundle predicts vessels.
    vessel_values : mapping of str to int
        Value of each vessel in `vessels`.
    members : int
        Number of networks averaged.
    tiles : int
        Number of patches predicted, over all members.
    skipped : int
        Number of patches that later members did not look at, because the first one saw no tumour near them.
    disagreement_ml : float or None
        Standard deviation of the tumour probability over the members, added up over the region; None for one member.
    device : str
        Where the networks ran.
    backend : str
        What ran them: ``torch`` or ``openvino``.
    network_s : float
        Wall seconds spent in the networks.
    notes : tuple of str
        Every step away from the first choice of device, in words.
    each : tuple of MemberMap
        What each member says, in the order of the bundle's folds; empty if that was not asked for, for one member, or
        where the first one saw tumour nowhere and the others did not look.
    rater_maps : mapping of str to numpy.ndarray
        By rater, the probability that this rater would draw a voxel, float16 in [0, 1], (z, y, x) of the box; empty if
        that was not asked for, or the bundle cannot tell raters apart.
    rater_spread : numpy.ndarray or None
        Standard deviation over the raters, float16 in [0, 0.5], (z, y, x) of the box; None without such maps.
    samples : numpy.ndarray or None
        Bit s says that sample s marks the voxel, uint16, (z, y, x) of the box; None if that was not asked for.
    """

    roi: Roi
    score: NDArray[np.float32]
    vessels: NDArray[np.uint8] | None
    vessel_values: Mapping[str, int]
    members: int
    tiles: int
    skipped: int
    disagreement_ml: float | None
    device: str
    backend: str
    network_s: float
    notes: tuple[str, ...]
    each: tuple[MemberMap, ...] = ()
    rater_maps: Mapping[str, NDArray[np.float16]] = field(default_factory=dict)
    rater_spread: NDArray[np.float16] | None = None
    samples: NDArray[np.uint16] | None = None

    @property
    def engine(self) -> dict[str, Any]:
        """How the networks ran, ready for JSON."""
        return {
            "device": self.device,
            "backend": self.backend,
            "members": self.members,
            "tiles": self.tiles,
            "skipped_tiles": self.skipped,
            "disagreement_ml": self.disagreement_ml,
            "network_s": self.network_s,
            "notes": list(self.notes),
        }

    def score_volume(self, geometry: Geometry) -> Volume:
        """Return the score on the whole grid, 0 outside the region."""
        return Volume(self.roi.paste(self.score, geometry), geometry)

    def vessels_volume(self, geometry: Geometry) -> Volume | None:
        """Return the vessel label map on the whole grid, 0 outside the box; None where none is predicted."""
        return None if self.vessels is None else Volume(self.roi.paste(self.vessels, geometry), geometry)
