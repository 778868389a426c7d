"""From a vessel's mask to its wall: the pieces near the tumour, each in a crop of its own."""

from __future__ import annotations

import hashlib
import weakref
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from twintrack.imaging.neighbors import grown_along
from twintrack.imaging.plane_contact import Box, bounding_box
from twintrack.imaging.runs import Runs
from twintrack.invasion.centerline import MOST_BRANCHES
from twintrack.invasion.completion import Completion, complete_lumen
from twintrack.invasion.contact import vessel_wall
from twintrack.invasion.course import course_of
from twintrack.invasion.geometry import Neighborhood, directional_voxel_mm, row_medians
from twintrack.invasion.rater_categories import CATEGORY_THRESHOLD
from twintrack.invasion.sections import Sections, cross_sections
from twintrack.invasion.wall import VesselWall
from twintrack.volume import Volume

__all__ = ["MeasuredVessel", "measure_wall", "without_other_branches"]

MARGIN_MM = 30.0
"""Vessel looked at beyond the tumour's box, so that the centre line does not end where the tumour does."""

EDGE_VOXELS = 2
"""Tissue kept around a piece's box."""

PIECE_SHARE = 0.03
"""Pieces smaller than this share of the vessel's largest piece are stray voxels and are ignored."""

MISSED_LEVEL = 0.25
"""Tumour against the mask at a level this much above what the cross-sections show counts as not seen by them."""

LEAST_VOXELS, THIN_SHARE = 0.8, 0.1
"""A vessel that is less than twice this many voxels wide, in this share of its directions, is too thin for an angle."""

END_VOXELS = 0.3
"""Part of a voxel by which the place is off where an arc of contact ends, as seen on tubes with known contact."""


@dataclass(frozen=True)
class MeasuredVessel:
    """The wall of one vessel.

    Attributes
    ----------
    wall : VesselWall
        Without sections where the tumour is nowhere near.
    missed_level : float
        Level up to which tumour touches the mask where no cross-section shows it; 0 if there is no such place.
    notes : tuple of str
        What limits the measurement.
    error_deg : float
        About how far an angle can be off because the voxels show where an arc ends to a part of a voxel only.
    """

    wall: VesselWall
    missed_level: float = 0.0
    notes: tuple[str, ...] = ()
    error_deg: float = 0.0


def measure_wall(
    probability: Volume,
    mask: NDArray[np.bool_],
    box: Box,
    contact_mm: float,
    floor: float,
    *,
    ends: bool = True,
    level_only: bool = False,
) -> MeasuredVessel:
    """Measure the part of a vessel that the tumour could touch.

    Parameters
    ----------
    probability : Volume
        The tumour map.
    mask : numpy.ndarray of bool
        The vessel on the map's grid, cropped to `box`; (z, y, x).
    box : tuple of slice
        The mask's place in the map.
    contact_mm : float
        See `twintrack.invasion.contact.vessel_wall`.
    floor : float
        Probability below which a voxel cannot matter.
    ends : bool
        Whether the vessel ends where its mask does, as far as is known.
    level_only : bool
        Whether only the wall's levels are asked for, see `twintrack.invasion.contact.vessel_wall`, and that once: what
        was found is not kept for the next time.
    """
    shape = probability.array.shape
    spacing_mm = np.asarray(probability.geometry.spacing_mm[::-1])
    farthest_mm = contact_mm + float(spacing_mm.max()) / 2
    reach = np.ceil(farthest_mm / spacing_mm).astype(np.int64) + EDGE_VOXELS
    zone = _zone(probability, _grown(box, reach, shape), floor)
    near = None if zone is None else _common(box, _grown(zone, np.ceil(MARGIN_MM / spacing_mm).astype(np.int64), shape))
    if near is None:
        return MeasuredVessel(VesselWall.joined([]))
    start = np.array([s.start for s in near]) - EDGE_VOXELS
    stop = np.array([s.stop for s in near]) + EDGE_VOXELS
    inside = _window(mask, box, shape, start, stop)
    if level_only:
        return _measured(probability, inside, start, reach, contact_mm, floor, ends=ends, level_only=True)
    around = probability.array[_grown(_box(start, stop), reach, shape)]
    key = _key(around, inside, (start.tolist(), probability.geometry, contact_mm, floor, ends))
    found = _known(key)
    if found is None:
        found = _measured(probability, inside, start, reach, contact_mm, floor, ends=ends)
        _keep(key, found)
    return found


_kept: dict[bytes, tuple[weakref.ref[VesselWall], MeasuredVessel]] = {}
"""What was measured, by what it was measured of, for as long as somebody holds the wall.

Without a calibrator the map is the score, and both are asked for."""


