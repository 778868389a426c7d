"""Train the networks of the demo bundle on phantoms with nnU-Net's own trainer.

Usage (from the repository's root, after ``make demo`` or an editable install)::

    python tools/demo_bundle/train.py data --work FIRST
    python tools/demo_bundle/train.py train --work FIRST --stage coarse --fold 0
    python tools/demo_bundle/train.py train --work FIRST --stage fine --fold 0   # and 1, 2
    python tools/demo_bundle/train.py data --work SECOND --round second
    python tools/demo_bundle/train.py train --work SECOND --round second --after FIRST --stage fine --fold 0   # 1, 2

The second round goes on from the first one's weights, at a lower rate, on tumours drawn by a more generous reader.
``CONTRIBUTING.md`` tells the whole recipe, with the steps that follow.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Read the command line and run one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["data", "train"])
    parser.add_argument("--work", type=Path, required=True, help="folder for raw, preprocessed and trained files")
    parser.add_argument("--round", choices=["first", "second"], default="first")
    parser.add_argument("--after", type=Path, help="the first round's folder, for the second round")
    parser.add_argument("--stage", choices=["coarse", "fine"])
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    config = json.loads((HERE / "config.json").read_text(encoding="utf-8"))
    _set_environment(arguments.work)
    if arguments.step == "data":
        make_data(config, arguments.work, arguments.threads, config["training_reader_tendency"][arguments.round])
    else:
        train(config, arguments)


def make_data(config: dict[str, Any], work: Path, processes: int, tendency: float) -> None:
    """Draw the training phantoms and preprocess them for both stages."""
    from concurrent.futures import ProcessPoolExecutor

    from data import prepare_stage, write_raw_case

    seeds = range(*config["train_seeds"])
    with ProcessPoolExecutor(processes) as pool:
        for seed, done in [(seed, pool.submit(write_raw_case, seed, config, work / "raw", tendency)) for seed in seeds]:
            done.result()
            print(f"phantom {seed} drawn", flush=True)
    for stage in ("coarse", "fine"):
        prepare_stage(stage, config, work / "raw", work / "preprocessed")
        print(f"{stage} preprocessed", flush=True)


def train(config: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Train one member; its checkpoint and log lie in nnU-Net's results layout below ``WORK/results``."""
    import numpy as np
    import torch
    from data import DATASETS
    from trainer import PhantomTrainer

    stage, fold, second = arguments.stage, arguments.fold, arguments.round == "second"
    seed = 1000 * (1 + ["coarse", "fine"].index(stage)) + fold + 100 * second
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - nnU-Net's augmentation draws from the global generator
    torch.manual_seed(seed)
    torch.set_num_threads(arguments.threads)
    folder = arguments.work / "preprocessed" / DATASETS[stage]
    plans = json.loads((folder / "nnUNetPlans.json").read_text(encoding="utf-8")) | {"continue_training": False}
    dataset = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    trainer = PhantomTrainer(plans, "3d_fullres", fold, dataset, torch.device("cpu"))
    settings = config[stage] | (config[stage]["second_round"] if second else {})
    trainer.num_epochs, trainer.num_iterations_per_epoch = settings["epochs"], settings["iterations_per_epoch"]
    if second:
        trainer.initial_lr = settings["rate"]
        trainer.initialize()
        earlier = Path(trainer.output_folder).relative_to(arguments.work / "results") / "checkpoint_final.pth"
        checkpoint = torch.load(arguments.after / "results" / earlier, weights_only=False)
        trainer.network.load_state_dict(checkpoint["network_weights"])
    trainer.run_training()


def _set_environment(work: Path) -> None:
    """Tell nnU-Net its folders, before it is imported, and keep it in this process."""
    for name in ("raw", "preprocessed", "results"):
        (work / name).mkdir(parents=True, exist_ok=True)
        os.environ[f"nnUNet_{name}"] = str(work / name)
    os.environ.update({"nnUNet_n_proc_DA": "0", "nnUNet_compile": "f"})


if __name__ == "__main__":
    main()
