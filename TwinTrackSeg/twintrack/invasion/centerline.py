"""The centre line of a vessel mask: ordered, smooth branches in local mm.

The mask is brought to cubic voxels, thinned to a skeleton, and the skeleton's spanning tree is taken apart into its
longest path and the side branches that leave the parent's lumen. Paths are smoothed and continued to the ends of the
mask, which thinning does not reach. A mask too small for a skeleton gets the principal axis through its centroid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from twintrack.imaging.neighbors import depth_mm
from twintrack.invasion.geometry import Neighborhood, Points, resampled, smoothed

__all__ = ["STEP_MM", "CenterLine", "center_lines", "continued"]

STEP_MM = 0.5
"""Distance of neighbouring points on a centre line, and so of the cross-sections."""

CUBE_MM = (0.6, 1.0)
"""Smallest and largest edge of the cubic voxels the skeleton is made on."""

MOST_CUBES = 4_000_000
"""A piece that would need more cubic voxels than this gets larger ones."""

GRID_SHIFTS = (0.0, 0.37, 0.71)
"""Places of the cubic grid, in voxels, that are tried: thinning erases a tube that lies symmetrically on the grid."""

MOST_BRANCHES = 16
"""A piece with more branches is no vessel but noise; the longest are taken."""

PART_SHARE = 0.1
"""A part of a skeleton smaller than this share of the largest part is a crumb."""

SIDE_BRANCH_MM = 4.0
"""A side branch is kept if it leads this far out of its parent's lumen; shorter ones are bumps of the wall."""

SLENDERNESS = 1.0
"""A centre line shorter than this many lumen diameters says nothing about the vessel's direction."""

LINE_SMOOTHING_MM = (1.5, 4.0)
"""Smallest and largest Gaussian width of the smoothing; in between it is the vessel's radius."""

BACK_STEPS = 9
"""Points at an end that give the direction in which the line is continued."""

EXTENSION_STEPS = 80
"""Largest number of points by which an end is continued."""

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class CenterLine:
    """One branch.

    Attributes
    ----------
    points_mm : numpy.ndarray
        Local (x, y, z) points every `STEP_MM` or a little closer; shape (n, 3), n >= 2.
    radius_mm : float
        Largest radius of a ball inside the vessel with its centre on the line.
    free_start : bool
        Whether the line starts at an end of the vessel; a side branch starts at its parent's wall.
    from_axis : bool
        Whether this is the principal axis of a piece too small for a skeleton.
    """

    points_mm: Points
    radius_mm: float
    free_start: bool
    from_axis: bool = False


def center_lines(near: Neighborhood, piece: NDArray[np.bool_]) -> list[CenterLine]:
    """Return the branches of one connected `piece` (a mask of the neighbourhood's shape), the longest first."""
    deep_mm = np.zeros(piece.shape, dtype=np.float32)
    deep_mm[piece], _ = depth_mm(np.pad(piece, 1), near.spacing_mm[::-1])
    edge_mm = float(np.clip(near.spacing_mm.min(), *CUBE_MM))
    edge_mm = max(edge_mm, float(np.prod(near.spacing_mm * piece.shape[::-1]) / MOST_CUBES) ** (1 / 3))
    skeleton = _skeleton_points(near, piece, edge_mm)
    paths = _paths(skeleton, _spanning_tree(skeleton, edge_mm), near.sample(deep_mm, skeleton))
    lines: list[CenterLine] = []
    for path, free_start in paths:
        if len(path) < 2:
            continue
        radius_mm = float(near.sample(deep_mm, path).max())
        smooth = smoothed(resampled(path, STEP_MM), float(np.clip(radius_mm, *LINE_SMOOTHING_MM)) / STEP_MM)
        line = CenterLine(_without_ends(smooth, radius_mm, free_start), radius_mm, free_start)
        if free_start and _length_mm(continued(line, near, piece)) < SLENDERNESS * 2 * radius_mm:
            continue
        lines.append(line)
    return lines or [_principal_axis(near, piece, float(deep_mm.max()))]


def continued(line: CenterLine, near: Neighborhood, piece: NDArray[np.bool_]) -> Points:
    """Return the line's points, continued straight at its free ends until it leaves the piece."""
    if line.from_axis:
        return line.points_mm
    points = line.points_mm
    parts = [np.empty((0, 3)), points, np.empty((0, 3))]
    for part, end, inner in ((0, points[0], points[:BACK_STEPS][-1]), (2, points[-1], points[-BACK_STEPS:][0])):
        span = float(np.linalg.norm(end - inner))
        if span == 0 or (part == 0 and not line.free_start):
            continue
        extension = end + np.arange(1, EXTENSION_STEPS + 1)[:, None] * STEP_MM * (end - inner) / span
        outside = near.sample(piece, extension) < 0.5
        parts[part] = extension[: int(np.argmax(outside))] if outside.any() else extension
    return np.concatenate([parts[0][::-1], parts[1], parts[2]])


def _without_ends(line: Points, radius_mm: float, free_start: bool) -> Points:
    """Cut one radius off the free ends of a line long enough.

    There a skeleton turns to the corners of the mask, most of all where the mask ends in an oblique plane.
    """
    drop = round(radius_mm / STEP_MM)
    return line[drop * free_start : len(line) - drop] if len(line) > 4 * drop else line


def _length_mm(line: Points) -> float:
    """Return the length of a polyline."""
    return float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())


