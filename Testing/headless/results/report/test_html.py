from __future__ import annotations

import base64
import copy
import json
import re
from html.parser import HTMLParser

import pytest

from expected_errors import raises_error
from twintrack.errors import InputError, OutputError
from twintrack.results.report.html import read_pictures, write_report

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
VOID = {"meta", "img", "br", "hr", "link", "input", "circle", "path", "polyline"}

RESULT = {
    "schema": 1,
    "version": "0.1.0",
    "bundle": {
        "name": "demo-pdac",
        "sha256": "9f" * 32,
        "demo": True,
        "description": "Knows phantoms.",
        "license": "X",
    },
    "calibrator": {"target": "mhr", "bins": 250},
    "device": "cpu",
    "input": {
        "spacing_mm": [0.8, 0.8, 2.0],
        "size": [320, 280, 110],
        "source": "/data/DOE^JOHN/ct.nii.gz",
        "case": "case seven",
        "name": "ct.nii.gz",
        "series_number": 4,
        "series_description": "portal venous",
        "study_date": "2024-02-29",
        "sha256": "0123abcd" * 8,
        "created": "2026-03-01T12:34:56Z",
    },
    "roi": {"start": [80, 60, 20], "stop": [240, 200, 90]},
    "threshold": 0.5,
    "volume_ml": {"expected": 14.23, "at_threshold": 13.1, "p10": 8.2, "p90": 20.4},
    "lesions": [{"volume_ml": 12.9, "centroid_lps_mm": [12.0, -41.5, 103.2]}, {"volume_ml": 0.2}],
    "seconds": {"read": 0.4, "ensemble": 31.0},
    "labels": {"tumor": 1},
    "warnings": ["fitted on 5 cases only"],
}
INVASION = {
    "schema": 1,
    "thresholds": [0.2, 0.4, 0.6, 0.8],
    "vessels": {
        "SMA": {
            "present": True,
            "angle_deg": [270.0, 190.0, 90.0, 0.0],
            "contact_length_mm": [30.0, 20.0, 10.0, 0.0],
            "expected_angle_deg": 137.4,
            "p_contact": 0.72,
            "p_encased": 0.41,
            "category": "encasement",
            "notes": ["the lower edge of the volume cuts the vessel"],
        },
        "CELIAC": {"present": False},
    },
    "resectability": {
        "rule_set": "rules",
        "pattern": "arterial encasement",
        "probability": {"none": 0.28, "arterial encasement": 0.41},
        "not_assessed": ["CELIAC"],
    },
}


