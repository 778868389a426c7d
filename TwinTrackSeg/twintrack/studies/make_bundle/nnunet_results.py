"""Reading the results folder that nnU-Net's training leaves, and taking one model over from it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twintrack.bundle.checkpoints import read_checkpoint, slim_checkpoint
from twintrack.bundle.fingerprint import Fingerprint
from twintrack.bundle.model_bundle import CHECKPOINT_NAME
from twintrack.bundle.nnunet_plans import check_dataset, check_plans, label_channels
from twintrack.bundle.schema import FOLD, MAX_MEMBERS
from twintrack.errors import BundleError, InputError
from twintrack.system.json_file import read_json

__all__ = ["StageModel", "StageSource", "find_results", "read_json_object", "take_over"]

_PRIVATE = ("training", "validation", "test", "dataset")
"""Entries of a ``dataset.json`` that list training files, whose names often name patients; a bundle leaves them out."""

_MUST_AGREE = ("spacing", "normalization_schemes", "use_mask_for_norm", "resampling_fn_data")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageSource:
    """Where a stage's networks come from.

    Attributes
    ----------
    folder : path
        nnU-Net's results folder ``<trainer>__<plans>__<configuration>``, or the dataset's folder if it holds just one.
    folds : tuple of str
        Members: fold numbers, or ``"all"``.
    checkpoint : str
        File name of the weights in each fold's folder, e.g. ``checkpoint_best.pth``.
    fingerprint : path, optional
        nnU-Net's ``dataset_fingerprint.json``; by default the one in `folder`, if there is one.
    """

    folder: str | Path
    folds: tuple[str, ...]
    checkpoint: str = CHECKPOINT_NAME
    fingerprint: str | Path | None = None

    def __post_init__(self) -> None:
        known = all(FOLD.fullmatch(fold) for fold in self.folds)
        if not known or not 0 < len(self.folds) <= MAX_MEMBERS or len(set(self.folds)) < len(self.folds):
            given = ",".join(self.folds)
            raise InputError(
                f"folds must be different numbers such as 0,1,2 (or all), got {given!r}",
                code="folds-malformed",
                path=self.folder,
            )


@dataclass(frozen=True)
class StageModel:
    """What `take_over` found out about a stage.

    Attributes
    ----------
    configuration : str
        nnU-Net configuration the networks were trained as.
    trainer : str
        nnU-Net trainer class, for information.
    mirrored : bool
        Whether at least one network was trained to be averaged over mirrored inputs.
    fingerprint : Fingerprint
        Numbers of the training images.
    """

    configuration: str
    trainer: str
    mirrored: bool
    fingerprint: Fingerprint


def find_results(folder: str | Path) -> Path:
    """Return the results folder itself, given it or the dataset's folder around it.

    Raises
    ------
    InputError
        If there is none, or a choice among several.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise InputError("no such folder; give an nnU-Net results folder", code="folder-missing", path=folder)
    if (folder / "plans.json").is_file():
        return folder
    inside = [path for path in sorted(folder.iterdir()) if (path / "plans.json").is_file() and any(_folds(path))]
    if len(inside) == 1:
        return inside[0]
    if inside:
        raise InputError(
            f"holds several models; give one of {', '.join(path.name for path in inside)}",
            code="several-models",
            path=folder,
        )
    raise InputError(
        "not an nnU-Net v2 results folder; give the folder <trainer>__<plans>__<configuration> that holds "
        "plans.json, dataset.json and fold_0",
        code="not-nnunet-results",
        path=folder,
    )


