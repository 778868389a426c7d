"""The monotone map from score to expected fraction of raters, as data and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twintrack.atomic import atomic_path
from twintrack.errors import InputError

__all__ = ["DOMAIN", "POOLING", "SCHEMA", "TARGETS", "Calibrator", "read_calibrator", "write_calibrator"]

SCHEMA = 1
"""Version of the JSON layout."""

TARGETS = ("mhr", "single-rater", "hard-label")
"""What a calibrator can be fitted to."""

POOLING = "mean-softmax"
"""How the members are pooled into the score that a calibrator is fitted on and applied to."""

DOMAIN = "score > 0"
"""The voxels a calibrator is fitted on."""

_BLOCK = 1 << 18
"""Voxels mapped at a time: small enough for the cache, so float64 copies never leave it."""


@dataclass(frozen=True)
class Calibrator:
    """A monotone, piecewise linear map from the pooled score to the MHR.

    Between two knots the map is linear. Below the first and above the last knot it is constant, as the mean score of
    an end bin is the farthest point for which there is evidence: a score of 1 does not mean that all readers agree.
    Exactly 0, the score outside the ROI, maps to exactly 0.

    Attributes
    ----------
    target : str
        One of `TARGETS`.
    rater : int or None
        Number of the rater, from 1, for the target "single-rater".
    bins : int
        Number of equal-mass bins asked for.
    knots_x, knots_y : tuple of float
        Mean score (strictly rising) and calibrated MHR (never falling, in [0, 1]) of each bin in use.
    bin_counts : tuple of int
        Voxels in each bin in use.
    cases, raters, voxels : int
        What it was fitted on.
    domain, pooling : str
        Which voxels of which score it holds for.
    versions : mapping
        Versions of the packages that fitted it.
    manifest_sha256 : str or None
        Hash of the manifest that listed the cases.
    warnings : tuple of str
        Why the map may not be trusted; empty if there is no reason known.
    """

    target: str
    rater: int | None
    bins: int
    knots_x: tuple[float, ...]
    knots_y: tuple[float, ...]
    bin_counts: tuple[int, ...]
    cases: int
    raters: int
    voxels: int
    domain: str = DOMAIN
    pooling: str = POOLING
    versions: Mapping[str, str] = field(default_factory=dict)
    manifest_sha256: str | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check(self)

    def __call__(self, score: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the calibrated map of `score`.

        Parameters
        ----------
        score : numpy.ndarray
            Scores in [0, 1], any shape; float32 is mapped without a float64 copy of the whole.

        Returns
        -------
        numpy.ndarray
            float32 of the same shape, in [0, 1].

        Raises
        ------
        InputError
            If a score is outside [0, 1] or NaN.
        """
        flat = np.ravel(score)
        mapped = np.zeros(flat.shape, np.float32)
        x, y = np.asarray(self.knots_x), np.asarray(self.knots_y)
        for start in range(0, flat.size, _BLOCK):
            block = flat[start : start + _BLOCK]
            low, high = block.min(), block.max()
            if not (low >= 0 and high <= 1):
                raise InputError(f"the score to calibrate must lie in [0, 1] without NaN, got {low:g} to {high:g}")
            if high > 0:  # most of a CT lies outside the ROI, where the map is 0
                mapped[start : start + _BLOCK] = np.where(block > 0, np.interp(block, x, y), 0.0)
        return mapped.reshape(np.shape(score))

    def to_json(self) -> dict[str, Any]:
        """Return the calibrator as the JSON object of ``calibrator.json``."""
        return {
            "schema": SCHEMA,
            "target": self.target,
            "rater": self.rater,
            "bins": self.bins,
            "bins_used": len(self.knots_x),
            "knots": {"score": list(self.knots_x), "mhr": list(self.knots_y)},
            "domain": self.domain,
            "pooling": self.pooling,
            "cases": self.cases,
            "raters": self.raters,
            "voxels": self.voxels,
            "bin_counts": list(self.bin_counts),
            "versions": dict(self.versions),
            "manifest_sha256": self.manifest_sha256,
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_json(cls, data: object) -> Calibrator:
        """Return the calibrator that `to_json` described; refuse anything else with an `InputError`."""
        if not isinstance(data, dict):
            raise InputError("a calibrator must be a JSON object")
        if data.get("schema") != SCHEMA or isinstance(data["schema"], bool):
            raise InputError(
                f'"schema" must be {SCHEMA}, got {data.get("schema")!r}; update or fit the calibrator again'
            )
        missing = [name for name in _FIELDS if name not in data]
        if missing:
            raise InputError(f'"{missing[0]}" is missing')
        knots = data["knots"]
        if not isinstance(knots, dict) or "score" not in knots or "mhr" not in knots:
            raise InputError('"knots" must hold the lists "score" and "mhr"')
        calibrator = cls(
            knots_x=_numbers("knots.score", knots["score"]),
            knots_y=_numbers("knots.mhr", knots["mhr"]),
            bin_counts=tuple(_whole("bin_counts", n) for n in _list("bin_counts", data["bin_counts"])),
            versions=_mapping_of_text("versions", data["versions"]),
            warnings=tuple(_text("warnings", line) for line in _list("warnings", data["warnings"])),
            **{name: data[name] for name in _PLAIN},
        )
        if data["bins_used"] != len(calibrator.knots_x):
            raise InputError(f'"bins_used" must be the number of knots, {len(calibrator.knots_x)}')
        return calibrator


_PLAIN = ("target", "rater", "bins", "cases", "raters", "voxels", "domain", "pooling", "manifest_sha256")
_FIELDS = (*_PLAIN, "bins_used", "knots", "bin_counts", "versions", "warnings")


def _check(calibrator: Calibrator) -> None:
    """Refuse a calibrator that is not a monotone map on [0, 1] or whose numbers contradict each other."""
    x, y = calibrator.knots_x, calibrator.knots_y
    if calibrator.target not in TARGETS:
        raise InputError(f'"target" must be one of {", ".join(TARGETS)}, got {calibrator.target!r}')
    for name in ("bins", "cases", "raters", "voxels"):
        _whole(name, getattr(calibrator, name))
    if (calibrator.target == "single-rater") != (calibrator.rater is not None):
        raise InputError('"rater" must be a number for the target single-rater and null for any other')
    if calibrator.rater is not None and _whole("rater", calibrator.rater) > calibrator.raters:
        raise InputError(f'"rater" must be at most the number of raters, {calibrator.raters}, got {calibrator.rater}')
    for name in ("domain", "pooling"):
        _text(name, getattr(calibrator, name))
    if calibrator.manifest_sha256 is not None:
        _text("manifest_sha256", calibrator.manifest_sha256)
    if not 1 <= len(x) <= calibrator.bins:
        raise InputError(f'"knots.score" must have 1 to {calibrator.bins} values ("bins"), got {len(x)}')
    if len(y) != len(x) or len(calibrator.bin_counts) != len(x):
        raise InputError('"knots.score", "knots.mhr" and "bin_counts" must have the same length')
    for name, values in (("knots.score", x), ("knots.mhr", y)):
        if not all(0 <= value <= 1 for value in values):
            raise InputError(f'"{name}" must lie in [0, 1] without NaN')
    if any(b <= a for a, b in pairwise(x)):
        raise InputError('"knots.score" must rise strictly')
    if any(b < a for a, b in pairwise(y)):
        raise InputError('"knots.mhr" must never fall')
    if sum(calibrator.bin_counts) != calibrator.voxels:
        raise InputError(f'"bin_counts" must add up to "voxels", {calibrator.voxels}')


def _whole(name: str, value: object) -> int:
    """Return a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f'"{name}" must be a whole number of at least 1, got {value!r}')
    return value


def _list(name: str, value: object) -> list[object]:
    if not isinstance(value, list):
        raise InputError(f'"{name}" must be a list')
    return value


def _numbers(name: str, value: object) -> tuple[float, ...]:
    numbers = _list(name, value)
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 1:
            raise InputError(f'"{name}" must be a list of numbers in [0, 1], got {number!r}')
    return tuple(float(number) for number in numbers if isinstance(number, int | float))


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InputError(f'"{name}" must be text, got {value!r}')
    return value


def _mapping_of_text(name: str, value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise InputError(f'"{name}" must be an object')
    return {_text(name, key): _text(name, item) for key, item in value.items()}


def read_calibrator(path: str | Path) -> Calibrator:
    """Read ``calibrator.json``.

    Raises
    ------
    InputError
        If the file is missing or not a valid calibrator; the message names the file and the field.
    """
    path = Path(path)
    try:
        return Calibrator.from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; make one with `twintrack calibrate`") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON; make it again with `twintrack calibrate`") from error
    except InputError as error:
        raise InputError(f"{path}: not a valid calibrator: {error}") from error


def write_calibrator(calibrator: Calibrator, path: str | Path) -> None:
    """Write ``calibrator.json``; every number comes back exactly.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    text = json.dumps(calibrator.to_json(), indent=1, allow_nan=False)
    with atomic_path(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
