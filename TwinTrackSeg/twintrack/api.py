"""What ``import twintrack as tt`` hands out: the main jobs as functions, for scripts and notebooks.

Each is a few lines around the stage that does the work. Arrays are (z, y, x); a `Volume` carries its grid along.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twintrack.errors import InputError
from twintrack.progress.callbacks import CancelToken, Progress, no_progress, part
from twintrack.settings import SegmentSettings
from twintrack.studies.table_format import METHOD_NAMES
from twintrack.volume import Volume

if TYPE_CHECKING:
    from types import TracebackType

    from twintrack.bundle.model_bundle import Bundle
    from twintrack.calibration import Calibrator
    from twintrack.inference.loaded_model import LoadedModel
    from twintrack.invasion import InvasionResult
    from twintrack.io.ct import Ct
    from twintrack.pipeline import Segmentation

__all__ = [
    "Model",
    "Result",
    "SegmentResult",
    "calibrate",
    "evaluate",
    "load_bundle",
    "measure_vessels",
    "read_result",
    "segment",
]


class Model:
    """A bundle whose networks stay loaded from one `segment` to the next; made by `load_bundle`.

    As a context manager it lets go of the networks, and of the temporary files of a zipped bundle, at the end.

    Parameters
    ----------
    bundle : Bundle
        The opened, verified bundle; its attributes say what the model is and what it was made with.
    """

    def __init__(self, bundle: Bundle) -> None:
        from twintrack.inference.loaded_model import LoadedModel

        self.bundle = bundle
        self._networks: LoadedModel | None = LoadedModel(bundle)

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def networks(self) -> LoadedModel:
        """The networks; one run at a time has their turn."""
        if self._networks is None:
            raise InputError(
                f"the model {self.bundle.name!r} is closed; open it again with load_bundle", code="model-closed"
            )
        return self._networks

    def close(self) -> None:
        """Let go of the networks and of temporary files; the model cannot be used any more."""
        if self._networks is not None:
            self._networks.drop()
            self._networks = None
        self.bundle.close()

    def __repr__(self) -> str:
        return f"<Model {self.bundle.name} {self.bundle.version}>"


def load_bundle(path: str | Path) -> Model:
    """Open a model bundle and check the hash of every file in it.

    Parameters
    ----------
    path : str or Path
        Bundle folder or zip file; the word ``demo`` for the one that ships with the package, which knows synthetic
        phantoms only.

    Returns
    -------
    Model
        To be given to `segment`. Networks are loaded at the first use and stay.

    Raises
    ------
    BundleError
        If anything is missing, altered, malformed or not supported.

    Examples
    --------
    >>> import twintrack as tt
    >>> model = tt.load_bundle("demo")
    >>> model.bundle.demo, model.bundle.members
    (True, 3)
    """
    from twintrack.bundle.model_bundle import Bundle

    return Model(Bundle.open(_bundle_path(path)))


def _bundle_path(path: str | Path) -> Path:
    from twintrack.bundle.model_bundle import bundle_path

    return bundle_path(path)


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """A segmented CT: what is in a result folder.

    Attributes
    ----------
    probability : Volume
        Expected fraction of raters who mark each voxel (MHR), float32 in [0, 1], (z, y, x) on the CT's own grid; 0
        outside the region of interest. The uncalibrated score, where no calibrator was applied.
    labels : Volume
        uint8 on the same grid: tumour at the threshold, which wins over the predicted vessels; `label_names` has their
        values.
    summary : dict
        The content of ``result.json``: volumes in mL, lesions, warnings, provenance.
    vessels : dict or None
        The content of ``invasion.json``: contact with each vessel in degrees and mm; None where no vessel is known.
    score : Volume or None
        The pooled, uncalibrated score, float32 in [0, 1], where it is at hand.
    vessel_map : Volume or None
        uint8 on the same grid: the predicted vessels, whole where the tumour overlaps them; `vessel_names` has their
        values. None where the bundle predicts no vessel, and in results of earlier versions.
    named_vessel_map : Volume or None
        uint8 on the same grid: vessels that got their names by anatomy, where only arteries and veins were known;
        ``summary["named_vessel_values"]`` has their values.
    """

    probability: Volume
    labels: Volume
    summary: dict[str, Any]
    vessels: dict[str, Any] | None
    score: Volume | None = None
    vessel_map: Volume | None = None
    named_vessel_map: Volume | None = None

    def __repr__(self) -> str:
        size = " x ".join(str(n) for n in self.probability.geometry.size)
        volume_ml = (self.summary.get("volume_ml") or {}).get("at_threshold")
        return f"<{type(self).__name__} of {size} voxels, tumour {volume_ml} mL at {self.summary['threshold']:g}>"

    @property
    def label_names(self) -> dict[str, int]:
        """Value of each name in `labels`."""
        return dict(self.summary["labels"])

    @property
    def vessel_names(self) -> dict[str, int]:
        """Value of each name in `vessel_map`; empty without one."""
        return {} if self.vessel_map is None else dict(self.summary["vessel_values"])

    @property
    def warnings(self) -> tuple[str, ...]:
        """What whoever reads the result must know."""
        return tuple(self.summary["warnings"])

    def save_dicom(
        self,
        folder: str | Path,
        series: str | Path,
        *,
        series_uid: str | None = None,
        acquisition: int | None = None,
        fractional: bool = False,
        labelmap: bool = False,
        names_checked: bool = False,
        overwrite: bool = False,
    ) -> tuple[Path, ...]:
        """Write the DICOM objects of the result: parametric map, segmentation, structured report.

        Parameters
        ----------
        folder : path
            Where to; objects that an earlier call wrote there are replaced when the new ones are complete.
        series : path
            The CT series that was segmented: folder, ZIP archive or one file of it.
        series_uid : str, optional
            SeriesInstanceUID, to choose among several series in it.
        acquisition : int, optional
            AcquisitionNumber, to choose among several phases or passes; without it the one that was segmented.
        fractional, labelmap : bool
            Whether a fractional segmentation and a label map are written too, which few viewers read.
        names_checked : bool
            Whether a reader looked at names that anatomy gave: without, those that are not sure are withheld.
        overwrite : bool
            Whether other files at the places of the objects are replaced; never the series.

        Returns
        -------
        tuple of Path
            The objects.

        Raises
        ------
        InputError
            If the series cannot be read or lies on another grid than the result.
        OutputError
            If there is nothing to export, or `folder` cannot be written.
        """
        from twintrack.results.dicom_objects import save_objects

        saved = save_objects(
            folder,
            series,
            self.labels,
            self.probability,
            self.summary,
            self.vessels,
            vessels=self.vessel_map,
            named=self.named_vessel_map,
            names_checked=names_checked,
            series_uid=series_uid,
            acquisition=acquisition,
            fractional=fractional,
            labelmap=labelmap,
            overwrite=overwrite,
        )
        return saved.files


@dataclass(frozen=True, eq=False, repr=False)
class SegmentResult(Result):
    """A `Result` as `segment` gives it, which can be saved as a result folder.

    Attributes
    ----------
    found : Segmentation
        What the engine gives, as Python objects: see `twintrack.pipeline.Segmentation`.
    ct : Ct
        What was segmented.
    settings : SegmentSettings
        The options of the run.
    """

    found: Segmentation = field(kw_only=True)
    ct: Ct = field(kw_only=True)
    settings: SegmentSettings = field(kw_only=True)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write the result folder that ``twintrack segment`` writes: volumes, tables, pictures, report.

        Parameters
        ----------
        folder : path
            Where to; files that an earlier run wrote there are replaced when the new ones are complete.
        overwrite : bool
            Whether other files at the places of the result's are replaced.

        Returns
        -------
        pathlib.Path
            The folder.

        Raises
        ------
        OutputError
            If something is in the way, or the folder cannot be written.
        """
        from twintrack.results.folder import save_result

        return save_result(folder, self.ct, self.found, self.summary, self.settings, overwrite=overwrite)


