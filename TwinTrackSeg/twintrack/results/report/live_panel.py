"""The live panel of a report: a piece of CT and map, and what is said at each threshold, for a script without sums.

Whatever the panel shows as a number is a string made here, by the same functions as the report's own; the script only
draws. Voxels lie on a grid of the patient's axes (x to the left, y to the back, z to the head), so that no script needs
to know about oblique or left-handed images.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twintrack.imaging.map_colors import map_colors
from twintrack.invasion.result import InvasionResult
from twintrack.results.report.overview import HU_WINDOW, ISO_LEVELS, OPACITY
from twintrack.results.report.vessel_pictures import half_width_mm, letter, sampled, screen_axes
from twintrack.results.report.vessel_rows import by_severity, outline_lines, vessel_rows
from twintrack.results.report.wording import outline_text, with_unit
from twintrack.volume import Geometry, Volume

__all__ = ["live_panel"]

THRESHOLDS = tuple(number / 100 for number in range(1, 101))
"""Steps of the slider."""

LEAST_MAP = 0.1
MARGIN_MM = 15.0
"""The piece is where the map is at least this, and so far around."""

STEP_MM = 1.0
MOST_VOXELS = 900_000
"""Edge of a voxel of the panel, and how many there may be: a larger piece gets larger voxels, and says so."""

CT_GRAYS = 64
"""Grey values of the CT, over the window: steps of 5 HU, half the bytes of 256."""


@dataclass(frozen=True)
class _Piece:
    """A box of the patient's axes: first voxel's centre (x, y, z) in mm LPS, voxels (x, y, z), their edge in mm."""

    first_lps_mm: NDArray[np.float64]
    size: tuple[int, int, int]
    step_mm: float

    def points(self) -> NDArray[np.float64]:
        """Return the centres (z, y, x, 3) in mm, LPS."""
        x, y, z = (
            start + self.step_mm * np.arange(count) for start, count in zip(self.first_lps_mm, self.size, strict=True)
        )
        z_grid, y_grid, x_grid = np.meshgrid(z, y, x, indexing="ij")
        return np.stack([x_grid, y_grid, z_grid], axis=-1)

    def place(self, lps_mm: Any) -> list[float]:
        """Return a place as (x, y, z) in voxels of the piece."""
        return [
            round(float(value), 2) for value in (np.asarray(lps_mm, dtype=float) - self.first_lps_mm) / self.step_mm
        ]


def live_panel(
    ct: Volume, probability: Volume, invasion: InvasionResult | None, result: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return what the panel's script needs, as JSON values; None where the map is nowhere as high as `LEAST_MAP`.

    Parameters
    ----------
    ct, probability : Volume
        HU, and the map that was measured, on one grid of any orientation.
    invasion : InvasionResult or None
        What was measured at the vessels.
    result : mapping
        Content of ``result.json``.
    """
    piece = _piece(probability)
    if piece is None:
        return None
    points = piece.points()
    low, high = HU_WINDOW
    gray = np.clip((sampled(ct, points, -1000.0) - low) / (high - low), 0.0, 1.0)
    map_values = np.clip(sampled(probability, points, 0.0), 0.0, 1.0)
    raters = (result.get("bundle") or {}).get("raters")
    calibrated = result.get("calibrator", True) is not None
    return {
        "size": list(piece.size),
        "step_mm": piece.step_mm,
        "ct": _packed(np.rint(gray * (CT_GRAYS - 1)) * (255 // (CT_GRAYS - 1))),
        "map": _packed(np.rint(map_values * 255)),
        "colors": _colors(),
        "shown": round(min(ISO_LEVELS) * 255),
        "opacity": OPACITY,
        "start": _nearest(float(result["threshold"])),
        "at": piece.place(_middle(probability)),
        "levels": [outline_text(threshold, calibrated=calibrated) for threshold in THRESHOLDS],
        "volumes": _volumes(probability),
        "ticks": [_nearest(count / raters) for count in range(1, raters + 1)] if calibrated and raters else [],
        "vessels": [] if invasion is None else _vessels(invasion, piece),
    }


def _piece(probability: Volume) -> _Piece | None:
    """Return the box of the patient's axes around all that is seen of the map."""
    seen = np.asarray(probability.array) >= LEAST_MAP
    spans = []
    for axis in range(3):
        hit = np.flatnonzero(seen.any(axis=tuple(other for other in range(3) if other != axis)))
        if not len(hit):
            return None
        spans.append((hit[0] - 0.5, hit[-1] + 0.5))
    corners = np.array([[x, y, z] for z in spans[0] for y in spans[1] for x in spans[2]])
    lps = probability.geometry.to_lps_mm(corners)
    whole = probability.geometry.to_lps_mm(_corners(probability.geometry))
    first = np.maximum(lps.min(axis=0) - MARGIN_MM, whole.min(axis=0))
    last = np.minimum(lps.max(axis=0) + MARGIN_MM, whole.max(axis=0))
    step = max(STEP_MM, float(np.prod(np.maximum(last - first, STEP_MM)) / MOST_VOXELS) ** (1 / 3))
    x, y, z = (max(2, int(np.floor(length / step)) + 1) for length in last - first)
    return _Piece(first, (x, y, z), round(step, 3))


def _corners(geometry: Geometry) -> NDArray[np.float64]:
    x, y, z = ((0.0, count - 1.0) for count in geometry.size)
    return np.array([[i, j, k] for k in z for j in y for i in x])


def _middle(probability: Volume) -> NDArray[np.float64]:
    """Return the place of the map's highest values, in mm LPS."""
    array = np.asarray(probability.array)
    k, j, i = (float(places.mean()) for places in np.nonzero(array >= 0.98 * array.max()))
    return probability.geometry.to_lps_mm(np.array([i, j, k]))


def _packed(values: NDArray[np.floating]) -> str:
    return base64.b64encode(zlib.compress(values.astype(np.uint8).tobytes(), 6)).decode("ascii")


@cache
def _colors() -> str:
    """Return the colours of the map, 256 times red, green and blue."""
    return base64.b64encode(np.rint(255 * map_colors()).astype(np.uint8).tobytes()).decode("ascii")


def _nearest(threshold: float) -> int:
    """Return which of the steps is nearest."""
    return int(np.argmin(np.abs(np.array(THRESHOLDS) - threshold)))


def _volumes(probability: Volume) -> list[str]:
    """Return the volume of the outline at each threshold."""
    array = np.asarray(probability.array)
    levels = np.array(THRESHOLDS, dtype=array.dtype)
    values = np.sort(array[array >= levels[0]], axis=None)
    left = np.searchsorted(values, levels, side="left")
    return [with_unit((len(values) - int(place)) * probability.geometry.voxel_ml, "mL") for place in left]


def _vessels(invasion: InvasionResult, piece: _Piece) -> list[dict[str, Any]]:
    """Return each vessel's name, its lines by threshold, and its section, the worst vessel first."""
    content = invasion.to_json()
    lines = outline_lines(content, THRESHOLDS)
    found = []
    for row in by_severity(vessel_rows(content, None)):
        vessel = invasion.vessels[row.name]
        entry: dict[str, Any] = {"name": row.heading, "lines": lines[row.name]}
        if vessel.wall is not None and vessel.worst is not None:
            right, up = screen_axes(vessel.wall.tangent_lps[vessel.worst.number])
            entry |= {
                "at": piece.place(vessel.worst.position_lps_mm),
                "right": [round(float(value), 4) for value in right],
                "down": [round(-float(value), 4) for value in up],
                "sides": f"{letter(-right)} left, {letter(up)} on top",
                "half": round(half_width_mm(vessel.wall.wall_mm[vessel.worst.number]) / piece.step_mm, 2),
            }
        found.append(entry)
    return found
