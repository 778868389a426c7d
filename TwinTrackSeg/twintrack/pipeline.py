"""The way through the engine, and the only place that knows its order.

read -> localize -> ensemble -> calibrate -> measure -> write. Stages work on the CT turned to LPS axes; everything that
leaves this module lies on the input's own grid again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twintrack.bundle.suitability import assess
from twintrack.errors import BundleError, InputError, locating
from twintrack.imaging.boxes import grown
from twintrack.imaging.label_grid import fit_labels
from twintrack.imaging.lesions import Lesion, VolumeReadout, edge_notes, find_lesions, read_volumes
from twintrack.io.vessel_classes import are_classes, read_vessel_classes
from twintrack.io.vessel_maps import read_vessel_map
from twintrack.labels import VESSEL_VALUES, structure_of
from twintrack.progress.callbacks import CancelToken, Progress, no_progress, part
from twintrack.progress.stages import Stages
from twintrack.settings import SegmentSettings
from twintrack.volume import Geometry, Volume

if TYPE_CHECKING:
    from twintrack.bundle.model_bundle import Bundle
    from twintrack.calibration import Calibrator
    from twintrack.inference import EnsembleResult, MemberMap, NetworkStore, RaterMaps, Roi, SampleSet
    from twintrack.invasion import InvasionResult, ScoreLevels
    from twintrack.invasion.naming import NamedVessels
    from twintrack.invasion.result_statements import ResultStatements

__all__ = [
    "DEMO_WARNING",
    "EXPECTED_S",
    "NOT_NAMED",
    "RAW_WARNING",
    "VESSEL_THREADS",
    "Segmentation",
    "chosen_calibrator",
    "named_by_anatomy",
    "read_vessels",
    "segment",
]

DEMO_WARNING = "Demo bundle: it knows synthetic phantoms only; on a patient's CT its result means nothing."
NOT_NAMED = (
    "Vessels are not named by anatomy, as asked for (name_vessels off): arteries and veins are measured as classes, no "
    "vessel is assessed by its name, and there is no contact pattern."
)
RAW_WARNING = "Not calibrated: values are network scores, not expected fractions of readers."
"""Warnings of a result that a report puts at its top in other words, and must not say twice."""

EXPECTED_S = {"import": 1.0, "localize": 1.0, "ensemble": 3.0, "calibrate": 0.02, "measure": 1.6}
"""Wall seconds of each stage on a processor with two cores, for the progress bar until a stage's own progress tells."""

EDGE_VOXELS = 4
"""Voxels kept around all that can matter when something is cut out."""

VESSEL_THREADS = 2
"""Vessels measured at a time: more gain little, as Python's own steps wait for each other."""

ENSEMBLE_TO_LOCALIZE = 3.0
"""How many times longer the ensemble takes than stage 1 did."""


