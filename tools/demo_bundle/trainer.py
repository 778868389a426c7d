"""nnU-Net's trainer with the few settings that a small network on phantoms needs."""

from __future__ import annotations

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class PhantomTrainer(nnUNetTrainer):
    """`nnUNetTrainer` with fewer iterations, with Adam and without mirroring.

    Within about a thousand iterations Adam learns the small classes (tumour, vessels) that stochastic gradient descent
    at nnU-Net's rate does not reach. A mirrored abdomen does not exist, and which side a vessel lies on is what tells
    the vessels apart.
    """

    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict, device: torch.device) -> None:
        # nnU-Net stores the values of these parameters by name.
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_val_iterations_per_epoch = 2
        self.oversample_foreground_percent = 0.66
        self.save_every = 1000
        self.initial_lr = 2e-3

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, PolyLRScheduler]:
        """Return Adam with nnU-Net's own polynomial decay."""
        optimizer = torch.optim.AdamW(self.network.parameters(), self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs)

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple:  # noqa: N802 - nnU-Net's name
        """Return nnU-Net's own settings with no axis to mirror."""
        rotation, dummy_2d, initial_patch_size, _ = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        self.inference_allowed_mirroring_axes = None
        return rotation, dummy_2d, initial_patch_size, None

    def plot_network_architecture(self) -> None:
        """Leave out the architecture drawing: it needs a package that is not installed."""
