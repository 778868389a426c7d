"""Take the places of this computer out of a CycloneDX bill of materials.

Usage: python tools/portable_sbom.py sbom.json

A package that was installed from a folder, as this one is, is listed with that folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def without_places(value: Any) -> Any:
    """Return a JSON value without references to local files."""
    if isinstance(value, dict):
        return {name: without_places(part) for name, part in value.items()}
    if isinstance(value, list):
        return [without_places(part) for part in value if not _is_local(part)]
    return value


def _is_local(part: Any) -> bool:
    return isinstance(part, dict) and str(part.get("url", "")).lower().startswith("file:")


def main() -> None:
    """Rewrite the file."""
    path = Path(sys.argv[1])
    content = without_places(json.loads(path.read_text(encoding="utf-8")))
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
