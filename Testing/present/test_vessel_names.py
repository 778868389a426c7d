"""Names of vessels without a toolkit: measured aside, and taken into the scene only with what was measured."""

from __future__ import annotations

import pickle

import pytest

pytest.importorskip("slicer")
from written_host import WrittenHost

from twintrack.errors import InputError

pytestmark = pytest.mark.slow


class HeldHost(WrittenHost):
    """A host whose other process takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list = []

    def aside(self, step, done, told=None) -> None:
        self.steps.append((pickle.dumps(step), done, told))

    def finish(self) -> None:
        """Take the first of the steps."""
        step, done, _told = self.steps.pop(0)
        done(pickle.loads(pickle.dumps(pickle.loads(step)())))


@pytest.fixture
def result(ct, tmp_path):
    from named_example import writeNamedResult

    from TwinTrackSegLib.mrml.result.ResultLoader import loadResult

    return loadResult(writeNamedResult(tmp_path / "result", ct), ct)


@pytest.fixture
def names(result):
    from TwinTrackSegLib.present.VesselNames import NamesPresenter

    refreshed = []
    presenter = NamesPresenter(HeldHost(), lambda: result, lambda: refreshed.append(presenter.state))
    presenter.refreshed = refreshed
    return presenter


def namesOf(state) -> dict[str, str]:
    return {row.piece: row.name for row in state.rows if row.there}


def everything(result) -> tuple:
    segments = tuple(result.nodes.segmentation.GetSegmentation().GetSegmentIDs())
    return segments, result.record.invasion, result.record.namesByHand, result.record.namesChecked


def test_nothing_changes_until_it_is_measured(result, names):
    before, host = everything(result), names._host
    names.choose("SMA", "CELIAC")
    assert everything(result) == before
    host.finish()
    assert namesOf(names.refreshed[-1]) == {"AORTA": "AORTA", "SMV": "SMV", "SMA": "CELIAC", "CELIAC": ""}
    assert result.record.invasion["vessels"]["CELIAC"]["named_by"] == "hand"
    assert "no name any more" in host.said[-1][0]
    names.choose("SMA", "SMA")
    host.finish()
    names.choose("CELIAC", "CELIAC")
    assert not host.steps  # the run's names again: nothing is to be measured
    assert everything(result)[1:] == before[1:]


def test_a_step_that_failed_leaves_names_as_they_were_and_they_are_shown_so(result, names):
    before, host = everything(result), names._host
    names.check(True)  # a name that is not sure counts then
    _step, _done, told = host.steps.pop()
    with host.guarded(told):
        raise InputError("the step was ended", code="step-ended")
    assert everything(result) == before
    assert [state.checked for state in names.refreshed] == [False]


def test_an_edited_outline_is_measured_with_the_new_names_too(result, names):
    import numpy as np

    from TwinTrackSegLib.mrml.result.Correction import measureOutline
    from TwinTrackSegLib.mrml.result.ResultSegmentation import TUMOR_SEGMENT_ID, setTumorMask
    from TwinTrackSegLib.mrml.VolumeConversion import segmentMask

    mask = segmentMask(result.nodes.segmentation, TUMOR_SEGMENT_ID, result.nodes.ct)
    mask[mask.shape[0] // 2] |= np.roll(mask[mask.shape[0] // 2], 4, axis=1)
    setTumorMask(result.nodes.segmentation, result.nodes.mhr, mask, tuple(slice(0, n) for n in mask.shape))
    measureOutline(result)
    assert result.record.edited["invasion"]["vessels"]["SMV"]["present"]
    names.choose("SMV", "PORTA")
    names._host.finish()
    names._host.finish()
    assert not result.record.edited["invasion"]["vessels"]["SMV"]["present"]
    assert result.record.edited["invasion"]["vessels"]["PORTA"]["present"]
    assert not names._host.steps
