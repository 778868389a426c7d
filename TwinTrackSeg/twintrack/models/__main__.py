"""Getting or adding a model for a front end: ``python -m twintrack.models``, one JSON object in, JSON lines out.

The object comes as the only argument. Lines are those of `twintrack.execution.worker`: ``progress`` with a fraction and
a message, then ``done`` with the bundle's folder, or ``error`` with the fields of the error.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from twintrack.errors import TwinTrackError
from twintrack.system.terminal import say

__all__ = ["main"]


def main(request: dict[str, Any]) -> int:
    """Do what a front end asks for: ``accept`` the licence, then ``add`` files, or get the ``model``."""
    try:
        _say(event="done", out=str(_do(request)))
    except TwinTrackError as error:
        _say(event="error", fields=error.fields())
        return 2
    return 0


def _do(request: dict[str, Any]) -> Path:
    from twintrack.models.add import add_files
    from twintrack.models.get import get_model
    from twintrack.models.known import find_known_model
    from twintrack.models.licence import accept

    _progress(0.0, "starting")
    overwrite = request.get("overwrite") is True
    if request.get("accept"):
        accept(find_known_model(request["model"]), request["accept"], by="panel")
    if request.get("add"):
        return add_files([Path(path) for path in request["add"]], overwrite=overwrite, progress=_progress)
    return get_model(request["model"], base_url=request.get("source", ""), overwrite=overwrite, progress=_progress)


def _progress(fraction: float, message: str) -> None:
    _say(event="progress", fraction=round(fraction, 4), message=message)


def _say(**event: Any) -> None:
    say(json.dumps(event))


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
