"""The wall of a vessel with the level at which each point of it is touched, and the curves that follow.

Everything that is reported of a vessel is read from this one table: for all thresholds at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["ContactCurve", "VesselWall"]

LEVEL_TOLERANCE = 1e-5
"""A level this close below a threshold reaches it: interpolation of equal single-precision numbers is not exact."""

Reals = NDArray[np.float64]


@dataclass(frozen=True)
class ContactCurve:
    """Contact against threshold.

    Attributes
    ----------
    thresholds : numpy.ndarray
        Levels in (0, 1); shape (t,).
    angle_deg : numpy.ndarray
        Touched directions (their union) in the section where they are most, 0 to 360.
    arc_deg : numpy.ndarray
        Smallest arc that encloses the touched directions, in the section where it is largest; at least `angle_deg`.
    length_mm : numpy.ndarray
        Length of vessel with any contact, summed over branches.
    area_mm2 : numpy.ndarray
        Area of touched wall.
    """

    thresholds: Reals
    angle_deg: Reals
    arc_deg: Reals
    length_mm: Reals
    area_mm2: Reals


@dataclass(frozen=True)
class VesselWall:
    """The cross-sections of a vessel near the tumour, all branches one after the other.

    Attributes
    ----------
    level : numpy.ndarray
        Highest probability level at which the tumour touches the wall in section ``n`` and direction ``d``, in [0, 1];
        0 where there is no wall; shape (n, d).
    level_less, level_more : numpy.ndarray
        The same if the contact distance were half a voxel smaller or larger; shape (n, d).
    wall_mm : numpy.ndarray
        Distance from the middle to the wall; NaN where a direction runs into a branch; shape (n, d).
    area_mm2 : numpy.ndarray
        Area of wall that each direction stands for; shape (n, d).
    center_lps_mm, tangent_lps : numpy.ndarray
        Middle and direction of each section in LPS patient coordinates; shape (n, 3).
    normal_lps, binormal_lps : numpy.ndarray
        Direction 0 and the direction a quarter turn on; they do not twist along a branch; shape (n, 3).
    step_mm : numpy.ndarray
        Length of vessel each section stands for; shape (n,).
    branch : numpy.ndarray of int
        Number of the branch each section lies on; shape (n,).
    """

    level: Reals
    level_less: Reals
    level_more: Reals
    wall_mm: Reals
    area_mm2: Reals
    center_lps_mm: Reals
    tangent_lps: Reals
    normal_lps: Reals
    binormal_lps: Reals
    step_mm: Reals
    branch: NDArray[np.int64]

    @classmethod
    def joined(cls, walls: list[VesselWall]) -> VesselWall:
        """Return the branches of several walls as one; without any, a wall without sections."""
        if not walls:
            table, points = np.zeros((0, 1)), np.zeros((0, 3))
            none, number = np.zeros(0), np.zeros(0, dtype=np.int64)
            return cls(table, table, table, table, table, points, points, points, points, none, number)
        names = [name for name in cls.__dataclass_fields__ if name != "branch"]
        tables = {name: np.concatenate([getattr(wall, name) for wall in walls]) for name in names}
        counts = [len(np.unique(wall.branch)) for wall in walls]
        before = np.cumsum([0, *counts[:-1]])
        numbers = [
            first + np.unique(wall.branch, return_inverse=True)[1] for first, wall in zip(before, walls, strict=True)
        ]
        return cls(**tables, branch=np.concatenate(numbers).astype(np.int64))

    def only(self, section: int) -> VesselWall:
        """Return one section as a wall of its own."""
        rows = slice(section, section + 1)
        return VesselWall(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})

    @property
    def directions(self) -> int:
        """Directions in each section."""
        return int(self.level.shape[1])

    def curve(self, thresholds: Reals) -> ContactCurve:
        """Return the contact at every threshold (a point is touched where ``level >= threshold``)."""
        if len(self.level) == 0:
            return ContactCurve(thresholds, *(np.zeros(len(thresholds)) for _ in range(4)))
        reached = self._reached(thresholds)
        counts = _summed_from_above(reached, np.ones(self.level.shape), len(thresholds))
        return ContactCurve(
            thresholds=thresholds,
            angle_deg=counts.max(axis=0) * (360.0 / self.directions),
            arc_deg=self._arcs_deg(reached, counts),
            length_mm=((counts > 0) * self.step_mm[:, None]).sum(axis=0),
            area_mm2=_summed_from_above(reached, self.area_mm2, len(thresholds)).sum(axis=0),
        )

    def angles_deg(self, thresholds: Reals) -> Reals:
        """Return the contact angle of the worst section at every threshold."""
        return _angles_deg(self.level_of_count, thresholds)

    def angles_by_half_a_voxel_deg(self, thresholds: Reals) -> tuple[Reals, Reals]:
        """Return the contact angle at every threshold if the mask were half a voxel smaller, and larger."""
        less, more = (_angles_deg(_level_of_count(table), thresholds) for table in (self.level_less, self.level_more))
        return less, more

    @cached_property
    def level_of_count(self) -> Reals:
        """Largest level at which some section has at least ``k`` touched directions, for k = 0 ... d; k = 0 gives 1."""
        return _level_of_count(self.level)

    def level_over(self, angle_deg: float) -> float:
        """Return the largest level at which the contact angle exceeds `angle_deg`."""
        return self._level(int(np.floor(angle_deg / 360 * self.directions + 1e-9)) + 1)

    def level_from(self, angle_deg: float) -> float:
        """Return the largest level at which the contact angle is at least `angle_deg`."""
        return self._level(max(int(np.ceil(angle_deg / 360 * self.directions - 1e-9)), 1))

    def touched(self, threshold: float) -> NDArray[np.bool_]:
        """Tell which points of the wall are touched at `threshold`; shape (n, d)."""
        return self.level >= threshold - LEVEL_TOLERANCE

    def worst_section(self, threshold: float) -> int:
        """Return the number of the section with the largest angle, of several the one in the middle."""
        counts = self.touched(threshold).sum(axis=1)
        largest = np.flatnonzero(counts == counts.max())
        return int(largest[len(largest) // 2])

    def directions_lps(self, section: int) -> Reals:
        """Return the unit vectors from the middle to the wall of one section; shape (d, 3)."""
        turn = np.arange(self.directions)[:, None] * (2 * np.pi / self.directions)
        return np.asarray(np.cos(turn) * self.normal_lps[section] + np.sin(turn) * self.binormal_lps[section])

    def _level(self, count: int) -> float:
        return float(self.level_of_count[count]) if count <= self.directions else 0.0

    def _reached(self, thresholds: Reals) -> NDArray[np.int64]:
        """Return how many of the rising thresholds each point's level reaches; shape (n, d)."""
        flat = np.searchsorted(thresholds - LEVEL_TOLERANCE, self.level.ravel(), side="right")
        return np.asarray(flat.reshape(self.level.shape), dtype=np.int64)

    def _arcs_deg(self, reached: NDArray[np.int64], counts: Reals) -> Reals:
        """Return the smallest enclosing arc of the section where it is largest, for every threshold."""
        whole = self.directions
        arcs = np.zeros(counts.shape[1])
        for number in range(counts.shape[1]):
            rows = np.flatnonzero(counts[:, number])
            if len(rows) == 0:
                break
            if counts[:, number].max() == whole:
                arcs[number] = 360.0
                continue
            touched = np.tile(reached[rows] > number, 2)
            place = np.arange(2 * whole)
            last = np.maximum.accumulate(np.where(touched, place, -1), axis=1)
            # The second round knows what was touched at the end of the first one.
            gap = (place - last)[:, whole:].max(axis=1)
            arcs[number] = (whole - gap).max() * (360.0 / whole)
        return arcs


