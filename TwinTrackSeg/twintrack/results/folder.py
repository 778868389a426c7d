"""The result folder of one segmented CT: what is written, and provenance."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twintrack import __version__
from twintrack.errors import InputError, OutputError
from twintrack.io.ct import Ct, load_ct
from twintrack.io.volumes import write_volume
from twintrack.pipeline import EXPECTED_S, VESSEL_THREADS, Segmentation, segment
from twintrack.progress.callbacks import CancelToken, Progress, checked, no_progress
from twintrack.progress.stages import Stages
from twintrack.results.schema import SAMPLES_FILE
from twintrack.results.which_ct import WhichCt, describe_ct
from twintrack.settings import SegmentSettings
from twintrack.system.atomic import atomic_folder, check_output_folder
from twintrack.system.capacity import check_output
from twintrack.system.json_file import json_for_script, save_json
from twintrack.system.ownership import is_below, is_same_place
from twintrack.system.paths import file_sha256, is_there
from twintrack.volume import Volume

if TYPE_CHECKING:
    from twintrack.bundle.model_bundle import Bundle
    from twintrack.calibration import Calibrator
    from twintrack.inference import NetworkStore, RaterMaps, SampleSet

__all__ = [
    "COMMAND",
    "RESULT_FILES",
    "check_dicom_asked",
    "check_result_folder",
    "describe",
    "run_inputs",
    "save_result",
    "segment_file",
]

COMMAND = "segment"
"""What the list of files in a result folder calls a segmentation, on this computer or a server."""

RESULT_FILES = (
    "result.json",
    "probability.nii.gz",
    "score.nii.gz",
    "raters",
    "disagreement.nii.gz",
    SAMPLES_FILE,
    "segmentation.nii.gz",
    "vessels.nii.gz",
    "named_vessels.nii.gz",
    "naming.json",
    "invasion.json",
    "invasion.csv",
    "overview.png",
    "report.html",
    "dicom",
)
"""Everything that a run may leave in its result folder."""

RATERS, DISAGREEMENT = "raters", "disagreement.nii.gz"
"""The folder of single raters' maps, and the map of how far they lie apart."""

READ_S, WRITE_S, SECONDS_PER_MEGAVOXEL, PICTURES_S = 0.25, 0.2, 0.015, 1.2
DICOM_S, DICOM_S_PER_SLICE = 0.3, 0.02
"""Expected wall seconds of reading, of writing files and DICOM objects, and of drawing, for the progress bar."""