class Reader(HTMLParser):
    """Checks that tags are closed in order and collects what the page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []
        self.references: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.names.append(tag)
        self.references += [value for name, value in attributes if name in {"src", "href", "srcset", "action", "data"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.names.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text.append(data)


@pytest.fixture
def read(tmp_path):
    """Write a report and return its source, its parsed form and its words."""

    def write(result=RESULT, invasion=INVASION, picture=True, **options):
        png = tmp_path / "overview.png"
        png.write_bytes(PIXEL)
        path = tmp_path / "report.html"
        write_report(path, result, invasion, png if picture else None, **options)
        source = path.read_text(encoding="utf-8")
        reader = Reader()
        reader.feed(source)
        reader.close()
        assert reader.open == []
        return source, reader, re.sub(r"\s+", " ", " ".join(reader.text))

    return write


def test_the_report_shows_what_a_reader_looks_for(read):
    _, _, words = read()
    for text in ("14.2 mL", "13.1 mL", "8.2–20.4 mL", "encasement (more than 180°)", "137°", "72 %", "41 %"):
        assert text in words
    for text in ("140°", "15 mm"):  # half way between the thresholds 0.4 and 0.6
        assert text in words
    for text in ("demo-pdac", "9f" * 32, "target: mhr", "320 × 280 × 110", "ensemble 31.0 s", "arXiv 2604.15950"):
        assert text.lower() in words.lower()
    assert "to be confirmed by a radiologist" in words
    assert "Research use only - not for clinical decisions" in words
    assert "fitted on 5 cases only" in words
    assert "vessel not found on this CT" in words
    assert "the lower edge of the volume cuts the vessel" in words
    assert "none 28 %, arterial encasement 41 %" in words


def test_the_report_is_one_file_that_asks_for_nothing_else(read):
    source, reader, _ = read()
    assert [reference[:22] for reference in reader.references] == ["data:image/png;base64,"]
    assert base64.b64decode(reader.references[0][22:]) == PIXEL
    assert not {"script", "link", "iframe", "object", "base"} & set(reader.names)
    assert "@import" not in source
    assert "url(" not in source
    assert "default-src 'none'" in source


def test_hostile_names_stay_text(read):
    hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    result = copy.deepcopy(RESULT)
    result["bundle"].update(name=hostile, description=hostile, license=hostile)
    result["input"].update(case=hostile, name=hostile, series_description=hostile)
    result.update(device=hostile, warnings=[hostile], lesions=[{hostile: hostile}])
    result["seconds"][hostile] = 1.0
    invasion = copy.deepcopy(INVASION)
    invasion["vessels"][hostile] = {**invasion["vessels"].pop("SMA"), "category": hostile}
    invasion["resectability"] = {hostile: {hostile: [hostile]}}
    source, reader, words = read(result, invasion)
    assert "script" not in reader.names
    assert reader.names.count("img") == 1
    assert "<script" not in source.lower()
    assert "<script>alert(1)</script>" in words


def test_no_path_is_shown(read):
    source, _, _ = read()
    assert "DOE" not in source
    assert "/data/" not in source


def test_it_says_at_the_top_and_on_every_printed_page_which_ct_it_is(read):
    source, _, words = read()
    assert "<title>case seven - TwinTrack report</title>" in source
    line = "Case case seven CT ct.nii.gz Study date 2024-02-29 Series 4: portal venous CT hash 0123abcd Made 2026-03-01"
    assert f"{line} 12:34:56 UTC" in words
    assert words.index(line) < words.index("Contact with the vessels")
    # A table's head is repeated on every page, if nothing may break it.
    head = "Case case seven · CT 0123abcd · study 2024-02-29 · series 4: portal venous · made 2026-03-01 12:34:56 UTC"
    assert head in words
    assert ".page-head { display: none; }" in source
    assert ".page-head { display: table-header-group; break-inside: avoid; }" in source.split("@media print")[1]


def test_a_result_of_an_earlier_version_has_no_such_line(read):
    source, _, words = read({**RESULT, "input": {"size": [1, 2, 3]}})
    assert "<title>TwinTrack report</title>" in source
    assert 'class="which"' not in source
    assert 'class="page-head"' not in source
    assert "CT hash" not in words


def test_pictures_are_read_back_as_they_were_written(read, tmp_path):
    name = 'A "B" <c> & d'
    invasion = {**INVASION, "vessels": {**INVASION["vessels"], name: INVASION["vessels"]["SMA"]}}
    pictures = {"SMA": PIXEL, name: b"other"}
    read(invasion=invasion, vessel_pictures=pictures)
    assert read_pictures(tmp_path / "report.html") == pictures


def test_only_the_demo_bundle_is_called_one(read):
    assert "DEMO MODEL: knows synthetic phantoms only" in read()[2]
    result = copy.deepcopy(RESULT)
    result["bundle"]["demo"] = False
    assert "DEMO MODEL" not in read(result)[2]


def test_a_map_that_was_not_calibrated_is_never_called_a_fraction_of_readers_without_warning(read):
    assert "NOT CALIBRATED" not in read()[2]
    words = read({**RESULT, "calibrator": None})[2]
    assert "NOT CALIBRATED" in words
    assert "expected to mark the place as tumour" not in words


def test_a_vessel_that_was_not_found_has_no_curve_and_no_numbers(read):
    invasion = copy.deepcopy(INVASION)
    invasion["vessels"]["CELIAC"] = {**INVASION["vessels"]["SMA"], "present": False}
    source, _, _ = read(RESULT, invasion)
    assert curves(source) == 1
    assert source.count("137°") == 1


def test_a_result_with_nothing_in_it_says_so_instead_of_zero(read):
    _, reader, words = read({}, None, picture=False)
    assert words.count("not available") >= 4
    assert "0.0 mL" not in words
    assert "Lesion list not available" in words
    assert "vessel contact was not measured" in words
    assert "img" not in reader.names


def test_a_percentile_that_is_not_known_makes_no_range(read):
    words = read({**RESULT, "volume_ml": {**RESULT["volume_ml"], "p10": None}})[2]
    assert "8 of 10 readers between not available" in words


def test_the_provenance_says_how_many_bins_make_the_visible_part_of_the_map(read):
    words = read({**RESULT, "calibrator": {"target": "mhr", "bins": 250, "upper_bins": 9, "reached": 0.89}})[2]
    assert "9 bins lie above score 0.05" in words
    assert "0.89" not in words
    assert "lie above score" not in read()[2]


def test_no_tumor_reads_as_no_lesion(read):
    result = {**RESULT, "lesions": [], "volume_ml": {"expected": 0.0, "at_threshold": 0.0, "p10": 0.0, "p90": 0.0}}
    words = read(result)[2]
    assert "No lesion at the threshold." in words
    assert "0.0 mL" in words


@pytest.mark.slow
@pytest.mark.parametrize("part", sorted(RESULT))
@pytest.mark.parametrize("other", [None, 5, "text", [], {}, [None], float("nan")])
def test_any_part_may_be_missing_or_of_another_kind(read, part, other):
    _, reader, _ = read({**RESULT, part: other})
    assert "table" in reader.names


@pytest.mark.parametrize("part", ["thresholds", "vessels", "resectability"])
@pytest.mark.parametrize(
    "other", [None, 5, "text", [], {}, [1], {"SMA": None}, {"SMA": {}}, {"SMA": {"angle_deg": [1]}}]
)
def test_any_part_of_the_invasion_may_be_missing_or_of_another_kind(read, part, other):
    read(RESULT, {**INVASION, part: other})


def test_the_range_over_the_members_stands_beside_the_angle(read):
    def vessel(found):
        return {**INVASION, "vessels": {"SMA": {**INVASION["vessels"]["SMA"], "member_range": found}}}

    known = {"angle_deg": [40.4, 107.2], "p_contact": [0.5, 0.8], "p_encased": None, "members": 3}
    words = read(RESULT, vessel(known))[2]
    assert "angle 40–107° at level 0.5, contact up to level 0.50–0.80" in words
    for other in (None, 5, [1, 2], {"angle_deg": None}, {"angle_deg": [1]}, {"angle_deg": ["a", "b"]}):
        assert "at level 0.5" not in read(RESULT, vessel(other))[2]


def curves(source: str) -> int:
    """Return how many vessels have a curve of their outline."""
    return source.count('class="outline-curve"')


def test_each_vessel_with_angles_has_a_curve_with_a_description_in_words(read):
    source, _, _ = read()
    assert curves(source) == 1
    assert 'aria-label="SMA: contact angle of the outline 270° at 0.2, 190° at 0.4, 90° at 0.6, 0° at 0.8"' in source
    points = re.search(r'points="([^"]*)"', source)[1]
    # The frame runs from 32 to 192 for thresholds 0 to 1 and from 92 up to 8 for 0 to 360 degrees.
    assert points == "64.0,29.0 96.0,47.7 128.0,71.0 160.0,92.0"


def test_tables_have_captions_and_heads_with_scope(read):
    source, reader, _ = read()
    assert reader.names.count("caption") == reader.names.count("table") == 4
    assert all("scope=" in head for head in re.findall(r"<th\b[^>]*>", source))
    assert '<html lang="en">' in source
    assert re.search(r'<img [^>]*alt="[^"]+"', source)


def test_json_from_a_file_gives_the_same_report(read):
    assert read(json.loads(json.dumps(RESULT)), json.loads(json.dumps(INVASION)))[0] == read()[0]


def test_a_missing_picture_and_a_place_that_cannot_be_written_are_named(tmp_path):
    with raises_error(InputError, "report-unreadable", "none.png"):
        write_report(tmp_path / "report.html", RESULT, None, tmp_path / "none.png")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with raises_error(OutputError, "not-writable"):
        write_report(tmp_path / "file" / "report.html", RESULT, None, None)


def schema_two(**vessel):
    """The same result as this version writes it."""
    content = copy.deepcopy(INVASION) | {"schema": 2, "statements": "map", "contact_mm": 1.9}
    content["vessels"]["SMA"] |= {"gap_mm": [0.0, 0.0, 1.0, 3.0], "coverage": 0.9, "near_180": False} | vessel
    return content


def test_a_vessel_without_contact_says_how_far_the_tumor_is_and_what_was_searched(read):
    free = {"angle_deg": [0.0] * 4, "gap_mm": [0.4, 1.0, 1.4, None], "category": "none", "coverage": 0.64}
    _, _, words = read(invasion=schema_two(**free))
    assert "1.2 mm away" in words  # half way between the thresholds 0.4 and 0.6
    assert "64 %" in words
    assert "in contact" not in words
    assert "in contact" in read(invasion=schema_two())[2]
    assert "none near" in read(invasion=schema_two(**free | {"gap_mm": [None] * 4}))[2]


def test_a_vessel_that_was_not_looked_at_is_not_called_free(read):
    reason = "not assessed: too little of it was searched"
    none = {"angle_deg": [None] * 4, "gap_mm": [None] * 4, "category": None, "p_contact": None, "reason": reason}
    _, _, words = read(invasion=schema_two(**none, notes=[reason, "tumour was looked for along 1 %"], coverage=0.01))
    assert "not assessed: not assessed" not in words
    assert words.count("not assessed: too little of it was searched") == 3  # both tables, and the first screen
    assert "along 1 %" in words
    assert "1 % of the wall near the tumour searched" in words


def test_an_angle_near_180_is_told(read):
    assert "within the measurement's own error" in read(invasion=schema_two(near_180=True))[2]
    assert "within the measurement's own error" not in read(invasion=schema_two())[2]


def test_both_veins_together_have_a_row_where_they_were_measured(read):
    assert "Portal vein and SMV together" not in read()[2]
    content = schema_two()
    content["vessels"]["PORTA_SMV"] = content["vessels"]["SMA"] | {"title": "portal vein and SMV"}
    assert "Portal vein and SMV together" in read(invasion=content)[2]


CALIBRATED = "calibrated on 60 cases with 5 readers each"


def calibrated(**vessel):
    """The result with calibrated statements; the celiac trunk's are not."""
    content = schema_two(
        statements="calibrated",
        p_contact=0.72,
        p_encased=0.0,
        p_contact_interval=[0.6, 0.81],
        p_encased_interval=[0.0, 0.02],
        expected_angle_deg_interval=[120.0, 150.0],
        angle_median_deg=88.0,
        angle_p10_deg=0.0,
        angle_p90_deg=141.0,
        category="abutment",
        fraction_over=[0.72, 0.5, 0.0],
        **vessel,
    )
    other = content["vessels"]["SMA"] | {"statements": "map", "p_contact": 1.0}
    other |= dict.fromkeys(("p_contact_interval", "p_encased_interval", "fraction_over"))
    other["notes"] = ["not calibrated: the calibration cases show no contact"]
    content["vessels"]["CELIAC"] = other
    pattern = {"probability": {"arterial encasement": 0.01, "arterial abutment": 0.6, "none": 0.39}}
    content["resectability"] |= pattern | {"pattern": "arterial abutment", "statements": "calibrated"}
    calibration = {"cases": 60, "raters": 5, "family": "logistic", "interval_level": 0.95}
    stated = {"statements": "calibrated", "statements_note": CALIBRATED, "calibration": calibration}
    return content | stated | {"fraction_angles_deg": [0, 90, 180]}


