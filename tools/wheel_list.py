"""Write ``TwinTrackSeg/Resources/wheels.txt`` anew: every package of the engine in one version, for machines offline.

Needs ``uv`` on the path and a network. The versions are those of ``constraints.txt``; what that does not name (such as
libraries for graphics cards) comes in the newest version that fits. Packages that exist as source only are marked.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESOURCES = ROOT / "TwinTrackSeg" / "Resources"
LEAST_PYTHON = "3.11"
NO_WHEEL = re.compile(r"Because ([\w.-]+)==\S+ has no usable")
HEADER = """\
# Every package that the engine needs, with all they need, in one version each; markers say on which systems.
# For machines without a network, see the module's help there. Made by tools/wheel_list.py; do not edit.
# A package marked "source only" has no wheel to download; it is pure Python, and `pip wheel` makes one.
"""


def main() -> None:
    """Replace the list."""
    source_only: list[str] = []
    while True:
        done = _resolve(source_only)
        found = NO_WHEEL.search(done.stderr)
        if done.returncode == 0 or found is None or found[1] in source_only:
            break
        source_only.append(found[1])
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    lines = []
    for line in done.stdout.splitlines():
        mark = "  # source only" if line.split("==")[0] in source_only else ""
        lines.append(f"{line}{mark}\n")
    (RESOURCES / "wheels.txt").write_text(HEADER + "".join(lines), encoding="utf-8")


def _resolve(source_only: list[str]) -> subprocess.CompletedProcess[str]:
    """Return what uv finds for all systems together, where only the named packages may lack wheels."""
    command = ["uv", "pip", "compile", str(RESOURCES / "requirements.txt"), "-c", str(ROOT / "constraints.txt")]
    command += ["--universal", "--python-version", LEAST_PYTHON, "--no-header", "--no-annotate", "--quiet"]
    command += ["--only-binary", ":all:", *(word for name in source_only for word in ("--no-binary", name))]
    return subprocess.run(command, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    main()