def _key(probability: NDArray[np.generic], inside: NDArray[np.bool_], other: object) -> bytes:
    digest = hashlib.sha256(repr((probability.dtype.str, probability.shape, inside.shape, other)).encode())
    digest.update(np.ascontiguousarray(probability).data)
    digest.update(np.packbits(inside).data)
    return digest.digest()


def _known(key: bytes) -> MeasuredVessel | None:
    """Return what was measured of the same, if it is still held."""
    wall, other = _kept.get(key, (lambda: None, None))
    held = wall()
    return None if held is None or other is None else replace(other, wall=held)


def _keep(key: bytes, found: MeasuredVessel) -> None:
    wall = weakref.ref(found.wall, lambda _: _kept.pop(key, None))
    _kept[key] = (wall, replace(found, wall=VesselWall.joined([])))


def _measured(
    probability: Volume,
    inside: NDArray[np.bool_],
    start: NDArray[np.int64],
    reach: NDArray[np.int64],
    contact_mm: float,
    floor: float,
    *,
    ends: bool,
    level_only: bool = False,
) -> MeasuredVessel:
    """Measure the vessel in a window that begins at index `start`."""
    whole = Neighborhood.around(probability.array, inside, probability.geometry, start)
    near_pieces, large, count = _near_pieces(probability, whole, start, reach, floor)
    lumen = complete_lumen(whole, [sections for piece in near_pieces for sections in piece.moved()])
    if lumen.added_ml:
        whole = replace(whole, vessel=lumen.vessel)
        near_pieces, large, count = _near_pieces(probability, whole, start, reach, floor)
    lumen = replace(lumen, ends_in_tumor=lumen.ends_in_tumor and ends)
    pieces = [_measure_piece(piece, contact_mm, level_only) for piece in near_pieces]
    return replace(_together(pieces, large, count, lumen), error_deg=_error_deg(pieces, whole.spacing_mm[::-1]))


def _near_pieces(
    probability: Volume,
    whole: Neighborhood,
    start: NDArray[np.int64],
    reach: NDArray[np.int64],
    floor: float,
) -> tuple[list[_NearPiece], int, int]:
    """Cut every piece that the tumour could touch; also return how many are large, and how many there are."""
    shape, inside = probability.array.shape, whole.vessel
    parts = Runs.of(inside.view(np.uint8)).by_part()
    voxels = np.array([part.length.sum() for part in parts])
    large = np.flatnonzero(voxels >= PIECE_SHARE * voxels.max(initial=1))
    found: list[_NearPiece] = []
    for number in large:
        low = np.maximum([s.start - EDGE_VOXELS for s in parts[number].box], 0)
        high = np.minimum([s.stop + EDGE_VOXELS for s in parts[number].box], inside.shape)
        place = _box(low, high)
        outer = _grown(_box(low + start, high + start), reach, shape)
        if _zone(probability, outer, floor) is not None:
            around = whole.cut(place)
            found.append(_cut(around, parts[number].mask_in(place), low[::-1] * around.spacing_mm))
    return found, len(large), len(parts)


@dataclass(frozen=True)
class _NearPiece:
    """One connected piece with its cross-sections; `offset_mm` leads from its neighbourhood to the vessel's."""

    near: Neighborhood
    piece: NDArray[np.bool_]
    branches: list[Sections]
    from_axis: bool
    crowded: bool
    offset_mm: NDArray[np.float64]

    def moved(self) -> list[Sections]:
        """Return the cross-sections in the vessel's neighbourhood."""
        return [replace(sections, center_mm=sections.center_mm + self.offset_mm) for sections in self.branches]


def _cut(near: Neighborhood, piece: NDArray[np.bool_], offset_mm: NDArray[np.float64]) -> _NearPiece:
    """Return one connected piece of a vessel with its cross-sections."""
    course = course_of(near, piece)
    sections = [
        cross_sections(near, line, piece, known) for line, known in zip(course.lines, course.sections, strict=True)
    ]
    return _NearPiece(
        near=near,
        piece=piece,
        branches=without_other_branches(sections),
        from_axis=course.lines[0].from_axis,
        crowded=len(course.lines) >= MOST_BRANCHES,
        offset_mm=offset_mm,
    )


@dataclass(frozen=True)
class _Piece:
    """What was found of one connected piece."""

    wall: VesselWall
    voxels: int
    from_axis: bool
    cut: bool
    touching: float
    thin: bool
    crowded: bool


def _measure_piece(found: _NearPiece, contact_mm: float, level_only: bool) -> _Piece:
    """Read the tumour off the wall of one connected piece of a vessel."""
    near, piece = found.near, found.piece
    beside = grown_along(piece, _reached_axes(near, contact_mm))
    wall = vessel_wall(near, found.branches, contact_mm, level_only=level_only)
    return _Piece(
        wall=wall,
        thin=_is_thin(near, found.branches, wall),
        crowded=found.crowded,
        voxels=int(np.count_nonzero(piece & near.known)),
        from_axis=found.from_axis,
        cut=bool(np.any(piece & ~near.known)),
        touching=float(near.probability[beside & ~piece].max(initial=0.0)),
    )


