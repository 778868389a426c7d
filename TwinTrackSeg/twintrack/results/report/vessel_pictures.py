"""Pictures of one vessel for a radiologist: the worst cross-section, the angle curve, and the wall laid flat.

Directions are told by the patient: A anterior, P posterior, R right, L left, H head, F foot.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from twintrack.invasion.rater_categories import CATEGORY_THRESHOLD, ENCASEMENT_DEG
from twintrack.invasion.result import InvasionResult, VesselInvasion
from twintrack.invasion.wall import VesselWall
from twintrack.invasion.worst_section import WorstSection
from twintrack.results.report.overview import HU_WINDOW, color_map, drawn, save_png
from twintrack.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image

__all__ = ["half_width_mm", "letter", "sampled", "screen_axes", "section_of", "vessel_pictures"]

HALF_WIDTH_MM = 22.0
"""Half the edge of the cross-section picture, or more for wide vessels."""

PIXELS = 220

LEAST_CONTACT = 0.1
"""Fraction of raters with contact from which a vessel is drawn."""

ISO_LEVELS = (0.2, 0.5, 0.8)

PLACES = (
    (0.004, 0.132, 0.246, 0.797),
    (0.302, 0.121, 0.271, 0.818),
    (0.604, 0.121, 0.332, 0.818),
    (0.944, 0.121, 0.0115, 0.818),
)
"""Cross-section, curve, wall and colour bar: left, bottom, width and height in parts of the picture. The letters around
them are of known size; a search for places that fit, which the library offers, takes half of the time of drawing."""

AXES_LPS = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1)}

Reals = NDArray[np.float64]


def vessel_pictures(ct: Volume, probability: Volume, result: InvasionResult) -> dict[str, bytes]:
    """Draw every vessel that at least a few raters would see contact with.

    Parameters
    ----------
    ct : Volume
        HU on any grid.
    probability : Volume
        The map that was measured, on any grid.
    result : InvasionResult
        What was measured.

    Returns
    -------
    dict of str to bytes
        PNG by the vessel's name; vessels below `LEAST_CONTACT` have none.
    """
    shown = {
        name: (vessel, vessel.wall, vessel.worst)
        for name, vessel in result.vessels.items()
        if vessel.wall is not None and vessel.worst is not None and (vessel.p_contact or 0.0) >= LEAST_CONTACT
    }
    sheet = _Sheet() if shown else None
    return {} if sheet is None else {name: sheet.picture(ct, probability, result, *of) for name, of in shown.items()}


def half_width_mm(radius_mm: Reals) -> float:
    """Return half the edge of the picture across a vessel of such distances from middle to wall."""
    return max(HALF_WIDTH_MM, 2.2 * float(np.nanmax(radius_mm)))


def section_of(png: bytes) -> Image:
    """Return the cross-section alone, out of a picture that `vessel_pictures` drew."""
    from PIL import Image

    left, bottom, width, height = PLACES[0]
    with Image.open(io.BytesIO(png)) as opened:
        picture = opened.convert("RGB")
    across, down = picture.size
    box = (left * across, (1 - bottom - height) * down, (left + width) * across, (1 - bottom) * down)
    return picture.crop(tuple(round(edge) for edge in box))


class _Sheet:
    """A figure with its axes and its colour bar, drawn on for one vessel after the other: to make them takes long."""

    def __init__(self) -> None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize
        from matplotlib.figure import Figure

        self._figure = Figure(figsize=(12.6, 3.9), dpi=100)
        self._section, self._curve, self._flat, scale = (self._figure.add_axes(place) for place in PLACES)
        bar = self._figure.colorbar(ScalarMappable(Normalize(0, 1), color_map()), cax=scale)
        bar.set_label("level of the map up to which there is contact")

    def picture(
        self,
        ct: Volume,
        probability: Volume,
        result: InvasionResult,
        vessel: VesselInvasion,
        wall: VesselWall,
        worst: WorstSection,
    ) -> bytes:
        """Draw one vessel; return the PNG."""
        for axes in (self._section, self._curve, self._flat):
            _empty(axes)
        right, up = screen_axes(wall.tangent_lps[worst.number])
        _draw_section(self._section, ct, probability, wall, worst, right, up)
        _draw_curve(self._curve, result, vessel)
        _draw_wall(self._flat, wall, worst, up, right)
        data = io.BytesIO()
        save_png(drawn(self._figure), data)
        return data.getvalue()


def _empty(axes: Axes) -> None:
    """Take what is drawn off axes, and its limits with it; ticks and texts around them stay."""
    for artist in (*axes.lines, *axes.images, *axes.collections, *axes.texts):
        artist.remove()
    axes.ignore_existing_data_limits = True
    axes.autoscale()


def screen_axes(tangent: Reals) -> tuple[Reals, Reals]:
    """Return the picture's right and up in LPS: seen from the feet with anterior up, where the vessel allows."""
    wish = np.array([0.0, -1.0, 0.0]) if abs(tangent[1]) < np.sqrt(0.5) else np.array([0.0, 0.0, 1.0])
    up = wish - (wish @ tangent) * tangent
    up /= np.linalg.norm(up)
    right = np.cross(up, tangent)
    side = right[np.argmax(np.abs(right))]
    # The patient's left is on the picture's right; where left and right do not show, posterior is.
    return (right if side > 0 else -right), up


def letter(direction: Reals) -> str:
    """Name a direction by the patient's axis it is nearest to."""
    return max(AXES_LPS, key=lambda name: float(np.dot(AXES_LPS[name], direction)))


