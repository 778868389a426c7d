"""What the experiment says of vessels: readers' fractions as calibrated statements tell them, and as a map does.

For each case it is kept at which levels of the score the tumour reaches how far around each predicted vessel, and how
far it reaches around the reference vessel in each rater's own mask. Statements are fitted on the calibration cases; on
the test cases they stand beside what the calibrated map says at the same levels, what the bundle's own statements say,
and the raters' fraction for the vessel's name in the calibration cases, which knows nothing of the case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twintrack.calibration.statements import (
    ANGLES_DEG,
    CaseStatements,
    LevelCount,
    StatementKey,
    Statements,
    StatementTable,
    VesselCounts,
    fit_statements,
    lacking_cases,
)
from twintrack.calibration.statements.table import ANY_TUMOR
from twintrack.invasion import rater_contact
from twintrack.labels import JOINT_VEIN, VESSEL_VALUES
from twintrack.metrics.statement_scores import VesselReading, base_rates, statement_scores
from twintrack.progress.callbacks import CancelToken
from twintrack.studies.table1.cases import StudyVolumes
from twintrack.studies.table_format import markdown_rows

if TYPE_CHECKING:
    from twintrack.calibration import Calibrator
    from twintrack.pipeline import Segmentation

__all__ = ["CaseVessels", "VesselLevels", "case_vessels", "summarize_statements", "vessel_lines"]

METHODS = {
    "calibrated": "Statements calibrated on the calibration cases",
    "bundle": "The bundle's own statements",
    "map": "Read from the MHR map",
    "base_rate": "Fraction for the vessel's name",
}
"""Ways to tell a fraction of raters, as ``summary.json`` and the table name them."""


@dataclass(frozen=True)
class VesselLevels:
    """One vessel of one case.

    Attributes
    ----------
    over : tuple of float
        Highest level of the score at which contact exceeds each of `ANGLES_DEG`, never rising.
    far : int
        As `twintrack.invasion.ScoreLevels.far`.
    angles_deg : tuple of float
        Contact angle of each rater's own mask with the reference vessel.
    """

    over: tuple[float, ...]
    far: int
    angles_deg: tuple[float, ...]


@dataclass(frozen=True)
class CaseVessels:
    """The vessels of one case, as kept between runs.

    Attributes
    ----------
    contact_mm : float or None
        Distance within which tumour touches; None where no levels were measured.
    vessels : mapping of str to VesselLevels
        Vessels that the networks predict and the reference holds.
    lacking : tuple of str
        Vessels of the reference of which nothing is said, because the networks do not predict them or too little of
        them was searched.
    peak : float
        Largest score.
    marked, raters : int
        Raters who marked any tumour, and all.
    """

    contact_mm: float | None
    vessels: Mapping[str, VesselLevels]
    lacking: tuple[str, ...]
    peak: float
    marked: int
    raters: int

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        vessels = {name: [list(one.over), one.far, list(one.angles_deg)] for name, one in self.vessels.items()}
        return {
            "contact_mm": self.contact_mm,
            "vessels": vessels,
            "lacking": list(self.lacking),
            "peak": self.peak,
            "marked": self.marked,
            "raters": self.raters,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> CaseVessels:
        """Return what `to_json` gave; KeyError, TypeError or ValueError for anything else."""
        vessels = {
            str(name): VesselLevels(tuple(map(float, over)), int(far), tuple(map(float, angles)))
            for name, (over, far, angles) in stored["vessels"].items()
        }
        return cls(
            stored["contact_mm"],
            vessels,
            tuple(stored["lacking"]),
            float(stored["peak"]),
            int(stored["marked"]),
            int(stored["raters"]),
        )


def case_vessels(found: Segmentation | None, volumes: StudyVolumes, cancel: CancelToken) -> CaseVessels | None:
    """Measure each rater's contact with the reference vessels, beside the levels of a run; None without a reference.

    Parameters
    ----------
    found : Segmentation or None
        The run on the case's CT, with the vessels that it predicts; None where it found no organ.
    volumes : StudyVolumes
        Raters' masks and reference vessels.
    cancel : CancelToken
        Checked once a rater and vessel.
    """
    if volumes.vessels is None:
        return None
    masks = volumes.annotations.values()
    marked = sum(bool(np.any(mask.array)) for mask in masks)
    invasion = None if found is None else found.invasion
    if found is None or invasion is None:
        return CaseVessels(None, {}, (), 0.0, marked, len(masks))
    contacts = [
        rater_contact(mask, volumes.vessels, VESSEL_VALUES, contact_mm=invasion.contact_mm, cancel=cancel)
        for mask in masks
    ]
    known: dict[str, VesselLevels] = {}
    lacking = []
    for name in VESSEL_VALUES:
        own = [one for contact in contacts if (one := contact.get(name)) is not None]
        if name == JOINT_VEIN or not own:
            continue
        level = found.levels.get(name)
        if level is None:
            lacking.append(name)
            continue
        angles = tuple(one.counted_deg for one in own)
        known[name] = VesselLevels(level.over, level.far, angles)
    peak = float(found.score.array.max())
    return CaseVessels(invasion.contact_mm, known, tuple(lacking), peak, marked, len(masks))


def summarize_statements(
    first: Mapping[str, CaseVessels],
    second: Mapping[str, CaseVessels],
    calibrator: Calibrator | Callable[[NDArray[np.float32]], NDArray[np.floating]],
    shipped: Statements | None,
    networks_sha256: str,
) -> dict[str, Any] | None:
    """Fit statements on the calibration cases and score them on the test cases; None without reference vessels.

    Parameters
    ----------
    first, second : mapping of str to CaseVessels
        Calibration and test cases by name, those with reference vessels.
    calibrator : Calibrator or callable
        Makes the MHR of levels.
    shipped : Statements or None
        The bundle's own; used where they hold for these networks.
    networks_sha256 : str
        Of the bundle.

    Returns
    -------
    dict or None
        As JSON values: ``fitted``, ``note`` (why there are no statements) and ``methods``, with
        `twintrack.metrics.statement_scores.statement_scores` of each of `METHODS`.
    """
    told = {name: case for name, case in second.items() if case.vessels}
    contact_mm = next((case.contact_mm for case in told.values()), None)
    if contact_mm is None:
        return None
    key = StatementKey(networks_sha256, "predicted", contact_mm)
    table = StatementTable(key, {number: _counts(case) for number, case in enumerate(first.values()) if case.vessels})
    note = lacking_cases(table)
    fitted = None if note is not None else fit_statements(table, resamples=0)
    if shipped is not None and shipped.key.differs_from(key) is not None:
        shipped = None
    methods = {
        name: _readings(told, over)
        for name, over in (
            ("calibrated", None if fitted is None else _by_statements(fitted)),
            ("bundle", None if shipped is None else _by_statements(shipped)),
            ("map", _by_map(calibrator)),
        )
        if over is not None
    }
    known = _readings({name: case for name, case in first.items() if case.vessels}, _by_map(calibrator))
    plain = methods["map"]
    if known:
        rates = base_rates(plain, known).tolist()
        methods["base_rate"] = [
            VesselReading(one.case, one.vessel, tuple(rate), one.angles_deg)
            for one, rate in zip(plain, rates, strict=True)
        ]
    return {
        "contact_mm": contact_mm,
        "note": note,
        "family": None if fitted is None else fitted.fitted.family.name,
        "calibration_cases": len(table.cases),
        "informative_cases": 0 if fitted is None else fitted.informative,
        "nothing_said": sum(len(case.lacking) for case in second.values()),
        "methods": {name: statement_scores(readings) for name, readings in methods.items()},
    }


_Told = Callable[[CaseVessels, str], Sequence[float]]
"""Gives the fraction of raters over each of `ANGLES_DEG` for a named vessel of a case."""


def _by_statements(statements: Statements) -> _Told:
    def over(case: CaseVessels, name: str) -> Sequence[float]:
        vessel = case.vessels[name]
        any_tumour = statements.other(ANY_TUMOR, case.peak)
        most = 1.0 if any_tumour is None else float(any_tumour)
        return statements.vessel(name, vessel.over, vessel.far, most).fraction_over

    return over


def _by_map(calibrator: Callable[[NDArray[np.float32]], Any]) -> _Told:
    def over(case: CaseVessels, name: str) -> Sequence[float]:
        levels = np.asarray(case.vessels[name].over)
        shown: list[float] = np.where(levels > 0, calibrator(levels.astype(np.float32)), 0.0).tolist()
        return shown

    return over


def _readings(cases: Mapping[str, CaseVessels], over: _Told) -> list[VesselReading]:
    return [
        VesselReading(name, vessel, tuple(over(case, vessel)), levels.angles_deg)
        for name, case in cases.items()
        for vessel, levels in case.vessels.items()
    ]


def _counts(case: CaseVessels) -> CaseStatements:
    vessels = {}
    for name, one in case.vessels.items():
        counts = (np.asarray(one.angles_deg)[:, None] > np.asarray(ANGLES_DEG)).sum(axis=0)
        vessels[name] = VesselCounts(one.over, one.far, tuple(counts.tolist()), len(one.angles_deg))
    return CaseStatements(vessels, {ANY_TUMOR: (LevelCount(case.peak, case.marked, case.raters),)})


def vessel_lines(found: Mapping[str, Any] | None) -> list[str]:
    """Return the section on vessels as lines of Markdown; nothing without reference vessels."""
    if found is None:
        return []
    one = found["methods"]["map"]
    family = "" if found["family"] is None else f" Family of maps: {found['family']}."
    lacking = found["nothing_said"]
    lines = [
        "## Statements about vessels",
        "",
        f"Fractions of raters whose tumour touches a vessel, and goes more than 180 degrees around it, against the "
        f"raters' own masks on the reference vessels: {one['vessels']} vessels of {one['cases']} test cases, on the "
        f"networks' own vessels, contact within {found['contact_mm']:g} mm; {lacking} more vessels of the reference "
        f"are not predicted or not searched, and nothing is said of them.{family} Shown, raters and calibration error: "
        "over the vessels with more than 2 % shown; Brier score and CRPS: over all.",
    ]
    if found["note"] is not None:
        lines += ["", f"No statements were calibrated: {found['note']}."]
    for kind, title in (("contact", "Contact"), ("encased", "More than 180 degrees")):
        heads = [title, "Vessels", "Mean shown", "Raters", "Calibration error", "Brier"]
        lines += ["", *markdown_rows(heads, [_row(METHODS[name], of, kind) for name, of in found["methods"].items()])]
    heads = [
        "Angle",
        "CRPS / 360°",
        "Mean shown less raters",
        "Raters within 10 to 90 %",
        "Called encased, 4 of 5 see it",
    ]
    return [*lines, "", *markdown_rows(heads, [_angle_row(METHODS[name], of) for name, of in found["methods"].items()])]


def _row(name: str, of: Mapping[str, Any], kind: str) -> list[str]:
    one = of[kind]
    numbers = [one["shown"], one["raters"], one["calibration_error"], one["brier"]]
    return [name, str(one["shown_vessels"]), *(_text(value) for value in numbers)]


def _angle_row(name: str, of: Mapping[str, Any]) -> list[str]:
    named = next(iter(of["named"].values()))["share"]
    bias, within = of["angle_bias_deg"], of["within_10_90"]
    return [
        name,
        f"{of['crps']:.4f}",
        "–" if bias is None else f"{bias:+.0f}°",
        "–" if within is None else f"{100 * within:.0f} %",
        "–" if named is None else f"{100 * named:.0f} %",
    ]


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
