"""Names, colours and SNOMED CT codes of the segments, in the form in which Slicer stores them.

The codes are the engine's own, so that the segments in the scene and in an exported DICOM-SEG say the same.
"""

from __future__ import annotations

from typing import NamedTuple

from twintrack.dicom.write.terminology import TUMOR, Concept, structure_of

__all__ = ["SegmentMeaning", "meaningOf"]

CONTEXT_TYPES = "Segmentation category and type - DICOM master list"
CONTEXT_REGIONS = "Anatomic codes - DICOM master list"

TUMOR_COLOR = (0.0, 0.85, 0.85)
"""Cyan: the only hue that neither the MHR colours nor the white contours nor the vessels use."""


class SegmentMeaning(NamedTuple):
    """Name for people, colour (RGB, 0 to 1), and the segment tag that holds the codes."""

    name: str
    color: tuple[float, float, float]
    terminologyEntry: str


def meaningOf(label: str) -> SegmentMeaning:
    """Return what the engine's label name means: ``"tumor"``, a vessel such as ``"SMA"``, or another vessel."""
    structure = structure_of(label)
    red, green, blue = (channel / 255 for channel in structure.color)
    # Seven parts: context of types, category, type, type modifier, context of regions, region, region modifier.
    codes = [_code(structure.category), _code(structure.type), _code(None)]
    region = [_code(structure.region), _code(None)]
    return SegmentMeaning(
        name=structure.label,
        color=TUMOR_COLOR if structure is TUMOR else (red, green, blue),
        terminologyEntry="~".join([CONTEXT_TYPES, *codes, CONTEXT_REGIONS, *region]),
    )


def _code(code: Concept | None) -> str:
    return f"SCT^{code.value}^{code.meaning}" if code is not None else "^^"
