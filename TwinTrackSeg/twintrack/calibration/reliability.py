"""How well a score agrees with the raters: the numbers and the picture of a reliability diagram."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError
from twintrack.system.atomic import atomic_path
from twintrack.system.ownership import Inputs

if TYPE_CHECKING:
    from twintrack.calibration.calibrator import Calibrator
    from twintrack.calibration.sketch import ScoreSketch

__all__ = ["ReliabilityCurve", "plot_reliability", "reliability_curve"]

LOOKS = {"score": ("#D55E00", "o"), "map": ("#0072B2", "s"), "compared": ("#009E73", "^")}
"""Colour and marker of each kind of curve, in every picture: the raw score, the map to be judged, another method's.

Okabe and Ito's palette, told apart with any kind of colour vision.
"""

PICTURES = (".png", ".svg", ".pdf")


GAP = "gap: mean distance from the diagonal,\nall voxels with a score above 0"
"""What the numbers in the legend are."""


@dataclass(frozen=True)
class ReliabilityCurve:
    """Mean score against mean MHR in uniform bins of the score (positive class, multi-rater).

    Attributes
    ----------
    edges : numpy.ndarray
        float64 (bin + 1,): bin edges from 0 to 1.
    counts : numpy.ndarray
        int64 (bin,): voxels.
    score, mhr : numpy.ndarray
        float64 (bin,): mean score and mean MHR; NaN in an empty bin.
    mass : numpy.ndarray
        float64 (bin,): weight of the voxels; their number, unless the sketch weighs cases equally.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    score: NDArray[np.float64]
    mhr: NDArray[np.float64]
    mass: NDArray[np.float64]

    @property
    def gap(self) -> float:
        """Distance of mean score and mean MHR, averaged by the bins' mass: over all drawn voxels, not case by case."""
        used = self.counts > 0
        gap = np.abs(self.score[used] - self.mhr[used])
        return float(gap @ self.mass[used] / max(float(self.mass.sum()), 1.0))


def reliability_curve(sketch: ScoreSketch, calibrator: Calibrator | None = None, *, bins: int = 50) -> ReliabilityCurve:
    """Return the reliability curve of the score, or of the calibrated map, of the sketched cases.

    A cell of the sketch falls into a bin as a whole, by its mean score; cells are far narrower than bins.

    Parameters
    ----------
    sketch : ScoreSketch
        The cases.
    calibrator : Calibrator, optional
        If given, the curve of the map it makes of the score.
    bins : int
        Number of uniform bins on [0, 1]; 50 as in the CURVAS-PDACVI protocol.
    """
    used = np.flatnonzero(sketch.counts)
    mass = sketch.mass[used].astype(float)
    score = np.minimum(sketch.score_sums[used] / mass, 1.0)
    if calibrator is not None:
        score = calibrator(score).astype(float)
    number = np.minimum((score * bins).astype(int), bins - 1)
    sums = np.zeros((4, bins))
    for row, values in zip(sums, (sketch.counts[used], mass, score * mass, sketch.mhr_sums[used]), strict=True):
        np.add.at(row, number, values)
    counts, total, scores, mhr = sums
    divisor = np.where(total > 0, total, np.nan)
    edges = np.linspace(0.0, 1.0, bins + 1)
    return ReliabilityCurve(edges, counts.astype(np.int64), scores / divisor, mhr / divisor, total)


def check_picture_name(path: str | Path) -> None:
    """Refuse the name of a file that no picture can be written to.

    Raises
    ------
    InputError
        Says which endings there are.
    """
    if Path(path).suffix.lower() not in PICTURES:
        raise InputError(
            f"not a picture file name; use one that ends with {', '.join(PICTURES)}", code="picture-ending", path=path
        )


def plot_reliability(
    path: str | Path,
    curves: Mapping[str, ReliabilityCurve],
    *,
    titles: Mapping[str, str] | None = None,
    calibrator: Calibrator | None = None,
    title: str = "Reliability against the mean human response",
    inputs: Inputs = (),
    overwrite: bool = False,
) -> None:
    """Draw reliability curves, with the voxels per bin below, to an image file.

    Parameters
    ----------
    path : str or Path
        The picture; the ending chooses the format (.png, .svg, .pdf).
    curves : mapping
        Curves by their kind, one of `LOOKS`.
    titles : mapping, optional
        What the legend calls a kind; by default its name.
    calibrator : Calibrator, optional
        Its map is drawn as a line over the score, with its band if it has one.
    title : str
        Title of the picture.

    Raises
    ------
    InputError
        If the ending is none of a picture.
    OutputError
        If the file cannot be written.
    """
    from matplotlib.figure import Figure

    check_picture_name(path)
    figure = Figure(figsize=(5.6, 7.0), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
    upper.plot([0, 1], [0, 1], color="#777777", lw=1, ls=(0, (4, 3)), label="perfect agreement")
    if calibrator is not None:
        _draw_map(upper, calibrator)
    for kind, curve in curves.items():
        _draw_curve(upper, lower, (titles or {}).get(kind, kind), curve, *LOOKS[kind])
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="fraction of readers marking tumour (MHR)", title=title)
    legend = upper.legend(
        loc="upper left", edgecolor="none", framealpha=0.85, fontsize=9, title=GAP if curves else None
    )
    legend.set_alignment("left")
    legend.get_title().set_fontsize(8)
    lower.set(yscale="log", xlabel="score or calibrated probability", ylabel="voxels per bin")
    for axes in (upper, lower):
        axes.grid(color="#dddddd", lw=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(path, inputs=inputs, overwrite=overwrite) as partial:
        figure.savefig(partial, dpi=160, metadata={"Software": None} if partial.suffix == ".png" else None)


def _draw_map(axes: Any, calibrator: Calibrator) -> None:
    """Draw a calibrator's map and band into matplotlib axes."""
    # The map jumps from 0 outside the ROI to its first knot; constant beyond the last.
    x, y = (0.0, *calibrator.knots_x, 1.0), (calibrator.knots_y[0], *calibrator.knots_y, calibrator.knots_y[-1])
    label = f"calibrator ({calibrator.target}, {len(calibrator.knots_x)} bins)"
    axes.plot(x, y, color="#222222", lw=1.6, label=label, zorder=2.5)
    band = calibrator.band
    if band is not None:
        over = "cases" if band.units == calibrator.cases else "groups of cases"
        label = f"{band.level:.0%} band over {band.units} {over}"
        axes.fill_between(band.score, band.low, band.high, color="#222222", alpha=0.18, lw=0, label=label, zorder=1.5)


def _draw_curve(upper: Any, lower: Any, name: str, curve: ReliabilityCurve, color: str, marker: str) -> None:
    """Draw one curve into the upper and its counts into the lower axes (matplotlib)."""
    used = curve.counts > 0
    label = f"{name}: gap {curve.gap:.4f}"
    upper.plot(curve.score[used], curve.mhr[used], color=color, marker=marker, ms=4, lw=1.2, label=label)
    lower.stairs(np.where(used, curve.counts, np.nan), curve.edges, color=color, lw=1.4, baseline=None)
