"""Lumen that a tumour's label has taken: found and put back from the healthy vessel before and behind.

Maps with one label a voxel cannot hold a vessel under a tumour: where the tumour has grown around or over a vessel its
label dents or interrupts the lumen, and contact read off the rest is far too small. Where a vessel is whole on both
sides of the tumour its course and outline are continued from one side to the other; of that tube only voxels that the
map calls tumour are added, and nothing at all where the mask is not clearly dented.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from twintrack.imaging.neighbors import eroded, grown_all_around
from twintrack.imaging.plane_contact import Box, bounding_box
from twintrack.invasion.centerline import STEP_MM
from twintrack.invasion.geometry import Neighborhood, Points, transported_frames
from twintrack.invasion.sections import Sections, wall_distance_mm

__all__ = ["Completion", "complete_lumen"]

TUMOR_LEVEL = 0.5
"""Maps with one label a voxel give it to the tumour from this level on."""

STRETCH_MM = 6.0
"""Healthy vessel on each side from which course and outline are taken."""

LEAST_STRETCH_MM = 2.5
"""Least healthy vessel on a side."""

MOST_BRIDGED_MM = 50.0
"""Longest stretch that is put back."""

MOST_TURN_DEG = 70.0
"""Largest angle between a healthy side's direction and the way to the other side."""

FACING_DEG = 90.0
"""Ends that turn further than `MOST_TURN_DEG`, but less than this, may be one vessel's: that is told."""

MOST_WIDER = 2.0
"""Sides that differ in width by more than this are not the same vessel."""

MOST_LOOSE = 40
"""A mask in so many pieces that it has more ends than this is noise; nothing is put between them."""

FREE_MARGIN_VOXELS = 1.5
"""A section is healthy if the tumour is this much further from its middle than the wall is."""

DENT_VOXELS = 1.3
"""A dent is shown by added voxels that lie this far from the mask; less is the voxels' own roughness."""

MOST_MISFIT_MM = 1.0
"""Where the lumen is not touched, the tube must lie this close to the mask (or one voxel), or it is not believed."""

DENTED = 0.93
"""A lumen that keeps more than this share of its healthy area everywhere has no dent that matters."""

NEAR_TUBE_MM, LEAST_INSIDE = 3.0, 0.85
"""Of the lumen up to this far from the tube, this share must lie inside it (or a voxel beyond): what a dent leaves of a
lumen lies in the tube, and another branch does not."""

NARROWED = 0.7
"""Where nothing can be put back, a lumen narrower than this share of its healthy area under the tumour is told."""

AROUND_RADII = 2.0
"""Vessel this near to a tube's line is around the tube."""

ASTRAY_SHARE = 0.1
"""If more of the vessel that is left around a tube lies beside it, the true course is likely another."""

FAN = 72
"""Directions of an outline."""


@dataclass(frozen=True)
class Completion:
    """What became of the lumen under a tumour.

    Attributes
    ----------
    vessel : numpy.ndarray of bool
        The mask with what was added; (z, y, x).
    added_ml : float
        Volume of lumen put back.
    narrowed : float or None
        Least share of its healthy area that the lumen has under the tumour, where it was clearly narrowed and nothing
        could be put back; 0 where it is parted.
    ends_in_tumor : bool
        Whether the mask ends where the tumour's label begins, so that nobody knows whether the vessel goes on.
    astray : bool
        Whether lumen was put back on a course that the rest of the vessel does not follow.
    """

    vessel: NDArray[np.bool_]
    added_ml: float = 0.0
    narrowed: float | None = None
    ends_in_tumor: bool = False
    astray: bool = False


@dataclass(frozen=True)
class _End:
    """The healthy vessel on one side of the tumour; its points run towards the tumour."""

    points_mm: Points
    wall_mm: NDArray[np.float64]
    branch: int

    @cached_property
    def direction(self) -> Points:
        way = self.points_mm[-1] - self.points_mm[0]
        return np.asarray(way / max(float(np.linalg.norm(way)), 1e-9))

    @cached_property
    def radius_mm(self) -> float:
        return float(np.nanmedian(self.wall_mm))


