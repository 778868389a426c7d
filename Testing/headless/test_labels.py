"""Whole names and codes in six languages: what is one of the five vessels, and what only sounds like one."""

from __future__ import annotations

import itertools
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.sr.codedict import codes

from twintrack.labels import VESSEL_VALUES, VESSELS, is_joint_vein, vessel_of, vessel_of_code, vessel_of_segment

NAMES = {
    "PORTA": {
        "English": "Portal vein; portal_vein; PV; main portal vein; MPV; PortalVein; portalvein; hepatic portal vein",
        "Latin": "Vena portae; V. portae; vena_portae_hepatis; Porta; VP",
        "German": "Pfortader; PFORTADER; Pfortaderstamm; Portalvene",
        "French": "veine porte; tronc porte; Veine-Porte",
        "Italian": "vena porta; Vena portale; tronco portale",
        "Spanish": "Vena Porta; vena portal; tronco portal",
    },
    "SMV": {
        "English": "SMV; S.M.V.; superior_mesenteric_vein; SuperiorMesentericVein; sup. mesenteric v.; "
        "Mesenteric vein, superior",
        "Latin": "Vena mesenterica superior; V. mesenterica sup.; V. mes. sup.; VMS",
        "German": "obere Mesenterialvene; Obere Gekrösevene; obere_Gekroesevene",
        "French": "veine mésentérique supérieure; V. mésentérique sup.",
        "Italian": "vena mesenterica superiore; v_mesenterica_superiore",
        "Spanish": "vena mesentérica superior; VENA MESENTÉRICA SUPERIOR",
    },
    "AORTA": {
        "English": "aorta; Aorta; AO; Ao.; abdominal aorta; abd_aorta; AbdominalAorta; A_Aorta",
        "Latin": "Aorta abdominalis; arteria aorta; aorta abd.",
        "German": "Bauchaorta; Bauchschlagader; Hauptschlagader; abdominelle Aorta",
        "French": "aorte; Aorte abdominale",
        "Italian": "aorta addominale",
        "Spanish": "Aorta abdominal",
    },
    "CELIAC": {
        "English": "CELIAC; celiac trunk; Celiac_Axis; coeliac trunk; celiac artery; coeliac axis; A_Celiac; celiac a.",
        "Latin": "Truncus coeliacus; truncus celiacus; Tr. coel.; TrC; TC; A. coeliaca; Arteria coeliaca",
        "German": "TRUNCUS COELIACUS; Tr. coeliacus",
        "French": "tronc cœliaque; Tronc coeliaque; TRONC CŒLIAQUE; artère cœliaque",
        "Italian": "tripode celiaco; tronco celiaco; arteria celiaca",
        "Spanish": "tronco celíaco; Tronco celiaco; arteria celíaca",
    },
    "SMA": {
        "English": "SMA; S.M.A.; superior mesenteric artery; superior_mesenteric_artery; Sup. Mesenteric Artery; "
        "mesenteric artery, superior; sup mesenteric a.",
        "Latin": "Arteria mesenterica superior; A. mesenterica sup.; A. mes. sup.; AMS; a_mesenterica_superior",
        "German": "obere Mesenterialarterie; obere Gekrösearterie; Obere Gekroesearterie",
        "French": "artère mésentérique supérieure; A. mésentérique sup.",
        "Italian": "arteria mesenterica superiore; Art. mesenterica sup.",
        "Spanish": "arteria mesentérica superior; ArteriaMesentéricaSuperior",
    },
}
FOUND = [
    (vessel, language, name)
    for vessel, languages in NAMES.items()
    for language, names in languages.items()
    for name in names.split("; ")
]

