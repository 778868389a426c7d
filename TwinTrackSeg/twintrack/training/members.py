"""Training the networks of one ensemble, one after the other; killed at any time, it goes on where it was.

All random numbers of an epoch follow from the seed, the network and the epoch, so that a training that was killed and
goes on gives what an uninterrupted one gives.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twintrack.bundle.checkpoints import read_checkpoint
from twintrack.bundle.model_bundle import CHECKPOINT_NAME
from twintrack.errors import InputError
from twintrack.progress.callbacks import CancelToken, Progress, no_progress
from twintrack.system.atomic import atomic_path
from twintrack.training.prepare import Prepared, PreparedCase
from twintrack.training.presets import CONFIGURATION, StageSettings
from twintrack.training.strategies import Layout, Member, Strategy
from twintrack.training.training_log import Epoch, write_log

__all__ = ["EnsemblePlan", "train_members"]

LATEST = "checkpoint_epoch.pth"
"""What a member goes on from; removed when it is done."""

HELD_OUT = 10
"""One of this many cases is left out of a member's training, another one for each member, to see how it does."""

FEWEST_TO_HOLD_OUT = 5
"""With fewer cases none is left out; what is measured then is the training itself."""

CHECK_STEPS = 2
"""Batches of held-out patches after each epoch."""

DECAY = 0.9
"""Exponent of nnU-Net's learning rate: ``(1 - done) ** 0.9``."""

_FIRST_WEIGHTS = 0


@dataclass(frozen=True)
class EnsemblePlan:
    """What is trained on prepared cases.

    Attributes
    ----------
    layout : Layout
        What the outputs mean, and by which strategy they are trained.
    members : tuple of Member
        The networks.
    stage : StageSettings
        Their size and the length of training.
    seed : int
        Of weights, patches and augmentation.
    ordinal_weight : float
        Above 0: weight of the binary part of `Strategy.ORDINAL`.
    max_minutes : float or None
        Time for all networks together: the learning rate falls with the time, if that runs out before the epochs. The
        result then depends on the computer.
    """

    layout: Layout
    members: tuple[Member, ...]
    stage: StageSettings
    seed: int = 0
    ordinal_weight: float = 1.0
    max_minutes: float | None = None

    def __post_init__(self) -> None:
        if self.layout.strategy is Strategy.ORDINAL and not 0 < self.ordinal_weight <= 1000:
            raise InputError(
                f"--ordinal-weight must be above 0 and at most 1000, got {self.ordinal_weight:g}; without the binary "
                "part the certain core of a tumour stays uncertain",
                code="ordinal-weight",
            )
        if self.seed < 0:
            raise InputError(f"the seed must not be negative, got {self.seed}", code="seed-range")
        if self.max_minutes is not None and not self.max_minutes > 0:
            raise InputError(f"--max-minutes must be above 0, got {self.max_minutes:g}", code="minutes-range")


