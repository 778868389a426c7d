"""Synthetic contrast CTs with a PDAC that several raters outline, and the known truth behind them."""

from twintrack.phantom.case import LABELS, PhantomCase, lesions_of, make_phantom
from twintrack.phantom.files import TRUTH, write_case, write_cohort
from twintrack.phantom.panel import RaterPanel, draw_panel
from twintrack.phantom.raters import RATER_MODELS, RaterHabits, RaterModel
from twintrack.phantom.slab import Slab

__all__ = [
    "LABELS",
    "RATER_MODELS",
    "TRUTH",
    "PhantomCase",
    "RaterHabits",
    "RaterModel",
    "RaterPanel",
    "Slab",
    "draw_panel",
    "lesions_of",
    "make_phantom",
    "write_case",
    "write_cohort",
]
