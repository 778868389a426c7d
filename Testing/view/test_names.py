"""Names by anatomy in the page: checked, corrected and confirmed there, in the words of the panel in 3D Slicer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("trame_slicer", reason="the extra 'view' is not installed: make view-tools")
from named_example import TUBES

from devtools import browsing

pytestmark = [pytest.mark.process, pytest.mark.render]

ROWS = "[...document.querySelectorAll('#namesTable tbody tr')]"


@pytest.fixture(scope="module")
def tab(start, named_example, tmp_path_factory):
    """A page of the named result, once it shows all four views."""
    with start(named_example.result) as running, browsing(tmp_path_factory.mktemp("browser") / "profile") as open_tab:
        tab = open_tab()
        tab.open(running.address)
        tab.until("document.querySelectorAll('.view img[src]').length === 4")
        yield tab


@pytest.fixture(scope="module")
def panel(named_example):
    """What the panel's presenter says of the result: as it comes, corrected, and checked."""
    from mrml_environment import preparedScene
    from written_host import WrittenHost

    from twintrack.io.ct import load_ct
    from TwinTrackSegLib.mrml.result.ResultLoader import loadResult
    from TwinTrackSegLib.mrml.VolumeConversion import nodeFromVolume
    from TwinTrackSegLib.present.VesselNames import NamesPresenter

    scene = preparedScene()
    result = loadResult(named_example.result, nodeFromVolume(load_ct(named_example.ct).volume, "ct"))
    host = WrittenHost()
    presenter = NamesPresenter(host, lambda: result, lambda: None)
    states = [presenter.state]
    presenter.choose("SMA", "CELIAC")
    states.append(presenter.state)
    presenter.check(True)
    states.append(presenter.state)
    scene.Clear(False)
    return states, host.said[0][0]


def shown(tab) -> dict:
    """Return the words of the section."""
    said = {name: tab.text(f"#names{name.capitalize()}") for name in ("title", "hint")}
    said["checkText"] = tab.text("#namesCheckText")
    said["checked"] = tab.value("document.querySelector('#namesChecked').checked")
    cells = "cell.querySelector('select') ? cell.querySelector('select').value : cell.textContent"
    said["rows"] = tab.value(f"{ROWS}.map((row) => [...row.cells].map((cell) => {cells}))")
    said["tips"] = tab.value(f"{ROWS}.map((row) => row.title)")
    said["loud"] = tab.value(f"{ROWS}.map((row) => row.classList.contains('bold'))")
    return said


def said(state) -> dict:
    """Return the same of a presenter's state."""
    return {
        **{name: getattr(state, name) for name in ("title", "hint", "checkText", "checked")},
        "rows": [
            [row.title, row.name, row.source, row.confidence] if row.there else [row.title, row.reason]
            for row in state.rows
        ],
        "tips": [row.reason for row in state.rows],
        "loud": [row.loud for row in state.rows],
    }


def choose(tab, piece: str, name: str, panel) -> None:
    number = [row.piece for row in panel[0][0].rows].index(piece)
    select = f"{ROWS}[{number}].querySelector('select')"
    tab.value(f"{select}.value = '{name}'; {select}.dispatchEvent(new Event('change'))")


def test_the_section_says_what_the_panel_says(tab, panel):
    from TwinTrackSegLib.present.VesselNames import heads

    if folder := os.environ.get("TWINTRACK_PICTURES"):
        from PIL import Image

        tab.value("document.querySelector('#names').scrollIntoView()")
        Image.fromarray(tab.pixels()).save(Path(folder) / "view_names.png")
    first = panel[0][0]
    assert shown(tab) == said(first)
    assert {row.piece for row in first.rows if row.there} == set(TUBES)
    columns = tab.value(
        "[...document.querySelectorAll('#namesTable th')].map((head) => [head.textContent, head.title])"
    )
    assert columns == [list(head) for head in heads()]
    options = tab.value(f"[...{ROWS}[0].querySelectorAll('option')].map((option) => [option.value, option.text])")
    assert options == [list(choice) for choice in first.choices]


def test_a_row_leads_to_its_vessel(tab, panel):
    before = tab.pixels(".view:nth-child(3)")
    tab.value(f"{ROWS}[{[row.piece for row in panel[0][0].rows].index('AORTA')}].click()")
    assert tab.changes(".view:nth-child(3)", before)


def test_a_corrected_name_is_measured_and_shown(tab, panel):
    choose(tab, "SMA", "CELIAC", panel)
    tab.until("document.querySelector('#namesTable').textContent.includes('by hand')")
    tab.until("!document.body.classList.contains('working')")
    assert shown(tab) == said(panel[0][1])
    assert tab.text("#status") == panel[1]
    assert tab.value("document.querySelector('#vessels').textContent").count("Celiac") == 1


def test_the_tick_says_that_names_were_checked(tab, panel):
    tab.click("#namesChecked")
    tab.until("document.querySelector('#namesTitle').textContent.endsWith(', checked')")
    tab.until("!document.body.classList.contains('working')")
    assert shown(tab) == said(panel[0][2])
    assert not tab.value("document.querySelector('#namesHint').classList.contains('note')")


def test_nothing_went_wrong_in_the_page(tab):
    assert tab.errors == []
    assert tab.value("document.body.scrollWidth <= innerWidth")
    width = "document.querySelector('#namesTable').getBoundingClientRect().right"
    assert tab.value(f"{width} <= document.querySelector('#panel').getBoundingClientRect().right")