OTHERS = {
    "a vessel's word in a name of something else": "CA 19-9 lesion; portal phase CT roi; coeliac ganglion; portacath; "
    "Port-A; Port-A-Cath; tumor contact portal vein; tumour of the SMA; perivascular fat SMV; smart region; ciao; "
    "PORTA encasement; SMA contact; aortic valve; para-aortic lymph node; porta hepatis; portal; portal venous; "
    "phase portale; Pfortaderthrombose; thrombus portal vein; celiac disease; plexus coeliacus; celiac nodes; "
    "no aorta; not SMA; ganglion cœliaque; Aortenklappe; ganglio celíaco; linfonodi celiaci",
    "another vessel": "truncus pulmonalis; Truncus brachiocephalicus; Arteria mesenterica inferior; "
    "Vena mesenterica inferior; IMV; IMA; V. mesenterica inf.; untere Mesenterialvene; "
    "artère mésentérique inférieure; vena mesenterica inferiore; arteria mesentérica inferior; splenic vein; "
    "Milzvene; hepatic artery; vena cava superior; obere Hohlvene; V. cava sup.; pulmonary vein; inferior_vena_cava",
    "a part, or a side": "aorta false lumen; dissected aorta; aortic arch; arch of aorta; ascending aorta; "
    "thoracic aorta; Aorta ascendens; aorta descendens; crosse de l'aorte; infrarenal aorta; aortic root; "
    "left portal vein; right portal vein; "
    "portal V; portal vein right branch; Pfortaderast; SMV jejunal branch; SMA origin; aorta wall; aorta B",
    "two vessels in one": "portal_vein_and_splenic_vein; portal vein and splenic vein; PORTA_SMV; SMV+PV; SMA SMV; "
    "SMV/PV; portal-splenic; portal splenic confluence; SMA_SMV; aorta and SMA; celiac_aa; PV SMV; Celiac-SMA; "
    "Vena portae et lienalis; AORTA,SMA; mesenteric vein; mesenterica superior; veins; arteries; SMAV",
    "too short, too open, or nothing": "CA; ca; C.A.; V; A; TR; truncus; tronc; sup; superior; vein; artery; "
    "mesenteric artery; Segment; Segment_1; vessel label 3; 1; 12; ...; _; tumor; 3 aorta; SMA2; PV1; aorta 1 2",
}
NOT_FOUND = [(why, name) for why, names in OTHERS.items() for name in [*names.split("; "), ""]]


@pytest.mark.parametrize(("vessel", "language", "name"), FOUND)
def test_a_vessel_is_found_by_its_whole_name_in_six_languages(vessel, language, name):
    assert vessel_of(name) == vessel


@pytest.mark.parametrize(("why", "name"), NOT_FOUND)
def test_what_only_sounds_like_a_vessel_is_none(why, name):
    assert vessel_of(name) is None


def test_the_table_is_long_enough_to_mean_something():
    assert len(FOUND) >= 100
    assert len(NOT_FOUND) >= 100
    assert all(len(languages) == 6 for languages in NAMES.values())


def test_no_name_or_code_of_one_vessel_is_another_ones():
    for one, other in itertools.combinations(VESSELS, 2):
        assert not set(one.names) & set(other.names)
        assert not set(one.codes) & set(other.codes)


@pytest.mark.parametrize("vessel", VESSELS, ids=lambda vessel: vessel.name)
def test_every_name_in_the_list_can_be_reached(vessel):
    """A name in a form that is never asked for would be a dead letter."""
    assert len(set(vessel.names)) == len(vessel.names)
    assert {vessel_of(name) for name in vessel.names} == {vessel.name}


def test_the_programs_own_names_and_titles_are_found():
    for vessel in VESSELS:
        said = (vessel.name, vessel.name.lower(), vessel.title, vessel.short_title, vessel.snomed_meaning)
        assert {vessel_of(name) for name in said} == {vessel.name}
    assert list(VESSEL_VALUES) == list(NAMES)


def _separated(name, separator, _number):
    return re.sub("[ _-]", separator, name)


def _numbered(name, separator, number):
    return f"{name}{separator}{number}"


def _announced(name, separator, _number):
    return f"segment{separator}{name}{separator}label"


def _decomposed(name, _separator, _number):
    """Return `name` as the file systems of macOS write accents."""
    return unicodedata.normalize("NFD", name)


@given(
    name=st.sampled_from([name for _, _, name in FOUND] + [name for _, name in NOT_FOUND if name]),
    change=st.sampled_from([_separated, _numbered, _announced, _decomposed]),
    separator=st.sampled_from([" ", "_", "-", "  ", "_ "]),
    number=st.integers(min_value=1, max_value=99),
)
def test_writing_it_another_way_changes_nothing(name, change, separator, number):
    changed = change(name, separator, number)
    if change is _numbered and re.search("[0-9]$", name):
        return  # only one number is passed over
    if change is _separated and name == "aorta 1 2":
        return
    assert vessel_of(changed) == vessel_of(name)


@given(name=st.sampled_from([name for _, _, name in FOUND if not re.search("[a-z][A-Z]", name)]))
def test_capital_letters_change_nothing(name):
    assert vessel_of(name.upper()) == vessel_of(name.lower()) == vessel_of(name)


