"""What became of each object that was sent: common to both ways to an archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from twintrack.errors import InputError, OutputError

__all__ = ["Delivery", "check_arrived", "missing_package"]

MOST_TOLD = 3
"""Files that did not arrive are named up to this number."""


@dataclass(frozen=True)
class Delivery:
    """One object that was to be sent.

    Attributes
    ----------
    path : Path
        Its file, which stays where it is.
    problem : str
        Why the archive does not have it; empty where it confirmed to have stored it.
    """

    path: Path
    problem: str = ""

    @property
    def arrived(self) -> bool:
        """Whether the archive confirmed to have stored it."""
        return not self.problem


def check_arrived(deliveries: Sequence[Delivery], place: str) -> None:
    """Check that all objects arrived at `place`.

    Raises
    ------
    OutputError
        If any did not; the sentence tells which did, and that the files are kept.
    """
    lost = [item for item in deliveries if not item.arrived]
    if not lost:
        return
    names = "; ".join(f"{item.path.name} ({item.problem})" for item in lost[:MOST_TOLD])
    more = f" and {len(lost) - MOST_TOLD} more" if len(lost) > MOST_TOLD else ""
    good = [item.path.name for item in deliveries if item.arrived]
    had = f"arrived: {', '.join(good)}" if 0 < len(good) <= MOST_TOLD else f"{len(good)} of {len(deliveries)} arrived"
    raise OutputError(
        f"did not take {names}{more}; {had}; the files are kept in {lost[0].path.parent}",
        code="archive-refused",
        path=place,
    )


def missing_package(name: str) -> InputError:
    """Return the error for a missing package of the extra ``dicom-send``."""
    return InputError(
        f"sending needs the package {name}; install it with: pip install {name}",
        code="package-missing",
    )
