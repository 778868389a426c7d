"""The structured report states the result's own numbers, with codes, on the tumour's segment, to readers of others."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from other_readers import DCMQI_VERSIONS, report_by_dcmqi
from small_series import phantom

from expected_errors import raises_error
from twintrack.dicom import (
    Algorithm,
    MapMeaning,
    read_series,
    write_ct_series,
    write_segmentation,
    write_structured_report,
)
from twintrack.dicom.write.report_content import report_groups, statement_source
from twintrack.dicom.write.structured_report import change_case_label
from twintrack.errors import OutputError

pytestmark = pytest.mark.process

ALGORITHM = Algorithm("demo bundle", "1.2", "0123456789abcdef" * 4)

RESULT = {
    "threshold": 0.6,
    "volume_ml": {"expected": 4.25, "at_threshold": 3.5, "p10": 1.25, "p90": 7.75},
    "lesions": [
        {"volume_ml": 3.0, "longest_diameter_mm": 26.5, "max_probability": 0.9},
        {"volume_ml": 0.5, "longest_diameter_mm": 9.25, "max_probability": 0.7},
    ],
}
INVASION = {
    "thresholds": [0.2, 0.6, 0.8],
    "vessels": {
        "SMA": {
            "present": True,
            "angle_deg": [200.0, 95.0, 0.0],
            "contact_length_mm": [20.0, 12.5, 0.0],
            "expected_angle_deg": 88.5,
            "p_contact": 0.75,
            "p_encased": 0.2,
            "category": "abutment",
        },
        "AORTA": {"present": False},
    },
}


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """A report beside its segmentation `seg.dcm`, on a series in `ct`."""
    write_ct_series(phantom(), tmp_path / "ct", description="source")
    series = read_series(tmp_path / "ct")
    mask = np.zeros(series.volume.array.shape, dtype=np.uint8)
    mask[1:4, 3:9, 4:12] = 1
    write_segmentation(
        {"SMV": series.volume.with_array(mask), "tumor": series.volume.with_array(mask)},
        series,
        tmp_path / "seg.dcm",
        algorithm=ALGORITHM,
        threshold=0.6,
    )
    return write_structured_report(
        RESULT, INVASION, series, tmp_path / "seg.dcm", tmp_path / "report.dcm", algorithm=ALGORITHM, raters=5
    )


def values(group: dict) -> dict[tuple[str, str], float]:
    """Return the measured numbers of a group by code and derivation."""
    return {
        (item["quantity"]["CodeValue"], item.get("derivationModifier", {}).get("CodeMeaning", "")): float(item["value"])
        for item in group["measurementItems"]
    }


def test_the_standard_finds_no_error(report: Path, dicom_errors) -> None:
    assert dicom_errors(report) == []


@pytest.mark.parametrize("version", DCMQI_VERSIONS)
def test_dcmqi_reads_the_numbers_of_the_result(report: Path, tmp_path: Path, version: str) -> None:
    segmentation = pydicom.dcmread(tmp_path / "seg.dcm")
    tumor, first, second, artery = report_by_dcmqi(report, tmp_path / "dcmqi", version)["Measurements"]
    assert values(tumor) == {
        ("118565006", ""): 3.5,
        ("118565006", "Mean"): 4.25,
        ("VOLUME-P10", ""): 1.25,
        ("VOLUME-P90", ""): 7.75,
    }
    assert values(first) == {("118565006", ""): 3.0, ("103339001", ""): 26.5, ("MAX-FRACTION", ""): 0.9}
    assert values(second)[("103339001", "")] == 9.25
    assert values(artery) == {
        ("CONTACT-ANGLE", ""): 95.0,
        ("CONTACT-ANGLE", "Mean"): 88.5,
        ("CONTACT-LENGTH", ""): 12.5,
        ("P-CONTACT", ""): 0.75,
        ("P-ENCASED", ""): 0.2,
    }
    assert artery["FindingSite"]["CodeValue"] == "42258001"
    for group in (tumor, first, second, artery):
        assert group["ReferencedSegment"] == 2
        assert group["segmentationSOPInstanceUID"] == segmentation.SOPInstanceUID
    assert tumor["TrackingUniqueIdentifier"] == segmentation.SegmentSequence[1].TrackingUID
    assert len({group["TrackingUniqueIdentifier"] for group in (tumor, first, second, artery)}) == 4


def test_highdicom_finds_the_groups_by_segment_and_site(report: Path) -> None:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    content = hd.sr.srread(str(report)).content
    assert len(content.get_volumetric_roi_measurement_groups()) == 4
    vessel = content.get_volumetric_roi_measurement_groups(finding_site=codes.cid12112.SuperiorMesentericArtery)
    assert [group.tracking_identifier for group in vessel] == ["SMA contact"]
    told = {item.name.meaning: item.value.meaning for item in vessel[0].get_qualitative_evaluations()}
    assert told["Contact category of the median reader"] == "Abutment (contact up to 180 degrees)"
    assert told["Source of what is said of readers"] == "Read from the map, not calibrated"
    assert told["Working threshold"] == "Voxels that at least 3 of 5 readers mark"
    assert told["Intended use"].startswith("For research use only")


def test_a_plain_viewer_shows_it_to_people(report: Path) -> None:
    """dcmtk's dsrdump checks the tree against the document class and prints it."""
    program = shutil.which("dsrdump")
    if program is None:
        pytest.skip("dsrdump (dcmtk) is not installed")
    run = subprocess.run([program, "+Pl", str(report)], capture_output=True, text=True, check=True)
    for words in ("For research use only", "SMA contact", '"26.5" (mm', "Superior mesenteric artery", ALGORITHM.name):
        assert words in run.stdout
    assert "UNVERIFIED" in run.stdout
    assert "E:" not in run.stderr


