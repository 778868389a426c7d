"""What changed since the last run is told before anything happens; tables stay, and grow during a run."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from expected_errors import raises_error
from twintrack.cli.app import main
from twintrack.errors import Cancelled, InputError
from twintrack.execution.cohort import overview, run_cohort
from twintrack.execution.cohort.case_folder import RECORD, write_record
from twintrack.execution.cohort.outdated import Difference, RecordState, difference, notes, outdated_text
from twintrack.execution.cohort.overview import RUN_COMMAND, TABLES_COMMAND, Overview
from twintrack.execution.cohort.plan import make_plan
from twintrack.execution.cohort.process_case import Failure, SegmentTask, failure_record
from twintrack.execution.cohort.run import _chosen
from twintrack.execution.cohort.tables import Counts
from twintrack.progress.callbacks import CancelToken
from twintrack.system.atomic import atomic_folder

pytestmark = pytest.mark.process

CASES = ["p1", "p2", "p3"]


def about(out: Path) -> dict:
    return json.loads((out / "cohort.json").read_text(encoding="utf-8"))


def snapshot(out: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with its time and content."""
    files = [path for path in sorted(out.rglob("*")) if path.is_file()]
    return {path.relative_to(out).as_posix(): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def rows(out: Path, table: str = "cohort.csv") -> list[str]:
    with (out / table).open(newline="", encoding="utf-8") as stream:
        return [row["case"] for row in csv.DictReader(stream)]


@pytest.fixture(scope="module")
def study(write_study, tmp_path_factory) -> Path:
    """The manifest of three cases."""
    return write_study(CASES, tmp_path_factory.mktemp("redo") / "study")


def finish(plan, *, broken: tuple[str, ...] = ()) -> None:
    """Leave each case as a worker does that finishes it, without its networks."""
    for task in map(plan.task, plan.cases()):
        record = {"case": task.case, "key": task.key, "made": task.made, "status": "done", "row": {}, "worker": "w"}
        if task.case in broken:
            record = failure_record(task, Failure("InputError", "no CT", "file-missing"), 0.25)
        with atomic_folder(Path(task.folder), command="cohort", last=RECORD) as work:
            write_record(work, record | {"seconds": {}})


def test_a_study_begun_anew_with_other_settings_loses_nothing(study, plain_bundle, address, settings, tmp_path, capsys):
    out, said = tmp_path / "out", []
    kept = replace(settings, keep_score=True)
    run_cohort(study, plain_bundle, out, kept, scheduler=address)
    assert about(out)["state"] == "complete"
    before = snapshot(out)
    without = run_cohort(study, plain_bundle, out, settings, scheduler=address, announce=said.append)
    assert without.unchanged == 3
    assert said == ["keep_score is off now: 3 cases done with it stay as they are"]
    assert len(list(out.glob("cases/*/score.nii.gz"))) == 3
    assert about(out)["settings"]["keep_score"] is False
    assert about(out)["results"] == {"done": 3, "failed": 0, "other_settings": 0, "further_outputs": 3}
    assert (out / "cohort.csv").read_bytes() == before["cohort.csv"][1]

    before = snapshot(out)
    command = [
        "cohort",
        str(study),
        "--bundle",
        str(plain_bundle),
        "--out",
        str(out),
        "--roi",
        "full",
        "--threshold",
        "0.25",
    ]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--no-calibration", "--keep-score", "--scheduler", address])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: {out}: threshold changed: 3 cases would be done again; --redo does it"
    assert snapshot(out) == before

    cancel, new = CancelToken(), replace(settings, threshold=0.25)

    def after_one(fraction: float, message: str) -> None:
        if message.startswith("1 of 3"):
            cancel.cancel()

    again = {"scheduler": address, "redo": True}
    with pytest.raises(Cancelled):
        run_cohort(study, plain_bundle, out, new, progress=after_one, cancel=cancel, **again)
    assert rows(out) == CASES, "those that were not done again are still there"
    state = about(out)
    assert state["state"] == "stopped"
    assert state["results"]["done"] == 3
    told = state["results"]["other_settings"]
    assert told < 3
    stale = sum(len(list(path.parent.glob("score.nii.gz"))) for path in out.glob("cases/*/case.json"))
    assert stale <= told, "a case that was running may have ended since"
    page = (out / "index.html").read_text(
        encoding="utf-8"
    )  # on a quick machine the cases under way end before the stop
    assert not told or f"{told} of them were made with other settings" in page
    run_cohort(study, plain_bundle, out, new, **again)
    assert about(out)["state"] == "complete"
    assert about(out)["results"] == {"done": 3, "failed": 0, "other_settings": 0, "further_outputs": 0}
    assert "other settings" not in (out / "index.html").read_text(encoding="utf-8")


def states(study: Path, bundle: Path, out: Path, settings) -> tuple[bytes, Counter[RecordState]]:
    return _chosen(make_plan(study, bundle, out, settings), redo=False, retry_failed=False)


def test_an_added_output_is_told_with_the_number_of_cases_that_lack_it(study, plain_bundle, settings, tmp_path):
    finish(make_plan(study, plain_bundle, tmp_path, settings))
    with raises_error(InputError, "cohort-changed", "keep_score", "--redo"):
        states(study, plain_bundle, tmp_path, replace(settings, keep_score=True))
    assert sum(states(study, plain_bundle, tmp_path, replace(settings, device="auto"))[0]) == 0


def test_another_contact_distance_is_told_with_the_number_of_cases(study, plain_bundle, settings, tmp_path):
    finish(make_plan(study, plain_bundle, tmp_path, settings))
    with raises_error(InputError, "cohort-changed", "contact_mm", "--redo"):
        states(study, plain_bundle, tmp_path, replace(settings, contact_mm=2.5))


def test_a_changed_file_is_told_and_a_failure_with_one_is_tried_again(make_cohort, plain_bundle, settings, tmp_path):
    study, out = make_cohort(CASES), tmp_path / "out"
    finish(make_plan(study, plain_bundle, out, settings), broken=("p2",))
    os.utime(study.parent / "ct1.nii.gz", ns=(0, 0))  # of the failure
    chosen, found = states(study, plain_bundle, out, settings)
    assert list(chosen) == [0, 1, 0]
    assert list(notes(found)) == ["the image changed: 1 case without a result, tried again"]
    os.utime(study.parent / "ct0.nii.gz", ns=(0, 0))
    with raises_error(InputError, "cohort-changed", "the image changed: 1 case", "--redo"):
        states(study, plain_bundle, out, settings)


def test_of_a_results_segmentation_the_file_of_whole_vessels_counts(study, plain_bundle, settings, tmp_path):
    for name in ("segmentation", "vessels"):
        (tmp_path / f"{name}.nii.gz").write_bytes(b"x")
    (tmp_path / "result.json").write_text('{"labels": {"tumor": 1, "SMA": 2}, "vessel_values": {"SMA": 5}}')
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(f"case,image,vessels\na,{study.parent / 'ct0.nii.gz'},segmentation.nii.gz\n", encoding="utf-8")
    plan = make_plan(manifest, plain_bundle, tmp_path / "out", settings)
    assert {Path(case.vessels).name for case in plan.cases()} == {"vessels.nii.gz"}


def test_a_record_without_the_detail_is_of_an_earlier_version(study, plain_bundle, settings, tmp_path):
    finish(make_plan(study, plain_bundle, tmp_path, settings))
    for path in tmp_path.glob("cases/*/case.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        del record["made"]
        path.write_text(json.dumps(record), encoding="utf-8")
    with raises_error(InputError, "cohort-changed"):
        states(study, plain_bundle, tmp_path, settings)


@pytest.mark.parametrize("made", [None, 7, [], {"settings": 3}, {"settings": {}}, {"settings": {"roi": {}}}])
def test_whatever_a_record_says_is_compared(made):
    now = {
        "version": "1",
        "bundle": "b",
        "settings": {"roi": "full", "keep_score": True},
        "image": "i",
        "vessels": None,
    }
    assert difference(made, now).changes
    assert difference(now, now) == Difference()


def test_an_output_that_an_earlier_version_did_not_know_is_off():
    before = {"settings": {"roi": "full", "keep_score": True}}
    now = {"settings": before["settings"] | {"rater_maps": False}}
    assert difference(before, now) == Difference()
    assert difference(before, {"settings": now["settings"] | {"rater_maps": True}}) == Difference(("rater_maps",))


def test_several_changes_stand_in_one_line():
    found = Counter(
        {
            RecordState("outdated", Difference(("the bundle", "threshold"))): 2,
            RecordState("outdated", Difference(("threshold",))): 14,
            RecordState("done", Difference((), ("dicom",))): 1,
            RecordState("open"): 5,
        }
    )
    assert outdated_text(found) == (
        "threshold changed (16 cases), the bundle changed (2 cases): 16 cases would be done again; --redo does it"
    )
    assert list(notes(found)) == ["dicom is off now: 1 case done with it stay as they are"]
    assert outdated_text({RecordState("done"): 3}) is None


def test_tables_and_page_grow_during_a_run(make_cohort, plain_bundle, address, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(overview, "EVERY_S", 0.0)
    monkeypatch.setattr(overview, "SHARE", 1e9)
    out, found = tmp_path / "out", []

    def look(fraction: float, message: str) -> None:
        if message[0] in "23":  # one case after the other is in the tables that the one before has left
            found.append((len(rows(out)), about(out)["state"], (out / "index.html").is_file()))

    run_cohort(make_cohort(CASES), plain_bundle, out, settings, scheduler=address, progress=look)
    assert [there for there, _, _ in found] == sorted(there for there, _, _ in found)
    assert found[0][0] >= 1
    assert {state for _, state, _ in found} == {"running"}
    assert all(page for _, _, page in found)
    assert about(out)["state"] == "complete"


def test_writing_tables_takes_a_small_share_of_a_long_run(study, plain_bundle, settings, tmp_path, monkeypatch):
    now, written = [0.0], []

    def slow(plan: object, folder: Path) -> Counts:
        written.append(now[0])
        now[0] += 90.0  # a hundred thousand cases
        return Counts(0, 0)

    monkeypatch.setattr(overview.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(overview, "write_tables", slow)
    tables = Overview(make_plan(study, plain_bundle, tmp_path, settings), study)
    tables.begin({})
    while now[0] < 20_000:
        now[0] += 1.0
        tables.refresh()
    assert written[0] <= 61.0
    assert 0.03 <= len(written) * 90.0 / now[0] <= 0.055


def test_a_run_that_cannot_begin_touches_nothing(study, plain_bundle, settings, tmp_path):
    finish(make_plan(study, plain_bundle, tmp_path, settings))
    earlier = {"cohort.json": json.dumps({"manifest": {"path": str(study)}}), "cohort.csv": "earlier"}
    for name, command in (("cohort.json", RUN_COMMAND), ("cohort.csv", TABLES_COMMAND)):
        with atomic_folder(tmp_path, command=command, last=name) as folder:
            (folder / name).write_text(earlier[name], encoding="utf-8")
    before = snapshot(tmp_path)
    with raises_error(InputError, "cluster-unreachable"):
        run_cohort(
            study, plain_bundle, tmp_path, replace(settings, threshold=0.3), scheduler="tcp://127.0.0.1:1", redo=True
        )
    after = snapshot(tmp_path)
    after.pop(".twintrack-run")
    assert after == before


def test_what_a_task_carries_stays_small(study, plain_bundle, settings, tmp_path):
    from distributed.protocol.pickle import dumps

    plan = make_plan(study, plain_bundle, tmp_path, settings)
    task = plan.task(next(plan.cases()))
    assert isinstance(task, SegmentTask)
    assert len(dumps(task)) < 2500
