"""Fit the demo bundle's statements on phantoms, and put them into its calibrator.

Usage, from the repository's root (the first 40 phantoms are those of the voxel map, 20 bring some without a
tumour and some with two, and 40 more settle veins and arteries)::

    twintrack phantom --cases 40 --seed 20000 --out calibration
    twintrack phantom --cases 20 --seed 21000 --healthy 0.5 --out further
    twintrack phantom --cases 40 --seed 22000 --out more
    twintrack calibrate calibration/manifest.csv --bundle demo --sketch calibration.npz
    twintrack calibrate further/manifest.csv --bundle demo --sketch further.npz
    twintrack calibrate more/manifest.csv --bundle demo --sketch more.npz
    python tools/demo_bundle/statements.py calibration.npz further.npz more.npz

The voxel map stays as it is: it is fitted on cases with a tumour, as the networks were trained.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from twintrack.bundle.model_bundle import Bundle
from twintrack.calibration import load_sketch, read_calibrator, write_calibrator
from twintrack.calibration.statements import fit_statements
from twintrack.system.paths import file_sha256

TARGET = Path(__file__).resolve().parents[2] / "TwinTrackSeg" / "twintrack" / "data" / "demo_bundle"


def main() -> None:
    """Fit, write, and name the new hashes in ``bundle.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sketches", type=Path, nargs="+")
    parser.add_argument("--version", default="1.3", help="of the bundle")
    arguments = parser.parse_args()
    sketches = [load_sketch(path) for path in arguments.sketches]
    tables = [sketch.statements for sketch in sketches if sketch.statements is not None]
    table = tables[0]
    for other in tables[1:]:
        table = table + other
    with Bundle.open(TARGET) as bundle:
        networks = bundle.networks_sha256
        if table.key.networks_sha256 != networks:
            raise SystemExit("the sketches were made with other networks than the bundle's")
    statements = fit_statements(table, rater_names=sketches[0].rater_names)
    if statements is None:
        raise SystemExit("too few cases")
    path = TARGET / "calibrator.json"
    write_calibrator(replace(read_calibrator(path), statements=statements), path, overwrite=True)
    document = json.loads((TARGET / "bundle.json").read_text(encoding="utf-8"))
    files = document.pop("files") | {path.name: file_sha256(path)}
    document |= {"version": arguments.version, "networks_sha256": networks, "files": files}
    (TARGET / "bundle.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    for name, (loss, error) in statements.compared.items():
        print(f"{name:16s} {loss:.4f} ± {error:.4f}{'  <- taken' if name == statements.fitted.family.name else ''}")
    print(f"{statements.cases} cases, {statements.informative} with a vessel near tumour; {statements.warnings}")
    print("further statements:", ", ".join(sorted(statements.fitted.others)))


if __name__ == "__main__":
    main()