@given(
    names=st.lists(st.sampled_from([vessel.title for vessel in VESSELS]), min_size=2, max_size=3),
    between=st.sampled_from([" ", "_", "+", "/", " and ", " - ", ", "]),
)
def test_several_vessels_in_one_name_are_none(names, between):
    assert vessel_of(between.join(names)) is None


@given(st.text(max_size=60))
def test_any_text_is_a_vessel_or_none(text):
    assert vessel_of(text) in {None, *VESSEL_VALUES}
    assert vessel_of_code(text, text) is None


@pytest.mark.parametrize(
    ("concept", "retired", "vessel"),
    [
        (codes.SCT.PortalVein, "T-48810", "PORTA"),
        (codes.SCT.SuperiorMesentericVein, "T-48840", "SMV"),
        (codes.SCT.Aorta, "T-42000", "AORTA"),
        (codes.SCT.AbdominalAorta, "T-42500", "AORTA"),
        (codes.SCT.CeliacAxis, "T-46400", "CELIAC"),
        (codes.SCT.TruncusCoeliacus, "T-46400", "CELIAC"),
        (codes.SCT.SuperiorMesentericArtery, "T-46510", "SMA"),
    ],
)
def test_codes_of_dicom_are_found_in_both_schemes(concept, retired, vessel):
    from pydicom.sr._snomed_dict import mapping

    assert vessel_of_code(concept.scheme_designator, concept.value) == vessel
    assert mapping["SRT"][retired] == concept.value
    for scheme in ("SRT", "srt ", "SNM3", "99SDM"):
        assert vessel_of_code(scheme, retired) == vessel


@pytest.mark.parametrize(
    ("scheme", "value"),
    [
        ("SCT", codes.SCT.SplenicVein.value),
        ("SCT", codes.SCT.InferiorMesentericArtery.value),
        ("SCT", codes.SCT.InferiorMesentericVein.value),
        ("SCT", codes.SCT.AorticArch.value),
        ("SCT", codes.SCT.ThoracicAorta.value),
        ("SCT", codes.SCT.LeftMainBranchOfPortalVein.value),
        ("SCT", "110765007"),  # portal and splenic vein, as TotalSegmentator codes it
        ("SCT", "T-48810"),
        ("SRT", "32764006"),
        ("99TWINTRACK", "32764006"),
        ("DCM", "32764006"),
        ("", "32764006"),
        ("SCT", ""),
    ],
)
def test_other_codes_are_none(scheme, value):
    assert vessel_of_code(scheme, value) is None


def test_each_vessel_is_written_with_a_code_that_is_read():
    for vessel in VESSELS:
        assert vessel_of_code("SCT", vessel.snomed_code) == vessel.name


PORTAL, SMV, SPLENIC = ("SCT", "32764006"), ("SCT", "90771006"), ("SCT", "35819009")


@pytest.mark.parametrize(
    ("name", "said", "vessel"),
    [
        ("Segment_2", [PORTAL], "PORTA"),
        ("Segment_2", [("SRT", "T-48810")], "PORTA"),
        ("SMA", [SMV], None),
        ("SMA", [SPLENIC], "SMA"),
        ("SMA", [], "SMA"),
        ("Segment_2", [SPLENIC], None),
        ("Segment_2", [PORTAL, SMV], None),
        ("PORTA", [PORTAL, SMV], None),
        ("portal_vein_and_splenic_vein", [PORTAL], None),
        ("Vena portae et lienalis", [PORTAL], None),
        ("Pfortader und Milzvene", [PORTAL], None),
        ("vena porta y esplénica", [PORTAL], None),
        ("tronc spléno-portal", [PORTAL], None),
        ("Pfortader (Müller)", [PORTAL], "PORTA"),
    ],
)
def test_a_segment_is_what_its_code_says_then_what_its_name_says(name, said, vessel):
    assert vessel_of_segment(name, said) == vessel


@pytest.mark.parametrize(
    "name",
    [
        "PORTA_SMV",
        "porta-smv",
        "PV SMV",
        "SMV_PV",
        "Portal vein and superior mesenteric vein",
        "portal-mesenteric axis",
    ],
)
def test_a_label_of_the_undivided_veins_is_told_by_its_name(name):
    assert is_joint_vein(name)
    assert vessel_of(name) is None  # neither of the two


@pytest.mark.parametrize(
    "name", ["PORTA", "SMV", "portal_vein_and_splenic_vein", "portal splenic confluence", "SMA_SMV"]
)
def test_other_names_are_not_the_undivided_veins(name):
    assert not is_joint_vein(name)