STATEMENTS = {
    "source": "calibrated",
    "note": CALIBRATED,
    "any_tumour": 0.99,
    "volume_ml": {"p10": 1.5, "median": 4.25, "p90": 9.0},
}


def test_fractions_that_are_levels_of_the_map_say_so_at_every_place(read):
    for invasion in (
        INVASION,
        schema_two(),
        schema_two() | {"statements_note": "read from the map, not calibrated: x"},
    ):
        words = read(invasion=invasion)[2]
        # Above the table and in its caption, with the pattern, with the volumes, and in the structured report.
        assert words.count("read from the map, not calibrated") >= 5
        assert "calibrated on" not in words


def test_calibrated_fractions_say_on_how_many_cases_and_readers(read):
    words = read({**RESULT, "statements": STATEMENTS}, calibrated())[2]
    assert words.count(CALIBRATED) >= 5
    assert "60 % to 81 %*" in words
    assert "with other calibration cases (95 % interval)" in words
    assert "88°" in words
    assert "0–141°" in words
    assert "120–150°" in words


def test_nothing_that_is_said_of_readers_reads_as_all_or_none(read):
    words = read({**RESULT, "statements": STATEMENTS}, calibrated())[2]
    assert "under 3 %" in words
    assert "over 97 %" in words
    assert re.search(r"(?<![0-9.])(?:0|100) %", words) is None
    assert "arterial encasement under 3 %, arterial abutment 60 %, none 39 %" in words


