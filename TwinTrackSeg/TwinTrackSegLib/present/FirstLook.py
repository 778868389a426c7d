"""What somebody new is told: a sample case to begin with, drawn into the scene without a network."""

from __future__ import annotations

from dataclasses import dataclass

from TwinTrackSegLib.present.Translation import tr as _

__all__ = ["SampleOffer", "drawing", "drawn", "sampleOffer", "title"]


@dataclass(frozen=True)
class SampleOffer:
    """A button that brings the sample case; offered only while there is nothing to segment."""

    offered: bool
    text: str
    tip: str


def sampleOffer(*, empty: bool) -> SampleOffer:
    """Return the offer; `empty` says whether no CT is chosen and none is in the scene."""
    return SampleOffer(
        empty,
        _("Try a sample case"),
        _("Draws a synthetic CT with five readers' outlines into the scene; nothing is downloaded"),
    )


def title() -> str:
    """Return the name of the module's samples in Slicer's Sample Data module."""
    return _("TwinTrackSeg")


def drawing() -> str:
    """Say that the sample case is being drawn."""
    return _("Drawing a phantom CT and its readers' outlines...")


def drawn() -> str:
    """Say that it is there."""
    return _("The phantom CT and its readers' outlines are in the scene.")
