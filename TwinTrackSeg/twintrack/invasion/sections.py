"""Cross-sections perpendicular to a vessel's centre line and where its wall lies in them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from twintrack.invasion.centerline import BACK_STEPS, EXTENSION_STEPS, STEP_MM, CenterLine
from twintrack.invasion.course import KnownSections, KnownWall
from twintrack.invasion.geometry import (
    Neighborhood,
    Points,
    on_rays,
    resampled,
    row_medians,
    smoothed,
    transported_frames,
)

__all__ = ["DIRECTIONS", "Sections", "cross_sections", "wall_distance_mm"]

DIRECTIONS = 360
"""Directions in which the wall is looked at in each section, one degree apart."""

CENTRING_DIRECTIONS = 40
"""Directions that suffice to find the middle of a section."""

RECENTRINGS = 2
"""Times the line is moved to the middle of its cross-sections; more change it by less than 0.05 mm."""

REACH_RADII = 3.5
"""The wall is looked for up to this many ball radii from the line."""

MIN_WHOLE = 10
"""Fewest sections that the volume's edge must leave whole for the others to be left out of the recentring."""

OPEN_RATIO = 2.5
"""A wall further away than this many median radii is not this vessel's: the direction runs into a branch."""

CENTER_SMOOTHING_MM = 1.5
"""Gaussian width with which the recentred line is smoothed, against the steps of the voxels."""

HALVINGS = 2
"""Times the stretch of one voxel in which a direction leaves the vessel is halved, before interpolating in it."""

STEERING = 0.7
"""Share of the way to the middle of a section that the continued line takes at each step."""

LEAST_FORWARD = -0.5
"""Cosine of the largest turn that a continued line takes, 120 degrees."""

MOST_LONGER, LEAST_WIDTH = 1.3, 0.7
"""Beyond the trusted line a section is odd if it is this much more elongated, or narrower, than the sections there."""

GUESS_VOXELS = 1.5
"""Where the wall is already known in neighbouring directions, it is first looked for this far around."""

STRETCH, STRETCH_POINTS = (2, 8), 2048
"""Fewest and most steps that rays are followed before those that have left the vessel are taken out, and the points
that are looked at together in between: few rays cost less in long stretches, many in short ones."""

RAYS = 16384
"""Directions looked at at a time, which bounds the memory."""

WALL_SMOOTHING_MM = 0.75
"""Gaussian width with which the wall radius is smoothed along the vessel, against the steps of the voxels."""

STEP_SHARE, MOST_SMOOTHING = 0.4, 0.8
"""In thick slices both widths are this share of the way from slice to slice along the vessel, for steps are as long as
that, and at most so many slices."""

Frames = tuple[Points, Points, Points]
"""Tangents and two normals; shape (n, 3) each."""


@dataclass(frozen=True)
class Sections:
    """Cross-sections of one branch.

    Attributes
    ----------
    center_mm, tangent : numpy.ndarray
        Local middle of the lumen and unit direction of the vessel; shape (n, 3), in (x, y, z) order.
    direction : numpy.ndarray
        Unit vectors from the middle to the wall, `DIRECTIONS` a section; shape (n, d, 3). Direction ``d`` of
        neighbouring sections points the same way: the frame does not twist along the vessel.
    wall_mm : numpy.ndarray
        Distance from the middle to the wall; NaN where a direction runs into a branch; shape (n, d).
    step_mm : float
        Distance of neighbouring sections.
    elsewhere : numpy.ndarray of bool
        Wall that belongs to another branch, in whose sections its area counts; shape (n, d).
    """

    center_mm: Points
    tangent: Points
    direction: NDArray[np.float64]
    wall_mm: NDArray[np.float64]
    step_mm: float
    elsewhere: NDArray[np.bool_]


