"""The whole evaluation of one large case against a plain one that passes over the full volumes for every number.

Both get the same 512 x 512 x 160 case with five raters and have to give the same values. The plain one does what the
challenge's evaluation is described to do, in the same order: every threshold's masks over the whole volume, and for the
vessels one pass over all slices of all planes for each of the 55 pairs of a mask and a vessel. These take minutes, so
that by default a few are timed and the rest is estimated; ``--full`` times them all.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import integrate, ndimage
from scipy.stats import norm

from twintrack.metrics import CaseMetrics, evaluate_case
from twintrack.volume import Geometry, Volume

SIZE, SPACING_MM = (512, 512, 160), (0.75, 0.75, 2.0)
NAMES = {"PORTA": 1, "SMV": 2, "AORTA": 3, "CELIAC": 4, "SMA": 5}
LEVELS = np.linspace(0.1, 0.8, 6)
CENTER_MM, RADII_MM = (190.0, 180.0, 160.0), (17.0, 15.0, 14.5)
RATERS = ((1.0, 0.0), (0.93, 2.0), (1.08, -1.0), (0.97, 1.0), (1.02, -2.0))
TUBES = {
    "PORTA": ((14, 0), 6.0),
    "SMV": ((0, 19), 5.5),
    "AORTA": ((-30, 8), 9.0),
    "CELIAC": ((10, 12), 2.5),
    "SMA": ((4, -17), 3.0),
}
"""Offset (x, y) from the tumour and radius of the vessels, which run along z, in mm."""


def make_case() -> tuple[Volume, dict[int, Volume], Volume]:
    """Draw a tumour of about 15 mL, five readings of it, a soft map and five vessels."""
    grid = Geometry(SIZE, SPACING_MM)
    x, y, z = (np.arange(n) * step for n, step in zip(SIZE, SPACING_MM, strict=True))
    x, y, z = x[None, None, :], y[None, :, None], z[:, None, None]

    def depth(scale: float, shift_mm: float) -> Any:
        axes = zip((x + shift_mm, y, z), CENTER_MM, RADII_MM, strict=True)
        return 1 - np.sqrt(sum(((axis - c) / (r * scale)) ** 2 for axis, c, r in axes))

    annotations = {i: Volume((depth(*rater) > 0).astype(np.uint8), grid) for i, rater in enumerate(RATERS, 1)}
    p = (1 / (1 + np.exp(-12 * depth(1.05, 1.5)))).astype(np.float32)
    p[depth(2.5, 0.0) < 0] = 0
    vessels = np.zeros(grid.shape, np.int32)
    for name, ((right, down), radius) in TUBES.items():
        tube = (x - CENTER_MM[0] - right) ** 2 + (y - CENTER_MM[1] - down) ** 2 <= radius**2
        vessels[np.broadcast_to(tube & (np.abs(z - CENTER_MM[2]) < 70), grid.shape)] = NAMES[name]
    return Volume(p, grid), annotations, Volume(vessels, grid)


def plain_dice(p: Any, masks: list[Any]) -> float:
    consensus = np.mean(masks, axis=0)
    terms = []
    for level in LEVELS:
        one, other = p > level, consensus > level
        sizes = one.sum() + other.sum()
        terms.append(2 * np.logical_and(one, other).sum() / (sizes + 1e-6) if sizes else 1.0)
    return float(np.mean(terms))


def plain_crps(p: Any, masks: list[Any]) -> float:
    voxel = float(np.prod(SPACING_MM))
    volumes = [np.unique(mask, return_counts=True)[1][1] * voxel for mask in masks]
    mean, std, predicted = np.mean(volumes), np.std(volumes), float(p.sum(dtype=float)) * voxel
    points = np.linspace(norm.ppf(0.01, mean, std), norm.ppf(0.99, mean, std), 100)
    values = norm.cdf(points, mean, std)

    def gap(at: float) -> float:
        return float((np.interp(at, points, values, left=0, right=1) - (at >= predicted)) ** 2)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the integrand jumps, which the quadrature complains about
        return float(integrate.quad(gap, mean - 3 * std, mean + 3 * std)[0])


def plain_ece(p: Any, masks: list[Any]) -> float:
    where = np.argwhere(np.sum(masks, axis=0) > 0)
    box = tuple(slice(low - 20, high + 20) for low, high in zip(where.min(axis=0), where.max(axis=0), strict=True))
    inside, errors = p[box].astype(float), []
    for mask in masks:
        confidence, correct = np.maximum(inside, 1 - inside), (inside > 0.5) == (mask[box] == 1)
        number = np.floor(confidence * 50)
        parts = [(confidence[number == k].sum(), correct[number == k].sum()) for k in range(51)]
        errors.append(sum(abs(a - b) for a, b in parts) / inside.size)
    return float(np.mean(errors))


def plain_contact(tumor: Any, vessels: Any, label: int) -> list[float]:
    """Return the protocol's degrees in the three planes, looking at every slice of the volume."""
    cross, best = ndimage.generate_binary_structure(2, 1), [0.0, 0.0, 0.0]
    for axis in range(3):
        used = np.unique(np.where((tumor == 1) | (vessels == label))[axis])
        for number in used:
            lesion = np.take(tumor, number, axis=axis) == 1
            vessel = np.take(vessels, number, axis=axis) == label
            if not lesion.any() or not vessel.any():
                continue
            around = ndimage.binary_dilation(lesion, cross)
            edge = vessel & ~ndimage.binary_erosion(vessel, cross)
            outside, left_over = np.pad(around & ~edge, ((0, 1), (0, 1))), edge & ~around
            right, below, both = outside[:-1, 1:], outside[1:, :-1], outside[1:, 1:]
            touches = sum((left_over & hit).sum() for hit in (right, below, both, right | below))
            contact = (edge & around).sum() + touches
            best[axis] = max(best[axis], 360 * contact / edge.sum())
    return best


