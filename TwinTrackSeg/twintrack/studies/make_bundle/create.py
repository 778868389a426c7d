"""Making a bundle from the results folders that nnU-Net's training writes."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twintrack.bundle.fingerprint import networks_sha256
from twintrack.bundle.model_bundle import STAGES, Bundle
from twintrack.bundle.rater_entries import RaterMember
from twintrack.bundle.schema import SLICES
from twintrack.errors import BundleError, InputError, OutputError, TwinTrackError
from twintrack.studies.make_bundle.card import BundleCard
from twintrack.studies.make_bundle.nnunet_results import StageModel, StageSource, take_over
from twintrack.system.atomic import atomic_paths
from twintrack.system.paths import file_sha256

__all__ = ["BundleCard", "StageSource", "check_bundle", "create_bundle"]


def create_bundle(
    coarse: StageSource,
    fine: StageSource,
    card: BundleCard,
    *,
    out: str | Path,
    calibrator: str | Path | None = None,
    half: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write a bundle from two nnU-Net results folders; checkpoints are read without running code.

    Parameters
    ----------
    coarse, fine : StageSource
        The model that finds the organ, and the ensemble that finds the tumour.
    card : BundleCard
        What the bundle shall say about itself.
    out : path
        The new bundle; a name that ends with ``.zip`` makes a zip file. It must not exist yet, but see `overwrite`.
    calibrator : path, optional
        ``calibrator.json``; a bundle without one gives uncalibrated scores only.
    half : bool
        Store weights as float16, half the size.
    overwrite : bool
        Whether a bundle, or an empty folder, that is there already is replaced.

    Returns
    -------
    pathlib.Path
        `out`.

    Raises
    ------
    InputError, BundleError
        If a folder or file is missing, not supported or refused.
    OutputError
        If `out` exists already or cannot be written.
    """
    out = Path(out)
    given = (coarse.folder, fine.folder, calibrator, coarse.fingerprint, fine.fingerprint)
    inputs = [path for path in given if path is not None]
    if os.path.lexists(out):
        _check_replaceable(out, overwrite)
    with atomic_paths(out, inputs=inputs, overwrite=overwrite, proof=_never, folders=True) as (partial,):
        try:
            _write(partial, out, coarse, fine, card, calibrator, half=half)
        except OSError as error:
            raise OutputError(
                f"cannot be written ({error.strerror}); check the folder and its free space",
                code="not-writable",
                path=out,
            ) from error
    return out


def _never(path: Path) -> bool:  # noqa: ARG001
    """Say that a bundle is replaced only when the user says so: training took days."""
    return False


def _check_replaceable(out: Path, overwrite: bool) -> None:
    """Refuse to replace a bundle unless the user says so, and anything but a bundle or an empty folder."""
    if not overwrite:
        raise OutputError(
            "exists already; choose another name, or add --overwrite to replace it", code="place-taken", path=out
        )
    is_bundle = (out / "bundle.json").is_file() or not any(out.iterdir()) if out.is_dir() else out.suffix == ".zip"
    if not is_bundle or out.is_symlink():
        raise OutputError(
            "is not a bundle, and only a bundle is replaced; choose another name", code="place-taken", path=out
        )


def _write(
    partial: Path,
    out: Path,
    coarse: StageSource,
    fine: StageSource,
    card: BundleCard,
    calibrator: str | Path | None,
    *,
    half: bool,
) -> None:
    """Write the bundle to `partial`, a temporary name in a private folder."""
    raters = card.checked_raters(fine.folds)
    zipped = out.suffix.lower() == ".zip"
    draft = partial.with_name("unpacked") if zipped else partial
    draft.mkdir()
    if calibrator is not None:
        _copy_calibrator(Path(calibrator), draft / "calibrator.json")
    models = {
        "coarse": take_over(coarse, draft / "coarse", labels=card.organ_labels, half=half),
        "fine": take_over(fine, draft / "fine", labels=[*card.tumor_weights, *card.vessel_labels.values()], half=half),
    }
    if card.mirroring and not models["fine"].mirrored:
        raise InputError(
            "was trained without mirroring, so leave mirroring out", code="bundle-mirroring", path=fine.folder
        )
    entries = card.to_json() | _stage_entries({"coarse": coarse, "fine": fine}, models, slices=card.slices)
    _write_manifest(draft, entries, card, raters)
    _check(draft, out)
    if zipped:
        _zip(draft, partial)
        shutil.rmtree(draft)


def _stage_entries(
    sources: Mapping[str, StageSource], models: Mapping[str, StageModel], *, slices: bool
) -> dict[str, Any]:
    entries: dict[str, Any] = {
        "configuration": {stage: model.configuration for stage, model in models.items()},
        "fingerprint": {stage: model.fingerprint.to_json() for stage, model in models.items()},
    }
    for stage, source in sources.items():
        trainer = models[stage].trainer
        entries[stage] = {"folds": list(source.folds), "trainer": trainer, "checkpoint": source.checkpoint}
    if slices:
        entries["fine"]["kind"] = SLICES
    return entries


def _write_manifest(draft: Path, entries: Mapping[str, Any], card: BundleCard, raters: tuple[RaterMember, ...]) -> None:
    files = [path for path in sorted(draft.rglob("*")) if path.is_file()]
    hashes = {path.relative_to(draft).as_posix(): file_sha256(path) for path in files}
    networks = networks_sha256(
        files=hashes,
        folds={stage: entries[stage]["folds"] for stage in STAGES},
        configurations=entries["configuration"],
        tumor_weights=card.tumor_weights,
        rater_members=raters,
        slices=card.slices,
        **{name: entries[name] for name in ("vessel_labels", "pooling", "mirroring")},
    )
    document = {**entries, "networks_sha256": networks, "files": hashes}
    (draft / "bundle.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _copy_calibrator(source: Path, target: Path) -> None:
    from twintrack.calibration import read_calibrator

    read_calibrator(source)  # under its own name, and before the weights are copied
    target.write_bytes(source.read_bytes())


def _check(draft: Path, out: Path) -> None:
    """Refuse now what could not be used later."""
    try:
        check_bundle(Bundle.open(draft))
    except TwinTrackError as error:
        error.rename(draft, out)
        raise


def _zip(draft: Path, zipped: Path) -> None:
    # Weights shrink by some 7 % only, and uncompressed they are written and opened much faster.
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(draft.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(draft).as_posix())


def check_bundle(bundle: Bundle) -> None:
    """Load every network of an opened bundle once, and read its calibrator.

    `Bundle.open` has compared the files with their hashes and checked plans and labels by then; this finds weights that
    do not fit their plans, and calibrators that were fitted on another kind of score. It takes about a second for each
    full-size network.

    Raises
    ------
    BundleError, InputError
        Names the first file that cannot be used.
    """
    from twintrack.calibration import read_calibrator
    from twintrack.inference import check_weights

    if bundle.calibrator_path is not None:
        pooling = read_calibrator(bundle.calibrator_path).pooling
        if pooling != bundle.pooling:
            raise BundleError(
                f"was fitted on scores pooled by {pooling}, the bundle pools by {bundle.pooling}; fit a new one",
                code="calibrator-pooling",
                path=bundle.calibrator_path,
            )
    check_weights(bundle)
