"""The monotone map from score to expected fraction of raters, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from twintrack.calibration.band import CalibratorBand
from twintrack.calibration.interpolation import InterpolationTable
from twintrack.calibration.score_axis import CELLS, cell_counts
from twintrack.calibration.statements import Statements
from twintrack.errors import InputError
from twintrack.raters import checked_name
from twintrack.volume import fractions

__all__ = ["DOMAINS", "POOLING", "TARGETS", "UPPER_SCORE", "WEIGHTINGS", "BinSelection", "Calibrator"]

TARGETS = ("mhr", "single-rater", "hard-label")
"""What a calibrator can be fitted to."""

POOLING = "mean-softmax"
"""How the members are pooled into the score that a calibrator is fitted on and applied to."""

DOMAINS = {"roi": "score > 0", "all": "all voxels"}
"""The voxels a calibrator can be fitted on, and how ``calibrator.json`` calls them."""

WEIGHTINGS = ("voxel", "case")
"""What weighs the same in a fit: every voxel, as in the paper, or every case."""

UPPER_SCORE = 0.05
"""From here on the map is what one sees; most bins lie below, in the background."""

_BLOCK = 1 << 16
"""Voxels mapped together, in a core's cache; blocks without any score above 0, most of a CT, are left 0 at once."""

_HALVES = np.arange(0x3C01, dtype=np.uint16).view(np.float16)
"""All numbers from 0 to 1 of half precision; the bits of each are its place."""


@dataclass(frozen=True)
class BinSelection:
    """How the number of bins was chosen.

    Attributes
    ----------
    bins : tuple of int
        The numbers tried.
    loss : tuple of float
        Held-out Brier score of each, averaged over the raters.
    excess, excess_error : tuple of float
        Loss above the least one, and its standard error over the folds.
    chosen : int
        The number of bins that was taken.
    folds : int
        Cases left out in turn; random groups of cases in a cohort above 256.
    constant_loss : float or None
        Held-out loss of a constant map: the fraction of tumour in the other cases; None in older files.
    """

    bins: tuple[int, ...]
    loss: tuple[float, ...]
    excess: tuple[float, ...]
    excess_error: tuple[float, ...]
    chosen: int
    folds: int
    constant_loss: float | None = None

    def __post_init__(self) -> None:
        columns = (self.loss, self.excess, self.excess_error)
        if self.chosen not in self.bins or any(len(column) != len(self.bins) for column in columns):
            raise InputError(
                '"selection" must hold one loss, excess and error for each number of bins', code="calibrator-selection"
            )


