"""The only way to a terminal: what is printed is shown as text, whatever names the files of strangers hold.

A terminal obeys control characters: they move the cursor, change colours and titles, and can show one name as another.
Names come from DICOM headers, archives, manifests, bundles and paths, so everything that is printed passes here.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
import warnings
from contextlib import suppress
from typing import TextIO

from twintrack.errors import OutputError

__all__ = [
    "PrintableFormatter",
    "one_line",
    "prepare_streams",
    "printable",
    "say",
    "say_error",
    "say_lines",
    "say_traceback",
]

MAX_LINE = 2000
"""Longest line of an error or a warning; of a longer one the middle is left out."""

_HIDDEN = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # control characters, C0, DEL and C1, with ESC and line ends
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction marks, which show a name as another
    "\u2028\u2029\ufff9-\ufffb\ufeff\u200b\U000e0000-\U000e007f"  # line ends and characters without a shape
    "\ud800-\udfff"  # halves of characters: bytes of a path that are not UTF-8
    "]"
)


def printable(text: str) -> str:
    r"""Return `text` on one line, with every character that a terminal obeys written as ``\x1b`` or ``\u202e``."""
    return _HIDDEN.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found.group())
    if 0xDC80 <= code <= 0xDCFF:  # a byte that Python kept as half a character
        code -= 0xDC00
    known = {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"}.get(code)
    return known or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def one_line(text: str) -> str:
    """Return a message for people on one line of at most `MAX_LINE` characters, as `printable` does."""
    line = printable(" ".join(text.split()))
    if len(line) > MAX_LINE:
        line = f"{line[: MAX_LINE // 2]} [...] {line[-MAX_LINE // 2 :]}"
    return line


def say(text: str, *, err: bool = False) -> None:
    """Print one line, on standard output or standard error."""
    _write(printable(text), err)


def say_lines(text: str) -> None:
    """Print text that this program laid out in lines, on standard output."""
    _write("\n".join(printable(line) for line in text.split("\n")), err=False)


def say_error(text: str) -> None:
    """Print a message on standard error, on one line of limited length."""
    _write(one_line(text), err=True)


def say_traceback() -> None:
    """Print the traceback of the exception that is being handled on standard error."""
    _write("\n".join(printable(line) for line in traceback.format_exc().split("\n")), err=True)


def _write(text: str, err: bool) -> None:
    """Write and flush; who stopped reading, as ``head`` does, has all that is wanted.

    Raises
    ------
    OutputError
        If standard output goes to a file that cannot be written.
    """
    stream = sys.stderr if err else sys.stdout
    try:
        stream.write(text + "\n")
        stream.flush()
    except OSError as error:
        with suppress(OSError, ValueError):  # what is left in the buffer would fail again at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if not err and not isinstance(error, BrokenPipeError):
            raise OutputError(
                f"standard output cannot be written ({error.strerror}); free some space where it goes to",
                code="not-writable",
            ) from error


class PrintableFormatter(logging.Formatter):
    """Log lines as `printable` shows them."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's lines."""
        return "\n".join(printable(line) for line in super().format(record).split("\n"))


def prepare_streams() -> None:
    """Let no character end the program that the terminal's encoding lacks, and show libraries' warnings as text.

    Standard streams that whoever started the program has closed lead nowhere from now on: the next file that is opened
    would take their place, and what libraries print would be written into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    warnings.showwarning = _show_warning


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    text = warnings.formatwarning(message, category, filename, lineno, line)
    (file or sys.stderr).write("\n".join(printable(part) for part in text.split("\n")))
