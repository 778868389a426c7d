"""Describe a segment: codes, label, colour, tracking, and which algorithm made it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from twintrack.dicom.write.derived import Algorithm
from twintrack.dicom.write.identity import tracking_uid
from twintrack.dicom.write.remarks import TEXT_LIMIT, Remarks
from twintrack.dicom.write.segments import AlgorithmType, Segment
from twintrack.dicom.write.terminology import Concept

if TYPE_CHECKING:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from pydicom.dataset import Dataset
    from pydicom.sr.coding import Code

__all__ = ["as_code", "code_item", "describe", "identify"]

MANUFACTURER = "TwinTrackSeg"


def as_code(concept: Concept) -> Code:
    """Return a concept as pydicom's code."""
    from pydicom.sr.coding import Code

    return Code(concept.value, concept.scheme, concept.meaning)


def code_item(code: Code) -> Dataset:
    """Return a code as the item of a code sequence."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def identify(algorithm: Algorithm) -> AlgorithmIdentificationSequence:
    """Return name, version, fingerprint and settings of what made an object."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    parameters: Mapping[str, str] = {"bundle_sha256": algorithm.bundle_sha256, **algorithm.parameters}
    return hd.AlgorithmIdentificationSequence(
        name=algorithm.name[:TEXT_LIMIT],
        family=codes.DCM.ArtificialIntelligence,
        version=algorithm.version[:TEXT_LIMIT],
        source=MANUFACTURER,
        parameters=dict(parameters),
    )


def describe(
    number: int, segment: Segment, algorithm: Algorithm, remarks: Remarks, of_series: str
) -> SegmentDescription:
    """Return the description of segment `number`, 1 or more, in an object of the series with the UID `of_series`."""
    import highdicom as hd

    structure, kind = segment.structure, segment.algorithm_type
    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=structure.label[:TEXT_LIMIT],
        segmented_property_category=as_code(structure.category),
        segmented_property_type=as_code(structure.type),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues(kind.value),
        # The standard names an algorithm only where one took part.
        algorithm_identification=None if kind is AlgorithmType.MANUAL else identify(algorithm),
        tracking_uid=tracking_uid(of_series, segment.name),
        tracking_id=segment.name[:TEXT_LIMIT],
        anatomic_regions=None if structure.region is None else [as_code(structure.region)],
        display_color=_cielab(structure.color),
    )
    if structure.modifier is not None:
        modifier = code_item(as_code(structure.modifier))
        description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [modifier]
    description.SegmentDescription = remarks.sentences(f"{structure.label}.")
    return description


def _cielab(color: tuple[int, int, int]) -> CIELabColor:
    """Convert an sRGB colour (0 to 255) to the form of RecommendedDisplayCIELabValue."""
    from highdicom.color import CIELabColor
    from skimage.color import rgb2lab

    lightness, a, b = rgb2lab(np.asarray(color, dtype=float) / 255.0)
    return CIELabColor(float(lightness), float(a), float(b))
