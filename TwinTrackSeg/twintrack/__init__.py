"""TwinTrack: calibrated multi-rater tumour segmentation on contrast CT.

The engine of the 3D Slicer extension TwinTrackSeg. It imports neither Slicer nor Qt nor VTK and runs
anywhere Python runs. For research use only; not a medical device.

References
----------
Kirscher et al., "TwinTrack: Post-hoc Multi-Rater Calibration for Medical Image Segmentation", arXiv 2604.15950.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
