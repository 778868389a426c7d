"""A cohort on a real cluster: tables, what is kept and what is done again, failures, and workers that die."""

from __future__ import annotations

import csv
import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from expected_errors import raises_error
from twintrack.errors import Cancelled, OutputError
from twintrack.execution.cohort import run_cohort
from twintrack.io.volumes import read_volume
from twintrack.progress.callbacks import CancelToken
from twintrack.results.folder import segment_file

pytestmark = pytest.mark.process


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def stamps(out: Path) -> dict[str, int]:
    """When each case's record was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in (out / "cases").glob("*/case.json")}


@pytest.fixture
def finished(make_cohort, plain_bundle, address, settings, tmp_path):
    """A finished run over three cases, one of which is no CT."""
    manifest = make_cohort(["p1", "p2", "Ünsafe / näme"], broken=("p2",))
    summary = run_cohort(manifest, plain_bundle, tmp_path / "out", settings, scheduler=address)
    return manifest, tmp_path / "out", summary


def test_each_case_has_a_row_or_a_reason_and_the_same_result_as_segment(finished, plain_bundle, settings, tmp_path):
    manifest, out, summary = finished
    assert (summary.cases, summary.done, summary.failed, summary.unchanged) == (3, 2, 1, 0)
    table, failures = rows(out / "cohort.csv"), rows(out / "failures.csv")
    assert [row["case"] for row in table] == ["p1", "Ünsafe / näme"]
    assert [(row["case"], row["kind"]) for row in failures] == [("p2", "InputError")]
    assert "ct1.nii.gz" in failures[0]["reason"]
    assert ".twintrack-partial" not in failures[0]["reason"]
    assert [row["case"] for row in rows(out / "timings.csv")] == ["p1", "p2", "Ünsafe / näme"]
    segment_file(manifest.parent / "ct0.nii.gz", plain_bundle, tmp_path / "alone", settings)
    alone = json.loads((tmp_path / "alone" / "result.json").read_text(encoding="utf-8"))
    assert float(table[0]["volume_score_sum_ml"]) == alone["volume_ml"]["expected"]
    assert table[0]["volume_expected_ml"] == ""  # no calibrator
    ours = read_volume(out / table[0]["folder"] / "probability.nii.gz").array
    assert (ours == read_volume(tmp_path / "alone" / "probability.nii.gz").array).all()
    assert (out / table[1]["folder"] / "report.html").is_file()
    assert "ct_sha256" in table[0]
    assert table[0]["ct_sha256"] == alone["input"]["sha256"]
    for row in table:
        stated = json.loads((out / row["folder"] / "result.json").read_text(encoding="utf-8"))["input"]
        assert (stated["case"], stated["sha256"]) == (row["case"], row["ct_sha256"])
        assert f"<title>{row['case']} - TwinTrack report</title>" in (out / row["folder"] / "report.html").read_text()
    assert not list((out / "cases").glob(".*"))


def test_a_second_run_keeps_everything_and_retries_failures_only_when_asked(finished, plain_bundle, address, settings):
    manifest, out, _ = finished
    before, tables = stamps(out), (out / "cohort.csv").read_bytes()
    again = run_cohort(manifest, plain_bundle, out, settings, scheduler=address)
    assert (again.unchanged, again.done, again.failed) == (3, 2, 1)
    assert stamps(out) == before
    assert (out / "cohort.csv").read_bytes() == tables
    (manifest.parent / "ct1.nii.gz").write_bytes((manifest.parent / "ct0.nii.gz").read_bytes())
    os.utime(manifest.parent / "ct1.nii.gz", ns=(0, 0))
    repaired = run_cohort(manifest, plain_bundle, out, settings, scheduler=address)
    assert (repaired.unchanged, repaired.done, repaired.failed) == (
        2,
        3,
        0,
    )  # another file: no failure of this one is known


def test_a_failed_case_is_tried_again_with_retry_failed_alone(finished, plain_bundle, address, settings):
    manifest, out, _ = finished
    before = stamps(out)
    retried = run_cohort(manifest, plain_bundle, out, settings, scheduler=address, retry_failed=True)
    assert (retried.unchanged, retried.failed) == (2, 1)
    assert {name for name, stamp in stamps(out).items() if stamp != before[name]} == {"p2"}


def test_damaged_folders_and_changed_settings_are_done_again(finished, plain_bundle, address, settings):
    manifest, out, _ = finished
    before, tables = stamps(out), (out / "cohort.csv").read_bytes()
    (out / "cases" / "p1" / "probability.nii.gz").write_bytes(b"cut")
    with raises_error(OutputError, "place-taken"):  # perhaps by the user, on purpose
        run_cohort(manifest, plain_bundle, out, settings, scheduler=address)
    assert stamps(out) == before
    (out / "cases" / "p1" / "probability.nii.gz").unlink()
    run_cohort(manifest, plain_bundle, out, settings, scheduler=address)
    assert {name for name, stamp in stamps(out).items() if stamp != before[name]} == {"p1"}
    assert (out / "cohort.csv").read_bytes() == tables
    new = replace(settings, threshold=0.25)
    changed = run_cohort(manifest, plain_bundle, out, new, scheduler=address, redo=True)
    assert changed.unchanged == 0
    faster = replace(settings, threshold=0.25, backend="auto")
    assert run_cohort(manifest, plain_bundle, out, faster, scheduler=address).unchanged == 3


def test_a_worker_that_dies_in_the_middle_costs_no_case(make_cohort, plain_bundle, cluster, settings, tmp_path):
    manifest = make_cohort([f"p{number}" for number in range(5)])
    killed: list[int] = []

    def kill_one() -> None:
        while not stamps(tmp_path / "out"):
            time.sleep(0.05)
        process = cluster.workers[0].process  # a nanny's
        killed.append(process.pid)
        os.kill(process.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    summary = run_cohort(manifest, plain_bundle, tmp_path / "out", settings, scheduler=cluster.scheduler_address)
    killer.join(timeout=60)
    assert killed
    assert (summary.done, summary.failed) == (5, 0)


def test_a_cancelled_run_keeps_what_is_finished(make_cohort, plain_bundle, address, settings, tmp_path):
    manifest, cancel = make_cohort(["p1", "p2", "p3"]), CancelToken()

    def after_one(fraction: float, message: str) -> None:
        if "1 of 3" in message:
            cancel.cancel()

    with pytest.raises(Cancelled):
        run_cohort(
            manifest, plain_bundle, tmp_path / "out", settings, scheduler=address, progress=after_one, cancel=cancel
        )
    summary = run_cohort(manifest, plain_bundle, tmp_path / "out", settings, scheduler=address)
    assert (summary.done, summary.failed) == (3, 0)
    assert summary.unchanged >= 1
