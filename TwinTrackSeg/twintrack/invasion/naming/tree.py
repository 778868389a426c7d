"""A vessel tree from a mask: shells of equal distance from where it begins, joined from shell to shell.

Each node is a piece of a shell: its voxels, their middle, the radius of the largest ball inside. The distance is
measured along the voxels, so that a node's parent is where its voxels were reached from, and the nodes are a tree
whatever loops the mask has.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from twintrack.invasion.naming.grid import Grid, Mask

__all__ = ["Tree", "Voxels", "pieces_of"]

SHELL_MM = 2.2
"""Thickness of a shell."""

LEAST_NODE_MM3 = 12.0
"""A piece of a shell smaller than this is roughness of the wall and belongs to its parent."""

DEPTH_ERROR_MM = 1.0
"""By how much the largest depth of a voxel may fall short of the radius."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_STEPS = np.array(
    [(dz, dy, dx) for dz in (-1, 0, 1) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dz, dy, dx) > (0, 0, 0)]
)
_FACES = np.array([(0, 0, 1), (0, 1, 0), (1, 0, 0)])


class Voxels:
    """The voxels of a mask as a graph.

    Attributes
    ----------
    index : numpy.ndarray
        (n, 3) in (z, y, x) order.
    place_mm : numpy.ndarray
        (n, 3), LPS.
    depth_mm : numpy.ndarray
        (n,): distance to the nearest voxel outside `solid`.
    piece : numpy.ndarray
        (n,): number of the piece, hung together by faces.
    """

    def __init__(self, inside: Mask, solid: Mask, grid: Grid) -> None:
        """`solid` is the mask that `inside` is a part of: what borders on the rest of it is no wall."""
        self.grid = grid
        self.index: Ints = np.argwhere(inside)
        self.place_mm = grid.lps_mm(self.index)
        self._number = np.full(inside.shape, -1, np.int32)
        self._number[tuple(self.index.T)] = np.arange(len(self.index))
        self.depth_mm = self._depths(solid)
        faces = self._edges(_FACES)
        count = len(self.index)
        joined = sparse.coo_matrix((np.ones(len(faces[0])), faces), shape=(count, count))
        self.piece: Ints = csgraph.connected_components(joined, directed=False)[1].astype(np.int64)
        first, second = self._edges(_STEPS)
        same = self.piece[first] == self.piece[second]
        self.first, self.second = first[same], second[same]

    def _edges(self, steps: NDArray[np.integer]) -> tuple[Ints, Ints]:
        first, second = [], []
        for step in steps:
            other = self._number[tuple((self.index + step).T)]  # the margin keeps this inside
            there = other >= 0
            first.append(np.flatnonzero(there))
            second.append(other[there].astype(np.int64))
        return np.concatenate(first), np.concatenate(second)

    def _depths(self, solid: Mask) -> Floats:
        edge = np.array(self.grid.spacing_mm)
        walls = []
        for step in (*_FACES, *-_FACES):
            beside = self.index + step
            walls.append(beside[~solid[tuple(beside.T)]])
        wall = np.concatenate(walls)
        if not len(wall):
            return np.full(len(self.index), 99.0)
        distance, _ = cKDTree(np.unique(wall, axis=0) * edge).query(self.index * edge)
        return np.asarray(distance) - 0.5 * float(edge.mean())

    def beside(self, mask: Mask) -> Ints:
        """Return the numbers of the voxels that share a face with a mask."""
        touching = np.zeros(len(self.index), bool)
        for step in (*_FACES, *-_FACES):
            touching |= mask[tuple((self.index + step).T)]
        return np.flatnonzero(touching)

    def join(self, first: Ints, second: Ints) -> None:
        """Add edges between voxels of two pieces, which become one."""
        self.first, self.second = np.concatenate([self.first, first]), np.concatenate([self.second, second])
        for one, other in zip(self.piece[first].tolist(), self.piece[second].tolist(), strict=True):
            if one != other:
                self.piece[self.piece == other] = one

    def graph(self, weight: Floats | None = None) -> sparse.csr_matrix:
        """Return the lengths of the edges in mm, times the mean of a weight at both ends."""
        length = np.linalg.norm(self.place_mm[self.first] - self.place_mm[self.second], axis=1)
        if weight is not None:
            length = length * (weight[self.first] + weight[self.second]) / 2
        count = len(self.index)
        return sparse.coo_matrix((length, (self.first, self.second)), shape=(count, count)).tocsr()


