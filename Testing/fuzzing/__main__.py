"""Try readers with inputs of wrong structure: ``cd Testing && python -m fuzzing [KIND ...] [--inputs N]``.

``--number N`` makes one input again and shows what came of it; ``--keep FOLDER`` leaves the input there. ``--command``
gives the inputs to the real command. Ends with code 1 if there are findings.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fuzzing.harness import Verdict

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a pool of threads would not live on in the forked children
sys.path[:0] = [str(Path(__file__).resolve().parents[1])]


def main() -> int:
    """Try the kinds that were asked for; return the exit code."""
    from fuzzing.kinds import KINDS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--inputs", type=int, default=50, help="how many of each kind (50)")
    parser.add_argument("--first", type=int, default=0, help="number of the first (0)")
    parser.add_argument("--number", type=int, help="this one only, with all that it said")
    parser.add_argument("--keep", type=Path, help="make the input of --number in this folder")
    parser.add_argument("--jobs", type=int, default=1, help="inputs at a time (1)")
    parser.add_argument("--command", action="store_true", help="by the real command")
    parser.add_argument("--report", type=Path, help="also write every verdict here, one JSON object a line")
    parser.add_argument("--brief", action="store_true", help="findings of one cause as one line")
    asked = parser.parse_args()
    unknown = set(asked.kinds) - set(KINDS)
    if unknown:
        parser.error(f"no kind {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    findings = 0
    for name in asked.kinds or KINDS:
        if asked.keep is not None:
            _keep(name, asked.number or 0, asked.keep)
            continue
        findings += _try(name, asked)
    return 1 if findings else 0


def cause(detail: str) -> str:
    """Return what a finding looks like: the innermost place in the engine, and the last line without its numbers."""
    frames = re.findall(r'twintrack/([\w/]+\.py)", line \d+,? in (\w+)', detail)
    native = "Current thread" in detail or "Fatal Python error" in detail
    inner = (frames[0] if native else frames[-1]) if frames else ("", "")
    lines = [line.strip() for line in detail.splitlines() if line.strip() and not set(line.strip()) <= set("^~ ")]
    last = (lines[0] if native else lines[-1]) if lines else ""
    last = re.sub(r"/\S+|\d+", "#", last)
    return f"{inner[0]}:{inner[1]}: {last[:140]}"


def _try(name: str, asked: argparse.Namespace) -> int:
    from fuzzing.commands import try_commands
    from fuzzing.harness import summary, try_inputs
    from fuzzing.kinds import KINDS

    numbers = range(asked.first, asked.first + asked.inputs) if asked.number is None else [asked.number]
    way = try_commands if asked.command else try_inputs
    verdicts = []
    for verdict in way(KINDS[name], numbers, jobs=asked.jobs):
        verdicts.append(verdict)
        if asked.report is not None:
            with asked.report.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({**asdict(verdict), "finding": verdict.is_finding}) + "\n")
        if (verdict.is_finding and not asked.brief) or asked.number is not None:
            print(verdict, flush=True)
    if asked.brief:
        _print_causes(verdicts)
    print(f"== {name}: {summary(verdicts)}", flush=True)
    return sum(verdict.is_finding for verdict in verdicts)


def _print_causes(verdicts: list[Verdict]) -> None:
    """Print one line for findings that look alike, with the numbers of a few of them."""
    causes: dict[str, list[int]] = {}
    for verdict in verdicts:
        if verdict.is_finding:
            causes.setdefault(f"{verdict.outcome}: {cause(verdict.detail)}", []).append(verdict.number)
    for text, numbers in sorted(causes.items(), key=lambda item: -len(item[1])):
        print(f"{len(numbers):5d} x {text}  [{', '.join(map(str, sorted(numbers)[:4]))}]", flush=True)


def _keep(name: str, number: int, folder: Path) -> None:
    from fuzzing.harness import generator
    from fuzzing.kinds import KINDS

    (folder / "seeds").mkdir(parents=True)
    (folder / "input").mkdir()
    KINDS[name].load()
    KINDS[name].prepare(folder / "seeds")
    made = KINDS[name].make(generator(name, number), folder / "seeds", folder / "input")
    print(made)


if __name__ == "__main__":
    sys.exit(main())
