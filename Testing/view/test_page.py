"""What a radiologist sees, in a real browser: contours, surfaces, legend, and the sentences of the panel."""

from __future__ import annotations

import re
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("trame_slicer", reason="the extra 'view' is not installed: make view-tools")
from devtools import browsing
from TwinTrackSegLib.web.PageState import exports, labels

UI = Path(__file__).parents[2] / "TwinTrackSeg" / "Resources" / "UI" / "TwinTrackSeg.ui"
SHARP_SEC = 1.5


@pytest.fixture(scope="module")
def tab(viewer, tmp_path_factory):
    """A page of the viewer, once it shows all four views and they are sharp."""
    with browsing(tmp_path_factory.mktemp("browser") / "profile") as open_tab:
        tab = open_tab()
        tab.open(viewer.address)
        tab.until("document.querySelectorAll('.view img[src]').length === 4")
        shown = None
        while (now := tab.value("[...document.querySelectorAll('.view img')].map((view) => view.src)")) != shown:
            shown = now
            time.sleep(SHARP_SEC)
        yield tab


def read(example, threshold: float):
    """Return what the presenter of panel and page says of the example's result."""
    from mrml_environment import preparedScene
    from written_host import WrittenHost

    from twintrack.io.ct import load_ct
    from TwinTrackSegLib.mrml.result.ResultLoader import loadResult
    from TwinTrackSegLib.mrml.VolumeConversion import nodeFromVolume
    from TwinTrackSegLib.present.Reading import ReadingPresenter

    scene = preparedScene()
    presenter = ReadingPresenter(WrittenHost(), lambda: None, lambda _result: None)
    presenter.show(loadResult(example.result, nodeFromVolume(load_ct(example.ct).volume, "ct")))
    presenter.moveThreshold(threshold)
    state = presenter.state
    scene.Clear(False)
    return state


def colored(pixels: np.ndarray) -> np.ndarray:
    values = pixels.astype(int)
    return values.max(axis=-1) - values.min(axis=-1) > 40


def white(pixels: np.ndarray) -> np.ndarray:
    return pixels.min(axis=-1) > 235


def parts(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the middle of a view, where the tumour is, and its right edge, where the legend is."""
    height, width = pixels.shape[:2]
    return pixels[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4], pixels[:, int(0.8 * width) :]


pytestmark = [pytest.mark.process, pytest.mark.render]


@pytest.mark.parametrize("number", [1, 3, 4])
def test_slices_show_overlay_contours_and_legend(tab, number):
    middle, edge = parts(tab.pixels(f".view:nth-child({number})"))
    assert colored(middle).mean() > 0.005
    assert 0.001 < white(middle).mean() < 0.2  # lines, no areas
    assert colored(edge).mean() > 0.01
    assert white(edge).any()


def test_space_shows_surfaces_and_legend(tab):
    middle, edge = parts(tab.pixels(".view:nth-child(2)"))
    background = np.median(tab.pixels(".view:nth-child(2)")[8:30, 8:60].reshape(-1, 3), axis=0)
    shell = (middle.astype(int) - background > 25).all(axis=-1) & ~colored(middle)
    assert shell.mean() > 0.02  # translucent white over the dark background
    assert colored(edge).mean() > 0.01


def test_a_level_moves_outline_and_overlay_in_the_slices(tab):
    before = {number: tab.pixels(f".view:nth-child({number})") for number in (1, 3, 4)}
    tab.click("#ticks button:nth-child(1)")
    for number, pixels in before.items():
        assert tab.changes(f".view:nth-child({number})", pixels)
    tab.until("document.querySelector('#level').textContent === '0.20'")


def test_the_wheel_scrolls_and_the_mouse_turns(tab):
    for number, act in ((1, "wheel"), (2, "drag")):
        box = tab.value(
            f"(({{x, y}}) => [x, y])(document.querySelector('.view:nth-child({number})').getBoundingClientRect())"
        )
        x, y = box[0] + 150, box[1] + 150
        before = tab.pixels(f".view:nth-child({number})")
        tab.mouse("mouseMoved", x, y)
        if act == "wheel":
            for _ in range(3):
                tab.mouse("mouseWheel", x, y, deltaX=0, deltaY=60)
        else:
            tab.mouse("mousePressed", x, y, button="left", buttons=1, clickCount=1)
            tab.mouse("mouseMoved", x + 60, y + 30, button="left", buttons=1)
            tab.mouse("mouseReleased", x + 60, y + 30, button="left")
        assert tab.changes(f".view:nth-child({number})", before)


def test_the_page_says_what_the_presenters_say(tab, example):
    state = read(example, threshold=0.2)
    tab.click("#ticks button:nth-child(1)")
    tab.until("document.querySelector('#ticks button').classList.contains('pressed')")
    notes = state.notes
    shown = {name: tab.text(f"#{name}") for name in ("badge", "warnings", "edited", "source", "readers", "volume")}
    assert shown == {**{name: getattr(notes, name) for name in list(shown)[:-1]}, "volume": state.volume}
    assert tab.text("#notes") == notes.about
    rows = "[...document.querySelectorAll('#vessels tbody tr')]"
    cells = tab.value(f"{rows}.map((row) => [...row.cells].map((cell) => cell.textContent))")
    expected = [list(row.cells) if row.whyFrom is None else None for row in state.rows]
    assert [row if want else None for row, want in zip(cells, expected, strict=True)] == expected
    tips = tab.value(f"{rows}.map((row) => row.title)")
    assert tips == [row.tip for row in state.rows]
    ticks = tab.value("[...document.querySelectorAll('#ticks button')].map((b) => [b.textContent, b.title])")
    assert ticks == [[tick.text, tick.tip] for tick in state.ticks]


def test_its_labels_are_the_panels(tab):
    panel = {}
    for widget in ElementTree.parse(UI).iter("widget"):
        texts = {each.get("name"): each.findtext("string") or "" for each in widget.findall("property")}
        panel[widget.get("name")] = tuple(re.sub("&(.)", r"\1", texts.get(name, "")) for name in ("text", "toolTip"))
    for name, own in labels().items():
        for mine, its in zip(own, panel[name], strict=True):
            assert mine in ("", its), name
    buttons = {"dicom": "exportButton", "volumes": "saveButton", "report": "reportButton"}
    assert {each["name"]: (each["text"], each["tip"]) for each in exports()} == {
        name: panel[widget] for name, widget in buttons.items()
    }
    everything = tab.value("document.body.textContent")
    for text, _tip in labels().values():
        assert text in everything


def test_nothing_went_wrong_in_the_page(tab):
    assert tab.errors == []
    assert tab.value("document.body.scrollWidth <= innerWidth")
