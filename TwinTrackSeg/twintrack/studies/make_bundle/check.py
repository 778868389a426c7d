"""The whole check of a bundle: not only its files, but that the networks and the calibrator in them can be used."""

from __future__ import annotations

from twintrack.bundle.model_bundle import Bundle
from twintrack.errors import BundleError

__all__ = ["check_bundle"]


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
                f"{bundle.calibrator_path}: was fitted on scores pooled by {pooling}, the bundle pools by "
                f"{bundle.pooling}; fit a new one"
            )
    check_weights(bundle)