def test_a_vessel_outside_the_calibration_says_so_among_calibrated_ones(read):
    words = read(invasion=calibrated())[2]
    assert "over 97 % read from the map, not calibrated" in words
    assert "not calibrated: the calibration cases show no contact" in words
    assert read(invasion=schema_two())[2].count("72 % read from the map") == 0  # there the caption says it of all


def test_what_readers_see_of_each_pattern_comes_before_the_pattern(read):
    words = read(invasion=calibrated())[2]
    places = [
        words.index(text) for text in ("Readers expected to see arterial", "Pattern of the median reader arterial")
    ]
    assert places == sorted(places)


def test_what_is_said_of_readers_does_not_move_with_the_threshold(read):
    def said(threshold):
        source, _, words = read({**RESULT, "threshold": threshold, "statements": STATEMENTS}, calibrated())
        lines = re.findall(r'<span class="line">([^<]*)', source)[:-1]  # the last is the volume
        table = words[words.index("What readers are expected to say of solid") : words.index("Two doubts")]
        return (lines, table), words

    (low, low_words), (high, high_words) = said(0.25), said(0.7)
    assert low == high
    assert "This outline (voxels that at least 25 % mark)" in low_words
    assert "This outline (voxels that at least 70 % mark)" in high_words
    assert ("250°" in low_words, "45°" in high_words) == (True, True)  # a quarter of 270 to 190, half of 90 to 0


