"""The published schemas are those of the program: what it writes follows them, and both refuse the same."""

from __future__ import annotations

import copy
import importlib.util
import json
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest

from twintrack.bundle.model_bundle import demo_bundle_path
from twintrack.bundle.rater_entries import TRAINING_ENTRIES
from twintrack.bundle.schema import SCHEMAS, parse_bundle_json
from twintrack.calibration import read_calibrator
from twintrack.errors import TwinTrackError
from twintrack.results.schema import INVASION_SCHEMAS, RESULT_SCHEMAS, read_invasion_json, read_result_json

ROOT = Path(__file__).resolve().parents[2]
OLD = ROOT / "Testing" / "old_files"
KINDS = ("bundle", "calibrator", "invasion", "result")
WRITTEN_ALONE = ("naming",)
"""Files that the program writes for others and does not read."""

READ: dict[str, Callable[[Path], object]] = {
    "bundle": lambda path: parse_bundle_json(path.read_bytes(), str(path)),
    "calibrator": read_calibrator,
    "invasion": read_invasion_json,
    "result": read_result_json,
}


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    found = importlib.util.spec_from_file_location("tools_schemas", ROOT / "tools" / "schemas.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module  # where pydantic looks for the names in annotations
    found.loader.exec_module(module)
    return module


@lru_cache
def schema_of(kind: str) -> Any:
    content = json.loads((ROOT / "docs" / "schemas" / f"{kind}.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(content)
    return jsonschema.Draft202012Validator(content)


def follows(kind: str, content: object) -> bool:
    return bool(schema_of(kind).is_valid(content))


def opens(kind: str, content: object, folder: Path) -> bool:
    path = folder / f"{kind}.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    try:
        READ[kind](path)
    except TwinTrackError:
        return False
    return True


@pytest.mark.parametrize("kind", [*KINDS, *WRITTEN_ALONE])
def test_the_published_schema_is_the_programs(tool: ModuleType, kind: str) -> None:
    published = (ROOT / "docs" / "schemas" / f"{kind}.json").read_text(encoding="utf-8")
    assert tool.text(kind) == published, "run python tools/schemas.py"
    assert set(tool.FILES) == {*KINDS, *WRITTEN_ALONE}


@pytest.mark.parametrize("kind", ["bundle", "calibrator"])
def test_the_demo_bundles_files_follow_their_schemas(kind: str) -> None:
    schema_of(kind).validate(json.loads((demo_bundle_path() / f"{kind}.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", sorted(OLD.glob("*.json")), ids=lambda path: path.stem)
def test_a_file_of_every_older_number_opens_and_follows_the_schema(path: Path) -> None:
    kind, number = path.stem.split("_")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["schema"] == int(number)
    schema_of(kind).validate(content)
    READ[kind](path)


def test_there_is_an_older_file_of_every_number() -> None:
    numbers = {"bundle": SCHEMAS, "calibrator": (1,), "invasion": INVASION_SCHEMAS, "result": RESULT_SCHEMAS}
    assert {path.stem for path in OLD.glob("*.json")} == {f"{kind}_{n}" for kind in KINDS for n in numbers[kind]}
    for kind in KINDS:
        assert not follows(kind, content_of(kind) | {"schema": numbers[kind][-1] + 1})


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_of_a_later_version_is_ignored(kind: str, tmp_path: Path) -> None:
    content = content_of(kind) | {"of_a_later_version": {"a": [1]}}
    assert follows(kind, content)
    assert opens(kind, content, tmp_path)


STATED: dict[str, Any] = {
    "schema": 2,
    "thresholds": [0.25, 0.5],
    "statements": "calibrated",
    "statements_note": "calibrated on 60 cases with 5 readers each",
    "calibration": {"cases": 60, "raters": 5, "family": "single", "interval_level": 0.95},
    "fraction_angles_deg": [0, 90, 180],
    "vessels": {
        "SMA": {
            "present": True,
            "statements": "calibrated",
            "angle_deg": [90.0, None],
            "contact_length_mm": [5.0, 0.0],
            "gap_mm": [0.5, None],
            "p_contact": 0.4,
            "p_contact_interval": [0.3, 0.5],
            "p_encased_interval": None,
            "expected_angle_deg_interval": [10.0, 20.0],
            "angle_median_deg": 90.0,
            "fraction_over": [0.4, 0.2, None],
            "score_level_contact": 0.7,
            "member_range": {"angle_deg": [0.0, 90.0], "level_contact": [0.3, 0.6], "members": 3},
            "category_probability": {"none": 0.5, "abutment": None},
        }
    },
    "resectability": {"statements": "calibrated", "pattern": "no contact", "probability": {"none": 0.5, "other": None}},
}
RESULT: dict[str, Any] = {
    "schema": 1,
    "bundle": {"name": "b", "version": "1", "sha256": "0" * 64, "raters": 5},
    "labels": {"tumor": 1},
    "vessel_values": {"SMA": 4},
    "device": "cpu",
    "threshold": 0.5,
    "calibrator": {"target": "mhr"},
    "input": {
        **{"case": "A 1", "name": "ct.nii.gz", "series_description": "portal", "series_number": 3, "sha256": "a" * 64},
        **{"study_date": "2026-01-31", "created": "2026-01-31T12:00:00Z"},
    },
    "volume_ml": {},
    "suitability": {"outside": [], "contrast": {}},
    "statements": {"source": "map", "note": "n", "any_tumour": 0.9, "volume_ml": {"p10": None, "p90": 3.0}},
    "lesions": [{"p_found": 0.5}, {}],
    "rater_maps": [{"id": "A", "file": "raters/A.nii.gz", "volume_ml": 3.5}],
    "samples": {"file": "samples.nii.gz", "count": 2, "volumes_ml": [3.0, 0]},
}


@lru_cache
def demo_file(kind: str) -> dict[str, Any]:
    """Return a file of the demo bundle, without most of the resamples."""
    content: dict[str, Any] = json.loads((demo_bundle_path() / f"{kind}.json").read_text(encoding="utf-8"))
    if kind == "calibrator":
        content["band"]["curves"] = content["band"]["curves"][:2]
        content["statements"]["resampled"] = content["statements"]["resampled"][:1]
    return content


def content_of(kind: str) -> dict[str, Any]:
    """Return a file with all that the schema knows."""
    if kind == "bundle_2":
        found: dict[str, Any] = json.loads((OLD / "bundle_2.json").read_text(encoding="utf-8"))
        return found
    if kind in ("bundle", "calibrator"):
        return copy.deepcopy(demo_file(kind))
    return copy.deepcopy(STATED if kind == "invasion" else RESULT)


ABSENT = object()
NO_TEXT, NO_SHARE = (5, "two\nlines", "\x1b[31m"), (-0.1, 1.1, "0.5", True, [])
NO_NAMES = ("tumor", [], ["a", "a"], [1], [""], ["x" * 201], ["n"] * 65)
NO_PAIR = ([0.5], [0.1, 0.2, 0.3], 0.5, ["0", "1"], [True, True])
DAMAGE: dict[str, dict[str, tuple[object, ...]]] = {
    "bundle": {
        "schema": (ABSENT, 0, 2, "1", True, None),
        "name": (ABSENT, "", " ", "x" * 201, *NO_TEXT),
        "description": (ABSENT, None, "x" * 20_001),
        "demo": (ABSENT, 1, "true", None),
        "tumor_labels": (ABSENT, *NO_NAMES),
        "vessel_labels": (ABSENT, [], {"SMA": 1}, {"": "sma"}, {"SMA": ""}, {"SMA": "a\nb"}),
        "roi_margin_mm": (ABSENT, -1, 201, "20", True, None),
        "roi_component_fraction": (None, *NO_SHARE),
        "roi_probability": NO_SHARE,
        "contact_mm": (0.4, 5.1, "2", True),
        "pooling": (ABSENT, "median", None),
        "raters": (0, 1001, "5", True, 2.5),
        "configuration": (
            ABSENT,
            {},
            {"coarse": "a"},
            {"coarse": "a", "fine": ""},
            {"coarse": "a", "fine": "b", "c": "d"},
        ),
        "fine": (ABSENT, {}, []),
        "fine.folds": (ABSENT, [], ["0", "0"], [0], ["1234"], ["../0"], [str(n) for n in range(33)]),
        "coarse.trainer": (5, "a\nb", "x" * 201),
        "files": (
            ABSENT,
            [],
            {"../x": "0" * 64},
            {"/x": "0" * 64},
            {"bundle.json": "0" * 64},
            {"x": "0"},
            {"x": "G" * 64},
        ),
        "inputs": ([], {}, {"cases": 0, "ranges": {}}, {"cases": 1, "ranges": {"shoe": [1, 2]}}),
        "inputs.ranges.voxel_mm": NO_PAIR,
        "fingerprint": ([], {"medium": {}}, {"fine": {}}, {"fine": 5}),
        "fingerprint.fine.cases": (0, "40", True, 1.5),
        "fingerprint.fine.intensities_hu.std": (ABSENT, "90", None, True),
        "networks_sha256": ("0", "G" * 64, 5),
    },
    "calibrator": {
        "schema": (ABSENT, 0, 2, "1", True, None),
        "target": (ABSENT, "majority", ["mhr"], None),
        "rater": (ABSENT, 0, [], "a\nb", True),
        "bins": (ABSENT, 0, 10**19, 1.5, "250", True),
        "knots": (ABSENT, [], {}),
        "knots.score": (ABSENT, "0.5", [-0.1], [1.1], ["0.5"], [None], [0.5] * 10_001),
        "bin_counts": (ABSENT, [0], [0.5], ["1"], [True]),
        "domain": (ABSENT, None, "x" * 2001, *NO_TEXT),
        "versions": (ABSENT, [], {"numpy": 2}, {"a\nb": "1"}),
        "manifest_sha256": (ABSENT, 5),
        "warnings": (ABSENT, "none", [5], ["a\nb"], ["w"] * 101),
        "weighting": (5, "tumour"),
        "tumour_voxels": ("5", True, 1e301),
        "band": ([], {}),
        "band.level": (ABSENT, None, "0.95"),
        "band.curve_steps": (ABSENT, 10),
        "band.curves": (ABSENT, [5], [[0.5]], [[-1]], [[2_000_000]]),
        "selection": ([], {}, {"bins": "many"}),
        "rater_names": ("12345", [5], ["a\nb"]),
        "statements": ([], {}),
        "statements.networks_sha256": (ABSENT, "0", 5),
        "statements.vessel_source": (ABSENT, "heaven", None),
        "statements.contact_mm": (ABSENT, 0, 100, "2", True),
        "statements.angles_deg": (ABSENT, [0, 180], 0),
        "statements.cases": (ABSENT, 0, True, 1.5),
        "statements.family": (ABSENT, "oracle", None),
        "statements.fitted": (ABSENT, [], {}),
        "statements.fitted.far": (ABSENT, [0.1, 0.2], [0.1, 0.2, 3]),
        "statements.fitted.others": (ABSENT, [], {"any_tumour": [1]}, {"any_tumour": [1, 101]}),
        "statements.interval_level": (ABSENT, 0, 1, "0.95"),
        "statements.resampled": (ABSENT, {}, [{}]),
        "statements.compared": (ABSENT, [], {"single": [1]}, {"single": [1, 1e7]}),
    },
    "invasion": {
        "schema": (0, 3, "2", None, [1], True),
        "thresholds": (ABSENT, None, 0.5, ["0.5"], [None]),
        "vessels": (ABSENT, None, [], {"SMA": []}),
        "vessels.SMA.angle_deg": (90.0, ["90"], [True], [1e12]),
        "vessels.SMA.gap_mm": (1.2, [[1.2]]),
        "vessels.SMA.statements": ("guessed", 5),
        "vessels.SMA.p_contact": NO_SHARE,
        "vessels.SMA.angle_median_deg": (-1, 361, "90", True),
        "vessels.SMA.p_contact_interval": (*NO_PAIR, [0.5, 1.5]),
        "vessels.SMA.expected_angle_deg_interval": (*NO_PAIR, [0.0, 400.0]),
        "vessels.SMA.fraction_over": (0.4, [0.4, 0.2, 2.0], ["0.4", 0.2, 0.1]),
        "vessels.SMA.member_range": ([], {"angle_deg": 5}, {"level_contact": [0.5]}, {"members": "3"}),
        "vessels.SMA.category_probability": ([], {"none": 3}, {"a\nb": 0.5}),
        "statements": ("guessed", True),
        "statements_note": NO_TEXT,
        "calibration": ([], {"cases": -1}, {"raters": 2.5}, {"interval_level": 95}),
        "fraction_angles_deg": (0, [0, 90, 400], ["0", 90, 180]),
        "resectability": ([], {"statements": "no"}, {"probability": {"none": 1.5}}, {"pattern": 5}),
    },
    "result": {
        "schema": (0, 2, "1", None, True),
        "bundle": (ABSENT, None, [], {}),
        "bundle.name": (ABSENT, None, *NO_TEXT),
        "bundle.raters": (0, "5", True, 2.5),
        "labels": (ABSENT, None, [], {"tumor": 0}, {"tumor": "1"}, {"tumor": True}, {"a\nb": 1}),
        "vessel_values": ([], {"SMA": 0}),
        "device": (ABSENT, None, *NO_TEXT),
        "threshold": (ABSENT, None, 0, 1.1, "0.5", True),
        "calibrator": (ABSENT, [], {}, {"target": "majority"}),
        "input": ([], 5),
        "input.case": ("", "x" * 65, *NO_TEXT),
        "input.series_number": ("3", 2.5, True),
        "input.study_date": ("31.1.2026", 20260131),
        "input.sha256": ("0", "G" * 64),
        "input.created": ("2026-01-31", 5),
        "volume_ml": ([], 5),
        "suitability": ([], {"outside": {}}, {"contrast": []}),
        "statements": ([], {"source": "x"}, {"any_tumour": 2}, {"note": 1}, {"volume_ml": {"p10": -3}}),
        "lesions": ({}, [5], [{"p_found": -1}]),
        "rater_maps": ({}, ["A"], [{}]),
        "rater_maps.0.id": (ABSENT, 5, "", "x" * 17, "Dr. A", "../A"),
        "rater_maps.0.file": (ABSENT, 5, "raters/../x.nii.gz", "/raters/A.nii.gz", "A.nii.gz"),
        "rater_maps.0.volume_ml": (ABSENT, None, "3", -1, True),
        "samples": ([], 16, {}),
        "samples.file": (ABSENT, 5, "../samples.nii.gz", "raters/A.nii.gz"),
        "samples.count": (ABSENT, 0, -1, 17, "2", True, 1.5),
        "samples.volumes_ml": (ABSENT, None, [], {}, [1.0] * 17, [1.0, "2"], [1.0, -1]),
    },
}


NO_COUNT = (-1, 1.5, "3", True)
DAMAGE_OF_RATERS: dict[str, tuple[object, ...]] = {
    "tumor_weights": (ABSENT, None, [], {}, "tumor", {"": 1}, {"a\nb": 1}, {f"n{n}": 1 for n in range(65)}),
    "tumor_weights.tumor": (0, -0.5, 1.01, "1", True, None, []),
    "rater_members": ([], {}, "A", [5], [{}], [{"id": "A"}] * 2, [{"id": "A", "members": ["0"], "label": "tumor"}]),
    "rater_members.0.id": (ABSENT, "", "x" * 17, "Dr. A", "Ä", 5, None),
    "rater_members.0.members": (ABSENT, [], ["0", "0"], [0], "0", ["../0"]),
    "training": ([], {}, 5),
    "training.strategy": (ABSENT, "", 5, "a\nb", None),
    "training.raters": (ABSENT, [], "A", ["A", "A"], ["A B"], [5]),
    "training.cases": (ABSENT, 12, {"trained": 12}, {"train": -1}, {"train": "12"}),
    "training.cases_by_rater": ([], {"A B": 3}, {"A": "3"}, {"A": -3}),
    "training.loss": (5, "", "a\nb", "x" * 201),
    "training.ordinal_weight": ("1", True, 1e13),
    "training.iterations": NO_COUNT,
    "training.epochs": NO_COUNT,
    "training.seeds": (3, ["3"], [-3], [2**63], [1.5], [1] * 257),
    "training.losses": ([], {"0": "1"}, {"": 1}, {"0": None}),
    "training.metrics": ([], {"Dice": "1"}, {"": 1}, {"a\nb": 1}, {f"m{n}": 1 for n in range(257)}),
    "training.manifest_sha256": ("0", "G" * 64, 5),
    "training.versions": ([], {"torch": 2}, {"torch": "a\nb"}),
}
"""Of a bundle of schema 2."""


def cases() -> list[tuple[str, str, object]]:
    of_kinds = [(kind, where) for kind, places in DAMAGE.items() for where in places.items()]
    of_kinds += [("bundle_2", where) for where in DAMAGE_OF_RATERS.items()]
    return [(kind, place, value) for kind, (place, values) in of_kinds for value in values]


def changed(kind: str, place: str, value: object) -> dict[str, Any]:
    content = content_of(kind)
    *way, last = place.split(".")
    holder = content
    for key in way:
        holder = holder[int(key) if isinstance(holder, list) else key]
    if value is ABSENT:
        del holder[last]
    else:
        holder[last] = value
    return content


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_file_is_read_and_follows_its_schema(kind: str, tmp_path: Path) -> None:
    schema_of(kind).validate(content_of(kind))
    assert opens(kind, content_of(kind), tmp_path)


@pytest.mark.parametrize(
    ("kind", "place", "value"), cases(), ids=lambda value: "absent" if value is ABSENT else str(value)[:30]
)
def test_what_is_damaged_is_refused_by_the_schema_and_by_the_program(
    kind: str, place: str, value: object, tmp_path: Path
) -> None:
    content = changed(kind, place, value)
    kind = kind.removesuffix("_2")
    assert not follows(kind, content)
    assert not opens(kind, content, tmp_path)


RATER_CARD = [f"training.{name}" for name in TRAINING_ENTRIES if name not in ("strategy", "raters", "cases")]
OPTIONAL = [
    *[("bundle", place) for place in ("roi_component_fraction", "roi_probability", "contact_mm", "raters", "inputs")],
    *[("bundle", place) for place in ("fingerprint", "networks_sha256", "coarse.trainer", "fine.checkpoint")],
    *[("bundle_2", place) for place in ("rater_members", "training", *RATER_CARD)],
    *[("calibrator", place) for place in ("weighting", "tumour_voxels", "band", "selection", "rater_names")],
    *[("calibrator", place) for place in ("statements", "band.widening")],
    *[("invasion", place) for place in (*STATED, *(f"vessels.SMA.{name}" for name in STATED["vessels"]["SMA"]))],
    *[("result", place) for place in (*RESULT, *(f"input.{name}" for name in RESULT["input"]), "bundle.raters")],
]
NEEDED = {"thresholds", "vessels", "bundle", "labels", "device", "threshold", "calibrator"}
NEEDED |= {"fraction_angles_deg"}  # where there are fractions over them


@pytest.mark.parametrize(("kind", "place"), [pair for pair in OPTIONAL if pair[1] not in NEEDED])
def test_what_is_optional_may_be_missing(kind: str, place: str, tmp_path: Path) -> None:
    content = changed(kind, place, None)
    *way, last = place.split(".")
    holder = content
    for key in way:
        holder = holder[key]
    del holder[last]
    kind = kind.removesuffix("_2")
    assert follows(kind, content)
    assert opens(kind, content, tmp_path)
