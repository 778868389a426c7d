"""Training the network of the strategy ``harmonizer`` in its two phases; killed at any time, it goes on where it was.

All random numbers of an epoch follow from the seed and the epoch, as in `twintrack.training.members`.
"""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from twintrack.bundle.checkpoints import read_checkpoint
from twintrack.bundle.model_bundle import CHECKPOINT_NAME
from twintrack.errors import InputError
from twintrack.progress.callbacks import CancelToken, Progress, no_progress
from twintrack.system.atomic import atomic_path
from twintrack.training.harmonizer_settings import HarmonizerSettings
from twintrack.training.members import DECAY, FEWEST_TO_HOLD_OUT, HELD_OUT, LATEST
from twintrack.training.prepare import Prepared, PreparedCase
from twintrack.training.presets import CONFIGURATION
from twintrack.training.strategies import Layout
from twintrack.training.training_log import LOG

if TYPE_CHECKING:
    from twintrack.harmonizer import HarmonizerNetwork
    from twintrack.training.slice_stacks import Stacks, StackSource

__all__ = [
    "SLICES",
    "HarmonizerPlan",
    "HarmonizerRun",
    "harmonizer_plans",
    "train_harmonizer",
    "training_alarms",
]

SLICES = "slices"
"""Name of the one configuration in the plans of such a network."""

SHARED, PERSONAL = 1, 2
"""The two phases."""

PERSONAL_SHARE = 0.35
"""Part of the time of a limited training that phase 2 gets."""

HARMONIZER_SHARE, RATER_SHARE = 0.1, 10.0
"""Of the learning rate, for the harmonizer, whose gains run away within the first hundred steps at the whole of it; and
for the raters' weights, each of which is learnt from its own rater alone."""

COLLAPSED = 0.10
"""Samples that differ by less than this share of what raters differ by are one sample drawn many times."""

FAR, IDLE = 0.25, 0.05
"""The penalty does nothing if gains and offsets lie on average (root mean square) farther than the first from where it
draws them, while it makes up less than the second of the loss."""

CHECKED, CHECK_BATCHES = 16, 6
"""Samples of each stack, and batches of cases left out, by which the diversity is measured at the end of a phase."""

_FIRST_WEIGHTS, _CHECK = 0, 1_000_000


@dataclass(frozen=True)
class HarmonizerPlan:
    """What is trained on prepared cases.

    Attributes
    ----------
    layout : Layout
        Raters, with pseudonyms, and anatomy.
    settings : HarmonizerSettings
        Numbers.
    seed : int
        Of weights, stacks and augmentation.
    max_minutes : float or None
        Time for both phases; the result then depends on the computer.
    """

    layout: Layout
    settings: HarmonizerSettings
    seed: int = 0
    max_minutes: float | None = None


@dataclass(frozen=True)
class HarmonizerEpoch:
    """What is measured of one epoch.

    Attributes
    ----------
    phase : float
        1 or 2.
    rate, loss : float
        Learning rate, and mean loss.
    segmentation, kl, penalty, energy : float
        Its parts, unweighted; not a number where a phase has none.
    modulation : float
        Root mean square of gains less 1 and offsets, over levels and channels.
    sample_diversity, rater_diversity : float
        Mean distance, 1 - IoU, of two samples and of two raters, on cases left out.
    seconds : float
        What the epoch took.
    """

    phase: float
    rate: float
    loss: float
    segmentation: float
    kl: float
    penalty: float
    energy: float
    modulation: float
    sample_diversity: float
    rater_diversity: float
    seconds: float


@dataclass(frozen=True)
class HarmonizerRun:
    """A complete training.

    Attributes
    ----------
    folder : Path
        As nnU-Net leaves its results: ``plans.json``, ``dataset.json``, ``fold_0`` with the weights; and ``log.csv``.
    log : tuple of HarmonizerEpoch
        Of both phases.
    alarms : tuple of str
        What a user must know of it: see `training_alarms`.
    """

    folder: Path
    log: tuple[HarmonizerEpoch, ...]
    alarms: tuple[str, ...]

    @property
    def diversity(self) -> dict[str, float]:
        """What was measured at the end of phase 1, by name; without what is not known."""
        last = _last(self.log, SHARED)
        found = {"sample_diversity": last.sample_diversity, "rater_diversity": last.rater_diversity}
        return {name: round(value, 4) for name, value in found.items() if math.isfinite(value)}