def test_it_belongs_to_the_source_study_and_names_its_evidence(report: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(report)
    source = pydicom.dcmread(tmp_path / "ct" / "CT_0001.dcm")
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "StudyDate"):
        assert str(dataset[keyword].value) == str(source[keyword].value)
    assert "research use only" in dataset.SeriesDescription
    named = {
        instance.ReferencedSOPInstanceUID
        for study in dataset.CurrentRequestedProcedureEvidenceSequence
        for listed in study.ReferencedSeriesSequence
        for instance in listed.ReferencedSOPSequence
    }
    assert pydicom.dcmread(tmp_path / "seg.dcm").SOPInstanceUID in named


def test_a_score_is_not_told_as_readers(tmp_path: Path, report: Path) -> None:
    series = read_series(tmp_path / "ct")
    path = tmp_path / "score.dcm"
    options = {"algorithm": ALGORITHM, "meaning": MapMeaning.SCORE, "raters": 5}
    write_structured_report(RESULT, None, series, tmp_path / "seg.dcm", path, **options)
    text = str(pydicom.dcmread(path))
    assert "percentile over readers" not in text
    assert "Uncalibrated score at least 0.6" in text


def test_the_label_of_the_case_stands_in_it_and_can_be_changed(tmp_path: Path, report: Path, dicom_errors) -> None:
    import highdicom as hd

    series = read_series(tmp_path / "ct")
    assert case_of(report) == []
    label = "Fall Müller 症 7"
    labelled = RESULT | {"input": {"case": "0123abcd"}}
    path = write_structured_report(
        labelled, INVASION, series, tmp_path / "seg.dcm", tmp_path / "case.dcm", algorithm=ALGORITHM, raters=5
    )
    assert case_of(path) == ["0123abcd"]
    change_case_label(path, label)
    assert case_of(path) == [label]
    assert dicom_errors(path) == []
    assert len(hd.sr.srread(str(path)).content.get_volumetric_roi_measurement_groups()) == 4
    dataset = pydicom.dcmread(path)
    assert label not in str([element for element in dataset if element.keyword != "ContentSequence"])


