"""The live panel: its strings are the report's own at every threshold, and its voxels lie where the map does."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browser import browsed
from twintrack.invasion import InvasionResult, measure_invasion
from twintrack.phantom import make_phantom
from twintrack.results.report.html import read_panel, write_report
from twintrack.results.report.live_panel import LEAST_MAP, STEP_MM, THRESHOLDS, live_panel
from twintrack.results.report.vessel_rows import vessel_rows
from twintrack.system.json_file import json_for_script
from twintrack.volume import Geometry, Volume

NAMES = {"PORTA": 1, "SMV": 2, "AORTA": 3, "CELIAC": 4, "SMA": 5}
RESULT: dict[str, Any] = {"threshold": 0.5, "bundle": {"raters": 5}, "calibrator": {"target": "mhr"}}

CENTER_LPS_MM = np.array([12.0, -31.0, 44.0])
WIDE_MM = 12.0
"""Where the ball of `ball` lies, and where its map is one half."""

TURNS = {
    "straight": np.eye(3),
    "left-handed": np.diag([1.0, -1.0, 1.0]),
    "oblique": np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]]),
    "oblique and left-handed": np.array([[0.0, 0.8, 0.6], [1.0, 0.0, 0.0], [0.0, -0.6, 0.8]])
    @ np.diag([1.0, 1.0, -1.0]),
}


def ball(turn: np.ndarray) -> tuple[Volume, Volume]:
    """Return a CT and a map that falls off with the distance from a point, on a turned grid of 1.2 x 1.4 x 2 mm."""
    size, spacing = (50, 44, 30), np.array([1.2, 1.4, 2.0])
    middle = (np.array(size) - 1) / 2
    origin = CENTER_LPS_MM - turn @ (middle * spacing) + 0.3
    geometry = Geometry(size, tuple(spacing), tuple(origin), tuple(turn.ravel()))
    z, y, x = np.indices(geometry.shape)
    distance = np.linalg.norm(geometry.to_lps_mm(np.stack([x, y, z], axis=-1)) - CENTER_LPS_MM, axis=-1)
    values = np.clip(1.0 - distance / (2 * WIDE_MM), 0.0, 1.0).astype(np.float32)
    return Volume((100 * values).astype(np.int16), geometry), Volume(values, geometry)


def voxels(panel: dict[str, Any], name: str) -> np.ndarray:
    """Return the voxels (z, y, x) as the script unpacks them."""
    flat = np.frombuffer(zlib.decompress(base64.b64decode(panel[name])), np.uint8)
    return flat.reshape(panel["size"][::-1])


@pytest.fixture(scope="module")
def measured() -> tuple[Volume, Volume, InvasionResult]:
    case = make_phantom(11, raters=1)
    return case.ct, case.true_mhr, measure_invasion(case.true_mhr, case.vessels, NAMES)


@pytest.mark.slow
def test_every_string_is_the_report_s_own_at_every_threshold(measured) -> None:
    ct, probability, invasion = measured
    panel = live_panel(ct, probability, invasion, RESULT)
    assert len(THRESHOLDS) == len(panel["volumes"]) == len(panel["levels"]) == 100
    names = {row.heading: row.name for row in vessel_rows(invasion.to_json(), None)}
    assert {names[vessel["name"]] for vessel in panel["vessels"]} == set(invasion.vessels)
    for step, threshold in enumerate(THRESHOLDS):
        ml = np.count_nonzero(probability.array >= threshold) * probability.geometry.voxel_ml
        assert panel["volumes"][step] == f"{ml:.1f} mL"
        assert f"at least {100 * threshold:.0f} % mark" in panel["levels"][step]
        rows = {row.name: row for row in vessel_rows(invasion.to_json(), threshold)}
        for vessel in panel["vessels"]:
            assert vessel["lines"][step] == rows[names[vessel["name"]]].outline_line
    assert panel["start"] == THRESHOLDS.index(0.5)
    assert [THRESHOLDS[tick] for tick in panel["ticks"]] == [0.2, 0.4, 0.6, 0.8, 1.0]


@pytest.mark.parametrize("turn", TURNS)
def test_the_map_of_the_panel_lies_where_the_map_does(turn: str) -> None:
    ct, probability = ball(TURNS[turn])
    panel = live_panel(ct, probability, None, RESULT)
    assert panel["step_mm"] == STEP_MM
    values = voxels(panel, "map") / 255
    first, middle = first_voxel(panel, probability), np.rint(panel["at"]).astype(int)
    lines = (values[middle[2], middle[1]], values[middle[2], :, middle[0]], values[:, middle[1], middle[0]])
    for axis, line in enumerate(lines):
        crossings = np.flatnonzero((line[:-1] >= 0.5) != (line[1:] >= 0.5))
        assert len(crossings) == 2
        for start in crossings:
            place = middle.astype(float)
            place[axis] = start + (line[start] - 0.5) / (line[start] - line[start + 1])
            away = np.linalg.norm(first + STEP_MM * place - CENTER_LPS_MM)
            assert abs(away - WIDE_MM) < 0.5
    assert abs(float(values.max()) - float(probability.array.max())) < 0.1
    assert len(np.unique(voxels(panel, "ct"))) > 10


def first_voxel(panel: dict[str, Any], probability: Volume) -> np.ndarray:
    """Return where the piece's first voxel lies, from where the panel says that the map is highest."""
    array = probability.array
    k, j, i = (float(places.mean()) for places in np.nonzero(array >= 0.98 * array.max()))
    return probability.geometry.to_lps_mm(np.array([i, j, k])) - STEP_MM * np.array(panel["at"])


