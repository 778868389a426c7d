"""Render the panel and the views into Resources/screenshots: the real widget on the Qt stand-in, real views off-screen.

The demo bundle segments a phantom from the panel; every picture is taken on that way, in Slicer's light and dark theme.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "Resources" / "screenshots"


def main() -> int:
    """Go through the module in a folder of its own, so that no picture shows a path of this machine."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    for part in ("TwinTrackSeg", "Testing/mrml", "Testing/gui/standin", "Testing/gui"):
        sys.path.insert(0, str(ROOT / part))
    from panel_tour import Tour

    target = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else TARGET
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_DATA_HOME"] = folder
        os.chdir(folder)
        shutil.copytree(ROOT / "TwinTrackSeg" / "twintrack" / "data" / "demo_bundle", "demo_bundle")
        tour = Tour(target)
        try:
            tour.go()
        finally:
            tour.end()
            os.chdir(ROOT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
