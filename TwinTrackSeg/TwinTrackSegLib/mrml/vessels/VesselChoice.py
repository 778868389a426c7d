"""A vessel segmentation from the scene as the input of a run: which segment is which vessel, and its label map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from twintrack.errors import InputError
from twintrack.labels import STRUCTURES, VESSEL_VALUES, VESSELS_OF_CLASSES, structure_of, vessel_of_segment
from twintrack.volume import Volume
from TwinTrackSegLib.mrml.VolumeConversion import geometryFromNode, segmentMask

__all__ = ["VesselChoice", "VesselMatch", "codesOf", "drawnOn", "matchVessels"]

ANY_VESSEL = {
    *(("SCT", value) for value in ("59820001", "51114001", "29092000")),
    *(("SRT", value) for value in ("T-40000", "T-41000", "T-48000")),
}
"""Blood vessel, artery and vein: types that leave it to the anatomic region which one it is."""

PARTS_OF_ENTRY = 7


@dataclass(frozen=True)
class VesselChoice:
    """Segments to be used as vessels in place of the bundle's own.

    Attributes
    ----------
    node : vtkMRMLSegmentationNode
        Where the segments are.
    segments : mapping of str to str
        Segment ID of each vessel; vessels that are not there are left out.
    classes : mapping of str to str
        Segment ID of each of `twintrack.labels.STRUCTURES` that vessels can be named from by anatomy. They count where
        no vessel but the aorta is assigned.
    """

    node: Any
    segments: Mapping[str, str] = field(default_factory=dict)
    classes: Mapping[str, str] = field(default_factory=dict)

    @property
    def areClasses(self) -> bool:
        """Whether vessels are to be named by anatomy, from segments of all arteries and all veins."""
        assigned = {name for name, identifier in self.segments.items() if identifier}
        return bool(VESSELS_OF_CLASSES & set(self.classes)) and assigned <= {"AORTA"}

    def labels(self, volumeNode: Any) -> tuple[Volume, dict[str, int]]:
        """Return the vessels as a label map (uint8) on the grid of `volumeNode`, and the value of each.

        Raises
        ------
        InputError
            If no vessel is chosen, a segment is gone, or two vessels are the same segment.
        """
        chosen, values = {name: identifier for name, identifier in self.segments.items() if identifier}, VESSEL_VALUES
        if self.areClasses:
            chosen, values = {**self.classes, **chosen}, STRUCTURES
        if not chosen:
            raise InputError(
                f"no segment of '{self.node.GetName()}' is assigned to a vessel; assign one, or choose no vessels",
                code="no-vessel-assigned",
            )
        if len(set(chosen.values())) < len(chosen):
            raise InputError(
                "two vessels are assigned to the same segment; give each vessel its own", code="vessels-share-label"
            )
        geometry = geometryFromNode(volumeNode)
        labels = np.zeros(geometry.shape, dtype=np.uint8)
        order = sorted(chosen, key=lambda name: -values[name]) if self.areClasses else chosen  # the aorta wins
        for name in order:
            identifier = chosen[name]
            if self.node.GetSegmentation().GetSegment(identifier) is None:
                raise InputError(
                    f"the segment of {name} is no longer in '{self.node.GetName()}'; assign another",
                    code="segment-removed",
                )
            labels[segmentMask(self.node, identifier, volumeNode)] = values[name]
        if not labels.any():
            raise InputError(
                f"the chosen segments of '{self.node.GetName()}' hold no voxel inside '{volumeNode.GetName()}'; "
                "choose the vessel segmentation of this CT",
                code="vessels-outside",
            )
        return Volume(labels, geometry), {name: values[name] for name in chosen}


@dataclass(frozen=True)
class VesselMatch:
    """Which segment is which vessel, as far as codes and names tell.

    Attributes
    ----------
    segments : mapping of str to str
        Segment ID of each of the five vessels; empty where none is known or several could be it.
    several : mapping of str to tuple of str
        Names of the segments, for each vessel that more than one could be.
    classes : mapping of str to str
        Segment ID of each of `twintrack.labels.STRUCTURES` that one segment alone is called.
    """

    segments: Mapping[str, str]
    several: Mapping[str, tuple[str, ...]]
    classes: Mapping[str, str] = field(default_factory=dict)


def drawnOn(node: Any) -> Any:
    """Return the volume on whose grid a segmentation was drawn; None if nobody knows."""
    return node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())


def matchVessels(node: Any) -> VesselMatch:
    """Say which segment of `node` is which vessel, by code, else by its whole name; none where several could be."""
    segmentation = node.GetSegmentation()
    found: dict[str, list[str]] = {name: [] for name in VESSEL_VALUES}
    classes: dict[str, list[str]] = {}
    for identifier in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(identifier)
        vessel = vessel_of_segment(segment.GetName(), codesOf(segment))
        if vessel is not None:
            found[vessel].append(identifier)
        if (structure := structure_of(segment.GetName())) is not None:
            classes.setdefault(structure, []).append(identifier)
    return VesselMatch(
        segments={name: hits[0] if len(hits) == 1 else "" for name, hits in found.items()},
        several={
            name: tuple(segmentation.GetSegment(identifier).GetName() for identifier in hits)
            for name, hits in found.items()
            if len(hits) > 1
        },
        classes={name: hits[0] for name, hits in classes.items() if len(hits) == 1},
    )


def codesOf(segment: Any) -> list[tuple[str, str]]:
    """Return scheme and value of the concept that says what a segment is; empty where the entry does not tell.

    That is the type, or the anatomic region of something that is a vessel and no more: a tumour, a thrombus or a lymph
    node lies at a vessel and is none. A modifier, such as the left one of two, makes it a part of the vessel.
    """
    parts = [_code(part) for part in (segment.GetTerminology() or "").split("~")]
    # Context of types, category, type, its modifier, context of regions, region, its modifier.
    _, _, kind, kindModifier, _, region, regionModifier = (parts + [None] * PARTS_OF_ENTRY)[:PARTS_OF_ENTRY]
    code, modifier = (region, regionModifier) if kind in ANY_VESSEL else (kind, None)
    return [code] if code and not modifier and not kindModifier else []


def _code(part: str) -> tuple[str, str] | None:
    """Return scheme and value of one part of an entry, ``scheme^value^meaning``; None if it is empty or no code."""
    scheme, value = [*part.split("^"), "", ""][:2]
    return (scheme, value) if scheme and value else None
