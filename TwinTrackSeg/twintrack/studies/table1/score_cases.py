"""Going through the cases of an experiment one by one: score, fit, measure, and keep what is done."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from twintrack import __version__
from twintrack.calibration import calibrator_to_json
from twintrack.errors import RoiError, locating
from twintrack.labels import VESSEL_VALUES
from twintrack.progress.callbacks import CancelToken, Progress
from twintrack.settings import SegmentSettings
from twintrack.studies.table1.cache import ExperimentStore, VoxelSample, content_key
from twintrack.studies.table1.cases import StudyCase, StudyVolumes
from twintrack.studies.table1.report import UNCALIBRATED, TestScores
from twintrack.studies.table1.vessel_statements import CaseVessels, case_vessels
from twintrack.volume import Volume

if TYPE_CHECKING:
    from twintrack.bundle.model_bundle import Bundle
    from twintrack.calibration import Calibrator, ScoreSketch
    from twintrack.inference import NetworkStore
    from twintrack.pipeline import Segmentation

__all__ = ["ExperimentRun"]

RELIABILITY_BINS = 50
"""Uniform bins of the reliability curve, as in the protocol."""

METRICS = 2
"""Counted up when a metric gets another definition or name, so that kept numbers are not mixed with new ones."""

VESSELS = 1
"""Counted up when what is kept of a case's vessels changes its meaning."""

_log = logging.getLogger(__name__)


class ExperimentRun:
    """The parts of an experiment that all cases share.

    Parameters
    ----------
    bundle : Bundle
        The segmenter.
    networks : NetworkStore
        Keeps its networks over all cases.
    store : ExperimentStore
        What is already done.
    device : str
        Where the networks run, as `networks` was told.
    cancel : CancelToken
        Checked before every case and every row.
    """

    def __init__(
        self,
        bundle: Bundle,
        networks: NetworkStore,
        store: ExperimentStore,
        *,
        device: str,
        cancel: CancelToken,
    ) -> None:
        self._bundle, self._networks, self._store = bundle, networks, store
        self._device, self._cancel = device, cancel
        self._vessels: dict[str, CaseVessels] = {}

    def vessels_of(self, cases: Sequence[StudyCase]) -> dict[str, CaseVessels]:
        """Return what is known of the vessels of cases that are done, by name; none of cases without a reference."""
        return {case.name: self._vessels[case.content] for case in cases if case.content in self._vessels}

    def sketch(self, cases: Sequence[StudyCase], progress: Progress) -> ScoreSketch:
        """Score the calibration cases and add them up."""
        from twintrack.calibration import ScoreSketch

        sketch = ScoreSketch.empty()
        for number, case in enumerate(cases):
            self._begin(number, cases, "calibrating on", progress)
            key = self._key(case)
            sample = self._store.sample(case.name, key)
            if sample is None or not self._knows_vessels(case):
                volumes = case.read()
                sample = VoxelSample.of(self._segment(case, volumes), volumes.annotations)
                self._store.keep_sample(case.name, key, sample)
            sketch = sketch + ScoreSketch.of_case(sample.score, sample.marks)
        return sketch

    def score(
        self, cases: Sequence[StudyCase], calibrators: Mapping[str, Calibrator], progress: Progress
    ) -> list[TestScores]:
        """Score the test cases and compute the metrics of every row."""
        texts = (json.dumps(calibrator_to_json(calibrator)) for calibrator in calibrators.values())
        fitted = content_key(METRICS, *texts)
        found = []
        for number, case in enumerate(cases):
            self._begin(number, cases, "testing on", progress)
            key = content_key(self._key(case), fitted)
            record = self._store.record(case.name, key)
            if record is None or not self._knows_vessels(case):
                record = self._measure(case, calibrators)
                self._store.keep_record(case.name, key, record)
            found.append(TestScores(case.name, record["rows"], record["reliability"]))
        return found

    def _begin(self, number: int, cases: Sequence[StudyCase], what: str, progress: Progress) -> None:
        self._cancel.check()
        message = f"{what} {cases[number].name} ({number + 1} of {len(cases)})"
        _log.info("%s", message)
        progress(number / len(cases), message)

    def _key(self, case: StudyCase) -> str:
        return content_key(case.content, self._bundle.sha256, __version__)

    def _segment(self, case: StudyCase, volumes: StudyVolumes) -> Volume:
        """Return the pooled score; 0 everywhere where stage 1 finds no organ, as a radiologist would get it."""
        from twintrack.pipeline import segment

        settings = SegmentSettings(calibrate=False, device=self._device)
        found: Segmentation | None = None
        try:
            found = segment(volumes.ct, self._bundle, settings, store=self._networks, cancel=self._cancel)
        except RoiError as error:
            _log.warning("%s: %s; its map is empty", case.where, error)
        vessels = case_vessels(found, volumes, self._cancel)
        stored = {"vessels": None if vessels is None else vessels.to_json()}
        self._store.keep_record(case.name, self._vessel_key(case), stored)
        if vessels is not None:
            self._vessels[case.content] = vessels
        return volumes.ct.with_array(np.zeros(volumes.ct.array.shape, np.float32)) if found is None else found.score

    def _vessel_key(self, case: StudyCase) -> str:
        return content_key(self._key(case), "vessels", VESSELS)

    def _knows_vessels(self, case: StudyCase) -> bool:
        """Look up what is kept of a case's vessels; tell whether it is there."""
        stored = self._store.record(case.name, self._vessel_key(case))
        if stored is None:
            return False
        try:
            if stored["vessels"] is not None:
                self._vessels[case.content] = CaseVessels.from_json(stored["vessels"])
        except (KeyError, TypeError, ValueError):
            return False
        return True

    def _measure(self, case: StudyCase, calibrators: Mapping[str, Calibrator]) -> dict[str, Any]:
        """Return the metrics and the reliability of every row for one case."""
        from twintrack.calibration import ScoreSketch
        from twintrack.metrics import evaluate_case

        volumes, key = case.read(), self._key(case)
        score = self._store.score(case.name, key)
        if score is None or not self._knows_vessels(case):
            score = self._segment(case, volumes)
            self._store.keep_score(case.name, key, score)
        sketch = ScoreSketch.of_case(score.array, {rater: mask.array for rater, mask in volumes.annotations.items()})
        rows, curves = {}, {}
        for name, calibrator in {UNCALIBRATED: None, **calibrators}.items():
            self._cancel.check()
            probability = score if calibrator is None else score.with_array(calibrator(score.array))
            with locating(where=case.where):
                metrics = evaluate_case(probability, volumes.annotations, volumes.vessels)
            rows[name] = metrics.row(tuple(VESSEL_VALUES))
            curves[name] = _reliability(sketch, calibrator)
        return {"rows": rows, "reliability": curves}


def _reliability(sketch: ScoreSketch, calibrator: Calibrator | None) -> dict[str, list[float]]:
    """Return a reliability curve as sums over voxels, which add up over cases."""
    from twintrack.calibration import reliability_curve

    if sketch.voxels == 0:  # an empty map has no curve
        return {name: [0.0] * RELIABILITY_BINS for name in ("counts", "score", "mhr")}
    curve = reliability_curve(sketch, calibrator, bins=RELIABILITY_BINS)
    score, mhr = (np.nan_to_num(mean) * curve.counts for mean in (curve.score, curve.mhr))
    return {"counts": curve.counts.tolist(), "score": score.tolist(), "mhr": mhr.tolist()}