@pytest.mark.parametrize("version", DCMQI_VERSIONS)
def test_dcmqi_reads_a_report_with_a_label(report: Path, tmp_path: Path, version: str) -> None:
    series = read_series(tmp_path / "ct")
    labelled = RESULT | {"input": {"case": "x" * 64}}
    path = write_structured_report(
        labelled, INVASION, series, tmp_path / "seg.dcm", tmp_path / "case.dcm", algorithm=ALGORITHM, raters=5
    )
    assert len(report_by_dcmqi(path, tmp_path / "dcmqi", version)["Measurements"]) == 4


CALIBRATED = "calibrated on 60 cases with 5 readers each"
STATED_RESULT = RESULT | {
    "statements": {
        "source": "calibrated",
        "note": CALIBRATED,
        "any_tumour": 0.99,
        "volume_ml": {"p10": 2.0, "median": 4.0, "p90": 6.0},
    }
}
STATED = INVASION | {
    "statements": "calibrated",
    "statements_note": CALIBRATED,
    "vessels": {
        "SMA": INVASION["vessels"]["SMA"]
        | {"statements": "calibrated", "p_encased": 0.01, "angle_median_deg": 70.0}
        | {"angle_p10_deg": 10.0, "angle_p90_deg": 140.0, "member_range": {"angle_deg": [60.0, 110.0], "members": 3}},
        "SMV": INVASION["vessels"]["SMA"] | {"statements": "map"},
    },
}


@pytest.mark.parametrize("version", DCMQI_VERSIONS)
def test_calibrated_statements_say_so_in_text_and_codes(
    report: Path, tmp_path: Path, dicom_errors, version: str
) -> None:
    series = read_series(tmp_path / "ct")
    path = write_structured_report(
        STATED_RESULT, STATED, series, tmp_path / "seg.dcm", tmp_path / "stated.dcm", algorithm=ALGORITHM, raters=5
    )
    assert dicom_errors(path) == []
    assert texts_of(path, "Source of what is said of readers") == ["Calibrated on 60 cases with 5 readers each"]
    assert texts_of(report, "Source of what is said of readers") == ["Read from the map, not calibrated"]
    tumor, *_, artery, _vein = report_by_dcmqi(path, tmp_path / "dcmqi", version)["Measurements"]
    assert values(artery) == {
        ("CONTACT-ANGLE", ""): 95.0,
        ("CONTACT-ANGLE", "Median"): 70.0,
        ("CONTACT-ANGLE", "Mean"): 88.5,
        ("CONTACT-ANGLE-P10", ""): 10.0,
        ("CONTACT-ANGLE-P90", ""): 140.0,
        ("CONTACT-ANGLE-MEMBERS-LOW", ""): 60.0,
        ("CONTACT-ANGLE-MEMBERS-HIGH", ""): 110.0,
        ("CONTACT-LENGTH", ""): 12.5,
        ("P-CONTACT", ""): 0.75,
    }
    assert values(tumor)[("118565006", "Median")] == 4.0
    assert values(tumor)[("VOLUME-P90", "")] == 6.0


def test_no_fraction_of_readers_reads_as_all_or_none() -> None:
    groups = {group.name: group for group in report_groups(STATED_RESULT, STATED, MapMeaning.MHR, 5)}
    told = {name: {e.name.value: e.value.value for e in group.evaluations} for name, group in groups.items()}
    assert told["SMA contact"]["P-ENCASED"] == "FRACTION-UNDER-3"
    assert told["tumor"]["P-ANY-TUMOUR"] == "FRACTION-OVER-97"
    assert told["SMA contact"]["STATEMENTS"] == told["tumor"]["STATEMENTS"] == "STATEMENTS-CALIBRATED"
    assert told["SMV contact"]["STATEMENTS"] == "STATEMENTS-MAP"
    assert "STATEMENTS" not in told["lesion 1"]  # nothing is said of readers


