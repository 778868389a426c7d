"""Post-hoc calibration: sketch the score against the raters, fit a monotone map, apply it, show how reliable it is."""

from twintrack.calibration.band import CalibratorBand
from twintrack.calibration.bootstrap import bootstrap_band
from twintrack.calibration.calibrator import BinSelection, Calibrator
from twintrack.calibration.calibrator_file import (
    calibrator_from_json,
    calibrator_to_json,
    read_calibrator,
    write_calibrator,
)
from twintrack.calibration.choose_bins import select_bins
from twintrack.calibration.fit import fit_calibrator
from twintrack.calibration.reliability import ReliabilityCurve, plot_reliability, reliability_curve
from twintrack.calibration.sketch import ScoreSketch
from twintrack.calibration.sketch_file import load_sketch, save_sketch

__all__ = [
    "BinSelection",
    "Calibrator",
    "CalibratorBand",
    "ReliabilityCurve",
    "ScoreSketch",
    "bootstrap_band",
    "calibrator_from_json",
    "calibrator_to_json",
    "fit_calibrator",
    "load_sketch",
    "plot_reliability",
    "read_calibrator",
    "reliability_curve",
    "save_sketch",
    "select_bins",
    "write_calibrator",
]
