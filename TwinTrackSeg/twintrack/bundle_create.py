"""Making a bundle from the results folders that nnU-Net's training writes."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twintrack.bundle import SCHEMA, Bundle, file_sha256
from twintrack.bundle_card import BundleCard
from twintrack.bundle_check import check_bundle
from twintrack.bundle_results import StageModel, StageSource, take_over
from twintrack.errors import BundleError, InputError, OutputError
from twintrack.system.private_folder import PrivateFolder

__all__ = ["BundleCard", "StageSource", "create_bundle"]


def create_bundle(
    coarse: StageSource,
    fine: StageSource,
    card: BundleCard,
    *,
    out: str | Path,
    calibrator: str | Path | None = None,
    half: bool = False,
) -> Path:
    """Write a bundle from two nnU-Net results folders; checkpoints are read without running code.

    Parameters
    ----------
    coarse, fine : StageSource
        The model that finds the organ, and the ensemble that finds the tumour.
    card : BundleCard
        What the bundle shall say about itself.
    out : path
        The new bundle; a name that ends with ``.zip`` makes a zip file. It must not exist yet.
    calibrator : path, optional
        ``calibrator.json``; a bundle without one gives uncalibrated scores only.
    half : bool
        Store weights as float16, half the size.

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
    if out.exists():
        raise OutputError(f"{out}: exists already; choose another name or remove it")
    # Beside the final place, so that the last step is one rename.
    private: PrivateFolder | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        private = PrivateFolder(".twintrack-bundle-", out.parent)
        draft = private.path / "bundle"
        draft.mkdir()
        if calibrator is not None:
            _copy_calibrator(Path(calibrator), draft / "calibrator.json")
        models = {
            "coarse": take_over(coarse, draft / "coarse", labels=card.organ_labels, half=half),
            "fine": take_over(
                fine, draft / "fine", labels=[*card.tumor_labels, *card.vessel_labels.values()], half=half
            ),
        }
        if card.mirroring and not models["fine"].mirrored:
            raise InputError(f"{fine.folder}: was trained without mirroring, so leave mirroring out")
        entries = card.to_json() | _stage_entries({"coarse": coarse, "fine": fine}, models)
        _write_manifest(draft, entries)
        _check(draft, out)
        _finish(draft, out)
    except OSError as error:
        raise OutputError(
            f"{out}: cannot be written ({error.strerror}); check the folder and its free space"
        ) from error
    finally:
        if private is not None:
            private.close()
    return out


def _stage_entries(sources: Mapping[str, StageSource], models: Mapping[str, StageModel]) -> dict[str, Any]:
    entries: dict[str, Any] = {
        "configuration": {stage: model.configuration for stage, model in models.items()},
        "fingerprint": {stage: model.fingerprint.to_json() for stage, model in models.items()},
    }
    for stage, source in sources.items():
        trainer = models[stage].trainer
        entries[stage] = {"folds": list(source.folds), "trainer": trainer, "checkpoint": source.checkpoint}
    return entries


def _write_manifest(draft: Path, entries: Mapping[str, Any]) -> None:
    files = [path for path in sorted(draft.rglob("*")) if path.is_file()]
    hashes = {path.relative_to(draft).as_posix(): file_sha256(path) for path in files}
    document = {"schema": SCHEMA, **entries, "files": hashes}
    (draft / "bundle.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _copy_calibrator(source: Path, target: Path) -> None:
    from twintrack.calibration import read_calibrator

    read_calibrator(source)  # under its own name, and before the weights are copied
    target.write_bytes(source.read_bytes())


def _check(draft: Path, out: Path) -> None:
    """Refuse now what could not be used later."""
    try:
        check_bundle(Bundle.open(draft))
    except (BundleError, InputError) as error:
        raise type(error)(str(error).replace(str(draft), str(out))) from error


def _finish(draft: Path, out: Path) -> None:
    if out.suffix.lower() != ".zip":
        draft.rename(out)
        return
    packed = draft.with_suffix(".zip")
    # Weights shrink by some 7 % only, and uncompressed they are written and opened much faster.
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(draft.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(draft).as_posix())
    packed.replace(out)
