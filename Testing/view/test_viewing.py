"""A page's session without a browser: drag, exports, a run, the end; and what each may take."""

from __future__ import annotations

import asyncio
import html
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("trame_slicer", reason="the extra 'view' is not installed: make view-tools")
import urllib.request

from page import SIZE, Page
from rater_example import RADII_MM

import twintrack
from twintrack.io.ct import load_ct
from twintrack.io.volumes import write_volume
from twintrack.results.report.wording import outline_text

pytestmark = pytest.mark.process

SLACK = 5
DRAG_MSEC = 30
FIRST_PICTURE_SEC = 8
STEPS = 30
LEAVING_SEC = 300
DEMO_BUNDLE = Path(twintrack.__file__).parent / "data" / "demo_bundle"


def session(steps, *, running) -> Page:
    """Open a page of a viewer, take the steps, and close it."""

    async def run() -> Page:
        page = await Page.of(running.port, running.key)
        await page.show()
        await steps(page)
        await page.leave()
        return page

    return asyncio.run(run())


def test_the_first_picture_and_a_drag_take_no_longer_than_promised(start, example):
    async def steps(page: Page) -> None:
        first.append(running.cpuSec)
        await page.rest()
        before = running.cpuSec
        for step in range(STEPS):
            drawn = page.frames
            await page.ask("threshold", value=0.2 + 0.02 * step)
            await page.until(lambda drawn=drawn: page.frames > drawn)
        drag.append((running.cpuSec - before) / STEPS)
        await page.rest()
        assert page.state["reading"]["threshold"] == pytest.approx(0.2 + 0.02 * (STEPS - 1))

    first, drag = [], []
    with start(example.result) as running:
        session(steps, running=running)
    assert first[0] < FIRST_PICTURE_SEC * SLACK
    assert 1000 * drag[0] < DRAG_MSEC * SLACK