def test_volumes_of_readers_are_told_apart_from_this_outline(read):
    words = read({**RESULT, "statements": STATEMENTS})[2]
    assert "Readers who mark any tumour over 97 %" in words
    assert f"Median reader's volume 4.2 mL {CALIBRATED}" in words
    assert "8 of 10 readers between 1.5–9.0 mL" in words
    assert "This outline 13.1 mL voxels that at least 50 % mark" in words
    plain = read()[2]
    assert "8 of 10 readers between 8.2–20.4 mL" in plain
    assert "Median reader's volume" not in plain


def test_how_many_readers_mark_a_lesion_is_told_and_where_from(read):
    lesions = [{"volume_ml": 12.9, "p_found": 0.995}]
    assert "Readers expected to mark it" in read({**RESULT, "lesions": lesions, "statements": STATEMENTS})[2]
    words = read({**RESULT, "lesions": lesions})[2]
    assert "Readers expected to mark it (read from the map, not calibrated)" in words
    assert "over 97 %" in words


def test_the_readers_curve_is_drawn_where_it_is_calibrated(read):
    source, _, _ = read(invasion=calibrated())
    # 32 to 192 across for fractions, 92 up to 8 for 0 to 360 degrees; of the two vessels one is calibrated.
    assert source.count('points="147.2,92.0 112.0,71.0 32.0,50.0"') == 1
    assert "readers: 72 % over 0°, 50 % over 90°, under 3 % over 180°" in source


def test_an_outline_edited_by_hand_fills_the_structured_report_and_leaves_the_readers_alone(read):
    drawn = calibrated(angle_deg=[200.0] * 4, contact_length_mm=[12.0] * 4)
    drawn["thresholds"] = [0.25, 0.5, 0.6, 0.8]
    drawn["resectability"]["outline_pattern"] = "arterial encasement"
    words = read({**RESULT, "edited": {"added_ml": 1.0}}, drawn)[2]
    assert "present (this outline, edited by hand; 72 % of readers expected to see contact)" in words
    assert (
        "> 180° (this outline 200°; 8 of 10 further readers 0–141°; under 3 % of readers expected over 180°)" in words
    )
    assert "Pattern of the median reader arterial abutment" in words
    assert "Pattern of this outline, edited by hand arterial encasement" in words
    assert "≤ 180° (median reader 88°;" in read(invasion=drawn)[2]


@pytest.mark.parametrize("field", ["statements", "statements_note", "calibration", "fraction_angles_deg"])
@pytest.mark.parametrize("other", [None, 5, [], {}, [None], ["a"], {"cases": "x"}])
def test_any_statement_may_be_missing_or_of_another_kind(read, field, other):
    read(RESULT, calibrated() | {field: other})
    vessel = dict.fromkeys(("fraction_over", "p_contact_interval", "angle_median_deg", "statements"), other)
    read({**RESULT, "statements": other}, calibrated(**{"member_range": other}) | {"resectability": other})
    content = calibrated()
    content["vessels"]["SMA"] |= vessel
    read({**RESULT, "statements": {"volume_ml": other, "any_tumour": other}}, content)


