"""A site's own calibrator: cases add up in a sketch on disk, from which the calibrator is fitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from twintrack.errors import InputError
from TwinTrackSegLib.mrml.result.Correction import vesselLabels
from TwinTrackSegLib.mrml.result.ResultLoader import scoreOf
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult
from TwinTrackSegLib.mrml.site.Raters import Rater, raterMasks

if TYPE_CHECKING:
    from twintrack.calibration.statements import StatementTable
    from twintrack.volume import Volume

__all__ = ["FEWEST_CASES", "FIT_NEEDS", "SiteCases"]

FIT_NEEDS = ("scikit-learn",)
"""The packages, beside those that Slicer ships, that `SiteCases.fit` takes."""


FEWEST_CASES = 2
"""Fewer are refused, as by `twintrack.studies.calibrate.FEWEST_CASES`, which is costly to import."""


class SiteCases:
    """The cases that a site has added so far.

    Only sums over voxels are stored with the names of the raters, no image and nothing that names a patient.

    Parameters
    ----------
    path : Path
        File of the sketch; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._counted: tuple[tuple[int, int], int] | None = None

    @property
    def number(self) -> int:
        """How many cases there are.

        Raises
        ------
        InputError
            If the file is damaged.
        """
        if not self.path.is_file():
            return 0
        from twintrack.calibration import load_sketch

        stat = self.path.stat()
        version = (stat.st_mtime_ns, stat.st_size)
        if self._counted is None or self._counted[0] != version:
            self._counted = (version, load_sketch(self.path).cases)
        return self._counted[1]

    def add(self, result: SceneResult, raters: Sequence[Rater]) -> int:
        """Add the score of `result` with `raters`; return how many cases there are now.

        Raises
        ------
        InputError
            If the score was not asked for, the case is there already, or no rater is given.
        """
        return self.addStep(result, raters)()

    def addStep(self, result: SceneResult, raters: Sequence[Rater]) -> Callable[[], int]:
        """Return what does, without the scene, what `add` does.

        Raises
        ------
        InputError
            If the score was not asked for, or no rater is given.
        """
        from twintrack.calibration import load_sketch

        score = scoreOf(result.nodes)
        if score is None:
            raise InputError(
                "the networks' own score was not kept with this result; tick 'Keep the score' under Set-up and "
                "segment again",
                code="score-not-kept",
            )
        known = load_sketch(self.path).rater_names if self.path.is_file() else ()
        masks = raterMasks(raters, result.nodes.ct, known)
        vessels = vesselLabels(result) if result.nodes.segmentation is not None else None
        return partial(_addCase, self.path, score, masks, result.record.invasion, vessels)

    def fitStep(self, out: str | Path, bundle: str | Path | None = None) -> Callable[[], tuple[str, ...]]:
        """Return what does what `fit` does."""
        return partial(SiteCases(self.path).fit, out, bundle)

    def fit(self, out: str | Path, bundle: str | Path | None = None) -> tuple[str, ...]:
        """Fit a calibrator on all cases and write it to `out`; return what its user must be warned of.

        What it says of vessels shrinks to the statements of `bundle`, where that has some of the same networks.

        Raises
        ------
        InputError
            If there are fewer than two cases.
        OutputError
            If the file cannot be written.
        """
        from twintrack.calibration import load_sketch, write_calibrator
        from twintrack.studies.calibrate import bundle_statements, fit_sketch

        if not self.path.is_file():
            raise InputError(
                "no case has been added yet; a calibrator needs at least 2, and 10 or more to be trusted",
                code="too-few-cases",
            )
        sketch = load_sketch(self.path)
        prior = None if sketch.statements is None else bundle_statements(bundle)
        calibrator = fit_sketch(sketch, prior=prior, where="the added cases")
        write_calibrator(calibrator, out)
        return calibrator.warnings


def _addCase(
    path: Path,
    score: Volume,
    masks: Mapping[str, Volume],
    invasion: Mapping[str, Any],
    vessels: tuple[Volume, dict[str, int]] | None,
) -> int:
    from twintrack.calibration import ScoreSketch, load_sketch, save_sketch

    sketch = ScoreSketch.of_case(score.array, {name: mask.array for name, mask in masks.items()})
    sketch.statements = _statements(invasion, vessels, score, masks, sketch.case_keys)
    if path.is_file():
        before = load_sketch(path)
        sketch = before + sketch
        if sketch.repeated_cases > before.repeated_cases:
            raise InputError("this case has already been added; add another one", code="case-added-before")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_sketch(sketch, path, overwrite=True)  # the module's own file, of earlier versions too
    return sketch.cases


def _statements(
    invasion: Mapping[str, Any],
    drawn: tuple[Volume, dict[str, int]] | None,
    score: Volume,
    masks: Mapping[str, Volume],
    keys: Sequence[int],
) -> StatementTable | None:
    """Return what the raters say of each vessel, as the vessels are in the scene; None without vessels or networks.

    The vessels are the result's own, corrected where the user has corrected them: nobody draws them twice.
    """
    from twintrack.calibration.statements import StatementKey, StatementTable
    from twintrack.invasion import score_levels
    from twintrack.invasion.statement_case import statement_case

    networks, source = invasion.get("networks_sha256"), invasion.get("vessel_source")
    if not networks or not source or not keys or drawn is None:
        return None
    vessels, names = drawn
    if not names:
        return None
    key = StatementKey(networks, source, float(invasion["contact_mm"]))
    searched = score.with_array((score.array > 0).astype(np.uint8))
    levels = score_levels(score, vessels, names, contact_mm=key.contact_mm, searched=searched)
    case = statement_case(score, levels, masks, vessels, names, contact_mm=key.contact_mm)
    return StatementTable(key, {keys[-1]: case})
