"""A drawn patient: a template with random distances, lengths, calibres and courses, painted as labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.phantom.anatomy import Warp
from twintrack.phantom.shapes import Tube
from twintrack.volume import Geometry
from vessel_anatomy.templates import TEMPLATES, Branch, Template

__all__ = ["ARTERIES", "CODES", "ORGANS", "VEINS", "Anatomy", "draw", "paint_tube"]

ARTERIES = ("AORTA", "CELIAC", "SMA", "CHA", "SPLENIC_ARTERY", "artery")
VEINS = ("PORTA", "SMV", "SPLENIC_VEIN", "IVC", "vein")
CODES = {name: number for number, name in enumerate((*ARTERIES, *VEINS), start=1)}
"""Value of each structure in the truth."""

ORGANS = {"liver": 1, "spleen": 2, "pancreas": 3, "kidney_right": 4, "kidney_left": 5}

LOW_MM, HIGH_MM = (-98.0, -52.0, -128.0), (122.0, 78.0, 104.0)
"""Field of view, LPS."""

LEAST_APART_MM = 8.0
"""The two arteries' beginnings lie at least so far apart; what is nearer is a common trunk, which is drawn as such."""

STEP_MM = 0.5


@dataclass
class Anatomy:
    """A patient.

    Attributes
    ----------
    truth : numpy.ndarray
        uint8 (z, y, x), values of `CODES`.
    organs : numpy.ndarray
        uint8 (z, y, x), values of `ORGANS`.
    geometry : Geometry
        The grid, LPS.
    lines_mm : dict of str to tuple
        Points (n, 3) and radii (n,) along each tube, in the patient's place.
    """

    truth: NDArray[np.uint8]
    organs: NDArray[np.uint8]
    geometry: Geometry
    lines_mm: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
    labels: dict[str, str]


def draw(
    template: str,
    seed: int,
    *,
    spacing_mm: tuple[float, float, float] = (1.2, 1.2, 1.5),
    without: tuple[str, ...] = (),
    extra: dict[str, Branch] | None = None,
    low_mm: tuple[float, float, float] = LOW_MM,
    high_mm: tuple[float, float, float] = HIGH_MM,
) -> Anatomy:
    """Draw a patient of a template.

    Parameters
    ----------
    template : str
        One of `TEMPLATES`.
    seed : int
        Of all that is random.
    spacing_mm : tuple of float
        Voxel edges (x, y, z).
    without : tuple of str
        Tubes that are not there, and what hangs on them.
    extra : dict, optional
        Further tubes.
    low_mm, high_mm : tuple of float
        Field of view (x, y, z), LPS mm.
    """
    rng = np.random.default_rng([seed, *template.encode()])
    shape = TEMPLATES[template]
    lines, labels = _lines(shape, rng, without, extra or {})
    warp = Warp.draw(rng)
    lines = {name: (warp(points.astype(np.float32)).astype(float), radii) for name, (points, radii) in lines.items()}
    size = tuple(round((high - low) / step) for low, high, step in zip(low_mm, high_mm, spacing_mm, strict=True))
    geometry = Geometry(size, spacing_mm, low_mm)
    truth = np.zeros(geometry.shape, np.uint8)
    for name, (points, radii) in lines.items():
        paint_tube(truth, geometry, points, radii, CODES[labels[name]])
    return Anatomy(truth, _organs(geometry, rng, warp, truth, lines), geometry, lines, labels)


