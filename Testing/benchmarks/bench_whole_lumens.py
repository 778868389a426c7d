"""Predicted vessels under and next to the tumour: the likeliest class alone, and lumens that go on under the tumour.

Phantoms that the demo networks never saw, segmented with the demo bundle. Both labellings are made of the same pooled
probabilities and compared with the reference vessels:

- Dice of each vessel, mean over the cases;
- vessel voxels further than 3 mm from the reference vessel of their name;
- reference lumen within 3 mm of tumour (score of at least 0.5) that carries its vessel's label;
- with ``--contact``, how far the contact angle at level 0.5 is from the one that the same map gives with the reference.

A phantom's tumour never lies inside a lumen and the demo networks learned that, so these cases show what the rule
must not spoil. Networks trained on masks in which the tumour overwrites the vessel do dent lumens: for these, the
tumour is made to take a share of the probability of every vessel, or of every class, within 3 mm of it, falling to none
at 5 mm. Where only vessels lose, the lumen shrinks on its other sides too, which no rule for tumour can undo.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from twintrack.bundle.model_bundle import Bundle, demo_bundle_path
from twintrack.inference import NetworkStore, ensemble, localize, score_ensemble
from twintrack.inference.nnunet_model import open_stage
from twintrack.inference.preprocess import Preprocessed
from twintrack.inference.vessel_map import VesselChannels, vessel_map
from twintrack.invasion import measure_invasion
from twintrack.phantom import make_phantom
from twintrack.volume import Geometry, Volume

FIRST_SEED = 7200
FAR_MM = 3.0
NEAR_MM = 3.0
TAKEN = ((0.0, "vessel"), (0.7, "vessel"), (0.85, "vessel"), (0.7, "class"), (0.85, "class"))
"""Share that the tumour takes, and of what."""

Taken = tuple[float, str]
WAYS = ("before", "after")


def likeliest(
    case: Preprocessed, pooled: NDArray[np.float32], window: Any, channels: VesselChannels
) -> NDArray[np.uint8]:
    """Label each voxel with the vessel that is the likeliest class of all, as was done before."""
    winner = np.stack([case.to_grid(channel[None], window)[0] for channel in pooled]).argmax(axis=0)
    values = np.zeros(len(pooled), dtype=np.uint8)
    values[list(channels.values)] = list(channels.values.values())
    return values[winner]


def dented(pooled: NDArray[np.float32], channels: VesselChannels, taken: Taken, spacing_mm: Any) -> NDArray[np.float32]:
    """Return the probabilities with a share of others moved to the first tumour channel near the tumour."""
    result = pooled.copy()
    tumor = pooled[list(channels.tumor)].sum(axis=0) >= 0.5
    if not taken[0] or not tumor.any():
        return result
    away_mm = ndimage.distance_transform_edt(~tumor, sampling=spacing_mm)
    share = (taken[0] * np.clip((5.0 - away_mm) / 2.0, 0.0, 1.0)).astype(np.float32)
    losing = channels.values if taken[1] == "vessel" else set(range(len(pooled))) - set(channels.tumor)
    for channel in losing:
        moved = share * pooled[channel]
        result[channel] -= moved
        result[channels.tumor[0]] += moved
    return result


def predict(
    ct: Volume, bundle: Bundle, store: NetworkStore
) -> tuple[Any, dict[Taken, dict[str, NDArray[np.uint8]]], dict[Taken, NDArray[np.float32]]]:
    """Return the region, and both labellings and the tumour's probability in its box for every share of `TAKEN`."""
    kept: list[tuple[Any, ...]] = []

    def record(*arguments: Any) -> NDArray[np.uint8]:
        kept.append(arguments)
        return vessel_map(*arguments)

    roi = localize(ct, bundle, store=store)
    with mock.patch.object(ensemble, "vessel_map", record):
        score_ensemble(ct, roi, bundle, store=store)
    case, pooled, window, channels, looked = kept[-1]
    spacing_mm = open_stage(bundle, "fine").spacing
    labels, maps = {}, {}
    for taken in TAKEN:
        probabilities = dented(pooled, channels, taken, spacing_mm)
        labels[taken] = {
            "before": likeliest(case, probabilities, window, channels),
            "after": vessel_map(case, probabilities, window, channels, looked),
        }
        tumor = probabilities[list(channels.tumor)].sum(axis=0, keepdims=True)
        maps[taken] = case.to_grid(tumor, window)[0].clip(0, 1) * roi.mask
    return roi, labels, maps


