"""Which CT a result belongs to: the part of ``result.json`` that says so, and how it is told to people.

File name, series description and label may hold a patient's name. They stand in the result and in what is made of it,
and never in a log, an error or the name of a temporary file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from twintrack.io.ct import Ct, ct_sha256

__all__ = ["HASH_DIGITS", "NAME_LIMIT", "WhichCt", "describe_ct", "shown_name"]

HASH_DIGITS = 8
"""So many digits of the CT's hash are shown, and are the label where none is given."""

NAME_LIMIT = 255
"""Most characters of a name of a file or series that are kept."""


def describe_ct(ct: Ct, case: str | None) -> dict[str, Any]:
    """Return what ``result.json`` says under ``input`` about which CT it is.

    Parameters
    ----------
    ct : Ct
        What was segmented.
    case : str, optional
        Label of the case; without one it is the first `HASH_DIGITS` digits of the CT's hash.
    """
    sha256, series = ct_sha256(ct.volume), ct.series
    return {
        "case": case or sha256[:HASH_DIGITS],
        "name": shown_name(ct.name),
        "series_number": None if series is None else series.number,
        "series_description": None if series is None else shown_name(series.description),
        "study_date": None if series is None else series.study_date,
        "sha256": sha256,
        "created": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def shown_name(name: str | None) -> str | None:
    """Return a name from a path or a header on one line of limited length; None if there is nothing to show."""
    letters = "".join(letter if letter.isprintable() else " " for letter in name or "")
    return " ".join(letters.split())[:NAME_LIMIT] or None


@dataclass(frozen=True)
class WhichCt:
    """What a result says about its CT, as texts for people; empty where it does not say.

    Attributes
    ----------
    case : str
        The label.
    digits : str
        First digits of the CT's hash.
    name, study_date, series, created : str
        Name of the file or folder; YYYY-MM-DD; number and description; time in UTC.
    """

    case: str = ""
    digits: str = ""
    name: str = ""
    study_date: str = ""
    series: str = ""
    created: str = ""

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> WhichCt:
        """Read the content of a ``result.json``, of any version; what is of another kind is left out."""
        stated = result.get("input")
        if not isinstance(stated, Mapping):
            return cls()

        def text(key: str) -> str:
            value = stated.get(key)
            return (shown_name(value) or "") if isinstance(value, str) else ""

        number = stated.get("series_number")
        numbered = f"{number}" if isinstance(number, int) and not isinstance(number, bool) else ""
        return cls(
            case=text("case"),
            digits=text("sha256")[:HASH_DIGITS],
            name=text("name"),
            study_date=text("study_date"),
            series=": ".join(part for part in (numbered, text("series_description")) if part),
            created=text("created").replace("T", " ").replace("Z", " UTC"),
        )

    @property
    def short(self) -> str:
        """Label and hash on one line, for places with little room."""
        digits = f"CT {self.digits}" if self.digits else ""
        case = "" if self.case in ("", self.digits) else f"Case {self.case}"
        return " · ".join(part for part in (case, digits) if part)

    @property
    def page_head(self) -> tuple[str, ...]:
        """What tells one printed page from another."""
        study = f"study {self.study_date}" if self.study_date else ""
        series = f"series {self.series}" if self.series else ""
        made = f"made {self.created}" if self.created else ""
        return tuple(part for part in (self.short, study, series, made) if part)

    @property
    def entries(self) -> tuple[tuple[str, str], ...]:
        """All of it, named."""
        named = (
            ("Case", self.case),
            ("CT", self.name),
            ("Study date", self.study_date),
            ("Series", self.series),
            ("CT hash", self.digits),
            ("Made", self.created),
        )
        return tuple((name, text) for name, text in named if text)
