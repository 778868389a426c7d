"""When a series is complete, and what becomes of one that is not: restarts, breaks, slices that come late."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from twintrack.execution.node.complete import Arrivals, Verdict, Waits, judge
from twintrack.execution.node.ledger import Ledger, Series, Stage
from twintrack.execution.server.audit import Audit

WAITS = Waits(quiet_s=60.0, broken_s=600.0)


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Place:
    """A node's folder with what keeps it, which can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, Clock()
        self.start()

    def start(self) -> None:
        self.ledger = Ledger(self.folder / "ledger.sqlite", Audit(self.folder / "audit.jsonl"))
        self.arrivals = Arrivals(self.folder, self.ledger, WAITS, clock=self.clock)

    def send(self, association: str, *numbers: int, series: str = "1.2.3") -> None:
        for number in numbers:
            file = self.folder / "came"
            file.write_text(f"slice {number}")
            self.arrivals.take(association, "PACS", "1.2", series, f"{series}.{number}", file)

    def after(self, seconds: float) -> int:
        self.clock.now_s += seconds
        return self.arrivals.look()

    def files(self, series: Series) -> list[str]:
        return sorted(path.read_text() for path in self.arrivals.folder_of(series.id).iterdir())

    def ends(self) -> list[str]:
        return [json.loads(line)["end"] for line in (self.folder / "audit.jsonl").read_text().splitlines()]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.ledger.close()


@pytest.mark.parametrize(
    ("open_", "broken_s", "touched_s", "verdict"),
    [
        (1, None, 0.0, Verdict.WAIT),
        (0, None, 941.0, Verdict.WAIT),
        (0, None, 940.0, Verdict.RUN),
        (0, 500.0, 0.0, Verdict.WAIT),
        (0, 400.0, 400.0, Verdict.DISCARD),
        (0, 300.0, 500.0, Verdict.WAIT),
        (1, 0.0, 0.0, Verdict.WAIT),
    ],
)
def test_the_rule(open_: int, broken_s: float | None, touched_s: float, verdict: Verdict) -> None:
    series = Series("a", "b", "PACS", Stage.ARRIVING, touched_s, broken_s, 0, open_)
    assert judge(series, 1000.0, WAITS) is verdict


def test_a_series_is_complete_when_its_associations_are_released_and_it_is_quiet(place: Place) -> None:
    place.arrivals.opened("a")
    place.arrivals.opened("b")
    place.send("a", 1, 2)
    place.send("b", 3)
    place.arrivals.ended("a", broken=False)
    assert place.after(3600.0) == 0  # the other one is still there
    place.arrivals.ended("b", broken=False)
    assert place.after(59.0) == 0
    place.arrivals.opened("c")
    place.send("c", 4)
    place.arrivals.ended("c", broken=False)
    assert place.after(59.0) == 0
    assert place.after(1.0) == 1
    (series,) = place.ledger.at(Stage.WAITING)
    assert place.files(series) == ["slice 1", "slice 2", "slice 3", "slice 4"]
    assert place.after(3600.0) == 0


def test_two_series_of_one_association_are_two(place: Place) -> None:
    place.arrivals.opened("a")
    place.send("a", 1, 2)
    place.send("a", 1, series="1.2.4")
    place.arrivals.ended("a", broken=False)
    assert place.after(60.0) == 2
    assert sorted(len(place.files(series)) for series in place.ledger.at(Stage.WAITING)) == [1, 2]


def test_a_slice_that_comes_again_is_one(place: Place) -> None:
    place.arrivals.opened("a")
    place.send("a", 1, 1, 2, 1)
    place.arrivals.ended("a", broken=False)
    place.after(60.0)
    (series,) = place.ledger.at(Stage.WAITING)
    assert place.files(series) == ["slice 1", "slice 2"]
    assert place.ledger.instances(series.id).keys() == {
        path.name for path in place.arrivals.folder_of(series.id).iterdir()
    }


