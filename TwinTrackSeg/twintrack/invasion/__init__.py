"""How far the tumour wraps around each vessel, for every probability level at once.

Angles are in degrees, lengths in mm, levels are probabilities (expected fractions of readers). The contact angle is
measured in the vessel's own cross-section, perpendicular to its centre line, so it does not depend on how the vessel
runs through the slices.
"""

from twintrack.invasion.measure import DEFAULT_THRESHOLDS, measure_invasion
from twintrack.invasion.readers import Category
from twintrack.invasion.resectability import ContactPattern
from twintrack.invasion.result import InvasionResult, VesselInvasion, write_invasion_csv

__all__ = [
    "DEFAULT_THRESHOLDS",
    "Category",
    "ContactPattern",
    "InvasionResult",
    "VesselInvasion",
    "measure_invasion",
    "write_invasion_csv",
]
