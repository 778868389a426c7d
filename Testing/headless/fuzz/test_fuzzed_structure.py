"""Inputs whose structure is wrong: read or refused by one sentence, in 4 GB and 20 s, never anything else.

A few of each kind in the tests, TWINTRACK_FUZZ of each in ``make fuzz``. `Testing/fuzzing` makes them; a finding is
made again by ``cd Testing && python -m fuzzing KIND --number N``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fuzzing.kinds import KINDS

TESTING = Path(__file__).resolve().parents[2]
INPUTS = int(os.environ.get("TWINTRACK_FUZZ", "0")) or 6
COMMANDS = int(os.environ.get("TWINTRACK_FUZZ_COMMANDS", "0"))
"""How many of each kind by the real command, which takes seconds each; without it one of every third kind."""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs fork and limits of memory")


def findings(report: Path, *arguments: str) -> dict[str, list[str]]:
    """Run the fuzzer; return what it found by kind."""
    command = [sys.executable, "-m", "fuzzing", "--report", str(report), "--jobs", "2", *arguments]
    run = subprocess.run(command, cwd=TESTING, capture_output=True, text=True, errors="replace", check=False)
    assert report.exists(), run.stdout + run.stderr
    found: dict[str, list[str]] = {}
    for line in report.read_text(encoding="utf-8").splitlines():
        verdict = json.loads(line)
        about = f"{verdict['kind']} {verdict['number']}: {verdict['outcome']}\n{verdict['detail']}"
        found.setdefault(verdict["kind"], [])
        if verdict["finding"]:
            found[verdict["kind"]].append(about)
    return found


@pytest.fixture(scope="module")
def in_children(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    return findings(tmp_path_factory.mktemp("fuzz") / "report.jsonl", "--inputs", str(INPUTS))


@pytest.mark.process
@pytest.mark.parametrize("kind", KINDS)
def test_inputs_of_wrong_structure_are_read_or_refused(in_children: dict[str, list[str]], kind: str) -> None:
    assert kind in in_children, "the fuzzer ended before it came to this kind"
    assert not in_children[kind], "\n\n".join(in_children[kind][:5])


@pytest.mark.process
def test_the_command_ends_with_0_or_with_2_and_one_line(tmp_path: Path) -> None:
    kinds = list(KINDS) if COMMANDS else list(KINDS)[::3]
    inputs = ("--inputs", str(COMMANDS or 1), "--command", *kinds)
    found = findings(tmp_path / "report.jsonl", *inputs)
    assert set(found) == set(kinds)
    assert not any(found.values()), "\n\n".join(text for texts in found.values() for text in texts[:2])
