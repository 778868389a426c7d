"""Raters: what a name may be, when two names or two masks are one, and the order of names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Iterable, Mapping
from itertools import combinations
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError

__all__ = [
    "MAX_NAME",
    "MOST_RATERS",
    "by_name",
    "check_apart",
    "checked_name",
    "fitting_names",
    "lettered",
    "look_alikes",
    "name_order",
    "numbered",
    "same_voxels",
    "same_voxels_warning",
]

MAX_NAME = 64
"""Characters of a name; it becomes the name of a file."""

MOST_RATERS = 100
"""Raters of all cases together; a calibration takes memory for each of them."""

_SIGNS = frozenset("0123456789 _-.")
_LEADING_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")
_NUMBERS = re.compile(r"([0-9]+)")

_Mask = TypeVar("_Mask")
_Rater = TypeVar("_Rater", bound=Hashable)


def checked_name(name: object) -> str:
    """Return the name of a rater as text, without spaces around it.

    Raises
    ------
    InputError
        If it is no name: 1 to `MAX_NAME` letters, digits, spaces, ``_``, ``-`` and ``.``, the first of them no dot.
    """
    text = unicodedata.normalize("NFC", str(name)).strip()
    if not 1 <= len(text) <= MAX_NAME or text.startswith(".") or not all(map(_is_allowed, text)):
        raise InputError(
            f"a rater's name must have 1 to {MAX_NAME} letters, digits, spaces, '_', '-' or '.', and not begin with "
            f"'.', got {text[:MAX_NAME]!r}",
            code="rater-name",
        )
    return text


def by_name(masks: Mapping[Any, _Mask]) -> dict[str, _Mask]:
    """Return what is there by rater, in the order given, by the rater's name as text.

    Raises
    ------
    InputError
        If a name is not allowed, or two become the same text.
    """
    named = {checked_name(name): mask for name, mask in masks.items()}
    if len(named) < len(masks):
        raise InputError(
            f"two raters have the same name among {', '.join(named)}; give each its own name", code="raters-alike"
        )
    return named


def numbered(count: int) -> tuple[str, ...]:
    """Return the names of raters who were only counted: "1", "2" and so on."""
    return tuple(str(number) for number in range(1, count + 1))


def lettered(count: int) -> tuple[str, ...]:
    """Return pseudonyms of raters who are the same persons in every case: "A" to "Z", "AA", "AB" and so on."""
    names = []
    for number in range(1, count + 1):
        name = ""
        while number:
            number, letter = divmod(number - 1, 26)
            name = chr(ord("A") + letter) + name
        names.append(name)
    return tuple(names)


def name_order(name: str) -> tuple[tuple[tuple[bool, int, str], ...], str]:
    """Return what names are sorted by: numbers in them by their value, so that 10 comes after 9."""
    parts = (part for part in _NUMBERS.split(name.casefold()) if part)
    return tuple((not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts), name


def look_alikes(names: Iterable[str]) -> tuple[str, str] | None:
    """Return the first two names that are equal but for case, spaces or leading zeros; None if there are none."""
    known: dict[str, str] = {}
    for name in names:
        core = _core(name)
        if core in known:
            return known[core], name
        known[core] = name
    return None


def check_apart(names: Iterable[str]) -> None:
    """Refuse names of which two look like one person's.

    Raises
    ------
    InputError
        Names both.
    """
    alike = look_alikes(names)
    if alike is not None:
        raise InputError(
            f"the raters {alike[0]!r} and {alike[1]!r} differ only in case, spaces or leading zeros; write one rater's "
            "name in one way everywhere, and give two raters different names",
            code="raters-alike",
        )


def fitting_names(titles: Iterable[str], known: Iterable[str] = ()) -> tuple[str, ...]:
    """Make an allowed name of each title, no two of which look alike.

    Parameters
    ----------
    titles : iterable of str
        Any texts.
    known : iterable of str
        Names in use; one that looks like a title is taken as it is written there.
    """
    spelled = {_core(name): name for name in known}
    found: dict[str, str] = {}
    for title in titles:
        text = "".join(sign if _is_allowed(sign) else "_" for sign in unicodedata.normalize("NFC", title))
        stem = text.strip().lstrip(". ")[:MAX_NAME].strip() or "rater"
        name, number = stem, 1
        while _core(name) in found:
            number += 1
            name = f"{stem[: MAX_NAME - 5].strip()}-{number}"
        found[_core(name)] = spelled.get(_core(name), name)
    return tuple(found.values())


def same_voxels(masks: Mapping[_Rater, NDArray[Any]]) -> tuple[tuple[_Rater, _Rater], ...]:
    """Return the pairs of raters whose masks mark the very same voxels; two without any are two readings."""
    sizes = {rater: int(np.count_nonzero(mask)) for rater, mask in masks.items()}
    return tuple(
        (one, other)
        for one, other in combinations(masks, 2)
        if sizes[one] == sizes[other] > 0 and np.array_equal(masks[one] != 0, masks[other] != 0)
    )


def same_voxels_warning(one: str, other: str, cases: str) -> str:
    """Say of two raters that `same_voxels` found them to agree entirely in some cases."""
    return f"raters {one} and {other} marked the very same voxels in {cases}; check that no mask stands under two names"


def _is_allowed(sign: str) -> bool:
    return sign in _SIGNS or sign.isalpha()


def _core(name: str) -> str:
    """Return what is left of a name without case, spaces and leading zeros."""
    return _LEADING_ZEROS.sub("", "".join(unicodedata.normalize("NFKC", name).casefold().split()))
