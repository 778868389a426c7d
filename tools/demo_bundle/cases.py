"""Draw the phantoms that the demo bundle is trained and calibrated on, and write a manifest of all.

Usage, from the repository's root, with the environment of ``make demo``::

    python tools/demo_bundle/cases.py --work FOLDER

``config.json`` has seeds and numbers; what is there already is not drawn again. Then ``twintrack train`` trains on
``FOLDER/cases.csv``, and `publish.py` makes the demo bundle of what came of it.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

from twintrack.phantom import write_cohort

HERE = Path(__file__).resolve().parent
LEFT_OUT = ("case", "split", "lesions", "true_mhr")
"""Columns of a cohort's manifest that are written in another way here, or that nothing may learn from."""


def main() -> None:
    """Draw, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the phantoms")
    print(draw(json.loads((HERE / "config.json").read_text(encoding="utf-8")), parser.parse_args().work.absolute()))


def draw(config: dict[str, Any], work: Path) -> Path:
    """Write the phantoms of every set, and a manifest of all; return its path."""
    work.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []
    for name, one in config["phantoms"].items():
        folder = work / name
        if not (folder / "manifest.csv").is_file():
            write_cohort(
                folder, cases=one["cases"], raters=config["raters"], seed=one["seed"], healthy=one.get("healthy", 0.0)
            )
        with (folder / "manifest.csv").open(encoding="utf-8", newline="") as stream:
            rows += [_row(row, name, one["split"]) for row in csv.DictReader(stream)]
    manifest = work / "cases.csv"
    with manifest.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return manifest


def _row(row: dict[str, str], folder: str, split: str) -> dict[str, str]:
    """Return a row with paths as seen from the folder of all sets."""
    files = {name: f"{folder}/{value}" for name, value in row.items() if name not in LEFT_OUT}
    return {"case": row["case"], "split": split, **files}


if __name__ == "__main__":
    main()
