"""What headers written as text have in common: lines, numbers, names of files in a row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import cast

from twintrack.errors import InputError
from twintrack.io.voxel_file import shown

__all__ = ["LINES", "files_of_pattern", "floats", "integers", "size_of", "text_of"]

LINES = 20_000
"""Most lines of a header, or files of a volume."""

_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,4})?|[-+]?nan|[-+]?inf", re.IGNORECASE)
_PATTERN = re.compile(r"([^%]*)%(0?)([0-9]{0,2})[diu]([^%]*)")


def text_of(head: bytes) -> str:
    """Return a header's bytes as text, in which names of files keep their bytes."""
    return head.decode("utf-8", "surrogateescape")


def integers(text: str, field: str, count: int) -> tuple[int, ...]:
    """Return `count` whole numbers."""
    words = text.split(None, count)
    if len(words) != count or not all(_INTEGER.fullmatch(word) for word in words):
        raise InputError(
            f"must state {count} whole numbers as '{field}', got {shown(text)}; export it again",
            code="header-malformed",
        )
    return tuple(int(word) for word in words)


def floats(text: str, field: str, count: int) -> tuple[float, ...]:
    """Return `count` numbers, ``nan`` and ``inf`` among them."""
    words = text.split(None, count)
    if len(words) != count or not all(len(word) <= 400 and _FLOAT.fullmatch(word) for word in words):
        raise InputError(
            f"must state {count} numbers as '{field}', got {shown(text)}; export it again", code="header-malformed"
        )
    return tuple(float(word) for word in words)


def size_of(numbers: Sequence[int]) -> tuple[int, int, int]:
    """Return the size (x, y, z) of a volume."""
    if min(numbers) < 1:
        raise InputError(
            f"states a size of {' x '.join(map(str, numbers))} voxels; export it again", code="header-malformed"
        )
    return cast(tuple[int, int, int], tuple(numbers))


def files_of_pattern(name: str, first: int, last: int, step: int) -> tuple[str, ...]:
    """Return the names that ``slice%03d.raw`` with a range of numbers stands for."""
    found = _PATTERN.fullmatch(name)
    if found is None or step == 0 or (last - first) * step < 0 or abs(last - first) // abs(step) >= LINES:
        raise InputError(
            f"names its files in a way that is not understood ({shown(name)}); export it as one file",
            code="voxel-files",
        )
    before, zero, width, after = found.groups()
    numbers = range(first, last + (1 if step > 0 else -1), step)
    return tuple(f"{before}{number:{zero}{width}d}{after}" for number in numbers)