@dataclass(frozen=True)
class Calibrator:
    """A monotone, piecewise linear map from the pooled score to the MHR.

    Between two knots the map is linear. Below the first and above the last knot it is constant, as the mean score of
    an end bin is the farthest point for which there is evidence: a score of 1 does not mean that all raters agree.
    Exactly 0, the score outside the ROI, maps to exactly 0, unless the calibrator was fitted on all voxels: then zeros
    were data, and 0 is a score like any other.

    Attributes
    ----------
    target : str
        One of `TARGETS`.
    rater : str or None
        Name of the rater, for the target "single-rater".
    bins : int
        Number of equal-mass bins asked for.
    knots_x, knots_y : tuple of float
        Mean score (strictly rising) and calibrated MHR (never falling, in [0, 1]) of each bin in use.
    bin_counts : tuple of int
        Voxels in each bin in use.
    cases, raters, voxels : int
        What it was fitted on; `raters` is their number.
    domain, pooling : str
        Which voxels of which score it holds for; the domain is one of the values of `DOMAINS` or another text.
    versions : mapping
        Versions of the packages that fitted it.
    manifest_sha256 : str or None
        SHA-256 of the manifest that listed the cases; of the sorted hashes, one a line, if there were several.
    warnings : tuple of str
        Why the map may not be trusted; empty if there is no reason known.
    weighting : str
        One of `WEIGHTINGS`.
    tumour_voxels : float or None
        Sum of the MHR over the voxels it was fitted on.
    band : CalibratorBand or None
        How far the map would move with other cases.
    selection : BinSelection or None
        How the number of bins was chosen, if it was.
    rater_names : tuple of str
        Names of the raters, in their order; empty where they are not known.
    statements : Statements or None
        Calibrated statements of the same cases: see `twintrack.calibration.statements`.
    """

    target: str
    rater: str | None
    bins: int
    knots_x: tuple[float, ...]
    knots_y: tuple[float, ...]
    bin_counts: tuple[int, ...]
    cases: int
    raters: int
    voxels: int
    domain: str = DOMAINS["roi"]
    pooling: str = POOLING
    versions: Mapping[str, str] = field(default_factory=dict)
    manifest_sha256: str | None = None
    warnings: tuple[str, ...] = ()
    weighting: str = "voxel"
    tumour_voxels: float | None = None
    band: CalibratorBand | None = None
    selection: BinSelection | None = None
    rater_names: tuple[str, ...] = ()
    statements: Statements | None = None

    def __post_init__(self) -> None:
        _check(self)

    @property
    def maps_zero(self) -> bool:
        """Whether a score of exactly 0 is mapped like any other, instead of to 0."""
        return self.domain == DOMAINS["all"]

    @property
    def upper_bins(self) -> int:
        """Bins in use above score `UPPER_SCORE`: all that the visible part of the map is made from."""
        return sum(score > UPPER_SCORE for score in self.knots_x)

    @property
    def reached(self) -> float:
        """The largest value of the map that two bins reach; what lies above hangs on the voxels of a single bin."""
        return self.knots_y[-2] if len(self.knots_y) > 1 else self.knots_y[-1]

    def __call__(self, score: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the calibrated map of `score`.

        Parameters
        ----------
        score : numpy.ndarray
            Scores in [0, 1], any shape, as `twintrack.volume.fractions` allows them; read as float32.

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
        if flat.dtype == np.float16 and flat.size > _HALVES.size and flat.view(np.uint16).max() < _HALVES.size:
            # Of half precision there are so few numbers that each is mapped once.
            halves = self(_HALVES)
            for start in range(0, flat.size, _BLOCK):
                halves.take(
                    flat[start : start + _BLOCK].view(np.uint16), out=mapped[start : start + _BLOCK], mode="clip"
                )
            return mapped.reshape(np.shape(score))
        table = InterpolationTable(self.knots_x, self.knots_y)
        for start in range(0, flat.size, _BLOCK):
            values, out = flat[start : start + _BLOCK].astype(np.float32, copy=False), mapped[start : start + _BLOCK]
            values = fractions(values, "the score to calibrate")
            low, high = values.min(), values.max()
            if low > 0 or self.maps_zero:
                out[:] = table(values)
            elif high > 0:
                scored = values > 0
                out[scored] = table(values[scored])
        return mapped.reshape(np.shape(score))

    def sum_interval(
        self,
        score: NDArray[np.floating],
        mapped: NDArray[np.float32] | None = None,
        inside: NDArray[np.bool_] | None = None,
    ) -> tuple[float, float] | None:
        """Return the interval, by the band, of the sum of the map over voxels; None without a band.

        Parameters
        ----------
        score : numpy.ndarray
            Scores in [0, 1], any shape.
        mapped : numpy.ndarray, optional
            The map of these scores, where it is there already.
        inside : numpy.ndarray of bool, optional
            The voxels to sum over; all of them, if not given.
        """
        if self.band is None:
            return None
        flat = np.ravel(score)
        values = self(flat) if mapped is None else np.ravel(mapped)
        within = None if inside is None else np.ravel(inside)
        middle, counts = 0.0, np.zeros(CELLS, np.int64)
        for start in range(0, flat.size, _BLOCK):
            block = slice(start, start + _BLOCK)
            scores = flat[block].astype(np.float32, copy=False)
            counted = np.ones(scores.shape, bool) if self.maps_zero else scores > 0
            if within is not None:
                counted &= within[block]
            middle += float(values[block].sum(where=counted, dtype=np.float64))
            counts += cell_counts(scores[counted])
        low, high = self.band.sum_range(counts, self.knots_x, self.knots_y)
        return max(middle + low, 0.0), min(middle + high, float(counts.sum()))


def _check(calibrator: Calibrator) -> None:
    """Refuse a calibrator that is not a monotone map on [0, 1] or whose numbers contradict each other."""
    x, y = calibrator.knots_x, calibrator.knots_y
    if calibrator.target not in TARGETS:
        raise InputError(
            f'"target" must be one of {", ".join(TARGETS)}, got {calibrator.target!r}', code="calibration-target"
        )
    if calibrator.weighting not in WEIGHTINGS:
        raise InputError(
            f'"weighting" must be one of {", ".join(WEIGHTINGS)}, got {calibrator.weighting!r}',
            code="calibration-weighting",
        )
    if (calibrator.target == "single-rater") != (calibrator.rater is not None):
        raise InputError(
            '"rater" must be a name for the target single-rater and null for any other', code="calibrator-rater"
        )
    names = calibrator.rater_names
    if names and (len(names) != calibrator.raters or len(set(names)) < len(names)):
        raise InputError(
            f'"rater_names" must hold a name for each of the {calibrator.raters} raters', code="calibrator-rater"
        )
    for name in names:
        _check_name("rater_names", name)
    if calibrator.rater is not None:
        _check_name("rater", calibrator.rater)
        if names and calibrator.rater not in names:
            raise InputError(f'"rater" must be one of "rater_names", got {calibrator.rater!r}', code="calibrator-rater")
    if not 1 <= len(x) <= calibrator.bins:
        raise InputError(
            f'"knots.score" must have 1 to {calibrator.bins} values ("bins"), got {len(x)}', code="calibrator-knots"
        )
    if len(y) != len(x) or len(calibrator.bin_counts) != len(x):
        raise InputError(
            '"knots.score", "knots.mhr" and "bin_counts" must have the same length', code="calibrator-knots"
        )
    for name, values in (("knots.score", x), ("knots.mhr", y)):
        if not all(0 <= value <= 1 for value in values):
            raise InputError(f'"{name}" must lie in [0, 1] without NaN', code="calibrator-knots")
    if any(b <= a for a, b in pairwise(x)):
        raise InputError('"knots.score" must rise strictly', code="calibrator-knots")
    if any(b < a for a, b in pairwise(y)):
        raise InputError('"knots.mhr" must never fall', code="calibrator-knots")
    if sum(calibrator.bin_counts) != calibrator.voxels:
        raise InputError(f'"bin_counts" must add up to "voxels", {calibrator.voxels}', code="calibrator-knots")


def _check_name(field: str, name: str) -> None:
    try:
        if checked_name(name) == name:
            return
    except InputError as error:
        raise InputError(f'"{field}": {error}', code=error.code) from error
    raise InputError(
        f'"{field}" must be a rater\'s name without spaces around it, got {name!r}', code="calibrator-rater"
    )
