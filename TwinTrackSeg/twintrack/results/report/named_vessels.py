"""The picture of named vessels: from the front and from the left, with what has no name in grey and said in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twintrack.imaging.plane_contact import bounding_box
from twintrack.invasion.naming import NAMED
from twintrack.labels import VESSELS
from twintrack.volume import Volume

__all__ = ["write_named_picture"]

COLORS = {vessel.name: vessel.color_on_ct for vessel in VESSELS} | {
    "CHA": "#E0C341",
    "SPLENIC_ARTERY": "#C08A5B",
    "SPLENIC_VEIN": "#7FD6C2",
    "PORTA_SMV": "#8C9EFF",
}
UNNAMED_COLOR = "#6A6A6A"

TALLEST_MM = 320.0
"""Height of the picture at most: of an aorta up to its arch the lower part."""


def write_named_picture(
    named: Volume, inside: NDArray[np.bool_], said: Mapping[str, Mapping[str, Any]], path: Path
) -> None:
    """Draw a named map.

    Parameters
    ----------
    named : Volume
        Values of `twintrack.invasion.naming.NAMED`.
    inside : numpy.ndarray
        (z, y, x) on the same grid: all arteries and veins.
    said : mapping
        The part ``vessels`` of ``naming.json``.
    path : path
        The PNG to write.
    """
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure

    labels, solid = named.to_lps(), named.with_array(inside.view(np.uint8)).to_lps()
    box = bounding_box(solid.array > 0)
    figure = Figure(figsize=(11.0, 6.2), dpi=110, facecolor="black")
    z_mm, y_mm, x_mm = labels.geometry.spacing_mm[::-1]
    if box is not None:
        rows = min(box[0].stop, box[0].start + round(TALLEST_MM / z_mm))
        part = (slice(box[0].start, rows), box[1], box[2])
        values = np.where((labels.array[part] == 0) & (solid.array[part] > 0), 255, labels.array[part])
        palette = np.zeros((256, 3))
        palette[255] = to_rgb(UNNAMED_COLOR)
        for name, value in NAMED.items():
            palette[value] = to_rgb(COLORS[name])
        for place, axis, across_mm, title in ((0.01, 1, x_mm, "from the front"), (0.40, 2, y_mm, "from the left")):
            # From the left one sees the last column first.
            seen = values if axis == 1 else values[:, :, ::-1]
            axes = figure.add_axes((place, 0.08, 0.38, 0.84))
            axes.imshow(_shaded(seen, axis, palette)[::-1], aspect=z_mm / across_mm, interpolation="nearest")
            axes.set_title(title, color="white", fontsize=10)
            axes.set_axis_off()
    _write_words(figure, said)
    figure.savefig(path, facecolor="black")


def _shaded(values: NDArray[np.integer], axis: int, palette: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the first vessel along an axis in its colour, darker the deeper it lies."""
    first = (values > 0).argmax(axis=axis)
    shown = np.take_along_axis(values, np.expand_dims(first, axis), axis).squeeze(axis)
    depth = 1.0 - 0.55 * first / max(values.shape[axis] - 1, 1)
    colors: NDArray[np.float64] = palette[shown] * depth[..., None]
    return colors


def _write_words(figure: Any, said: Mapping[str, Mapping[str, Any]]) -> None:
    line = 0.90
    figure.text(0.775, 0.95, "By anatomy, please check", color="white", fontsize=10, weight="bold")
    for name, one in said.items():
        if one["named"]:
            low = " (not sure)" if one["confidence"] == "low" else ""
            figure.text(0.775, line, f"{name}{low}", color=COLORS[name], fontsize=9)
        elif name == "PORTA_SMV":
            continue
        else:
            figure.text(0.775, line, f"{name}: NOT NAMED", color="#FF6B6B", fontsize=9, weight="bold")
        line -= 0.055
    figure.text(0.775, line - 0.03, "grey: has no name", color="#9A9A9A", fontsize=9)
    figure.text(0.775, 0.04, "Research use only", color="#9A9A9A", fontsize=8)
