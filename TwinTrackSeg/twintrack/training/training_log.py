"""What is measured while networks learn: a table and a picture of it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from twintrack.system.atomic import atomic_path

__all__ = ["LOG", "PICTURE", "Epoch", "write_log"]

LOG, PICTURE = "log.csv", "loss.png"
"""Names in the folder of a training."""


@dataclass(frozen=True)
class Epoch:
    """What is measured of one epoch of one network.

    Attributes
    ----------
    rate : float
        Learning rate.
    loss, held_out_loss : float
        Mean loss over the patches that are learnt from, and over patches of cases that are left out.
    held_out_dice : float
        Soft Dice, on the latter, of the fraction of raters that the network stands for and the one there is; it counts
        what raters differ in too. Not a number where neither has tumour.
    seconds : float
        What the epoch took.
    """

    rate: float
    loss: float
    held_out_loss: float
    held_out_dice: float
    seconds: float

    @property
    def row(self) -> list[float]:
        """The numbers alone, in order."""
        return list(astuple(self))


def write_log(folder: Path, logs: Mapping[str, Sequence[Epoch]], *, picture: bool = True) -> None:
    """Write the table of all networks, by their fold, and its picture, in the place of earlier ones."""
    with (
        atomic_path(folder / LOG, overwrite=True, mark=False) as partial,
        partial.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.writer(stream)
        writer.writerow(["network", "epoch", *(field.name for field in fields(Epoch))])
        for fold, log in logs.items():
            writer.writerows([fold, number, *map(_rounded, epoch.row)] for number, epoch in enumerate(log, start=1))
    if not picture:  # drawing takes as long as several steps of a small network
        return
    with atomic_path(folder / PICTURE, overwrite=True, mark=False) as partial:
        _draw(partial, logs)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _draw(path: Path, logs: Mapping[str, Sequence[Epoch]]) -> None:
    """Draw losses and overlap by epoch, one color a network."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (fold, log) in enumerate(logs.items()):
        epochs, color = range(1, len(log) + 1), f"C{number % 10}"
        left.plot(epochs, [epoch.loss for epoch in log], color=color, label=f"network {fold}")
        left.plot(epochs, [epoch.held_out_loss for epoch in log], color=color, linestyle=":", alpha=0.7)
        right.plot(epochs, [epoch.held_out_dice for epoch in log], color=color)
    left.set(xlabel="epoch", title="loss (dotted: cases left out)")
    right.set(xlabel="epoch", ylim=(0, 1), title="soft Dice with the fraction of readers")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    if len(logs) <= 10:
        left.legend(fontsize="small")
    figure.savefig(path, format="png", dpi=110)
