"""Vessels that the user has segmented, and a region: which segment is which vessel, for one CT alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from TwinTrackSegLib.mrml.site.StructureFiles import (
    Structures,
    loadRegion,
    pathOf,
    structuresStep,
    takeStructures,
)
from TwinTrackSegLib.mrml.vessels.VesselChoice import VesselChoice, drawnOn, matchVessels
from TwinTrackSegLib.present.Host import Host
from TwinTrackSegLib.present.ModelChoice import VESSEL_TITLES
from TwinTrackSegLib.present.Translation import tr as _

__all__ = ["OwnVessels", "VesselParameters", "VesselsState"]


class VesselParameters(Protocol):
    """What is chosen in the scene, as far as vessels go; whoever holds it calls `OwnVessels.follow` at a change.

    Attributes
    ----------
    vesselSegmentation : vtkMRMLSegmentationNode or None
        Vessels to be measured in place of the model's.
    vesselMapping : str
        Which of its segments is which vessel, as JSON; empty before anybody chose.
    regionOfInterest : vtkMRMLMarkupsROINode or None
        Where to look, in place of the region that the model finds.
    """

    vesselSegmentation: Any
    vesselMapping: str
    regionOfInterest: Any


@dataclass(frozen=True)
class VesselsState:
    """What a front end shows.

    Attributes
    ----------
    offered : bool
        Whether there is a segmentation whose segments can be chosen.
    segments : tuple of (str, str)
        ID and name of each of its segments, and first an empty one for none.
    chosen : mapping of str to str
        Segment ID of each vessel; empty for none.
    name, region : str
        What segmentation and region are called; empty for those of the model.
    hint : str
        Segments that could be the same vessel, as long as none of them is chosen for it.
    """

    offered: bool = False
    segments: tuple[tuple[str, str], ...] = ()
    chosen: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    region: str = ""
    hint: str = ""


class OwnVessels:
    """Guesses which segment is which vessel, and keeps what the user says.

    Parameters
    ----------
    host : Host
        The application.
    changed : callable
        Called without arguments whenever `state` is another.
    """

    def __init__(self, host: Host, changed: Callable[[], None]) -> None:
        self._host, self._changed = host, changed
        self._parameters: VesselParameters | None = None
        self._seen: tuple[str, tuple[str, ...]] | None = None
        self._chosen: dict[str, str] = {}
        self._several: Mapping[str, tuple[str, ...]] = {}
        self._classes: Mapping[str, str] = {}

    def bind(self, parameters: VesselParameters | None) -> None:
        """Take up the parameters of a scene, or none."""
        self._parameters, self._seen = parameters, None

    @property
    def state(self) -> VesselsState:
        """What is to be shown now."""
        node = self._segmentation
        box = self._parameters.regionOfInterest if self._parameters is not None else None
        region = box.GetName() if box is not None else ""
        if node is None:
            return VesselsState(region=region)
        segmentation = node.GetSegmentation()
        segments = [(key, segmentation.GetSegment(key).GetName()) for key in segmentation.GetSegmentIDs()]
        return VesselsState(
            offered=True,
            segments=(("", _("none")), *segments),
            chosen=dict(self._chosen),
            name=node.GetName(),
            region=region,
            hint="\n".join(filter(None, (self._ofClasses(), _hint(self._several, self._chosen)))),
        )

    @property
    def choice(self) -> VesselChoice | None:
        """The vessels to be measured; None for those of the model."""
        node = self._segmentation
        return None if node is None else VesselChoice(node, dict(self._chosen), dict(self._classes))

    def follow(self) -> None:
        """Follow the parameters: guess which segment is which vessel where the segmentation is new."""
        node, parameters = self._segmentation, self._parameters
        if node is None or parameters is None:
            self._seen, self._several, self._classes = None, {}, {}
            self._changed()
            return
        identifiers = tuple(node.GetSegmentation().GetSegmentIDs())
        if (node.GetID(), identifiers) != self._seen:
            self._seen = (node.GetID(), identifiers)
            saved = json.loads(parameters.vesselMapping or "{}")
            usable = saved and all(not key or key in identifiers for key in saved.values())
            match = matchVessels(node)
            mapping = saved if usable else match.segments
            self._chosen = {name: mapping.get(name, "") for name in VESSEL_TITLES}
            self._several, self._classes = match.several, match.classes
        self._changed()

    def choose(self, vessel: str, segment: str) -> None:
        """Let a segment be a vessel, or none for an empty ID."""
        self._chosen[vessel] = segment
        if self._parameters is not None:
            self._parameters.vesselMapping = json.dumps(self._chosen)
        self._changed()

    def chooseFile(self, typed: str, inputVolume: Any) -> None:
        """Let the vessels be those of a file of this computer, or the model's again for an empty path.

        Parameters
        ----------
        typed : str
            Path of a label map, as somebody typed it.
        inputVolume : vtkMRMLScalarVolumeNode
            The CT.
        """
        parameters = self._parameters
        if parameters is None:
            return

        def done(found: Structures) -> None:
            parameters.vesselSegmentation = takeStructures(found, inputVolume)
            self._host.say(" ".join(found.notes))
            self.follow()

        if not typed.strip():
            parameters.vesselSegmentation = None
            self.follow()
            return
        with self._host.guarded():
            self._host.aside(structuresStep(pathOf(typed), inputVolume), done)

    def chooseRegion(self, typed: str) -> None:
        """Look in the region of a file of this computer, or where the model looks again for an empty path."""
        if self._parameters is not None:
            with self._host.guarded():
                self._parameters.regionOfInterest = loadRegion(pathOf(typed)) if typed.strip() else None
            self._changed()

    def letGo(self, inputVolume: Any) -> None:
        """Choose no vessels and no region any more that were chosen for another CT than `inputVolume`."""
        parameters = self._parameters
        if parameters is None:
            return
        vessels, region = parameters.vesselSegmentation, parameters.regionOfInterest
        others = vessels is not None and drawnOn(vessels) is not inputVolume
        if others:
            parameters.vesselSegmentation = None
        if others or region is not None:
            self._host.say(_("Another CT: vessels and region of the last one are no longer chosen."))
        parameters.regionOfInterest = None

    def _ofClasses(self) -> str:
        """Say that vessels will get their names by anatomy, and from what; empty where they have names."""
        choice = self.choice
        if choice is None or not choice.areClasses:
            return ""
        segmentation = choice.node.GetSegmentation()
        names = [segmentation.GetSegment(key).GetName() for key in choice.classes.values()]
        return _("Vessels will be named by anatomy, from {segments}; check the names in the result.").format(
            segments=", ".join(names)
        )

    @property
    def _segmentation(self) -> Any:
        return self._parameters.vesselSegmentation if self._parameters is not None else None


def _hint(several: Mapping[str, tuple[str, ...]], chosen: Mapping[str, str]) -> str:
    sentences = [
        _("{count} segments could be the {vessel}: {names}; choose one.").format(
            count=len(names), vessel=VESSEL_TITLES[name].lower(), names=", ".join(names)
        )
        for name, names in several.items()
        if not chosen[name]
    ]
    return "\n".join(sentences)
