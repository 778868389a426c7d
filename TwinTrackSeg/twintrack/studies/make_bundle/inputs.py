"""What CTs a bundle is made with: measured on the CTs of a manifest, to be compared with those of its users."""

from __future__ import annotations

from pathlib import Path

from twintrack.bundle.model_bundle import Bundle
from twintrack.errors import InputError
from twintrack.imaging.ct_features import InputRange, features_of
from twintrack.io.manifest import read_manifest
from twintrack.progress.callbacks import CancelToken, Progress, no_progress, part

__all__ = ["measure_disagreement", "measure_inputs"]


def measure_inputs(manifest: str | Path) -> InputRange:
    """Measure the CTs of a manifest (column ``image``), for the bundle of a model that was trained on them.

    Raises
    ------
    InputError
        If the manifest or a CT cannot be read.
    """
    from twintrack.io.ct import load_ct

    rows = read_manifest(manifest, needs=("image",))
    return InputRange.over(
        features_of(load_ct(row.files["image"], row.series, row.acquisition).volume.to_lps()) for row in rows
    )


def measure_disagreement(
    manifest: str | Path,
    bundle: Bundle,
    *,
    device: str = "auto",
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> InputRange:
    """Run a bundle's networks over the CTs of a manifest (column ``image``) and return how far they disagree there.

    CTs that the networks were not trained on tell what to expect; on their own they agree more.

    Raises
    ------
    InputError
        If the manifest or a CT cannot be read, or the ensemble has one member.
    RoiError
        If there is no organ in a CT.
    """
    from twintrack.inference import NetworkStore, localize, score_ensemble
    from twintrack.io.ct import load_ct

    rows, store = read_manifest(manifest, needs=("image",)), NetworkStore(device)
    if len(bundle.folds["fine"]) == 1:
        raise InputError(
            "has one fine network, which cannot disagree with others", code="single-network", path=bundle.path
        )
    found = []
    for number, row in enumerate(rows):
        step = part(progress, number / len(rows), (number + 1) / len(rows))
        ct = load_ct(row.files["image"], row.series, row.acquisition).volume.to_lps()
        roi = localize(ct, bundle, store=store, progress=part(step, 0.0, 0.3), cancel=cancel)
        scored = score_ensemble(ct, roi, bundle, store=store, progress=part(step, 0.3, 1.0), cancel=cancel)
        found.append({"disagreement_ml": scored.disagreement_ml or 0.0})
    return InputRange.over(found)