def _skeleton_points(near: Neighborhood, piece: NDArray[np.bool_], edge_mm: float) -> Points:
    """Return the points of the piece's skeleton, made on cubic voxels with edges of `edge_mm`."""
    from skimage.morphology import skeletonize

    for shift in GRID_SHIFTS:
        solid = _cubic(near, piece, edge_mm, shift)
        skeleton: NDArray[np.bool_] = skeletonize(np.pad(solid, 1))
        # Thinning keeps what is connected connected: more parts than before, or none, are what it erased by mistake.
        _, parts = ndimage.label(skeleton, structure=np.ones((3, 3, 3)))
        if parts == ndimage.label(solid, structure=np.ones((3, 3, 3)))[1]:
            break
    return np.asarray(((np.argwhere(skeleton) - 1)[:, ::-1] + shift) * edge_mm, dtype=np.float64)


def _cubic(near: Neighborhood, piece: NDArray[np.bool_], edge_mm: float, shift: float) -> NDArray[np.bool_]:
    """Return the piece on cubic voxels, the first of them `shift` voxels from the box's first voxel on each axis."""
    scale = edge_mm / near.spacing_mm[::-1]
    shape = tuple(int(n) for n in np.ceil((np.asarray(piece.shape) - 1) / scale) + 1)
    mask = piece.astype(np.float32)
    cubic = ndimage.affine_transform(mask, scale, shift * scale, output_shape=shape, order=1, output=np.float32)
    rounded = ndimage.gaussian_filter(cubic, 1.0) >= 0.5
    solid: NDArray[np.bool_] = cubic >= 0.5
    # Rounding keeps bumps from growing branches, but would erase a vessel one or two voxels thin.
    return rounded if rounded.sum() >= 0.85 * solid.sum() else solid


def _paths(points: Points, tree: sparse.csr_array, depth_at_mm: NDArray[np.float64]) -> list[tuple[Points, bool]]:
    """Take a skeleton apart: longest paths, then side branches; with each, whether its start is a free end.

    A skeleton is in parts where the mask hangs together by a thread, as next to a dent.
    """
    if len(points) < 3:
        return []
    count, part = csgraph.connected_components(tree, directed=False)
    sizes = np.bincount(part, minlength=count)
    large = [number for number in np.argsort(-sizes) if sizes[number] >= max(3, PART_SHARE * sizes.max())]
    found: list[tuple[Points, bool]] = []
    for number in large:
        if len(found) < MOST_BRANCHES:
            member = np.flatnonzero(part == number)
            found += _paths_of(points, tree, depth_at_mm, member, MOST_BRANCHES - len(found))
    return found


def _paths_of(
    points: Points, tree: sparse.csr_array, depth_at_mm: NDArray[np.float64], member: NDArray[np.intp], most: int
) -> list[tuple[Points, bool]]:
    """Take one part of a skeleton apart; its side branches, `most` paths in all, follow its longest path."""
    # The node farthest from any node of a tree is an end of its longest path.
    distance, _ = _search(tree, member[:1])
    distance, before = _search(tree, member[np.argmax(distance[member])][None])
    path = _trace(before, int(member[np.argmax(distance[member])]))
    found = [(points[path], True)]
    covered = path
    while len(found) < most:
        distance, before = _search(tree, covered)
        path = _trace(before, int(member[np.argmax(distance[member])]))
        parent_mm = float(depth_at_mm[path[0]])
        if distance[path[-1]] < parent_mm + max(SIDE_BRANCH_MM, 0.5 * parent_mm):
            break
        covered = np.union1d(covered, path)
        found.append((points[path[distance[path] >= parent_mm]], False))
    return found


def _search(tree: sparse.csr_array, sources: Integers) -> tuple[NDArray[np.float64], NDArray[np.signedinteger]]:
    """Return each node's distance in mm from the nearest source and the node before it on the way."""
    distance, before, _ = csgraph.dijkstra(
        tree, directed=False, indices=sources, return_predecessors=True, min_only=True
    )
    return distance, before


def _spanning_tree(points: Points, edge_mm: float) -> sparse.csr_array:
    """Join neighbouring skeleton points to a graph without cycles, weighted with their distance in mm."""
    if len(points) == 0:
        return sparse.csr_array((0, 0))
    # csgraph before scipy 1.16 takes 32-bit indices only.
    pairs = cKDTree(points).query_pairs(1.75 * edge_mm, output_type="ndarray").astype(np.int32)
    weights = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    graph = sparse.csr_array((weights, (pairs[:, 0], pairs[:, 1])), shape=(len(points), len(points)))
    return sparse.csr_array(csgraph.minimum_spanning_tree(graph))


def _trace(before: NDArray[np.signedinteger], tip: int) -> Integers:
    """Return the nodes from a search's source to `tip`."""
    path = [tip]
    while before[path[-1]] >= 0:
        path.append(int(before[path[-1]]))
    return np.asarray(path[::-1], dtype=np.int64)


def _principal_axis(near: Neighborhood, piece: NDArray[np.bool_], radius_mm: float) -> CenterLine:
    """Return the line through the centroid along the piece's longest extent (along z if it has none)."""
    points = np.argwhere(piece)[:, ::-1] * near.spacing_mm
    centroid = points.mean(axis=0)
    # A voxel has an extent of its own: without it one slice of a vessel would count as a line across that slice.
    spread = np.cov(points.T, bias=True) + np.diag(near.spacing_mm**2 / 12) if len(points) > 1 else np.zeros((3, 3))
    values, vectors = np.linalg.eigh(spread)
    axis = vectors[:, 2] if values[2] > 1.5 * values[1] else np.array([0.0, 0.0, 1.0])
    half_mm = float(np.abs((points - centroid) @ axis).max() + 0.5 / np.linalg.norm(axis / near.spacing_mm))
    ends = centroid + np.array([[-half_mm], [half_mm]]) * axis
    return CenterLine(resampled(ends, STEP_MM), radius_mm, free_start=True, from_axis=True)
