"""Reading a result without any toolkit: the state that a front end shows, and what moves it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer")

pytestmark = pytest.mark.slow


@pytest.fixture
def states():
    """How often the presenter said that its state is another."""
    return []


@pytest.fixture
def reading(host, states):
    from TwinTrackSegLib.present.Reading import ReadingPresenter

    edited = []
    presenter = ReadingPresenter(host, lambda: states.append(1), edited.append)
    presenter.edited = edited
    return presenter


def draw(result) -> None:
    """Draw a ring around the vessel in place of the tumour, as an editor does, without a word to the presenter."""
    from segment_drawing import drawSegment

    from TwinTrackSegLib.mrml.VolumeConversion import segmentMask

    vessel = segmentMask(result.nodes.segmentation, "SMA", result.nodes.ct)
    _z, y, x = np.indices(vessel.shape)
    middle = np.argwhere(vessel).mean(axis=0)
    ring = (np.hypot(y - middle[1], x - middle[2]) < 10) & ~vessel
    drawSegment(result.nodes.segmentation, "tumor", ring, result.nodes.ct)


def test_without_a_result_there_is_nothing_to_show(reading):
    state = reading.state
    assert not state.present
    assert (state.rows, state.ticks, state.volume, state.title) == ((), (), "", "")
    reading.moveThreshold(0.3)
    reading.backToTumor()
    reading.edit()
    assert reading.edited == []


def test_a_result_is_shown_with_its_ct_its_rows_and_its_table(reading, load, host):
    result = load()
    reading.show(result)
    state = reading.state
    assert state.title == "Example CT"
    assert state.rows[0].name == "SMA"
    assert state.movable
    assert state.editable
    assert state.restorable
    assert host.tables == [result.nodes.vesselTable]


def test_a_move_of_the_threshold_is_shown_at_once_and_its_voxels_follow_later(reading, load, host, states):
    from TwinTrackSegLib.mrml.VolumeConversion import segmentMask

    result = load()
    reading.show(result)
    number, before = len(states), segmentMask(result.nodes.segmentation, "tumor", result.nodes.ct).sum()
    reading.moveThreshold(0.3)
    assert len(states) == number + 1
    assert reading.state.threshold == 0.3
    assert "voxels that at least 30 % mark" in reading.state.volume
    assert segmentMask(result.nodes.segmentation, "tumor", result.nodes.ct).sum() == before
    reading.moveThreshold(0.2)
    (settle,) = host.waiting  # the first is called off
    settle()
    assert segmentMask(result.nodes.segmentation, "tumor", result.nodes.ct).sum() > before


def test_keys_step_the_threshold_and_stay_within_the_sliders_ends(reading, load):
    reading.show(load())
    reading.stepThreshold(-1)
    assert reading.state.threshold == pytest.approx(0.45)
    for _step in range(20):
        reading.stepThreshold(1)
    assert reading.state.threshold == pytest.approx(0.99)


def test_ticks_stand_for_readers_and_the_one_at_the_threshold_is_pressed(reading, load):
    reading.show(load())
    reading.moveThreshold(0.6)
    ticks = reading.state.ticks
    assert [tick.text for tick in ticks] == ["≥ 20 %", "≥ 40 %", "≥ 60 %", "≥ 80 %"]
    assert [tick.pressed for tick in ticks] == [False, False, True, False]
    assert ticks[0].tip == "This outline: voxels that at least 20 % mark"


def test_vessels_are_gone_through_in_the_order_of_the_table_and_round(reading, load):
    def two(_result, invasion):
        invasion["vessels"]["PORTA"] = {**invasion["vessels"]["SMA"], "p_encased": 0.9, "category": "encasement"}

    reading.show(load(two))
    seen = []
    for _step in range(3):
        reading.stepVessel(1)
        seen.append(reading.state.chosen)
    assert seen == ["PORTA", "SMA", "PORTA"]
    reading.stepVessel(-1)
    assert reading.state.chosen == "SMA"
    reading.backToTumor()
    assert reading.state.chosen == ""


def test_an_outline_drawn_by_hand_is_measured_before_the_slider_would_overwrite_it(reading, load, host):
    result = load()
    reading.show(result)
    draw(result)
    reading.moveThreshold(0.3)
    state = reading.state
    assert result.record.edited is not None
    assert state.threshold == 0.5
    assert not state.movable
    assert state.notes.edited.startswith("EDITED BY HAND")
    assert not any(tick.pressed for tick in state.ticks)
    assert host.said[-1][0].startswith("The outline was edited by hand and has been measured.")
    reading.restore()
    assert reading.state.movable
    assert reading.state.notes.edited == ""


def test_measuring_is_not_begun_unasked_where_a_package_is_missing(reading, load, host):
    result = load()
    reading.show(result)
    draw(result)
    host.notInstalled = ["scikit-image"]
    reading.takeUpEdit()
    assert result.record.edited is None
    sentence, loud = host.said[-1]
    assert loud
    assert "scikit-image. Measure asks" in sentence
    reading.measure()
    assert host.ensured[-1] == ("Measuring the outline", "scikit-image")
    assert result.record.edited is not None


def test_an_error_is_shown_by_its_sentence_and_ends_there(reading, load, host):
    from segment_drawing import drawSegment

    result = load()
    reading.show(result)
    drawSegment(result.nodes.segmentation, "tumor", np.zeros((24, 48, 56), dtype=bool), result.nodes.ct)
    reading.measure()
    assert len(host.errors) == 1
    assert "empty" in host.errors[0]


def test_one_readers_map_can_be_neither_moved_nor_edited(reading, load):
    from rater_example import GENEROUS, writeRaterResult

    result = load(write=writeRaterResult)
    reading.show(result)
    assert [name for name, _text in reading.state.readers] == ["", "heron", GENEROUS]
    reading.showReader(GENEROUS)
    state = reading.state
    assert not any((state.movable, state.editable, state.restorable))
    assert state.reader == GENEROUS
    reading.moveThreshold(0.2)
    assert result.outline.threshold == 0.5
    reading.showReader("")
    assert reading.state.movable


def test_a_sample_is_gone_through_without_the_model_and_can_be_neither_moved_nor_edited(reading, load):
    from rater_example import GENEROUS, SAMPLE_RADII_MM, writeSampleResult

    from TwinTrackSegLib.present.Reading import A_SAMPLE

    result, count = load(write=writeSampleResult), len(SAMPLE_RADII_MM)
    reading.show(result)
    assert reading.state.readers[-1] == (A_SAMPLE, f"one of {count} samples")
    assert (reading.state.samples, reading.state.reader) == (0, "")
    before = reading.state
    volumes = []
    for number in (2, 3):
        reading.showSample(number)
        state = reading.state
        assert (state.reader, state.samples, state.sample) == (A_SAMPLE, count, number)
        assert not any((state.movable, state.editable, state.restorable, state.rows))
        assert not any(tick.pressed for tick in state.ticks)
        assert f"sample {number} of {count} drawn by the model, not a reader" in state.volume
        volumes.append(state.volume.split(" mL")[0])
    spheres_ml = [4 / 3 * np.pi * (radius / 10) ** 3 for radius in SAMPLE_RADII_MM[1:]]
    assert [float(volume) for volume in volumes] == pytest.approx(spheres_ml, rel=0.1, abs=0.06)
    reading.moveThreshold(0.2)
    assert result.outline.threshold == 0.5
    reading.showReader(GENEROUS)
    assert reading.state.reader == GENEROUS
    reading.showReader(A_SAMPLE)  # the one that was looked at
    assert reading.state.sample == 3
    reading.showReader("")
    after = reading.state
    assert (after.movable, after.reader, after.rows, after.volume) == (True, "", before.rows, before.volume)


def test_a_result_without_samples_has_none_to_choose(reading, load, host):
    reading.show(load())
    assert (reading.state.samples, reading.state.readers) == (0, ())
    reading.showSample(1)
    assert len(host.errors) == 1
    assert reading.state.movable


def test_the_editor_gets_the_result_at_the_threshold_of_the_slider(reading, load):
    result = load()
    reading.show(result)
    reading.moveThreshold(0.2)
    reading.edit()
    assert reading.edited == [result]
    assert result.outline.settled


def test_a_result_that_left_the_scene_is_let_alone(reading, load, scene):
    result = load()
    reading.show(result)
    for node in result.nodes.all:
        scene.RemoveNode(node)
    reading.moveThreshold(0.2)
    reading.settle()
    reading.chooseVessel("SMA")
    assert reading.reader == ""
