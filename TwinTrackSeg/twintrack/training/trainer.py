"""nnU-Net's trainer with our loss, our cases and no pickles; everything else of it is nnU-Net's own."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from twintrack.errors import InputError
from twintrack.training.losses import RaterLoss, Reading
from twintrack.training.prepare import Prepared
from twintrack.training.presets import CONFIGURATION, StageSettings, nnunet_folders
from twintrack.training.strategies import Layout

__all__ = ["CaseArrays", "make_trainer", "seed_everything", "trainer_class"]

FOREGROUND_SHARE = 0.66
"""Share of the patches that lie around a labelled voxel."""

ROTATION_RAD = np.pi / 6
"""Largest rotation of the augmentation about each axis."""

_log = logging.getLogger(__name__)


class CaseArrays:
    """Prepared cases as nnU-Net's data loader asks for them."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.identifiers = list(names)
        self._folder = folder
        self._places: dict[str, dict[Any, Any]] = {}

    def load_case(self, name: str) -> tuple[Any, Any, None, dict[str, Any]]:
        """Return image (1, z, y, x), channels, nothing, and where the labelled voxels are."""
        # A patch may be a view, into which the augmentation writes: mode "c" keeps that from the file, and "r" would
        # end the process.
        image = np.load(self._folder / f"{name}.npy", mmap_mode="c", allow_pickle=False)
        channels = np.load(self._folder / f"{name}_seg.npy", mmap_mode="c", allow_pickle=False)
        if name not in self._places:
            with np.load(self._folder / f"{name}.npz", allow_pickle=False) as stored:
                # nnU-Net draws one of the kinds, each as likely: half of the patches lie around tumour.
                self._places[name] = {1: stored["tumor"], 2: stored["rest"]}
        return image, channels, None, {"class_locations": self._places[name]}


@dataclass(frozen=True)
class TrainerSettings:
    """What a trainer is made of, beside nnU-Net's own arguments."""

    folder: Path
    train: tuple[str, ...]
    held_out: tuple[str, ...]
    loss_of: Any
    stage: StageSettings


def make_trainer(
    prepared: Prepared,
    layout: Layout,
    *,
    stage: StageSettings,
    rater: int | None,
    ordinal_weight: float,
    train: Sequence[str],
    held_out: Sequence[str],
    device: str,
) -> Any:
    """Return an initialized trainer; random numbers are torch's own, see `seed_everything`.

    Raises
    ------
    InputError
        If this nnU-Net cannot be driven so.
    """
    import torch

    _check_version()

    def loss_of(scales: Sequence[float]) -> RaterLoss:
        return RaterLoss(layout, tuple(scales), rater, ordinal_weight)

    settings = TrainerSettings(prepared.arrays, tuple(train), tuple(held_out), loss_of, stage)
    plans = {**prepared.plans, "continue_training": False}
    quiet = contextlib.redirect_stdout(io.StringIO())
    with TemporaryDirectory() as scratch, nnunet_folders(Path(scratch)), quiet:
        trainer = trainer_class()(plans, CONFIGURATION, 0, layout.dataset(), torch.device(device))
        trainer.adopt(settings)
        trainer.initialize()
        trainer.dataloader_train, trainer.dataloader_val = trainer.get_dataloaders()
    trainer.set_deep_supervision_enabled(trainer.enable_deep_supervision)
    return trainer


def _check_version() -> None:
    """Refuse an nnU-Net that reads its folders when it is imported."""
    import nnunetv2.paths

    if not hasattr(nnunetv2.paths, "_EnvPath"):
        raise InputError("training needs nnU-Net 2.8 or newer; update nnunetv2", code="nnunet-too-old")


def seed_everything(*numbers: int) -> None:
    """Seed every generator that nnU-Net draws from."""
    import torch

    state = np.random.SeedSequence(numbers).generate_state(3)
    random.seed(int(state[0]))
    np.random.seed(int(state[1]))  # noqa: NPY002 - nnU-Net's augmentation draws from the global generator
    torch.manual_seed(int(state[2]))


