"""Making a bundle from the results folders that nnU-Net's training writes."""

from __future__ import annotations

import json
import logging
import shutil
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twintrack.bundle import CHECKPOINT_NAME, POOLING, SCHEMA, Bundle, file_sha256
from twintrack.bundle_plans import check_plans
from twintrack.bundle_weights import read_checkpoint, slim_checkpoint
from twintrack.errors import BundleError, InputError, OutputError

__all__ = ["create_bundle"]

RESEARCH_USE = "Research use only. Not a medical device; not for diagnosis or treatment decisions."

_MUST_AGREE = ("spacing", "normalization_schemes", "use_mask_for_norm", "resampling_fn_data")

_log = logging.getLogger(__name__)


def create_bundle(
    coarse: str | Path,
    fine: str | Path,
    *,
    out: str | Path,
    name: str,
    license: str,
    folds: Sequence[str] = ("0", "1", "2"),
    coarse_folds: Sequence[str] = ("0",),
    tumor_labels: Sequence[str] = ("tumor",),
    vessel_labels: Mapping[str, str] | None = None,
    organ_labels: Sequence[str] = ("pancreas",),
    calibrator: str | Path | None = None,
    roi_margin_mm: float = 20.0,
    version: str = "1.0",
    description: str = "",
    intended_use: str = RESEARCH_USE,
    demo: bool = False,
    mirroring: bool = False,
    raters: int | None = None,
    half: bool = False,
) -> Path:
    """Write a bundle from two nnU-Net results folders; checkpoints are read without running code.

    Parameters
    ----------
    coarse, fine : path
        Folders ``<trainer>__<plans>__<configuration>`` with ``plans.json``, ``dataset.json`` and ``fold_N``.
    out : path
        The new bundle; a name that ends with ``.zip`` makes a zip file. It must not exist yet.
    name, license, version, description, intended_use : str
        What the bundle shall say about itself.
    folds, coarse_folds : sequence of str
        Members of the fine ensemble, and of the coarse model.
    tumor_labels, organ_labels : sequence of str
        Label names in the fine, in the coarse ``dataset.json``.
    vessel_labels : mapping, optional
        Vessel name (``"SMA"``) to label name in the fine ``dataset.json``.
    calibrator : path, optional
        ``calibrator.json``; a bundle without one gives uncalibrated scores only.
    roi_margin_mm : float
        Dilation of the organ, in mm.
    demo, mirroring : bool
        See `Bundle`.
    raters : int, optional
        Number of raters behind the calibrator.
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
    values = {
        "name": name,
        "version": version,
        "license": license,
        "description": description,
        "intended_use": intended_use,
        "demo": demo,
        "tumor_labels": list(tumor_labels),
        "vessel_labels": dict(vessel_labels or {}),
        "organ_labels": list(organ_labels),
        "roi_margin_mm": roi_margin_mm,
        "mirroring": mirroring,
        "pooling": POOLING,
        "raters": raters,
    }
    out = Path(out)
    if out.exists():
        raise OutputError(f"{out}: exists already; choose another name or remove it")
    # Beside the final place, so that the last step is one rename.
    draft = out.parent / f".{out.name}.{uuid.uuid4().hex[:8]}.partial"
    try:
        draft.mkdir(parents=True)
        values["configuration"] = {
            "coarse": _copy_stage(Path(coarse), draft / "coarse", coarse_folds, half=half),
            "fine": _copy_stage(Path(fine), draft / "fine", folds, half=half),
        }
        values |= {"coarse": {"folds": list(coarse_folds)}, "fine": {"folds": list(folds)}}
        if calibrator is not None:
            _copy_json(Path(calibrator), draft / "calibrator.json")
        _write_manifest(draft, values)
        _check(draft, out)
        _finish(draft, out)
    except OSError as error:
        raise OutputError(
            f"{out}: cannot be written ({error.strerror}); check the folder and its free space"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return out


def _write_manifest(draft: Path, values: Mapping[str, Any]) -> None:
    files = [path for path in sorted(draft.rglob("*")) if path.is_file()]
    hashes = {path.relative_to(draft).as_posix(): file_sha256(path) for path in files}
    document = {"schema": SCHEMA, **values, "files": hashes}
    (draft / "bundle.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _copy_stage(source: Path, target: Path, folds: Sequence[str], *, half: bool) -> str:
    """Copy one model, weights only; return the name of its configuration."""
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; give an nnU-Net results folder")
    target.mkdir()
    plans = _copy_json(source / "plans.json", target / "plans.json")
    _copy_json(source / "dataset.json", target / "dataset.json")
    configuration = ""
    for fold in folds:
        path = source / f"fold_{fold}" / CHECKPOINT_NAME
        checkpoint = read_checkpoint(path, foreign=True)
        found = _configuration_of(checkpoint, path)
        if configuration and found != configuration:
            raise BundleError(f"{path}: was trained as {found!r}, the fold before it as {configuration!r}")
        configuration = found
        _check_trained_with(plans, checkpoint, configuration, path)
        slim = slim_checkpoint(checkpoint, configuration=configuration, half=half, where=str(path))
        del checkpoint
        _write_checkpoint(slim, target / f"fold_{fold}" / CHECKPOINT_NAME)
        _log.info("took over %s", path)
    return configuration


def _write_checkpoint(slim: dict[str, Any], path: Path) -> None:
    import torch

    path.parent.mkdir()
    torch.save(slim, path)


def _copy_json(source: Path, target: Path) -> dict[str, Any]:
    if not source.is_file():
        raise InputError(f"{source}: no such file; it is needed for a bundle")
    content = source.read_bytes()
    try:
        document = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source}: not a JSON file ({error})") from error
    if not isinstance(document, dict):
        raise InputError(f"{source}: must be a JSON object")
    target.write_bytes(content)
    return document


def _configuration_of(checkpoint: Mapping[str, Any], path: Path) -> str:
    arguments = checkpoint.get("init_args")
    name = arguments.get("configuration") if isinstance(arguments, dict) else None
    # Results folders are called <trainer>__<plans>__<configuration>.
    name = name or path.parent.parent.name.rpartition("__")[2]
    if not isinstance(name, str) or not name:
        raise BundleError(f"{path}: does not say which nnU-Net configuration it was trained as")
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
        raise BundleError(f"{path}: was trained with other plans than plans.json says ({', '.join(differing)} differ)")


def _check(draft: Path, out: Path) -> None:
    try:
        Bundle.open(draft)
    except BundleError as error:
        raise BundleError(str(error).replace(str(draft), str(out))) from error


def _finish(draft: Path, out: Path) -> None:
    if out.suffix.lower() != ".zip":
        draft.rename(out)
        return
    packed = draft.with_suffix(".zip.partial")
    try:
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(draft.rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(draft).as_posix())
        packed.replace(out)
    finally:
        packed.unlink(missing_ok=True)