def segment(
    ct: str | Path | Volume,
    model: Model | str | Path,
    settings: SegmentSettings | None = None,
    *,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
    **options: Any,
) -> SegmentResult:
    """Segment a CT: the calibrated map, and how far the tumour wraps around each vessel.

    Parameters
    ----------
    ct : path or Volume
        Volume file (NIfTI, NRRD, MHA), DICOM folder, ZIP archive or file of a series; or a `Volume` of HU on any grid.
    model : Model or path
        From `load_bundle`, whose networks stay loaded; or a bundle, which is opened for this one CT.
    settings : SegmentSettings, optional
        All options at once.
    progress, cancel
        Called with a fraction and a message for every step; checked for every step.
    **options
        Single options of `SegmentSettings`, such as ``roi=(i0, i1, j0, j1, k0, k1)``, ``threshold=0.3``, or a label of
        the case for result and report, ``case="7"``.

    Returns
    -------
    SegmentResult
        Nothing is written until its `save` or `save_dicom`.

    Raises
    ------
    RoiError
        If no pancreas is found, or the given box does not fit.
    InputError, BundleError
        If the CT, an option or the bundle cannot be used.
    Cancelled
        If `cancel` was triggered.

    Examples
    --------
    >>> import twintrack as tt
    >>> case = tt.make_phantom(7)
    >>> with tt.load_bundle("demo") as model:
    ...     result = tt.segment(case.ct, model, device="cpu", threshold=0.6)
    >>> result.probability.array.shape == case.ct.array.shape
    True
    >>> bool(0.0 < result.probability.array.max() <= 1.0)
    True
    >>> sorted(result.vessels["vessels"])
    ['AORTA', 'CELIAC', 'PORTA', 'PORTA_SMV', 'SMA', 'SMV']
    """
    from twintrack.io.ct import Ct, check_hu, load_ct
    from twintrack.pipeline import EXPECTED_S
    from twintrack.pipeline import segment as run
    from twintrack.progress.stages import Stages
    from twintrack.results.folder import check_dicom_asked, describe

    settings = dataclasses.replace(settings or SegmentSettings(), **_known(options))
    if not isinstance(model, Model):
        with load_bundle(model) as opened:
            return segment(ct, opened, settings, progress=progress, cancel=cancel)
    stages = Stages(progress, EXPECTED_S)
    if isinstance(ct, Volume):
        check_hu(ct, "the CT")
        read = Ct(ct, "file")
    else:
        read = load_ct(ct, settings.series, settings.acquisition)
    check_dicom_asked(settings, read, "the CT" if isinstance(ct, Volume) else str(ct))
    stages.count("read")
    with model.networks.turn:
        stages.count("wait")
        store = model.networks.store(settings)
        found = run(read.volume, model.bundle, settings, store=store, cancel=cancel, stages=stages)
    summary = describe(read, found, model.bundle, settings) | {"seconds": found.seconds}
    return SegmentResult(
        found.probability,
        found.labels,
        summary,
        None if found.invasion is None else found.invasion.to_json(),
        found.score,
        found.vessels,
        found.named_vessels if summary.get("named_vessel_values") else None,
        found=found,
        ct=read,
        settings=settings,
    )


