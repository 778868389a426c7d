"""How far the tumour wraps around each vessel, for every probability level at once.

Angles are in degrees, lengths in mm, levels are probabilities (expected fractions of raters). The contact angle is
measured in the vessel's own cross-section, perpendicular to its centre line, so it does not depend on how the vessel
runs through the slices.
"""

from twintrack.invasion.measure import DEFAULT_CONTACT_MM, DEFAULT_THRESHOLDS, measure_invasion
from twintrack.invasion.member_range import with_member_range
from twintrack.invasion.rater_categories import Category
from twintrack.invasion.resectability import DEFAULT_RULES, ContactPattern, check_rules, rule_names
from twintrack.invasion.result import InvasionResult, MemberRange, VesselInvasion, write_invasion_csv
from twintrack.invasion.score_levels import RaterContact, ScoreLevels, rater_contact, rater_contacts, score_levels
from twintrack.invasion.statements import with_statements
from twintrack.invasion.wall import VesselWall

__all__ = [
    "DEFAULT_CONTACT_MM",
    "DEFAULT_RULES",
    "DEFAULT_THRESHOLDS",
    "Category",
    "ContactPattern",
    "InvasionResult",
    "MemberRange",
    "RaterContact",
    "ScoreLevels",
    "VesselInvasion",
    "VesselWall",
    "check_rules",
    "measure_invasion",
    "rater_contact",
    "rater_contacts",
    "rule_names",
    "score_levels",
    "with_member_range",
    "with_statements",
    "write_invasion_csv",
]
