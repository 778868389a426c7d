"""The list of licences covers what is required, and holds nothing that Apache-2.0 software cannot be used with."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[3]

KNOWN = {
    *("Apache-2.0", "MIT", "MIT-CMU", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "ISC", "PSF-2.0", "Zlib", "CC0-1.0"),
    *("BSL-1.0", "MPL-2.0", "LGPL-3.0-or-later"),
}
"""Licences under which a package may be used by, and installed beside, Apache-2.0 software."""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements() -> list[Requirement]:
    text = (ROOT / "TwinTrackSeg" / "Resources" / "requirements.txt").read_text(encoding="utf-8")
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line]


def table() -> dict[str, tuple[str, bool]]:
    text = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z0-9-]+) \| ([^|]+) \| (yes)? *\|$", text, re.MULTILINE)
    return {name: (licence.strip(), bool(direct)) for name, licence, direct in rows if set(name) != {"-"}}


def installed_with_them() -> set[str]:
    """Return what the requirements and their requirements bring into this installation."""
    found: set[str] = set()
    left = [requirement.name for requirement in requirements()]
    while left:
        name = left.pop()
        if canonical(name) in found:
            continue
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another system
        found.add(canonical(name))
        wanted = (Requirement(text) for text in needs)
        left += [need.name for need in wanted if need.marker is None or need.marker.evaluate({"extra": ""})]
    return found


def test_every_requirement_is_marked_in_the_table():
    assert {name for name, (_, direct) in table().items() if direct} == {canonical(r.name) for r in requirements()}


def test_everything_that_is_installed_with_them_is_in_the_table():
    assert installed_with_them() <= set(table())


def test_every_licence_is_one_that_fits():
    for name, (licence, _) in table().items():
        words = set(re.split(r", parts |, | or | and ", licence))
        assert words <= KNOWN, name
