"""What makes a bundle of trained networks: the calibrator, what was measured on cases held out, and the card."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from twintrack import __version__
from twintrack.bundle.rater_entries import RATER_ID
from twintrack.errors import InputError, RoiError, locating
from twintrack.io.manifest import ManifestRow, read_annotations
from twintrack.labels import JOINT_VEIN, is_joint_vein, vessel_of
from twintrack.progress.callbacks import CancelToken, Progress, part
from twintrack.raters import lettered
from twintrack.studies.calibrate import FEWEST_CASES, fit_sketch, sketch_rows
from twintrack.studies.make_bundle.card import BundleCard
from twintrack.studies.make_bundle.create import StageSource, create_bundle
from twintrack.studies.statement_rows import StatementOptions
from twintrack.system.paths import file_sha256
from twintrack.training.strategies import Layout, Member, Strategy

if TYPE_CHECKING:
    from twintrack.bundle.model_bundle import Bundle
    from twintrack.calibration import Calibrator

__all__ = [
    "LOSSES",
    "ensemble_bundle",
    "ensemble_card",
    "fit_on_rows",
    "measure_on_rows",
    "pseudonyms",
    "rater_entries",
    "versions",
    "vessels_of",
]

LOSSES = {
    Strategy.SINGLE: "cross-entropy and Dice against one reader",
    Strategy.MAJORITY: "cross-entropy and Dice against the majority",
    Strategy.LABEL_SAMPLING: "cross-entropy and Dice against a reader drawn for each sample",
    Strategy.RATER_SPECIFIC: "cross-entropy and Dice against each network's own reader",
    Strategy.SOFT: "cross-entropy and soft Dice against the fraction of readers",
    Strategy.ORDINAL: "ranked probability score of the number of readers, with cross-entropy and Dice of the majority",
    Strategy.HEADS: "cross-entropy and Dice of every reader's own output",
    Strategy.HARMONIZER: "cross-entropy and Dice of samples and readers, energy distance of samples from readers",
}
"""What each strategy minimizes, for the card."""

_PSEUDONYM = re.compile(
    r"((rater|reader|observer|expert|annotator|radiologist)[_-]?)?([a-z]|[a-z]?\d{1,6})", re.IGNORECASE
)
"""What tells nobody's name: a letter, a number or both, after a word for somebody who reads."""

_log = logging.getLogger(__name__)

ROI_PROBABILITY = 0.3
"""The organ is where the trained stage 1 gives it this probability: what is missed there cannot come back."""


def ensemble_card(
    name: str, layout: Layout, members: Sequence[Member], ids: Mapping[str, str], coarse: Bundle | None
) -> BundleCard:
    """Return what a bundle must say of its networks.

    Parameters
    ----------
    name : str
        Of the bundle.
    layout, members, ids
        As in `rater_entries`.
    coarse : Bundle or None
        Where stage 1 comes from; None: it was trained with the same cases.
    """
    card = BundleCard(
        name=name,
        license="unknown",
        raters=len(ids),
        tumor_weights=layout.tumor_weights,
        vessel_labels=vessels_of(layout.anatomy),
        rater_members=rater_entries(layout, members, ids),
        roi_probability=ROI_PROBABILITY,
        slices=layout.strategy is Strategy.HARMONIZER,
    )
    if coarse is None:
        return card
    return replace(
        card,
        demo=coarse.demo,
        organ_labels=coarse.organ_labels,
        roi_margin_mm=coarse.roi_margin_mm,
        roi_component_fraction=coarse.roi_component_fraction,
        roi_probability=coarse.roi_probability,
    )


def ensemble_bundle(networks: Path, layout: Layout, members: Sequence[Member], coarse: Bundle, out: Path) -> Path:
    """Write an uncalibrated bundle of networks that `twintrack.training.train_members` left in a folder.

    Parameters
    ----------
    networks : Path
        That folder.
    layout : Layout
        Of the networks, with pseudonyms for raters.
    members : sequence of Member
        The networks.
    coarse : Bundle
        Opened; its stage 1 is taken over.
    out : Path
        The new bundle; must not exist.
    """
    fine = StageSource(networks, tuple(member.fold for member in members))
    card = ensemble_card(out.stem, layout, members, {name: name for name in layout.raters}, coarse)
    return create_bundle(
        StageSource(coarse.stage_folder("coarse"), coarse.folds["coarse"]), fine, card, out=out, half=True
    )


