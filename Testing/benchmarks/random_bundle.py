"""A bundle of any size with random weights: the right cost and memory of a model whose weights are not at hand.

The networks are those of real nnU-Net plans, started as nnU-Net starts a training. What they predict means nothing.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

__all__ = ["random_bundle", "random_results"]

TRAINER = "nnUNetTrainer_Random"
CONFIGURATION = "3d_fullres"


def random_results(plans_folder: Path, out: Path, *, folds: int, seed: int = 0, momentum: bool = False) -> Path:
    """Write a results folder as nnU-Net's training leaves it, with untrained networks.

    Parameters
    ----------
    plans_folder : pathlib.Path
        Folder with ``plans.json`` and ``dataset.json``.
    out : pathlib.Path
        Folder in which the results folder is made.
    folds : int
        Number of networks.
    seed : int
        Of the first network; the others count on from it.
    momentum : bool
        Keep an optimizer state too, for checkpoints as large as real ones.

    Returns
    -------
    pathlib.Path
        The results folder.
    """
    folder = out / f"{TRAINER}__nnUNetPlans__{CONFIGURATION}"
    folder.mkdir(parents=True)
    plans, dataset = (json.loads((plans_folder / f"{name}.json").read_text("utf-8")) for name in ("plans", "dataset"))
    for name in ("plans.json", "dataset.json"):
        shutil.copy(plans_folder / name, folder / name)
    for fold in range(folds):
        path = folder / f"fold_{fold}" / "checkpoint_final.pth"
        path.parent.mkdir()
        _save(path, plans, dataset, fold, seed + fold, momentum)
    return folder


def _save(path: Path, plans: dict[str, Any], dataset: dict[str, Any], fold: int, seed: int, momentum: bool) -> None:
    import torch

    torch.manual_seed(seed)
    network = _network(plans, dataset)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.99, nesterov=True)
    if momentum:
        sum(parameter.mean() for parameter in network.parameters()).backward()  # type: ignore[union-attr]
        optimizer.step()
    torch.save(
        {
            "network_weights": network.state_dict(),
            "optimizer_state": optimizer.state_dict(),
            "current_epoch": 0,
            "init_args": {"plans": plans, "configuration": CONFIGURATION, "fold": fold, "dataset_json": dataset},
            "trainer_name": TRAINER,
            "inference_allowed_mirroring_axes": (0, 1, 2),
        },
        path,
    )


def _network(plans: dict[str, Any], dataset: dict[str, Any]) -> Any:
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.label_handling.label_handling import LabelManager
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected old nnU-Net plans format")
        configuration = PlansManager(plans).get_configuration(CONFIGURATION)
    return get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        1,
        LabelManager(dataset["labels"], dataset.get("regions_class_order")).num_segmentation_heads,
        deep_supervision=True,
    )


def random_bundle(
    coarse_plans: str | Path,
    fine_plans: str | Path,
    out: str | Path,
    members: int = 3,
    seed: int = 0,
    *,
    momentum: bool = False,
    coarse_members: int = 1,
) -> Path:
    """Make a bundle with untrained networks of the sizes that two plans folders describe.

    Parameters
    ----------
    coarse_plans, fine_plans : path
        Folders with ``plans.json`` and ``dataset.json`` of the stages.
    out : path
        The bundle; must not exist yet.
    members : int
        Networks in the fine ensemble.
    seed : int
        The same seed gives the same weights.
    momentum : bool
        Start from checkpoints with an optimizer state, as large as real ones.
    coarse_members : int
        Networks of stage 1.

    Returns
    -------
    pathlib.Path
        `out`.
    """
    from twintrack.studies.make_bundle.create import BundleCard, StageSource, create_bundle

    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    fine_seed = seed + coarse_members
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".random-results-") as scratch:
        coarse = random_results(Path(coarse_plans), Path(scratch) / "coarse", folds=coarse_members, seed=seed)
        fine = random_results(
            Path(fine_plans), Path(scratch) / "fine", folds=members, seed=fine_seed, momentum=momentum
        )
        card = BundleCard(
            name=out.stem,
            license="CC0-1.0",
            description="Random weights: for measuring speed and memory, predicts nothing.",
            organ_labels=(_first_label(Path(coarse_plans)),),
            tumor_weights={_first_label(Path(fine_plans)): 1.0},
        )
        stages = (
            StageSource(folder, tuple(map(str, range(count))))
            for folder, count in ((coarse, coarse_members), (fine, members))
        )
        return create_bundle(*stages, card, out=out)


def _first_label(plans_folder: Path) -> str:
    labels = json.loads((plans_folder / "dataset.json").read_text("utf-8"))["labels"]
    return next(name for name, value in labels.items() if value != 0)


def main() -> None:
    """Make a random bundle and say what that took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("coarse_plans", type=Path, help="folder with plans.json and dataset.json of stage 1")
    parser.add_argument("fine_plans", type=Path, help="the same of stage 2")
    parser.add_argument("out", type=Path, help="the bundle to write")
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--momentum", action="store_true", help="start from checkpoints as large as real ones")
    options = parser.parse_args()
    start = time.perf_counter()
    out = random_bundle(
        *(options.coarse_plans, options.fine_plans, options.out, options.members, options.seed),
        momentum=options.momentum,
    )
    size_mb = sum(path.stat().st_size for path in out.rglob("*")) / 1e6 if out.is_dir() else out.stat().st_size / 1e6
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{out}: {size_mb:.0f} MB, {time.perf_counter() - start:.1f} s, peak memory {peak_mb:.0f} MB")


if __name__ == "__main__":
    main()
