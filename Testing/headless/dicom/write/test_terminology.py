"""Codes are those of the standard, and labels say what a threshold means."""

from __future__ import annotations

import pytest

from twintrack.dicom import MapMeaning, tumor_label
from twintrack.dicom.write.terminology import ABDOMEN, ABNORMAL, ANATOMICAL, OTHER_VESSEL, PANCREAS, TUMOR, structure_of


@pytest.mark.parametrize(
    ("threshold", "meaning", "text"),
    [
        (0.5, MapMeaning.MHR, "Tumour, at least 50 % of readers"),
        (0.125, MapMeaning.MHR, "Tumour, at least 12.5 % of readers"),
        (0.2, MapMeaning.SINGLE_RATER, "Tumour, calibrated probability at least 0.2"),
        (0.5, MapMeaning("score"), "Tumour, uncalibrated score at least 0.5"),
    ],
)
def test_the_label_says_what_the_threshold_means(threshold: float, meaning: MapMeaning, text: str) -> None:
    assert tumor_label(threshold, meaning) == text


def test_the_codes_are_those_of_the_dicom_standard() -> None:
    from pydicom.sr.codedict import codes

    expected = {
        codes.cid4031.Pancreas: PANCREAS,
        codes.cid4031.Abdomen: ABDOMEN,
        codes.cid7150.MorphologicallyAbnormalStructure: ABNORMAL,
        codes.cid7150.AnatomicalStructure: ANATOMICAL,
        codes.cid7159.NeoplasmPrimary: TUMOR.type,
        codes.SCT.BloodVessel: OTHER_VESSEL.type,
        codes.cid12114.PortalVein: structure_of("PORTA").type,
        codes.cid12114.SuperiorMesentericVein: structure_of("SMV").type,
        codes.cid7192.Aorta: structure_of("AORTA").type,
        codes.cid12112.CeliacAxis: structure_of("CELIAC").type,
        codes.cid12112.SuperiorMesentericArtery: structure_of("SMA").type,
    }
    for standard, ours in expected.items():
        assert (standard.value, standard.scheme_designator) == (ours.value, "SCT")
        assert standard.meaning.lower() == ours.meaning.lower()


def test_a_vessel_by_another_of_its_names_has_its_code_and_keeps_the_name():
    assert structure_of("aorta") == structure_of("AORTA")
    trunk = structure_of("celiac_trunk")
    assert trunk.label == "celiac_trunk"
    assert (trunk.type, trunk.color) == (structure_of("CELIAC").type, structure_of("CELIAC").color)
    assert structure_of("portal_vein_and_splenic_vein").type == OTHER_VESSEL.type