@dataclass(frozen=True)
class Segmentation:
    """What the engine found, on the input's own grid.

    Attributes
    ----------
    probability : Volume
        Calibrated map, float32 in [0, 1]: expected fraction of raters; 0 outside the ROI.
    score : Volume
        Pooled uncalibrated score, float32 in [0, 1]; 0 outside the ROI.
    labels : Volume
        uint8: tumour at the threshold, then predicted vessels.
    label_names : dict
        Value of each name in `labels`.
    vessels : Volume or None
        uint8: the predicted vessels, whole where tumour and vessel overlap; none where the bundle predicts no vessel.
    vessel_names : dict
        Value of each name in `vessels`.
    roi_start, roi_stop : tuple of int
        The ROI's box on the input's grid, (x, y, z) voxel index, end exclusive.
    volumes, lesions
        Readouts at the working threshold.
    statements : ResultStatements
        What is said of readers beside the vessels: whether there is tumour, and how much.
    levels : dict of str to ScoreLevels or None
        What the score says of each vessel: see `twintrack.invasion.score_levels`.
    invasion : InvasionResult, optional
        Vessel readouts; none when no vessel is known.
    calibrator : Calibrator, optional
        The applied map; none when the score was left uncalibrated.
    expected_volume_ml : tuple of float, optional
        Interval of the expected volume over the choice of the calibration cases; none without a calibrator's band.
    engine : dict
        How the networks ran: ``device``, ``backend``, ``members``, ``tiles`` looked at, ``skipped_tiles`` and ``notes``
        on every step away from the first choice.
    suitability : dict
        How the CT compares with those that the bundle was made with: see `twintrack.bundle.suitability`.
    warnings : tuple of str
        What the reader of the result must know.
    seconds : dict
        Wall time of each stage; what was done before the first one, such as opening the bundle, counts for it.
    raters : RaterMaps, optional
        What each single rater would draw; none where that was not asked for.
    samples : SampleSet, optional
        Outlines that raters might draw; none where they were not asked for.
    naming : NamedVessels, optional
        Names by anatomy, where only arteries and veins were known.
    named_vessels : Volume, optional
        Their map.
    """

    probability: Volume
    score: Volume
    labels: Volume
    label_names: dict[str, int]
    vessels: Volume | None
    vessel_names: dict[str, int]
    roi_start: tuple[int, int, int]
    roi_stop: tuple[int, int, int]
    volumes: VolumeReadout
    lesions: tuple[Lesion, ...]
    statements: ResultStatements
    levels: dict[str, ScoreLevels | None]
    invasion: InvasionResult | None
    calibrator: Calibrator | None
    expected_volume_ml: tuple[float, float] | None
    engine: dict[str, Any]
    suitability: dict[str, Any]
    warnings: tuple[str, ...]
    seconds: dict[str, float] = field(default_factory=dict)
    raters: RaterMaps | None = None
    samples: SampleSet | None = None
    naming: NamedVessels | None = None
    named_vessels: Volume | None = None