def complete_lumen(near: Neighborhood, branches: Sequence[Sections]) -> Completion:
    """Put back lumen that the tumour's label has taken.

    Parameters
    ----------
    near : Neighbourhood
        Vessel and tumour.
    branches : sequence of Sections
        Cross-sections of the vessel as it is drawn.
    """
    box = bounding_box(near.probability >= TUMOR_LEVEL, 1)
    if box is None:
        return Completion(near.vessel)
    inner = near.vessel[box]
    drawn = (near.probability[box] >= TUMOR_LEVEL) & ~inner
    if not np.any(grown_all_around(inner) & drawn):
        return Completion(near.vessel)
    surface = cKDTree(_places_mm(near, drawn & ~eroded(drawn), box))
    free = [_free(near, sections, surface) for sections in branches]
    # Takes memory only where it is written to.
    tumor = np.zeros(near.vessel.shape, dtype=bool)
    tumor[box] = drawn
    added, astray = np.zeros_like(tumor), False
    if pairs := _pairs(branches, free, surface):
        for first, second in pairs:
            found = _bridge(near, first, second, near.vessel, tumor)
            if found is not None:
                added |= found[0]
                astray |= found[1]
    if added.any():
        volume_ml = float(np.count_nonzero(added)) * near.geometry.voxel_ml
        whole = near.vessel | added
        ends = _ends_in_tumor(near, branches, whole, tumor & ~added)
        return Completion(whole, volume_ml, ends_in_tumor=ends, astray=astray)
    narrowed = 0.0 if _parted(branches, free) else _narrowed(branches, free)
    ends = _ends_in_tumor(near, branches, near.vessel, tumor)
    return Completion(near.vessel, narrowed=narrowed, ends_in_tumor=ends)


def _ends_in_tumor(
    near: Neighborhood, branches: Sequence[Sections], inside: NDArray[np.bool_], tumor: NDArray[np.bool_]
) -> bool:
    """Tell whether the tumour's label lies right before an end of a branch of a vessel, whose mask `inside` is."""
    ahead_mm = np.arange(0.5, 4.0, 0.5)[:, None] * float(near.spacing_mm.max())
    for sections in branches:
        for end, inner in ((0, 1), (-1, -2)) if len(sections.center_mm) > 1 else ():
            way = sections.center_mm[end] - sections.center_mm[inner]
            points = sections.center_mm[end] + ahead_mm * way / max(float(np.linalg.norm(way)), 1e-9)
            left = np.flatnonzero(near.sample(inside, points) < 0.5)
            # Half a voxel beyond the mask, where its border no longer halves the tumour's.
            if len(left) and near.sample(tumor, points[[min(left[0] + 1, len(points) - 1)]])[0] >= 0.5:
                return True
    return False


def _places_mm(near: Neighborhood, mask: NDArray[np.bool_], box: Box) -> Points:
    """Return the local points of a mask in a box; shape (n, 3)."""
    places = np.argwhere(mask) + [side.start for side in box]
    return np.asarray(places[:, ::-1] * near.spacing_mm)


def _places_near(near: Neighborhood, mask: NDArray[np.bool_], line: Points, reach_mm: float) -> NDArray[np.intp]:
    """Return the voxels (n, 3) of a mask in the box that holds all that lies within `reach_mm` of a line."""
    low = np.floor((line.min(axis=0) - reach_mm) / near.spacing_mm)[::-1].astype(np.int64) - 1
    high = np.ceil((line.max(axis=0) + reach_mm) / near.spacing_mm)[::-1].astype(np.int64) + 2
    low = np.maximum(low, 0)
    box = tuple(slice(a, b) for a, b in zip(low.tolist(), np.maximum(high, low).tolist(), strict=True))
    return np.asarray(np.argwhere(mask[box]) + low)


def _free(near: Neighborhood, sections: Sections, tumor: cKDTree) -> NDArray[np.bool_]:
    """Tell which sections the tumour does not touch; shape (n,)."""
    widest_mm = np.nanmax(sections.wall_mm, axis=1, initial=0.0)
    distance_mm, _ = tumor.query(sections.center_mm)
    result: NDArray[np.bool_] = distance_mm > widest_mm + FREE_MARGIN_VOXELS * float(near.spacing_mm.max())
    return result


