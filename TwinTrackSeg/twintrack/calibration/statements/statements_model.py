"""What the part ``statements`` of ``calibrator.json`` must hold, as pydantic models."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

from twintrack.calibration.statements.families import FAMILIES, Family
from twintrack.calibration.statements.statements import FAR_CLASSES, Fitted, LevelMap, Statements
from twintrack.calibration.statements.table import ANGLES_DEG, MOST_NAME, SOURCES, StatementKey
from twintrack.raters import MOST_RATERS, checked_name
from twintrack.system.json_model import PRINTABLE, JsonModel, MustBe, listed, number, one_of, whole

__all__ = ["StatementsModel"]

MOST_RESAMPLES = 1000
MOST_KINDS = 200
MOST_CASES = 2**31
MOST_TEXTS = 100
MOST_TEXT = 2000
MOST_KNOTS = 1000

_KINDS: dict[str, type[Family]] = {family.name: family for family in FAMILIES}


def _right(holds: bool) -> None:
    if not holds:
        raise ValueError("see the field's requirement")


def _angles(values: list[int]) -> list[int]:
    _right(values == list(ANGLES_DEG))
    return values


def _rising(numbers: tuple[float, float]) -> tuple[float, float]:
    _right(numbers[1] > 0)
    return numbers


_Fraction = Annotated[float, Field(ge=0, le=1)]
_Loss = Annotated[float, Field(ge=-1e6, le=1e6)]
_Number = Annotated[float, Field(gt=-1e3, lt=1e3)]
_Coefficient = Annotated[float, Field(ge=-100, le=100)]
_Name = Annotated[str, Field(min_length=1, max_length=MOST_NAME, pattern=PRINTABLE)]
_Line = Annotated[str, Field(max_length=MOST_TEXT, pattern=PRINTABLE)]
_Rising = Annotated[tuple[_Coefficient, _Coefficient], Field(strict=False), AfterValidator(_rising)]

Whole = Annotated[int, whole(1, MOST_CASES)]
Levels = Annotated[tuple[_Fraction, ...], listed("numbers in [0, 1]", MOST_KNOTS)]


class MapModel(JsonModel):
    """A piecewise linear map on [0, 1]."""

    at: Levels
    value: Levels


class FittedModel(JsonModel):
    """One fit: the numbers or the maps of its family, and what is fitted beside them."""

    numbers: Annotated[tuple[_Number, ...], listed("numbers", MOST_KNOTS)] | None = None
    maps: Annotated[tuple[MapModel, ...], Field(strict=False, max_length=MOST_KINDS)] | None = None
    scatter_deg: Annotated[float, number(0, 90)]
    far: Annotated[tuple[_Fraction, ...], listed("numbers from 0 to 1", FAR_CLASSES, FAR_CLASSES)]
    others: Annotated[dict[_Name, _Rising], MustBe("maps that rise, of two numbers each", max_length=MOST_KINDS)]

    def fitted(self, family: str) -> Fitted:
        """Return the fit of a family."""
        maps = {kind: LevelMap(numbers) for kind, numbers in self.others.items()}
        return Fitted(_KINDS[family].from_json(self.model_dump()), self.scatter_deg, self.far, maps)


class StatementsModel(JsonModel):
    """Calibrated statements: what the raters of a case say of vessels, volumes and lesions."""

    networks_sha256: Annotated[str, MustBe("a SHA-256 of 64 digits", pattern="^[0-9a-f]{64}$")]
    vessel_source: Annotated[str, one_of(*SOURCES)]
    contact_mm: Annotated[float, MustBe("a length in mm", gt=0, lt=100)]
    angles_deg: Annotated[
        list[int], AfterValidator(_angles), MustBe("0, 5, ... 355"), WithJsonSchema({"const": list(ANGLES_DEG)})
    ]
    cases: Whole
    informative_cases: Whole
    raters: Whole
    rater_names: Annotated[
        tuple[Annotated[str, AfterValidator(checked_name)], ...], listed("names of raters", MOST_RATERS)
    ]
    highest_level: Annotated[float, number(0, 1)]
    family: Annotated[str, one_of(*_KINDS, remedy="update TwinTrack")]
    fitted: FittedModel
    interval_level: Annotated[float, MustBe("a number between 0 and 1", gt=0, lt=1)]
    resampled: Annotated[tuple[FittedModel, ...], Field(strict=False, max_length=MOST_RESAMPLES)]
    compared: Annotated[
        dict[_Name, Annotated[tuple[_Loss, _Loss], Field(strict=False)]],
        MustBe("pairs of numbers", max_length=MOST_KINDS),
    ]
    warnings: Annotated[tuple[_Line, ...], listed("texts on one line", MOST_TEXTS)]

    def statements(self) -> Statements:
        """Return the statements.

        Raises
        ------
        InputError
            If the numbers of a fit are not those of a rising map.
        """
        return Statements(
            key=StatementKey(self.networks_sha256, self.vessel_source, self.contact_mm),
            cases=self.cases,
            informative=self.informative_cases,
            raters=self.raters,
            rater_names=self.rater_names,
            highest=self.highest_level,
            fitted=self.fitted.fitted(self.family),
            level=self.interval_level,
            resampled=tuple(one.fitted(self.family) for one in self.resampled),
            compared=self.compared,
            warnings=self.warnings,
        )