def segment(
    ct: Volume,
    bundle: Bundle,
    settings: SegmentSettings | None = None,
    *,
    store: NetworkStore | None = None,
    threads: int = VESSEL_THREADS,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
    stages: Stages | None = None,
) -> Segmentation:
    """Segment a CT.

    Parameters
    ----------
    ct : Volume
        HU on any grid.
    bundle : Bundle
        The opened model bundle.
    settings : SegmentSettings, optional
        Options; vessels given there must lie in the CT's place.
    store : NetworkStore, optional
        Keeps the networks for the next run.
    threads : int
        Vessels measured at a time; 1 where other cases have the other processors.
    progress, cancel
        Called, and checked, for every tile and step.
    stages : Stages, optional
        Of a longer run that these stages are a part of; takes the place of `progress`.

    Raises
    ------
    RoiError
        If stage 1 finds no organ or the given box does not fit.
    InputError, BundleError
        If the CT, the vessels or the bundle cannot be used.
    Cancelled
        If `cancel` was triggered.
    """
    settings = settings or SegmentSettings()
    cancel = cancel or CancelToken()
    stages = stages or Stages(progress, EXPECTED_S)
    with stages.stage("read"):
        if settings.rater_maps:
            bundle.check_tells_raters()
        if settings.samples:
            bundle.check_draws_samples()
        given_vessels = _given_vessels(ct, settings)
        calibrator = chosen_calibrator(bundle, settings.calibrator) if settings.calibrate else None
        turned = ct.to_lps()
    with stages.stage("import"):
        from twintrack.inference import SKIP_BELOW, NetworkStore, RaterMaps, SampleSet, import_packages, score_ensemble
        from twintrack.invasion.result_statements import result_statements

        if store is None:
            store = NetworkStore(settings.device, settings.backend, keep=False)
        else:
            store.start(settings.device, settings.backend)
        import_packages()
    with stages.stage("localize") as report:
        roi = _roi(turned, ct, bundle, settings, store, progress=report, cancel=cancel)
    if settings.roi == "auto":
        stages.expect("ensemble", ENSEMBLE_TO_LOCALIZE * stages.seconds["localize"])
    with stages.stage("ensemble") as report:
        skip_below = 0.0 if settings.every_tile else SKIP_BELOW
        found = score_ensemble(
            turned,
            roi,
            bundle,
            store=store,
            skip_below=skip_below,
            keep_each=True,
            each_vessels=given_vessels is None,
            keep_raters=settings.rater_maps,
            samples=settings.samples,
            progress=report,
            cancel=cancel,
        )
    with stages.stage("calibrate") as report:
        report(0.0, "calibrating")
        probability = _calibrated(found.score, calibrator, roi, turned)
    cancel.check()
    with stages.stage("measure") as report:
        predicted = (found.vessels_volume(turned.geometry), found.vessel_values)
        vessels, names, notes = given_vessels or (*predicted, ())
        naming: NamedVessels | None = None
        if vessels is not None:
            vessels, names, naming, told = named_by_anatomy(vessels, names, settings.name_vessels)
            notes += told
        score = found.score_volume(turned.geometry)
        # On a large CT each of these is as large: the score is held once, and a member until it is measured.
        members, found = list(found.each), replace(found, score=score.array[roi.slices], each=())
        said = None if calibrator is None else calibrator.statements
        invasion: InvasionResult | None = None
        levels: dict[str, ScoreLevels | None] = {}
        if vessels is not None:
            invasion, levels = _vessel_readout(
                _Maps(turned, found, members, calibrator, probability, score),
                vessels,
                names,
                settings,
                bundle,
                given=given_vessels is not None,
                naming=naming,
                threads=threads,
                progress=report,
                cancel=cancel,
            )
        map_on_grid = probability.restored_to(ct.geometry)
        whole = None if predicted[0] is None else predicted[0].restored_to(ct.geometry)
        labels, label_names = _label_map(map_on_grid, (whole, predicted[1]), ct, settings)
        suitability = assess(turned, bundle, vessels, names, disagreement_ml=found.disagreement_ml)
        cancel.check()
        start, stop = _box_on(ct, turned, roi)
        score_on_grid = score.restored_to(ct.geometry)
        statements = result_statements(score_on_grid, bundle.networks_sha256, said)
        reached = None if calibrator is None else calibrator.reached
        volumes = read_volumes(map_on_grid, settings.threshold, reached=reached)
        lesions = statements.told(find_lesions(map_on_grid, settings.threshold, score_on_grid))
        expected_volume_ml = _expected_volume_ml(calibrator, found.score, probability, roi)
        at_edge = edge_notes(probability, settings.threshold)
        raters = None
        if found.rater_spread is not None:
            raters = RaterMaps(roi, turned.geometry, ct.geometry, found.rater_maps, found.rater_spread)
        samples = None
        if found.samples is not None:
            samples = SampleSet(roi, turned.geometry, ct.geometry, found.samples, settings.samples)
    return Segmentation(
        probability=map_on_grid,
        score=score_on_grid,
        labels=labels,
        label_names=label_names,
        vessels=whole,
        vessel_names={} if whole is None else dict(predicted[1]),
        roi_start=start,
        roi_stop=stop,
        volumes=volumes,
        lesions=lesions,
        statements=statements,
        levels=levels,
        invasion=invasion,
        calibrator=calibrator,
        expected_volume_ml=expected_volume_ml,
        engine=found.engine,
        suitability=suitability.to_json(),
        warnings=suitability.warnings
        + _warnings(bundle, calibrator, settings)
        + _unknown(volumes, calibrator, statements)
        + at_edge
        + notes,
        seconds=dict(stages.seconds),
        raters=raters,
        samples=samples,
        naming=naming,
        named_vessels=None if naming is None else naming.labels.restored_to(ct.geometry),
    )


def _roi(
    turned: Volume,
    ct: Volume,
    bundle: Bundle,
    settings: SegmentSettings,
    store: NetworkStore,
    *,
    progress: Progress,
    cancel: CancelToken,
) -> Roi:
    from twintrack.inference import localize, roi_box, roi_full

    if settings.roi == "auto":
        return localize(turned, bundle, store=store, progress=progress, cancel=cancel)
    if isinstance(settings.roi, str):
        return roi_full(turned.geometry)
    return roi_box(turned.geometry, settings.roi, given_on=ct.geometry)


