"""The site's own readers without any toolkit: who is listed, what can be pressed, what is asked and said."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer")

pytestmark = pytest.mark.slow


@pytest.fixture
def drawn(ct):
    """A segmentation of two readers of the CT, and of two things that are none's."""
    from segment_drawing import drawSegment

    import slicer
    from TwinTrackSegLib.mrml.VolumeConversion import volumeFromNode

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Drawn")
    node.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    for number, name in enumerate(("Reader A", "Reader B", "Aorta", "Portal vein")):
        mask = np.zeros(volumeFromNode(ct).array.shape, dtype=bool)
        mask[8:16, 18:30, 20 + number : 32 + number] = True
        drawSegment(node, node.GetSegmentation().AddEmptySegment(f"s{number}", name), mask, ct)
    return node


class Chosen:
    """What the front end holds beside the presenter."""

    def __init__(self) -> None:
        self.ct, self.bundle, self.calibrators = None, "", []


@pytest.fixture
def chosen() -> Chosen:
    return Chosen()


@pytest.fixture
def own(host, scene, chosen, tmp_path):
    from TwinTrackSegLib.mrml.site.SiteCalibrator import SiteCases
    from TwinTrackSegLib.present.OwnReaders import OwnReadersPresenter
    from TwinTrackSegLib.present.Reading import ReadingPresenter

    presenter = OwnReadersPresenter(
        host,
        ReadingPresenter(host, lambda: None, lambda _result: None),
        SiteCases(tmp_path / "cases.npz"),
        lambda: chosen.ct,
        lambda: chosen.bundle,
        chosen.calibrators.append,
        lambda: None,
    )
    presenter.update()
    return presenter


def titles(presenter) -> list[str]:
    return [row.title for row in presenter.state.rows]


def pressable(presenter) -> list[str]:
    return [name for name, can in presenter.state.pressable.items() if can]


def tickAll(presenter) -> None:
    for row in presenter.state.rows:
        presenter.tick(row.key, True)


def test_who_may_be_a_reader_is_listed_the_rest_by_name_and_a_tick_stays(own, chosen, ct, drawn):
    own.update()
    assert titles(own) == ["Drawn: Reader A", "Drawn: Reader B"]
    assert own.state.hint == "2 more in the scene are not listed: type a part of their name."
    own.tick(own.state.rows[1].key, True)
    own.update("PORT")
    assert titles(own) == ["Drawn: Reader B", "Drawn: Portal vein"]
    assert [row.ticked for row in own.state.rows] == [True, False]
    own.update("")
    assert [rater.partName for rater in own.ticked()] == ["Reader B"]
    chosen.ct = ct  # another CT: nobody is ticked for it
    own.update()
    assert own.ticked() == []


def test_what_can_be_pressed_follows_ct_ticks_result_and_cases(own, chosen, ct, drawn, load):
    own.update()
    assert pressable(own) == []
    tickAll(own)
    assert pressable(own) == []  # a map needs the grid of a CT
    chosen.ct = ct
    own.update()
    tickAll(own)
    assert pressable(own) == ["makeMhr"]
    own._reading.show(load())
    own.update()
    assert pressable(own) == ["makeMhr", "evaluate", "addCase"]
    drawn.GetScene().RemoveNode(drawn)
    assert pressable(own) == []


def test_a_comparison_stays_with_its_result(own, ct, drawn, load):
    own._reading.show(load())
    own.update()
    tickAll(own)
    own.evaluate()
    assert [metric.title for metric in own.state.metrics][:2] == ["Dice over thresholds (TDSC)", "Dice (DSC)"]
    own._reading.show(load())
    own.update()
    assert own.state.metrics == ()


def test_two_cases_make_a_calibrator_that_the_next_runs_take(own, host, chosen, ct, drawn, tmp_path):
    from TwinTrackSegLib.mrml.SelfTest import writeExampleResult
    from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic

    folder = writeExampleResult(tmp_path / "scored", ct)
    (folder / "score.nii.gz").write_bytes((folder / "probability.nii.gz").read_bytes())
    own._reading.show(TwinTrackSegLogic().loadResult(folder, ct))
    own.update()
    assert own.state.cases == "No case was added yet."
    keys = [row.key for row in own.state.rows]
    own.tick(keys[0], True)
    own.addCase()
    assert host.errors == []
    assert own.state.cases == "1 case was added; a calibrator of your own takes at least 2."
    assert "fit" not in pressable(own)
    own.tick(keys[1], True)
    own.addCase()
    assert own.state.cases == "2 cases were added for a calibrator of your own."
    assert "fit" in pressable(own)
    own.fit()  # the user thinks better of it
    assert [question.title for question in host.questions] == ["Save calibrator"]
    assert chosen.calibrators == []
    host.path, chosen.bundle = str(tmp_path / "own.json"), str(tmp_path / "no bundle")
    own.fit()
    assert host.errors == []
    assert chosen.calibrators == [host.path]
    assert "2 cases only" in host.warned[0]
    assert host.ensured[-1] == ("Fitting a calibrator", "scikit-learn")


def test_a_damaged_file_of_cases_is_said_and_nothing_is_fitted_on_it(own):
    own.cases.path.write_bytes(b"no numbers")
    assert "fit" not in pressable(own)
    assert str(own.cases.path) in own.state.cases


def test_the_fewest_cases_are_the_engines():
    from twintrack.studies.calibrate import FEWEST_CASES
    from TwinTrackSegLib.mrml.site import SiteCalibrator

    assert SiteCalibrator.FEWEST_CASES == FEWEST_CASES


def test_metrics_say_which_way_is_better_and_why_one_is_missing():
    from TwinTrackSegLib.mrml.site.Evaluation import HIGHER_IS_BETTER
    from TwinTrackSegLib.present.OwnReaders import _metricRows

    title = next(iter(HIGHER_IS_BETTER))
    found, missing = _metricRows([(title, 0.81234), (title, "no vessel")])
    assert found.value == "0.8123 ↑"
    assert (missing.value, missing.tip) == ("not available", "no vessel")


def test_readers_of_a_file_are_ticked_and_its_other_parts_are_not(own, host, chosen, ct, tmp_path):
    from twintrack.io.volumes import write_volume
    from TwinTrackSegLib.mrml.VolumeConversion import volumeFromNode

    whole = volumeFromNode(ct)
    array = np.zeros(whole.array.shape, np.uint8)
    array[8:16, 18:30, 20:32] = 1
    array[2:4] = 2
    write_volume(whole.with_array(array), tmp_path / "Dr. A.nii.gz", names={"tumor": 1, "aorta": 2})
    own.addFile(str(tmp_path / "Dr. A.nii.gz"))
    assert titles(own) == []  # without a CT there is no grid
    chosen.ct = ct
    own.update()
    own.addFile(str(tmp_path / "Dr. A.nii.gz"))
    assert [(row.title, row.ticked) for row in own.state.rows] == [("Dr. A: tumor", True)]
    own.addFile(str(tmp_path / "Dr. B.nii.gz"))
    assert "Dr. B.nii.gz" in host.errors[0]
    assert pressable(own) == ["makeMhr"]