def _pairs(branches: Sequence[Sections], free: Sequence[NDArray[np.bool_]], tumor: cKDTree) -> list[tuple[_End, _End]]:
    """Return the two healthy sides of every touched stretch, also of one that has parted the vessel."""
    pairs: list[tuple[_End, _End]] = []
    loose: list[_End] = []
    for number, (sections, healthy) in enumerate(zip(branches, free, strict=True)):
        if not healthy.any():
            continue
        runs = _runs(healthy, round(LEAST_STRETCH_MM / STEP_MM))
        area = np.nanmean(sections.wall_mm**2, axis=1)
        for (_, stop), (start, _) in pairwise(runs):
            if area[stop:start].min() > DENTED * np.median(area[healthy]):
                continue
            pairs.append((_end(sections, number, stop, -1), _end(sections, number, start - 1, 1)))
        if runs:
            loose += [_end(sections, number, runs[-1][1], -1), _end(sections, number, runs[0][0] - 1, 1)]
    reach_mm = MOST_BRIDGED_MM / 2
    if len(loose) > MOST_LOOSE:
        loose = []
    least = LEAST_STRETCH_MM / STEP_MM
    pairs = [pair for pair in pairs if all(len(end.points_mm) >= least for end in pair)]
    loose = [end for end in loose if len(end.points_mm) >= least]
    loose = [end for end in loose if tumor.query(end.points_mm[-1])[0] < reach_mm]
    options = [
        (cost, i, j)
        for i, one in enumerate(loose)
        for j, other in enumerate(loose)
        if i < j and one.branch != other.branch and (cost := _bend(one, other)) is not None
    ]
    taken: set[int] = set()
    for _, i, j in sorted(options):
        if not taken & {i, j}:
            taken |= {i, j}
            pairs.append((loose[i], loose[j]))
    return pairs


