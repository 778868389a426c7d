"""Write the lists of scripts and resources in ``TwinTrackSeg/CMakeLists.txt`` anew from the tree.

Slicer's build installs only what is listed there; run this after adding, renaming or removing a file.
"""

from __future__ import annotations

import re
from pathlib import Path

MODULE = Path(__file__).resolve().parents[1] / "TwinTrackSeg"
BUILT = re.compile(r"(^|/)(__pycache__|[^/]+\.egg-info|\.[^/]+)(/|$)")


def main() -> None:
    """Replace both lists and leave the rest of the file as it is."""
    names = {path.relative_to(MODULE).as_posix() for path in MODULE.rglob("*") if path.is_file()}
    names = {name for name in names if not BUILT.search(name)} - {"CMakeLists.txt"}
    target = MODULE / "CMakeLists.txt"
    text = target.read_text(encoding="utf-8")
    for variable, wanted in (("MODULE_PYTHON_SCRIPTS", True), ("MODULE_PYTHON_RESOURCES", False)):
        chosen = sorted(name for name in names if name.endswith(".py") == wanted)
        chosen.sort(key=lambda name: "/" in name)
        lines = "".join(f"  {_generic(name)}\n" for name in chosen)
        listed = f"set({variable}\n{lines}  )"
        text = re.sub(rf"set\({variable}\n.*?\n  \)", listed, text, flags=re.S)
    target.write_text(text, encoding="utf-8")


def _generic(name: str) -> str:
    """Use the module's name as a variable where Slicer's own templates do."""
    for place in ("TwinTrackSeg.py", "Icons/TwinTrackSeg.", "UI/TwinTrackSeg."):
        name = name.replace(place, place.replace("TwinTrackSeg", "${MODULE_NAME}"))
    return name


if __name__ == "__main__":
    main()
