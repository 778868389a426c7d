"""What the slice views show beside the outline: overlay and how much it covers, grey values, a lesion in the middle."""

from __future__ import annotations

from dataclasses import dataclass

from TwinTrackSegLib.mrml.display.Views import jumpToPoint, overlayOpacity, setOverlayOpacity, setWindow, windowOf
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult
from TwinTrackSegLib.mrml.result.TumorOutline import lesionTexts
from TwinTrackSegLib.present.Translation import tr as _

__all__ = ["WINDOWS_HU", "ViewChoices", "ViewState", "WindowPreset"]

WINDOWS_HU = {"pancreas": (400.0, 40.0), "liver": (150.0, 30.0), "vessels": (600.0, 200.0)}
"""Window and level: soft tissue of the abdomen, the liver's small differences, contrast agent in vessels."""

USUAL_PERCENT = 50


@dataclass(frozen=True)
class WindowPreset:
    """A button that sets the grey values of the CT; pressed while they are as it would set them."""

    name: str
    text: str
    tip: str
    pressed: bool


@dataclass(frozen=True)
class ViewState:
    """What can be chosen of the views.

    Attributes
    ----------
    overlay : bool
        Whether the map's colours lie over the CT.
    opacity_percent : int
        How much they cover it, also while they are away.
    windows : tuple of WindowPreset
        Grey values.
    lesions : tuple of str
        The lesions of the outline, the largest first.
    """

    overlay: bool = False
    opacity_percent: int = USUAL_PERCENT
    windows: tuple[WindowPreset, ...] = ()
    lesions: tuple[str, ...] = ()


class ViewChoices:
    """Changes what the views show; the result itself stays as it is."""

    def __init__(self) -> None:
        self._opacityPercent = USUAL_PERCENT

    def stateOf(self, result: SceneResult | None) -> ViewState:
        """Return what can be chosen for a result."""
        if result is None:
            return ViewState(windows=_windows(None))
        shown = round(100 * overlayOpacity(result.nodes.overlay))
        if shown:
            self._opacityPercent = shown
        current = windowOf(result.nodes.ct) if result.nodes.ct is not None else None
        lesions = [_lesion(row) for row in lesionTexts(result.nodes.lesionTable)]
        return ViewState(bool(shown), self._opacityPercent, _windows(current), tuple(lesions))

    def showOverlay(self, result: SceneResult | None, shown: bool) -> None:
        """Lay the map's colours over the CT as they were last, or take them away."""
        if result is not None:
            setOverlayOpacity(result.nodes.overlay, self._opacityPercent / 100 if shown else 0.0)

    def setOpacity(self, result: SceneResult | None, percent: int) -> None:
        """Let the colours cover so much of the CT; away ones come back."""
        self._opacityPercent = percent
        self.showOverlay(result, True)

    def setWindow(self, result: SceneResult | None, name: str) -> None:
        """Show the CT of the result with the grey values of that name."""
        if result is not None and result.nodes.ct is not None:
            setWindow(result.nodes.ct, *WINDOWS_HU[name])

    def showLesion(self, result: SceneResult | None, number: int) -> None:
        """Bring a lesion, counted from 0, into the middle of all views."""
        rows = lesionTexts(result.nodes.lesionTable) if result is not None else []
        if result is not None and 0 <= number < len(rows):
            right, anterior, superior = (float(text) for text in rows[number][-3:])
            jumpToPoint(result.nodes.mhr, (right, anterior, superior))


def _windows(current: tuple[float, float] | None) -> tuple[WindowPreset, ...]:
    texts = {"pancreas": _("Pancreas"), "liver": _("Liver"), "vessels": _("Vessels")}
    tip = _("Grey values: window {window:.0f} HU, level {level:.0f} HU")
    return tuple(
        WindowPreset(name, texts[name], tip.format(window=hu[0], level=hu[1]), current == hu)
        for name, hu in WINDOWS_HU.items()
    )


def _lesion(row: tuple[str, ...]) -> str:
    number, volume, diameter = row[:3]
    return _("{number}: {volume} mL, {diameter} mm across").format(number=number, volume=volume, diameter=diameter)