def angles_deg(probability: Volume, vessels: NDArray[np.uint8], names: dict[str, int]) -> dict[str, float | None]:
    """Return the contact angle of each vessel at level 0.5."""
    found = measure_invasion(probability, probability.with_array(vessels), names, thresholds=(0.5,)).vessels
    return {name: vessel.angle_deg[0] for name, vessel in found.items()}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    parser.add_argument("--contact", action="store_true", help="measure contact too (some seconds more a case)")
    options = parser.parse_args()
    dice: dict[Any, list[float]] = defaultdict(list)
    near: dict[Any, NDArray[np.int64]] = defaultdict(lambda: np.zeros(2, dtype=np.int64))
    far: dict[Any, list[str]] = defaultdict(list)
    wrong: dict[Any, list[float]] = defaultdict(list)
    store = NetworkStore("cpu")
    with Bundle.open(demo_bundle_path()) as bundle:
        names = dict(bundle.vessel_values)
        for seed in range(options.seed, options.seed + options.cases):
            phantom = make_phantom(seed)
            ct, reference = phantom.ct.to_lps(), phantom.vessels.to_lps().array
            roi, labels, maps = predict(ct, bundle, store)
            spacing = ct.geometry.spacing_mm[::-1]
            truth = reference[roi.slices]
            # Distances from the whole reference, not from what the box holds of it.
            away = {
                name: ndimage.distance_transform_edt(reference != value, sampling=spacing)[roi.slices]
                for name, value in names.items()
            }
            tumor = maps[TAKEN[0]] >= 0.5
            beside = np.zeros_like(tumor)
            if tumor.any():
                beside = ndimage.distance_transform_edt(~tumor, sampling=spacing) <= NEAR_MM
            box = Geometry(roi.shape[::-1], ct.geometry.spacing_mm)
            for taken, by_way in labels.items():
                probability = Volume(maps[taken], box)
                expected = angles_deg(probability, truth, names) if options.contact else {}
                for way, found in by_way.items():
                    measured = angles_deg(probability, found, names) if options.contact else {}
                    for name, value in names.items():
                        mine, its = found == value, truth == value
                        if its.any():
                            total = np.count_nonzero(mine) + np.count_nonzero(its)
                            dice[taken, way, name].append(2 * np.count_nonzero(mine & its) / total)
                        under = its & beside
                        near[taken, way] += [np.count_nonzero(mine & under), np.count_nonzero(under)]
                        strays = mine & (away[name] > FAR_MM)
                        if strays.any():
                            far[taken, way].append(
                                f"{seed} {name}: {np.count_nonzero(strays)} up to {away[name][strays].max():.1f} mm"
                            )
                        if expected.get(name):
                            wrong[taken, way].append((measured[name] or 0.0) - (expected[name] or 0.0))
    print(f"{options.cases} phantoms, seeds from {options.seed}")
    for taken in TAKEN:
        print(f"\ntumour takes {100 * taken[0]:.0f} % of every {taken[1]}'s probability near it")
        print(f"{'':28s}{'before':>10s}{'after':>10s}{'ratio':>8s}")
        rows = {f"Dice {name}": [float(np.mean(dice[taken, way, name])) for way in WAYS] for name in names}
        rows["lumen by tumour found"] = [float(near[taken, way][0] / max(near[taken, way][1], 1)) for way in WAYS]
        if options.contact:
            rows["angle, mean abs. error"] = [float(np.mean(np.abs(wrong[taken, way]))) for way in WAYS]
            rows["angle, bias"] = [float(np.mean(wrong[taken, way])) for way in WAYS]
        for name, (before, after) in rows.items():
            print(f"{name:28s}{before:10.4f}{after:10.4f}{after / before if before else np.nan:8.3f}")
        print(f"voxels of reference lumen by the tumour: {near[taken, 'after'][1]}")
        if options.contact:
            print(f"vessels in contact: {len(wrong[taken, 'after'])}")
        for way in WAYS:
            print(f"voxels over {FAR_MM:g} mm away, {way}: {'; '.join(far[taken, way]) or 'none'}")


if __name__ == "__main__":
    main()
