"""Applying a calibrator to a 512 x 512 x 200 float32 volume against numpy.interp, scikit-learn and a plain copy.

All get the same volume and the same 250 knots and have to give the same map. A copy of the volume, one read and one
write of each voxel, is what the memory alone allows. Two volumes are mapped: a score as a run gives it, 0 outside the
ROI, and the hardest case, where every voxel has a score of its own. Everything runs on one core; its own time is
measured, so that other programs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.isotonic import IsotonicRegression

from twintrack.calibration import Calibrator

SHAPE = (200, 512, 512)
ROI = (slice(70, 130), slice(180, 330), slice(150, 350))
"""About the box of a pancreas and 20 mm around it."""


def make_calibrator() -> Calibrator:
    """Return a map through 250 knots that lie densely at both ends, as equal-mass bins do."""
    x = 1 / (1 + np.exp(-np.linspace(-11, 9, 250)))
    y = 0.95 * x**0.8
    return Calibrator("mhr", None, 250, tuple(x.tolist()), tuple(y.tolist()), (1,) * 250, 1, 1, 250)


def make_score(roi: tuple[slice, ...]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return a softmax-like score inside `roi`, 0 elsewhere."""
    score = np.zeros(SHAPE, np.float32)
    inside = score[roi]
    logit = np.random.default_rng(0).normal(-4, 3, inside.shape).astype(np.float32)
    inside[...] = 1 / (1 + np.exp(-logit))
    return score


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """Return the least processor time of some runs."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def peak(work: Callable[[], Any]) -> int:
    """Return the largest number of bytes that a run holds at a time, the result included."""
    tracemalloc.start()
    work()
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return held


def compare(name: str, score: Any, calibrator: Calibrator, repeats: int) -> None:
    """Print times, ratios and memory for one volume, and how far the maps lie apart."""
    x, y = calibrator.knots_x, calibrator.knots_y
    # Fitted on its own knots, scikit-learn's map goes through them.
    peer = IsotonicRegression(out_of_bounds="clip").fit(x, y)
    ways: dict[str, tuple[Callable[[], Any], int]] = {
        "calibrator": (lambda: calibrator(score), repeats),
        "copy of the volume": (score.copy, repeats),
        "numpy.interp, zeros kept": (lambda: np.where(score > 0, np.interp(score, x, y), 0).astype(np.float32), 1),
        "scikit-learn's predict": (lambda: peer.predict(score.ravel()), 1),
    }
    found = {way: (seconds(work, times), peak(work)) for way, (work, times) in ways.items()}
    ours, _ = found["calibrator"]
    print(f"\n{name}: {np.count_nonzero(score) / score.size:.1%} of the voxels scored")
    print(f"{'':26}{'seconds':>9}{'ns a voxel':>12}{'GB/s':>7}{'peak / input':>14}{'calibrator is':>16}")
    for way, (time_s, held) in found.items():
        rate, memory = 2 * score.nbytes / time_s / 1e9, held / score.nbytes
        ratio = f"{time_s / ours:.2f} x faster" if time_s >= ours else f"{ours / time_s:.2f} x slower"
        ratio = "" if way == "calibrator" else ratio
        print(f"{way:26}{time_s:9.3f}{time_s / score.size * 1e9:12.2f}{rate:7.1f}{memory:14.2f}{ratio:>16}")
    mapped, reference = calibrator(score), ways["numpy.interp, zeros kept"][0]()
    apart = float(np.abs(mapped - reference).max())
    inside = score > 0
    other = float(np.abs(mapped[inside] - peer.predict(score[inside])).max())
    print(f"largest difference: {apart:.1e} from numpy.interp, {other:.1e} from scikit-learn")


def main() -> None:
    """Measure both volumes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="runs of the calibrator and of the copy")
    repeats = parser.parse_args().repeats
    calibrator = make_calibrator()
    compare("a case", make_score(ROI), calibrator, repeats)
    compare("every voxel scored", make_score((slice(None),) * 3), calibrator, repeats)


if __name__ == "__main__":
    main()