def test_what_a_broken_association_left_is_thrown_away_with_one_line(place: Place, caplog) -> None:
    caplog.set_level(logging.INFO)
    place.arrivals.opened("a")
    place.send("a", 1, 2)
    place.arrivals.ended("a", broken=True)
    assert place.after(599.0) == 0
    assert place.ledger.at(Stage.ARRIVING)
    assert place.after(1.0) == 0
    assert place.after(3600.0) == 0
    assert place.ends() == ["broken"]
    assert len(caplog.messages) == 1
    assert list((place.folder / "incoming").iterdir()) == []
    assert place.ledger.at(Stage.WAITING) == []


def test_who_sends_the_rest_after_a_break_heals_it(place: Place) -> None:
    place.arrivals.opened("a")
    place.arrivals.opened("beside")
    place.send("a", 1, 2)
    place.send("beside", 3)
    place.clock.now_s += 5
    place.arrivals.ended("a", broken=True)
    place.arrivals.ended("beside", broken=False)  # it was there before the break: it brought its own part alone
    assert place.after(300.0) == 0
    place.arrivals.opened("b")
    place.send("b", 1, 2, 4)
    place.arrivals.ended("b", broken=False)
    assert place.after(60.0) == 1
    (series,) = place.ledger.at(Stage.WAITING)
    assert place.files(series) == [f"slice {number}" for number in (1, 2, 3, 4)]


def test_a_node_that_is_killed_in_the_quiet_time_goes_on_and_one_killed_in_an_association_has_a_break(
    place: Place,
) -> None:
    place.arrivals.opened("a")
    place.send("a", 1, 2)
    place.arrivals.ended("a", broken=False)
    place.arrivals.opened("b")
    place.send("b", 1, series="1.2.4")
    place.ledger.close()
    place.clock.now_s = 5.0  # another computer time, as after a start of the machine
    place.start()
    assert place.after(59.0) == 0
    assert place.after(1.0) == 1
    (series,) = place.ledger.at(Stage.WAITING)
    assert place.files(series) == ["slice 1", "slice 2"]
    assert place.after(600.0) == 0
    assert place.ends() == ["broken"]


def test_late_slices_join_what_has_not_been_run_yet(place: Place) -> None:
    place.arrivals.opened("a")
    place.send("a", 1, 2)
    place.arrivals.ended("a", broken=False)
    place.after(60.0)
    place.arrivals.opened("b")
    place.send("b", 3)
    assert place.ledger.next_run(place.clock()) is None  # further slices are coming
    place.arrivals.ended("b", broken=False)
    place.after(60.0)
    (series,) = place.ledger.at(Stage.WAITING)
    assert place.files(series) == ["slice 1", "slice 2", "slice 3"]
    assert [path.name for path in (place.folder / "incoming").iterdir()] == [series.id]


def test_late_slices_join_what_is_being_run_which_keeps_its_files_till_then(place: Place) -> None:
    place.arrivals.opened("a")
    place.send("a", 1, 2)
    place.arrivals.ended("a", broken=False)
    place.after(60.0)
    running = place.ledger.next_run(place.clock())
    place.arrivals.opened("b")
    place.send("b", 3)
    place.ledger.move(running.id, Stage.DONE)
    place.after(1.0)
    assert place.files(running) == ["slice 1", "slice 2"]
    place.arrivals.ended("b", broken=False)
    place.after(60.0)
    (series,) = place.ledger.at(Stage.WAITING)
    assert place.files(series) == ["slice 1", "slice 2", "slice 3"]
    assert [path.name for path in (place.folder / "incoming").iterdir()] == [series.id]


def test_files_of_a_series_go_when_it_has_been_run(place: Place) -> None:
    place.arrivals.opened("a")
    place.send("a", 1, 2)
    place.arrivals.ended("a", broken=False)
    place.after(60.0)
    series = place.ledger.next_run(place.clock())
    assert place.files(series) == ["slice 1", "slice 2"]
    place.ledger.move(series.id, Stage.DELIVERING)
    place.after(1.0)
    assert list((place.folder / "incoming").iterdir()) == []


def test_neither_names_nor_uids_stand_in_files_or_ledger(place: Place) -> None:
    place.arrivals.opened("a")
    place.send("a", 1, series="1.2.826.99.4711")
    place.arrivals.ended("a", broken=True)
    place.after(600.0)
    for path in place.folder.rglob("*"):
        assert "4711" not in path.name
        if path.is_file():
            assert b"4711" not in path.read_bytes()
