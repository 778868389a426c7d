"""A label tells cases apart and is harmless wherever it is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.system.case_label import LABEL_LIMIT, as_case_label, check_case_label


@pytest.mark.parametrize("label", ["7", "Fall Müller 3/4", "=1+2", '<b>"x"</b>', "症例 12", "x" * LABEL_LIMIT])
def test_printable_labels_are_taken(label):
    check_case_label(label)
    assert as_case_label(label) == label


@pytest.mark.parametrize(
    "label",
    ["", " ", " Qq", "Qq ", "Qq\nb", "Qq\tb", "Qq\x1b[31m", "Qq\u202eb", "Qq\\b", "Qq\udcff", "Qq" * 33, "\u2028"],
)
def test_others_are_refused_without_being_repeated(label):
    with raises_error(InputError, "case-label", "64") as caught:
        check_case_label(label)
    assert "Qq" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("  a \n b\t", "a b"),
        ("A\\B", "A B"),
        ("\x1b\u202e", None),
        ("", None),
        ("x" * 65, "x" * 63 + "…"),
        ("word " * 20, ("word " * 20)[:63].rstrip() + "…"),
    ],
)
def test_a_name_from_elsewhere_becomes_a_label(name, label):
    assert as_case_label(name) == label


@given(st.text())
def test_what_becomes_a_label_is_one(name):
    label = as_case_label(name)
    if label is not None:
        check_case_label(label)