def test_report_and_structured_report_use_the_same_words() -> None:
    from twintrack.dicom.write import report_content
    from twintrack.results.report import wording

    assert report_content.FROM_MAP.meaning.lower() == wording.NOT_CALIBRATED
    assert statement_source(RESULT, INVASION).lower() == wording.statement_source(INVASION)
    assert (report_content.LEAST_FRACTION, report_content.MOST_FRACTION) == (
        wording.LEAST_FRACTION,
        wording.MOST_FRACTION,
    )
    note = {"statements": "map", "statements_note": "this bundle has none"}
    assert statement_source(RESULT, note) == "Read from the map, not calibrated: this bundle has none"


PATTERN = {
    "rules": "own",
    "rule_set": "Rules of a hospital",
    "version": "1.0",
    "pattern": "venous encasement",
    "statements": "calibrated",
    "probability": {"arterial encasement": 0.004, "venous encasement": 0.796, "no contact": 0.2},
    "reason": "not assessed: AORTA; the pattern holds for the other vessels only",
    "statement": "anatomic contact only.",
}


def placed() -> tuple[dict, dict]:
    """Return a result and its vessels with all that a report can say of places, intervals and the pattern."""
    lesion = RESULT["lesions"][0] | {"centroid_lps_mm": [-15.5, 20.25, -7.0]}
    vessel = STATED["vessels"]["SMA"] | {
        "arc_deg": [210.0, 130.0, 0.0],
        "coverage": 0.92,
        "expected_angle_deg_interval": [80.0, 99.0],
        "worst_section": {"level": 0.6, "angle_deg": 130.0, "position_lps_mm": [1.5, -2.5, 30.0]},
    }
    worst = vessel["worst_section"]
    # Of these the outline at 0.6 has no contact, or none was looked at: there is nowhere to jump to.
    free = vessel | {"angle_deg": [9.0, 0.0, 0.0], "worst_section": worst | {"level": 0.2}}
    unmeasured = {
        "present": True,
        "angle_deg": [None] * 3,
        "worst_section": worst | {"angle_deg": 0.0},
        "coverage": 0.1,
    }
    result = STATED_RESULT | {"lesions": [lesion], "expected_volume_ml": {"low": 3.5, "high": 5.5, "level": 0.95}}
    vessels = {"SMA": vessel, "CELIAC": free, "AORTA": unmeasured}
    return result, STATED | {"vessels": vessels, "resectability": PATTERN}


@pytest.mark.parametrize("version", DCMQI_VERSIONS)
def test_a_vessel_s_contact_does_not_read_as_a_tumour_of_the_vessel(
    report: Path, tmp_path: Path, dicom_errors, version: str
) -> None:
    path = tmp_path / "placed.dcm"
    series = read_series(tmp_path / "ct")
    write_structured_report(*placed(), series, tmp_path / "seg.dcm", path, algorithm=ALGORITHM, raters=5)
    assert dicom_errors(path) == []
    tumor, lesion, artery, *_, pattern = report_by_dcmqi(path, tmp_path / "dcmqi", version)["Measurements"]
    neoplasm = ("372087000", "15776009")
    assert [finding(group) for group in (tumor, lesion)] == [neoplasm, neoplasm]
    assert finding(artery) == ("VESSEL-CONTACT", "42258001")
    assert finding(pattern) == ("CONTACT-PATTERN", "15776009")
    assert values(artery)[("CONTACT-ARC", "")] == 130.0
    assert values(artery)[("EXPECTED-ANGLE-LOW", "")] == 80.0
    assert values(tumor)[("EXPECTED-VOLUME-HIGH", "")] == 5.5
    assert sorted(values(pattern).values()) == [0.2, 0.796]  # that of nearly nobody is told as under 3 %


def finding(group: dict) -> tuple[str, str]:
    """Return the codes of what a group is about, and where."""
    return group["Finding"]["CodeValue"], group["FindingSite"]["CodeValue"]


