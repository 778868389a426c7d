"""Contact by names that anatomy gave: what has none is told, and what is not sure makes no pattern."""

from __future__ import annotations

import numpy as np
import pytest

from twintrack.invasion import InvasionResult, measure_invasion
from twintrack.invasion.naming import NamedVessels, name_vessels, naming_sentence, with_names
from twintrack.volume import Volume
from vessel_anatomy.conditions import LabelledCase, make_case

pytestmark = pytest.mark.slow


def named(condition: str) -> tuple[LabelledCase, NamedVessels]:
    case = make_case(condition, "usual", 31)
    return case, name_vessels(case.labels, case.names)


def measured(found: NamedVessels, probability: np.ndarray) -> InvasionResult:
    volume = Volume(probability, found.labels.geometry)
    return with_names(measure_invasion(volume, found.labels, found.values), found)


@pytest.fixture(scope="module")
def without_sma() -> NamedVessels:
    return named("no SMA")[1]


def test_a_vessel_without_a_name_is_not_assessed_and_no_contact_is_not_told(without_sma: NamedVessels) -> None:
    empty = np.zeros(without_sma.labels.array.shape, np.float32)
    content = measured(without_sma, empty).to_json()
    sma = content["vessels"]["SMA"]
    assert (sma["present"], sma["category"], sma["named_by"], sma["name_confidence"]) == (False, None, "anatomy", None)
    assert "not named" in sma["reason"]
    pattern = content["resectability"]
    assert (pattern["pattern"], pattern["complete"]) == (None, False)
    assert pattern["probability"]["no contact"] is None
    assert "SMA" in pattern["not_assessed"]
    sentence = naming_sentence(without_sma)
    assert "NOT NAMED" in sentence
    assert "SMA" in sentence.partition("NOT NAMED")[2]


def test_a_name_that_is_not_sure_is_measured_and_makes_no_pattern(without_sma: NamedVessels) -> None:
    assert "CELIAC" in without_sma.low
    around = np.zeros(without_sma.labels.array.shape, np.float32)
    place = np.argwhere(without_sma.labels.array == without_sma.values["CELIAC"])
    low, high = place.min(axis=0) - 4, place.max(axis=0) + 5
    around[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = 0.9
    around[np.isin(without_sma.labels.array, [without_sma.values["AORTA"]])] = 0.0
    found = measured(without_sma, around)
    celiac = found.vessels["CELIAC"]
    assert celiac.name_confidence == "low"
    assert celiac.level_contact is not None
    assert celiac.level_contact > 0.5
    assert "CELIAC" in found.resectability.not_assessed


def test_with_all_names_no_contact_can_be_told() -> None:
    _, found = named("clean with organs")
    pattern = measured(found, np.zeros(found.labels.array.shape, np.float32)).resectability
    assert pattern.complete
    assert pattern.pattern == "no contact"
    assert "NOT NAMED" not in naming_sentence(found)


def test_the_undivided_axis_stands_for_both_veins() -> None:
    _, found = named("no splenic vein")
    result = measured(found, np.zeros(found.labels.array.shape, np.float32))
    assert "PORTA_SMV" in result.vessels
    assert not {"PORTA", "SMV"} & set(result.resectability.not_assessed)