@dataclass
class Tree:
    """A tree of pieces of shells; node 0 is the root.

    Attributes
    ----------
    voxels : list of numpy.ndarray
        Numbers of the voxels of each node.
    place_mm : numpy.ndarray
        (n, 3): middle of each node.
    radius_mm : numpy.ndarray
        (n,): by the area of the cross-section, at most a little more than that of the largest ball inside.
    parent : numpy.ndarray
        (n,); -1 for the root.
    """

    voxels: list[Ints]
    place_mm: Floats
    radius_mm: Floats
    parent: Ints

    @classmethod
    def grow(cls, all_voxels: Voxels, members: Ints, roots: Ints) -> Tree | None:
        """Grow the tree of some voxels, of which `roots` are its beginning; None if there are none."""
        if not len(members) or not len(roots):
            return None
        graph = all_voxels.graph()[members][:, members]
        local = np.flatnonzero(np.isin(members, roots))
        distance, came_from, _ = csgraph.dijkstra(
            graph, directed=False, indices=local, min_only=True, return_predecessors=True
        )
        reached = np.isfinite(distance)
        level = np.where(reached, distance // SHELL_MM, -1).astype(np.int64)
        edges = graph.tocoo()
        same = (level[edges.row] == level[edges.col]) & (level[edges.row] > 0)
        count = len(members)
        shells = sparse.coo_matrix((np.ones(int(same.sum())), (edges.row[same], edges.col[same])), shape=(count, count))
        node = csgraph.connected_components(shells, directed=False)[1].astype(np.int64)
        # All that begins is one node, also where the beginning is in several places.
        node[level == 0] = node[local[0]]
        node = np.where(reached, node, -1)
        return cls._of_nodes(all_voxels, members, node, level, came_from.astype(np.int64), int(node[local[0]]))

    @classmethod
    def _of_nodes(cls, all_voxels: Voxels, members: Ints, node: Ints, level: Ints, came_from: Ints, root: int) -> Tree:
        names, first = np.unique(node[node >= 0], return_index=True)
        order = np.argsort(level[node >= 0][first], kind="stable")
        names = names[order]
        names = np.concatenate([[root], names[names != root]])
        number = np.full(int(node.max(initial=0)) + 2, -1)
        number[names] = np.arange(len(names))
        node = np.where(node >= 0, number[node], -1)
        reached = np.flatnonzero(node >= 0)
        parent = _parents(node, came_from, reached, len(names))
        size = np.bincount(node[reached], minlength=len(names))
        small = size * all_voxels.grid.voxel_mm3 < LEAST_NODE_MM3
        has_child = np.zeros(len(names), bool)
        has_child[parent[1:]] = True
        kept = np.where(small & ~has_child, parent, np.arange(len(names)))
        kept[0] = 0
        node[reached] = kept[node[reached]]
        left = np.unique(node[reached])
        renumber = np.full(len(names), -1)
        renumber[left] = np.arange(len(left))
        node[reached] = renumber[node[reached]]
        parent = np.array([-1, *(renumber[kept[parent[one]]] for one in left[1:])])
        sorting = reached[np.argsort(node[reached], kind="stable")]
        bounds = np.searchsorted(node[sorting], np.arange(len(left) + 1))
        groups = [members[sorting[a:b]] for a, b in pairwise(bounds)]
        place = np.array([all_voxels.place_mm[group].mean(axis=0) for group in groups])
        depth = np.array([all_voxels.depth_mm[group].max() for group in groups])
        area = np.array([len(group) for group in groups]) * all_voxels.grid.voxel_mm3 / SHELL_MM
        # A thin vessel's inscribed ball is told by whole voxels; the area is not, but holds both arms of a fork.
        radius = np.minimum(np.sqrt(area / np.pi), depth + DEPTH_ERROR_MM)
        return cls(groups, place, radius, parent)

    def __len__(self) -> int:
        return len(self.voxels)

    def children(self) -> list[list[int]]:
        """Return the children of each node."""
        found: list[list[int]] = [[] for _ in range(len(self))]
        for one in range(1, len(self)):
            found[int(self.parent[one])].append(one)
        return found

    def neighbors(self) -> list[list[int]]:
        """Return the neighbours of each node."""
        found = self.children()
        for one in range(1, len(self)):
            found[one].append(int(self.parent[one]))
        return found

    def path(self, end: int, start: int = 0) -> list[int]:
        """Return the nodes from a node down to one of its ancestors, in the order from `start` to `end`."""
        nodes = [end]
        while nodes[-1] != start and nodes[-1] > 0:
            nodes.append(int(self.parent[nodes[-1]]))
        return nodes[::-1]

    def along_mm(self) -> Floats:
        """Return the length of the line from the root to each node."""
        length = np.zeros(len(self))
        for one in range(1, len(self)):
            up = int(self.parent[one])
            length[one] = length[up] + np.linalg.norm(self.place_mm[one] - self.place_mm[up])
        return length

    def below(self, top: int) -> list[int]:
        """Return a node and all that hangs on it."""
        held = np.zeros(len(self), bool)
        held[top] = True
        for one in range(top + 1, len(self)):
            held[one] = held[int(self.parent[one])]
        return np.flatnonzero(held).tolist()

    def rooted(self, top: int) -> Tree:
        """Return the same nodes as a tree that begins at another one."""
        neighbors, order, parent = self.neighbors(), [top], [-1]
        place = {top: 0}
        for one in order:
            for other in neighbors[one]:
                if other not in place:
                    place[other] = len(order)
                    parent.append(place[one])
                    order.append(other)
        return Tree([self.voxels[n] for n in order], self.place_mm[order], self.radius_mm[order], np.array(parent))


def _parents(node: Ints, came_from: Ints, reached: Ints, count: int) -> Ints:
    """Return for each node the one from which most of its voxels were reached."""
    before = came_from[reached]
    known = before >= 0
    own, other = node[reached[known]], node[before[known]]
    crossing = (own != other) & (other >= 0)
    pairs, votes = np.unique(np.stack([own[crossing], other[crossing]], 1), axis=0, return_counts=True)
    parent = np.full(count, -1, np.int64)
    best = np.zeros(count)
    for (one, up), vote in zip(pairs.tolist(), votes.tolist(), strict=True):
        if vote > best[one] and one != 0 and up < one:
            parent[one], best[one] = up, vote
    parent[1:][parent[1:] < 0] = 0
    return parent


def pieces_of(voxels: Voxels, least_mm3: float) -> list[Ints]:
    """Return the voxels of each piece of at least some volume, the largest first."""
    size = np.bincount(voxels.piece)
    large = np.flatnonzero(size * voxels.grid.voxel_mm3 >= least_mm3)
    return [np.flatnonzero(voxels.piece == one) for one in large[np.argsort(-size[large])]]