def segment_file(
    source: str | Path,
    bundle: str | Path | Bundle,
    out: str | Path,
    settings: SegmentSettings | None = None,
    *,
    store: NetworkStore | None = None,
    turn: AbstractContextManager[object] | None = None,
    known: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    private: bool = False,
    began: float | None = None,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> Path:
    """Segment a CT file or series and write the result folder.

    Parameters
    ----------
    source : path
        Volume file, DICOM folder or ZIP archive, or one file of a DICOM series.
    bundle : path or Bundle
        Bundle folder or zip, or one that is already open.
    out : path
        Result folder; files that an earlier run wrote in it are replaced when the new ones are complete.
    settings : SegmentSettings, optional
        Options.
    store : NetworkStore, optional
        Keeps the networks for the next run.
    turn : context manager, optional
        Entered for the time in which the networks run: a lock lets runs that share a `store` take turns, so that one
        reads or writes while the networks work for another. Vessels are then measured one at a time.
    known : mapping, optional
        What else ``result.json`` shall say, for instance what a phantom's own raters drew.
    overwrite : bool
        Whether other files at the places of the result's are replaced; never the run's own inputs.
    private : bool
        Whether nobody else looks into `out` before the caller hands it on: files are then written straight into it.
    began : float, optional
        When the run began, on the clock of `time.perf_counter`, if that was before the call.

    Returns
    -------
    pathlib.Path
        The result folder.

    Raises
    ------
    TwinTrackError
        As the stages raise it; nothing is then left under a final name.
    """
    from twintrack.bundle.model_bundle import Bundle

    settings = settings or SegmentSettings()
    cancel = cancel or CancelToken()
    expected = {"read": READ_S, **EXPECTED_S, "write": WRITE_S, "pictures": PICTURES_S}
    stages = Stages(progress, expected, alike=("read", "measure", "write", "pictures"), began=began)
    stages.count("import")
    check_output(out)
    inputs = run_inputs(source, bundle, settings)
    if not private:
        check_result_folder(out, settings, inputs, overwrite=overwrite)
    with stages.stage("read") as report:
        report(0.0, "reading the CT")
        ct = load_ct(source, settings.series, settings.acquisition)
    inputs += ct.series.files if ct.series is not None else ()
    check_dicom_asked(settings, ct, str(source))
    check_output(out, ct.volume.array.size)
    each_s = SECONDS_PER_MEGAVOXEL * ct.volume.array.size / 1e6
    stages.expect("read", READ_S + each_s)
    stages.expect("write", WRITE_S + each_s + (_dicom_s(ct) if settings.dicom else 0.0))
    with nullcontext(bundle) if isinstance(bundle, Bundle) else Bundle.open(bundle) as opened:
        stages.count("open")
        with turn or nullcontext():
            if turn is not None:
                stages.count("wait")
            threads = VESSEL_THREADS if turn is None else 1
            found = segment(ct.volume, opened, settings, store=store, threads=threads, cancel=cancel, stages=stages)
        cancel.check()
        result = describe(ct, found, opened, settings) | dict(known or {})
        place = atomic_folder(out, command=COMMAND, last="result.json", inputs=inputs, overwrite=overwrite)
        with nullcontext(Path(out)) if private else place as folder:
            _write_result(folder, ct, found, result, settings, stages, cancel)
    stages.finish("done")
    return Path(out)


def check_dicom_asked(settings: SegmentSettings, ct: Ct, source: str) -> None:
    """Refuse a wish for DICOM objects of what is no series, or of one that nothing can refer to.

    Raises
    ------
    InputError
        Begins with `source`.
    """
    if settings.dicom and ct.series is None:
        raise InputError(
            "--dicom needs a DICOM series as input; leave it out for a volume file, and make a series "
            "from the result with twintrack export --make-series",
            code="no-dicom-source",
            path=source,
        )
    if settings.dicom and ct.series is not None:
        ct.series.check_instances()


def save_result(
    out: str | Path,
    ct: Ct,
    found: Segmentation,
    result: Mapping[str, Any],
    settings: SegmentSettings,
    *,
    overwrite: bool = False,
) -> Path:
    """Write the result folder of a CT that was segmented in memory; `result` is what `describe` gave.

    Raises
    ------
    OutputError
        If something is in the way, or `out` cannot be written; nothing is then left under a final name.
    """
    inputs = [] if ct.series is None else [*ct.series.files, *{path.parent for path in ct.series.files}]
    inputs += [Path(path) for path in (settings.vessels, settings.calibrator) if path is not None]
    check_output(out, ct.volume.array.size)
    check_result_folder(out, settings, inputs, overwrite=overwrite)
    with atomic_folder(out, command=COMMAND, last="result.json", inputs=inputs, overwrite=overwrite) as folder:
        _write_result(folder, ct, found, result, settings, Stages())
    return Path(out)


def run_inputs(source: str | Path, bundle: str | Path | Bundle | None, settings: SegmentSettings) -> list[Path]:
    """Return what a run reads, as far as that is known before it begins; around one DICOM file also its folder."""
    from twintrack.bundle.model_bundle import Bundle
    from twintrack.dicom import is_dicom_input

    given = [source, bundle.path if isinstance(bundle, Bundle) else bundle, settings.vessels, settings.calibrator]
    inputs = [Path(path) for path in given if path is not None]
    ct = Path(source)
    if is_there(ct) and ct.is_file() and is_dicom_input(ct):
        inputs.append(ct.parent)
    return inputs


def check_result_folder(
    out: str | Path, settings: SegmentSettings, inputs: Sequence[Path], *, overwrite: bool = False
) -> None:
    """Refuse a result folder in which something would be lost, before anything is computed.

    Raises
    ------
    OutputError
        Names the file that is in the way, or the input.
    """
    for path in inputs:
        if is_same_place(Path(out), path):
            raise OutputError("is an input; choose another folder for the results", code="place-of-input", path=out)
        if is_there(path / "bundle.json") and is_below(Path(out), path):
            raise OutputError(
                f"lies in the bundle {path}, which a further file would break; choose another folder",
                code="place-of-input",
                path=out,
            )
    unasked = {"score.nii.gz": settings.keep_score, "dicom": settings.dicom}
    unasked |= dict.fromkeys((RATERS, DISAGREEMENT), settings.rater_maps) | {SAMPLES_FILE: bool(settings.samples)}
    entries = [name for name in RESULT_FILES if unasked.get(name, True)]
    check_output_folder(out, entries, command=COMMAND, inputs=inputs, overwrite=overwrite)


OF_RATERS = ("rater_members", "training")
"""What a bundle says of single raters; a result repeats it only where it shows them."""


def describe(ct: Ct, found: Segmentation, bundle: Bundle, settings: SegmentSettings) -> dict[str, Any]:
    """Return the content of ``result.json`` but for the seconds."""
    geometry, calibrator, which = ct.volume.geometry, found.calibrator, describe_ct(ct, settings.case)
    return {
        "schema": 1,
        "version": __version__,
        "research_use_only": True,
        "bundle": {name: value for name, value in bundle.describe().items() if name not in OF_RATERS},
        "calibrator": None if calibrator is None else _calibrator(calibrator, settings),
        "device": found.engine["device"],
        "engine": found.engine,
        "input": {"spacing_mm": list(geometry.spacing_mm), "size": list(geometry.size), **_origin(ct), **which},
        "roi": {"start": list(found.roi_start), "stop": list(found.roi_stop)},
        "threshold": settings.threshold,
        "settings": settings.to_json()
        | {"vessels": settings.vessels is not None, "calibrator": bool(settings.calibrator)},
        "volume_ml": found.volumes.to_json(),
        "expected_volume_ml": _interval(found),
        "statements": found.statements.to_json(),
        "lesions": [lesion.to_json() for lesion in found.lesions],
        "labels": found.label_names,
        "vessel_values": None if found.vessels is None else found.vessel_names,
        **({} if found.naming is None or not found.naming.values else {"named_vessel_values": found.naming.values}),
        "suitability": found.suitability,
        **({} if found.raters is None else {"rater_maps": _rater_maps(found.raters)}),
        **({} if found.samples is None else {"samples": _samples(found.samples)}),
        "warnings": [*ct.notes, *found.warnings, *_withheld(found, settings)],
    }


def _withheld(found: Segmentation, settings: SegmentSettings) -> tuple[str, ...]:
    """Say which names the DICOM objects of the run leave out."""
    from twintrack.results.checked_names import withheld_sentence

    low = () if found.naming is None else found.naming.low
    return (withheld_sentence(low),) if settings.dicom and low else ()


def _calibrator(calibrator: Calibrator, settings: SegmentSettings) -> dict[str, Any]:
    """Say what the calibrator was fitted to, and of one that is not the bundle's which it was."""
    stated = {"target": calibrator.target, "bins": calibrator.bins}
    stated |= {"upper_bins": calibrator.upper_bins, "reached": calibrator.reached}
    if settings.calibrator is None:
        return stated
    content = Path(settings.calibrator).read_bytes()
    own = {"file": Path(settings.calibrator).name, "sha256": hashlib.sha256(content).hexdigest()}
    return {**stated, **own, "cases": calibrator.cases, "raters": calibrator.raters}


def _rater_maps(raters: RaterMaps) -> list[dict[str, Any]]:
    """List the maps of single raters: whose, in which file, and the volume in mL that this rater rather draws."""
    return [
        {"id": name, "file": f"{RATERS}/{name}.nii.gz", "volume_ml": raters.volume_ml(name)} for name in raters.maps
    ]


def _samples(samples: SampleSet) -> dict[str, Any]:
    """Say how many samples there are, in which file, and the volume in mL that each of them marks."""
    return {"file": SAMPLES_FILE, "count": samples.count, "volumes_ml": samples.volumes_ml()}


def _origin(ct: Ct) -> dict[str, Any]:
    """Say what the CT was read from; of a DICOM series its UID; and whether it was resampled to be a volume."""
    layout = ct.series.layout if ct.series is not None else ct.grid and ct.grid.layout
    how = {"resampled": layout is not None, "notes": list(ct.notes)}
    if ct.series is None:
        return {"source": ct.source, **(how if ct.notes else {})}
    return {"source": ct.source, "series_uid": ct.series.series_uid, **how}


def _interval(found: Segmentation) -> dict[str, float] | None:
    """Return the expected volume with its interval over the choice of the calibration cases."""
    calibrator, interval = found.calibrator, found.expected_volume_ml
    if interval is None or calibrator is None or calibrator.band is None:
        return None
    low, high = interval
    return {"value": found.volumes.expected, "low": low, "high": high, "level": calibrator.band.level}


def _write_result(
    folder: Path,
    ct: Ct,
    found: Segmentation,
    result: Mapping[str, Any],
    settings: SegmentSettings,
    stages: Stages,
    cancel: CancelToken | None = None,
) -> None:
    """Write everything; ``result.json`` last, which makes the folder complete, with the seconds of all stages.

    The report is written before its own time is known: it shows that of the stages before it.
    """
    token, earlier = cancel or CancelToken(), dict(result.get("seconds", {}))
    readouts = None if found.invasion is None else found.invasion.to_json()
    with stages.stage("write") as report:
        _write_files(folder, ct, found, settings, result, readouts, checked(report, token))
    with stages.stage("pictures") as report:
        pictures = _draw_pictures(folder, ct.volume, found, result, checked(report, token))
    with stages.stage("report"):
        from twintrack.results.report.html import write_report
        from twintrack.results.report.live_panel import live_panel

        shown = {**result, "seconds": {**earlier, **stages.seconds}}
        live = live_panel(ct.volume, found.probability, found.invasion, result) if settings.panel else None
        panel = "" if live is None else json_for_script(live)
        write_report(
            folder / "report.html", shown, readouts, folder / "overview.png", vessel_pictures=pictures, panel=panel
        )
        kept = {f"{name}_sha256": folder / f"{name}.nii.gz" for name in ("score", "vessels")}
        hashes = {field: file_sha256(path) for field, path in kept.items() if path.is_file()}
        token.check()
    save_json(folder / "result.json", {**result, "seconds": {**earlier, **stages.seconds}, **hashes})


def _write_files(
    folder: Path,
    ct: Ct,
    found: Segmentation,
    settings: SegmentSettings,
    result: Mapping[str, Any],
    readouts: Mapping[str, Any] | None,
    report: Progress,
) -> None:
    """Write volumes, vessel readouts and DICOM objects."""
    from twintrack.invasion import write_invasion_csv
    from twintrack.results.dicom_objects import write_objects

    report(0.0, "writing volumes")
    write_volume(found.probability, folder / "probability.nii.gz", grid=ct.grid)
    write_volume(found.labels, folder / "segmentation.nii.gz", names=found.label_names, grid=ct.grid)
    if found.vessels is not None:
        write_volume(found.vessels, folder / "vessels.nii.gz", names=found.vessel_names, grid=ct.grid)
    if found.naming is not None and found.named_vessels is not None:
        write_volume(found.named_vessels, folder / "named_vessels.nii.gz", names=found.naming.values, grid=ct.grid)
        save_json(folder / "naming.json", found.naming.to_json())
    if settings.keep_score:
        write_volume(found.score, folder / "score.nii.gz", grid=ct.grid)
    if found.raters is not None:
        (folder / RATERS).mkdir(exist_ok=True)
        for name in found.raters.maps:
            write_volume(found.raters.volume(name), folder / RATERS / f"{name}.nii.gz", grid=ct.grid)
        write_volume(found.raters.disagreement(), folder / DISAGREEMENT, grid=ct.grid)
    if found.samples is not None:
        write_volume(found.samples.volume(), folder / SAMPLES_FILE, grid=ct.grid)
    if readouts is not None:
        save_json(folder / "invasion.json", readouts)
        write_invasion_csv(readouts, folder / "invasion.csv")
    if settings.dicom and ct.series is not None:
        report(0.3, "writing DICOM objects")
        objects = found.labels, found.probability, result, readouts
        named = found.named_vessels if result.get("named_vessel_values") else None
        write_objects(folder / "dicom", ct.series, *objects, vessels=found.vessels, named=named)


def _draw_pictures(
    folder: Path, ct: Volume, found: Segmentation, result: Mapping[str, Any], report: Progress
) -> Mapping[str, bytes]:
    """Draw the overview into its file; return the pictures of the vessels, for the report."""
    from twintrack.results.report.overview import write_overview
    from twintrack.results.report.vessel_pictures import vessel_pictures

    report(0.0, "drawing the overview")
    write_overview(
        folder / "overview.png",
        ct,
        found.probability,
        threshold=result["threshold"],
        segmentation=found.labels,
        labels=found.label_names,
        calibrated=found.calibrator is not None,
        bundle_name=result["bundle"]["name"],
        demo=result["bundle"]["demo"],
        which=WhichCt.of(result).short,
    )
    if found.invasion is None:
        return {}
    report(0.5, "drawing the vessels")
    return vessel_pictures(ct, found.probability, found.invasion)


def _dicom_s(ct: Ct) -> float:
    return DICOM_S + DICOM_S_PER_SLICE * ct.volume.array.shape[0]
