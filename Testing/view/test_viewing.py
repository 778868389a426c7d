"""A page's session without a browser: drag, exports, a run, the end; and what each may take."""

from __future__ import annotations

import asyncio
import io
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("trame_slicer", reason="the extra 'view' is not installed: make view-tools")
import urllib.request

from page import Page

import twintrack

pytestmark = pytest.mark.process

SLACK = 5
DRAG_MSEC = 30
FIRST_PICTURE_SEC = 8
STEPS = 30
LEAVING_SEC = 120
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
        assert [key for key, _text in result["readers"]] == ["", "*"]
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
def test_a_run_is_cancelled_and_the_next_one_ends_with_a_result_or_a_reason(start, example):
    pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed")

    async def steps(page: Page) -> None:
        assert not page.state["reading"]["present"]
        await page.ask("segment")
        await page.until(lambda: page.state["run"]["button"]["text"] == "Cancel")
        await page.ask("segment")
        await page.until(lambda: page.state["status"]["text"] == "Cancelled.")
        await page.ask("segment")
        await page.until(lambda: page.state["run"]["running"])
        await page.until(lambda: not page.state["run"]["running"])
        assert page.state["run"]["button"]["text"] == "Segment"
        if page.state["reading"]["present"]:
            assert page.state["reading"]["notes"]["badge"]
        else:  # the example is too small for a pancreas: that is said, and stays
            assert page.state["status"] == {"text": f"Failed: {page.state['error']}", "loud": True}

    with start(example.ct, "--bundle", "demo") as running:
        session(steps, running=running)
        assert running.end() == 0
