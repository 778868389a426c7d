"""What a segmentation object shows: the working tumour, nested levels of the map, and vessels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from twintrack.dicom.write.derived import MapMeaning
from twintrack.dicom.write.terminology import CODING_SCHEME, LEVEL_COLORS, TUMOR, Concept, Structure, structure_of
from twintrack.volume import Volume

__all__ = [
    "ISO_LEVELS",
    "AlgorithmType",
    "Segment",
    "iso_segments",
    "level_text",
    "named_segments",
    "segments_from_labels",
    "tumor_label",
]

ISO_LEVELS = (0.2, 0.4, 0.6, 0.8)
"""Levels of the map that are exported as nested segments: with five readers, at least one to four of them."""

WHOLE_READERS = 1e-6
"""A level this close to a whole number of readers is told as that number."""


EDITED = "edited by hand"
"""What the label says of an outline that is not the algorithm's alone."""


class AlgorithmType(str, Enum):
    """Who drew a segment (DICOM PS3.3 C.8.20.2, Segment Algorithm Type)."""

    AUTOMATIC = "AUTOMATIC"
    """The algorithm alone."""

    SEMIAUTOMATIC = "SEMIAUTOMATIC"
    """The algorithm, and a human who changed the outline."""

    MANUAL = "MANUAL"
    """A human alone."""


@dataclass(frozen=True)
class Segment:
    """One segment of a segmentation object.

    Attributes
    ----------
    name : str
        Short name, kept as the tracking identifier: ``tumor``, ``tumor-0.2``, ``SMA``.
    mask : Volume
        Voxels other than 0 belong to it, (z, y, x).
    structure : Structure
        Codes, colour and the label for people.
    level : float or None
        Least value of the map inside, for a nested level.
    algorithm_type : AlgorithmType
        Who drew it.
    """

    name: str
    mask: Volume
    structure: Structure
    level: float | None = None
    algorithm_type: AlgorithmType = AlgorithmType.AUTOMATIC


def segments_from_labels(segmentation: Volume, labels: Mapping[str, int]) -> dict[str, Volume]:
    """Split a label volume (z, y, x) into one boolean mask volume for each name of `labels`."""
    return {name: segmentation.with_array(segmentation.array == value) for name, value in labels.items()}


def level_text(level: float, meaning: MapMeaning = MapMeaning.MHR, raters: int | None = None) -> str:
    """Say in words what a map of this meaning states where it is at least `level` (0 to 1).

    With `raters`, the number of readers that the calibrator was fitted on, a level of so many whole readers is told as
    "at least 3 of 5 readers".
    """
    if meaning is not MapMeaning.MHR:
        kind = "uncalibrated score" if meaning is MapMeaning.SCORE else "calibrated probability"
        return f"{kind} at least {level:.4g}"
    readers = level * raters if raters else 0.0
    if raters and round(readers) >= 1 and abs(readers - round(readers)) < WHOLE_READERS:
        return f"at least {round(readers)} of {raters} readers"
    return f"at least {100 * level:.4g} % of readers"


def tumor_label(threshold: float, meaning: MapMeaning = MapMeaning.MHR, raters: int | None = None) -> str:
    """Say in words what the tumour segment of a map of this meaning, cut at `threshold` (0 to 1), shows."""
    return f"{TUMOR.label}, {level_text(threshold, meaning, raters)}"


def named_segments(
    masks: Mapping[str, Volume],
    threshold: float,
    meaning: MapMeaning,
    raters: int | None,
    drawn_by: Mapping[str, AlgorithmType] | None = None,
    remarked: Mapping[str, str] | None = None,
) -> list[Segment]:
    """Return the segments of `masks`, by their names; the tumour's label states where the map was cut.

    `drawn_by` names those that the algorithm did not draw alone; their label says so instead. `remarked` says of
    others what stands behind their label, such as who named them.
    """
    segments = []
    for name, mask in masks.items():
        structure, kind = structure_of(name), (drawn_by or {}).get(name, AlgorithmType.AUTOMATIC)
        if kind is not AlgorithmType.AUTOMATIC:
            structure = replace(structure, label=f"{structure.label}, {EDITED}")
        elif structure is TUMOR:
            structure = replace(TUMOR, label=f"{tumor_label(threshold, meaning, raters)} (working outline)")
        if remark := (remarked or {}).get(name):
            structure = replace(structure, label=f"{structure.label}, {remark}")
        segments.append(Segment(name, mask, structure, algorithm_type=kind))
    return segments


def iso_segments(probability: Volume, meaning: MapMeaning, raters: int | None) -> list[Segment]:
    """Return one segment for each of `ISO_LEVELS`, each inside the one before."""
    segments = []
    for level, color in zip(ISO_LEVELS, LEVEL_COLORS, strict=True):
        text = level_text(level, meaning, raters)
        modifier = Concept(f"LEVEL-{round(100 * level)}", text[0].upper() + text[1:], CODING_SCHEME)
        structure = replace(TUMOR, label=f"{TUMOR.label}, {text}", color=color, modifier=modifier)
        mask = probability.with_array(probability.array >= np.float32(level))
        segments.append(Segment(f"tumor-{level:g}", mask, structure, level))
    return segments