def take_over(source: StageSource, target: Path, *, labels: Iterable[str], half: bool) -> StageModel:
    """Copy one model into the new folder `target`: plans, labels, and the weights of each fold alone.

    Parameters
    ----------
    source : StageSource
        The model.
    target : pathlib.Path
        Must not exist yet.
    labels : iterable of str
        Names that its ``dataset.json`` must have.
    half : bool
        Store weights as float16.

    Raises
    ------
    InputError, BundleError
        If a file or fold is missing, not supported or refused.
    """
    folder = find_results(source.folder)
    plans, dataset = read_json_object(folder / "plans.json"), read_json_object(folder / "dataset.json")
    _check_labels(dataset, labels, folder / "dataset.json")
    target.mkdir()
    (target / "plans.json").write_bytes((folder / "plans.json").read_bytes())
    public = {key: value for key, value in dataset.items() if key not in _PRIVATE}
    (target / "dataset.json").write_text(json.dumps(public, indent=4) + "\n", encoding="utf-8")
    found: dict[Path, dict[str, Any]] = {}
    for fold in source.folds:
        path = _checkpoint_path(folder, fold, source.checkpoint)
        slim = _slim_fold(path, plans, half=half)
        _write_checkpoint(slim, target / f"fold_{fold}" / CHECKPOINT_NAME)
        found[path] = {key: value for key, value in slim.items() if key != "network_weights"}
        _log.info("took over %s", path)
    return StageModel(
        configuration=_one_configuration(found),
        trainer=next(iter(found.values()))["trainer_name"],
        mirrored=any(slim["inference_allowed_mirroring_axes"] for slim in found.values()),
        fingerprint=_fingerprint(folder, source.fingerprint, plans),
    )


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that a bundle is made of.

    Raises
    ------
    InputError
        If there is none, it cannot be read, or it is not an object.
    """
    if not path.is_file():
        raise InputError("no such file; it is needed for a bundle", code="file-missing", path=path)
    try:
        document = read_json(path)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read ({error})", code="json-unreadable", path=path) from error
    if not isinstance(document, dict):
        raise InputError("must be a JSON object", code="json-unreadable", path=path)
    return document


def _check_labels(dataset: Mapping[str, Any], wanted: Iterable[str], path: Path) -> None:
    check_dataset(dataset, str(path))
    known = [name for name in label_channels(dataset) if dataset["labels"][name] != 0]
    for name in wanted:
        if name not in known:
            raise InputError(
                f"has no label {name!r}; choose among {', '.join(map(repr, known))}", code="label-unknown", path=path
            )


def _folds(folder: Path) -> Iterator[str]:
    return (path.name.removeprefix("fold_") for path in sorted(folder.glob("fold_*")) if path.is_dir())


def _checkpoint_path(folder: Path, fold: str, name: str) -> Path:
    home = folder / f"fold_{fold}"
    if not home.is_dir():
        there = ", ".join(_folds(folder)) or "none"
        raise InputError(f"has no fold_{fold}; the folds that are there: {there}", code="fold-missing", path=folder)
    path = home / name
    if Path(name).name != name or not path.is_file():
        there = ", ".join(sorted(other.name for other in home.glob("*.pth"))) or "none"
        raise InputError(
            f"has no {name}; the checkpoints that are there: {there}", code="checkpoint-missing", path=home
        )
    return path


def _slim_fold(path: Path, plans: Mapping[str, Any], *, half: bool) -> dict[str, Any]:
    checkpoint = read_checkpoint(path, foreign=True)
    configuration = _configuration_of(checkpoint, path)
    _check_trained_with(plans, checkpoint, configuration, path)
    return slim_checkpoint(checkpoint, configuration=configuration, half=half, where=str(path))


def _write_checkpoint(slim: dict[str, Any], path: Path) -> None:
    import torch

    path.parent.mkdir()
    torch.save(slim, path)


def _configuration_of(checkpoint: Mapping[str, Any], path: Path) -> str:
    arguments = checkpoint.get("init_args")
    name = arguments.get("configuration") if isinstance(arguments, dict) else None
    # Results folders are called <trainer>__<plans>__<configuration>.
    name = name or path.parent.parent.name.rpartition("__")[2]
    if not isinstance(name, str) or not name:
        raise BundleError("does not say which nnU-Net configuration it was trained as", code="plans-differ", path=path)
    return name


def _check_trained_with(plans: Mapping[str, Any], checkpoint: Mapping[str, Any], name: str, path: Path) -> None:
    """Refuse weights that were trained with another preprocessing than the plans file beside them describes."""
    beside = check_plans(plans, name, str(path.parent.parent / "plans.json"))
    arguments = checkpoint.get("init_args")
    used = arguments.get("plans") if isinstance(arguments, dict) else None
    if not isinstance(used, dict) or not used:
        return
    then = check_plans(used, name, str(path))
    differing = [key for key in _MUST_AGREE if beside.get(key) != then.get(key)]
    if plans.get("transpose_forward") != used.get("transpose_forward"):
        differing.append("transpose_forward")
    if differing:
        raise BundleError(
            f"was trained with other plans than plans.json says ({', '.join(differing)} differ)",
            code="plans-differ",
            path=path,
        )


def _one_configuration(found: Mapping[Path, Mapping[str, Any]]) -> str:
    names = {path: slim["init_args"]["configuration"] for path, slim in found.items()}
    first = next(iter(names.values()))
    for path, name in names.items():
        if name != first:
            raise BundleError(
                f"was trained as {name!r}, the fold before it as {first!r}", code="plans-differ", path=path
            )
    return str(first)


def _fingerprint(folder: Path, given: str | Path | None, plans: Mapping[str, Any]) -> Fingerprint:
    path = Path(given) if given is not None else folder / "dataset_fingerprint.json"
    measured = read_json_object(path) if given is not None or path.is_file() else None
    return Fingerprint.from_training(plans, measured, str(path))
