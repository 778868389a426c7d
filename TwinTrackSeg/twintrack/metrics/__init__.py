"""Metrics of a probability map against several raters: the CURVAS-PDACVI protocol, further ones, and the bootstrap."""

from twintrack.metrics.bootstrap import BootstrapMean, bootstrap_means
from twintrack.metrics.case_metrics import CaseMetrics, evaluate_case
from twintrack.metrics.detection import CandidatePool, LesionCandidate
from twintrack.metrics.size_strata import STRATA, SizeStratum
from twintrack.metrics.vascular import VesselContact

__all__ = [
    "STRATA",
    "BootstrapMean",
    "CandidatePool",
    "CaseMetrics",
    "LesionCandidate",
    "SizeStratum",
    "VesselContact",
    "bootstrap_means",
    "evaluate_case",
]
