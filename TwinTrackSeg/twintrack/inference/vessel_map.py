"""Which vessel a voxel belongs to, also where the tumour hides it.

A network that gives each voxel one label must choose between tumour and vessel where a tumour grows into a vessel's
wall. Taking the likeliest class then lets the tumour dent the lumen, and contact measured around a dented lumen is far
too small. So a lumen continues under the tumour as far as the network would call it vessel if it were not tumour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.bundle.model_bundle import Bundle
from twintrack.imaging.plane_contact import Box
from twintrack.imaging.runs import Runs
from twintrack.inference.arrays import Array, assign, at_least, largest, raise_to, to_host, zeros_beside
from twintrack.inference.nnunet_model import Stage
from twintrack.inference.preprocess import Preprocessed
from twintrack.inference.resample import Range, true_box

__all__ = ["FLOOR", "SHARE", "VesselChannels", "drop_strays", "hidden_lumens", "vessel_map"]

SHARE = 0.5
"""Least share of a vessel in what is not tumour, p(vessel) / (1 - p(tumour)), where tumour hides it."""

FLOOR = 0.1
"""Least probability of a vessel that tumour hides; far below it, the share is a ratio of two rounding errors."""

BORDER_VOXELS = 1.0
"""Thickness of the layer around a lumen that alone is no hidden lumen: on every border between a vessel and a tumour
the probabilities cross within about a voxel, and what the share alone adds there is more tumour than lumen."""

CORE_VOXELS = 4.0
"""A part of what is deeper than that layer counts if it is larger than this; smaller ones are the layer's roughness."""

BESIDE_VOXELS = 1.75
"""Voxels of that layer are hidden lumen if a deeper one lies this near: a diagonal neighbour, with some rounding."""

STRAY_SHARE = 0.03
"""A piece whose lumen is smaller than this share of the vessel's largest one is a stray; the measurement of contact
leaves such pieces out as well."""

ROUNDING = 1e-3
"""Voxels by which a size must exceed its limit."""

EVERY_NEIGHBOR = np.ones((3, 3, 3))


@dataclass(frozen=True)
class VesselChannels:
    """Which outputs of a network are vessels and tumour.

    Attributes
    ----------
    tumor : tuple of int
        Channels whose weighted sum is the tumour's score.
    values : dict of int to int
        Label value of each vessel's channel; empty where none is predicted.
    hidden : frozenset of int
        Vessel channels that tumour can hide. A region that holds the tumour's own labels already goes on under it.
    overlapping : bool
        Whether each channel is a region of its own (sigmoid) in place of one label a voxel (softmax).
    weights : tuple of float
        Of each tumour channel; empty where all weigh 1.
    """

    tumor: tuple[int, ...]
    values: dict[int, int]
    hidden: frozenset[int]
    overlapping: bool
    weights: tuple[float, ...] = ()

    @classmethod
    def of(cls, bundle: Bundle, stage: Stage) -> VesselChannels:
        """Return the channels of a bundle's stage."""
        tumor = tuple(stage.channels[name] for name in bundle.tumor_weights)
        weights = tuple(bundle.tumor_weights.values())
        weights = () if all(weight == 1 for weight in weights) else weights
        values = {stage.channels[bundle.vessel_labels[name]]: value for name, value in bundle.vessel_values.items()}
        if not stage.overlapping:
            return cls(tumor, values, frozenset(values), overlapping=False, weights=weights)
        taken = frozenset().union(*(stage.labels_of(name) for name in bundle.tumor_labels))
        apart = [name for name in bundle.vessel_labels.values() if not stage.labels_of(name) & taken]
        hidden = frozenset(stage.channels[name] for name in apart)
        return cls(tumor, values, hidden, overlapping=True, weights=weights)

    def score(self, probabilities: Array) -> Array:
        """Return the tumour's score, (a, b, c), of class probabilities (channel, a, b, c): their weighted sum.

        Each weight is at most 1, and those of regions that overlap add up to at most 1: the score lies in [0, 1].
        """
        if not self.weights:
            return probabilities[list(self.tumor)].sum(axis=0)
        total = probabilities[self.tumor[0]] * self.weights[0]
        for channel, weight in zip(self.tumor[1:], self.weights[1:], strict=True):
            total += probabilities[channel] * weight
        return total

    def taken(self, probabilities: Array) -> Array:
        """Return the probability, (a, b, c), that a voxel is none of a vessel because it is tumour.

        Labels that exclude each other exclude a vessel whatever they weigh: where a network says that one of five
        readers sees tumour, it has not said vessel.
        """
        return self.score(probabilities) if self.overlapping else probabilities[list(self.tumor)].sum(axis=0)


