"""A wrong field is told in one sentence that names it and what it must be, whatever stands there."""

from __future__ import annotations

from typing import Annotated

import pytest

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.system.json_model import JsonModel, MustBe, line, listed, number, read_model, whole


class Part(JsonModel):
    size: Annotated[float, number(0, 1)]


class Whole(JsonModel):
    count: Annotated[int, whole(1, 9)]
    name: Annotated[str, line(5)] = "n"
    yes: Annotated[bool, MustBe("true or false")] = True
    parts: Annotated[tuple[float, ...], listed("numbers", 3)] = ()
    part: Part | None = None
    form: Annotated[int, MustBe("1", remedy="update TwinTrack", ge=1, le=1)] = 1
    rows: list[Part] | None = None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"count": 10}, '"count" must be a whole number from 1 to 9, got 10'),
        ({"count": True}, '"count" must be a whole number from 1 to 9, got True'),
        ({"count": 1.0}, '"count" must be a whole number from 1 to 9, got 1.0'),
        ({"count": "1"}, "\"count\" must be a whole number from 1 to 9, got '1'"),
        ({"count": 10**19}, f'"count" must be a whole number from 1 to 9, got {10**19}'),
        ({"yes": 1}, '"yes" must be true or false, got 1'),
        ({"name": "two\nl"}, "\"name\" must be at most 5 printable characters on one line, got 'two\\nl'"),
        ({"name": "a\u2028b"}, "\"name\" must be at most 5 printable characters on one line, got 'a\\u2028b'"),
        ({"parts": [1, float("nan")]}, '"parts" must be a list of at most 3 numbers, got nan'),
        ({"parts": [1, 2, 3, 4]}, '"parts" must be a list of at most 3 numbers, got a list of 4 entries'),
        ({"parts": {"a": 1}}, "\"parts\" must be a list of at most 3 numbers, got {'a': 1}"),
        ({"part": {}}, '"part.size" is missing'),
        ({"part": 7}, '"part" must be an object, got 7'),
        ({"part": {"size": float("inf")}}, '"part.size" must be a number from 0 to 1, got inf'),
        ({"part": {"size": 10**400}}, f'"part.size" must be a number from 0 to 1, got {str(10**400)[:100]}...'),
        ({"rows": [{"size": 1}, {"size": False}]}, '"rows.1.size" must be a number from 0 to 1, got False'),
        ({"rows": 5}, '"rows" cannot be 5'),
        ({"form": 2}, '"form" must be 1, got 2; update TwinTrack'),
    ],
)
def test_the_first_wrong_field_is_named_with_what_it_must_be(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        read_model(Whole, {"count": 1} | changes)
    assert str(caught.value) == sentence


def test_what_is_no_object_is_refused() -> None:
    with raises_error(InputError, "field-malformed", "[]"):
        read_model(Whole, [])


def test_lists_become_tuples_and_unknown_fields_are_ignored() -> None:
    found = read_model(Whole, {"count": 2, "parts": [1, 0.5], "later": 1})
    assert (found.count, found.parts, found.name) == (2, (1.0, 0.5), "n")
    assert "part" not in found.values()