def _lines(
    shape: Template, rng: np.random.Generator, without: tuple[str, ...], extra: dict[str, Branch]
) -> tuple[dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]], dict[str, str]]:
    """Place all tubes, before the patient's warp."""
    calibre = float(np.clip(rng.normal(1.0, 0.08), 0.85, 1.18))
    lines = {
        "aorta": _jittered(shape.aorta, rng, shape.jitter_mm, calibre),
        "cava": _jittered(shape.cava, rng, shape.jitter_mm, calibre * rng.uniform(0.85, 1.1)),
    }
    labels = {"aorta": "AORTA", "cava": "IVC"}
    sma_z_mm = shape.sma_z_mm + rng.normal(0.0, 4.0)
    apart_mm = max(rng.normal(*shape.celiac_sma_mm), LEAST_APART_MM)
    celiac_long = rng.uniform(0.8, 1.25)
    confluence = np.array(shape.confluence_mm) + rng.normal(0.0, 2.5, 3)
    lines["confluence"] = (confluence[None] + np.zeros((2, 3)), np.ones(2))
    for name, branch in (shape.branches | extra).items():
        if name in without or branch.parent not in lines:
            continue
        parent = lines[branch.parent][0]
        if branch.at is None:
            z_mm = {"celiac": sma_z_mm + apart_mm, "sma": sma_z_mm}.get(name, branch.z_mm + rng.normal(0.0, 3.0))
            start = parent[np.argmin(np.abs(parent[:, 2] - z_mm))]
        else:
            start = parent[round(branch.at * (len(parent) - 1))]
        steps = np.array(branch.points)
        if name == "celiac":
            steps[:, :3] *= celiac_long
        jitter = rng.normal(0.0, shape.jitter_mm, (len(steps), 3))
        jitter[0] = 0.0
        placed = np.column_stack([start + steps[:, :3] + jitter, steps[:, 3] * calibre * rng.uniform(0.92, 1.08)])
        lines[name] = Tube(placed[:, :3], placed[:, 3]).sampled()
        labels[name] = branch.label
    del lines["confluence"]
    order = sorted(lines, key=lambda name: (labels[name] in ("artery", "vein"), list(lines).index(name)))
    return {name: lines[name] for name in order}, labels


def _jittered(
    points: tuple[tuple[float, float, float, float], ...], rng: np.random.Generator, jitter_mm: float, calibre: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    placed = np.array(points, float)
    placed[:, :2] += rng.normal(0.0, jitter_mm, (len(placed), 2))
    return Tube(placed[:, :3], placed[:, 3] * calibre).sampled()


def paint_tube(
    truth: NDArray[np.uint8],
    geometry: Geometry,
    points: NDArray[np.float64],
    radii: NDArray[np.float64],
    value: int,
    *,
    over: bool = False,
) -> None:
    """Paint balls along a line; voxels that are taken stay, unless `over`."""
    spacing = np.array(geometry.spacing_mm)
    for point, radius in zip(geometry.to_index(points), radii, strict=True):
        low = np.maximum(np.ceil(point - radius / spacing), 0).astype(int)
        high = np.minimum(np.floor(point + radius / spacing) + 1, geometry.size).astype(int)
        if np.any(low >= high):
            continue
        x, y, z = (((np.arange(low[axis], high[axis]) - point[axis]) * spacing[axis]) ** 2 for axis in range(3))
        inside = z[:, None, None] + y[None, :, None] + x[None, None, :] <= radius**2
        part = truth[low[2] : high[2], low[1] : high[1], low[0] : high[0]]
        part[inside if over else inside & (part == 0)] = value


def _organs(
    geometry: Geometry,
    rng: np.random.Generator,
    warp: Warp,
    truth: NDArray[np.uint8],
    lines: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> NDArray[np.uint8]:
    """Paint organs roughly where they lie: the checks that use them need sides and distances alone."""
    organs = np.zeros(truth.shape, np.uint8)
    gland = Tube(
        np.array(
            [(-30, 0, -40), (-30, -5, -20), (-16, -11, -6), (4, -14, 2), (30, -6, 10), (58, 10, 14), (84, 30, 22)],
            float,
        ),
        np.array([11.0, 14.0, 11.0, 9.0, 10.0, 9.0, 8.0]),
    )
    points, radii = gland.sampled()
    paint_tube(organs, geometry, warp(points.astype(np.float32)).astype(float), radii, ORGANS["pancreas"])
    axes = [
        geometry.to_lps_mm(np.outer(np.arange(size), np.eye(3)[axis]))[:, axis]
        for axis, size in enumerate(geometry.size)
    ]
    for name, center, half in (
        ("liver", (-84, -10, 48), (58, 62, 56)),
        ("spleen", (108, 40, 46), (20, 34, 40)),
        ("kidney_right", (-66, 60, -34), (22, 20, 46)),
        ("kidney_left", (68, 60, -20), (22, 20, 46)),
    ):
        moved = warp(np.array(center, np.float32)[None])[0] + rng.normal(0.0, 4.0, 3)
        x, y, z = (((axes[axis] - moved[axis]) / half[axis]) ** 2 for axis in range(3))
        inside = z[:, None, None] + y[None, :, None] + x[None, None, :] <= 1.0
        organs[inside & (organs == 0) & (truth == 0)] = ORGANS[name]
    organs[truth > 0] = 0
    return organs