@functools.cache
def trainer_class() -> type[Any]:
    """Return the trainer's class, whose base is imported only now."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    class RaterTrainer(nnUNetTrainer):  # type: ignore[misc]
        """nnU-Net's trainer without mirroring, and with losses against several raters.

        A mirrored abdomen does not exist, and which side a vessel lies on is what tells the vessels apart.
        """

        rater_settings: TrainerSettings

        def adopt(self, settings: TrainerSettings) -> None:
            """Take what nnU-Net's own constructor has no arguments for."""
            self.rater_settings = settings
            self.preprocessed_dataset_folder = str(settings.folder)
            self.oversample_foreground_percent = FOREGROUND_SHARE
            self.num_epochs, self.num_iterations_per_epoch = settings.stage.epochs, settings.stage.iterations
            if settings.stage.rate is not None:
                self.initial_lr = settings.stage.rate

        def print_to_log_file(self, *words: object, **_: object) -> None:
            """Send what nnU-Net prints to the log."""
            _log.debug("%s", " ".join(map(str, words)))

        def get_tr_and_val_datasets(self) -> tuple[CaseArrays, CaseArrays]:
            """Return the prepared cases to learn from and those held out."""
            folder, settings = self.rater_settings.folder, self.rater_settings
            return CaseArrays(folder, settings.train), CaseArrays(folder, settings.held_out)

        def configure_optimizers(self) -> tuple[torch.optim.Optimizer, None]:
            """Return AdamW, or nnU-Net's own; the rate is set for each epoch from outside."""
            if self.rater_settings.stage.rate is None:
                return super().configure_optimizers()[0], None
            return torch.optim.AdamW(self.network.parameters(), self.initial_lr, weight_decay=self.weight_decay), None

        def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, ...]:  # noqa: N802
            """Return nnU-Net's own settings with no axis to mirror, and with small rotations of flat patches too."""
            _, flat, initial, _ = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
            self.inference_allowed_mirroring_axes = None
            return (-ROTATION_RAD, ROTATION_RAD), flat, initial, None

        @staticmethod
        def get_training_transforms(*arguments: Any, **named: Any) -> Any:
            """Return nnU-Net's augmentation, whose results depend on random numbers alone."""
            transforms = nnUNetTrainer.get_training_transforms(*arguments, **{**named, "regions": None})
            _without_benchmarks(transforms)
            return transforms

        @staticmethod
        def get_validation_transforms(*arguments: Any, **named: Any) -> Any:
            """Return nnU-Net's own; raters' channels become regions in the loss."""
            return nnUNetTrainer.get_validation_transforms(*arguments, **{**named, "regions": None})

        def _build_loss(self) -> RaterLoss:
            scales = self._get_deep_supervision_scales()
            weights = np.array([1 / 2**i for i in range(len(scales))])
            weights[-1] = 0 if len(weights) > 1 else 1  # as nnU-Net has it
            return self.rater_settings.loss_of((weights / weights.sum()).tolist())

        def validation_step(self, batch: dict[str, Any]) -> dict[str, float]:
            """Return loss, and overlap and sizes of the readout and the raters' mean response."""
            data = batch["data"].to(self.device)
            target = [each.to(self.device) for each in batch["target"]]
            output = self.network(data)
            found = self.loss.readout(output[0])
            response = Reading.of(target[0]).response
            apart = (found - response).abs().sum()
            return {
                "loss": float(self.loss(output, target)),
                "apart": float(apart),
                "total": float(found.sum() + response.sum()),
            }

    return RaterTrainer


def _without_benchmarks(transform: Any) -> None:
    """Let no transform choose by its speed how it computes: that rounds differently from run to run."""
    if hasattr(transform, "benchmark"):
        transform.benchmark = False
    for inner in [*getattr(transform, "transforms", ()), getattr(transform, "transform", None)]:
        if inner is not None:
            _without_benchmarks(inner)
