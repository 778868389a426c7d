"""Render the panel and the views into Resources/screenshots: the real widget on the Qt stand-in, views off-screen.

The panel's states come from its own tests, run with a folder for pictures; the views from the real slice and 3D
displayable managers on a phantom of known shape.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "Resources" / "screenshots"
SHOWN = (
    "panel_running",
    "panel_result",
    "panel_dragging",
    "panel_vessel",
    "panel_edited",
    "panel_options",
    "panel_readers",
    "view_3d",
)


def main() -> int:
    """Run the tests that take pictures and copy the pictures that the documents show."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "TWINTRACK_PICTURES": folder}
        tests = [
            "Testing/gui/test_panel.py",
            "Testing/gui/test_panel_parts.py",
            "Testing/mrml/test_vessel_focus.py",
            "Testing/mrml/test_view_3d.py",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *tests], cwd=ROOT, env=environment, check=False
        ).returncode
        TARGET.mkdir(parents=True, exist_ok=True)
        for name in SHOWN:
            if (Path(folder) / f"{name}.png").is_file():
                shutil.copy(Path(folder) / f"{name}.png", TARGET)
    return done


if __name__ == "__main__":
    sys.exit(main())
