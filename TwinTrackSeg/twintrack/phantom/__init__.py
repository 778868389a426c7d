"""Synthetic contrast CTs with a PDAC that several raters outline, and the known truth behind them."""

from twintrack.phantom.case import LABELS, PhantomCase, lesions_of, make_phantom
from twintrack.phantom.files import write_case, write_cohort
from twintrack.phantom.raters import RATER_MODELS, RaterModel

__all__ = [
    "LABELS",
    "RATER_MODELS",
    "PhantomCase",
    "RaterModel",
    "lesions_of",
    "make_phantom",
    "write_case",
    "write_cohort",
]