def cross_sections(
    near: Neighborhood, line: CenterLine, piece: NDArray[np.bool_], known: KnownSections | None = None
) -> Sections:
    """Cut the vessel perpendicular to `line`, after moving the line to the middle of the lumen of its `piece`.

    Parameters
    ----------
    near : Neighbourhood
        Vessel and tumour.
    line : CenterLine
        One of the piece's.
    piece : numpy.ndarray of bool
        The lumen; (z, y, x).
    known : KnownSections, optional
        What was found for other tumours on the same piece and line; what is found now is added.
    """
    known = KnownSections() if known is None else known
    reach_mm = REACH_RADII * line.radius_mm + float(near.spacing_mm.max())
    if known.middle_mm is None:
        known.middle_mm = _in_the_middle(near, line, reach_mm)
    trusted = known.middle_mm
    points = resampled(_continued(near, line, trusted, piece, reach_mm, known.steered), STEP_MM)
    frames = transported_frames(points)
    wall_mm = _open_wall(near, points, frames, reach_mm, known.walls)
    inside = near.in_volume(points) & _upright(points, wall_mm, trusted)
    step_mm = float(np.linalg.norm(np.diff(points, axis=0), axis=1).mean())
    tangent, normal, binormal = (part[inside] for part in frames)
    direction = np.moveaxis(_fan((tangent, normal, binormal), DIRECTIONS), 0, -1)
    wall_mm = wall_mm[inside]
    nowhere = np.zeros(wall_mm.shape, dtype=np.bool_)
    return Sections(points[inside], tangent, direction, wall_mm, step_mm, nowhere)


def _in_the_middle(near: Neighborhood, line: CenterLine, reach_mm: float) -> Points:
    """Return the line moved to the middle of its cross-sections."""
    points = line.points_mm
    for _ in range(0 if line.from_axis else RECENTRINGS):
        frames = transported_frames(points)
        fan = _fan(frames, CENTRING_DIRECTIONS)
        wall_mm = _wall_mm(near, points, fan, reach_mm)
        shift = _towards_middle(wall_mm, fan, line.radius_mm)
        whole = np.flatnonzero(near.in_volume(on_rays(points.T[..., None], fan, wall_mm)).all(axis=1))
        # Sections that the volume's edge cuts have their middle in the wrong place: the line goes straight on there.
        whole_ones = slice(whole[0], whole[-1] + 1) if len(whole) > MIN_WHOLE else slice(None)
        sigma_mm = _smoothing_mm(near, frames[0], CENTER_SMOOTHING_MM)
        points = resampled(smoothed(points[whole_ones] + shift[whole_ones], sigma_mm / STEP_MM), STEP_MM)
    return points


def _continued(
    near: Neighborhood,
    line: CenterLine,
    points: Points,
    piece: NDArray[np.bool_],
    reach_mm: float,
    steered: dict[bytes, Points],
) -> Points:
    """Return the points, continued at free ends in the middle of the lumen until they leave the piece."""
    if line.from_axis:
        return points
    points = _led_on(near, line, points, piece, reach_mm, steered)
    return _led_on(near, line, points[::-1], piece, reach_mm, steered)[::-1] if line.free_start else points


def _led_on(
    near: Neighborhood,
    line: CenterLine,
    points: Points,
    inside: NDArray[np.bool_],
    reach_mm: float,
    steered: dict[bytes, Points],
) -> Points:
    """Return the points with more at their end, each steered to the middle of its section if that is whole.

    Where no tumour is near they go straight on. `steered` holds, by place and direction, where steps were steered to.
    """
    way = list(points)
    first = _ahead(way)
    for _ in range(EXTENSION_STEPS):
        ahead = _ahead(way)
        # A line that turns back runs through vessel that it has passed.
        if ahead is None or first is None or ahead @ first < LEAST_FORWARD:
            break
        place = way[-1] + STEP_MM * ahead
        if near.sample(inside, place[None])[0] < 0.5:
            break
        if near.touchable(place[None], np.array([reach_mm]))[0]:
            key = place.tobytes() + ahead.tobytes()
            if key not in steered:
                steered[key] = _steered(near, line, place, ahead, reach_mm)
            place = steered[key]
        way.append(place)
    return np.asarray(way)


