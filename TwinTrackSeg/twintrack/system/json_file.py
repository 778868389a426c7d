"""JSON that a stranger wrote: limits on bytes, depth and digits, and none of what Python reads beside the standard."""

from __future__ import annotations

import json
import stat
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["MAX_DEPTH", "MAX_JSON_BYTES", "json_for_script", "parse_json", "read_json", "read_limited"]

MAX_JSON_BYTES = 16 * 1024**2
"""Largest JSON file; the largest that is known, a data set's list of 2,238 training cases, has half a megabyte."""

MAX_DEPTH = 32
"""Deepest nesting of lists and objects; nnU-Net's plans have 8."""

MAX_DIGITS = 20
"""Longest whole number: 64 bits."""


def read_limited(path: Path, max_bytes: int) -> bytes:
    """Read a file that must be an ordinary one and small; a pipe or a device is not waited for.

    Raises
    ------
    OSError
        If there is none, or it cannot be read.
    ValueError
        Says in a few words why it is refused.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is not an ordinary file")
    with path.open("rb") as stream:
        content = stream.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"it is larger than the {max_bytes:,} bytes that such a file may have")
    return content


def read_json(path: Path, *, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Read a JSON file; see `parse_json`.

    Raises
    ------
    OSError, ValueError
        As `read_limited` and `parse_json`.
    """
    return parse_json(read_limited(path, max_bytes))


def parse_json(content: bytes | str) -> Any:
    """Return the value of a JSON text (UTF-8, with or without a byte order mark).

    Raises
    ------
    ValueError
        Says in a few words why it is refused: it is no JSON, is nested deeper than `MAX_DEPTH`, names a key twice, or
        holds NaN, Infinity, or a number beyond 64 bits or the range of a float.
    """
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        value = json.loads(
            text, parse_constant=_no_constant, parse_int=_whole, parse_float=_real, object_pairs_hook=_object
        )
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error.msg} in line {error.lineno}") from error
    except RecursionError as error:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels") from error
    _check_depth(value)
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which is no number")


def _whole(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise ValueError(f"it holds a whole number of {len(digits)} digits")
    return int(digits)


def _real(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise ValueError("it holds a number that is too large")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        keys: set[str] = set()
        twice = next(key for key, _ in pairs if key in keys or keys.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"it holds the key {twice[:100]!r} twice in one object")
    return table


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            inner
            for holder in level
            if isinstance(holder, dict | list)
            for inner in (holder.values() if isinstance(holder, dict) else holder)
        ]
        if not level:
            return
    raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")


def save_json(path: Path, content: object) -> None:
    """Write `content` as JSON; `ValueError` for NaN and infinity, which JSON has not."""
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def json_for_script(content: object) -> str:
    """Return JSON that can stand inside a script element of a page: no tag can begin or end in it."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