def _level_of_count(level: Reals) -> Reals:
    """Return the largest level at which some section has at least ``k`` touched directions, for k = 0 ... d."""
    if len(level) == 0:
        return np.array([1.0, *np.zeros(level.shape[1])])
    ordered = np.sort(level, axis=1)[:, ::-1].max(axis=0)
    return np.asarray(np.concatenate([[1.0], ordered]), dtype=np.float64)


def _angles_deg(level_of_count: Reals, thresholds: Reals) -> Reals:
    """Return the contact angle of the worst section at every threshold."""
    # The levels fall with the count: as many of them reach a threshold as there are touched directions.
    falling = -level_of_count[1:]
    counts = np.searchsorted(falling, -(thresholds - LEVEL_TOLERANCE), side="right")
    return np.asarray(counts * (360.0 / len(falling)), dtype=np.float64)


def _summed_from_above(reached: NDArray[np.int64], weights: Reals, count: int) -> Reals:
    """Sum each row's weights over the points that reach threshold ``t``; shape (n, t)."""
    rows = len(reached)
    cell = (np.arange(rows)[:, None] * (count + 1) + reached).ravel()
    sums = np.bincount(cell, weights=weights.ravel(), minlength=rows * (count + 1)).reshape(rows, count + 1)
    return np.asarray(np.cumsum(sums[:, ::-1], axis=1)[:, ::-1][:, 1:], dtype=np.float64)
