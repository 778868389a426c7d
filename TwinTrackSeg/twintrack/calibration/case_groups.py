"""The cases of a cohort, kept apart for resampling in a bounded size.

Bootstrap and cross-validation need to know which voxels came from which case, which the sums of a sketch no longer
tell. Keeping every case at the sketch's own resolution would take gigabytes for a large cohort, so two things bound it:

* **Coarser cells.** A unit has `COARSE_CELLS` cells, each of 16 neighbouring ones of the sketch (128 an octave, single
  float32 numbers next to 1; scores below the floor stay a cell of their own).
* **At most `MOST_UNITS` units.** Every case starts as a unit of its own, under a 64-bit key made from its voxels. When
  there are too many units, all that share the first bits of their keys are merged, with as many bits as still fit.
  Keys are as good as random, so units become random groups of cases: sums of independent cases, which may be resampled
  as cases are (their sums carry the same variance). The number of bits follows from the set of cases alone; hence
  units, like sums, are the same in any order of merging, on any machine.

With 5 raters that is at most 100 MB, for 40 cases 16 MB, for 40,000 cases no more than for 256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from twintrack.calibration.score_axis import CELLS, GRAINS
from twintrack.raters import name_order

__all__ = [
    "COARSE_CELLS",
    "KEY_BITS",
    "MASS",
    "MHR",
    "MOST_UNITS",
    "Unit",
    "Units",
    "all_names",
    "case_unit",
    "coarse_sums",
    "content_key",
]

KEY_BITS = 64
MOST_UNITS = 256
"""Units kept apart; a bootstrap over so many knows the standard error to within 1 / sqrt(2 x 256) = 4 %."""

_MERGED = 16
"""Cells of the sketch in one coarse cell."""

_SPLIT = CELLS - 1 - GRAINS
"""From this cell on, single float32 numbers next to 1, coarse cells hold one cell each."""

MASS, MHR = 0, 1
"""Rows of a unit's sums; then one row of mass seen and one of mass marked for each rater, in turn."""


_FIRST = np.concatenate([[0], np.arange(1, _SPLIT, _MERGED), np.arange(_SPLIT, CELLS)])
"""First cell of every coarse cell; the first one stays alone."""

COARSE_CELLS = len(_FIRST)

_Number = TypeVar("_Number", np.int64, np.float64)


def coarse_sums(cells: NDArray[_Number]) -> NDArray[_Number]:
    """Sum the last axis, the cells of a sketch, over coarse cells."""
    sums: NDArray[_Number] = np.add.reduceat(cells, _FIRST, axis=-1)
    return sums


def content_key(*tables: NDArray[np.int64]) -> int:
    """Return a 64-bit key of a case's whole-number sums: the same for the same voxels, whatever the file's name."""
    digest = hashlib.blake2b(digest_size=KEY_BITS // 8)
    for table in tables:
        digest.update(repr(table.shape).encode())
        digest.update(np.ascontiguousarray(table, dtype="<i8").tobytes())
    return int.from_bytes(digest.digest(), "big")


def case_unit(
    key: int,
    raters: tuple[str, ...],
    mass: NDArray[np.int64],
    mhr_sums: NDArray[np.float64],
    rater_counts: NDArray[np.int64],
    rater_positives: NDArray[np.int64],
) -> Units:
    """Return one case as a unit, from its sums over the cells of a sketch."""
    sums = np.empty((2 + 2 * len(rater_counts), COARSE_CELLS))
    sums[MASS], sums[MHR] = coarse_sums(mass), coarse_sums(mhr_sums)
    sums[2::2], sums[3::2] = coarse_sums(rater_counts), coarse_sums(rater_positives)
    return Units(KEY_BITS, {key: Unit(raters, sums)})


def all_names(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of all raters of two parts, each in order, in their order."""
    return one if one == other else tuple(sorted({*one, *other}, key=name_order))


@dataclass(frozen=True)
class Unit:
    """Sums over coarse cells of one case, or of a random group of cases.

    Attributes
    ----------
    raters : tuple of str
        Who read any of them.
    sums : numpy.ndarray
        float64 (2 + 2 x raters, coarse cell): mass, sum of the MHR, then for each rater in turn mass seen and mass
        marked. Masses are whole numbers below 2**53 and add exactly.
    """

    raters: tuple[str, ...]
    sums: NDArray[np.float64]

    def __add__(self, other: Unit) -> Unit:
        raters = all_names(self.raters, other.raters)
        return Unit(raters, self.spread(raters) + other.spread(raters))

    def spread(self, raters: Sequence[str]) -> NDArray[np.float64]:
        """Return the sums with the rows of `raters`, among whom are all of the unit's; others have seen nothing."""
        if tuple(raters) == self.raters:
            return self.sums
        sums = np.zeros((2 + 2 * len(raters), COARSE_CELLS))
        sums[:2] = self.sums[:2]
        for place, rater in enumerate(self.raters):
            row = 2 + 2 * raters.index(rater)
            sums[row : row + 2] = self.sums[2 + 2 * place : 4 + 2 * place]
        return sums

    def drawn_by(self, rater: str) -> bool:
        """Whether the rater drew a case with voxels."""
        return rater in self.raters and bool(self.sums[2 + 2 * self.raters.index(rater)].any())


@dataclass(frozen=True)
class Units:
    """Sums over coarse cells for each unit.

    Attributes
    ----------
    bits : int
        Leading bits of the keys by which cases were put together.
    by_key : dict of int to Unit
        By these bits.
    """

    bits: int = KEY_BITS
    by_key: dict[int, Unit] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.by_key)

    def __add__(self, other: Units) -> Units:
        bits = min(self.bits, other.bits)
        merged = _regrouped(self.by_key, self.bits - bits)
        for key, unit in _regrouped(other.by_key, other.bits - bits).items():
            merged[key] = merged[key] + unit if key in merged else unit
        while len(merged) > MOST_UNITS:
            bits -= 1
            merged = _regrouped(merged, 1)
        return Units(bits, merged)

    def drawn_by(self, rater: str) -> int:
        """Return the number of units with a case that the rater drew."""
        return sum(unit.drawn_by(rater) for unit in self.by_key.values())

    def table(self, raters: Sequence[str]) -> NDArray[np.float64]:
        """Return the sums of all units in the order of their keys: (unit, 2 + 2 x raters, coarse cell)."""
        table = np.zeros((len(self.by_key), 2 + 2 * len(raters), COARSE_CELLS))
        for place, key in enumerate(sorted(self.by_key)):
            table[place] = self.by_key[key].spread(raters)
        return table


def _regrouped(units: dict[int, Unit], drop_bits: int) -> dict[int, Unit]:
    """Put units together whose keys agree without their last bits."""
    if drop_bits == 0:
        return dict(units)
    merged: dict[int, Unit] = {}
    for key, unit in units.items():
        short = key >> drop_bits
        merged[short] = merged[short] + unit if short in merged else unit
    return merged