def test_a_viewer_can_jump_to_lesions_and_to_the_largest_contact(report: Path, tmp_path: Path) -> None:
    import highdicom as hd

    path = tmp_path / "placed.dcm"
    series = read_series(tmp_path / "ct")
    write_structured_report(*placed(), series, tmp_path / "seg.dcm", path, algorithm=ALGORITHM, raters=5)
    frame = pydicom.dcmread(tmp_path / "ct" / "CT_0001.dcm").FrameOfReferenceUID
    found = {}
    for group in hd.sr.srread(str(path)).content.get_volumetric_roi_measurement_groups():
        for item in group[0].ContentSequence:
            if item.ValueType == "SCOORD3D":
                assert item.ReferencedFrameOfReferenceUID == frame
                found[group.tracking_identifier] = (item.ConceptNameCodeSequence[0].CodeValue, list(item.GraphicData))
    assert found == {
        "lesion 1": ("CENTROID", [-15.5, 20.25, -7.0]),
        "SMA contact": ("LARGEST-CONTACT", [1.5, -2.5, 30]),
    }


def test_the_pattern_is_told_with_its_rules_and_what_it_leaves_out() -> None:
    pattern = report_groups(*placed(), MapMeaning.MHR, 5)[-1]
    told = {item.name.value: item.value.meaning for item in pattern.evaluations}
    assert told["CONTACT-PATTERN"] == "Venous encasement"
    assert told["PATTERN-RULES"] == "Rules of a hospital 1.0"
    assert "Under 3 % of readers" in told.values()
    assert pattern.comment.startswith("Not assessed: AORTA")
    assert pattern.comment.endswith("Anatomic contact only.")


def case_of(path: Path) -> list[str]:
    """Return the texts that are named Case at the top of a report."""
    return texts_of(path, "Case")


def texts_of(path: Path, name: str) -> list[str]:
    """Return the texts of that name at the top of a report."""
    items = pydicom.dcmread(path).ContentSequence
    return [item.TextValue for item in items if item.ConceptNameCodeSequence[0].CodeMeaning == name]


def test_without_a_tumor_there_is_no_report(tmp_path: Path, report: Path) -> None:
    series = read_series(tmp_path / "ct")
    mask = series.volume.with_array((series.volume.array > 0).astype(np.uint8))
    write_segmentation({"SMV": mask}, series, tmp_path / "v.dcm", algorithm=ALGORITHM, threshold=0.5)
    with raises_error(OutputError, "no-tumour"):
        write_structured_report(RESULT, None, series, tmp_path / "v.dcm", tmp_path / "none.dcm", algorithm=ALGORITHM)
    assert not (tmp_path / "none.dcm").exists()


def test_a_vessel_without_readings_is_told_with_the_reason(tmp_path: Path, report: Path, dicom_errors) -> None:
    series = read_series(tmp_path / "ct")
    reasons = {"AORTA": "the vessel map does not hold this vessel", "PORTA": "nobody knows " * 9}
    absent = {name: {"present": False, "reason": reason} for name, reason in reasons.items()}
    touched = INVASION["vessels"]["SMA"] | {
        "angle_deg": [None] * 3,
        "reason": "the tumour touches the vessel where no cross-section can be measured",
    }
    invasion = INVASION | {"vessels": absent | {"SMA": touched}}
    path = write_structured_report(
        RESULT, invasion, series, tmp_path / "seg.dcm", tmp_path / "why.dcm", algorithm=ALGORITHM, raters=5
    )
    text = str(pydicom.dcmread(path))
    for meaning in ("The vessel map does not hold this vessel", "Contact where no cross-section can be measured"):
        assert f"'{meaning}'" in text
    assert text.count("'Why a reading is missing'") == 3
    assert dicom_errors(path) == []


