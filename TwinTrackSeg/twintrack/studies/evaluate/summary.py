"""The numbers of an evaluation: means over cases with intervals, by tumour size, and of all lesions together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twintrack import __version__
from twintrack.studies.evaluate.vessel_statements import VesselEvaluation, summarize_vessels
from twintrack.studies.table_format import METHOD_NAMES, SHOWN
from twintrack.system.paths import file_sha256

if TYPE_CHECKING:
    from twintrack.calibration import ScoreSketch
    from twintrack.metrics import BootstrapMean, CandidatePool

__all__ = ["CohortScores", "difference_means", "metric_means", "summarize_cohort"]

STRATA_NOTE = (
    "A tumour's size is the diameter of the ball with the mean volume of the raters' masks; ranges as in the T "
    "categories of pancreatic cancer (AJCC, 8th edition): 20 mm are 4.19 mL, 40 mm are 33.51 mL."
)


@dataclass(frozen=True)
class CohortScores:
    """The metrics of all cases of a manifest.

    Attributes
    ----------
    manifest : Path
        Where the cases stand.
    cases : tuple of str
        Their names in the manifest's order.
    columns : tuple of str
        Names of the metrics.
    table : numpy.ndarray
        float64 (case, metric); NaN where a metric is undefined.
    candidates : CandidatePool
        The lesion candidates of each case.
    sketches : dict
        Sketch of ``probability`` over all cases and, where every case has one, of ``score``.
    warnings : tuple of str
        What a reader of the numbers has to know.
    assumed : str
        How the manifest was read, see `twintrack.io.manifest.ManifestRows`.
    vessels : tuple of VesselEvaluation
        What readers, and the results beside the maps, say of the reference vessels of each case.
    """

    manifest: Path
    cases: tuple[str, ...]
    columns: tuple[str, ...]
    table: NDArray[np.float64]
    candidates: CandidatePool
    sketches: dict[str, ScoreSketch]
    warnings: tuple[str, ...]
    assumed: str = ""
    vessels: tuple[VesselEvaluation, ...] = ()

    def values(self, cases: Sequence[str]) -> NDArray[np.float64]:
        """Return the metrics as float64 (case, metric) in the order of `cases`; NaN where one is undefined."""
        if cases == self.cases:
            return self.table
        places = {case: place for place, case in enumerate(self.cases)}
        return self.table[[places[case] for case in cases]]


def _mean_json(mean: BootstrapMean | None) -> dict[str, Any] | None:
    """Return a mean as JSON values."""
    return None if mean is None else asdict(mean)


def summarize_cohort(
    ours: CohortScores, other: CohortScores | None, resamples: int, seed: int, names: tuple[str, str] = METHOD_NAMES
) -> dict[str, Any]:
    """Return the content of ``summary.json``; `names` are those of the method and of the compared one."""
    values = ours.values(ours.cases)
    summary = {
        "schema": 1,
        "version": __version__,
        "name": names[0],
        "manifest": _source(ours),
        "cases": len(ours.cases),
        "bootstrap": resamples,
        "seed": seed,
        "metrics": metric_means(ours.columns, values, resamples, seed),
        "strata": _strata(ours, values, resamples, seed),
        "detection": _detection(ours, resamples, seed),
        "vessels": summarize_vessels(ours.vessels),
        "warnings": list(ours.warnings),
    }
    if other is not None:
        others = other.values(ours.cases)
        summary["compare"] = {
            "name": names[1],
            "manifest": _source(other),
            "metrics": metric_means(ours.columns, others, resamples, seed),
            "difference": difference_means(ours.columns, {"": values - others}, resamples, seed)[""],
            "detection": _detection(other, resamples, seed),
            "vessels": summarize_vessels(other.vessels),
        }
    return summary


def metric_means(
    columns: Sequence[str], values: NDArray[np.float64], resamples: int, seed: int
) -> dict[str, dict[str, Any] | None]:
    """Return the bootstrap mean of every column of float64 (case, metric) as JSON values; None where no case has it."""
    from twintrack.metrics import bootstrap_means

    found = bootstrap_means(values, resamples=resamples, seed=seed)
    return {name: _mean_json(mean) for name, mean in zip(columns, found, strict=True)}


def difference_means(
    columns: Sequence[str], differences: Mapping[str, NDArray[np.float64]], resamples: int, seed: int
) -> dict[str, dict[str, dict[str, Any] | None]]:
    """Return the bootstrap means of paired differences by row; the columns that tables show have p-values as well.

    ``p_value`` is that of `paired_p_value`, None with too few cases; ``p_adjusted`` counts in how many there are in all
    rows together.
    """
    from twintrack.metrics.paired_test import holm, paired_p_value

    found = {row: metric_means(columns, values, resamples, seed) for row, values in differences.items()}
    chances = {
        (row, name): paired_p_value(differences[row][:, place], resamples=resamples, seed=seed)
        for row in differences
        for place, name in enumerate(columns)
        if name in SHOWN
    }
    for (row, name), adjusted in holm(chances).items():
        mean = found[row][name]
        if mean is not None:
            mean |= {"p_value": chances[row, name], "p_adjusted": adjusted}
    return found


def _strata(scores: CohortScores, values: NDArray[np.float64], resamples: int, seed: int) -> dict[str, Any]:
    """Return the means of each range of tumour sizes that has a case."""
    from twintrack.metrics import STRATA

    sizes_ml = values[:, scores.columns.index("raters_ml")]
    parts = []
    for stratum in STRATA:
        chosen = np.array([stratum.holds(size) for size in sizes_ml])
        if chosen.any():
            means = metric_means(scores.columns, values[chosen], resamples, seed)
            cases = [case for case, there in zip(scores.cases, chosen, strict=True) if there]
            parts.append({"name": stratum.name, "cases": len(cases), "names": cases, "metrics": means})
    return {"note": STRATA_NOTE, "parts": parts}


def _detection(scores: CohortScores, resamples: int, seed: int) -> dict[str, Any]:
    """Return the detection calibration error of the candidates of all cases together."""
    from twintrack.metrics.bootstrap import case_weights, summarize
    from twintrack.metrics.detection import BINS, detection_ece

    pool = scores.candidates
    if pool.candidates == 0:
        return {"candidates": 0, "d_ece": None}
    raters = pool.raters
    gaps, counts = np.zeros((resamples, len(raters), BINS)), np.zeros((resamples, len(raters)))
    for rows, block, weights in case_weights(pool.cases, resamples=resamples, seed=seed):
        of_cases, in_cases = pool.sums(block, raters)
        gaps[rows] += np.tensordot(weights, of_cases, axes=1)
        counts[rows] += weights @ in_cases
    all_gaps, all_counts = pool.sums(slice(0, pool.cases), raters)
    error = float(detection_ece(all_gaps.sum(axis=0), all_counts.sum(axis=0)))
    return {
        "candidates": pool.candidates,
        "d_ece": _mean_json(summarize(error, detection_ece(gaps, counts), pool.cases)),
    }


def _source(scores: CohortScores) -> dict[str, str]:
    source = {"name": scores.manifest.name, "sha256": file_sha256(scores.manifest)}
    return source | {"read": scores.assumed} if scores.assumed else source
