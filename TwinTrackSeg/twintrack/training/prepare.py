"""Cases as nnU-Net's augmentation takes them: normalized, resampled, with one channel a rater beside the anatomy.

A prepared case is three files of plain numbers, and none of them is a pickle: what a training goes on from can have
come from anywhere.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError, locating
from twintrack.imaging.boxes import box_from, union
from twintrack.io.label_maps import is_tumor_name
from twintrack.progress.callbacks import CancelToken, Progress, no_progress
from twintrack.system.json_file import read_json
from twintrack.training.cases import ORGAN_WORD, CaseVolumes, TrainingCase, raters_of
from twintrack.training.losses import FIRST_ANATOMY, NOT_READ
from twintrack.training.presets import CONFIGURATION, StageSettings, TrainingImages, make_plans
from twintrack.training.strategies import ORGAN

__all__ = ["MARGIN_MM", "Prepared", "PreparedCase", "prepare_organ", "prepare_tumor"]

MARGIN_MM = (16.0, 30.0)
"""Least and largest margin around the organ, drawn for each side: the region that stage 1 finds varies too."""

SAMPLES = 20_000
"""Voxels of each case whose intensities are kept."""

LOCATIONS = 20_000
"""Voxels of each kind and case around which patches are drawn."""

DONE, ARRAYS = "prepared.json", "arrays"

_MARGIN_STREAM, _SAMPLE_STREAM = 9, 10


@dataclass(frozen=True)
class PreparedCase:
    """A case in a prepared folder.

    Attributes
    ----------
    name : str
        File name of its arrays.
    raters : tuple of str
        Who read it.
    sizes_ml : tuple of float
        What each of them marked.
    """

    name: str
    raters: tuple[str, ...]
    sizes_ml: tuple[float, ...]


@dataclass(frozen=True)
class Prepared:
    """Training cases of one stage, ready for any strategy.

    Attributes
    ----------
    folder : Path
        Their place.
    cases : tuple of PreparedCase
        In the order given.
    raters : tuple of str
        In the order of the channels.
    anatomy : tuple of str
        Names of the labels from `FIRST_ANATOMY` on.
    plans, fingerprint : mapping
        nnU-Net's.
    """

    folder: Path
    cases: tuple[PreparedCase, ...]
    raters: tuple[str, ...]
    anatomy: tuple[str, ...]
    plans: Mapping[str, Any]
    fingerprint: Mapping[str, Any]

    @classmethod
    def load(cls, folder: Path) -> Prepared | None:
        """Return what an earlier run prepared; None if it was not completed."""
        if not (folder / DONE).is_file():
            return None
        stored = read_json(folder / DONE)
        cases = tuple(PreparedCase(c["name"], tuple(c["raters"]), tuple(c["sizes_ml"])) for c in stored["cases"])
        names = (tuple(stored["raters"]), tuple(stored["anatomy"]))
        return cls(folder, cases, *names, stored["plans"], stored["fingerprint"])

    @property
    def arrays(self) -> Path:
        """Folder with the arrays of each case."""
        return self.folder / ARRAYS

    @property
    def sizes(self) -> list[dict[str, float]]:
        """What each rater marked of each case, in mL."""
        return [dict(zip(case.raters, case.sizes_ml, strict=True)) for case in self.cases]

    def cases_of(self, rater: str | None) -> tuple[PreparedCase, ...]:
        """Return the cases that a rater read, or all."""
        return tuple(case for case in self.cases if rater is None or rater in case.raters)


@dataclass(frozen=True)
class _Crop:
    """A case cut out, before it is resampled: HU and channels (1 + rater, z, y, x)."""

    image: NDArray[np.int16]
    channels: NDArray[np.int8]
    spacing_mm: tuple[float, float, float]


def prepare_tumor(
    cases: Sequence[TrainingCase],
    folder: Path,
    settings: StageSettings,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> Prepared:
    """Prepare cases for the networks of stage 2, cut out around the organ; nothing if they are prepared already.

    Parameters
    ----------
    cases : sequence of TrainingCase
        At least one.
    folder : Path
        Where they go.
    settings : StageSettings
        Voxel size, or None in it for nnU-Net's own planning.
    seed : int
        Of the margins.
    progress, cancel
        Told, and checked, for every case.

    Raises
    ------
    InputError
        If a case cannot be read, its volumes do not fit together, or nothing is marked in any of them.
    """
    raters, anatomy = raters_of(cases), dict[str, int]()

    def cut(number: int, volumes: CaseVolumes) -> _Crop:
        box = _box(volumes, np.random.default_rng([seed, number, _MARGIN_STREAM]))
        channels = np.stack([_anatomy(volumes, anatomy), *(_mask(volumes, rater) for rater in raters)])
        return _crop(volumes, channels, box)

    return _prepare(cases, folder, settings, cut, raters, anatomy, progress, cancel or CancelToken())


def prepare_organ(
    cases: Sequence[TrainingCase],
    folder: Path,
    settings: StageSettings,
    *,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> Prepared:
    """Prepare whole CTs for the network of stage 1, as if a rater called `ORGAN` had drawn the organ.

    Raises
    ------
    InputError
        As `prepare_tumor`; and if a case does not say where its organ is.
    """

    def cut(number: int, volumes: CaseVolumes) -> _Crop:
        organ = volumes.organ_mask()
        if organ is None or not organ.any():
            raise InputError(
                "does not say where the pancreas is, which stage 1 learns; add a column organ or anatomy, or take "
                "stage 1 from a bundle with --coarse BUNDLE",
                code="organ-unknown",
                where=cases[number].where,
            )
        whole = tuple(slice(0, n) for n in organ.shape)
        return _crop(volumes, np.stack([np.zeros(organ.shape, np.int8), organ.astype(np.int8)]), whole)

    return _prepare(cases, folder, settings, cut, (ORGAN,), {}, progress, cancel or CancelToken())


def _prepare(
    cases: Sequence[TrainingCase],
    folder: Path,
    settings: StageSettings,
    cut: Any,
    raters: tuple[str, ...],
    anatomy: dict[str, int],
    progress: Progress,
    cancel: CancelToken,
) -> Prepared:
    """Cut all cases out, plan, and resample them."""
    done = Prepared.load(folder)
    if done is not None:
        return done
    shutil.rmtree(folder, ignore_errors=True)
    raw = folder / "cut"
    raw.mkdir(parents=True)
    (folder / ARRAYS).mkdir()
    intensities, shapes, spacings, found = [], [], [], []
    for number, case in enumerate(cases):
        cancel.check()
        progress(number / len(cases) / 2, f"reading {case.name} ({number + 1} of {len(cases)})")
        with locating(where=case.where or case.name):
            volumes = case.read()
            crop = cut(number, volumes)
        name = f"case_{number:05d}"
        np.savez(raw / f"{name}.npz", image=crop.image, channels=crop.channels)
        intensities.append(_sample(crop, np.random.default_rng([number, _SAMPLE_STREAM])))
        shapes.append(crop.image.shape)
        spacings.append(crop.spacing_mm)
        voxel_ml = prod(crop.spacing_mm) / 1000
        read = {rater: mask for rater, mask in zip(raters, crop.channels[1:], strict=True) if mask.flat[0] != NOT_READ}
        sizes = tuple(round(float(np.count_nonzero(mask)) * voxel_ml, 4) for mask in read.values())
        found.append(PreparedCase(name, tuple(read), sizes))
    if not sum(map(len, intensities)):
        raise InputError(
            "nothing is marked in any training case, so there is nothing to learn", code="no-tumour-marked"
        )
    images = TrainingImages(np.concatenate(intensities), shapes, spacings)
    names = tuple(anatomy)
    dataset = data_labels(names)
    plans = make_plans(settings, images, dataset)
    for number, cut_out in enumerate(found):
        cancel.check()
        progress(0.5 + number / len(cases) / 2, f"preparing case {number + 1} of {len(cases)}")
        with np.load(raw / f"{cut_out.name}.npz") as stored:
            crop = _Crop(stored["image"], stored["channels"], spacings[number])
        _resample(crop, folder / ARRAYS / cut_out.name, plans, dataset)
    shutil.rmtree(raw)
    prepared = Prepared(folder, tuple(found), raters, names, plans, images.fingerprint())
    _write(prepared)
    return prepared


def _write(prepared: Prepared) -> None:
    """Say, last of all, that the cases are complete."""
    cases = [{"name": c.name, "raters": list(c.raters), "sizes_ml": list(c.sizes_ml)} for c in prepared.cases]
    content = {"raters": list(prepared.raters), "anatomy": list(prepared.anatomy), "cases": cases}
    content |= {"plans": prepared.plans, "fingerprint": prepared.fingerprint}
    partial = prepared.folder / f"{DONE}.partial"
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    partial.replace(prepared.folder / DONE)


def data_labels(anatomy: Sequence[str]) -> dict[str, Any]:
    """Return nnU-Net's ``dataset.json`` of prepared cases: tumour is 1, as in the raters' channels."""
    labels = {"background": 0, "tumor": 1} | {name: value for value, name in enumerate(anatomy, start=FIRST_ANATOMY)}
    return {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}


def _anatomy(volumes: CaseVolumes, values: dict[str, int]) -> NDArray[np.int8]:
    """Return what lies at each voxel beside tumour; names that are met for the first time get the next value."""
    shape = volumes.ct.array.shape
    found = np.zeros(shape, np.int8)
    given = volumes.anatomy
    if given is None:
        if volumes.organ is not None:
            found[volumes.organ.array > 0] = values.setdefault(ORGAN, FIRST_ANATOMY + len(values))
        return found
    names = [name for name in given.names if not is_tumor_name(name)]
    for name in names:
        value = values.setdefault(name, FIRST_ANATOMY + len(values))
        if value >= NOT_READ:
            raise InputError(
                f"the label maps have more than {NOT_READ - FIRST_ANATOMY} structures; leave some out",
                code="dataset-labels",
            )
        found[given.volume.array == given.names[name]] = value
    organ = next((values[name] for name in names if ORGAN_WORD in name.lower()), 0)
    for name in set(given.names) - set(names):  # somebody's tumour: what lies there otherwise is the organ
        found[given.volume.array == given.names[name]] = organ
    return found


def _mask(volumes: CaseVolumes, rater: str) -> NDArray[np.int8]:
    if rater in volumes.masks:
        return (volumes.masks[rater].array > 0).astype(np.int8)
    return np.full(volumes.ct.array.shape, NOT_READ, np.int8)


def _box(volumes: CaseVolumes, rng: np.random.Generator) -> tuple[slice, ...]:
    """Return the box (z, y, x) around the organ and every mask, with a margin drawn for each side."""
    organ = volumes.organ_mask()
    held = union(
        [
            None if organ is None else box_from(organ.view(np.uint8), 1),
            *(box_from(mask.array, 1) for mask in volumes.masks.values()),
        ]
    )
    shape = volumes.ct.array.shape
    if held is None:
        return tuple(slice(0, n) for n in shape)
    sides = []
    for part, step, length in zip(held, volumes.ct.geometry.spacing_mm[::-1], shape, strict=True):
        low, high = (int(rng.uniform(*MARGIN_MM) / step) for _ in range(2))
        sides.append(slice(max(0, part.start - low), min(length, part.stop + high)))
    return tuple(sides)


def _crop(volumes: CaseVolumes, channels: NDArray[np.int8], box: tuple[slice, ...]) -> _Crop:
    z, y, x = volumes.ct.geometry.spacing_mm[::-1]
    image = np.clip(volumes.ct.array[box], -32768, 32767).astype(np.int16)
    return _Crop(image, np.ascontiguousarray(channels[:, box[0], box[1], box[2]]), (z, y, x))


def _sample(crop: _Crop, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return HU of some of the voxels that any label or rater marks."""
    inside = (crop.channels[0] > 0) | (crop.channels[1:] == 1).any(axis=0)
    values = crop.image[inside].astype(np.float32)
    return rng.choice(values, SAMPLES) if len(values) else values


def _resample(crop: _Crop, target: Path, plans: Mapping[str, Any], dataset: dict[str, Any]) -> None:
    """Normalize and resample a case as nnU-Net does, and write it."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(json.loads(json.dumps(plans)))
    image, channels, properties = DefaultPreprocessor(verbose=False).run_case_npy(
        crop.image[None].astype(np.float32),
        crop.channels,
        {"spacing": list(crop.spacing_mm)},
        manager,
        manager.get_configuration(CONFIGURATION),
        dataset,
    )
    np.save(target.with_suffix(".npy"), image.astype(np.float32))
    np.save(target.with_name(f"{target.name}_seg.npy"), channels.astype(np.int8))
    located = {int(value): np.asarray(places).reshape(-1, 4) for value, places in properties["class_locations"].items()}
    rng = np.random.default_rng(_SAMPLE_STREAM)
    tumor = located.pop(1, np.empty((0, 4), int))
    rest = np.concatenate([np.empty((0, 4), int), *located.values()])
    few = [rng.permutation(places)[:LOCATIONS].astype(np.int32) for places in (tumor, rest)]
    np.savez(target.with_suffix(".npz"), tumor=few[0], rest=few[1])