def test_without_a_map_to_look_at_there_is_no_panel() -> None:
    ct, probability = ball(np.eye(3))
    assert live_panel(ct, probability.with_array(probability.array * 0.9 * LEAST_MAP), None, RESULT) is None


def test_a_score_that_was_not_calibrated_has_no_ticks_of_readers() -> None:
    panel = live_panel(*ball(np.eye(3)), None, {**RESULT, "calibrator": None})
    assert panel["ticks"] == []
    assert "score at least" in panel["levels"][0]


def test_a_large_piece_gets_larger_voxels() -> None:
    geometry = Geometry((80, 80, 60), (3.0, 3.0, 4.0))
    full = np.full(geometry.shape, 0.5, np.float32)
    panel = live_panel(Volume(full, geometry), Volume(full, geometry), None, RESULT)
    assert panel["step_mm"] > 2
    assert np.prod(panel["size"]) < 1_000_000


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A report with a panel of the ball, and of a vessel with a hostile name."""
    panel = live_panel(*ball(TURNS["oblique"]), None, RESULT)
    hostile = {"name": "</script><b>SMA", "lines": ["x"] * 100, "at": panel["at"], "half": 20.0, "sides": ""}
    panel["vessels"] = [hostile | {"right": [1, 0, 0], "down": [0, 1, 0]}]
    path = tmp_path / "report.html"
    write_report(path, RESULT, None, None, panel=json_for_script(panel))
    return path


def test_only_the_report_s_own_script_may_run_and_the_panel_is_read_back(page: Path, tmp_path: Path) -> None:
    source = page.read_text(encoding="utf-8")
    data, script = re.findall(r"<script[^>]*>(.*?)</script>", source, re.DOTALL)
    assert source.count("</script>") == 2
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{allowed}'" in source
    assert "default-src 'none'" in source
    assert read_panel(page) == data
    assert json.loads(data)["vessels"][0]["name"] == "</script><b>SMA"
    write_report(tmp_path / "plain.html", RESULT, None, None)
    plain = (tmp_path / "plain.html").read_text(encoding="utf-8")
    assert "script" not in plain
    assert read_panel(tmp_path / "plain.html") == ""


SHOW_ALL = """<script>
window.addEventListener("DOMContentLoaded", () => {
  const panel = document.getElementById("panel"), found = document.createElement("pre");
  new MutationObserver(() => setTimeout(() => {
    const slider = document.getElementById("panel-threshold"), shown = [];
    const said = "#panel-level, #panel-volume, #panel-vessels span";
    for (let value = 1; value <= 100; value++) {
      slider.value = value;
      slider.dispatchEvent(new Event("input"));
      shown.push([...panel.querySelectorAll(said)].map((one) => one.textContent));
    }
    found.id = "found";
    found.textContent = JSON.stringify(shown);
    document.body.append(found);
  })).observe(panel, { attributes: true });
});
</script>"""
"""In a copy without the security policy: what stands in the panel at each step of the slider."""


@pytest.mark.slow
@pytest.mark.process
def test_a_browser_shows_it_under_the_page_s_own_policy(page: Path, tmp_path: Path) -> None:
    shown = browsed(page, tmp_path / "browser")
    panel = json.loads(read_panel(page))
    assert '<section id="panel" aria-labelledby="panel-title">' in shown  # no longer hidden
    assert f'id="panel-volume">{panel["volumes"][panel["start"]]}<' in shown
    assert f'id="panel-step">{panel["step_mm"]:g}<' in shown
    assert "&lt;/script&gt;&lt;b&gt;SMA" in shown
    sizes = re.findall(r'<canvas data-view="\w+" width="(\d+)" height="(\d+)"', shown)
    assert len(sizes) == 4
    assert sizes[0] == (str(2 * panel["size"][0]), str(2 * panel["size"][1]))


@pytest.mark.slow
@pytest.mark.process
def test_a_browser_shows_python_s_strings_at_every_threshold(page: Path, tmp_path: Path) -> None:
    panel = json.loads(read_panel(page))
    panel["vessels"][0]["lines"] = [f"{step}° over 3 mm" for step in range(100)]
    source = page.read_text(encoding="utf-8").replace(read_panel(page), json_for_script(panel))
    copy = tmp_path / "copy.html"
    copy.write_text(re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', SHOW_ALL, source), encoding="utf-8")
    shown = re.search(r'<pre id="found">(.*?)</pre>', browsed(copy, tmp_path / "browser"), re.DOTALL)
    assert shown is not None
    lines = zip(panel["levels"], panel["volumes"], panel["vessels"][0]["lines"], strict=True)
    assert json.loads(html.unescape(shown[1])) == [list(line) for line in lines]
