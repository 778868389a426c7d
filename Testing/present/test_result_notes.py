"""The sentences around the numbers: each of them, and that statements and outline are not mixed."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer")

pytestmark = pytest.mark.slow

READER_WORDS = ("reader", "encasement", "abutment")


def notes(result):
    from TwinTrackSegLib.present.ResultNotes import notesOf

    return notesOf(result)


def test_nothing_is_said_of_no_result():
    from TwinTrackSegLib.present.ResultNotes import Notes, volumeText

    assert notes(None) == Notes()
    assert volumeText(None) == ""


@pytest.mark.parametrize("demo", [True, False])
def test_a_demo_models_result_says_so_once_and_another_not_at_all(load, demo):
    def change(result, _invasion):
        result["bundle"]["demo"] = demo
        result["warnings"] = ["Demo bundle: it knows phantoms only.", "slices of 8 mm"] if demo else ["slices of 8 mm"]

    said = notes(load(change))
    assert ("DEMO MODEL" in said.badge) is demo
    assert ("means nothing for a patient" in said.badge) is demo
    assert said.warnings == "⚠ slices of 8 mm"


LONG = "This CT is unlike those that the model was made with, and its result may be wrong without looking so."
READ = "The slices were 0.1 mm apart from a grid of their own."


def test_warnings_are_one_line_until_they_are_unfolded_and_the_cts_reading_comes_last(load):
    from TwinTrackSegLib.present.ResultNotes import LINE_LENGTH, notesOf

    def change(result, _invasion):
        result["input"]["notes"] = [READ]
        result["warnings"] = [READ, LONG]

    result = load(change)
    folded, unfolded = notesOf(result), notesOf(result, unfolded=True)
    assert folded.warnings == "⚠ This CT is unlike those that the model was made …"
    assert len(folded.warnings) <= LINE_LENGTH
    assert (folded.more, unfolded.more) == ("All 2", "Less")
    assert unfolded.warnings == folded.moreTip == f"⚠ {LONG}\n⚠ {READ}"


@pytest.mark.parametrize(("warnings", "more"), [([], ""), (["slices of 8 mm"], ""), ([LONG], "More")])
def test_only_what_is_longer_than_a_line_is_folded(load, warnings, more):
    said = notes(load(lambda result, _invasion: result.update(warnings=warnings)))
    assert said.more == more
    assert said.moreTip == "\n".join(f"⚠ {line}" for line in warnings)


def test_an_edit_is_said_at_once_and_what_it_means_behind_it(load):
    from TwinTrackSegLib.present.ResultNotes import notesOf

    result = load(lambda result, _invasion: result.update(warnings=[]))
    result.record.setEdited({"added_ml": 1.25, "removed_ml": 0.0, "threshold": 0.5, "invasion": {}})
    folded, unfolded = notesOf(result), notesOf(result, unfolded=True)
    assert folded.edited == "EDITED BY HAND: 1.2 mL added, 0.0 mL removed."
    assert folded.more == "More"
    assert unfolded.edited.startswith(folded.edited)
    assert "from before the edit" in unfolded.edited
    assert folded.moreTip == unfolded.edited


def test_a_pattern_that_does_not_hold_for_all_vessels_names_those_that_it_leaves_out(load):
    def change(_result, invasion):
        reason = "not assessed: CELIAC; the pattern holds for the other vessels only"
        pattern = {"pattern": "no contact", "rule_set": "rules", "not_assessed": ["CELIAC"], "reason": reason}
        invasion["resectability"] = pattern

    assert "Median reader, by rules: no contact (not assessed: Celiac trunk)" in notes(load(change)).readers


def test_fractions_that_nobody_calibrated_are_said_to_be_so_as_a_warning(load):
    said = notes(load())
    assert said.source == "What readers are expected to say: read from the map, not calibrated."
    assert said.sourceIsWarning


def test_calibrated_statements_say_on_whom_and_fractions_come_first(load):
    def change(result, invasion):
        note = "calibrated on 60 cases with 5 readers each"
        invasion |= {"statements": "calibrated", "statements_note": note}
        pattern = {"pattern": "no contact", "rule_set": "rules", "statements": "calibrated"}
        invasion["resectability"] = pattern | {"probability": {"arterial contact": 0.25, "no contact": 0.75}}
        volumes = {"p10": 1.5, "median": 2.5, "p90": 4.0}
        result["statements"] = {"source": "calibrated", "note": note, "any_tumour": 0.99, "volume_ml": volumes}
        result["volume_ml"]["expected"] = 2.6

    said = notes(load(change))
    assert said.source.endswith(": calibrated on 60 cases with 5 readers each.")
    assert not said.sourceIsWarning
    assert said.readers.splitlines() == [
        "Contact pattern: arterial contact 25 %, no contact 75 %",
        "Median reader, by rules: no contact",
        "Any tumour: over 97 % of readers. Volume: median 2.5 mL, 8 of 10 readers 1.5–4.0 mL, mean 2.6 mL",
    ]


def test_this_outline_is_nobodys_opinion(load):
    from TwinTrackSegLib.present.ResultNotes import volumeText

    text = volumeText(load())
    assert text.splitlines()[0].endswith(" mL, voxels that at least 50 % mark")
    assert len(text.splitlines()) == 1  # what it touches stands in the vessels' rows
    assert not any(word in text for word in READER_WORDS)


def test_an_uncalibrated_map_speaks_of_scores(load):
    from TwinTrackSegLib.present.ResultNotes import outlineWords

    def change(result, _invasion):
        result["calibrator"] = None

    assert outlineWords(load(change).record, 0.5) == "voxels that score at least 0.5"


def test_which_ct_and_which_model(load):
    def change(result, _invasion):
        result["calibrator"] = {"file": "ours.json", "cases": 12}
        result["device"] = "cpu"

    said = notes(load(change))
    assert said.which.startswith("Case Example CT · CT ")
    assert "Calibrator of your own: ours.json (12 cases)" in said.origin
    assert "Computed on: cpu" in said.origin


def test_a_sample_is_said_to_be_no_reader_and_not_the_result(load):
    from rater_example import SAMPLE_RADII_MM, writeSampleResult

    from TwinTrackSegLib.mrml.result.SampleView import showSample
    from TwinTrackSegLib.present.ResultNotes import volumeText

    result, count = load(write=writeSampleResult), len(SAMPLE_RADII_MM)
    showSample(result, 1)
    said = notes(result)
    assert f"one plausible outline of {count} drawn by the model, not a reader" in said.source
    assert "not calibrated and not the result" in said.source
    assert said.sourceIsWarning
    assert "No vessel is measured in a sample." in said.readers
    assert not any(word in said.readers for word in ("attern", "%", "edian"))
    first, spread = volumeText(result).splitlines()
    assert first.endswith(f"sample 1 of {count} drawn by the model, not a reader")
    least, most = (4 / 3 * np.pi * (radius / 10) ** 3 for radius in (min(SAMPLE_RADII_MM), max(SAMPLE_RADII_MM)))
    low, high = spread.removeprefix(f"All {count} samples: ").removesuffix(" mL").split(" to ")
    assert (float(low), float(high)) == (pytest.approx(least, abs=0.06), pytest.approx(most, rel=0.1))


def test_one_reader_is_said_to_be_one_and_not_the_result(load):
    from rater_example import GENEROUS, writeRaterResult

    from TwinTrackSegLib.mrml.result.RaterView import showReader
    from TwinTrackSegLib.present.ResultNotes import volumeText

    result = load(write=writeRaterResult)
    showReader(result, GENEROUS)
    words = f"as reader {GENEROUS} would draw it"
    said = notes(result)
    assert words in said.source
    assert "not calibrated and not the result" in said.source
    assert said.sourceIsWarning
    assert "attern" not in said.readers
    assert words in volumeText(result)
    assert not any(sign in volumeText(result) for sign in "●◐")
