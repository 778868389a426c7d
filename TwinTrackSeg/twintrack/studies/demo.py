"""The main job end to end on what ships with the package: a phantom CT as DICOM series, and the demo bundle."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

from twintrack.progress.callbacks import CancelToken, Progress, no_progress, part

__all__ = ["DEMO_RATERS", "DEMO_SEED", "run_demo"]

SERIES = "ct"
"""Folder of the phantom CT."""

DEMO_SEED = 40003
"""A phantom that the demo networks have never seen (training, calibration and test use other seeds)."""

DEMO_RATERS = 12
"""How many of its raters were asked; what they said ships with the package, as ``data/demo_readers.json``."""


def run_demo(
    out: str | Path,
    *,
    device: str = "auto",
    case: str | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> Path:
    """Draw a phantom, write it as a DICOM series below `out` and segment that; return the result folder.

    Raises
    ------
    TwinTrackError
        As `twintrack.results.folder.segment_file`.
    """
    from twintrack.bundle.model_bundle import demo_bundle_path
    from twintrack.dicom import write_ct_series
    from twintrack.phantom import make_phantom
    from twintrack.results.folder import check_result_folder, segment_file
    from twintrack.settings import SegmentSettings
    from twintrack.system.atomic import atomic_folder, check_output_folder

    out = Path(out)
    settings = SegmentSettings(device=device, dicom=True, keep_score=True, case=case)
    check_output_folder(out, (SERIES,), command="demo", overwrite=overwrite)
    check_result_folder(out, settings, (), overwrite=overwrite)
    progress(0.0, "drawing a phantom CT")
    ct = make_phantom(DEMO_SEED, raters=1).ct
    with atomic_folder(out, command="demo", last=SERIES, overwrite=overwrite) as folder:
        write_ct_series(ct, folder / SERIES, description="Synthetic phantom CT")
    share = part(progress, 0.1, 1.0)
    said = resources.files("twintrack").joinpath("data").joinpath("demo_readers.json").read_text(encoding="utf-8")
    return segment_file(
        out / SERIES,
        demo_bundle_path(),
        out,
        settings,
        known={"own_readers": json.loads(said)},
        overwrite=overwrite,
        progress=share,
        cancel=cancel,
    )