def _known(options: Mapping[str, Any]) -> Mapping[str, Any]:
    names = [each.name for each in dataclasses.fields(SegmentSettings)]
    for name in options:
        if name not in names:
            raise InputError(f"segment has no option {name!r}; it has {', '.join(names)}", code="option-unknown")
    return options


def read_result(folder: str | Path) -> Result:
    """Read a result folder that ``twintrack segment`` or `SegmentResult.save` wrote.

    Parameters
    ----------
    folder : path
        The folder with ``result.json``.

    Returns
    -------
    Result
        Volumes are (z, y, x) on the CT's own grid, probabilities in [0, 1], volumes in mL.

    Raises
    ------
    InputError
        If the folder holds no complete result, or a file of it is damaged.

    Examples
    --------
    >>> import tempfile, twintrack as tt
    >>> with tempfile.TemporaryDirectory() as place, tt.load_bundle("demo") as model:
    ...     part = tt.segment(tt.make_phantom(7).ct, model, roi=(80, 104, 60, 84, 24, 36), device="cpu")
    ...     folder = part.save(place + "/result")
    ...     result = tt.read_result(folder)
    >>> result.label_names["tumor"]
    1
    """
    from twintrack.results.schema import read_folder

    return Result(*read_folder(folder))


def calibrate(
    sources: str | Path | Sequence[str | Path],
    *,
    model: Model | str | Path | None = None,
    target: str = "mhr",
    rater: str | None = None,
    bins: int | None = 250,
    domain: str = "roi",
    weighting: str = "voxel",
    resamples: int = 1000,
    seed: int = 0,
    device: str = "auto",
    vessel_names: Mapping[str, int | str] | None = None,
    contact_mm: float | None = None,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> Calibrator:
    """Fit the monotone map from score to mean human response on the masks of several raters.

    Parameters
    ----------
    sources : path or sequence of path
        Manifests (CSV with ``case``, ``score`` or, with `model`, ``image``, and ``annotation_<NAME>`` of every rater)
        and sketches of other cases (``.npz``).
    model : Model or path, optional
        Model or bundle that scores the ``image`` of each row.
    target : str
        ``mhr``, ``single-rater`` (with `rater`, the name) or ``hard-label``.
    bins : int or None
        Equal-mass bins; None chooses their number by leaving out each case in turn.
    domain, weighting : str
        ``roi`` or ``all`` voxels; every ``voxel`` or every ``case`` weighs the same.
    resamples, seed : int
        Resamples of the cases for the band around the map; 0 for no band.
    device : str
        Where the bundle's networks run.
    vessel_names : mapping, optional
        Value of each vessel in the column ``vessels``, or what the file calls it. Rows with reference vessels also
        give what is said of vessels: see `Calibrator.statements`.
    contact_mm : float, optional
        Distance in mm from a vessel's lumen within which tumour touches it; the model's own if not given.
    progress, cancel
        Called, and checked, for every case.

    Returns
    -------
    Calibrator
        A function of a score array in [0, 1], which gives an array of the same shape in [0, 1]; `write_calibrator`
        saves it.

    Raises
    ------
    InputError
        If there are fewer than 2 cases, or a manifest or a file in it cannot be used; row and file are named.
    """
    from twintrack.studies.calibrate import bundle_statements, fit_sketch, sketch_cases
    from twintrack.studies.statement_rows import StatementOptions

    place = None if model is None else model.bundle.path if isinstance(model, Model) else _bundle_path(model)
    given = [sources] if isinstance(sources, str | Path) else list(sources)
    sketch = sketch_cases(
        given,
        bundle_path=place,
        domain=domain,
        weighting=weighting,
        device=device,
        statements=StatementOptions(vessel_names, contact_mm),
        progress=part(progress, 0.0, 0.9),
        cancel=cancel,
    )
    return fit_sketch(
        sketch,
        target=target,
        rater=rater,
        bins=bins,
        resamples=resamples,
        seed=seed,
        prior=bundle_statements(place),
        where=", ".join(map(str, given)),
        progress=part(progress, 0.9, 1.0),
        cancel=cancel,
    )


def evaluate(
    manifest: str | Path,
    out: str | Path,
    *,
    bootstrap: int = 5000,
    seed: int = 0,
    compare: str | Path | None = None,
    name: str = METHOD_NAMES[0],
    compare_name: str = METHOD_NAMES[1],
    vessel_names: Mapping[str, int | str] | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> dict[str, Any]:
    """Score maps against several raters with the CURVAS-PDACVI protocol and further metrics.

    Parameters
    ----------
    manifest : path
        CSV with ``case``, ``probability``, ``annotation_<NAME>`` of every rater; optional ``vessels``, ``binary``,
        ``score``.
    out : path
        Folder for the metrics of every case, the summary and a reliability picture.
    bootstrap, seed : int
        Resamples of the cases for the 95 % intervals.
    compare : path, optional
        A manifest with the same cases and another method's maps: adds the paired difference.
    name, compare_name : str
        What the two methods are called in tables and picture.
    vessel_names : mapping, optional
        Value of each vessel in the column ``vessels``, or what the file calls it.
    overwrite : bool
        Whether other files at the places of the new ones are replaced; never those that are read.
    progress, cancel
        Called, and checked, for every case.

    Returns
    -------
    dict
        The content of ``summary.json``: each metric's mean with its interval; distances in degrees, CRPS in mm³.

    Raises
    ------
    InputError
        If a manifest or a file in it cannot be used; row and file are named.
    """
    from twintrack.studies.evaluate.run import evaluate_manifest

    folder = evaluate_manifest(
        manifest,
        out,
        bootstrap=bootstrap,
        seed=seed,
        compare=compare,
        name=name,
        compare_name=compare_name,
        vessel_names=vessel_names,
        overwrite=overwrite,
        progress=progress,
        cancel=cancel,
    )
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return summary


def measure_vessels(
    probability: Volume | str | Path,
    vessels: Volume | str | Path,
    names: Mapping[str, int | str] | None = None,
    *,
    rules: str = "nccn",
    contact_mm: float | None = None,
    calibrator: Calibrator | str | Path | None = None,
    result: Result | None = None,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> InvasionResult:
    """Measure how far the tumour wraps around each vessel, at every probability level.

    Parameters
    ----------
    probability : Volume or path
        Expected fraction of raters who mark each voxel, in [0, 1], (z, y, x); or a pooled score, with `calibrator`.
    vessels : Volume or path
        Label map of whole numbers in the same place.
    names : mapping of str to int
        Value of each vessel in `vessels`; `VESSEL_VALUES` is the numbering of the CURVAS challenge and the phantoms.
        Never guessed: another map's 1 may be a spleen. A file may hold its own names.
    rules : str
        Rule set for the contact pattern: ``nccn``, ``ahpba``, ``alliance`` or ``dpcg``.
    contact_mm : float, optional
        Distance in mm from a vessel's lumen within which tumour touches it, from 0.5 to 5; the run's, or the program's
        own, if not given.
    calibrator : Calibrator or path, optional
        Gives calibrated statements for a score that is known to come from the networks they were calibrated for: a file
        with its ``result.json`` beside it, or the `score` of `result`. Anything else is read as a map, and
        `InvasionResult.statements_note` says so.
    result : Result, optional
        What the score, and perhaps the vessels, are part of.
    progress, cancel
        Called, and checked, once a vessel.

    Returns
    -------
    InvasionResult
        Angles in degrees (0 to 360), lengths in mm, fractions of raters in [0, 1]; what could not be measured is None,
        with a reason.

    Raises
    ------
    InputError
        If the volumes do not lie in the same place, a value is not allowed, what is named cannot be that vessel, or a
        file cannot be read.

    Examples
    --------
    >>> import twintrack as tt
    >>> case = tt.make_phantom(7)
    >>> found = tt.measure_vessels(case.true_mhr, case.vessels, tt.VESSEL_VALUES)
    >>> all(0 <= angle <= 360 for angle in found.vessels["SMV"].angle_deg)
    True
    """
    from twintrack.calibration import read_calibrator
    from twintrack.invasion.measure import check_names, checked_labels
    from twintrack.invasion.plausible import plausible_vessels
    from twintrack.io.volumes import read_volume
    from twintrack.pipeline import read_vessels
    from twintrack.results.measure_again import measure_volume, score_key

    own = None
    if isinstance(vessels, Volume):
        own = None if result is None or result.vessel_map is None else _is_of(vessels, result.vessel_map)
    key, contact_mm = score_key(
        probability if not isinstance(probability, Volume) else None,
        vessels if not isinstance(vessels, Volume) else None,
        contact_mm,
        summary=result.summary if result is not None and _is_of(probability, result.score) else None,
        predicted=bool(own),
    )
    if not isinstance(probability, Volume):
        probability = read_volume(probability)
    if isinstance(vessels, Volume):
        values = _whole_values(names)
        check_names(values)
        vessels, notes = plausible_vessels(checked_labels(vessels), values)
    else:
        vessels, values, notes = read_vessels(vessels, names, probability.geometry)  # type: ignore[assignment]
    found = measure_volume(
        probability,
        vessels,
        values,
        contact_mm=contact_mm,
        rules=rules,
        calibrator=calibrator
        if calibrator is None or not isinstance(calibrator, str | Path)
        else read_calibrator(calibrator),
        key=key,
        progress=progress,
        cancel=cancel,
    )
    return dataclasses.replace(found, warnings=(*notes, *found.warnings))


def _is_of(given: Volume | str | Path, own: Volume | None) -> bool:
    """Tell whether a volume is one of a result's."""
    import numpy as np

    if own is None or not isinstance(given, Volume):
        return False
    return given is own or (given.geometry.same_grid(own.geometry) and np.array_equal(given.array, own.array))


def _whole_values(names: Mapping[str, int | str] | None) -> dict[str, int]:
    """Return label values; a volume in memory has no names of its own."""
    if names is None:
        raise InputError(
            "say which value of the vessel map is which vessel, for example {'SMA': 5}", code="vessel-names-missing"
        )
    return dict(names)  # type: ignore[arg-type]  # `check_names` refuses what is no number
