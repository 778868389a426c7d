"""Calibrated statements stand where they hold, and everywhere else the map's levels do, which is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analytic.statement_cases import KEY, draw_table
from twintrack.calibration.statements import StatementKey, fit_statements
from twintrack.calibration.statements.families import AngleLogistic
from twintrack.calibration.statements.statements import LevelMap
from twintrack.calibration.statements.table import ANY_TUMOR, LESION, VOLUME
from twintrack.invasion import measure_invasion, score_levels, with_statements
from twintrack.invasion.rater_categories import Category
from twintrack.invasion.result_statements import result_statements
from twintrack.invasion.statements import pattern_kind

TubeMaker = Callable[..., Any]
NAMES = {"SMA": 1, "PORTA": 2}


@pytest.fixture(scope="module")
def statements() -> Any:
    return fit_statements(draw_table(1, 45, healthy=15), resamples=10)


@pytest.fixture(scope="module")
def case(tube: TubeMaker) -> Any:
    return tube(radius_mm=5.0, angle_deg=220, spacing_mm=(1.0, 1.0, 1.0), level=0.4)


def told(case: Any, statements: Any, key: StatementKey = KEY, **options: Any) -> Any:
    found = measure_invasion(case.probability, case.vessel, NAMES, contact_mm=1.9, **options)
    levels = score_levels(case.probability, case.vessel, NAMES, contact_mm=1.9)
    return with_statements(found, levels, statements, key, float(case.probability.array.max()))


def expected(statements: Any, found: Any) -> Any:
    """Return what is said of the tube at its levels, by no more raters than mark any tumour at its peak."""
    return statements.vessel("SMA", found.vessels["SMA"].score_levels, 0, float(statements.other(ANY_TUMOR, 0.4)))


@pytest.mark.slow
def test_where_they_hold_the_statements_stand(case: Any, statements: Any) -> None:
    found = told(case, statements)
    vessel, said = found.vessels["SMA"], expected(statements, found)
    assert found.statements == vessel.statements == found.resectability.statements == "calibrated"
    assert "60 cases" in found.statements_note
    assert (vessel.p_contact, vessel.p_encased) == pytest.approx((said.p_contact, said.p_encased), abs=1e-3)
    assert vessel.level_contact == pytest.approx(0.4, abs=0.02)
    assert sum(vessel.category_probability.values()) == pytest.approx(1)
    assert (found.calibration or {})["cases"] == 60


@pytest.mark.slow
def test_curves_of_the_outline_stay_the_maps(case: Any, statements: Any) -> None:
    plain, found = (told(case, one).vessels["SMA"] for one in (None, statements))
    assert found.angle_deg == plain.angle_deg
    assert found.level_encased == plain.level_encased == plain.p_encased != found.p_encased


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (StatementKey("cd" * 32, "predicted", 1.9), "other networks"),
        (StatementKey(KEY.networks_sha256, "given", 1.9), "given"),
        (StatementKey(KEY.networks_sha256, "predicted", 2.5), "contact distance"),
    ],
)
def test_elsewhere_the_map_is_read_and_this_is_said(case: Any, statements: Any, key: StatementKey, said: str) -> None:
    found, plain = told(case, statements, key), told(case, None, key)
    assert found.statements == found.vessels["SMA"].statements == "map"
    assert found.statements_note.startswith("read from the map, not calibrated: ")
    assert said in found.statements_note
    assert found.vessels["SMA"].p_contact == plain.vessels["SMA"].p_contact == plain.vessels["SMA"].level_contact
    assert found.networks_sha256 == key.networks_sha256


def test_a_vessel_that_is_not_there_stays_unknown(case: Any, statements: Any) -> None:
    vessel = told(case, statements).vessels["PORTA"]
    assert (vessel.present, vessel.p_contact, vessel.category, vessel.statements) == (False, None, None, "map")


@pytest.mark.slow
def test_the_category_is_the_median_raters(case: Any, statements: Any) -> None:
    seen = set()
    for offset in np.linspace(-8, 8, 33):
        family = AngleLogistic((float(offset), 1.0, float(offset), 1.0))
        shifted = replace(statements, fitted=replace(statements.fitted, family=family, others={}), resampled=())
        vessel = told(case, shifted).vessels["SMA"]
        expected = (
            Category.ENCASEMENT
            if vessel.p_encased > 0.5
            else Category.ABUTMENT
            if vessel.p_contact > 0.5
            else Category.NONE
        )
        assert vessel.category is expected
        seen.add(expected)
    assert len(seen) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("rules", ["nccn", "ahpba", "alliance", "dpcg"])
@pytest.mark.parametrize("slope", [None, 0.1, 8.0])
def test_patterns_agree_with_the_vessels(case: Any, statements: Any, rules: str, slope: float | None) -> None:
    plain = told(case, statements, rules=rules)
    kinds = [pattern_kind(rules, pattern) for pattern in plain.resectability.probability]
    own = {} if slope is None else dict.fromkeys(kinds, LevelMap((0.0, slope)))
    changed = replace(statements, fitted=replace(statements.fitted, others=own))
    found = told(case, changed, rules=rules)
    *contacts, none = found.resectability.probability
    assert found.resectability.probability[none] is None  # the map lacks vessels that the rules need
    shares = {pattern: found.resectability.probability[pattern] for pattern in contacts}
    assert min(shares.values()) >= -1e-12
    # Whatever the pattern's own map says: as many raters see some contact as see it with the one vessel there is.
    assert sum(shares.values()) == pytest.approx(found.vessels["SMA"].p_contact, abs=1e-9)
    worst = next(iter(shares))
    if rules in ("nccn", "ahpba"):
        assert shares[worst] == pytest.approx(found.vessels["SMA"].p_encased, abs=1e-9)
    reached = np.cumsum(list(shares.values()))
    seen_by_most = [pattern for pattern, fraction in zip(contacts, reached, strict=True) if fraction > 0.5]
    assert found.resectability.pattern == (seen_by_most[0] if seen_by_most else None)


def test_the_whole_tumor_is_told_of_networks_that_are_known(case: Any, statements: Any) -> None:
    others = {ANY_TUMOR: LevelMap((0.0, 2.0)), VOLUME: LevelMap((0.0, 2.0)), LESION: LevelMap((1.0, 1.0))}
    known = replace(statements, fitted=replace(statements.fitted, others=others))
    found = result_statements(case.probability, KEY.networks_sha256, known)
    assert found.source == "calibrated"
    assert found.any_tumour == pytest.approx(float(known.other(ANY_TUMOR, 0.4)), abs=0.02)
    assert found.p10_ml <= found.median_ml <= found.p90_ml
    other = result_statements(case.probability, "cd" * 32, known)
    assert (other.source, other.any_tumour, other.p10_ml) == ("map", None, None)
    assert "other networks" in other.note
    assert result_statements(case.probability, KEY.networks_sha256, None).source == "map"


def test_raters_who_mark_no_tumor_have_no_volume(case: Any, statements: Any) -> None:
    others = {ANY_TUMOR: LevelMap((0.0, 1.0)), VOLUME: LevelMap((0.0, 2.0))}
    known = replace(statements, fitted=replace(statements.fitted, others=others))
    found = result_statements(case.probability, KEY.networks_sha256, known)
    assert 0.1 < found.any_tumour < 0.5  # the score's peak is 0.4
    assert (found.p10_ml, found.median_ml) == (0.0, 0.0)
    assert found.p90_ml > 0
