"""Synthetic contrast CTs with a PDAC that several raters outline, and the known truth behind them."""

from twintrack.phantom.case import LABELS, PhantomCase, lesions_of, make_phantom
from twintrack.phantom.files import write_case, write_cohort

__all__ = ["LABELS", "PhantomCase", "lesions_of", "make_phantom", "write_case", "write_cohort"]
