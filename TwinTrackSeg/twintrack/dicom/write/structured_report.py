"""Write a structured report (DICOM SR, TID 1500) of volumes, diameters and vessel contact."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from twintrack import __version__
from twintrack.dicom.read.series import DicomSeries
from twintrack.dicom.write.derived import Algorithm, MapMeaning, save_dataset
from twintrack.dicom.write.identity import tracking_uid
from twintrack.dicom.write.references import refer_to_frames
from twintrack.dicom.write.remarks import TEXT_LIMIT, Remarks
from twintrack.dicom.write.report_content import (
    CASE,
    STATEMENTS,
    Group,
    case_label,
    report_groups,
    statement_source,
)
from twintrack.dicom.write.segment_description import MANUFACTURER, as_code
from twintrack.dicom.write.source import blank_identity, restore_identity, source_images
from twintrack.dicom.write.terminology import Concept
from twintrack.errors import OutputError

if TYPE_CHECKING:
    from highdicom.sr import MeasurementReport, ReferencedSegment
    from pydicom.dataset import Dataset

__all__ = ["change_case_label", "write_structured_report"]

logger = logging.getLogger(__name__)

SERIES_NUMBER = 904
SERIES_DESCRIPTION = "TwinTrackSeg measurements (research use only)"
DEVICE_NAME = "TwinTrackSeg, for research use only"

DECIMALS = 4
"""Decimals of the measured numbers."""


def write_structured_report(
    result: Mapping[str, Any],
    invasion: Mapping[str, Any] | None,
    series: DicomSeries,
    segmentation: str | Path,
    path: str | Path,
    *,
    algorithm: Algorithm,
    meaning: MapMeaning = MapMeaning.MHR,
    raters: int | None = None,
) -> Path:
    """Write a TID 1500 measurement report whose groups refer to the segment that was measured.

    Parameters
    ----------
    result, invasion : mapping
        The content of ``result.json`` and, where vessels are known, ``invasion.json``.
    series : DicomSeries
        The CT series that was segmented; its patient and study are taken over.
    segmentation : str or Path
        The binary segmentation object of the same result, with a segment ``tumor``.
    path : str or Path
        The file to write; it appears only when it is complete.
    algorithm, meaning, raters
        As in `write_segmentation`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If a source file cannot be read again.
    OutputError
        If the segmentation holds no tumour, or the file cannot be written.
    """
    import pydicom
    from pydicom.config import disable_value_validation

    path = Path(path)
    segments = pydicom.dcmread(segmentation, stop_before_pixels=True)
    groups = report_groups(result, invasion, meaning, raters)
    if _number_of("tumor", segments) is None or not groups:
        raise OutputError("not written, because the result holds no tumour to report on", code="no-tumour", path=path)
    with disable_value_validation():
        sources = source_images(series)
        identity = blank_identity(sources)
        _blank_patient(segments)
        content = _content(groups, segments, sources[0], algorithm)
        _state(content, STATEMENTS, statement_source(result, invasion))
        _state(content, CASE, case_label(result))
        uid = algorithm.series_uid(series, SERIES_NUMBER)
        dataset = _document(content, [segments, *sources], Remarks.of(result), uid)
        restore_identity(dataset, identity)
        refer_to_frames(dataset, series)
    save_dataset(dataset, path)
    logger.info("wrote a structured report of %d groups", len(groups))
    return path


def change_case_label(path: str | Path, label: str) -> None:
    """Write another label of the case into a report that has one, which makes it another instance.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    import pydicom

    dataset = pydicom.dcmread(path)
    for item in dataset.ContentSequence:
        if item.ConceptNameCodeSequence[0].get("CodeValue") == CASE.value and item.ValueType == "TEXT":
            item.TextValue = label
    save_dataset(dataset, Path(path))


def _state(content: MeasurementReport, name: Concept, text: str) -> None:
    """Add a text at the top, if there is any.

    One is the label of the case, which may hold a name as a patient's do, and is stated nowhere else in the object.
    """
    import highdicom as hd

    if text:
        contains = hd.sr.RelationshipTypeValues.CONTAINS
        content[0].ContentSequence.append(hd.sr.TextContentItem(as_code(name), text, contains))


