"""Tables of statements: joined without counting a case twice, written and read, strangers refused."""

import json

import pytest

from analytic.statement_cases import KEY, draw_table
from expected_errors import raises_error
from twintrack.calibration.statements import StatementKey, StatementTable
from twintrack.calibration.statements.table import MOST_CASES
from twintrack.errors import InputError


def test_joining_tables_counts_a_case_once_and_knows_no_order():
    one, other = draw_table(1, 6), draw_table(2, 4)
    joined = one + other
    assert len(joined.cases) == 10
    assert joined == other + one == joined + one
    assert (one + one) == one


def test_a_table_comes_back_as_it_was():
    table = draw_table(3, 5)
    assert StatementTable.from_text(table.to_text()) == table


@pytest.mark.parametrize(
    ("other", "error"),
    [
        (StatementKey("cd" * 32, "predicted", 1.9), ("statements-differ",)),
        (StatementKey(KEY.networks_sha256, "given", 1.9), ("statements-differ",)),
        (StatementKey(KEY.networks_sha256, "predicted", 2.4), ("statements-differ",)),
    ],
)
def test_tables_of_other_networks_vessels_or_contact_are_not_joined(other, error):
    with raises_error(InputError, *error):
        draw_table(1, 2) + draw_table(2, 2, key=other)


def test_of_too_many_cases_the_same_ones_stay_in_any_order():
    case = next(iter(draw_table(1, 1).cases.values()))
    many = StatementTable(KEY, dict.fromkeys(range(MOST_CASES), case))
    more = StatementTable(KEY, dict.fromkeys(range(0, 4 * MOST_CASES, 3), case))
    assert (many + more) == (more + many)
    assert len((many + more).cases) == MOST_CASES


def _damaged(change):
    stored = json.loads(draw_table(1, 1).to_text())
    change(stored)
    return json.dumps(stored)


def _vessel(stored):
    return next(iter(next(iter(stored["cases"].values()))["vessels"].values()))


@pytest.mark.parametrize(
    "change",
    [
        lambda stored: stored.pop("cases"),
        lambda stored: stored.update(angles_deg=[0, 90]),
        lambda stored: stored.update(networks_sha256="none"),
        lambda stored: stored.update(vessel_source="elsewhere"),
        lambda stored: stored.update(contact_mm=-1),
        lambda stored: stored["cases"].update({"-1": next(iter(stored["cases"].values()))}),
        lambda stored: _vessel(stored)[0].reverse(),
        lambda stored: _vessel(stored)[0].__setitem__(0, 1.5),
        lambda stored: _vessel(stored)[2].__setitem__(0, 6),
        lambda stored: _vessel(stored).__setitem__(1, 9),
        lambda stored: _vessel(stored).pop(),
        lambda stored: next(iter(stored["cases"].values()))["others"].update({"any_tumour": [[0.5, 9, 5]]}),
    ],
)
def test_a_damaged_table_is_refused(change):
    with pytest.raises(InputError, match="table of statements"):
        StatementTable.from_text(_damaged(change))
