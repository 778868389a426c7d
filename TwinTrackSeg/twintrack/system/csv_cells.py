"""Cells of a table that a spreadsheet program must not run as a formula."""

from __future__ import annotations

__all__ = ["harmless"]

FORMULA_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""What spreadsheet programs take for the start of a formula, in both widths."""


def harmless(text: str) -> str:
    """Return a name as a cell that is shown as text: on one line, with an apostrophe in front of a formula.

    References
    ----------
    OWASP, "CSV Injection".
    """
    line = " ".join(text.splitlines()).replace("\t", " ")
    return f"'{line}" if line.lstrip().startswith(FORMULA_STARTS) else line
