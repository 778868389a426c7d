"""Post-hoc calibration: sketch the score against the raters, fit a monotone map, apply it, show how reliable it is."""

from twintrack.calibration.calibrator import Calibrator, read_calibrator, write_calibrator
from twintrack.calibration.isotonic import fit_calibrator
from twintrack.calibration.reliability import ReliabilityCurve, plot_reliability, reliability_curve
from twintrack.calibration.sketch import ScoreSketch

__all__ = [
    "Calibrator",
    "ReliabilityCurve",
    "ScoreSketch",
    "fit_calibrator",
    "plot_reliability",
    "read_calibrator",
    "reliability_curve",
    "write_calibrator",
]
