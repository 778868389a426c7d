"""What a bundle says of raters fits its networks and labels; a bundle that says nothing of them stays what it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from expected_errors import raises_error
from twintrack.bundle.describe import bundle_text
from twintrack.bundle.model_bundle import Bundle, demo_bundle_path
from twintrack.bundle.rater_entries import TRAINING_ENTRIES, RaterMember, check_rater_members, read_rater_members
from twintrack.errors import BundleError

MakeBundle = Callable[..., Path]

CARD: dict[str, Any] = {
    "strategy": "rater-specific",
    "raters": ["A", "B"],
    "cases": {"train": 12, "calibration": 6},
    "ordinal_weight": 0.5,
    "seeds": (0, 1, 2),
    "metrics": {"Dice": 0.8, "GED": None},
}
BY_MEMBER = [{"id": "A", "members": ["0", "2"]}, {"id": "B", "members": ["1"]}]
FOUR = {"background": 0, "reader_A": [1, 3], "reader_B": [2, 3], "gland": [1, 2, 3]}


def document(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    return content


@pytest.fixture
def copied(bundle_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle_folder, tmp_path / "copied"))


def rewritten(folder: Path, **changes: Any) -> Path:
    """Write the document with these entries, as schema 2."""
    content = document(folder)
    content.pop("tumor_labels", None)
    content |= {"schema": 2, "tumor_weights": {"tumor": 1.0}, **changes}
    (folder / "bundle.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_a_bundle_that_says_nothing_of_raters_is_written_as_schema_1(bundle_folder: Path) -> None:
    content = document(bundle_folder)
    assert (content["schema"], content["tumor_labels"]) == (1, ["tumor"])
    assert not {"tumor_weights", "rater_members", "training"} & set(content)
    with Bundle.open(bundle_folder) as bundle:
        assert (bundle.tumor_weights, bundle.rater_members, bundle.training) == ({"tumor": 1.0}, (), None)
        assert bundle.tumor_labels == ("tumor",)


def test_a_card_of_the_training_needs_no_later_schema(make_bundle: MakeBundle, tmp_path: Path) -> None:
    folder = make_bundle(training=CARD, out=tmp_path / "b")
    assert document(folder)["schema"] == 1
    with Bundle.open(folder) as bundle:
        assert bundle.training == CARD | {"seeds": [0, 1, 2]}
        told = bundle_text(bundle.describe())
    assert "rater-specific" in told
    assert "GED unknown" in told


def test_the_demo_bundle_keeps_the_hash_of_its_networks() -> None:
    with Bundle.open(demo_bundle_path()) as bundle:
        assert document(demo_bundle_path())["schema"] == 1
        assert bundle.networks_sha256 == document(demo_bundle_path())["networks_sha256"]


def test_weights_and_raters_are_kept(make_bundle: MakeBundle, tmp_path: Path) -> None:
    weights = {"tumor": 1.0, "pancreas": 0.25}
    folder = make_bundle(tumor_weights=weights, rater_members=BY_MEMBER, training=CARD, out=tmp_path / "b")
    assert document(folder)["schema"] == 2
    assert "tumor_labels" not in document(folder)
    with Bundle.open(folder) as bundle:
        assert bundle.tumor_weights == weights
        assert bundle.rater_members == (RaterMember("A", ("0", "2")), RaterMember("B", ("1",)))
        assert bundle.raters_have_members
        assert bundle.raters is None
        about = json.loads(json.dumps(bundle.describe()))
        assert bundle.networks_sha256 == document(folder)["networks_sha256"]
    assert about["rater_members"] == BY_MEMBER
    assert "A: folds 0, 2; B: folds 1" in bundle_text(about)
    assert "tumor + 0.25 pancreas" in bundle_text(about)


def test_each_rater_counts_the_same_however_many_networks_it_has(copied: Path) -> None:
    with Bundle.open(rewritten(copied, rater_members=BY_MEMBER)) as bundle:
        assert bundle.member_weights == (0.75, 1.5, 0.75)
    with Bundle.open(rewritten(copied, rater_members=[{"id": n, "members": [n]} for n in "012"])) as bundle:
        assert bundle.member_weights == (1.0, 1.0, 1.0)


def test_the_networks_hash_knows_who_belongs_together_and_not_who_it_is(copied: Path) -> None:
    def hash_of(**changes: Any) -> str:
        with Bundle.open(rewritten(copied, **changes)) as bundle:
            return bundle.networks_sha256

    with Bundle.open(copied) as bundle:
        plain = bundle.networks_sha256
    assert hash_of() == plain
    assert hash_of(tumor_weights={"tumor": 0.5}) != plain
    grouped = hash_of(rater_members=BY_MEMBER)
    assert grouped != plain
    assert hash_of(rater_members=[{"id": "X", "members": ["1"]}, {"id": "Y", "members": ["2", "0"]}]) == grouped
    assert hash_of(rater_members=[{"id": "A", "members": ["0"]}, {"id": "B", "members": ["1", "2"]}]) != grouped


@pytest.mark.parametrize(
    ("entries", "names"),
    [
        ([{"id": "A", "members": ["0", "1", "7"]}, {"id": "B", "members": ["2"]}], ("'7'", "0, 1, 2")),
        ([{"id": "A", "members": ["0", "1"]}], ("'2'",)),
        ([{"id": "A", "members": ["0", "1"]}, {"id": "B", "members": ["1", "2"]}], ("'1'",)),
        ([{"id": "A", "members": ["0", "1"]}, {"id": "A", "members": ["2"]}], ("'A'",)),
        ([{"id": "A", "members": ["0", "1", "2"]}, {"id": "B", "label": "tumor"}], ("'members'", "'label'")),
        ([{"id": "A", "label": "pancreas"}], ("'pancreas'", "tumor")),
        ([{"id": "A", "label": "tumor"}, {"id": "B", "label": "tumor"}], ("'tumor'",)),
        ([{"id": "A", "label": "tumor"}], ()),  # its labels exclude each other
    ],
)
def test_raters_that_do_not_fit_the_networks_are_refused(
    copied: Path, entries: list[dict[str, Any]], names: tuple[str, ...]
) -> None:
    with raises_error(BundleError, "rater-members", *names):
        Bundle.open(rewritten(copied, rater_members=entries))


def test_a_document_of_schema_1_means_what_it_always_meant(copied: Path) -> None:
    content = document(copied) | {"rater_members": [{"id": "A", "members": ["9"]}], "tumor_weights": {"tumor": 0.5}}
    (copied / "bundle.json").write_text(json.dumps(content), encoding="utf-8")
    with Bundle.open(copied) as bundle:
        assert (bundle.tumor_weights, bundle.rater_members) == ({"tumor": 1.0}, ())


def test_entries_of_a_later_version_are_dropped_from_the_card(copied: Path) -> None:
    with Bundle.open(rewritten(copied, training=CARD | {"seeds": [1], "of_a_later_version": {"a": []}})) as bundle:
        assert bundle.training is not None
        assert set(bundle.training) == set(CARD) < set(TRAINING_ENTRIES)


def test_a_wrong_card_is_refused_before_anything_is_copied(make_bundle: MakeBundle, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for card, code, names in (
        ({"tumor_weights": {}}, "bundle-entry", ("'tumor_weights'",)),
        ({"tumor_weights": {"tumor": 1.5}}, "bundle-entry", ("'tumor_weights'",)),
        ({"tumor_weights": {"tumor": float("nan")}}, "bundle-entry", ("'tumor_weights'",)),
        ({"rater_members": BY_MEMBER[:1]}, "rater-members", ("'1'",)),
        ({"rater_members": [{"id": "Dr. A", "members": ["0"]}]}, "bundle-entry", ("'Dr. A'",)),
        ({"training": {"strategy": "soft"}}, "bundle-entry", ("'raters'",)),
        ({"training": CARD | {"ordinal_weight": float("inf")}}, "bundle-entry", ("'ordinal_weight'",)),
        ({"training": CARD | {"lambda": 1}}, "bundle-entry", ("'lambda'",)),
    ):
        with raises_error(BundleError, code, *names):
            make_bundle(coarse=tmp_path / "not looked at", out=home / "b", **card)
    assert list(home.iterdir()) == []


def test_regions_of_raters_may_overlap_up_to_one(
    make_bundle: MakeBundle, make_results: Callable[..., Path], tmp_path: Path
) -> None:
    fine = make_results(FOUR, seed=40)
    raters = [{"id": "A", "label": "reader_A"}, {"id": "B", "label": "reader_B"}]
    values: dict[str, Any] = {"fine": fine, "folds": ("0",), "vessel_labels": {}, "rater_members": raters}
    with Bundle.open(make_bundle(**values, tumor_weights={"reader_A": 0.5, "reader_B": 0.5}, out=tmp_path / "b")) as b:
        assert [rater.label for rater in b.rater_members] == ["reader_A", "reader_B"]
        assert not b.raters_have_members
        assert b.member_weights == (1.0,)
    with raises_error(BundleError, "regions-overlap", "1.1"):
        make_bundle(**values, tumor_weights={"reader_A": 0.5, "reader_B": 0.6}, out=tmp_path / "c")


def test_one_output_has_one_weight(make_bundle: MakeBundle, make_results: Callable[..., Path], tmp_path: Path) -> None:
    fine = make_results({"background": 0, "tumor": 1, "lesion": 1}, seed=41)
    values: dict[str, Any] = {"fine": fine, "folds": ("0",), "vessel_labels": {}}
    with raises_error(BundleError, "label-repeated"):
        make_bundle(**values, tumor_weights={"tumor": 0.5, "lesion": 0.5}, out=tmp_path / "b")


def test_all_raters_by_label_need_no_members() -> None:
    raters = read_rater_members([{"id": "A", "label": "a"}, {"id": "B", "label": "b"}], "b.json")
    check_rater_members(raters, folds=("0", "1"), weights={"a": 0.5, "b": 0.5}, where="b.json")
    assert [rater.to_json() for rater in raters] == [{"id": "A", "label": "a"}, {"id": "B", "label": "b"}]
