"""The list of public models is complete, and its recipes make bundles from folders laid out as they are published."""

from __future__ import annotations

import json
import re
import shlex
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch

from twintrack.bundle.model_bundle import Bundle
from twintrack.cli.app import run_command
from twintrack.studies.make_bundle.create import check_bundle
from twintrack.studies.make_bundle.public_models import KnownModel, find_known_model, known_models


@pytest.mark.parametrize("model", known_models(), ids=lambda model: model.name)
def test_every_entry_says_where_what_under_which_licence_and_how(model: KnownModel) -> None:
    for text in (model.name, model.title, model.publisher, model.summary, model.place):
        assert text.strip()
    assert set(model.license) == {"code", "weights"}
    assert model.download
    assert model.sources
    for address in [*model.published, *(part["url"] for part in (*model.download, *model.sources))]:
        assert re.fullmatch(r"https://\S+", address)
    for stage in (model.coarse, model.fine):
        assert stage.folds
        assert stage.labels
        assert stage.checkpoint.endswith(".pth")
        assert not Path(stage.folder).is_absolute()
    chosen = dict(model.options)
    assert chosen["--tumor-labels"] in model.fine.labels
    assert chosen["--organ-labels"] in model.coarse.labels


def test_the_list_has_the_schema_it_says() -> None:
    document = json.loads((resources.files("twintrack") / "data" / "known_models.json").read_text(encoding="utf-8"))
    assert document["schema"] == 1
    names = [entry["name"] for entry in document["models"]]
    assert len(set(names)) == len(names) > 0


def test_the_printed_command_is_the_one_that_is_run() -> None:
    for model in known_models():
        assert shlex.split(model.command()) == ["twintrack", *model.arguments]
        assert shlex.split(model.command(" \\\n    ").replace("\\\n", "")) == ["twintrack", *model.arguments]


def test_the_list_and_a_recipe_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["bundle", "known"]) == 0
    assert "panorama-baseline" in capsys.readouterr().out
    assert run_command(["bundle", "known", "panorama-baseline"]) == 0
    printed = capsys.readouterr().out
    for words in ("zenodo.org/records/11160381", "checkpoint_best_panorama.pth", "Licence", "PDAC lesion"):
        assert words in printed
    assert run_command(["bundle", "known", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["models"]
    assert shown[0]["command"].startswith("twintrack bundle create --coarse")
    assert run_command(["bundle", "known", "gone"]) == 2
    assert "no known model; the list holds panorama-baseline" in capsys.readouterr().err


def with_small_network(plans: dict[str, Any]) -> dict[str, Any]:
    """The real plans with a twentieth of the features: everything that is parsed stays, the weights get small."""
    configuration = plans["configurations"]["3d_fullres"]
    if "architecture" in configuration:
        network = configuration["architecture"]["arch_kwargs"]
        network["features_per_stage"] = [2 for _ in network["features_per_stage"]]
    else:
        configuration |= {"UNet_base_num_features": 2, "unet_max_num_features": 2}
    return plans


def publish(stage: Any, reference: Path, home: Path) -> None:
    """Lay out one model as it is published, with random weights."""
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    folder = home / stage.folder
    folder.mkdir(parents=True)
    plans = with_small_network(json.loads((reference / "plans.json").read_text()))
    dataset = json.loads((reference / "dataset.json").read_text())
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    configuration = PlansManager(json.loads(json.dumps(plans))).get_configuration("3d_fullres")
    for fold in stage.folds:
        network = get_network_from_plans(
            configuration.network_arch_class_name,
            configuration.network_arch_init_kwargs,
            configuration.network_arch_init_kwargs_req_import,
            1,
            len(dataset["labels"]),
            deep_supervision=True,
        )
        path = folder / f"fold_{fold}" / stage.checkpoint
        path.parent.mkdir()
        arguments = {"plans": plans, "configuration": "3d_fullres", "fold": int(fold), "dataset_json": dataset}
        content = {"network_weights": network.state_dict(), "init_args": arguments}
        trainer = Path(stage.folder).name.partition("__")[0]
        torch.save(content | {"trainer_name": trainer, "inference_allowed_mirroring_axes": (0, 1, 2)}, path)


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