def _is_thin(near: Neighborhood, branches: list[Sections], wall: VesselWall) -> bool:
    """Tell whether a touched section is less than `LEAST_VOXELS` deep in a good part of its directions."""
    thickest_mm = LEAST_VOXELS * float(near.spacing_mm.max())
    if len(wall.level) == 0 or float(np.nanmin(wall.wall_mm)) >= thickest_mm:
        return False
    touched = wall.touched(CATEGORY_THRESHOLD).any(axis=1)
    direction = np.concatenate([sections.direction for sections in branches if len(sections.center_mm)])[touched]
    short = wall.wall_mm[touched] < LEAST_VOXELS * directional_voxel_mm(direction, near.spacing_mm)
    return bool(np.any(short.mean(axis=1) > THIN_SHARE))


def _reached_axes(near: Neighborhood, contact_mm: float) -> list[int]:
    """Return along which array axes contact can reach a voxel's neighbours: in thick slices not the next slice."""
    return [axis for axis, edge_mm in enumerate(near.spacing_mm[::-1]) if edge_mm / 2 <= contact_mm]


def _without_line(voxels: list[int]) -> list[str]:
    """Say once how many pieces, of which sizes, have no centre line."""
    if not voxels:
        return []
    few, many = min(voxels), max(voxels)
    size = f"{few:,}" if few == many else f"{few:,} to {many:,}"
    if len(voxels) == 1:
        return [f"a piece of {size} voxel(s) has no usable centre line; its longest extent was used"]
    return [f"{len(voxels)} pieces of {size} voxel(s) have no usable centre line; their longest extents were used"]


def _together(measured: list[_Piece], large: int, count: int, lumen: Completion) -> MeasuredVessel:
    """Join the pieces and note what limits the measurement."""
    notes = _without_line([piece.voxels for piece in measured if piece.from_axis])
    if large > 1:
        notes.append(f"the vessel mask is in {large} pieces near the tumour")
    if large < count:
        notes.append(f"{count - large} stray pieces of the vessel mask were ignored")
    if any(piece.thin for piece in measured):
        notes.append(
            "where it is touched the vessel is hardly wider than a voxel in some direction: angles are uncertain"
        )
    if any(piece.crowded for piece in measured):
        notes.append(f"the vessel mask branches like noise; only {MOST_BRANCHES} branches were measured")
    if lumen.added_ml:
        notes.append(
            f"{lumen.added_ml:.2g} mL of lumen lay under the tumour's label and were completed from the vessel before "
            "and behind"
        )
    if lumen.ends_in_tumor:
        notes.append(
            "the vessel's mask ends in the tumour: whether it goes on is not known, the contact is at least as shown"
        )
    if lumen.astray:
        notes.append(
            "the vessel does not follow the completed lumen where it is still drawn: its course under the tumour and "
            "the angle are uncertain"
        )
    if lumen.narrowed is not None:
        notes.append(
            f"under the tumour the lumen narrows to {100 * lumen.narrowed:.0f} % of its area; where the tumour's label "
            "has taken it, the contact is larger than shown"
        )
    if any(piece.cut for piece in measured):
        notes.append("the volume's edge cuts the vessel; contact beyond it is not known")
    wall = VesselWall.joined([piece.wall for piece in measured if len(piece.wall.level)])
    touching = max((piece.touching for piece in measured), default=0.0)
    unseen = touching if touching > wall.level_over(0.0) + MISSED_LEVEL else 0.0
    if unseen:
        notes.append(
            f"tumour at level {touching:.2f} lies against the mask where no cross-section shows it, "
            "for instance at the vessel's end"
        )
    return MeasuredVessel(wall, unseen, tuple(notes))


def _error_deg(pieces: list[_Piece], spacing_mm: NDArray[np.float64]) -> float:
    """Return the angle that `END_VOXELS` at either end of an arc are worth on this vessel."""
    radii_mm = [row_medians(piece.wall.wall_mm) for piece in pieces if len(piece.wall.wall_mm)]
    radius_mm = float(np.nanmedian(np.concatenate(radii_mm))) if radii_mm else 0.0
    off_mm = 2 * END_VOXELS * float(np.prod(spacing_mm)) ** (1 / 3)
    return min(float(np.degrees(off_mm / radius_mm)), 90.0) if radius_mm > 0 else 0.0


def _zone(probability: Volume, box: Box, floor: float) -> Box | None:
    """Return the box of the tumour inside `box`; None if there is none."""
    found = bounding_box(np.greater_equal(probability.array[box], floor))
    if found is None:
        return None
    low = np.array([outer.start + inner.start for outer, inner in zip(box, found, strict=True)])
    high = np.array([outer.start + inner.stop for outer, inner in zip(box, found, strict=True)])
    return _box(low, high)


