"""What one more case costs in `twintrack cohort`, beside the networks', and what any run costs: processor seconds.

A small and a larger cohort of the same phantoms run one after the other, by the command line, with one worker and the
demo bundle; the processor seconds of all processes are counted. Their difference is what the further cases cost, the
rest is fixed. The networks' share is measured by `twintrack segment` on the first cases. It fails nobody.

    python Testing/benchmarks/bench_cohort_slope.py [--cases 3 12] [--before FOLDER]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench_cohort_peers import processor_s
from bench_start import DRIVER, HERE

from twintrack.phantom import write_cohort

SEED = 71000


def command(engine: Path, cache: Path, *words: object) -> str:
    """Run a command of one version to its end; return what it says on the error stream."""
    environment = os.environ | {"PYTHONPATH": str(engine), "XDG_CACHE_HOME": str(cache)}
    done = subprocess.run([sys.executable, *map(str, words)], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{words} failed:\n{done.stdout}{done.stderr}")
    return done.stderr


def cohort_s(engine: Path, manifest: Path, rows: list[dict[str, str]], scratch: Path) -> float:
    """Return the processor seconds of a cohort of some rows of a manifest."""
    some = manifest.with_name(f"first{len(rows)}.csv")
    with some.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["case", "image"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    with tempfile.TemporaryDirectory(dir=scratch) as out:
        used = processor_s()
        options = ["--bundle", "demo", "--device", "cpu", "--workers", 1, "--out", Path(out) / "cohort"]
        command(engine, scratch / "cache", "-m", "twintrack", "cohort", some, *options)
        return processor_s() - used


def networks_s(engine: Path, manifest: Path, rows: list[dict[str, str]], scratch: Path) -> float:
    """Return the processor seconds of the networks, a case."""
    told = []
    for row in rows:
        options = ["--bundle", "demo", "--device", "cpu", "--overwrite", "--out", scratch / "out"]
        said = command(
            engine, scratch / "cache", "-c", DRIVER, "nothing", "segment", manifest.parent / row["image"], *options
        )
        told.append(json.loads(said.splitlines()[-1])["networks_s"])
    return sum(told) / len(told)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, nargs=2, default=(3, 12), metavar=("FEW", "MORE"))
    parser.add_argument("--before", type=Path, help="TwinTrackSeg folder of another version")
    options = parser.parse_args()
    few, more = options.cases
    engines = {"this version": HERE} | ({} if options.before is None else {"the other version": options.before})
    with tempfile.TemporaryDirectory(prefix="slope-") as place:
        scratch = Path(place)
        manifest = write_cohort(scratch / "study", cases=more, raters=1, seed=SEED)
        with manifest.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        print(f"{few} and {more} phantoms, demo bundle, one worker; load of the machine {os.getloadavg()[0]:.0f}")
        print(f"{'CPU s':20}{'a case':>8}{'networks':>10}{'ratio':>8}{'fixed':>8}{few:>8}{more:>8}")
        for name, engine in engines.items():
            own_s = networks_s(engine, manifest, rows[:few], scratch)  # compiles the networks too
            small_s, large_s = (cohort_s(engine, manifest, rows[:cases], scratch) for cases in (few, more))
            case_s = (large_s - small_s) / (more - few)
            fixed_s = small_s - few * case_s
            figures = f"{case_s:8.2f}{own_s:10.2f}{case_s / own_s:8.2f}{fixed_s:8.2f}{small_s:8.2f}{large_s:8.2f}"
            print(f"{name:20}{figures}", flush=True)


if __name__ == "__main__":
    main()
