"""Export and choice of the result without any toolkit: what is asked, what is written, what is said."""

from __future__ import annotations

from functools import partial

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

    return ExportPresenter(host, reading, lambda: reading.result.nodes.ct)


def test_what_was_written_is_said_and_its_packages_were_seen_to(export, host):
    export.write(lambda result: partial(str, f"{result.nodes.ct.GetName()}.html"), str, ("matplotlib",))
    assert host.said == [("Exported Example CT.html.", False)]
    assert host.ensured == [("The export", "matplotlib")]


def test_what_could_not_be_written_is_said_loudly(export, host):
    from twintrack.errors import OutputError

    def fail(_result):
        raise OutputError("the disk is full; make room", code="disk-full")

    export.write(fail, str)
    assert host.said == [("Not exported: the disk is full; make room", True)]


def test_the_result_of_another_ct_is_exported_only_after_a_question(host, reading, tmp_path):
    from TwinTrackSegLib.mrml.SelfTest import makeExampleCt
    from TwinTrackSegLib.present.Exporting import ExportPresenter

    other = makeExampleCt(name="Other")
    host.answer, host.path = False, str(tmp_path / "map.nrrd")
    ExportPresenter(host, reading, lambda: other).volumes()
    assert host.questions == [
        "This is the result of 'Example CT'. The chosen CT is 'Other'. Export the result of 'Example CT'?"
    ]
    assert list(tmp_path.glob("*.nrrd")) == []
    host.answer = True
    ExportPresenter(host, reading, lambda: other).volumes()
    assert (tmp_path / "Example CT MHR.nrrd").is_file()


def test_volumes_go_where_the_user_says_and_nowhere_without_an_answer(export, host, reading, tmp_path):
    export.volumes()
    assert [question.title for question in host.questions] == ["Save volumes"]
    assert host.said == []
    host.path = str(tmp_path / "map.nrrd")
    export.volumes()
    assert (tmp_path / "Example CT MHR.nrrd").is_file()  # each volume by its own name, in the format of the answer
    assert host.said[-1][0].startswith("Exported Example CT MHR.nrrd, ")
    reading.show(None)
    export.volumes()
    assert len(host.questions) == 2  # without a result there is nothing to ask


def test_an_answer_that_comes_later_is_taken_as_one_that_comes_at_once(export, host, tmp_path):
    answers = []
    host.askSave = lambda _question, _ct, chosen: answers.append(chosen)
    export.volumes()
    assert host.said == []
    answers[0](str(tmp_path / "map.nii.gz"))
    assert (tmp_path / "Example CT MHR.nii.gz").is_file()


def test_a_dicom_export_refers_to_the_series_that_the_application_knows(export, host, tmp_path):
    host.path, host.series = str(tmp_path / "out.dcm"), tmp_path / "no-series"
    export.dicom()
    assert host.ensured[0][:2] == ("The export", "highdicom")
    assert "no-series" in host.errors[0]
    host.series = None  # then the database of Slicer is asked, and this CT came from no series
    export.dicom()
    assert "was not loaded from DICOM" in host.errors[1]


def test_objects_that_are_not_in_the_database_afterwards_are_counted_as_missing(tmp_path):
    import pydicom

    from expected_errors import raises_error
    from twintrack.errors import OutputError
    from TwinTrackSegLib.present.Exporting import _intoDatabase

    for number in (1, 2):
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID = pydicom.uid.SegmentationStorage, f"1.2.{number}"
        dataset.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    assert _intoDatabase(tmp_path, lambda _folder: ["1.2.1", "1.2.2"]) == 2
    with raises_error(OutputError, "database-incomplete", "1 of 2"):
        _intoDatabase(tmp_path, lambda _folder: ["1.2.2"])


def test_one_readers_map_or_one_sample_is_never_exported_and_that_is_said(host, load):
    from rater_example import GENEROUS, writeSampleResult

    from TwinTrackSegLib.present.Exporting import ExportPresenter
    from TwinTrackSegLib.present.Reading import ReadingPresenter

    reading = ReadingPresenter(host, lambda: None, lambda _result: None)
    reading.show(load(write=writeSampleResult))
    for show in (lambda: reading.showReader(GENEROUS), lambda: reading.showSample(2)):
        show()
        ExportPresenter(host, reading, lambda: None).write(lambda _result: partial(str, "map.nrrd"), str)
        assert host.said[-1][0] == "Exported map.nrrd. It holds the result of all readers."


def test_a_file_is_named_after_its_case(reading):
    from TwinTrackSegLib.present.Exporting import dicomQuestion, reportQuestion, volumesEnding, volumesQuestion

    assert dicomQuestion(reading.result).name == "Example CT segmentation.dcm"
    assert reportQuestion(reading.result).name == "Example CT report.html"
    asked = volumesQuestion(reading.result)
    assert (asked.name, asked.kind, asked.endings) == ("Example CT MHR.nii.gz", "Volumes", (".nii.gz", ".nrrd"))
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
