"""Export and choice of the result without any toolkit: what is asked, what is written, what is said."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer")

pytestmark = pytest.mark.slow


@pytest.fixture
def reading(host, load):
    from TwinTrackSegLib.present.Reading import ReadingPresenter

    presenter = ReadingPresenter(host, lambda: None, lambda _result: None)
    presenter.show(load())
    return presenter


@pytest.fixture
def export(host, reading):
    from TwinTrackSegLib.present.Exporting import ExportPresenter

    return ExportPresenter(host, reading)


def test_what_was_written_is_said_and_its_packages_were_seen_to(export, host):
    export.write(lambda result: f"{result.nodes.ct.GetName()}.html", ("matplotlib",))
    assert host.said == [("Exported Example CT.html.", False)]
    assert host.ensured == [("The export", "matplotlib")]


def test_what_could_not_be_written_is_said_loudly(export, host):
    from twintrack.errors import OutputError

    def fail(_result):
        raise OutputError("the disk is full; make room", code="disk-full")

    export.write(fail)
    assert host.said == [("Not exported: the disk is full; make room", True)]


def test_the_result_of_another_ct_is_exported_only_after_a_question(export, host, ct):
    from TwinTrackSegLib.mrml.SelfTest import makeExampleCt

    assert export.isMeant(ct)
    assert host.questions == []
    other = makeExampleCt(name="Other")
    host.answer = False
    assert not export.isMeant(other)
    assert host.questions == [
        "This is the result of 'Example CT'. The chosen CT is 'Other'. Export the result of 'Example CT'?"
    ]


def test_one_readers_map_is_never_exported_and_that_is_said(host, load):
    from rater_example import GENEROUS, writeRaterResult

    from TwinTrackSegLib.present.Exporting import ExportPresenter
    from TwinTrackSegLib.present.Reading import ReadingPresenter

    reading = ReadingPresenter(host, lambda: None, lambda _result: None)
    reading.show(load(write=writeRaterResult))
    reading.showReader(GENEROUS)
    ExportPresenter(host, reading).write(lambda _result: "map.nrrd")
    assert host.said[-1][0] == "Exported map.nrrd. It holds the result of all readers."


def test_a_file_is_named_after_its_case(reading):
    from TwinTrackSegLib.present.Exporting import dicomQuestion, reportQuestion, volumesEnding, volumesQuestion

    assert dicomQuestion(reading.result).name == "Example CT segmentation.dcm"
    assert reportQuestion(reading.result).name == "Example CT report.html"
    assert volumesQuestion(reading.result).name.endswith(".nii.gz")
    assert (volumesEnding("a.nrrd"), volumesEnding("a.nii.gz"), volumesEnding("a")) == (".nrrd", ".nii.gz", ".nii.gz")


def test_results_are_offered_by_their_ct_and_a_mismatch_is_said(reading, ct):
    from TwinTrackSegLib.mrml.SelfTest import makeExampleCt
    from TwinTrackSegLib.present.WhichResult import whichResult

    choice = whichResult(reading.result, ct)
    assert (choice.titles, choice.chosen, choice.mismatch) == (("Example CT",), 0, "")
    other = makeExampleCt(name="Other")
    assert whichResult(None, other).noneText == "none of this CT"
    expected = "This result belongs to 'Example CT', not to the chosen CT 'Other'."
    assert whichResult(reading.result, other).mismatch == expected
