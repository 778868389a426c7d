"""The table of names: fits into a narrow panel, corrects a name by a combo, and lets names out after a tick."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from named_example import TUBES, writeNamedResult
from panel_steps import chosen
from window_picture import grabPanel

pytestmark = pytest.mark.render

WIDTH_PX, HEIGHT_PX = 420, 700


@pytest.fixture(scope="module")
def namedResult(application, tmp_path_factory) -> Path:
    from mrml_environment import preparedScene

    from TwinTrackSegLib.mrml.SelfTest import makeExampleCt

    scene = preparedScene()
    folder = writeNamedResult(tmp_path_factory.mktemp("named") / "result", makeExampleCt())
    scene.Clear(False)
    return folder


@pytest.fixture
def named(panel, ct, bundle, namedResult):
    """A result whose vessels were named by anatomy, shown in the panel as after a run."""
    chosen(panel, ct, bundle)
    panel._takeResult(panel.logic.loadResult(namedResult, ct))
    panel.ui.namesCollapsibleButton.collapsed = False
    return panel.results.result


def rowOf(panel, piece: str) -> int:
    return [row.piece for row in panel.reading.names.presenter.state.rows].index(piece)


def choose(panel, piece: str, name: str) -> None:
    combo = panel.ui.namesTable.cellWidget(rowOf(panel, piece), 1)
    index = combo.findData(name)
    combo.setCurrentIndex(index)
    combo.activated.emit(index)


def test_results_whose_vessels_had_names_have_no_such_table(panel, done):
    assert not panel.ui.namesCollapsibleButton.isVisibleTo(panel.parent)


def test_all_rows_stand_in_a_narrow_panel_and_what_has_no_name_is_loud(panel, named):
    ui, table = panel.ui, panel.ui.namesTable
    picture = grabPanel(panel, "light")
    if folder := os.environ.get("TWINTRACK_PICTURES"):
        picture.save(str(Path(folder) / "names_table.png"))
    assert ui.namesCollapsibleButton.isVisible()
    assert "NOT NAMED" in ui.namesCollapsibleButton.text
    assert "not checked" in ui.namesCollapsibleButton.text
    assert ui.namesCollapsibleButton.width <= WIDTH_PX
    assert ui.readingCollapsibleButton.y + ui.readingCollapsibleButton.height <= HEIGHT_PX
    assert sum(table.columnWidth(column) for column in range(4)) <= table.viewport().width
    for piece in TUBES:
        combo = table.cellWidget(rowOf(panel, piece), 1)
        assert combo.itemData(combo.currentIndex) == piece
    celiac, portal = rowOf(panel, "CELIAC"), rowOf(panel, "PORTA")
    assert [table.item(celiac, column).text() for column in (2, 3)] == ["anatomy", "low"]
    assert table.item(celiac, 0).font().bold()
    assert not table.item(rowOf(panel, "SMA"), 0).font().bold()
    reason = table.item(portal, 1).text()
    assert " ".join(reason.split()) == "NOT NAMED, not assessed: no place where three veins meet"
    assert "Segment Editor" in ui.namesHintLabel.text
    assert table.cellWidget(portal, 1) is None


def test_a_corrected_name_is_measured_and_shown_and_a_row_leads_to_its_vessel(panel, named, monkeypatch):
    from TwinTrackSegLib.mrml.result import VesselNames

    choose(panel, "SMA", "CELIAC")
    assert panel.ui.namesTable.item(rowOf(panel, "SMA"), 2).text() == "by hand"
    assert panel.ui.namesTable.item(rowOf(panel, "CELIAC"), 0).text() == "no name (was Celiac trunk)"
    assert named.record.namesByHand == {"SMA": "CELIAC", "CELIAC": ""}
    assert "no name any more" in panel.ui.statusLabel.text
    rows = {row.name: row for row in panel.results.state.rows}
    assert rows["SMA"].why  # nobody has that name: a reason in the table of contact
    assert not rows["CELIAC"].why
    places = []
    monkeypatch.setattr(VesselNames, "jumpToPoint", lambda _node, ras: places.append(ras))
    panel.ui.namesTable.selectRow(rowOf(panel, "SMA"))
    assert len(places) == 1


def test_the_tick_lets_names_out(panel, named):
    from TwinTrackSegLib.present.VesselNames import withheldNote

    assert "Names checked" in withheldNote(named)
    panel.ui.namesCheckedCheckBox.click()
    assert named.record.namesChecked
    assert withheldNote(named) == ""
    assert ", checked" in panel.ui.namesCollapsibleButton.text
    panel.ui.namesCheckedCheckBox.click()
    assert not named.record.namesChecked


def test_own_segments_of_all_arteries_and_veins_are_named_by_anatomy(panel, ct, bundle):
    import numpy as np

    import slicer
    from TwinTrackSegLib.mrml.result.ResultSegmentation import addSegment, meaningOf
    from TwinTrackSegLib.mrml.VolumeConversion import geometryFromNode

    chosen(panel, ct, bundle)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "panorama")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    shape = geometryFromNode(ct).shape
    for number, name in enumerate(("arteries", "veins")):
        mask = np.zeros(shape, bool)
        mask[:, 2 + 4 * number : 4 + 4 * number, 2:5] = True
        addSegment(node, ct, f"s{number}", meaningOf("tumor")._replace(name=name, terminologyEntry=""), mask)
    panel._parameterNode.vesselSegmentation = node
    assert "named by anatomy, from arteries, veins" in panel.ui.vesselHintLabel.text
    labels, names = panel.inputs.vessels.choice.labels(ct)
    assert set(names) == {"ARTERIES", "VEINS"}
    assert (labels.array == names["VEINS"]).sum() == 2 * 3 * shape[0]
    panel.inputs.vessels.choose("SMA", "s0")  # who says which vessel it is wants no name by anatomy
    assert "named by anatomy" not in panel.ui.vesselHintLabel.text
    assert set(panel.inputs.vessels.choice.labels(ct)[1]) == {"SMA"}