def harmonizer_plans(prepared: Prepared, settings: HarmonizerSettings) -> dict[str, Any]:
    """Return the plans of the cases with a network of slices in place of nnU-Net's."""
    configuration = dict(prepared.plans["configurations"][CONFIGURATION])
    patch = [1, *settings.stage.patch_size[1:]]
    configuration |= {
        "data_identifier": f"nnUNetPlans_{SLICES}",
        "patch_size": patch,
        "median_image_size_in_voxels": patch,
        "batch_size": settings.stage.batch_size,
        "architecture": settings.architecture(prepared.raters).to_json(),
    }
    return {**prepared.plans, "configurations": {SLICES: configuration}}


def train_harmonizer(
    prepared: Prepared,
    plan: HarmonizerPlan,
    folder: Path,
    *,
    device: str = "auto",
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> HarmonizerRun:
    """Train, or go on, or read what is complete: the caller makes sure that cases and plan are the same.

    Parameters
    ----------
    prepared : Prepared
        The cases.
    plan : HarmonizerPlan
        What to train.
    folder : Path
        See `HarmonizerRun`.
    device : str
        See `twintrack.inference.devices.select_device`.
    progress, cancel
        Told, and checked, for every step.

    Raises
    ------
    InputError
        If the device cannot be used, or the loss is no number any more; the last good checkpoint stays.
    Cancelled
        Within one step of `cancel`; what is done stays.
    """
    from twintrack.inference.devices import select_device

    chosen = select_device(device)
    home = folder / "fold_0"
    home.mkdir(parents=True, exist_ok=True)
    described = {"plans": harmonizer_plans(prepared, plan.settings), "dataset": plan.layout.dataset()}
    for name, content in {**described, "dataset_fingerprint": prepared.fingerprint}.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    training = _Training(prepared, plan, home, chosen, progress, cancel or CancelToken())
    log = training.train(lambda log: _write_log(folder, log))
    _write_log(folder, log)
    progress(1.0, "network trained")
    return HarmonizerRun(folder, tuple(log), training_alarms(log, plan.settings))


def training_alarms(log: Sequence[HarmonizerEpoch], settings: HarmonizerSettings) -> tuple[str, ...]:
    """Return what went wrong in phase 1 without stopping it, in sentences."""
    last, alarms = _last(log, SHARED), []
    if last.sample_diversity < COLLAPSED * last.rater_diversity:
        alarms.append(
            f"posterior collapse: two samples differ by {last.sample_diversity:.3f} (1 - IoU), less than a tenth of "
            f"the {last.rater_diversity:.3f} of two readers; the samples are one outline drawn many times"
        )
    if last.modulation > FAR and settings.penalty_weight * last.penalty < IDLE * last.loss:
        alarms.append(
            f"the harmonizer's penalty does nothing: gains and offsets lie {last.modulation:.2f} from 1 and 0, and it "
            f"makes up {100 * settings.penalty_weight * last.penalty / last.loss:.1f} % of the loss"
        )
    return tuple(alarms)


@dataclass(frozen=True)
class _Training:
    """One network on its way."""

    prepared: Prepared
    plan: HarmonizerPlan
    folder: Path
    device: str
    progress: Progress
    cancel: CancelToken

    def train(self, keep_log: Callable[[list[HarmonizerEpoch]], None]) -> list[HarmonizerEpoch]:
        """Do what is left of both phases."""
        final = self.folder / CHECKPOINT_NAME
        if final.is_file():
            return _read_log(read_checkpoint(final))
        network = self._network()
        stored = read_checkpoint(self.folder / LATEST) if (self.folder / LATEST).is_file() else None
        log = [] if stored is None else _read_log(stored)
        if stored is not None:
            network.load_state_dict(stored["network_weights"])
        for phase in (SHARED, PERSONAL):
            optimizer = self._optimizer(network, phase)
            if stored is not None and log[-1].phase == phase:
                optimizer.load_state_dict(stored["optimizer_state"])
            while (done := self._done(log, phase)) < 1.0:
                log.append(self._epoch(network, optimizer, phase, log, done))
                self._keep(network, optimizer, log, self.folder / LATEST)
                keep_log(log)
        self._keep(network, None, log, final)
        (self.folder / LATEST).unlink(missing_ok=True)
        return log

    def _network(self) -> HarmonizerNetwork:
        import torch

        from twintrack.harmonizer import HarmonizerNetwork

        _seed(self.plan.seed, _FIRST_WEIGHTS)
        architecture = self.plan.settings.architecture(self.prepared.raters)
        network = HarmonizerNetwork(architecture, 1 + len(self.prepared.anatomy))
        return network.to(torch.device(self.device))

    def _optimizer(self, network: HarmonizerNetwork, phase: int) -> Any:
        """Return Adam with the paper's numbers, for all but the personalizer or for that alone."""
        import torch

        personal = set(network.personalizer.parameters())
        for parameter in network.parameters():
            parameter.requires_grad_((parameter in personal) == (phase == PERSONAL))
        learnt = [parameter for parameter in network.parameters() if parameter.requires_grad]
        gains = set(network.harmonizer.parameters()) if hasattr(network, "harmonizer") else set()
        shares = dict.fromkeys(gains, HARMONIZER_SHARE) | {network.personalizer.of_rater: RATER_SHARE}
        groups = [
            {"params": [one for one in learnt if shares.get(one, 1.0) == share], "share": share}
            for share in (1.0, HARMONIZER_SHARE, RATER_SHARE)
        ]
        return torch.optim.Adam(
            [group for group in groups if group["params"]], lr=1e-4, betas=(0.9, 0.999), weight_decay=1e-5
        )

    def _cases(self) -> tuple[Sequence[PreparedCase], Sequence[PreparedCase]]:
        """Return the cases to learn from, and those left out to see how that goes."""
        cases = self.prepared.cases
        if len(cases) < FEWEST_TO_HOLD_OUT:
            return cases, cases
        count = max(1, len(cases) // HELD_OUT)
        return cases[count:], cases[:count]

    def _sources(self) -> tuple[StackSource, StackSource]:
        from twintrack.training.slice_stacks import StackSource

        settings, (train, held_out) = self.plan.settings, self._cases()
        shape = settings.stage.patch_size
        reach = round(settings.reach_mm / self.prepared.plans["configurations"][CONFIGURATION]["spacing"][0])
        return (
            StackSource(self.prepared, train, shape, reach, self.device),
            StackSource(self.prepared, held_out, shape, reach, self.device),
        )

    def _epochs(self, phase: int) -> int:
        settings = self.plan.settings
        return settings.stage.epochs if phase == SHARED else settings.personal_epochs

    def _done(self, log: Sequence[HarmonizerEpoch], phase: int) -> float:
        """Return how much of a phase is done, 0 to 1: of its epochs, or of its time."""
        own = [epoch for epoch in log if epoch.phase == phase]
        done = len(own) / self._epochs(phase)
        if self.plan.max_minutes is not None and own:
            share = PERSONAL_SHARE if phase == PERSONAL else 1 - PERSONAL_SHARE
            limit_s = max(60 * self.plan.max_minutes * share, 1e-9)
            done = max(done, sum(epoch.seconds for epoch in own) / limit_s)
        return done

    def _epoch(
        self, network: HarmonizerNetwork, optimizer: Any, phase: int, log: Sequence[HarmonizerEpoch], done: float
    ) -> HarmonizerEpoch:
        import torch

        from twintrack.training.harmonizer_steps import personal_loss, shared_loss

        begun, settings, number = time.monotonic(), self.plan.settings, len(log)
        rng = _seed(self.plan.seed, 1 + number)
        first = settings.stage.rate if phase == SHARED else settings.personal_rate
        rate = float(first or 1e-4) * (1 - done) ** DECAY
        for group in optimizer.param_groups:
            group["lr"] = rate * group["share"]
        source, held_out = self._sources()
        step_loss, batch = shared_loss, settings.stage.batch_size
        if phase == PERSONAL:  # each stack once for every rater
            step_loss, batch = personal_loss, max(1, batch // 2)
        network.train()
        sums: dict[str, float] = {}
        steps = settings.stage.iterations
        for step in range(steps):
            self.cancel.check()
            self._report(log, phase, step / steps, sums.get("loss", 0.0) / max(step, 1))
            parts = step_loss(network, source.draw(rng, batch), settings)
            optimizer.zero_grad(set_to_none=True)
            parts["loss"].backward()
            norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 12.0)
            if not (torch.isfinite(parts["loss"]) and torch.isfinite(norm)):
                raise self._diverged(number)
            optimizer.step()
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) / steps
        network.eval()
        batches = CHECK_BATCHES if number + 1 == self._epochs(phase) else 2
        samples, raters, modulation = self._measured(network, held_out, batches)
        told = {name: sums.get(name, math.nan) for name in ("loss", "segmentation", "kl", "penalty", "energy")}
        return HarmonizerEpoch(
            phase=phase,
            rate=rate,
            **told,
            modulation=modulation,
            sample_diversity=samples,
            rater_diversity=raters,
            seconds=time.monotonic() - begun,
        )

    def _measured(self, network: HarmonizerNetwork, source: StackSource, batches: int) -> tuple[float, float, float]:
        """Return the diversity of samples and raters, and how far gains and offsets lie from 1 and 0."""
        import torch

        from twintrack.training.harmonizer_steps import diversity

        rng = np.random.default_rng([self.plan.seed, _CHECK])
        pairs, squares, counts = [], 0.0, 0
        with torch.no_grad():
            for _ in range(batches):
                stacks: Stacks = source.draw(rng, self.plan.settings.stage.batch_size, augment=False)
                noise = torch.randn(CHECKED, self.plan.settings.latent, generator=torch.Generator().manual_seed(0))
                pairs.append(diversity(network, stacks, noise.to(stacks.image.device)))
                for level in network.features(stacks.slices).modulations:
                    squares += float(((level.gain - 1) ** 2).mean() + (level.offset**2).mean()) / 2
                    counts += 1
        known = [pair for pair in pairs if all(map(math.isfinite, pair))]
        means = np.mean(known, axis=0) if known else (math.nan, math.nan)
        return float(means[0]), float(means[1]), math.sqrt(squares / counts) if counts else 0.0

    def _diverged(self, number: int) -> InputError:
        kept = self.folder / LATEST
        stays = "; the last good checkpoint stays" if kept.is_file() else ""
        return InputError(
            f"the loss of epoch {number + 1} is no number any more; train with another --seed{stays}",
            code="training-diverged",
            path=kept if kept.is_file() else None,
        )

    def _report(self, log: Sequence[HarmonizerEpoch], phase: int, within: float, loss: float) -> None:
        epochs = self._epochs(SHARED) + self._epochs(PERSONAL)
        word = "readers together" if phase == SHARED else "readers apart"
        shown = f", loss {loss:.3f}" if loss else ""
        self.progress(
            min((len(log) + within) / epochs, 1.0), f"phase {phase} ({word}), epoch {len(log) + 1} of {epochs}{shown}"
        )

    def _keep(self, network: HarmonizerNetwork, optimizer: Any, log: Sequence[HarmonizerEpoch], path: Path) -> None:
        """Write the weights, whole or not at all; with the optimizer's state as long as the training goes on."""
        import torch

        content: dict[str, Any] = {
            "network_weights": {name: tensor.cpu() for name, tensor in network.state_dict().items()},
            "trainer_name": type(network).__name__,
            "init_args": {"configuration": SLICES},
            "inference_allowed_mirroring_axes": None,
            "log": [list(astuple(epoch)) for epoch in log],
        }
        if optimizer is not None:
            content["optimizer_state"] = optimizer.state_dict()
        with atomic_path(path, overwrite=True, mark=False) as partial:
            torch.save(content, partial)


def _seed(*numbers: int) -> np.random.Generator:
    """Seed torch's generator, and return numpy's."""
    import torch

    state = np.random.SeedSequence(numbers).generate_state(2)
    torch.manual_seed(int(state[0]))
    return np.random.default_rng(int(state[1]))


def _read_log(stored: Mapping[str, Any]) -> list[HarmonizerEpoch]:
    return [HarmonizerEpoch(*row) for row in stored["log"]]


def _last(log: Sequence[HarmonizerEpoch], phase: int) -> HarmonizerEpoch:
    return next(epoch for epoch in reversed(log) if epoch.phase == phase)


def _write_log(folder: Path, log: Sequence[HarmonizerEpoch]) -> None:
    """Write the table of all epochs in the place of an earlier one."""
    with (
        atomic_path(folder / LOG, overwrite=True, mark=False) as partial,
        partial.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.writer(stream)
        writer.writerow(["epoch", *(field.name for field in fields(HarmonizerEpoch))])
        writer.writerows(
            [number, *(float(f"{value:.6g}") for value in astuple(epoch))] for number, epoch in enumerate(log, start=1)
        )