def vessel_map(
    case: Preprocessed,
    probabilities: Array,
    window: tuple[Range, Range, Range],
    channels: VesselChannels,
    looked: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Label the vessels on a part of the CT's grid.

    A voxel is lumen of the vessel whose probability is the largest of all classes there; where classes overlap, of
    the vessel with the largest one over 0.5. Lumens then go on under the tumour (see `hidden_lumens`), and what is no
    part of a vessel goes (see `drop_strays`). Channels are resampled linearly, one after the other.

    Parameters
    ----------
    case : Preprocessed
        The way to the CT's grid.
    probabilities : array
        float32 in [0, 1], (channel, a, b, c) in network space; see `twintrack.inference.arrays`. On a graphics card the
        likeliest classes are found there, and two label maps of one byte a voxel come to main memory.
    window : tuple of Range
        Which voxels, along (z, y, x) of the CT part.
    channels : VesselChannels
        What the channels are.
    looked : numpy.ndarray
        Region of interest, bool, (z, y, x) of the window.

    Returns
    -------
    numpy.ndarray
        uint8, (z, y, x) of the window; 0 for no vessel.
    """
    labels = np.zeros(tuple(stop - start for start, stop in window), dtype=np.uint8)
    # The largest of n probabilities is at least 1/n, and an interpolated value is at most the larger neighbour's.
    least = min(FLOOR, 0.5 if channels.overlapping else 1.0 / probabilities.shape[0])
    bounds = true_box(to_host(largest(probabilities[list(channels.values)]) >= least))
    if bounds is None:
        return labels
    touched = case.window_touched(bounds)
    part = tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(touched, window, strict=True))
    if any(a >= b for a, b in part):
        return labels

    place = tuple(slice(a - c, b - c) for (a, b), (c, _) in zip(part, window, strict=True))
    inside = labels[place]
    lumens, hidden = _likeliest(case, probabilities, part, channels, least)
    inside[...] = lumens
    hidden_lumens(inside, hidden, _voxel_size(case))
    drop_strays(inside, lumens, looked[place])
    return labels


def _likeliest(
    case: Preprocessed, probabilities: Array, part: Sequence[Range], channels: VesselChannels, least: float
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the vessel that is the likeliest class, and the one that would be if tumour did not hide it.

    Label maps, uint8, (z, y, x) of the part of the CT, where the probabilities lie. A vessel can be neither where its
    probability is below `least` all around.
    """
    taken, shape = channels.taken(probabilities), [b - a for a, b in part]
    if not isinstance(probabilities, np.ndarray):  # on a card all at once
        layers = [*probabilities, taken]
        found = _competing(lambda number: case.to_grid(layers[number][None], part)[0], len(probabilities), channels)
        return to_host(found[0]), to_host(found[1])
    inside, hidden = np.zeros((2, *shape), dtype=np.uint8)
    for piece, place in case.pieces_on_grid([*probabilities, taken], part):
        near = {n for n in channels.values if probabilities[n][piece.touched].max() >= least - ROUNDING}
        if near:
            others = set() if channels.overlapping else set(range(len(probabilities))) - set(channels.values)
            found = _competing(piece.values, len(probabilities), channels, near | others)
            for whole, labels in zip((inside, hidden), found, strict=True):
                whole[place].transpose(case.axes)[...] = labels
    return inside, hidden


def _competing(
    values: Callable[[int], Array], count: int, channels: VesselChannels, wanted: Collection[int] | None = None
) -> tuple[Array, Array]:
    """Return what `_likeliest` does where some voxels have these `values` of each channel.

    The last one of `count` channels is followed by the probability that a voxel is tumour.
    """
    needed = at_least(SHARE * (1.0 - values(count)), FLOOR)
    inside, hidden = (zeros_beside(needed, needed.shape, np.uint8) for _ in range(2))
    # Where classes overlap, vessels compete with each other alone, from the least that can matter.
    best = zeros_beside(needed, needed.shape)
    for channel in channels.values if channels.overlapping else range(count):
        if wanted is not None and channel not in wanted:
            continue
        probability = values(channel)
        better = probability > best
        raise_to(best, probability)
        value = channels.values.get(channel, 0)
        assign(inside, better, value)
        if channel in channels.hidden:
            possible = probability >= needed
            assign(hidden, possible & better if channels.overlapping else possible, value)
    if channels.overlapping:
        assign(inside, best <= 0.5, 0)
    return inside, hidden


def hidden_lumens(lumens: NDArray[np.uint8], hidden: NDArray[np.uint8], voxel_size: Sequence[float]) -> None:
    """Add to lumens, in place, what the tumour hides of them.

    Of the voxels that could be hidden lumen, those count that hang together with the lumen of the same vessel through
    faces of voxels, and that are or adjoin a part of more than `CORE_VOXELS` beyond the layer of `BORDER_VOXELS`.

    Parameters
    ----------
    lumens : numpy.ndarray
        Label of the vessel that is the likeliest class, uint8, (z, y, x); changed.
    hidden : numpy.ndarray
        Label of the vessel that would be if the tumour were not, uint8, (z, y, x); changed.
    voxel_size : sequence of float
        Edges of a voxel along (z, y, x), in voxels of the network or, if the grid is the coarser one, 1.
    """
    from scipy import ndimage

    hidden *= lumens == 0
    connected = _hanging_together(lumens, hidden)
    if connected is None:
        return
    cores = np.zeros(lumens.shape, dtype=np.uint8)
    for box, inside, value in _parts_over(connected, CORE_VOXELS / math.prod(voxel_size)):
        near, own = _around(box, BORDER_VOXELS, voxel_size, lumens.shape)
        depth = ndimage.distance_transform_edt(lumens[near] != value, sampling=voxel_size)[own]
        deep, count = ndimage.label(inside & (depth > BORDER_VOXELS + ROUNDING), EVERY_NEIGHBOR)
        large = np.bincount(deep.ravel(), minlength=count + 1) * math.prod(voxel_size) > CORE_VOXELS + ROUNDING
        large[0] = False
        cores[box][large[deep]] = value
    for box, _, value in _parts_over(cores, 0):
        near, _ = _around(box, BESIDE_VOXELS, voxel_size, lumens.shape)
        beside = ndimage.distance_transform_edt(cores[near] != value, sampling=voxel_size) <= BESIDE_VOXELS
        lumens[near][beside & (connected[near] == value)] = value


def _hanging_together(lumens: NDArray[np.uint8], hidden: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Return what of the hidden voxels hangs together with a lumen through faces of voxels; None if nothing does."""
    if not hidden.any():
        return None
    runs = Runs.of(lumens + hidden)
    part, count = runs.parts(by_faces=True)
    number, is_lumen = runs.to_voxels(part), lumens.ravel()[runs.voxels] > 0
    with_lumen = np.zeros(count, dtype=bool)
    with_lumen[number[is_lumen]] = True
    wanted = with_lumen[number] & ~is_lumen
    if not wanted.any():
        return None
    connected = np.zeros(lumens.shape, dtype=np.uint8)
    connected.ravel()[runs.voxels[wanted]] = runs.to_voxels(runs.value)[wanted]
    return connected


def _parts_over(labels: NDArray[np.uint8], voxels: float) -> Iterator[tuple[Box, NDArray[np.bool_], int]]:
    """Yield box, mask in it and label of every connected part of more than so many voxels."""
    for part in Runs.of(labels).by_part():
        if part.length.sum() > voxels:
            yield part.box, part.mask_in(part.box), int(part.value[0])


def _around(box: Box, reach: float, voxel_size: Sequence[float], shape: Sequence[int]) -> tuple[Box, Box]:
    """Return a box with all that is within `reach` of it, and where it lies in that."""
    by = [math.ceil(reach / edge) for edge in voxel_size]
    near = tuple(slice(max(s.start - n, 0), min(s.stop + n, size)) for s, n, size in zip(box, by, shape, strict=True))
    own = tuple(slice(s.start - n.start, s.stop - n.start) for s, n in zip(box, near, strict=True))
    return (near[0], near[1], near[2]), (own[0], own[1], own[2])


def drop_strays(vessels: NDArray[np.uint8], lumens: NDArray[np.uint8], looked: NDArray[np.bool_]) -> None:
    """Take away, in place, connected pieces that are no part of a vessel.

    A piece goes if what is lumen of it is less than `STRAY_SHARE` of the vessel's largest piece, or if it lies wholly
    outside the region of interest while another one does not: there the networks saw tissue in passing alone.

    Parameters
    ----------
    vessels : numpy.ndarray
        Label map, uint8, (z, y, x); changed.
    lumens : numpy.ndarray
        The same before anything was added under the tumour.
    looked : numpy.ndarray
        Region of interest, bool, (z, y, x).
    """
    runs = Runs.of(vessels)
    piece, count = runs.parts()
    number = runs.to_voxels(piece)
    voxels = np.bincount(number[lumens.ravel()[runs.voxels] > 0], minlength=count)
    reached = np.bincount(number[looked.ravel()[runs.voxels]], minlength=count) > 0
    values = np.zeros(count, dtype=np.uint8)
    values[piece] = runs.value
    kept = np.ones(count, dtype=bool)
    for value in np.unique(values):
        own = values == value
        kept[own] = reached[own] if reached[own].any() else voxels[own] > 0
        kept[own] &= voxels[own] >= STRAY_SHARE * voxels[own & kept].max()
    gone = runs.voxels[~kept[number]]
    vessels[np.unravel_index(gone, vessels.shape)] = 0


def _voxel_size(case: Preprocessed) -> tuple[float, float, float]:
    """Return the edges of the CT's voxels along (z, y, x) in voxels of the network, at most 1."""
    edges = [1.0] * 3
    for n, axis in enumerate(case.axes):
        start, stop = case.nonzero[n]
        edges[axis] = min(case.data.shape[n + 1] / (stop - start), 1.0)
    return (edges[0], edges[1], edges[2])