def _steered(near: Neighborhood, line: CenterLine, place: Points, ahead: Points, reach_mm: float) -> Points:
    """Return a place (3,) moved towards the middle of the section across `ahead`, if that is whole."""
    fan = _fan_across(ahead, CENTRING_DIRECTIONS)
    wall_mm = _wall_mm(near, place[None], fan, reach_mm)
    if near.in_volume(on_rays(place[:, None, None], fan, wall_mm)).all():
        place = place + STEERING * _towards_middle(wall_mm, fan, line.radius_mm)[0]
    return place


def _ahead(way: list[Points]) -> Points | None:
    """Return the direction in which a line ends; None if it stands still."""
    back = way[-BACK_STEPS:]
    step = back[-1] - back[0]
    length_mm = float(np.linalg.norm(step))
    return np.asarray(step / length_mm) if length_mm > 0 else None


def _fan_across(tangent: Points, count: int) -> NDArray[np.float64]:
    """Return evenly spaced unit vectors across one unit tangent; shape (3, 1, count)."""
    normal = np.eye(3)[np.argmin(np.abs(tangent))]
    normal = normal - (normal @ tangent) * tangent
    normal /= np.linalg.norm(normal)
    # What np.cross gives, without what it does around it: this is done for each step of each line.
    (a, b, c), (x, y, z) = tangent.tolist(), normal.tolist()
    binormal = np.array([b * z - c * y, c * x - a * z, a * y - b * x])
    return _fan((tangent[None], normal[None], binormal[None]), count)


def _upright(points: Points, wall_mm: NDArray[np.float64], trusted: Points) -> NDArray[np.bool_]:
    """Tell which sections stand across the vessel: where it turns before it ends, a straight continuation does not.

    There its sections are long and then cut by the vessel's end. Sections of the `trusted` line all count.
    """
    own = np.asarray(cKDTree(trusted).query(points)[0]) <= STEP_MM
    result = np.ones(len(points), dtype=bool)
    if own.all() or not own.any():
        return result
    middle_mm = row_medians(wall_mm)
    longer = np.nanmax(wall_mm, axis=1) / np.maximum(middle_mm, 1e-6)
    odd = (longer > MOST_LONGER * np.median(longer[own])) | (middle_mm < LEAST_WIDTH * np.median(middle_mm[own]))
    first, last = np.flatnonzero(own)[[0, -1]]
    before, after = np.flatnonzero(odd[:first]), last + 1 + np.flatnonzero(odd[last + 1 :])
    if len(before):
        result[: before[-1] + 1] = False
    if len(after):
        result[after[0] :] = False
    return result