def fit_on_rows(
    bundle: Path,
    rows: Sequence[ManifestRow],
    manifest: Path,
    *,
    device: str,
    warn: Callable[[str], None],
    progress: Progress,
    cancel: CancelToken,
) -> Calibrator:
    """Score the calibration cases with a bundle and fit its calibrator, with statements where vessels are given.

    Raises
    ------
    InputError
        If too few cases are left in which stage 1 finds the organ.
    """
    from twintrack.calibration import ScoreSketch

    sketch = ScoreSketch.empty()
    for number, row in enumerate(rows):
        cancel.check()
        progress(0.9 * number / len(rows), f"calibrating on {row.case} ({number + 1} of {len(rows)})")
        try:
            _, found = sketch_rows(
                [row],
                bundle_path=bundle,
                domain="roi",
                weighting="voxel",
                device=device,
                statements=StatementOptions(),
            )
        except RoiError as error:
            warn(f"{row.case}: left out of the calibration, {error}")
            continue
        sketch = sketch + found
    if sketch.cases < FEWEST_CASES:
        raise InputError(
            f"stage 1 finds the pancreas in {sketch.cases} of {len(rows)} calibration cases, and a calibrator needs "
            f"{FEWEST_CASES}; train longer, or take stage 1 from another bundle with --coarse BUNDLE",
            code="too-few-cases",
            path=manifest,
        )
    sketch = replace(sketch, manifests=frozenset({file_sha256(manifest)}))
    # Not the 250 bins of the paper: with few tumors they leave a coarse map where the tumor is.
    return fit_sketch(sketch, bins=None, where=str(manifest), progress=part(progress, 0.9, 1.0), cancel=cancel)


def measure_on_rows(
    opened: Bundle,
    calibrator: Calibrator,
    rows: Sequence[ManifestRow],
    *,
    device: str,
    progress: Progress,
    cancel: CancelToken,
) -> dict[str, float | None]:
    """Return the means over held-out cases of TDSC, the protocol's ECE, and Brier score and MHR gap of the voxels.

    A case in which stage 1 finds no organ counts with an empty map, as its radiologist would get it.
    """
    from twintrack.inference.loaded_model import LoadedModel
    from twintrack.io.ct import load_ct
    from twintrack.metrics import evaluate_case
    from twintrack.pipeline import segment
    from twintrack.settings import SegmentSettings

    settings = SegmentSettings(calibrate=False, device=device)
    store = LoadedModel().store(settings)
    found: dict[str, list[float]] = {}
    for number, row in enumerate(rows):
        progress(number / len(rows), f"testing on {row.case} ({number + 1} of {len(rows)})")
        with locating(where=row.where):
            ct = load_ct(row.files["image"], row.series, row.acquisition).volume
            masks, _ = read_annotations(row, ct.geometry)
            try:
                score = segment(ct, opened, settings, store=store, cancel=cancel).score
                mapped = score.with_array(calibrator(score.array))
            except RoiError as error:
                _log.warning("%s: %s; its map is empty", row.where, error)
                mapped = ct.with_array(np.zeros(ct.array.shape, np.float32))
            metrics = evaluate_case(mapped, masks)
        values = {"tdsc": metrics.tdsc, "ece": metrics.ece}
        values |= {name: metrics.further[name] for name in ("brier", "mhr_gap")}
        for name, value in values.items():
            found.setdefault(name, []).extend([] if value is None else [value])
    return {name: round(float(np.mean(values)), 6) if values else None for name, values in found.items()}


def pseudonyms(raters: Sequence[str]) -> dict[str, str]:
    """Return what a bundle calls each rater: their names if all are pseudonyms already, else letters.

    How somebody draws is personal data, so that a name must not slip in because it is short.
    """
    if all(RATER_ID.fullmatch(name) and _PSEUDONYM.fullmatch(name) for name in raters):
        return {name: name for name in raters}
    return dict(zip(raters, lettered(len(raters)), strict=True))


def rater_entries(layout: Layout, members: Sequence[Member], ids: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return ``rater_members`` of a bundle, empty where none speaks for one rater alone.

    Parameters
    ----------
    layout : Layout
        Of the networks.
    members : sequence of Member
        The networks, by the raters' own names.
    ids : mapping of str to str
        Pseudonym of each rater, in the layout's order.
    """
    if layout.strategy is Strategy.HARMONIZER:
        return [{"id": id_, "persona": number} for number, id_ in enumerate(ids.values())]
    if layout.strategy is Strategy.HEADS:
        return [{"id": id_, "label": label} for id_, label in zip(ids.values(), layout.tumor_weights, strict=True)]
    if layout.strategy is not Strategy.RATER_SPECIFIC:
        return []
    owned = {name: [member.fold for member in members if member.rater == name] for name in ids}
    return [{"id": ids[name], "members": folds} for name, folds in owned.items()]


def vessels_of(anatomy: Sequence[str]) -> dict[str, str]:
    """Return which label of the networks is which vessel; of two that are called alike, the first."""
    found: dict[str, str] = {}
    for label in anatomy:
        vessel = JOINT_VEIN if is_joint_vein(label) else vessel_of(label)
        if vessel is not None:
            found.setdefault(vessel, label)
    return found


def versions() -> dict[str, str]:
    """Return the versions of what trained the networks."""
    return {"twintrack": __version__, **{name: version(name) for name in ("nnunetv2", "torch")}}
