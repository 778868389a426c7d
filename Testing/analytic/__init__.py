"""Vessels and tumours whose contact is known, and a slow measure of it; nothing here comes from `twintrack.invasion`.

`KINDS` names them, `make_case` draws one in a random pose on a grid, `truth` of a case says what must be measured.
"""

from analytic.cases import GRIDS, AnalyticCase, make_case, make_case_of
from analytic.kinds import KINDS, Shape
from analytic.rays import Contact, TrueWall, contact, tissue_levels, touch_levels

__all__ = [
    "GRIDS",
    "KINDS",
    "AnalyticCase",
    "Contact",
    "Shape",
    "TrueWall",
    "contact",
    "make_case",
    "make_case_of",
    "tissue_levels",
    "touch_levels",
]
