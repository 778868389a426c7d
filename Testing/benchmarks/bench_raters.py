"""Ways to train on several raters, measured by the command: does learning from each rater pay, and does it hold up?

Run with ``python Testing/benchmarks/bench_raters.py --out FOLDER`` (run it again to go on). ``twintrack experiment
raters`` compares all strategies on phantoms whose raters have habits, then rater-specific training with label sampling
on raters without: there the two must not differ. Each ratio is printed with its interval beside what was hoped for
before anything was measured.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import twintrack

HERE = Path(twintrack.__file__).parents[1]

HOPED = (
    ("rater-specific", "label-sampling", "mr_ece", "before", 0.7),
    ("rater-specific", "label-sampling", "mae_ambiguous", "before", 0.85),
    ("rater-specific", "label-sampling", "ged_v", "before", 0.75),
    ("soft", "single", "mr_ece", "before", 0.5),
    ("soft", "single", "mae_ambiguous", "before", 0.7),
    ("ordinal", "single", "mr_ece", "before", 0.75),
    ("soft", "single", "mae_ambiguous", "after", 0.92),
    ("rater-specific", "single", "mae_ambiguous", "after", 0.92),
)
"""Strategy, what it is compared with, metric, before or after the calibrator, and the largest ratio hoped for."""

MINUTES, GIB = 20.0, 2.0
"""Hoped for: one training seed of all strategies on two idle cores."""


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("raters-output"))
    parser.add_argument("--seeds", type=int, default=1, help="training seeds")
    parser.add_argument("--panel-seed", type=int, default=4)
    arguments = parser.parse_args()
    fixed = run(arguments.out / "fixed", arguments.seeds, "--panel", "fixed", "--panel-seed", str(arguments.panel_seed))
    print(f"{'fixed panel':52s} {'ratio':>6} {'95 %':>14} {'hoped':>6}")
    for strategy, against, metric, when, largest in HOPED:
        one = found(fixed, strategy, against, metric, when)
        held = "yes" if one["high"] < 1 and one["ratio"] <= largest else "NO"
        print(line(one, f"{largest:5.2f} {held}"))
    for when in ("before", "after"):
        print(line(found(fixed, "soft", "single", "tdsc", when), " >= 1"))
        print(line(found(fixed, "ordinal", "soft", "mae_ambiguous", when), ""))
    chosen = ("--strategies", "label-sampling,rater-specific", "--panel", "anonymous")
    anonymous = run(arguments.out / "anonymous", arguments.seeds, *chosen)
    print("raters without habits (the interval should hold 1)")
    for metric in ("mr_ece", "mae_ambiguous", "ged_v"):
        one = found(anonymous, "rater-specific", "label-sampling", metric, "before")
        print(line(one, "yes" if one["low"] <= 1 <= one["high"] else "NO"))


def run(out: Path, seeds: int, *options: str) -> dict[str, Any]:
    """Run the command; print what it took; return its summary."""
    out.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "twintrack", "experiment", "raters", "--out", str(out), *options]
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    subprocess.run([*command, "--train-seeds", str(seeds), "--overwrite"], check=True, env=environment)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    minutes = (time.monotonic() - begun) / 60
    print(
        f"{out.name}: {minutes:.1f} min, {cpu_s / 60:.1f} CPU min for {seeds} training seeds (hoped {MINUTES:.0f} min "
        f"a seed; 0 if it was done before), largest process {used.ru_maxrss / 2**20:.2f} GiB (hoped {GIB:g} in all)"
    )
    return dict(json.loads((out / "summary.json").read_text(encoding="utf-8")))


def found(summary: dict[str, Any], strategy: str, against: str, metric: str, when: str) -> dict[str, Any]:
    """Return one comparison."""
    wanted = (strategy, against, metric, when)
    keys = ("strategy", "against", "metric", "when")
    return next(one for one in summary["comparisons"] if tuple(one[key] for key in keys) == wanted)


def line(one: dict[str, Any], verdict: str) -> str:
    """Return a line of the table."""
    name = f"{one['strategy']} / {one['against']}, {one['metric']}, {one['when']}"
    return f"{name:52s} {one['ratio']:6.2f} {one['low']:6.2f} to {one['high']:4.2f} {verdict}"


if __name__ == "__main__":
    main()
