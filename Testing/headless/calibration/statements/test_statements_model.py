"""The part ``statements`` of calibrator.json: comes back exactly, and a stranger's is refused."""

import copy
import json

import pytest

from analytic.statement_cases import draw_table
from expected_errors import raises_error
from twintrack.calibration.statements import fit_statements
from twintrack.calibration.statements.statements_model import StatementsModel
from twintrack.errors import InputError
from twintrack.system.json_model import read_model


def statements_from_json(stored):
    return read_model(StatementsModel, stored).statements()


@pytest.fixture(scope="module")
def statements():
    return fit_statements(draw_table(1, 30), resamples=3, rater_names=("1", "2", "3", "4", "5"))


@pytest.fixture(scope="module")
def few():
    return fit_statements(draw_table(1, 12), resamples=3)


@pytest.mark.slow
def test_statements_come_back_exactly(statements, few):
    for one in (statements, few):
        stored = json.loads(json.dumps(one.to_json(), allow_nan=False))
        assert statements_from_json(stored) == one


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("angles_deg", [0, 180]),
        ("family", "oracle"),
        ("family", None),
        ("cases", 0),
        ("cases", True),
        ("informative_cases", 1.5),
        ("raters", "five"),
        ("rater_names", [".."]),
        ("highest_level", 2),
        ("interval_level", 1),
        ("fitted", []),
        ("resampled", {}),
        ("resampled", [{}]),
        ("compared", {"single": [1]}),
        ("warnings", ["two\nlines"]),
        ("networks_sha256", "0"),
        ("vessel_source", "heaven"),
        ("contact_mm", None),
    ],
)
def test_a_wrong_field_is_named(statements, field, value):
    stored = statements.to_json() | {field: value}
    with raises_error(InputError, "field-malformed", field):
        statements_from_json(stored)


@pytest.mark.parametrize("value", [[0.1, 0.2], [0.1, 0.2, 3], None])
def test_a_wrong_distance_class_is_refused(statements, value):
    stored = copy.deepcopy(statements.to_json())
    stored["fitted"]["far"] = value
    with raises_error(InputError, "field-malformed", '"fitted.far"'):
        statements_from_json(stored)


def test_a_falling_map_is_refused(statements):
    stored = copy.deepcopy(statements.to_json())
    stored["fitted"]["others"]["any_tumour"] = [0.0, -1.0]
    with raises_error(InputError, "field-malformed", '"fitted.others"'):
        statements_from_json(stored)
