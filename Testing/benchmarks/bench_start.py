"""What a command costs before and beside its networks: CPU seconds and memory, with torch and without.

Run with ``python Testing/benchmarks/bench_start.py``. ``twintrack segment`` runs on a phantom's CT (demo bundle,
networks compiled and cached) in turn as it is and with torch and nnU-Net's classes imported first, as it did before it
could do without them; ``--before FOLDER`` also names the ``TwinTrackSeg`` folder of another version. The networks' CPU
seconds are measured within the same run and taken off. ``--version`` and ``--help`` are timed too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import twintrack
from twintrack.io.volumes import write_volume
from twintrack.phantom import make_phantom

SEED = 43000
HERE = Path(twintrack.__file__).parents[1]

DRIVER = """
import json, resource, sys, time
first, *arguments = sys.argv[1:]
if first == "torch":
    import torch
    import nnunetv2.inference.sliding_window_prediction
    import nnunetv2.utilities.label_handling.label_handling
    import nnunetv2.utilities.plans_handling.plans_handler
from twintrack.cli.app import main
spent_s = 0.0
if arguments[0] == "segment":
    from twintrack.inference.openvino import CompiledNetwork
    call = CompiledNetwork.__call__
    def timed(self, patches):
        global spent_s
        start = time.process_time()
        try:
            return call(self, patches)
        finally:
            spent_s += time.process_time() - start
    CompiledNetwork.__call__ = timed
try:
    main(arguments)
except SystemExit as ended:
    code = ended.code
used = resource.getrusage(resource.RUSAGE_SELF)
try:  # what getrusage tells begins with the parent's peak
    with open("/proc/self/status") as stream:
        kilobytes = int(next(line for line in stream if line.startswith("VmHWM:")).split()[1])
except OSError:
    kilobytes = used.ru_maxrss
told = {"cpu_s": used.ru_utime + used.ru_stime, "networks_s": spent_s, "mb": kilobytes / 1024,
        "torch": "torch" in sys.modules}
print(json.dumps(told), file=sys.stderr)
sys.exit(code)
"""


def measured(engine: Path, first: str, arguments: list[str]) -> dict[str, float]:
    """Run a command in a process of its own and return what it cost."""
    environment = os.environ | {"PYTHONPATH": str(engine)}
    command = [sys.executable, "-c", DRIVER, first, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    told: dict[str, float] = json.loads(done.stderr.splitlines()[-1])
    return told


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="TwinTrackSeg folder of another version")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    ways = {"as it is": (HERE, "nothing"), "torch imported first": (HERE, "torch")}
    if options.before is not None:
        ways["the other version"] = (options.before, "nothing")
    with tempfile.TemporaryDirectory(prefix="start-") as place:
        write_volume(make_phantom(SEED).ct, Path(place) / "ct.nii.gz")
        common = [str(Path(place) / "ct.nii.gz"), "--bundle", "demo", "--overwrite", "--out", str(Path(place) / "out")]
        commands = {"segment": ["segment", *common], "--version": ["--version"], "--help": ["--help"]}
        print(f"{'command':12}{'way':24}{'CPU s':>8}{'networks':>10}{'the rest':>10}{'peak MB':>10}  torch")
        for name, arguments in commands.items():
            chosen = {way: how for way, how in ways.items() if name == "segment" or how[1] == "nothing"}
            for way in chosen:  # fills the caches of compiled networks and of Python's byte code
                measured(*chosen[way], arguments)
            runs = {way: [] for way in chosen}
            for _ in range(options.repeats):
                for way in chosen:
                    runs[way].append(measured(*chosen[way], arguments))
            for way, found in runs.items():
                cpu_s, networks_s, mb = (min(run[key] for run in found) for key in ("cpu_s", "networks_s", "mb"))
                rest_s = min(run["cpu_s"] - run["networks_s"] for run in found)
                print(
                    f"{name:12}{way:24}{cpu_s:8.2f}{networks_s:10.2f}{rest_s:10.2f}{mb:10.0f}"
                    f"  {'yes' if found[0]['torch'] else 'no'}"
                )


if __name__ == "__main__":
    main()