def test_what_was_searched_and_the_gap_are_told_in_codes(tmp_path: Path, report: Path, dicom_errors) -> None:
    from twintrack.invasion.summary import TOO_LITTLE

    series = read_series(tmp_path / "ct")
    unsearched = {
        "present": True,
        "angle_deg": [None] * 3,
        "gap_mm": [None] * 3,
        "coverage": 0.02,
        "reason": TOO_LITTLE,
    }
    free = {"present": True, "angle_deg": [9.0, 0.0, 0.0], "gap_mm": [0.5, 2.5, None], "coverage": 1.0}
    invasion = INVASION | {"schema": 2, "vessels": {"AORTA": unsearched, "PORTA_SMV": free}}
    path = write_structured_report(
        RESULT, invasion, series, tmp_path / "seg.dcm", tmp_path / "gap.dcm", algorithm=ALGORITHM, raters=5
    )
    assert dicom_errors(path) == []
    *_, aorta, veins = report_by_dcmqi(path, tmp_path / "dcmqi", DCMQI_VERSIONS[-1])["Measurements"]
    assert values(aorta) == {("COVERAGE", ""): 0.02}
    assert values(veins) == {("CONTACT-ANGLE", ""): 0.0, ("GAP", ""): 2.5, ("COVERAGE", ""): 1.0}
    assert veins["TrackingIdentifier"] == "PORTA_SMV contact"
    assert "'Not assessed: too little of the vessel was searched'" in str(pydicom.dcmread(path))


def test_an_edited_outline_is_told_in_every_group_that_was_measured_on_it(tmp_path: Path, report: Path) -> None:
    series = read_series(tmp_path / "ct")
    edited = RESULT | {"edited": {"added_ml": 1.0}}
    path = write_structured_report(
        edited, INVASION, series, tmp_path / "seg.dcm", tmp_path / "edited.dcm", algorithm=ALGORITHM, raters=5
    )
    counts = [str(pydicom.dcmread(each)).count("'Edited by hand after the model had run'") for each in (report, path)]
    assert counts == [0, 4]  # tumour, two lesions, SMA


def test_every_sentence_of_the_engine_on_a_missing_reading_has_a_code():
    from twintrack.dicom.write.report_content import REASONS, WITHHELD, WITHHELD_LOW
    from twintrack.invasion.summary import ABSENT, AT_LEAST, HIDDEN, TOO_LITTLE, UNSEARCHED

    assert set(REASONS) == {ABSENT, AT_LEAST, HIDDEN, TOO_LITTLE, UNSEARCHED, WITHHELD, WITHHELD_LOW}
    assert all(len(code.meaning) <= 64 for code in REASONS.values())


def test_of_very_many_lesions_the_report_lists_the_largest_and_says_so() -> None:
    lesions = [{"volume_ml": 200.0 - number} for number in range(150)]
    groups = report_groups({**RESULT, "lesions": lesions}, None, MapMeaning.MHR, 5)
    listed = [group for group in groups if group.name.startswith("lesion ")]
    assert len(listed) == 100
    assert listed[-1].quantities[0].value == 101.0
    assert "first 100 of 150 lesions" in groups[0].comment


def test_gap_and_coverage_are_told_and_contact_has_no_gap() -> None:
    thresholds = {"thresholds": [0.5]}
    free = {"present": True, "angle_deg": [0.0], "gap_mm": [1.2], "category": "none", "coverage": 0.7}
    touched = {"present": True, "angle_deg": [90.0], "gap_mm": [0.0], "category": "abutment", "coverage": 1.0}
    result = RESULT | {"threshold": 0.5}
    vessels = {"SMA": free, "PORTA_SMV": touched, "CELIAC": {"present": True, "angle_deg": [0.0]}}
    groups = report_groups(result, thresholds | {"vessels": vessels}, MapMeaning.MHR, 5)
    told = {group.name: {each.name.value: each.value for each in group.quantities} for group in groups}
    assert (told["SMA contact"]["GAP"], told["SMA contact"]["COVERAGE"]) == (1.2, 0.7)
    assert told["PORTA_SMV contact"].get("GAP") is None
    assert told["CELIAC contact"].keys().isdisjoint({"GAP", "COVERAGE"})  # schema 1
    sites = {group.name: group.site.meaning for group in groups}
    assert sites["PORTA_SMV contact"] == "Blood Vessel"