def _runs(flags: NDArray[np.bool_], least: int) -> list[tuple[int, int]]:
    """Return start and stop of the stretches that are true, `least` long at least."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2) if b - a >= least]


def _end(sections: Sections, branch: int, place: int, step: int) -> _End:
    """Return the stretch that ends before section `place`, coming from higher numbers if `step` is 1."""
    count = round(STRETCH_MM / STEP_MM)
    rows = np.arange(place - count, place) if step < 0 else np.arange(place + count, place, -1)
    rows = rows[(rows >= 0) & (rows < len(sections.center_mm))]
    closed = ~np.isnan(sections.wall_mm[rows]).any(axis=1)
    # Beside a confluence the outline is not the vessel's own.
    rows = rows[np.flatnonzero(~closed)[-1] + 1 :] if not closed.all() else rows
    return _End(sections.center_mm[rows], sections.wall_mm[rows], branch)


def _bend(one: _End, other: _End, most_deg: float = MOST_TURN_DEG) -> float | None:
    """Return how much a vessel would turn from one end to the other, in degrees; None if it cannot.

    At either end it cannot turn by more than `most_deg`.
    """
    if min(len(one.points_mm), len(other.points_mm)) < 2:
        return None
    way = other.points_mm[-1] - one.points_mm[-1]
    length_mm = float(np.linalg.norm(way))
    if not 0 < length_mm <= MOST_BRIDGED_MM:
        return None
    turns = [
        float(np.degrees(np.arccos(np.clip(end.direction @ way * sign / length_mm, -1, 1))))
        for end, sign in ((one, 1), (other, -1))
    ]
    wider = max(one.radius_mm, other.radius_mm) / max(min(one.radius_mm, other.radius_mm), 1e-6)
    return sum(turns) if max(turns) <= most_deg and wider <= MOST_WIDER else None


def _bridge(
    near: Neighborhood, one: _End, other: _End, mask: NDArray[np.bool_], tumor: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], bool] | None:
    """Return the tumour's voxels within the tube from one healthy side to the other; None if the lumen has no dent.

    Also return whether much of the vessel lies beside that tube.
    """
    if _bend(one, other) is None:
        return None
    line, healthy = _course(one, other)
    _, normal, binormal = transported_frames(line)
    turn = np.arange(FAN) * (2 * np.pi / FAN)
    fan = np.cos(turn)[:, None] * normal[:, None] + np.sin(turn)[:, None] * binormal[:, None]
    outlines = []
    for rows in healthy:
        reach_mm = 3 * max(one.radius_mm, other.radius_mm) + float(near.spacing_mm.max())
        outlines.append(np.median(wall_distance_mm(near, line[rows], fan[rows], reach_mm), axis=0))
    share = np.clip((np.arange(len(line)) - healthy[0].stop) / max(healthy[1].start - healthy[0].stop, 1), 0, 1)
    tube_mm = (1 - share)[:, None] * outlines[0] + share[:, None] * outlines[1]
    between = slice(healthy[0].stop, healthy[1].start)
    if not _fits(near, line[between], fan[between], tube_mm[between], tumor):
        return None
    tube = _Tube(line, normal, binormal, tube_mm)
    lumen, beyond_mm, nearest = tube.beyond_mm(near, mask)
    along = (nearest >= between.start) & (nearest < between.stop)
    if along.any() and np.mean(beyond_mm[along] <= float(near.spacing_mm.max())) < LEAST_INSIDE:
        return None
    places, beyond_mm, _ = tube.beyond_mm(near, tumor)
    places = places[beyond_mm <= 0]
    if not len(places):
        return None
    edge = cKDTree(lumen) if len(lumen) else None
    if edge is not None and np.max(edge.query(places)[0]) <= DENT_VOXELS:
        return None
    added = np.zeros(mask.shape, dtype=bool)
    added[tuple(places.T)] = True
    return added, _beside(near, line, np.median(tube_mm, axis=1), mask) > ASTRAY_SHARE


@dataclass(frozen=True)
class _Tube:
    """A line with two unit normals (n, 3) that do not twist, and the wall's distance in `FAN` directions (n, d)."""

    line: Points
    normal: Points
    binormal: Points
    wall_mm: NDArray[np.float64]

    def beyond_mm(
        self, near: Neighborhood, mask: NDArray[np.bool_]
    ) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.intp]]:
        """Return the voxels of a mask near the tube, how far beyond its wall each lies, and the nearest section."""
        reach_mm = float(self.wall_mm.max()) + NEAR_TUBE_MM
        places = _places_near(near, mask, self.line, reach_mm)
        gap_mm, number = cKDTree(self.line).query(places[:, ::-1] * near.spacing_mm, distance_upper_bound=reach_mm)
        close = np.isfinite(gap_mm)
        places, nearest = places[close], np.asarray(number)[close]
        offset = places[:, ::-1] * near.spacing_mm - self.line[nearest]
        x, y = (np.einsum("nk,nk->n", offset, part[nearest]) for part in (self.normal, self.binormal))
        column = np.rint(np.arctan2(y, x) / (2 * np.pi / FAN)).astype(int) % FAN
        return places, np.hypot(x, y) - self.wall_mm[nearest, column], nearest


def _beside(near: Neighborhood, line: Points, radius_mm: NDArray[np.float64], mask: NDArray[np.bool_]) -> float:
    """Return the share of the vessel around a tube that lies beside it."""
    reach_mm = AROUND_RADII * float(radius_mm.max())
    places_mm = _places_near(near, mask, line, reach_mm)[:, ::-1] * near.spacing_mm
    found = cKDTree(line).query(places_mm, distance_upper_bound=reach_mm)
    gap_mm, nearest = np.asarray(found[0]), np.asarray(found[1])
    # Vessel that goes on beyond the tube's ends is nearest to those.
    around = (nearest > 0) & (nearest < len(line) - 1)
    if not around.any():
        return 0.0
    most_mm = radius_mm[nearest[around]] + max(MOST_MISFIT_MM, float(near.spacing_mm.max()))
    return float(np.mean(gap_mm[around] > most_mm))


