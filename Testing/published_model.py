"""A public model as it is published: real plans and folder layout, small networks with random weights, in zip files."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from twintrack.models.known import KnownModel, KnownStage


def with_small_network(plans: dict[str, Any]) -> dict[str, Any]:
    """The real plans with few features: everything that is parsed stays, the weights get small."""
    configuration = plans["configurations"]["3d_fullres"]
    if "architecture" in configuration:
        network = configuration["architecture"]["arch_kwargs"]
        network["features_per_stage"] = [8 for _ in network["features_per_stage"]]
    else:
        configuration |= {"UNet_base_num_features": 8, "unet_max_num_features": 8}
    return plans


def publish(stage: KnownStage, reference: Path, home: Path, folds: Sequence[str] | None = None, seed: int = 0) -> None:
    """Lay out one model as it is published, with random weights."""
    torch.manual_seed(seed)
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    folder = home / stage.folder
    folder.mkdir(parents=True)
    plans = with_small_network(json.loads((reference / "plans.json").read_text()))
    dataset = json.loads((reference / "dataset.json").read_text())
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    configuration = PlansManager(json.loads(json.dumps(plans))).get_configuration("3d_fullres")
    for fold in stage.folds if folds is None else folds:
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


@dataclass(frozen=True)
class Published:
    """A model's archives, and the list that knows them.

    Attributes
    ----------
    home : Path
        Folder with the results folders.
    zips : dict
        Archive by file name.
    document : dict
        The list of known models, with hashes and sizes of these files where the real one has some.
    """

    home: Path
    zips: dict[str, Path]
    document: dict[str, Any]


def publish_model(
    model: KnownModel, document: dict[str, Any], reference: Path, home: Path, folds: Sequence[str], seed: int = 0
) -> Published:
    """Publish both stages, with the hashes of `document` replaced by those of what is published."""
    document = json.loads(json.dumps(document))
    (entry,) = document["models"]
    zips = {}
    for archive in entry["download"]:
        stage = model.stage(archive["stage"])
        publish(stage, reference / archive["stage"], home, folds, seed)
        zips[archive["file"]] = zip_folder(home, stage.folder, home / archive["file"])
        archive["md5"] = archive.get("md5") and hashlib.md5(zips[archive["file"]].read_bytes()).hexdigest()
        for name, pin in archive["members"].items():
            data = (home / stage.folder / name).read_bytes()
            if "json_sha256" in pin:
                text = json.dumps(json.loads(data), sort_keys=True, separators=(",", ":"))
                pin["json_sha256"] = hashlib.sha256(text.encode()).hexdigest()
            else:
                pin |= {"bytes": len(data), "packed_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return Published(home, zips, document)


def zip_folder(home: Path, folder: str, path: Path) -> Path:
    """Pack a results folder as its publisher did: deflated, with the folders around it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted((home / folder).rglob("*")):
            archive.write(file, file.relative_to(home).as_posix())
    return path
