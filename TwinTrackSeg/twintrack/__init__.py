"""TwinTrack: calibrated multi-rater tumour segmentation on contrast CT.

The engine of the 3D Slicer extension TwinTrackSeg. It imports neither Slicer nor Qt nor VTK and runs anywhere Python
runs. For research use only; not a medical device.

What this package hands out is listed in ``__init__.pyi`` and in `__all__`; every other module is private by convention.
Names are imported when they are first used, so that ``import twintrack`` costs next to nothing.

References
----------
Kirscher et al., "TwinTrack: Post-hoc Multi-Rater Calibration for Medical Image Segmentation", arXiv 2604.15950.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "twintrack.api": (
        *("Model", "Result", "SegmentResult", "calibrate", "evaluate", "load_bundle", "measure_vessels"),
        *("read_result", "segment"),
    ),
    "twintrack.calibration": ("Calibrator", "read_calibrator", "write_calibrator"),
    "twintrack.labels": ("VESSEL_VALUES",),
    "twintrack.errors": ("BundleError", "Cancelled", "InputError", "OutputError", "RoiError", "TwinTrackError"),
    "twintrack.io.volumes": ("read_volume", "write_volume"),
    "twintrack.metrics": ("CaseMetrics", "evaluate_case"),
    "twintrack.phantom": ("PhantomCase", "make_phantom"),
    "twintrack.progress.callbacks": ("CancelToken",),
    "twintrack.settings": ("SegmentSettings",),
    "twintrack.volume": ("Geometry", "Volume"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME_OF)]


def __getattr__(name: str) -> object:
    """Import a name of the face when it is first asked for."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