def sampled(volume: Volume, points_lps: Reals, outside: float) -> Reals:
    """Interpolate a volume at LPS points (..., 3)."""
    index = np.moveaxis(volume.geometry.to_index(points_lps)[..., ::-1], -1, 0)
    low = np.maximum(np.floor(index.reshape(3, -1).min(axis=1)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(index.reshape(3, -1).max(axis=1)).astype(int) + 2, volume.array.shape)
    if np.any(high <= low):
        return np.full(points_lps.shape[:-1], outside)
    part = volume.array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.float32)
    shifted = index - low.reshape(3, *(1,) * (index.ndim - 1))
    return np.asarray(ndimage.map_coordinates(part, shifted, order=1, mode="constant", cval=outside), dtype=float)


def _draw_section(
    axes: Axes, ct: Volume, probability: Volume, wall: VesselWall, worst: WorstSection, right: Reals, up: Reals
) -> None:
    """Draw CT, iso-contours, wall and touched arc of the worst section."""
    center = wall.center_lps_mm[worst.number]
    radius = wall.wall_mm[worst.number]
    half = half_width_mm(radius)
    ticks = np.linspace(-half, half, PIXELS)
    plane = center + ticks[None, :, None] * right + ticks[:, None, None] * up
    low, high = HU_WINDOW
    extent = (-half, half, -half, half)
    axes.imshow(sampled(ct, plane, -1000.0), cmap="gray", vmin=low, vmax=high, extent=extent, origin="lower")
    p = sampled(probability, plane, 0.0)
    if p.max() > min(ISO_LEVELS):
        axes.contour(ticks, ticks, p, levels=ISO_LEVELS, colors="white", linewidths=(0.5, 0.9, 0.5))
    points = radius[:, None] * wall.directions_lps(worst.number)
    x, y = points @ right, points @ up
    axes.plot([*x, x[0]], [*y, y[0]], color="#7fd6ff", linewidth=0.8)
    level = wall.level[worst.number]
    visible = level >= 0.05
    axes.scatter(
        1.06 * x[visible], 1.06 * y[visible], c=level[visible], cmap=color_map(), vmin=0, vmax=1, s=9, zorder=3
    )
    for text, place, turn in (
        (letter(up), (0.5, 0.98), ("center", "top")),
        (letter(-up), (0.5, 0.02), ("center", "bottom")),
        (letter(right), (0.98, 0.5), ("right", "center")),
        (letter(-right), (0.02, 0.5), ("left", "center")),
    ):
        axes.text(*place, text, transform=axes.transAxes, ha=turn[0], va=turn[1], color="#ffd84d", fontsize=11)
    axes.plot([-half + 2, -half + 12], [-half + 2, -half + 2], color="white", linewidth=2)
    axes.text(-half + 2, -half + 3, "10 mm", color="white", fontsize=8)
    axes.set_title(f"Worst cross-section: {worst.angle_deg:.0f}° at level {worst.level:.2g}", fontsize=10, y=1.0)
    axes.set_axis_off()


def _draw_curve(axes: Axes, result: InvasionResult, vessel: VesselInvasion) -> None:
    """Draw contact angle and enclosing arc of the outline at each level of the map."""
    thresholds = np.array(result.thresholds)
    angle, arc = (np.array(values, dtype=float) for values in (vessel.angle_deg, vessel.arc_deg))
    axes.axhline(ENCASEMENT_DEG, color="#7c8794", linestyle="--", linewidth=1)
    axes.text(0.99, ENCASEMENT_DEG + 4, "180°", ha="right", va="bottom", fontsize=8, color="#55606e")
    axes.plot(thresholds, arc, color="#0b5a83", linestyle=":", label="smallest enclosing arc")
    axes.plot(thresholds, angle, color="#b3261e", linewidth=2, label="contact angle")
    axes.axvline(CATEGORY_THRESHOLD, color="#0b5a83", linewidth=0.8, linestyle=(0, (1, 3)))
    axes.set(xlim=(0, 1), ylim=(0, 365), xlabel="level of the map", ylabel="degrees")
    axes.set_yticks(range(0, 361, 90))
    axes.set_title("Contact of the outline at each level", fontsize=10, y=1.0)
    axes.legend(fontsize=8, loc="best")


def _draw_wall(axes: Axes, wall: VesselWall, worst: WorstSection, up: Reals, right: Reals) -> None:
    """Draw the levels of the worst section's branch: direction against length."""
    rows = np.flatnonzero(wall.branch == wall.branch[worst.number])
    along_mm = np.cumsum(wall.step_mm[rows])
    along_mm -= along_mm[np.searchsorted(rows, worst.number)]
    if wall.tangent_lps[worst.number, 2] < 0:
        rows, along_mm = rows[::-1], -along_mm[::-1]
    # Turned so that the picture's up is in the middle, then right, down and left of the cross-section.
    fan = wall.directions_lps(worst.number)
    turn = np.degrees(np.arctan2(fan @ right, fan @ up))
    order = np.argsort(turn)
    level = np.where(np.isnan(wall.wall_mm), np.nan, wall.level)[rows][:, order]
    shown = np.ma.masked_invalid(level.T)
    axes.set_facecolor("#d5dbe2")
    axes.pcolormesh(along_mm, turn[order], shown, cmap=color_map(), vmin=0, vmax=1, shading="nearest", rasterized=True)
    if shown.max() > min(ISO_LEVELS):
        axes.contour(along_mm, turn[order], shown, levels=ISO_LEVELS, colors="white", linewidths=(0.6, 1.2, 0.6))
    axes.axvline(0, color="#7fd6ff", linewidth=1)
    letters = [letter(-up), letter(-right), letter(up), letter(right), letter(-up)]
    axes.set_yticks([-180, -90, 0, 90, 180], letters)
    axes.set(xlabel="mm along the vessel, towards the head (0: worst section)", ylim=(-180, 180))
    axes.set_title("Wall laid flat, colour: level of the map", fontsize=10, y=1.0)
