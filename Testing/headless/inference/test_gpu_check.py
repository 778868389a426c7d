"""The check of the GPU path runs to its end on a CPU, measures what it can there, and says what it did not measure."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from twintrack.bundle.model_bundle import Bundle
from twintrack.volume import Volume

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "tools"))

from gpu_check.agreement import HALF, agreement_rows, fractions  # noqa: E402
from gpu_check.inputs import Model  # noqa: E402
from gpu_check.report import Report, Verdict, table  # noqa: E402


@pytest.fixture(scope="module")
def checked(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """What the check writes and prints for tiny networks and a small CT."""
    out = tmp_path_factory.mktemp("check") / "found.json"
    options = {
        "--size": "64,60,30",
        "--box": "48,46,30",
        "--batches": "1,2",
        "--members": "2",
        "--phantoms": "0",
        "--bundle": bundle_folder,
        "--plans": bundle_folder / "fine",
        "--json": out,
        "--device": "cpu",
    }
    command = [sys.executable, ROOT / "tools" / "gpu_check.py", *(word for pair in options.items() for word in pair)]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text("utf-8")), done.stdout


@pytest.mark.process
@pytest.mark.network
@pytest.mark.slow
def test_on_a_cpu_every_step_runs(checked: tuple[dict[str, Any], str]) -> None:
    content = checked[0]
    troubled = {
        name: found for name, found in content.items() if isinstance(found, dict) and {"failed", "skipped"} & set(found)
    }
    assert troubled == {}
    for model in ("large", "demo"):
        (row,) = content[f"whole, {model}"]
        assert row["map_s"] >= row["networks_s"] > 0
        stock = content[f"stock, {model}"]
        assert stock["tiles_ratio"] > 0
        # The tiles are nnU-Net's; it sums them in half precision, which loses digits at the rim.
        assert stock["largest_difference_of_logits"] < 0.05
        assert stock["stock_export_complete"]


@pytest.mark.process
@pytest.mark.network
@pytest.mark.slow
def test_what_takes_a_gpu_reads_not_measured(checked: tuple[dict[str, Any], str]) -> None:
    content, told = checked
    ways = {row["way"]: row for row in content["forward, demo"] if row["batch"] == 1}
    assert ways["float32"]["ms_a_patch"] > 0
    assert ways["float32"]["p_max"] == 0
    assert {ways[name]["ms_a_patch"] for name in ways if name != "float32"} == {None}
    assert {verdict["word"] for verdict in content["verdicts"] if "fractions" not in verdict["target"]} == {
        "not measured"
    }
    assert told.count("not measured") > 20
    assert {row["p_max"] for row in content["agreement"][0]} == {None}


@pytest.mark.network
@pytest.mark.slow
def test_engines_are_compared_by_their_maps_and_by_what_people_read(
    bundle_folder: Path, make_ct: Callable[..., Volume]
) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    ct = make_ct((44, 40, 22))
    with Bundle.open(bundle_folder) as bundle:
        rows, cases = agreement_rows(Model("tiny", bundle, (40.0, 40.0, 40.0)), [("a", ct)], "cpu", lambda: 1.0)
        none, _ = agreement_rows(Model("tiny", bundle, (40.0, 40.0, 40.0)), [("a", ct)], "cpu", lambda: 0.0)
    engines = {row["engine"]: row for row in rows}
    assert 0 < engines["OpenVINO"]["p_max"] < 1e-3
    assert engines["OpenVINO"]["beyond"] == 0
    assert engines[HALF]["p_max"] > engines["OpenVINO"]["p_max"]
    assert len(cases) == 2
    assert (engines["GPU"]["cases"], engines["GPU"]["p_max"]) == (0, None)
    assert {row["cases"] for row in none} == {0}


def test_the_fractions_that_people_read_are_those_of_invasion_json() -> None:
    vessel = {
        "p_contact": 0.5,
        "p_encased": None,
        "fraction_over": [0.5, 0.25],
        "category_probability": {"none": 0.5, "abutment": 0.5},
        "coverage": 0.9,  # no reader's
    }
    content = {"fraction_angles_deg": [0, 90], "vessels": {"SMA": vessel, "PORTA": {"p_contact": None}}}
    assert dict(fractions(content)) == {
        "SMA p_contact": 0.5,
        "SMA over 0 degrees": 0.5,
        "SMA over 90 degrees": 0.25,
        "SMA none": 0.5,
        "SMA abutment": 0.5,
    }


def test_a_step_that_fails_or_for_which_there_is_no_time_does_not_stop_the_others(tmp_path: Path) -> None:
    report = Report(tmp_path / "found.json", time.monotonic() + 60)
    assert report.step("broken", lambda: 1 / 0) is None
    assert report.step("long", lambda: 1, needs_s=61) is None
    assert report.step("good", lambda: {"value": 3}) == {"value": 3}
    kept = json.loads((tmp_path / "found.json").read_text("utf-8"))
    assert "ZeroDivisionError" in kept["broken"]["failed"]
    assert "skipped" in kept["long"]
    assert kept["good"] == {"value": 3}
    report.ends_s = time.monotonic()
    assert report.step("late", lambda: 1) is None


def test_a_verdict_is_met_missed_or_not_measured() -> None:
    words = [Verdict("seconds", found, 3.0, at_most=True).word for found in (2.0, 3.0, 3.1, None, float("nan"))]
    assert words == ["met", "met", "missed", "not measured", "not measured"]
    assert [Verdict("share", found, 0.6, at_most=False).word for found in (0.6, 0.5)] == ["met", "missed"]
    assert "not measured" in table("rows", [{"a": 1.0, "b": None}])