def _course(one: _End, other: _End) -> tuple[Points, tuple[slice, slice]]:
    """Return the line through both healthy sides and the cubic between them, and which part of it is either side."""
    start, stop = one.points_mm[-1], other.points_mm[-1]
    chord_mm = float(np.linalg.norm(stop - start))
    half = np.arccos(np.clip(one.direction @ -other.direction, -1, 1)) / 2
    # The cubic of Hermite follows an arc of a circle if its end tangents are about as long as the arc.
    length_mm = chord_mm * float(half / np.sin(half)) if half > 1e-3 else chord_mm
    t = np.linspace(0, 1, max(int(np.ceil(length_mm / STEP_MM)), 2) + 1)[1:-1, None]
    cubic = (
        (2 * t**3 - 3 * t**2 + 1) * start
        + (t**3 - 2 * t**2 + t) * length_mm * one.direction
        + (3 * t**2 - 2 * t**3) * stop
        - (t**3 - t**2) * length_mm * other.direction
    )
    line = np.concatenate([one.points_mm, cubic, other.points_mm[::-1]])
    return line, (slice(0, len(one.points_mm)), slice(len(one.points_mm) + len(cubic), len(line)))


def _fits(
    near: Neighborhood, line: Points, fan: NDArray[np.float64], tube_mm: NDArray[np.float64], tumor: NDArray[np.bool_]
) -> bool:
    """Tell whether the tube follows the mask where no tumour is beside it, above all around its dents.

    A vessel that is narrow there on its free side too is truly narrow: nothing was taken from it.
    """
    inside = near.sample(near.vessel, line) >= 0.5
    if not inside.any():
        return True
    line, fan, tube_mm = line[inside], fan[inside], tube_mm[inside]
    wall_mm = wall_distance_mm(near, line, fan, 2 * float(tube_mm.max()))
    beyond = line[:, None] + (wall_mm + float(near.spacing_mm.max()))[..., None] * fan
    untouched = near.sample(tumor, beyond) < 0.05
    if not untouched.any():
        return True
    misfit_mm = np.abs(wall_mm - tube_mm)
    if np.median(misfit_mm[untouched]) > max(MOST_MISFIT_MM, float(near.spacing_mm.min())):
        return False
    # In thick slices a lumen that breaks off narrows all around over the last slice.
    most_mm = max(MOST_MISFIT_MM, float(near.spacing_mm.max()))
    dented = np.asarray(~untouched & (tube_mm - wall_mm > most_mm)).any(axis=1)
    around_dents = untouched & np.asarray(dented)[:, None]
    return not around_dents.any() or bool(np.median(misfit_mm[around_dents]) <= most_mm)


def _parted(branches: Sequence[Sections], free: Sequence[NDArray[np.bool_]]) -> bool:
    """Tell whether two branches end in the tumour that could be the two sides of one vessel."""
    ends: list[_End] = []
    for number, (sections, healthy) in enumerate(zip(branches, free, strict=True)):
        runs = _runs(healthy, round(LEAST_STRETCH_MM / STEP_MM))
        if runs and not healthy[-1]:
            ends.append(_end(sections, number, runs[-1][1], -1))
        if runs and not healthy[0]:
            ends.append(_end(sections, number, runs[0][0] - 1, 1))
    return any(
        one.branch != other.branch and _bend(one, other, FACING_DEG) is not None for one, other in combinations(ends, 2)
    )


def _narrowed(branches: Sequence[Sections], free: Sequence[NDArray[np.bool_]]) -> float | None:
    """Return the least share of a healthy branch's area under the tumour, if it is clearly smaller."""
    least = 1.0
    for sections, healthy in zip(branches, free, strict=True):
        if not healthy.any():
            continue
        area = np.nanmean(sections.wall_mm**2, axis=1)
        healthy_area = float(np.median(area[healthy]))
        # At the ends of a branch sections are cut.
        ends = round(np.sqrt(healthy_area) / STEP_MM)
        touched = np.flatnonzero(~healthy[ends : len(healthy) - ends]) + ends
        if len(touched):
            least = min(least, float(area[touched].min()) / healthy_area)
    return least if least < NARROWED else None