def _blank_patient(segments: Dataset) -> None:
    """Make the segmentation agree with the blanked source images; the identity is written at the end."""
    blank_identity([segments])


def _number_of(name: str, segments: Dataset) -> int | None:
    """Return the number of the segment that is tracked as `name`."""
    for item in segments.SegmentSequence:
        if item.get("TrackingID") == name:
            return int(item.SegmentNumber)
    return None


def _document(content: MeasurementReport, evidence: list[Dataset], remarks: Remarks, uid: str) -> Dataset:
    """Wrap the content as a document of the series `uid` that nobody has verified."""
    import highdicom as hd

    return hd.sr.Comprehensive3DSR(
        evidence=evidence,
        content=content,
        series_number=SERIES_NUMBER,
        series_instance_uid=uid,
        sop_instance_uid=uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description=remarks.series_description(SERIES_DESCRIPTION),
        manufacturer_model_name=MANUFACTURER,
        software_versions=__version__,
        device_serial_number="0",
    )


def _content(groups: list[Group], segments: Dataset, source: Dataset, algorithm: Algorithm) -> MeasurementReport:
    """Return the tree of the report."""
    import highdicom as hd
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=["twintrack", "device", __version__]),
        name=DEVICE_NAME,
        manufacturer_name=MANUFACTURER,
        model_name=f"{MANUFACTURER} {__version__}",
    )
    observer = hd.sr.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    return hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        title=codes.DCM.ImagingMeasurementReport,
        imaging_measurements=[_group(group, segments, source, algorithm) for group in groups],
    )


def _group(group: Group, segments: Dataset, source: Dataset, algorithm: Algorithm) -> Any:
    """Return one measurement group on the tumour's segment."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    number = _number_of(group.segment, segments)
    if group.name == group.segment:
        tracked = str(segments.SegmentSequence[(number or 1) - 1].TrackingUID)
    else:
        tracked = tracking_uid(str(segments.SeriesInstanceUID), f"measured: {group.name}")
    made = hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=tracked, identifier=group.name),
        referenced_segment=_segment_reference(segments, number or 1, source),
        finding_type=as_code(group.finding),
        finding_category=None if group.category is None else as_code(group.category),
        finding_sites=[hd.sr.FindingSite(as_code(group.site))],
        algorithm_id=hd.sr.AlgorithmIdentification(
            name=algorithm.name[:TEXT_LIMIT],
            version=algorithm.version[:TEXT_LIMIT],
            parameters=[f"bundle_sha256={algorithm.bundle_sha256}"],
        ),
        measurements=[
            hd.sr.Measurement(
                name=as_code(quantity.name),
                value=round(quantity.value, DECIMALS),
                unit=as_code(quantity.unit),
                derivation=None if quantity.derivation is None else as_code(quantity.derivation),
            )
            for quantity in group.quantities
        ],
        qualitative_evaluations=[
            hd.sr.QualitativeEvaluation(name=as_code(item.name), value=as_code(item.value))
            for item in group.evaluations
        ],
    )
    contains = hd.sr.RelationshipTypeValues.CONTAINS
    for point in group.points:
        item = hd.sr.Scoord3DContentItem(
            as_code(point.name),
            hd.sr.GraphicTypeValues3D.POINT,
            np.array([point.position_lps_mm]),
            frame_of_reference_uid=source.FrameOfReferenceUID,
            relationship_type=contains,
        )
        made[0].ContentSequence.append(item)
    if group.comment:
        made[0].ContentSequence.append(hd.sr.TextContentItem(codes.DCM.Comment, group.comment, contains))
    return made


def _segment_reference(segments: Dataset, number: int, source: Dataset) -> ReferencedSegment:
    """Refer to a segment, and to the series that it was drawn on."""
    import highdicom as hd

    return hd.sr.ReferencedSegment(
        sop_class_uid=segments.SOPClassUID,
        sop_instance_uid=segments.SOPInstanceUID,
        segment_number=number,
        source_series=hd.sr.SourceSeriesForSegmentation(referenced_series_instance_uid=source.SeriesInstanceUID),
    )
