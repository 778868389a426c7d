"""What `measure_invasion` refuses: maps that do not fit each other and values that mean nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from twintrack.errors import InputError
from twintrack.volume import Volume

__all__ = ["check_names", "check_probability", "checked_contact_mm", "checked_labels", "checked_thresholds"]

RANGE_TOLERANCE = 1e-5
"""Rounding allowed beyond 0 and 1."""


def check_probability(probability: Volume) -> None:
    """Refuse a map that holds anything but probabilities."""
    low, high = float(np.min(probability.array)), float(np.max(probability.array))
    if not (low >= -RANGE_TOLERANCE and high <= 1 + RANGE_TOLERANCE):
        raise InputError(f"the probability map must hold numbers from 0 to 1, got {low:g} to {high:g}")


def checked_labels(vessels: Volume) -> Volume:
    """Return the vessel map as whole numbers."""
    if vessels.array.dtype.kind in "bui":
        return vessels
    if any(not np.array_equal(part, np.rint(part)) for part in vessels.array):
        raise InputError("the vessel map must hold whole-number labels; give a label map, not an image")
    return vessels.with_array(vessels.array.astype(np.int32))


def check_names(names: Mapping[str, int]) -> None:
    """Refuse label values that cannot name a vessel."""
    if not names:
        raise InputError("no vessel is named; give at least one name and label value, for example SMA=5")
    for name, value in names.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise InputError(f"vessel {name}: its label value must be a whole number from 1, got {value!r}")
    if len(set(names.values())) < len(names):
        raise InputError(f"two vessels have the same label value: {dict(names)}; give each its own")


def checked_thresholds(thresholds: Sequence[float]) -> list[float]:
    """Return the thresholds as rising floats in (0, 1)."""
    levels = [float(level) for level in thresholds]
    if not levels or not all(0 < level < 1 for level in levels) or np.any(np.diff(levels) <= 0):
        raise InputError(f"thresholds must rise and lie between 0 and 1, got {levels}")
    return levels


def checked_contact_mm(contact_mm: float | None) -> float | None:
    """Return the contact distance if it is a length."""
    if contact_mm is not None and not (np.isfinite(contact_mm) and contact_mm > 0):
        raise InputError(f"contact_mm must be a positive length in mm, got {contact_mm}")
    return contact_mm
