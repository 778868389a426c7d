"""Where the seconds of ``twintrack segment`` go: the table of its stages, on one CT or more.

Every second from the start of the process belongs to a stage; what the table calls "after" is the publishing of the
folder and the end of the interpreter. CPU seconds and the largest memory are those of the whole command. With
``--json`` the figures are kept, and ``--before`` puts those of an earlier run beside them. It fails nobody.

    python Testing/benchmarks/bench_stages.py [CT ...] [--json FILE] [--before FILE] [-- OPTIONS OF SEGMENT]

Without a CT it makes the one of ``bench_inference.py``, and looks at all of it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench_inference import make_crop

from twintrack.bundle.model_bundle import demo_bundle_path

CHILD = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
sys.exit(code)
"""
"""Runs a command and prints its CPU seconds and its largest memory: that of this process alone would not do."""


def run(ct: Path, out: Path, bundle: Path, options: list[str]) -> dict[str, Any]:
    """Segment a CT in a process of its own; return what it took."""
    command = [sys.executable, "-m", "twintrack", "segment", ct, "--bundle", bundle, "--out", out, *options]
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", CHILD, *map(str, command)], check=True, stdout=subprocess.PIPE)
    wall_s = time.perf_counter() - start
    cpu_s, peak_mb = map(float, done.stdout.split())
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    seconds = result["seconds"]
    return {
        "size": result["input"]["size"],
        "stages": {**seconds, "after": wall_s - sum(seconds.values())},
        "network_s": result["engine"]["network_s"],
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "peak_mb": peak_mb,
    }


def show(name: str, found: dict[str, Any], before: dict[str, Any] | None) -> None:
    """Print one table."""
    rows: dict[str, tuple[float, float | None]] = {}
    earlier = {} if before is None else before["stages"]
    for stage in {**found["stages"], **earlier}:
        rows[stage] = (found["stages"].get(stage, 0.0), None if before is None else earlier.get(stage, 0.0))
    further = {"networks of the ensemble": "network_s", "wall": "wall_s", "CPU": "cpu_s"}
    rows |= {title: (found[key], None if before is None else before[key]) for title, key in further.items()}
    print(f"\n{name}, {' x '.join(map(str, found['size']))} voxels, {found['peak_mb']:.0f} MB")
    print(f"{'seconds':28s}{'now':>9s}" + (f"{'before':>9s}" if before is not None else ""))
    for title, (now, then) in rows.items():
        print(f"{title:28s}{now:9.2f}" + ("" if then is None else f"{then:9.2f}"))
    print(f"the stages hold {1 - found['stages']['after'] / found['wall_s']:.1%} of the wall time")


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cts", nargs="*", type=Path, metavar="CT")
    parser.add_argument("--bundle", type=Path, default=demo_bundle_path())
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    parser.add_argument("--before", type=Path, help="a file of figures to put beside them")
    own = sys.argv[1:]
    extra = own[own.index("--") + 1 :] if "--" in own else []
    options = parser.parse_args(own[: own.index("--")] if "--" in own else own)
    before = {} if options.before is None else json.loads(options.before.read_text(encoding="utf-8"))
    figures = {}
    with tempfile.TemporaryDirectory() as scratch:
        cts = options.cts
        if not cts:
            cts, extra = [Path(scratch) / "crop.nii.gz"], ["--roi", "full", *extra]
            make_crop(cts[0])
        for number, ct in enumerate(cts):
            figures[ct.name] = run(ct, Path(scratch) / f"out {number}", options.bundle, ["--device", "cpu", *extra])
            show(ct.name, figures[ct.name], before.get(ct.name))
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
