"""Post-hoc calibration: sketch the score against the raters, fit a monotone map, apply it, show how reliable it is."""

from twintrack.calibration.band import CalibratorBand
from twintrack.calibration.bootstrap import bootstrap_band
from twintrack.calibration.calibrator import BinSelection, Calibrator
from twintrack.calibration.calibrator_json import read_calibrator, write_calibrator
from twintrack.calibration.isotonic import fit_calibrator
from twintrack.calibration.reliability import ReliabilityCurve, plot_reliability, reliability_curve
from twintrack.calibration.selection import select_bins
from twintrack.calibration.sketch import ScoreSketch

__all__ = [
    "BinSelection",
    "Calibrator",
    "CalibratorBand",
    "ReliabilityCurve",
    "ScoreSketch",
    "bootstrap_band",
    "fit_calibrator",
    "plot_reliability",
    "read_calibrator",
    "reliability_curve",
    "select_bins",
    "write_calibrator",
]