def _open_wall(
    near: Neighborhood, points: Points, frames: Frames, reach_mm: float, known: dict[bytes, KnownWall]
) -> NDArray[np.float64]:
    """Return the wall in all `DIRECTIONS`, smooth along the vessel; NaN where a direction runs into a branch.

    Sections that the tumour cannot touch are looked at in `CENTRING_DIRECTIONS` only.
    """
    wall = known.get(key := points.tobytes())
    if wall is None:
        rough_mm = _wall_mm(near, points, _fan(frames, CENTRING_DIRECTIONS), reach_mm)
        wall = KnownWall(rough_mm, np.zeros((len(points), DIRECTIONS // 2)), np.zeros(len(points), dtype=bool))
    step = DIRECTIONS // CENTRING_DIRECTIONS
    wall_mm = np.repeat(wall.rough_mm, step, axis=1)
    wall_mm = np.roll(wall_mm, -(step // 2), axis=1)
    rows = near.touchable(points, wall.rough_mm.max(axis=1))
    new = np.flatnonzero(rows & ~wall.known)
    tangent, normal, binormal = (part[new] for part in frames)
    fan = _fan((tangent, normal, binormal), DIRECTIONS // 2)
    # A copy: another thread may be reading.
    fine_mm = wall.fine_mm.copy()
    fine_mm[new] = _wall_mm(near, points[new], fan, reach_mm, guess_mm=wall_mm[new, ::2])
    known[key] = KnownWall(wall.rough_mm, fine_mm, wall.known | rows)
    wall_mm[rows] = _with_those_between(fine_mm[rows])
    # A line one voxel thin can pass between voxels: its wall is then half a voxel away.
    wall_mm = np.maximum(wall_mm, 0.5 * near.spacing_mm.min())
    sigma_mm = _smoothing_mm(near, frames[0], WALL_SMOOTHING_MM)
    wall_mm = ndimage.gaussian_filter1d(wall_mm, sigma_mm / STEP_MM, axis=0, mode="nearest")
    wall_mm[wall_mm > OPEN_RATIO * row_medians(wall_mm)[:, None]] = np.nan
    return wall_mm


def _with_those_between(wall_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return walls (n, d) with the directions between two of them, (n, 2 d): a voxel is wider than a degree."""
    after = np.roll(wall_mm, -1, axis=1)
    opens = np.maximum(wall_mm, after) > 1.5 * np.minimum(wall_mm, after)
    between = np.where(opens, np.maximum(wall_mm, after), (wall_mm + after) / 2)
    return np.stack([wall_mm, between], axis=2).reshape(len(wall_mm), 2 * wall_mm.shape[1])


def _smoothing_mm(near: Neighborhood, tangent: Points, least_mm: float) -> float:
    """Return how far along the vessel the steps that the thickest voxel edge cuts into it are evened out."""
    axis = int(np.argmax(near.spacing_mm))
    edge_mm = float(near.spacing_mm[axis])
    across = max(float(np.median(np.abs(tangent[:, axis]))), 1e-6)
    return float(np.clip(STEP_SHARE * edge_mm / across, least_mm, max(least_mm, MOST_SMOOTHING * edge_mm)))


def _fan(frames: Frames, count: int) -> NDArray[np.float64]:
    """Return `count` evenly spaced unit vectors across each tangent; shape (3, n, count)."""
    _, normal, binormal = frames
    cosine, sine = _turns(count)
    return cosine * normal.T[..., None] + sine * binormal.T[..., None]


@cache
def _turns(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    angle = np.arange(count) * (2 * np.pi / count)
    return np.cos(angle), np.sin(angle)


def wall_distance_mm(
    near: Neighborhood, center_mm: Points, direction: NDArray[np.float64], reach_mm: float
) -> NDArray[np.float64]:
    """Return how far from each middle (n, 3) the interpolated mask first falls below one half; shape (n, d).

    Directions (n, d, 3) that do not leave the vessel get `reach_mm`.
    """
    return _wall_mm(near, center_mm, np.moveaxis(direction, -1, 0), reach_mm)


def _wall_mm(
    near: Neighborhood,
    center_mm: Points,
    fan: NDArray[np.float64],
    reach_mm: float,
    guess_mm: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return what `wall_distance_mm` does, for directions (3, n, d).

    With a guess the wall is first looked for around it.
    """
    count = fan.shape[2]
    centers, rays = np.repeat(center_mm.T, count, axis=1), fan.reshape(3, -1)
    # All rays of a section begin at its middle.
    middle = np.repeat(near.sample(near.vessel, center_mm), count)
    if guess_mm is None:
        wall_mm = _crossing(near, centers, rays, np.zeros(len(middle)), middle, reach_mm)
    else:
        window_mm = GUESS_VOXELS * float(near.spacing_mm.min())
        start_mm = np.maximum(guess_mm.ravel() - window_mm, 0.0)
        at_start = near.sample(near.vessel, on_rays(centers, rays, start_mm))
        wall_mm = _crossing(near, centers, rays, start_mm, at_start, 2 * window_mm)
        left = np.flatnonzero(np.isnan(wall_mm))
        centers, rays = centers[:, left], rays[:, left]
        wall_mm[left] = _crossing(near, centers, rays, np.zeros(len(left)), middle[left], reach_mm)
    # No crossing from a middle that lies outside means no wall at all.
    wall_mm = np.where(np.isnan(wall_mm), np.where(middle < 0.5, 0.0, reach_mm), np.minimum(wall_mm, reach_mm))
    return wall_mm.reshape(fan.shape[1:])


def _crossing(
    near: Neighborhood,
    center_mm: Points,
    ray: Points,
    start_mm: NDArray[np.float64],
    at_start: NDArray[np.float64],
    length_mm: float,
) -> NDArray[np.float64]:
    """Return where single rays (3, m) first leave the vessel, looking from `start_mm` over `length_mm`.

    `at_start` is the mask where they begin. NaN where a ray starts outside or does not leave the vessel.
    """
    step_mm = float(near.spacing_mm.min())
    along_mm = np.arange(0.0, length_mm + step_mm, step_mm)
    wall_mm = np.full(len(start_mm), np.nan)
    for first in range(0, len(start_mm), RAYS):
        rows = first + np.flatnonzero(at_start[first : first + RAYS] >= 0.5)
        found, at_mm, high, low = _first_outside(
            near, center_mm[:, rows], ray[:, rows], start_mm[rows], at_start[rows], along_mm
        )
        rows, width_mm = rows[found], step_mm
        center, unit = center_mm[:, rows], ray[:, rows]
        for _ in range(HALVINGS):
            width_mm /= 2
            middle = near.sample(near.vessel, on_rays(center, unit, at_mm + width_mm))
            further = middle >= 0.5
            at_mm = at_mm + width_mm * further
            high, low = np.where(further, middle, high), np.where(further, low, middle)
        wall_mm[rows] = at_mm + width_mm * (high - 0.5) / (high - low)
    return wall_mm


def _first_outside(
    near: Neighborhood,
    center_mm: Points,
    ray: Points,
    start_mm: NDArray[np.float64],
    at_start: NDArray[np.float64],
    along_mm: NDArray[np.float64],
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return which rays leave the vessel, where each is inside for the last time, and the mask there and one step on.

    Rays that begin inside are looked at some steps at a time: most leave early.
    """
    place_mm, highs, lows = (np.full(len(start_mm), np.nan) for _ in range(3))
    left, before, step = np.arange(len(start_mm)), at_start, 1
    while step < len(along_mm) and len(left):
        stretch = int(np.clip(STRETCH_POINTS // len(left), *STRETCH))
        from_mm = start_mm + along_mm[step : step + stretch, None]
        inside = near.sample(near.vessel, on_rays(center_mm[:, None], ray[:, None], from_mm))
        outside = inside < 0.5
        number, column = outside.argmax(axis=0), np.arange(len(left))
        leaves = outside[number, column]
        found = left[leaves]
        place_mm[found] = (start_mm + along_mm[step + number - 1])[leaves]
        highs[found] = np.where(number > 0, inside[number - 1, column], before)[leaves]
        lows[found] = inside[number, column][leaves]
        if len(found) == len(left):
            break
        left, before, start_mm = left[~leaves], inside[-1, ~leaves], start_mm[~leaves]
        center_mm, ray = center_mm[:, ~leaves], ray[:, ~leaves]
        step += stretch
    found = np.flatnonzero(~np.isnan(place_mm))
    return found, place_mm[found], highs[found], lows[found]


def _towards_middle(wall_mm: NDArray[np.float64], fan: NDArray[np.float64], radius_mm: float) -> Points:
    """Return the way from each middle to its section's centroid, at most half a radius long; shape (n, 3)."""
    capped = np.minimum(wall_mm, OPEN_RATIO * row_medians(wall_mm)[:, None])
    area = np.maximum((capped**2).mean(axis=1) / 2, 1e-9)
    moments = np.empty((*wall_mm.shape, 3))
    np.multiply(capped**3, fan, out=np.moveaxis(moments, -1, 0))
    shift = moments.mean(axis=1) / 3 / area[:, None]
    length = np.linalg.norm(shift, axis=1, keepdims=True)
    return np.asarray(shift * np.minimum(1.0, 0.5 * radius_mm / np.maximum(length, 1e-9)))
