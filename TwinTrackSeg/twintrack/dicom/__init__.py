"""DICOM in and out: read a CT series, write a synthetic one, export segmentation and map.

Reading needs SimpleITK and pydicom, the export highdicom; all are imported when first used.
"""

from twintrack.dicom.delivery import check_arrived
from twintrack.dicom.derived import Algorithm, MapMeaning
from twintrack.dicom.fractional import write_fractional
from twintrack.dicom.headers import is_dicom_input
from twintrack.dicom.parametric_map import write_parametric_map
from twintrack.dicom.remarks import Remarks
from twintrack.dicom.segmentation import SegmentationKind, write_segmentation
from twintrack.dicom.segments import ISO_LEVELS, AlgorithmType, segments_from_labels, tumor_label
from twintrack.dicom.send_dimse import DimseTarget, send_dimse
from twintrack.dicom.send_stow import check_url, send_stow
from twintrack.dicom.series import DicomSeries, read_series
from twintrack.dicom.structured_report import write_structured_report
from twintrack.dicom.write_series import Origin, write_ct_series

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