def chosen_calibrator(bundle: Bundle, own: str | None) -> Calibrator:
    """Return the calibrator in the file `own`, or else the bundle's.

    Raises
    ------
    InputError, BundleError
        If there is none, it cannot be read, or it was fitted on scores that were pooled in another way.
    """
    from twintrack.calibration import read_calibrator

    path = bundle.calibrator_path if own is None else Path(own)
    if path is None:
        raise BundleError(
            "holds no calibrator; fit one, or ask for the raw score with --no-calibration",
            code="no-calibrator",
            path=bundle.path,
        )
    calibrator = read_calibrator(path)
    if calibrator.pooling != bundle.pooling:
        raise (BundleError if own is None else InputError)(
            f"{'its' if own is None else 'this'} calibrator was fitted on scores pooled by {calibrator.pooling}, the "
            f"bundle pools by {bundle.pooling}; fit a new one",
            code="calibrator-pooling",
            path=bundle.path if own is None else own,
        )
    return calibrator


def read_vessels(
    path: str | Path,
    names: Mapping[str, int | str] | None,
    grid: Geometry,
    *,
    default: Mapping[str, int] | None = None,
    judge: bool = True,
) -> tuple[Volume, Mapping[str, int], tuple[str, ...]]:
    """Read the given vessel map onto a grid; with its names, and what was done to it.

    Parameters
    ----------
    path : path
        Label map, DICOM-SEG or folder of masks.
    names : mapping, optional
        Value of each vessel, or what the file calls it.
    grid : Geometry
        Of the CT or the probability map.
    default : mapping, optional
        Values where nothing says which is which.
    judge : bool
        Whether stray voxels are left out, and what cannot be a vessel is refused; a reference is taken as it is.

    Raises
    ------
    InputError
        If it is no such map, nothing says which vessel is which, it lies elsewhere, or a vessel cannot be what it is
        called.
    """
    from twintrack.invasion.plausible import plausible_vessels

    read, values, notes = _vessels_or_classes(path, names, grid, default)
    with locating(path=path):
        labels, dropped = plausible_vessels(read, values) if judge else (read, ())
        fitted, warning = fit_labels(labels, grid, "the vessel map")
    return fitted, values, (*notes, *dropped, *(() if warning is None else (warning,)))


def _vessels_or_classes(
    path: str | Path, names: Mapping[str, int | str] | None, grid: Geometry, default: Mapping[str, int] | None
) -> tuple[Volume, Mapping[str, int], tuple[str, ...]]:
    """Read a map of named vessels, or one that knows arteries and veins alone."""
    if names and are_classes(names) and all(structure_of(name) for name in names):
        classes = read_vessel_classes(path, names, grid)
    else:
        try:
            read = read_vessel_map(path, names, default, grid)
        except InputError as error:
            classes = read_vessel_classes(path, None, grid) if not names and error.code == "vessels-not-found" else None
            if classes is None:
                raise
        else:
            # The aorta alone is named where all else is in classes.
            classes = None if names or set(read.names) != {"AORTA"} else read_vessel_classes(path, None, grid)
            if classes is None:
                return read.labels, read.names, read.notes
    assert classes is not None
    return classes.labels, classes.names, ()


def named_by_anatomy(
    labels: Volume, names: Mapping[str, int], mode: str = "auto"
) -> tuple[Volume, Mapping[str, int], NamedVessels | None, tuple[str, ...]]:
    """Name the vessels of a map that knows arteries and veins alone; any other map stays as it is.

    Parameters
    ----------
    labels, names
        Label map (z, y, x), and the value of each of its vessels or classes.
    mode : str
        One of `twintrack.settings.NAME_VESSELS`; with ``off`` the classes are measured as they are.

    Returns
    -------
    tuple
        The map and the values of its vessels, what is known of the names, and sentences that a reader must see. Where
        no vessel gets a name the classes stay.
    """
    if not are_classes(names):
        return labels, names, None, ()
    if mode == "off":
        return labels, names, None, (NOT_NAMED,)
    from twintrack.invasion.naming import name_vessels, naming_sentence

    found = name_vessels(labels, {structure_of(name) or name: value for name, value in names.items()})
    notes = (naming_sentence(found), *found.warnings)
    return (found.labels, found.values, found, notes) if found.values else (labels, names, found, notes)


