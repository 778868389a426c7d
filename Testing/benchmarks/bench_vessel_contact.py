"""Time and memory of the vessel readouts of one large case, against measuring it threshold by threshold.

A 512 x 512 x 200 CT with a tumour of 30 mL and five vessels, 100 thresholds. The peer evaluates the same measure on the
tumour mask of each threshold; it takes long, so that by default some thresholds are timed and the rest is estimated.
Both have to give the same angles. A second case has a map that is low but nowhere 0 and a vessel map full of stray
pieces, which must cost neither time nor memory. ``--result DIR`` compares with the seconds in a result folder. Seconds
are processor time, so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

import bench_protocol

from twintrack.invasion import measure_invasion
from twintrack.volume import Geometry, Volume

SIZE, SPACING_MM = (512, 512, 200), (0.75, 0.75, 1.0)
CENTER_MM, RADII_MM = (190.0, 180.0, 100.0), (20.6, 18.2, 17.6)
THRESHOLDS = tuple(round((step + 0.5) / 100, 4) for step in range(100))


def large_case() -> tuple[Volume, Volume]:
    bench_protocol.SIZE, bench_protocol.SPACING_MM = SIZE, SPACING_MM
    bench_protocol.CENTER_MM, bench_protocol.RADII_MM = CENTER_MM, RADII_MM
    probability, _, vessels = bench_protocol.make_case()
    return probability, vessels


def stray_case() -> tuple[Volume, Volume]:
    """Draw a map of at least 0.02 everywhere and vessels with 2000 stray specks."""
    grid = Geometry((380, 380, 130), (0.6, 0.45, 1.0))
    z, y, x = (
        np.arange(n)[:, None, None].swapaxes(0, a) * s
        for a, (n, s) in enumerate(zip(grid.shape, (1, 0.45, 0.6), strict=True))
    )
    p = np.exp(-(((x - 110) / 25) ** 2) - ((y - 85) / 25) ** 2 - ((z - 65) / 25) ** 2)
    vessels = np.zeros(grid.shape, np.uint8)
    for value, (cx, cy, radius) in enumerate(
        ((95, 85, 6), (110, 70, 5), (125, 110, 11), (120, 85, 3), (105, 100, 4)), 1
    ):
        vessels[np.broadcast_to(np.hypot(x - cx - 8 * np.sin(z / 30), y - cy) < radius, grid.shape)] = value
    specks = np.random.default_rng(0).integers(0, grid.shape, (2000, 3))
    for number, (k, j, i) in enumerate(specks):
        vessels[k : k + 2, j : j + 3, i : i + 3] = 1 + number % 5
    return Volume(np.maximum(p, 0.02).astype(np.float32), grid), Volume(vessels, grid)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def peak_mib(call: Callable[[], Any]) -> float:
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="time all 100 thresholds of the peer")
    parser.add_argument("--result", type=Path, help="result folder of twintrack segment to compare the seconds of")
    options = parser.parse_args()
    names = bench_protocol.NAMES
    probability, vessels = large_case()
    tumor_ml = (probability.array >= 0.5).sum() * probability.geometry.voxel_ml

    def at_once() -> Any:
        return measure_invasion(probability, vessels, names, thresholds=THRESHOLDS)

    ours_s, ours = min((timed(at_once) for _ in range(2)), key=lambda pair: pair[0])
    chosen = range(100) if options.full else (10, 50, 90)
    peer_s, worst = 0.0, 0.0
    for number in chosen:
        mask = probability.with_array((probability.array >= np.float32(THRESHOLDS[number])).astype(np.float32))
        seconds, alone = timed(lambda mask=mask: measure_invasion(mask, vessels, names, thresholds=[0.5]))
        peer_s += seconds * 100 / len(chosen)
        gaps = [abs(alone.vessels[n].angle_deg[0] - ours.vessels[n].angle_deg[number]) for n in names]
        worst = max(worst, *gaps)
    estimated = "" if options.full else " (estimated from 3)"
    print(f"{' x '.join(map(str, SIZE))}, tumour {tumor_ml:.1f} mL, {len(names)} vessels, 100 thresholds")
    print(f"all thresholds at once: {ours_s:7.2f} s, {peak_mib(at_once):.0f} MiB beside the input")
    print(f"one by one            : {peer_s:7.2f} s{estimated}, ratio {peer_s / ours_s:.1f}")
    print(f"largest difference of an angle: {worst:.0f} degrees (masks have no partial volumes)")
    del probability, vessels
    probability, vessels = stray_case()
    seconds, _ = timed(lambda: measure_invasion(probability, vessels, names))
    memory = peak_mib(lambda: measure_invasion(probability, vessels, names))
    print(f"map nowhere 0, 2000 stray pieces, 380 x 380 x 130: {seconds:.2f} s, {memory:.0f} MiB beside the input")
    if options.result:
        spent = json.loads((options.result / "result.json").read_text(encoding="utf-8"))["seconds"]
        total = sum(spent.values())
        share = 100 * spent["measure"] / total
        print(f"{options.result}: measure {spent['measure']:.2f} s of {total:.1f} s = {share:.1f} %")


if __name__ == "__main__":
    main()
