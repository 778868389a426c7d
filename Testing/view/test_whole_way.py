"""From a CT to its result and a report, as somebody does it in the browser, with the demo model on a phantom."""

from __future__ import annotations

import importlib.util
import os
import time
from pathlib import Path

import pytest

pytest.importorskip("trame_slicer", reason="the extra 'view' is not installed: make view-tools")
import twintrack
from devtools import browsing
from twintrack.dicom import write_ct_series
from twintrack.phantom import make_phantom
from twintrack.studies.demo import DEMO_SEED

DEMO_BUNDLE = Path(twintrack.__file__).parent / "data" / "demo_bundle"
VIEWS = (1, 2, 3, 4)
CHANGE_SEC = 600.0

pytestmark = [
    pytest.mark.process,
    pytest.mark.render,
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.skipif(not (DEMO_BUNDLE / "bundle.json").exists(), reason="the demo bundle is not there"),
    pytest.mark.skipif(importlib.util.find_spec("nnunetv2") is None, reason="nnunetv2 is not installed"),
]


def changed(tab, before) -> bool:
    """Whether every view shows something else than before."""
    return all((tab.pixels(f".view:nth-child({n})") != before[n]).mean() > 0.001 for n in VIEWS)


def test_a_ct_is_segmented_read_and_reported_in_the_page(start, tmp_path):
    write_ct_series(make_phantom(DEMO_SEED, raters=1).ct, tmp_path / "ct", description="Phantom")
    with start(tmp_path / "ct", "--bundle", "demo") as running, browsing(tmp_path / "profile") as open_tab:
        tab = open_tab()
        tab.open(running.address)
        tab.until("document.querySelectorAll('.view img[src]').length === 4")
        assert tab.value("document.querySelector('#reading').hidden")
        before = {number: tab.pixels(f".view:nth-child({number})") for number in VIEWS}
        tab.value(
            "(box => { box.value = 'dpcg'; box.dispatchEvent(new Event('change')); })(document.querySelector('#rules'))"
        )
        tab.click("#segment")
        tab.until("document.querySelector('#segment').textContent === 'Cancel'")
        tab.until("!document.querySelector('#reading').hidden && document.querySelectorAll('#vessels tbody tr').length")
        assert tab.text("#badge").startswith("⚠ DEMO MODEL")
        assert "Dutch" in tab.text("#readers")
        assert tab.value("document.querySelectorAll('#curve polyline').length") >= 3
        tab.until("document.querySelector('#segment').textContent === 'Segment'")
        deadline = time.monotonic() + CHANGE_SEC
        while not changed(tab, before):
            assert time.monotonic() < deadline
        tab.click("#ticks button:nth-child(1)")
        tab.until("document.querySelector('#level').textContent === '0.20'")
        tab.click("#exports button:nth-child(3)")
        tab.until("document.querySelector('#status').textContent.startsWith('Exported ')")
        assert tab.errors == []
        if folder := os.environ.get("TWINTRACK_PICTURES"):
            from PIL import Image

            Image.fromarray(tab.pixels("html")).save(Path(folder) / "view-whole-way.png")
