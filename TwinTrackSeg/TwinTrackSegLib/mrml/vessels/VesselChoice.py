"""A vessel segmentation from the scene as the input of a run: which segment is which vessel, and its label map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from twintrack.errors import InputError
from twintrack.labels import VESSEL_VALUES, VESSELS, vessel_of
from twintrack.volume import Volume
from TwinTrackSegLib.mrml.VolumeConversion import geometryFromNode, segmentMask

__all__ = ["VesselChoice", "matchVessels"]


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
                f"no segment of '{self.node.GetName()}' is assigned to a vessel; assign one, or choose no vessels"
            )
        if len(set(chosen.values())) < len(chosen):
            raise InputError("two vessels are assigned to the same segment; give each vessel its own")
        geometry = geometryFromNode(volumeNode)
        labels = np.zeros(geometry.shape, dtype=np.uint8)
        for name, identifier in chosen.items():
            if self.node.GetSegmentation().GetSegment(identifier) is None:
                raise InputError(f"the segment of {name} is not in '{self.node.GetName()}' any more; assign another")
            labels[segmentMask(self.node, identifier, volumeNode)] = VESSEL_VALUES[name]
        if not labels.any():
            raise InputError(
                f"the chosen segments of '{self.node.GetName()}' hold no voxel inside '{volumeNode.GetName()}'; "
                "choose the vessel segmentation of this CT"
            )
        return Volume(labels, geometry), {name: VESSEL_VALUES[name] for name in chosen}


def matchVessels(node: Any) -> dict[str, str]:
    """Guess which segment of `node` is which vessel, by SNOMED CT code, else by name; empty for those not found."""
    segmentation = node.GetSegmentation()
    identifiers = list(segmentation.GetSegmentIDs())
    codes = {identifier: _codesOf(segmentation.GetSegment(identifier)) for identifier in identifiers}
    found: dict[str, str] = {}
    for vessel in VESSELS:
        coded = [i for i in identifiers if vessel.snomed_code in codes[i]]
        named = [i for i in identifiers if vessel_of(segmentation.GetSegment(i).GetName()) == vessel.name]
        found[vessel.name] = next((i for i in [*coded, *named] if i not in found.values()), "")
    return found


def _codesOf(segment: Any) -> set[str]:
    """Return the code values of a segment's terminology entry, whatever its context."""
    parts = (segment.GetTerminology() or "").split("~")
    return {code.split("^")[1] for code in parts if code.count("^") == 2 and code.split("^")[1]}