def answer(source: str) -> list[str]:
    """Return the lines of the first screen as words."""
    lines = re.findall(r"<li>(.*?)</li>", source, re.DOTALL)
    return [re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", line)).strip() for line in lines]


def test_the_first_screen_answers_by_vessel_the_worst_first(read):
    invasion = calibrated()
    worse = invasion["vessels"]["SMA"] | {"p_encased": 0.42, "angle_median_deg": 160.0, "title": "portal vein"}
    unknown = {"present": True, "angle_deg": [None] * 4, "reason": "not assessed: too little of it was searched"}
    invasion["vessels"] = {"AORTA": unknown, **invasion["vessels"], "PORTA": worse}
    source, _, words = read({**RESULT, "statements": STATEMENTS}, invasion)
    porta, *others, volume = answer(source)
    assert porta.startswith("Portal vein 72 % of readers see contact, 42 % more than 180°; median reader 160°")
    assert "(8 of 10 between 0° and 141°). This outline: 140° over 15 mm; 90 % of the vessel searched." in porta
    assert [line.split()[0] for line in others] == ["CELIAC", "SMA", "AORTA"]
    assert "not assessed: too little of it was searched." in others[-1]
    assert "(read from the map, not calibrated)" in others[0]  # among calibrated ones
    assert volume.startswith("Volume over 97 % of readers mark any tumour; median reader 4.2 mL (8 of 10 between 1.5")
    assert words.index("Portal vein 72 %") < words.index("What was found")


def test_a_score_that_was_not_calibrated_tells_nothing_of_readers_on_the_first_screen(read):
    source, _, words = read({**RESULT, "calibrator": None}, schema_two(), vessel_pictures={"SMA": PIXEL})
    (line, *_) = answer(source)
    assert line.startswith("SMA score, not readers")
    assert "This outline: 140° over 15 mm" in line
    first = words[words.index("Contact with the vessels, and volume") : words.index("What was found")]
    assert re.search(r"\d %( more| of readers)", first) is None
    assert "median reader" not in first


def test_a_vessel_of_which_more_than_180_is_not_known_stands_where_the_worst_would(read):
    invasion = calibrated()
    vessel = invasion["vessels"]["SMA"]
    invasion["vessels"] = {
        "SMV": vessel | {"p_contact": 0.1, "p_encased": 0.05},
        "PORTA": vessel | {"p_contact": 0.7, "p_encased": None},
    }
    porta, smv, _ = answer(read(RESULT, invasion)[0])
    assert porta.startswith("PORTA 70 % of readers see contact, it is not known how many more than 180°; median")
    assert smv.startswith("SMV 10 %")


def test_the_worst_vessel_that_has_one_is_the_first_picture(read):
    invasion = calibrated()
    invasion["vessels"]["PORTA"] = invasion["vessels"]["SMA"] | {"p_encased": 0.9}
    source, _, _ = read(RESULT, invasion, vessel_pictures={"SMA": PIXEL, "PORTA": PIXEL})
    pictures = re.findall(r'aria-label="Pictures? of ([^"]*)"', source)
    assert pictures == ["PORTA", "the result", "SMA"]


def test_nothing_is_warned_of_twice(read):
    from twintrack.pipeline import DEMO_WARNING, RAW_WARNING

    warnings = [DEMO_WARNING, RAW_WARNING, "fitted on 5 cases only", "fitted on 5 cases only"]
    source, _, words = read({**RESULT, "calibrator": None, "warnings": warnings})
    assert source.count('class="alert"') == 1
    assert [words.count(text) for text in ("fitted on 5 cases", "NOT CALIBRATED", "DEMO MODEL")] == [1, 1, 1]
    assert DEMO_WARNING not in words


def test_a_volume_of_another_source_than_the_vessels_says_so(read):
    source, _, _ = read({**RESULT, "statements": None}, calibrated())
    assert "(read from the map, not calibrated)" in answer(source)[-1]


def test_dark_screens_have_colours_of_their_own(read):
    """Text on its ground has a contrast of at least 4.5 (WCAG 2.1, AA) in both schemes."""
    source, _, _ = read()
    for scheme in (source.split("prefers-color-scheme: dark")[0], source.split("prefers-color-scheme: dark")[1]):
        colors = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6})", scheme.split("* { box-sizing")[0]))
        for ink, ground in (
            *(("ink", "page"), ("soft", "page"), ("soft", "tint"), ("ink", "tint")),
            *(("accent", "page"), ("outline", "page"), ("alert-ink", "alert")),
        ):
            assert contrast(colors[ink], colors[ground]) >= 4.5, (ink, ground)


def contrast(first: str, second: str) -> float:
    """Return the ratio of the relative luminances of two colours, as WCAG 2.1 defines it."""

    def luminance(color: str) -> float:
        digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
        parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
