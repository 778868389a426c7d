"""The list of public models is complete, and its recipes make bundles from folders laid out as they are published."""

from __future__ import annotations

import json
import re
import shlex
from importlib import resources
from pathlib import Path

import pytest

from published_model import publish
from twintrack.bundle.model_bundle import Bundle
from twintrack.cli.app import run_command
from twintrack.models.archives import content_sha256
from twintrack.models.known import METADATA, KnownModel, UnusableModel, find_known_model, known_models, unusable_models
from twintrack.models.licence import legal_text
from twintrack.studies.make_bundle.create import check_bundle


@pytest.mark.parametrize("model", known_models(), ids=lambda model: model.name)
def test_every_entry_says_where_what_under_which_licence_and_how(model: KnownModel) -> None:
    for text in (model.name, model.title, model.publisher, model.summary, model.place):
        assert text.strip()
    assert set(model.license) == {"code", "name", "weights"}
    assert model.download
    assert model.sources
    for address in [
        *model.published,
        *(part.url for part in model.download),
        *(source["url"] for source in model.sources),
    ]:
        assert re.fullmatch(r"https://\S+", address)
    for stage in (model.coarse, model.fine):
        assert stage.folds
        assert stage.labels
        assert stage.checkpoint.endswith(".pth")
        assert not Path(stage.folder).is_absolute()
    assert set(model.card["tumor_labels"]) <= set(model.fine.labels)
    assert set(model.card["organ_labels"]) <= set(model.coarse.labels)
    assert set(model.card["vessel_labels"].values()) <= set(model.fine.labels)
    assert {archive.stage for archive in model.download} == {"coarse", "fine"}
    assert legal_text(model)


@pytest.mark.parametrize("model", known_models(), ids=lambda model: model.name)
def test_what_is_fetched_first_has_a_hash_and_every_hash_says_who_says_so(model: KnownModel) -> None:
    for archive in model.download:
        assert archive.url.endswith(f"/{archive.file}?download=1")
        assert bool(archive.md5) == bool(archive.md5_source)
        for pin in archive.members.values():
            assert pin.source
            assert re.fullmatch(r"[0-9a-f]{64}", str(pin.sha256 or pin.json_sha256))
        for name in METADATA:
            assert archive.members[name].json_sha256
        for fold in model.first_folds:
            pin = model.pin(archive, fold)
            assert pin
            assert pin.sha256
            assert pin.bytes
            assert pin.packed_bytes
            assert pin.bytes > pin.packed_bytes


@pytest.mark.parametrize("model", unusable_models(), ids=lambda model: model.name)
def test_what_cannot_be_had_says_why(model: UnusableModel, capsys: pytest.CaptureFixture[str]) -> None:
    assert model.reasons
    assert model.sources
    assert model.unconfirmed
    assert run_command(["model", "list", model.name]) == 0
    assert "Why no bundle can be made of it" in capsys.readouterr().out
    assert run_command(["model", "get", model.name]) == 2
    assert f"twintrack model list {model.name}" in capsys.readouterr().err


def test_one_fold_of_each_stage_is_a_fifth_of_it_all() -> None:
    model = find_known_model("panorama-baseline")
    assert model.first_folds == ("4",)
    assert model.size(model.first_folds, packed=True) == 122_696_071 + 228_900_174
    assert model.size(model.folds, packed=True) == 5 * model.size(model.first_folds, packed=True)


def test_hashes_of_plans_and_labels_are_those_of_the_files_in_the_public_repository(test_data: Path) -> None:
    for archive in find_known_model("panorama-baseline").download:
        for name in METADATA:
            path = test_data / "reference/panorama_plans" / archive.stage / name
            assert content_sha256(path) == archive.members[name].json_sha256


def test_the_list_has_the_schema_it_says() -> None:
    document = json.loads((resources.files("twintrack") / "data" / "known_models.json").read_text(encoding="utf-8"))
    assert document["schema"] == 2
    names = [entry["name"] for entry in [*document["models"], *document["not_importable"]]]
    assert len(set(names)) == len(names) > 0


def test_the_printed_command_is_the_one_that_is_run() -> None:
    for model in known_models():
        assert shlex.split(model.command()) == ["twintrack", *model.arguments]
        assert shlex.split(model.command(" \\\n    ").replace("\\\n", "")) == ["twintrack", *model.arguments]


def test_the_list_and_a_model_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["model", "list"]) == 0
    printed = capsys.readouterr().out
    assert "panorama-baseline" in printed
    assert "demo" in printed
    assert run_command(["model", "list", "panorama-baseline"]) == 0
    printed = capsys.readouterr().out
    for words in (
        "zenodo.org/records/11160381",
        "checkpoint_best_panorama.pth",
        "Licence",
        "PDAC lesion",
        "11 patients",
    ):
        assert words in " ".join(printed.split())
    assert run_command(["model", "list", "--verbose"]) == 0
    assert all(model.name in capsys.readouterr().out for model in known_models())
    assert run_command(["model", "list", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["known"][0]["command"].startswith("twintrack bundle create --coarse")
    assert shown["not_importable"]
    assert run_command(["model", "list", "panorama-baseline", "--licence"]) == 0
    assert "Attribution-NonCommercial 4.0 International" in capsys.readouterr().out
    assert run_command(["model", "list", "gone"]) == 2
    assert "panorama-baseline" in capsys.readouterr().err


def test_the_text_for_it_names_addresses_sizes_hashes_and_both_ways(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["model", "get", "panorama-baseline", "--for-it"]) == 0
    printed = capsys.readouterr().out
    model = find_known_model("panorama-baseline")
    for archive in model.download:
        pin = model.pin(archive, "4")
        assert pin
        for words in (archive.url, f"{pin.bytes:,}", pin.sha256):
            assert words in printed
    for words in ("HTTPS_PROXY", "--ca-file", "352 MB", "model get panorama-baseline", "model add Dataset103"):
        assert words in " ".join(printed.split())
    assert run_command(["model", "get", "panorama-baseline", "--for-it", "--folds", "0"]) == 0
    assert "size and hash not known" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Detected old nnU-Net plans format")
def test_the_panorama_recipe_makes_a_bundle_that_verifies(
    test_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = find_known_model("panorama-baseline")
    for name, stage in (("coarse", model.coarse), ("fine", model.fine)):
        reference = test_data / "reference/panorama_plans" / name
        publish(stage, reference, tmp_path)
        labels = json.loads((reference / "dataset.json").read_text())["labels"]
        assert set(stage.labels) == set(labels) - {"background"}
    monkeypatch.chdir(tmp_path)
    assert run_command(shlex.split(model.command())[1:]) == 0
    assert run_command(["bundle", "verify", "panorama-baseline"]) == 0
    assert "intact, 14 files" in capsys.readouterr().out
    bundle = Bundle.open("panorama-baseline")
    check_bundle(bundle)
    assert bundle.folds == {"coarse": ("0", "1", "2", "3", "4"), "fine": ("0", "1", "2", "3", "4")}
    assert bundle.origins["fine"]["trainer"] == "nnUNetTrainer_Loss_CE_checkpoints"
    assert bundle.describe()["stages"]["fine"]["patch_size"] == [48, 128, 288]
