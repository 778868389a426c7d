"""The kinds of vessels and tumours, each with some variety of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from analytic.rays import Reals
from analytic.shapes import (
    HALF_LENGTH_MM,
    Depth,
    Joined,
    Swept,
    ball,
    either,
    half_space,
    planar,
    sector,
    straight,
)

__all__ = ["GAPS_MM", "KINDS", "Shape", "arc_distance_mm"]

GAPS_MM = (0.0, 0.5, 0.75, 1.0, 1.25, 2.5)
"""Free tissue between wall and tumour."""

SECTORS_DEG = (45, 90, 135, 180, 225, 270, 315, 360)
BALL_MM = (8.0, 14.0)
RADIUS_MM = (3.5, 6.0)


@dataclass(frozen=True)
class Shape:
    """A vessel and a tumour in their own frame, and how the vessel's mask differs from the vessel.

    Attributes
    ----------
    tumor : callable
        Depth in the tumour; whether the tumour ends at the lumen is said by `overwrites`.
    overwrites : bool
        Whether map and mask are drawn with one label a voxel, the tumour's winning.
    grown_voxels : int
        By how much the mask is too large; negative: too small.
    """

    vessel: Swept | Joined
    tumor: Depth
    overwrites: bool = False
    grown_voxels: int = 0


Rng = np.random.Generator
Maker = Callable[[Rng, int], Shape]


def arc_distance_mm(radius_mm: float, ball_mm: float, angle_deg: float) -> float:
    """Return how far a ball's centre is from a tube's axis if the ball covers this arc of the wall beside it."""
    half = np.deg2rad(angle_deg) / 2
    return float(radius_mm * np.cos(half) + np.sqrt(ball_mm**2 - (radius_mm * np.sin(half)) ** 2))


def _between(number: int, low: float, high: float) -> float:
    """Return values that fill a range evenly, however many are taken."""
    return low + (high - low) * ((0.5 + number * 0.6180339887) % 1.0)


def _turn(rng: Rng) -> float:
    return float(rng.uniform(0, 2 * np.pi))


def _beside(turn: float, distance_mm: float, along_mm: float = 0.0) -> tuple[float, float, float]:
    return distance_mm * np.cos(turn), distance_mm * np.sin(turn), along_mm


def _ball_beside(rng: Rng, radius_mm: float, angle_deg: float, turn: float) -> Depth:
    size = rng.uniform(*BALL_MM)
    return ball(_beside(turn, arc_distance_mm(radius_mm, size, angle_deg)), size)


def _tube_with_ball(rng: Rng, number: int, *, radius_mm: float | None = None, **options: object) -> Shape:
    radius = radius_mm or rng.uniform(*RADIUS_MM)
    tumor = _ball_beside(rng, radius, _between(number, 45, 315), _turn(rng))
    return replace(Shape(straight((radius, radius)), tumor), **options)


def _sector_or_ball(rng: Rng, number: int, vessel: Swept) -> Shape:
    """Put a ball (even numbers) or a sector beside a vessel of any form."""
    turn, size = _turn(rng), rng.uniform(*BALL_MM)
    if number % 2:
        angle = _between(number, 45, 315)
        return Shape(vessel, sector(vessel, azimuth_rad=turn, angle_deg=angle, length_mm=rng.uniform(8, 18)))
    a, b = vessel.half_axes_mm[np.argmin(np.linalg.norm(vessel.center_mm, axis=1))]
    radius = a * b / np.hypot(b * np.cos(turn), a * np.sin(turn))
    return Shape(vessel, ball(_beside(turn, radius + size - _between(number, 0.3, 1.6) * radius), size))


def _sector(rng: Rng, number: int, *, angle_deg: float | None = None) -> Shape:
    radius = rng.uniform(*RADIUS_MM)
    vessel = straight((radius, radius))
    angle = angle_deg or SECTORS_DEG[number % len(SECTORS_DEG)]
    return Shape(vessel, sector(vessel, azimuth_rad=_turn(rng), angle_deg=angle, length_mm=rng.uniform(8, 18)))


def _gap(rng: Rng, number: int, *, gap_mm: float) -> Shape:
    radius = rng.uniform(*RADIUS_MM)
    vessel, angle = straight((radius, radius)), _between(number, 90, 330)
    length = rng.uniform(8, 18)
    return Shape(vessel, sector(vessel, azimuth_rad=_turn(rng), angle_deg=angle, length_mm=length, gap_mm=gap_mm))


def _bend(rng: Rng, number: int) -> Shape:
    bend_mm, radius = _between(number, 15, 30), rng.uniform(3.5, 5.0)
    arc_mm = min(np.deg2rad(150) * bend_mm, 2 * HALF_LENGTH_MM)
    straight_mm = HALF_LENGTH_MM - arc_mm / 2
    stretches = [(straight_mm, 0.0), (arc_mm, 1 / bend_mm), (straight_mm, 0.0)]
    return _sector_or_ball(rng, number, planar(stretches, HALF_LENGTH_MM, (radius, radius)))


def _taper(rng: Rng, number: int) -> Shape:
    def half_axes(along: Reals) -> Reals:
        return np.repeat(np.interp(along, [-15, 15], [4.0, 2.5])[:, None], 2, axis=1)

    return _sector_or_ball(rng, number, straight(half_axes))


def _confluence(rng: Rng, number: int) -> Shape:
    """A side branch that joins a trunk, and a ball in the fork, opposite to it or beside it."""
    trunk_mm, branch_mm = rng.uniform(4.5, 6.0), rng.uniform(3.5, 4.5)
    trunk, branch = straight((trunk_mm, trunk_mm)), straight((branch_mm, branch_mm))
    slope = np.deg2rad(rng.uniform(50, 80))
    x, z = np.array([np.cos(slope), 0.0, -np.sin(slope)]), np.array([np.sin(slope), 0.0, np.cos(slope)])
    kept = slice(len(branch.center_mm) // 2, None)
    count = len(branch.center_mm[kept])
    branch = Swept(
        center_mm=branch.center_mm[kept, 2:] * z,
        tangent=np.tile(z, (count, 1)),
        across=np.tile(x, (count, 1)),
        other=branch.other[kept],
        half_axes_mm=branch.half_axes_mm[kept],
        start_mm=0.0,
    )
    size, turn = rng.uniform(*BALL_MM), _turn(rng)
    middle = _beside(turn, arc_distance_mm(trunk_mm, size, _between(number, 60, 240)), rng.uniform(-6, 10))
    return Shape(Joined((trunk, branch)), ball(middle, size))


def _two_sides(rng: Rng, number: int) -> Shape:
    radius, turn = rng.uniform(*RADIUS_MM), _turn(rng)
    tumors = []
    for side in (0.0, np.deg2rad(rng.uniform(140, 220))):
        size = rng.uniform(*BALL_MM)
        distance = arc_distance_mm(radius, size, rng.uniform(60, 120))
        tumors.append(ball(_beside(turn + side, distance, rng.uniform(-3, 3)), size))
    return Shape(straight((radius, radius)), either(*tumors))


def _half_space(rng: Rng, number: int) -> Shape:
    radius = _between(number, *RADIUS_MM)
    return Shape(straight((radius, radius)), half_space(_turn(rng), radius, rng.uniform(12, 20)))


def _tangent_ball(rng: Rng, number: int) -> Shape:
    radius, size = _between(number, *RADIUS_MM), rng.uniform(*BALL_MM)
    return Shape(straight((radius, radius)), ball(_beside(_turn(rng), radius + size), size))


def _hooked_stub(rng: Rng, number: int) -> Shape:
    """A vessel whose last piece turns sharply, within the tumour, and ends there."""
    bend_mm, turned = rng.uniform(6.5, 9.0), np.deg2rad(rng.uniform(80, 120))
    stub_mm = rng.uniform(4, 7)
    stretches = [(50.0, 0.0), (bend_mm * turned, 1 / bend_mm), (stub_mm, 0.0)]
    site_mm = 50.0 + bend_mm * turned
    return Shape(planar(stretches, site_mm, (4.0, 4.0)), _ball_beside(rng, 4.0, _between(number, 180, 340), _turn(rng)))


def _interrupted(rng: Rng, number: int) -> Shape:
    """A ball that swallows a whole section of the vessel."""
    radius, size = rng.uniform(3.5, 5.0), rng.uniform(*BALL_MM)
    middle = _beside(_turn(rng), (size - radius - 0.5) * rng.uniform(0, 1))
    return Shape(straight((radius, radius)), ball(middle, size), overwrites=True)


KINDS: dict[str, Maker] = {
    **{f"ball r {radius:g}": partial(_tube_with_ball, radius_mm=radius) for radius in (2.0, 3.5, 4.0, 6.0)},
    "sector": _sector,
    "bend": _bend,
    "taper 4-2.5": _taper,
    "ellipse 8x6": lambda rng, number: _sector_or_ball(rng, number, straight((4.0, 3.0))),
    "flat 14x4": lambda rng, number: _sector_or_ball(rng, number, straight((7.0, 2.0))),
    "confluence": _confluence,
    "two sides": _two_sides,
    "half space": _half_space,
    "tangent ball": _tangent_ball,
    "exactly 180": partial(_sector, angle_deg=180.0),
    "hooked stub": _hooked_stub,
    "dented": partial(_tube_with_ball, overwrites=True),
    "interrupted": _interrupted,
    "eroded": partial(_tube_with_ball, grown_voxels=-1),
    "dilated": partial(_tube_with_ball, grown_voxels=1),
    **{f"gap {gap:g}": partial(_gap, gap_mm=gap) for gap in GAPS_MM},
}
"""Makers of shapes by name; each takes a random generator and the number of the case."""