def _given_vessels(ct: Volume, settings: SegmentSettings) -> tuple[Volume, Mapping[str, int], tuple[str, ...]] | None:
    """Read the given vessel map on the CT's grid, turned to LPS axes; with its names and what was done to it."""
    from twintrack.invasion import check_rules

    check_rules(settings.rules)
    if settings.vessels is None:
        return None
    fitted, names, notes = read_vessels(
        settings.vessels, settings.vessel_names, ct.geometry, default=VESSEL_VALUES if settings.curvas_numbers else None
    )
    return fitted.to_lps(), names, notes


@dataclass(frozen=True)
class _Maps:
    """A CT in LPS axes, what the networks said of it, and the maps on its grid; `members` go as they are measured."""

    ct: Volume
    found: EnsembleResult
    members: list[MemberMap]
    calibrator: Calibrator | None
    probability: Volume
    score: Volume


def _vessel_readout(
    maps: _Maps,
    vessels: Volume,
    names: Mapping[str, int],
    settings: SegmentSettings,
    bundle: Bundle,
    *,
    given: bool,
    naming: NamedVessels | None,
    threads: int,
    progress: Progress,
    cancel: CancelToken,
) -> tuple[InvasionResult, dict[str, ScoreLevels | None]]:
    """Measure the vessels in the map, in each member's map and in the score; say what readers are expected to say."""
    from twintrack.calibration.statements import StatementKey
    from twintrack.invasion import (
        DEFAULT_CONTACT_MM,
        measure_invasion,
        score_levels,
        with_member_range,
        with_statements,
    )

    contact_mm = bundle.contact_mm if settings.contact_mm is None else settings.contact_mm
    contact_mm = DEFAULT_CONTACT_MM if contact_mm is None else contact_mm
    roi = maps.found.roi
    searched = maps.ct.with_array(roi.paste(roi.mask, maps.ct.geometry))
    invasion = measure_invasion(
        maps.probability,
        vessels,
        names,
        contact_mm=contact_mm,
        rules=settings.rules,
        searched=searched,
        threads=threads,
        progress=part(progress, 0.0, 0.4),
        cancel=cancel,
    )
    if naming is not None:
        from twintrack.invasion.naming import with_names

        invasion = with_names(invasion, naming)
    # Before the members, which have vessels of their own: where these run is still known from the map.
    progress(0.4, "measuring the levels of the score")
    levels = score_levels(
        maps.score, vessels, names, contact_mm=contact_mm, searched=searched, threads=threads, cancel=cancel
    )
    # A member's own vessels end with the region; given ones go on, and are measured where they are whole. So are
    # vessels with a name by anatomy, which those of a single member would not all get.
    whole = given or naming is not None
    box = (slice(0, None),) * 3 if whole else _room_around(roi, maps.ct, contact_mm)
    members = _members(maps, box, vessels if whole else None, part(progress, 0.5, 1.0))
    invasion = with_member_range(invasion, members, names, searched=searched.cut(box), threads=threads, cancel=cancel)
    key = StatementKey(bundle.networks_sha256, "given" if given else "predicted", contact_mm)
    said = None if maps.calibrator is None else maps.calibrator.statements
    invasion = replace(invasion, measured_on="score" if maps.calibrator is None else "map")
    return with_statements(invasion, levels, said, key, float(maps.found.score.max(initial=0.0))), levels


def _calibrated(score: NDArray[np.floating], calibrator: Calibrator | None, roi: Roi, turned: Volume) -> Volume:
    """Return the map of a score (z, y, x) in the region's box, on the whole grid."""
    calibrated = calibrator(score) if calibrator else score
    # Outside the mask nothing was looked at: 0, whatever the calibrator gives for a score of 0.
    whole = np.zeros(turned.geometry.shape, dtype=np.float32)
    np.copyto(whole[roi.slices], calibrated, where=roi.mask)
    return turned.with_array(whole)