def test_it_ends_when_the_page_is_closed_and_leaves_nothing(start, example, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    async def steps(page: Page) -> None:
        await page.ask("report")
        await page.until(lambda: page.state.get("saved"))

    with start(example.result) as running:
        session(steps, running=running)
        assert running.process.wait(LEAVING_SEC) == 0
    assert not list(tmp_path.rglob("*.html"))


def fetched(running, page: Page) -> tuple[str, bytes]:
    """Return name and content of what was exported last, as the browser gets it."""
    name, file = page.state["saved"]
    with urllib.request.urlopen(f"http://127.0.0.1:{running.port}/file/{name}?key={running.key}") as got:
        assert file in got.headers["Content-Disposition"]
        return file, got.read()


def test_each_export_comes_as_one_file_and_says_what_it_is(viewer):
    got: dict[str, tuple[str, bytes]] = {}

    async def steps(page: Page) -> None:
        for what in ("report", "volumes", "dicom"):
            before = page.state.get("saved")
            await page.ask(what)
            await page.until(lambda before=before: page.state["saved"] != before and not page.state["working"])
            got[what] = await asyncio.to_thread(fetched, viewer, page)
            assert page.state["error"] == ""
            assert page.state["status"]["text"].startswith("Exported ")

    session(steps, running=viewer)
    assert got["report"][0].endswith("report.html")
    assert b"<html" in got["report"][1]
    assert sorted(zipfile.ZipFile(io.BytesIO(got["volumes"][1])).namelist())
    members = zipfile.ZipFile(io.BytesIO(got["dicom"][1])).namelist()
    assert [name.endswith("segmentation.dcm") for name in members].count(True) == 1
    assert [name.endswith("-map.dcm") for name in members].count(True) == 1


def test_a_sample_is_gone_to_without_the_model_and_the_way_back_is_there(viewer):
    async def steps(page: Page) -> None:
        result = page.state["reading"]
        assert [key for key, _text in result["readers"]] == ["", "heron", "osprey", "*"]
        assert result["samples"] == 0
        await page.ask("reader", value="*")
        await page.until(lambda: page.state["reading"]["samples"] == 3)
        await page.ask("sample", value=2)
        await page.until(lambda: page.state["reading"]["sample"] == 2)
        shown = page.state["reading"]
        assert "sample 2 of 3 drawn by the model, not a reader" in shown["volume"]
        assert (shown["movable"], shown["rows"]) == (False, [])
        await page.ask("reader", value="")
        await page.until(lambda: page.state["reading"]["sample"] == 0)
        assert (page.state["reading"]["volume"], page.state["reading"]["rows"]) == (result["volume"], result["rows"])

    session(steps, running=viewer)


async def drag(page: Page) -> None:
    """Move the threshold to two levels; the outline is drawn at each."""
    for level in (0.3, 0.4):
        drawn = page.frames
        await page.ask("threshold", value=level)
        await page.until(
            lambda level=level, drawn=drawn: page.frames > drawn and page.state["reading"]["threshold"] == level
        )


def test_the_slider_moves_while_an_export_goes_on_and_the_export_is_of_before(viewer):
    async def steps(page: Page) -> None:
        await page.ask("threshold", value=0.6)
        await page.until(lambda: page.state["reading"]["threshold"] == 0.6)
        before = page.state.get("saved")
        await page.ask("report")
        await page.until(lambda: page.state["working"])
        while page.state["working"]:  # held as soon as it is there; one that was quicker is asked for again
            with viewer.held() as processes:
                if processes:
                    await drag(page)
                    await page.ask("volumes")  # nothing else is begun meanwhile
                    await page.rest(0.2)
                    assert page.state["working"]
                    break
            await page.hear(0.02)
        else:
            pytest.fail("the export ended before it was seen")
        await page.until(lambda: page.state["saved"] != before and not page.state["working"])
        name, content = await asyncio.to_thread(fetched, viewer, page)
        assert name.endswith("report.html")
        assert html.escape(outline_text(0.6, calibrated=True)) in content.decode()
        assert page.state["reading"]["threshold"] == 0.4

    session(steps, running=viewer)


def test_one_readers_map_is_measured_and_shown_and_left_again(viewer):
    async def steps(page: Page) -> None:
        everyone = page.state["reading"]
        assert everyone["readers"][0] == ["", "all readers"]
        for name in RADII_MM:
            await page.ask("reader", value=name)
            await page.until(lambda name=name: page.state["reading"]["reader"] == name and not page.state["working"])
            shown = page.state["reading"]
            assert f"as reader {name} would draw it" in shown["volume"]
            assert not shown["movable"]
            assert shown["rows"] != everyone["rows"]
        await page.ask("reader", value="nobody")
        await page.until(lambda: page.state["error"])
        assert "reader nobody" in page.state["error"]
        await page.ask("answer", yes=True)
        await page.ask("reader", value="")
        await page.until(lambda: page.state["reading"]["reader"] == "")
        assert page.state["reading"]["rows"] == everyone["rows"]

    session(steps, running=viewer)


def test_own_readers_come_by_path_and_are_compared_with_the_map(viewer, example, tmp_path):
    ct = load_ct(example.ct).volume
    for number, name in enumerate(("Dr. A", "Dr. B")):
        mask = np.zeros(ct.array.shape, np.uint8)
        mask[8:16, 18:30, 20 + number : 32 + number] = 1
        write_volume(ct.with_array(mask), tmp_path / f"{name}.nii.gz")

    def rows(page: Page) -> list[tuple[str, bool]]:
        return [(row["title"], row["ticked"]) for row in page.state["own"]["rows"]]

    async def steps(page: Page) -> None:
        for name in ("Dr. A", "Dr. B"):
            await page.ask("readerFile", value=str(tmp_path / f"{name}.nii.gz"))
            await page.until(lambda name=name: (f"{name}: {name}", True) in rows(page) and not page.state["working"])
        await page.ask("makeMhr")
        await page.ask("evaluate")
        await page.until(lambda: page.state["own"]["metrics"])
        assert page.state["own"]["metrics"][0]["title"] == "Dice over thresholds (TDSC)"
        assert page.state["curve"]["title"] == "Reliability against the readers"
        await page.ask("tick", name=page.state["own"]["rows"][0]["key"], value=False)
        await page.until(lambda: rows(page) == [("Dr. A: Dr. A", False), ("Dr. B: Dr. B", True)])
        for what, told in (("readerFile", "none.nii.gz"), ("vesselFile", "none.nii.gz"), ("region", "none.mrk.json")):
            await page.ask(what, value=str(tmp_path / told))
            await page.until(lambda told=told: told in page.state["error"])
            await page.ask("answer", yes=True)
            await page.until(lambda: not page.state["error"] and not page.state["working"])

    session(steps, running=viewer)


def test_what_is_set_up_for_the_next_run_is_kept(viewer, example):
    async def steps(page: Page) -> None:
        await page.ask("rules", value="dpcg")
        await page.ask("rules", value="no such")
        await page.ask("keepScore", value=True)
        await page.ask("vesselFile", value=str(example.result / "vessels.nii.gz"))
        await page.until(lambda: page.state["vessels"]["name"] == "vessels")
        assert any(page.state["vessels"]["chosen"].values())
        assert page.state["setUp"]["rules"] == "dpcg"
        assert page.state["setUp"]["keepScore"]
        await page.ask("vesselFile", value="")
        await page.until(lambda: not page.state["vessels"]["offered"])

    session(steps, running=viewer)


def test_the_brush_draws_takes_back_and_is_measured_and_the_maps_outline_comes_back(viewer):
    middle = {"view": 0, "x": SIZE["width"] // 2, "y": SIZE["height"] // 2, "button": 0}

    async def stroke(page: Page) -> None:
        for kind in ("press", "move", "release"):
            await page.ask("mouse", kind=kind, **{**middle, "x": middle["x"] + 20 * (kind != "press")})
        await page.until(lambda: page.state["brush"]["canUndo"])

    async def steps(page: Page) -> None:
        before = page.state["reading"]
        await page.ask("mouse", kind="press", **middle)  # without a brush nothing is drawn
        await page.ask("mouse", kind="release", **middle)
        await page.ask("edit")
        await page.until(lambda: page.state["brush"]["active"])
        assert len(page.state["brush"]["scales"]) == 3
        await page.ask("brush", diameter=1e9)
        await page.until(lambda: page.state["brush"]["diameter_mm"] == 60)
        await stroke(page)
        await page.ask("undo")
        await page.until(lambda: not page.state["brush"]["canUndo"])
        await page.ask("done")
        await page.until(lambda: not page.state["brush"]["active"])
        await page.rest()
        assert page.state["reading"]["notes"]["edited"] == ""
        await page.ask("edit")
        await page.ask("brush", diameter=50)  # wider than the tumour, wherever the views stand
        await page.until(lambda: page.state["brush"]["active"])
        await stroke(page)
        await page.ask("done")
        await page.until(lambda: page.state["reading"]["notes"]["edited"])
        edited = page.state["reading"]
        assert edited["volume"] != before["volume"]
        assert "outline edited by hand" in edited["volume"]
        assert not edited["movable"]
        await page.ask("restore")
        await page.until(lambda: not page.state["reading"]["notes"]["edited"])
        assert page.state["reading"]["volume"] == before["volume"]

    session(steps, running=viewer)


def test_a_model_that_is_missing_is_said_in_the_page(viewer):
    async def steps(page: Page) -> None:
        await page.ask("segment")
        await page.until(lambda: page.state["error"])
        assert page.state["error"] == "Choose a model bundle."
        assert page.state["status"] == {"text": "Failed: Choose a model bundle.", "loud": True}
        await page.ask("answer", yes=True)
        await page.until(lambda: not page.state["error"])

    session(steps, running=viewer)


@pytest.mark.network
@pytest.mark.skipif(not (DEMO_BUNDLE / "bundle.json").exists(), reason="the demo bundle is not there")
def test_the_slider_moves_while_a_run_goes_on_which_is_cancelled(start, example):
    pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed")

    async def steps(page: Page) -> None:
        await page.ask("segment")
        await page.until(lambda: page.state["run"]["button"]["text"] == "Cancel")
        with running.held():
            await drag(page)
            assert page.state["run"]["running"]
        await page.ask("escape")
        await page.until(lambda: page.state["status"]["text"] == "Cancelled.")
        assert page.state["run"]["button"]["text"] == "Segment"

    with start(example.result, "--bundle", "demo") as running:
        session(steps, running=running)
        assert running.end() == 0
