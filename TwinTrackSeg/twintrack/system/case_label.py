"""The label that tells one case from another on screens, on paper and in DICOM objects.

People put names of patients into labels: a label is never part of a path, a log line, an error or a run's key.
"""

from __future__ import annotations

from twintrack.errors import InputError

__all__ = ["LABEL_LIMIT", "as_case_label", "check_case_label"]

LABEL_LIMIT = 64
"""Most characters, as in the value representation LO of DICOM."""

CUT = "…"
"""Stands at the end of a name that was too long for a label."""


def check_case_label(label: str) -> None:
    """Refuse a label with control characters, marks without a shape, a backslash (which separates values in DICOM).

    Raises
    ------
    InputError
        Does not repeat the label, because errors are logged.
    """
    if not 1 <= len(label) <= LABEL_LIMIT or not label.isprintable() or "\\" in label or label != label.strip():
        raise InputError(
            f"the case label must have 1 to {LABEL_LIMIT} printable characters, without a backslash and without spaces "
            "at its ends; choose another",
            code="case-label",
        )


def as_case_label(name: str) -> str | None:
    """Return the name of something, such as a row of a manifest, as a label; None if nothing of it can be shown."""
    shown = "".join(letter if letter.isprintable() and letter != "\\" else " " for letter in name)
    label = " ".join(shown.split())
    if len(label) > LABEL_LIMIT:
        label = label[: LABEL_LIMIT - len(CUT)].rstrip() + CUT
    return label or None
