"""The brush in the page: the left button draws in a slice; the outline is measured when the brush is put away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import slicer
from TwinTrackSegLib.mrml.result.Brush import Brush
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult
from TwinTrackSegLib.present.Reading import ReadingPresenter
from TwinTrackSegLib.web.Scene import SPACE

__all__ = ["LEAST_MM", "MOST_MM", "Drawing", "DrawingState"]

USUAL_MM = 8.0
LEAST_MM, MOST_MM = 1.0, 60.0


@dataclass(frozen=True)
class DrawingState:
    """What the page shows of the brush.

    Attributes
    ----------
    active, erase, canUndo : bool
        Whether there is a brush, whether it takes away, and whether there is a stroke to be taken back.
    diameter_mm : float
        Of the disc.
    scales : dict of str to float
        Pixels of a millimetre in each slice view, for the circle at the mouse.
    """

    active: bool
    erase: bool
    canUndo: bool
    diameter_mm: float
    scales: dict[str, float]


class Drawing:
    """Holds the brush of the result that is shown.

    Parameters
    ----------
    views : mapping of str to AbstractView
        The views by their singleton tags.

    Attributes
    ----------
    erase : bool
        Whether the brush takes away.
    diameter_mm : float
        Of its disc, from `LEAST_MM` to `MOST_MM`.
    """

    def __init__(self, views: Mapping[str, Any]) -> None:
        self._views = views
        self._brush: Brush | None = None
        self._last: tuple[float, ...] | None = None
        self.erase, self.diameter_mm = False, USUAL_MM

    def open(self, result: SceneResult) -> None:
        """Take up the brush for a result; see `ReadingPresenter`."""
        self._brush = Brush(result)

    def follow(self, reading: ReadingPresenter) -> None:
        """Put the brush away where another result is shown, or one reader's map."""
        if self._brush is not None and (self._brush.result is not reading.result or not reading.state.editable):
            self._brush = self._last = None

    def close(self, reading: ReadingPresenter) -> None:
        """Put the brush away, and measure what was drawn."""
        if self._brush is not None:
            self._brush = self._last = None
            reading.takeUpEdit()

    @property
    def active(self) -> bool:
        """Whether there is a brush."""
        return self._brush is not None

    @property
    def state(self) -> DrawingState:
        """What is to be shown now."""
        scales = {tag: _pixelsPerMm(view) for tag, view in self._views.items() if tag != SPACE} if self.active else {}
        can = self._brush is not None and self._brush.canUndo
        return DrawingState(self.active, self.erase, can, self.diameter_mm, scales)

    def undo(self) -> None:
        """Take the last stroke back."""
        if self._brush is not None:
            self._brush.undo()

    def mouse(self, tag: str, event: Mapping[str, Any]) -> bool:
        """Draw with the left button of the mouse; return whether the view itself is to have nothing of it.

        Parameters
        ----------
        tag : str
            The view.
        event : mapping
            See `Pictures.interact`.
        """
        kind = event.get("kind")
        if self._brush is None or tag == SPACE or event.get("button") != 0 or kind not in ("press", "move", "release"):
            return False
        if kind == "press":
            self._brush.begin()
        elif self._last is None:
            return kind == "release"
        place, normal = _place(self._views[tag], float(event["x"]), float(event["y"]))
        start = self._last if kind != "press" and self._last is not None else place
        self._brush.draw(start, place, normal, self.diameter_mm, erase=self.erase)
        self._last = None if kind == "release" else place
        return True


def _pixelsPerMm(view: Any) -> float:
    node = slicer.mrmlScene.GetNodeByID(view.get_view_node_id())
    return float(node.GetDimensions()[0] / node.GetFieldOfView()[0])


def _place(view: Any, x: float, y: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return where a pixel lies and the direction across the slice, in RAS mm."""
    node = slicer.mrmlScene.GetNodeByID(view.get_view_node_id())
    place = node.GetXYToRAS().MultiplyPoint((x, y, 0.0, 1.0))[:3]
    matrix = node.GetSliceToRAS()
    return tuple(place), tuple(matrix.GetElement(row, 2) for row in range(3))