def _room_around(roi: Roi, ct: Volume, contact_mm: float) -> tuple[slice, slice, slice]:
    """Return the box (z, y, x) of all that can matter for vessels in the region.

    Where it ends before the CT does, it holds voxels that were not searched, as the CT does.
    """
    voxels = int(np.ceil(contact_mm / min(ct.geometry.spacing_mm))) + EDGE_VOXELS
    return grown(roi.slices, voxels, voxels, ct.array.shape)


def _members(
    maps: _Maps, box: tuple[slice, slice, slice], given: Volume | None, progress: Progress
) -> Iterator[tuple[Volume, Volume]]:
    """Yield the calibrated map of each member and its vessels, or the given ones, in a box (z, y, x) of the grid."""
    roi, ct = maps.found.roi.within(box), maps.ct.cut(box)
    count = len(maps.members)
    for number in range(count):
        progress(number / count, f"measuring contact for member {number + 1} of {count}")
        member = maps.members.pop(0)
        probability, vessels = _calibrated(member.score, maps.calibrator, roi, ct), given
        if vessels is None and member.vessels is not None:
            vessels = ct.with_array(roi.paste(member.vessels, ct.geometry))
        del member
        if vessels is not None:
            yield probability, vessels


def _label_map(
    probability: Volume, vessels: tuple[Volume | None, Mapping[str, int]], ct: Volume, settings: SegmentSettings
) -> tuple[Volume, dict[str, int]]:
    """Combine tumour (value 1, wins) and predicted vessels (2, 3, ...) on the input's grid."""
    labels, names = np.zeros(ct.array.shape, dtype=np.uint8), {"tumor": 1}
    if vessels[0] is not None:
        names |= {name: value for value, name in enumerate(vessels[1], start=2)}
    for number, (plane, tumor) in enumerate(zip(labels, probability.array, strict=True)):
        if vessels[0] is not None and (found := vessels[0].array[number]).any():
            for name, value in vessels[1].items():
                plane[found == value] = names[name]
        plane[tumor >= np.float32(settings.threshold)] = names["tumor"]
    return ct.with_array(labels), names


def _expected_volume_ml(
    calibrator: Calibrator | None, score: NDArray[np.float32], probability: Volume, roi: Roi
) -> tuple[float, float] | None:
    """Return the interval of the expected volume by the calibrator's band; the score (z, y, x) is that of the box."""
    if calibrator is None:
        return None
    interval = calibrator.sum_interval(score, probability.array[roi.slices], roi.mask)
    if interval is None:
        return None
    return interval[0] * probability.geometry.voxel_ml, interval[1] * probability.geometry.voxel_ml


def _box_on(ct: Volume, turned: Volume, roi: Roi) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return the ROI's box as start and stop (x, y, z) on the input's grid."""
    from twintrack.inference import map_box

    (i0, j0, k0), (i1, j1, k1) = roi.start, roi.stop
    a0, a1, b0, b1, c0, c1 = map_box((i0, i1, j0, j1, k0, k1), turned.geometry, ct.geometry)
    return (a0, b0, c0), (a1, b1, c1)


def _unknown(volumes: VolumeReadout, calibrator: Calibrator | None, statements: ResultStatements) -> tuple[str, ...]:
    """Say why percentiles of the volume are not known; nothing where they are told by a calibrated statement."""
    if statements.p10_ml is not None and statements.p90_ml is not None:
        return ()
    missing = {"10th": ("0.9", volumes.p10), "90th": ("0.1", volumes.p90)}
    return tuple(
        f"The {name} percentile of the volume is not known: it takes the map at {level}, which fewer than two bins of "
        f"the calibrator reach (its largest value is {calibrator.knots_y[-1]:.2f})."
        for name, (level, value) in missing.items()
        if value is None and calibrator is not None
    )


def _warnings(bundle: Bundle, calibrator: Calibrator | None, settings: SegmentSettings) -> tuple[str, ...]:
    warnings = []
    if bundle.demo:
        warnings.append(DEMO_WARNING)
    if calibrator is None:
        warnings.append(RAW_WARNING)
    else:
        warnings.extend(calibrator.warnings)
    if settings.roi != "auto":
        warnings.append("The region was given by hand; nothing checked that it holds the pancreas.")
    return tuple(warnings)
