"""What a rater's name may be, when two names or masks are one, and the order of names."""

from __future__ import annotations

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.raters import (
    MAX_NAME,
    by_name,
    check_apart,
    checked_name,
    fitting_names,
    look_alikes,
    name_order,
    same_voxels,
)


@pytest.mark.parametrize(
    "name", ["0", "01", "A", "Dr. Müller-Lüdenscheidt", "a" * MAX_NAME, "r_1", "-1", "Жанна", "山田 2"]
)
def test_letters_digits_spaces_and_three_signs_make_a_name(name):
    assert checked_name(name) == name


def test_numbers_become_texts_and_spaces_around_a_name_are_no_part_of_it():
    assert (checked_name(0), checked_name(" B 2 ")) == ("0", "B 2")
    assert checked_name("u\u0308") == "\u00fc"


@pytest.mark.parametrize(
    "name", ["", " ", ".", ".a", "a/b", "a\\b", "a:b", "a\nb", "\u202ea", "a" * (MAX_NAME + 1), "²"]
)
def test_what_cannot_be_the_name_of_a_file_everywhere_is_refused(name):
    with raises_error(InputError, "rater-name", "64") as caught:
        checked_name(name)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("one", "other"), [("1", "01"), ("A", "a"), ("R 1", "R1"), ("r01", "R1"), ("0", "00"), ("Straße", "STRASSE")]
)
def test_names_that_differ_in_case_spaces_or_leading_zeros_only_are_refused(one, other):
    assert look_alikes(["x", one, other]) == (one, other)
    with raises_error(InputError, "raters-alike"):
        check_apart([one, other])


@pytest.mark.parametrize(
    ("one", "other"), [("1", "10"), ("0", "1"), ("A", "B"), ("A1", "A-1"), ("100", "1"), ("R0", "R")]
)
def test_other_names_are_two_raters(one, other):
    assert look_alikes([one, other]) is None


def test_names_are_in_the_order_of_the_numbers_in_them():
    assert sorted(["10", "9", "R10", "0", "R9", "b", "A"], key=name_order) == ["0", "9", "10", "A", "b", "R9", "R10"]
    assert sorted(["a", "A"], key=name_order) == sorted(["A", "a"], key=name_order)


def test_masks_are_found_by_text_and_two_of_one_text_are_refused():
    assert by_name({1: "one", "B": "two"}) == {"1": "one", "B": "two"}
    with raises_error(InputError, "raters-alike"):
        by_name({1: "one", "1": "two"})


def test_any_titles_become_names_that_tell_raters_apart():
    titles = ["Segment_1", "segment 1", "Segment_1", "../x", "", "y" * 99, "y" * 98, "Doe^Jane: A"]
    names = fitting_names(titles)
    assert [checked_name(name) for name in names] == list(names)
    assert len(names) == len(titles)
    check_apart(names)
    assert names[:3] == ("Segment_1", "segment 1", "Segment_1-2")


def test_titles_that_look_like_a_known_rater_are_that_rater():
    assert fitting_names(["reader 2", "Reader 3"], ("Reader 2",)) == ("Reader 2", "Reader 3")


def test_only_masks_with_the_very_same_voxels_are_alike_and_empty_ones_never():
    one, other, none = np.zeros((2, 3, 4)), np.zeros((2, 3, 4)), np.zeros((2, 3, 4))
    one[0, 1], other[1, 1] = 1, 1
    masks = {"A": one, "B": other, "C": one.astype(np.uint8) * 255, "D": none, "E": none}
    assert same_voxels(masks) == (("A", "C"),)