def plain_vessels(p: Any, masks: list[Any], vessels: Any, *, full: bool) -> tuple[float, dict[Any, list[float]]]:
    """Return the seconds of all 55 passes, timed or estimated from some of them, and the degrees measured."""
    tumors = [lambda mask=mask: mask for mask in masks] + [lambda t=t: (p > t).astype(np.uint8) for t in LEVELS]
    pairs = [(name, number) for name in NAMES for number in range(len(tumors))]
    timed = pairs if full else pairs[:: len(pairs) // 4]
    start = time.perf_counter()
    degrees = {(name, n): plain_contact(tumors[n](), vessels, NAMES[name]) for name, n in timed}
    return (time.perf_counter() - start) * len(pairs) / len(timed), degrees


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def check(ours: CaseMetrics, tdsc: float, crps: float, ece: float, degrees: dict[Any, list[float]]) -> None:
    """Stop where the two ways differ: a fast wrong number is worth nothing."""
    np.testing.assert_allclose([ours.tdsc, ours.crps, ours.ece], [tdsc, crps, ece], rtol=5e-3)
    for (name, number), planes in degrees.items():
        contact = ours.vessels[name]
        columns = np.concatenate([contact.raters, contact.thresholds], axis=1)
        np.testing.assert_allclose(columns[:, number], planes, rtol=1e-12)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="time all 55 vessel passes of the plain way (minutes)")
    full = parser.parse_args().full
    probability, annotations, vessels = make_case()
    p, masks = probability.array, [mask.array for mask in annotations.values()]
    input_bytes = p.nbytes + vessels.array.nbytes + sum(mask.nbytes for mask in masks)
    ours_s, metrics = timed(lambda: evaluate_case(probability, annotations, vessels, None, NAMES))
    again_s, _ = timed(lambda: evaluate_case(probability, annotations, vessels, None, NAMES))
    tracemalloc.start()
    evaluate_case(probability, annotations, vessels, None, NAMES)
    extra_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    dice_s, tdsc = timed(lambda: plain_dice(p, masks))
    crps_s, crps = timed(lambda: plain_crps(p, masks))
    ece_s, ece = timed(lambda: plain_ece(p, masks))
    vessel_s, degrees = plain_vessels(p, masks, vessels.array, full=full)
    check(metrics, tdsc, crps, ece, degrees)
    ours_s, plain_s = min(ours_s, again_s), dice_s + crps_s + ece_s + vessel_s
    size, tumor_ml = "x".join(map(str, SIZE)), masks[0].sum() * probability.geometry.voxel_ml
    print(f"{size} voxels, 5 raters, tumour {tumor_ml:.1f} mL, input {input_bytes / 2**20:.0f} MiB")
    estimated = "" if full else f" (estimated from {len(degrees)} of 55 passes)"
    parts = f"Dice {dice_s:.2f}, CRPS {crps_s:.2f}, ECE {ece_s:.2f}, vessels {vessel_s:.2f}{estimated}"
    print(f"plain way: {plain_s:7.2f} s = {parts}")
    print(f"twintrack: {ours_s:7.2f} s, with STAPLE and all further metrics")
    print(f"ratio    : {plain_s / ours_s:7.1f}")
    peak = 1 + extra_bytes / input_bytes
    print(f"memory   : {extra_bytes / 2**20:7.0f} MiB beside the input, peak {peak:.2f} times the input")


if __name__ == "__main__":
    main()
