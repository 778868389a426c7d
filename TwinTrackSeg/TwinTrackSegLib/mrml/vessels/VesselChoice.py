"""A vessel segmentation from the scene as the input of a run: which segment is which vessel, and its label map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from twintrack.errors import InputError
from twintrack.labels import VESSEL_VALUES, vessel_of_segment
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
    """

    node: Any
    segments: Mapping[str, str] = field(default_factory=dict)

    def labels(self, volumeNode: Any) -> tuple[Volume, dict[str, int]]:
        """Return the vessels as a label map (uint8) on the grid of `volumeNode`, and the value of each.

        Raises
        ------
        InputError
            If no vessel is chosen, a segment is gone, or two vessels are the same segment.
        """
        chosen = {name: identifier for name, identifier in self.segments.items() if identifier}
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
        for name, identifier in chosen.items():
            if self.node.GetSegmentation().GetSegment(identifier) is None:
                raise InputError(
                    f"the segment of {name} is no longer in '{self.node.GetName()}'; assign another",
                    code="segment-removed",
                )
            labels[segmentMask(self.node, identifier, volumeNode)] = VESSEL_VALUES[name]
        if not labels.any():
            raise InputError(
                f"the chosen segments of '{self.node.GetName()}' hold no voxel inside '{volumeNode.GetName()}'; "
                "choose the vessel segmentation of this CT",
                code="vessels-outside",
            )
        return Volume(labels, geometry), {name: VESSEL_VALUES[name] for name in chosen}


@dataclass(frozen=True)
class VesselMatch:
    """Which segment is which vessel, as far as codes and names tell.

    Attributes
    ----------
    segments : mapping of str to str
        Segment ID of each of the five vessels; empty where none is known or several could be it.
    several : mapping of str to tuple of str
        Names of the segments, for each vessel that more than one could be.
    """

    segments: Mapping[str, str]
    several: Mapping[str, tuple[str, ...]]


def drawnOn(node: Any) -> Any:
    """Return the volume on whose grid a segmentation was drawn; None if nobody knows."""
    return node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())


def matchVessels(node: Any) -> VesselMatch:
    """Say which segment of `node` is which vessel, by code, else by its whole name; none where several could be."""
    segmentation = node.GetSegmentation()
    found: dict[str, list[str]] = {name: [] for name in VESSEL_VALUES}
    for identifier in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(identifier)
        vessel = vessel_of_segment(segment.GetName(), codesOf(segment))
        if vessel is not None:
            found[vessel].append(identifier)
    return VesselMatch(
        segments={name: hits[0] if len(hits) == 1 else "" for name, hits in found.items()},
        several={
            name: tuple(segmentation.GetSegment(identifier).GetName() for identifier in hits)
            for name, hits in found.items()
            if len(hits) > 1
        },
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
