from __future__ import annotations

import pytest
from expected_errors import raises_error

from twintrack.bundle.nnunet_plans import check_dataset, label_channels
from twintrack.errors import InputError
from twintrack.training.strategies import Layout, Member, Strategy, check_raters, plan_members

RATERS = ("A", "B", "C")
ANATOMY = ("pancreas", "smv")


@pytest.mark.parametrize("strategy", Strategy)
def test_channels_are_those_that_nnunet_and_a_bundle_make_of_the_labels(strategy):
    labels = pytest.importorskip("nnunetv2.utilities.label_handling.label_handling")
    layout = Layout(strategy, RATERS, ANATOMY)
    dataset = layout.dataset()
    check_dataset(dataset, "dataset.json")
    manager = labels.LabelManager(dataset["labels"], dataset.get("regions_class_order"))
    assert manager.num_segmentation_heads == layout.channels
    assert manager.has_regions == layout.overlapping
    channels = label_channels(dataset)
    first = layout.first_anatomy
    assert [channels[name] for name in ANATOMY] == [first, first + 1]
    assert [channels[name] for name in layout.tumor_weights] == list(range(first - len(layout.tumor_weights), first))


def test_weights_read_the_fraction_of_raters():
    assert Layout(Strategy.ORDINAL, RATERS, ()).tumor_weights == {
        "level_1": pytest.approx(1 / 3),
        "level_2": pytest.approx(2 / 3),
        "level_3": 1.0,
    }
    assert list(Layout(Strategy.HEADS, RATERS, ()).tumor_weights.values()) == [1 / 3] * 3
    assert Layout(Strategy.SOFT, RATERS, ()).tumor_weights == {"tumor": 1.0}


def test_networks_belong_to_raters_where_the_strategy_says_so():
    owned = plan_members(Strategy.RATER_SPECIFIC, RATERS, rater=None, members=2)
    assert [member.rater for member in owned] == ["A", "B", "C", "A", "B", "C"]
    assert plan_members(Strategy.SINGLE, RATERS, rater="B", members=1) == (Member("0", "B"),)
    assert plan_members(Strategy.SINGLE, RATERS, rater=None, members=1) == (Member("0", "A"),)
    assert {member.rater for member in plan_members(Strategy.SOFT, RATERS, rater=None, members=3)} == {None}


def test_a_rater_who_is_not_there_or_not_asked_for_is_refused():
    with raises_error(InputError, "rater-unknown", "D", "A, B, C"):
        plan_members(Strategy.SINGLE, RATERS, rater="D", members=1)
    with raises_error(InputError, "options-exclude", "--strategy single"):
        plan_members(Strategy.SOFT, RATERS, rater="A", members=1)


@pytest.mark.parametrize("members", [0, 11])
def test_there_are_at_least_one_network_and_as_many_as_a_bundle_holds(members):
    with raises_error(InputError, "member-count", "32"):
        plan_members(Strategy.RATER_SPECIFIC, RATERS, rater=None, members=members)


@pytest.mark.parametrize("strategy", [one for one in Strategy if one is not Strategy.SINGLE])
def test_one_rater_alone_is_for_the_strategy_single(strategy):
    with raises_error(InputError, "one-rater", "A", "--strategy single"):
        check_raters(strategy, {"A": 9}, None)
    assert check_raters(Strategy.SINGLE, {"A": 9}, None) == ()


def test_few_cases_of_a_rater_are_told():
    (warning,) = check_raters(Strategy.SOFT, {"A": 9, "B": 4}, 0.001)
    assert "B (4)" in warning
    assert "A" not in warning


def test_raters_who_cannot_be_told_apart_are_told_where_that_matters():
    cases = {"A": 9, "B": 9}
    (warning,) = check_raters(Strategy.RATER_SPECIFIC, cases, 0.4)
    assert "rater-specific training will not differ from label sampling" in warning
    assert check_raters(Strategy.RATER_SPECIFIC, cases, 0.01) == ()
    assert check_raters(Strategy.SOFT, cases, 0.4) == ()
