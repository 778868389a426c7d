"""Ask the demo phantom's raters, and keep what they say for the demo's report.

Usage, from the repository's root, when the phantom, its raters or the measure of contact have changed::

    python tools/demo_bundle/readers.py
"""

from __future__ import annotations

import json
from pathlib import Path

from twintrack.phantom import make_phantom
from twintrack.phantom.readings import rater_readings
from twintrack.studies.demo import DEMO_RATERS, DEMO_SEED

TARGET = Path(__file__).resolve().parents[2] / "TwinTrackSeg" / "twintrack" / "data" / "demo_readers.json"


def main() -> None:
    """Measure and write."""
    found = {"seed": DEMO_SEED, **rater_readings(make_phantom(DEMO_SEED, raters=DEMO_RATERS))}
    TARGET.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
