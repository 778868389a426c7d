"""What was measured, kept after each step, told as tables and as a verdict."""

from __future__ import annotations

import json
import math
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["NOT_MEASURED", "Report", "Verdict", "table"]

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Verdict:
    """One target, and whether it was met; `found` is None where nothing was measured."""

    target: str
    found: float | None
    limit: float
    at_most: bool

    @property
    def word(self) -> str:
        """``met``, ``missed`` or ``not measured``."""
        if self.found is None or not math.isfinite(self.found):
            return NOT_MEASURED
        return "met" if (self.found <= self.limit if self.at_most else self.found >= self.limit) else "missed"


@dataclass
class Report:
    """Runs steps until the time is over, and keeps each result in a file at once.

    A step that fails is told with its traceback and the next one is run: a GPU may be had only once.

    Attributes
    ----------
    path : pathlib.Path or None
        The JSON file.
    ends_s : float
        When the time is over, by ``time.monotonic``.
    content : dict
        What was measured, by step.
    """

    path: Path | None
    ends_s: float
    content: dict[str, Any] = field(default_factory=dict)

    @property
    def left_s(self) -> float:
        """Seconds until the time is over."""
        return self.ends_s - time.monotonic()

    def step(self, name: str, measure: Callable[[], Any], *, needs_s: float = 0.0) -> Any:
        """Run a step if there are `needs_s` left, keep and return its result; None where there is none."""
        if self.left_s <= needs_s:
            self._keep(name, {"skipped": f"{max(self.left_s, 0):.0f} s are left, and it may take {needs_s:.0f}"})
            return None
        start = time.monotonic()
        print(f"== {name}", flush=True)
        try:
            found = measure()
        except Exception as error:  # whatever it is, the other steps are to be measured
            traceback.print_exc()
            self._keep(name, {"failed": f"{type(error).__name__}: {error}"})
            return None
        self._keep(name, found)
        print(f"   {time.monotonic() - start:.1f} s", flush=True)
        return found

    def _keep(self, name: str, found: Any) -> None:
        self.content[name] = found
        for word in ("skipped", "failed"):
            if isinstance(found, Mapping) and word in found:
                print(f"   {name} {word}: {found[word]}", flush=True)
        self.write()

    def write(self) -> None:
        """Write what there is."""
        if self.path is not None:
            self.path.write_text(json.dumps(self.content, indent=1, default=str), encoding="utf-8")


def table(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows with the same keys as a table in plain text; a missing value reads "not measured"."""
    if not rows:
        return f"\n{title}: {NOT_MEASURED}"
    names = list(rows[0])
    cells = [[_text(row.get(name)) for name in names] for row in rows]
    widths = [max(len(name), *(len(line[n]) for line in cells)) for n, name in enumerate(names)]
    lines = [[name.ljust(width) for name, width in zip(names, widths, strict=True)]]
    lines += [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in cells]
    return "\n".join(["", title, *("  ".join(line).rstrip() for line in lines)])


def _text(value: Any) -> str:
    if value is None:
        return NOT_MEASURED
    return f"{value:.4g}" if isinstance(value, float) else str(value)
