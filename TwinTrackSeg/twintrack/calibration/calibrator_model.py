"""What ``calibrator.json`` must hold, as pydantic models; ``docs/schemas/calibrator.json`` is made of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from twintrack.calibration.band import STEPS, CalibratorBand
from twintrack.calibration.calibrator import TARGETS, WEIGHTINGS, BinSelection, Calibrator
from twintrack.calibration.statements.statements_model import StatementsModel
from twintrack.errors import InputError
from twintrack.system.json_model import PRINTABLE, JsonModel, MustBe, line, listed, one_of, whole

__all__ = ["CalibratorModel"]

MAX_WHOLE = 2**63 - 1
MAX_KNOTS = 10_000
MAX_TEXT = 2000
MAX_TEXTS = 100
"""Largest count, most knots, longest text and most texts of a calibrator; one of 250 bins has 250 knots."""

_UPDATE = "update TwinTrack, or fit the calibrator again"

_Line = Annotated[str, Field(max_length=MAX_TEXT, pattern=PRINTABLE)]
_Count = Annotated[int, Field(ge=1, le=MAX_WHOLE)]
_Number = Annotated[float, Field(gt=-1e300, lt=1e300)]
_Curve = Annotated[tuple[Annotated[int, Field(ge=0, le=STEPS)], ...], Field(strict=False, max_length=MAX_KNOTS)]

Text = Annotated[str, line(MAX_TEXT)]
Texts = Annotated[tuple[_Line, ...], listed(f"texts of at most {MAX_TEXT} printable characters", MAX_TEXTS)]
Whole = Annotated[int, whole(1, MAX_WHOLE)]
Wholes = Annotated[tuple[_Count, ...], listed(f"whole numbers from 1 to {MAX_WHOLE}", MAX_KNOTS)]
Real = Annotated[_Number, MustBe("a number")]
Reals = Annotated[tuple[_Number, ...], listed("numbers", MAX_KNOTS)]
Fractions = Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], listed("numbers in [0, 1]", MAX_KNOTS)]


class KnotsModel(JsonModel):
    """The places and values between which the map is linear."""

    score: Fractions
    mhr: Fractions


class BandModel(JsonModel):
    """How far the map would move with other cases."""

    score: Fractions
    low: Fractions
    high: Fractions
    level: Real
    resamples: Whole
    seed: Annotated[int, whole(0, MAX_WHOLE)]
    units: Whole
    curves: Annotated[tuple[_Curve, ...], listed(f"lists of whole numbers from 0 to {STEPS}", MAX_KNOTS)]
    curve_steps: Annotated[int, MustBe(str(STEPS), ge=STEPS, le=STEPS)]
    widening: Real = 1.0


class SelectionModel(JsonModel):
    """How the number of bins was chosen."""

    bins: Wholes
    loss: Reals
    excess: Reals
    excess_error: Reals
    chosen: Whole
    folds: Whole
    constant_loss: Real | None = None


class CalibratorModel(JsonModel):
    """A monotone map from the pooled score to the fraction of raters, and what it was fitted on."""

    version: Annotated[int, MustBe("1", remedy=_UPDATE, ge=1, le=1)] = Field(alias="schema")
    target: Annotated[str, one_of(*TARGETS)]
    rater: Annotated[_Line | _Count | None, MustBe("the name of a rater, or null")]
    bins: Whole
    bins_used: Whole
    knots: KnotsModel
    bin_counts: Wholes
    cases: Whole
    raters: Whole
    voxels: Whole
    domain: Text
    pooling: Text
    versions: Annotated[dict[_Line, _Line], MustBe("an object of texts on one line", max_length=MAX_TEXTS)]
    manifest_sha256: Text | None
    warnings: Texts
    # What came later; files without it are read.
    weighting: Annotated[str, one_of(*WEIGHTINGS)] | None = None
    tumour_voxels: Real | None = None
    band: BandModel | None = None
    selection: SelectionModel | None = None
    rater_names: Texts | None = None
    statements: StatementsModel | None = None

    def calibrator(self) -> Calibrator:
        """Return the calibrator.

        Raises
        ------
        InputError
            If its numbers contradict each other.
        """
        knots, values = self.knots, self.values()
        for name in ("version", "knots"):
            del values[name]
        if isinstance(self.rater, int) and self.rater > self.raters:  # in older files a number, counted from 1
            raise InputError(
                f'"rater" must be at most the number of raters, {self.raters}, got {self.rater}',
                code="calibrator-rater",
            )
        values["rater"] = None if self.rater is None else str(self.rater)
        if values.pop("bins_used") != len(knots.score):
            raise InputError(f'"bins_used" must be the number of knots, {len(knots.score)}', code="calibrator-knots")
        if self.band is not None:
            stored = self.band.values()
            del stored["curve_steps"]
            # Older files hold the bare percentiles, which cover too little.
            values["band"] = CalibratorBand(**stored).widened(knots.score, knots.mhr)
        if self.selection is not None:
            values["selection"] = BinSelection(**self.selection.values())
        if self.statements is not None:
            values["statements"] = self.statements.statements()
        return Calibrator(knots_x=knots.score, knots_y=knots.mhr, **values)
