"""DICOM in and out: read a CT series, write a synthetic one, export segmentation and map.

Reading needs SimpleITK and pydicom, the export highdicom; all are imported when first used.
"""

from twintrack.dicom.read.headers import is_dicom_input
from twintrack.dicom.read.series import DicomSeries, read_series
from twintrack.dicom.send.delivery import check_arrived
from twintrack.dicom.send.dimse import DimseTarget, send_dimse
from twintrack.dicom.send.stow import check_url, send_stow
from twintrack.dicom.write.ct_series import Origin, write_ct_series
from twintrack.dicom.write.derived import Algorithm, MapMeaning
from twintrack.dicom.write.fractional import write_fractional
from twintrack.dicom.write.parametric_map import write_parametric_map
from twintrack.dicom.write.remarks import Remarks
from twintrack.dicom.write.segmentation import SegmentationKind, write_segmentation
from twintrack.dicom.write.segments import ISO_LEVELS, AlgorithmType, segments_from_labels, tumor_label
from twintrack.dicom.write.structured_report import write_structured_report

__all__ = [
    "ISO_LEVELS",
    "Algorithm",
    "AlgorithmType",
    "DicomSeries",
    "DimseTarget",
    "MapMeaning",
    "Origin",
    "Remarks",
    "SegmentationKind",
    "check_arrived",
    "check_url",
    "is_dicom_input",
    "read_series",
    "segments_from_labels",
    "send_dimse",
    "send_stow",
    "tumor_label",
    "write_ct_series",
    "write_fractional",
    "write_parametric_map",
    "write_segmentation",
    "write_structured_report",
]
