"""How much of the tumour the region of interest holds, for each way to make the region.

For phantoms that the demo networks never saw: the share of what any reader marked that lies inside the region, by the
rule that makes the organ of stage 1's output, by which parts of it are kept, and by the margin. A region that cuts a
tumour hides a part of it from stage 2, so the smallest share counts, not the mean.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np

from twintrack.bundle.model_bundle import Bundle, demo_bundle_path
from twintrack.inference import NetworkStore
from twintrack.inference.localize import predict_organ
from twintrack.inference.organ import main_parts
from twintrack.inference.roi import dilated_roi
from twintrack.phantom import make_phantom
from twintrack.progress.callbacks import CancelToken, no_progress

RULES: tuple[float | None, ...] = (None, 0.5, 0.3, 0.1, 0.03)
FRACTIONS = (1.0, 0.1, 0.0)
MARGINS_MM = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0)
FIRST_SEED = 42000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=24)
    cases = parser.parse_args().cases
    recall: dict[tuple[float | None, float, float], list[float]] = defaultdict(list)
    litres: dict[tuple[float | None, float, float], list[float]] = defaultdict(list)
    store = NetworkStore("cpu")
    with Bundle.open(demo_bundle_path()) as bundle:
        for seed in range(FIRST_SEED, FIRST_SEED + cases):
            case = make_phantom(seed)
            ct = case.ct.to_lps()
            marked = np.any([mask.to_lps().array > 0 for mask in case.annotations], axis=0)
            found = predict_organ(ct, bundle, store, progress=no_progress, cancel=CancelToken())
            for least in RULES:
                organ = found.organ(least)
                for fraction in FRACTIONS:
                    mask = main_parts(organ.mask, fraction)
                    for margin_mm in MARGINS_MM:
                        key = (least, fraction, margin_mm)
                        if not mask.any():
                            recall[key].append(0.0)
                            continue
                        roi = dilated_roi(mask, organ.offset, ct.geometry, margin_mm, 0.0)
                        recall[key].append(np.count_nonzero(marked[roi.slices] & roi.mask) / np.count_nonzero(marked))
                        litres[key].append(np.count_nonzero(roi.mask) * ct.geometry.voxel_ml / 1000)
    print(f"{cases} phantoms, seeds from {FIRST_SEED}; share of the readers' union inside the region")
    print(f"{'organ':>18s}{'parts kept':>14s}{'margin mm':>11s}{'least':>9s}{'mean':>9s}{'cut':>6s}{'litres':>9s}")
    for (least, fraction, margin_mm), values in recall.items():
        rule = "likeliest class" if least is None else f"p >= {least:g}"
        kept = {1.0: "largest", 0.0: "all"}.get(fraction, f">= {fraction:g}")
        cut = sum(value < 1 for value in values)
        size = np.mean(litres[least, fraction, margin_mm])
        print(f"{rule:>18s}{kept:>14s}{margin_mm:11g}{min(values):9.4f}{np.mean(values):9.4f}{cut:6d}{size:9.3f}")


if __name__ == "__main__":
    main()