def _window(
    mask: NDArray[np.bool_], box: Box, shape: tuple[int, ...], start: NDArray[np.int64], stop: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Cut the window from `start` to `stop` of a mask that is known in `box`; it continues beyond the volume's edge."""
    low, high = np.maximum(start, 0), np.minimum(stop, shape)
    result = np.zeros(high - low, dtype=bool)
    first = np.maximum(low, [s.start for s in box])
    last = np.minimum(high, [s.stop for s in box])
    source = tuple(slice(a - s.start, b - s.start) for a, b, s in zip(first, last, box, strict=True))
    result[tuple(slice(a, b) for a, b in zip(first - low, last - low, strict=True))] = mask[source]
    return np.pad(result, np.stack([low - start, stop - high], axis=1), mode="edge")


def _box(low: NDArray[np.int64], high: NDArray[np.int64]) -> Box:
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return z, y, x


def _grown(box: Box, by: NDArray[np.int64], shape: tuple[int, ...]) -> Box:
    """Return the box with `by` voxels more on each side, within the array."""
    low = np.array([s.start for s in box]) - by
    high = np.array([s.stop for s in box]) + by
    return _box(np.maximum(low, 0), np.minimum(high, shape))


def _common(one: Box, other: Box) -> Box | None:
    """Return what two boxes share."""
    z, y, x = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return (z, y, x) if all(s.stop > s.start for s in (z, y, x)) else None


FAR_RATIO = 1.2
"""Only walls further away than this many median radii can belong elsewhere."""

FEW_BRANCHES = 6
"""Of more branches than this only the nearest is looked at, which takes no longer the more there are."""

CLEARLY_NEARER = 0.8
"""A point belongs elsewhere if, in radii of the vessel, it lies this much nearer to the line there."""

ROUNDING_MM = 1e-6
"""More than distances are off by the rounding of numbers."""


def without_other_branches(branches: list[Sections]) -> list[Sections]:
    """Return the branches with a wall of NaN in every direction that meets a wall which belongs elsewhere.

    A centre line that turns from a trunk into its branch is one line: where it turns, its sections look into the rest
    of the trunk and along the branch, so that other parts of the same line count as elsewhere too.
    """
    branches = [sections for sections in branches if len(sections.center_mm)]
    if not branches:
        return []
    radii_mm = [row_medians(sections.wall_mm) for sections in branches]
    lines = [(cKDTree(sections.center_mm), radius) for sections, radius in zip(branches, radii_mm, strict=True)]
    if len(lines) > FEW_BRANCHES:
        lines = [(cKDTree(np.concatenate([part.center_mm for part in branches])), np.concatenate(radii_mm))]
    result = []
    for number, (sections, radius_mm) in enumerate(zip(branches, radii_mm, strict=True)):
        row, column = np.nonzero(sections.wall_mm > FAR_RATIO * radius_mm[:, None])
        wall_mm = sections.wall_mm.copy()
        far_mm = wall_mm[row, column]
        points = sections.center_mm[row] + far_mm[:, None] * sections.direction[row, column]
        for tree, other_mm in lines:
            if len(row) == 0:
                break
            gap_mm, nearest = tree.query(points)
            taken = gap_mm / other_mm[nearest] < CLEARLY_NEARER * far_mm / radius_mm[row]
            wall_mm[row[taken], column[taken]] = np.nan
        others = [place for place in range(len(branches)) if place != number]
        elsewhere = sections.elsewhere
        if others:
            centers = np.concatenate([branches[place].center_mm for place in others])
            elsewhere = _elsewhere(sections, radius_mm, cKDTree(centers), np.concatenate([radii_mm[n] for n in others]))
        result.append(replace(sections, wall_mm=wall_mm, elsewhere=elsewhere))
    return result


def _elsewhere(
    sections: Sections, radius_mm: NDArray[np.float64], others: cKDTree, other_mm: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Tell which points of the wall lie nearer, in radii of the vessel there, to another branch; shape (n, d)."""
    result = np.zeros(sections.wall_mm.shape, dtype=np.bool_)
    share = sections.wall_mm / radius_mm[:, None]
    # A wall is no nearer to the other branches than its middle is, less the way to the wall: most need no search.
    middle_mm = np.asarray(others.query(sections.center_mm)[0])
    row, column = np.nonzero(middle_mm[:, None] - sections.wall_mm < share * float(other_mm.max()) + ROUNDING_MM)
    points = sections.center_mm[row] + sections.wall_mm[row, column][:, None] * sections.direction[row, column]
    gap_mm, nearest = others.query(points)
    result[row, column] = gap_mm / other_mm[nearest] < share[row, column]
    return result
