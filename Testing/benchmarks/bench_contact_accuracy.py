"""Error of the contact angle and length on analytic tubes, against two ways of counting edge pixels.

Straight, curved and branching tubes of known radius in random orientation at random sub-voxel places, with a tumour
sector of known angle and length and a more or less soft edge, on grids from 0.7 x 0.7 x 1 to 0.9 x 0.9 x 3 mm. The
peers see the same cases: the CURVAS-PDACVI protocol's per-plane degrees, and the share of the vessel's edge pixels
next to the tumour in the axial slice where it is largest. Of the protocol's three planes and their mean, the column
that does best over all cases is compared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from analytic_vessels import TubeCase, make_tube
from twintrack.invasion import measure_invasion

SPACINGS_MM = ((1.0, 1.0, 1.0), (0.7, 0.7, 1.0), (0.8, 0.8, 2.5), (0.9, 0.9, 3.0))
RADII_MM = (2.5, 3.5, 5.0, 8.0, 12.0)
SHAPES = ("straight", "curved", "branching")
CROSS = ndimage.generate_binary_structure(2, 1)


@dataclass(frozen=True)
class Row:
    """One measured case."""

    spacing_mm: tuple[float, float, float]
    radius_mm: float
    shape: str
    tilt_deg: float
    true_deg: float
    true_mm: float
    true_mm2: float
    angle_deg: float
    length_mm: float
    area_mm2: float
    planes_deg: tuple[float, ...]
    edge_deg: float


def cases(per_cell: int, seed: int) -> Iterator[tuple[Any, float, str, TubeCase]]:
    """Yield the cases: every grid, radius and shape `per_cell` times."""
    rng = np.random.default_rng(seed)
    for spacing in SPACINGS_MM:
        for radius in RADII_MM:
            for shape in SHAPES:
                for _ in range(per_cell):
                    angle = float(rng.choice([0.0, 360.0, *rng.uniform(5, 355, 14)]))
                    options: dict[str, Any] = {}
                    if shape == "curved":
                        options["bend_radius_mm"] = float(max(rng.uniform(20, 45), 2.2 * radius))
                    if shape == "branching":
                        options["trunk_radius_mm"] = 1.2 * radius
                    case = make_tube(
                        radius_mm=radius,
                        angle_deg=angle,
                        spacing_mm=spacing,
                        axis=tuple(rng.normal(size=3)),
                        length_mm=float(rng.uniform(8, 18)),
                        thickness_mm=8.0,
                        blur_mm=float(rng.choice([0.0, 0.7, 1.2])),
                        size_mm=max(46.0, 3.2 * radius + 26.0) + (2 * radius if shape == "branching" else 0.0),
                        seed=int(rng.integers(2**31)),
                        **options,
                    )
                    yield spacing, radius, shape, case


def edge_count_deg(case: TubeCase) -> float:
    """Return the share of edge pixels next to the tumour times 360, in the axial slice where it is largest."""
    worst = 0.0
    for vessel, tumor in zip(case.vessel.array > 0, case.probability.array >= 0.5, strict=True):
        edge = vessel & ~ndimage.binary_erosion(vessel, CROSS)
        if edge.any():
            worst = max(worst, 360.0 * (edge & ndimage.binary_dilation(tumor, CROSS)).sum() / edge.sum())
    return worst


def measure(spacing: Any, radius: float, shape: str, case: TubeCase) -> Row:
    found = measure_invasion(case.probability, case.vessel, {"SMA": 1}, thresholds=[0.5]).vessels["SMA"]
    values = (found.angle_deg[0], found.contact_length_mm[0], found.contact_area_mm2[0])
    # A missing measurement counts as if nothing had been seen.
    angle, length, area = (0.0 if value is None else value for value in values)
    return Row(
        spacing, radius, shape, case.tilt_deg, case.angle_deg, case.length_mm, case.area_mm2, angle, length, area,
        tuple(float(found.protocol_deg[plane][0] or 0.0) for plane in ("axial", "coronal", "sagittal")),
        edge_count_deg(case),
    )  # fmt: skip


def line(name: str, rows: list[Row]) -> str:
    error = np.array([row.angle_deg - row.true_deg for row in rows])
    length = np.array([row.length_mm - row.true_mm for row in rows])
    over = np.mean([abs(e) <= row.spacing_mm[2] + 1 for e, row in zip(length, rows, strict=True)])
    area = np.array([row.area_mm2 / row.true_mm2 - 1 for row in rows if row.true_mm2 > 0])
    return (
        f"{name:34s} {len(rows):4d} {np.abs(error).mean():7.1f} {error.mean():+7.1f} {np.abs(error).max():7.1f} "
        f"{np.abs(length).mean():8.1f} {100 * over:6.0f} {100 * np.median(np.abs(area)):8.0f}"
    )


def table(rows: list[Row]) -> None:
    print(f"{'':34s} {'n':>4s} {'MAE °':>7s} {'bias °':>7s} {'max °':>7s} {'MAE mm':>8s} {'in %':>6s} {'area %':>8s}")
    groups: list[tuple[str, Callable[[Row], Any]]] = [
        ("spacing", lambda row: row.spacing_mm),
        ("radius", lambda row: row.radius_mm),
        ("shape", lambda row: row.shape),
        ("tilt", lambda row: ("0-30", "30-60", "60-90")[min(int(row.tilt_deg // 30), 2)]),
    ]
    large = [row for row in rows if row.radius_mm >= 3.5]
    print(line("all radii from 3.5 mm", large))
    for name, key in groups:
        for value in sorted({key(row) for row in rows}, key=str):
            pool = rows if name == "radius" else large
            text = " x ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            print(line(f"{name} {text}", [row for row in pool if key(row) == value]))
    for spacing in SPACINGS_MM:
        for radius in RADII_MM:
            part = [row for row in rows if row.spacing_mm == spacing and row.radius_mm == radius]
            print(line(f"{spacing[0]} x {spacing[2]} mm, radius {radius}", part))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-cell", type=int, default=2, help="cases for each grid, radius and shape")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worst", type=int, default=0, help="also list the cases with the largest errors")
    options = parser.parse_args()
    rows = [measure(*case) for case in cases(options.per_cell, options.seed)]
    table(rows)
    true = np.array([row.true_deg for row in rows])
    ours = np.abs([row.angle_deg for row in rows] - true)
    planes = np.array([row.planes_deg for row in rows])
    protocol = {
        name: np.abs(values - true)
        for name, values in zip(
            ("axial", "coronal", "sagittal", "mean of planes"), [*planes.T, planes.mean(axis=1)], strict=True
        )
    }
    best = min(protocol, key=lambda name: protocol[name].mean())
    edges = np.abs([row.edge_deg for row in rows] - true)
    missed = sum(row.true_deg > 20 and row.angle_deg == 0 for row in rows)
    print(f"contact over 20° missed: {missed} of {(true > 20).sum()}")
    print(f"all {len(rows)} cases, mean absolute error: ours {ours.mean():.1f}°, protocol ({best}) ", end="")
    print(f"{protocol[best].mean():.1f}° = {protocol[best].mean() / ours.mean():.1f} x, edge pixels ", end="")
    print(f"{edges.mean():.1f}° = {edges.mean() / ours.mean():.1f} x")
    for row in sorted(rows, key=lambda row: -abs(row.angle_deg - row.true_deg))[: options.worst]:
        print(row)


if __name__ == "__main__":
    main()
