"""The README is short, and every number in it is that of a file of the repository that a command made."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path

from twintrack.studies.doctor import LEAST_MEMORY_BYTES

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = README.split("## Results")[1].split("\n## ")[0]
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
LOG = (ROOT / "docs" / "first-hour-log.md").read_text(encoding="utf-8")

MOST_WORDS = 600


def held_out(name: str) -> float:
    """Return the mean over the held-out phantoms, as `tools/demo_bundle/publish.py` wrote them."""
    cases = json.loads((ROOT / "tools" / "demo_bundle" / "held_out.json").read_text(encoding="utf-8"))
    assert f"[{len(cases)} phantoms]" in RESULTS
    return statistics.fmean(case[name] for case in cases)


def table_cells(row: str, *, column: str) -> list[str]:
    """Return what each table of `docs/table1.md` with such a column has in a row, in order."""
    found, header = [], []
    for line in (ROOT / "docs" / "table1.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip(" *†‡") for cell in line.strip("| ").split("|")] if line.startswith("|") else []
        if not cells:
            header = []
        elif not header:
            header = cells
        elif cells[0] == row and column in header:
            found.append(cells[header.index(column)])
    return found


def test_the_readme_is_short():
    assert len(README.split()) < MOST_WORDS  # as `wc -w` counts: commands, links and comments too


def test_numbers_of_the_held_out_phantoms_are_those_of_their_file():
    assert f"Dice {held_out('dice'):.2f};" in RESULTS
    assert f"off by {held_out('mae_mhr_ambiguous'):.2f} (" in RESULTS


def test_numbers_of_the_experiment_are_those_of_its_table():
    mhr, none = "MHR (TwinTrack)", "None (uncalibrated)"
    for name, column in (("TDSC", "TDSC ↑"), ("ECE", "ECE ↓")):
        assert f"{name} {table_cells(mhr, column=column)[0]} and {table_cells(none, column=column)[0]}" in RESULTS
    smv = [table_cells(row, column="SMV ↓")[0] for row in (mhr, none)]
    assert f"{smv[0]} and {smv[1]} degrees" in RESULTS
    encased = "Called encased, 4 of 5 see it"
    (stated,) = table_cells("The bundle's own statements", column=encased)
    (read,) = table_cells("Read from the MHR map", column=encased)
    assert f"{stated} named so (read from the map: {read})" in RESULTS
    first = (ROOT / "docs" / "table1.md").read_text(encoding="utf-8").splitlines()[2]
    assert re.search(r"\[(\d+) phantoms\]\(docs/table1", RESULTS)[1] == re.match(r"(\d+) test", first)[1]


def test_no_other_number_stands_among_the_results():
    known = set(re.findall(r"\d[\d.]*", "0.5 0.82 0.14 16 0.786 0.775 0.0017 0.0019 64 66.9 45.6 92 82"))
    told = re.sub(r"\]\([^)]*\)", "]", RESULTS)
    assert set(re.findall(r"\d[\d.]*\d|\d", told)) == known


def test_versions_are_those_of_the_package():
    lowest, below = re.search(r'requires-python = ">=(3\.\d+),<3\.(\d+)"', PROJECT).groups()
    assert f"Python {lowest} to 3.{int(below) - 1}" in README
    (pinned,) = re.findall(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert f"torch=={pinned} " in README
    assert f"{LEAST_MEMORY_BYTES / 1e9:g} GB of free memory" in README


def test_size_and_minutes_of_the_installation_are_those_of_the_log():
    size, seconds = re.search(r"\| installed \| ([\d.]+) GB \| (\d+) s \|", LOG).groups()
    told = re.search(r"([\d.]+) GB, (\w+) minutes\b", README)
    assert told[1] == size
    assert {"six": 6, "eight": 8, "ten": 10, "twelve": 12, "fourteen": 14}[told[2]] * 60 >= int(seconds)