def train_members(
    prepared: Prepared,
    plan: EnsemblePlan,
    folder: Path,
    *,
    device: str = "auto",
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> Path:
    """Train the networks of a plan; return `folder`, which then is a results folder as nnU-Net leaves it.

    Members that are complete there are taken as they are, one that was interrupted goes on after its last epoch: the
    caller makes sure that cases and plan are the same.

    Parameters
    ----------
    prepared : Prepared
        The cases.
    plan : EnsemblePlan
        What to train.
    folder : Path
        Gets ``plans.json``, ``dataset.json``, ``fold_<N>/checkpoint_final.pth``, ``log.csv`` and ``loss.png``.
    device : str
        See `twintrack.inference.devices.select_device`.
    progress, cancel
        Told, and checked, for every step.

    Raises
    ------
    InputError
        If a rater of a member read no case, the device cannot be used, or the loss is no number any more.
    Cancelled
        Within one step of `cancel`; what is done stays.
    """
    from twintrack.inference.devices import select_device

    chosen = select_device(device)
    folder.mkdir(parents=True, exist_ok=True)
    described = {"plans": prepared.plans, "dataset": plan.layout.dataset(), "dataset_fingerprint": prepared.fingerprint}
    for name, content in described.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    logs: dict[str, list[Epoch]] = {}
    for number, member in enumerate(plan.members):
        spent = sum(epoch.seconds for log in logs.values() for epoch in log)
        left = len(plan.members) - number
        share_s = None if plan.max_minutes is None else max(60 * plan.max_minutes - spent, 0.0) / left
        run = _MemberRun(
            prepared, plan, member, folder / f"fold_{member.fold}", chosen, share_s, cancel or CancelToken()
        )

        def report(fraction: float, text: str, number: int = number) -> None:
            progress((number + fraction) / len(plan.members), f"network {number + 1} of {len(plan.members)}{text}")

        def keep_log(log: list[Epoch], fold: str = member.fold) -> None:
            write_log(folder, {**logs, fold: log}, picture=False)

        logs[member.fold] = run.train(report, keep_log)
        write_log(folder, logs)
    progress(1.0, "networks trained")
    return folder


@dataclass(frozen=True)
class _MemberRun:
    """The training of one network."""

    prepared: Prepared
    plan: EnsemblePlan
    member: Member
    folder: Path
    device: str
    share_s: float | None
    cancel: CancelToken

    def train(self, report: Progress, keep_log: Callable[[list[Epoch]], None]) -> list[Epoch]:
        """Train, or go on, or do nothing; return what was measured of each epoch."""
        final = self.folder / CHECKPOINT_NAME
        if final.is_file():
            return [Epoch(*row) for row in read_checkpoint(final)["log"]]
        self.folder.mkdir(exist_ok=True)
        trainer = self._trainer()
        log = self._resume(trainer)
        while (done := self._done(log)) < 1.0:
            log.append(self._epoch(trainer, len(log), done, report))
            self._keep(trainer, log, self.folder / LATEST, complete=False)
            keep_log(log)
        self._keep(trainer, log, final, complete=True)
        (self.folder / LATEST).unlink(missing_ok=True)
        return log

    def _trainer(self) -> Any:
        from twintrack.training.trainer import make_trainer, seed_everything

        seed_everything(self.plan.seed, int(self.member.fold), _FIRST_WEIGHTS)
        rater = None if self.member.rater is None else self.prepared.raters.index(self.member.rater)
        train, held_out = self._cases()
        return make_trainer(
            self.prepared,
            self.plan.layout,
            stage=self.plan.stage,
            rater=rater,
            ordinal_weight=self.plan.ordinal_weight,
            train=train,
            held_out=held_out,
            device=self.device,
        )

    def _cases(self) -> tuple[list[str], list[str]]:
        """Return the names of the cases to learn from, and of those that only show how that goes."""
        cases: Sequence[PreparedCase] = self.prepared.cases_of(self.member.rater)
        if not cases:
            raise InputError(f"rater {self.member.rater} drew no training case; choose another", code="rater-unknown")
        names = [case.name for case in cases]
        if len(names) < FEWEST_TO_HOLD_OUT:
            return names, names
        count = max(1, len(names) // HELD_OUT)
        first = int(self.member.fold) * count
        held_out = [names[(first + offset) % len(names)] for offset in range(count)]
        return [name for name in names if name not in held_out], held_out

    def _done(self, log: Sequence[Epoch]) -> float:
        """Return how much of the training is done, 0 to 1: of its epochs, or of its time."""
        done = len(log) / self.plan.stage.epochs
        if self.share_s is not None and log:
            done = max(done, sum(epoch.seconds for epoch in log) / max(self.share_s, 1e-9))
        return done

    def _epoch(self, trainer: Any, number: int, done: float, report: Progress) -> Epoch:
        import torch

        from twintrack.training.trainer import seed_everything

        begun, steps = time.monotonic(), self.plan.stage.iterations
        seed_everything(self.plan.seed, int(self.member.fold), 1 + number)
        rate = trainer.initial_lr * (1 - done) ** DECAY
        for group in trainer.optimizer.param_groups:
            group["lr"] = rate
        trainer.network.train()
        whose = f" (reader {self.member.rater})" if self.member.rater is not None else ""
        losses: list[float] = []
        for step in range(steps):
            self.cancel.check()
            shown = f", loss {np.mean(losses):.3f}" if losses else ""
            within = done + step / steps / self.plan.stage.epochs
            report(min(within, 1.0), f"{whose}, epoch {number + 1} of {self.plan.stage.epochs}{shown}")
            losses.append(float(trainer.train_step(next(trainer.dataloader_train))["loss"]))
        trainer.network.eval()
        with torch.no_grad():
            seen = [trainer.validation_step(next(trainer.dataloader_val)) for _ in range(CHECK_STEPS)]
        loss, held_out = float(np.mean(losses)), float(np.mean([each["loss"] for each in seen]))
        if not np.isfinite(loss):
            raise InputError(
                f"the loss of epoch {number + 1} is no number any more; train with another --seed",
                code="training-diverged",
            )
        total = sum(each["total"] for each in seen)
        dice = 1 - sum(each["apart"] for each in seen) / total if total > 0 else float("nan")
        return Epoch(rate, loss, held_out, dice, time.monotonic() - begun)

    def _keep(self, trainer: Any, log: Sequence[Epoch], path: Path, *, complete: bool) -> None:
        """Write the weights, whole or not at all; with all that the training goes on from, as long as it does."""
        import torch

        content: dict[str, Any] = {
            "network_weights": {name: tensor.cpu() for name, tensor in trainer.network.state_dict().items()},
            "trainer_name": type(trainer).__name__,
            "init_args": {"configuration": CONFIGURATION},
            "inference_allowed_mirroring_axes": None,
            "log": [epoch.row for epoch in log],
        }
        if not complete:
            scaler = trainer.grad_scaler
            content["optimizer_state"] = trainer.optimizer.state_dict()
            content["scaler_state"] = None if scaler is None else scaler.state_dict()
        with atomic_path(path, overwrite=True, mark=False) as partial:
            torch.save(content, partial)

    def _resume(self, trainer: Any) -> list[Epoch]:
        """Put the trainer where an earlier run left it; return what was measured until then."""
        path = self.folder / LATEST
        if not path.is_file():
            return []
        stored = read_checkpoint(path)
        trainer.network.load_state_dict(stored["network_weights"])
        trainer.optimizer.load_state_dict(stored["optimizer_state"])
        if trainer.grad_scaler is not None and stored["scaler_state"] is not None:
            trainer.grad_scaler.load_state_dict(stored["scaler_state"])
        return [Epoch(*row) for row in stored["log"]]
