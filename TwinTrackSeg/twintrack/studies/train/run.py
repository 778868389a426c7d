"""The command ``train``: several raters' masks in, a calibrated and verified bundle out; killed, it goes on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from twintrack import __version__
from twintrack.bundle.model_bundle import Bundle
from twintrack.errors import InputError, OutputError, TwinTrackError
from twintrack.imaging.ct_features import InputRange, features_of
from twintrack.io.manifest import ManifestRow
from twintrack.metrics.size_ranks import size_rank_p_value
from twintrack.progress.callbacks import CancelToken, Progress, no_progress, part
from twintrack.studies.make_bundle.card import BundleCard
from twintrack.studies.make_bundle.create import StageSource, create_bundle
from twintrack.studies.train.finish import (
    LOSSES,
    ensemble_card,
    fit_on_rows,
    measure_on_rows,
    pseudonyms,
    versions,
)
from twintrack.studies.train.inputs import ManifestCases, check_room, read_cases
from twintrack.system.json_file import read_json
from twintrack.system.locks import try_lock
from twintrack.system.paths import file_sha256
from twintrack.system.private_folder import PrivateFolder
from twintrack.training.cases import CaseVolumes, TrainingCase, raters_of
from twintrack.training.harmonizer import HarmonizerPlan, train_harmonizer
from twintrack.training.harmonizer_settings import HARMONIZER_PRESETS, HarmonizerSettings
from twintrack.training.members import EnsemblePlan, train_members
from twintrack.training.prepare import Prepared, prepare_organ, prepare_tumor
from twintrack.training.presets import PRESETS, Preset, PresetSettings, StageSettings
from twintrack.training.strategies import ORGAN, Layout, Member, Strategy, check_raters, plan_members
from twintrack.training.training_log import LOG

__all__ = ["TrainSettings", "train_bundle", "work_folder"]

COARSE_SHARE = 0.15
"""Part of the time of a limited training that stage 1 gets."""

PLAN, INPUTS, TUMOR, ORGANS, NETWORKS, COARSE = "plan.json", "inputs.json", "cases", "organs", "networks", "stage1"
LOCK = ".lock"
"""Names in the folder of a training."""


@dataclass(frozen=True)
class TrainSettings:
    """What the user asks for.

    Attributes
    ----------
    strategy : Strategy
        What is learnt where raters differ.
    preset : Preset
        Size of the networks and length of the training.
    rater : str or None
        Whom `Strategy.SINGLE` learns from; by default the first.
    members : int or None
        Networks, of each rater where they belong to raters; by default the preset's.
    ordinal_weight : float
        Weight of the binary part of `Strategy.ORDINAL`; above 0.
    max_minutes : float or None
        Time for all networks.
    device : str
        See `twintrack.inference.devices.select_device`.
    seed : int
        Of everything that is drawn.
    """

    strategy: Strategy = Strategy.SOFT
    preset: Preset = Preset.SMALL
    rater: str | None = None
    members: int | None = None
    ordinal_weight: float = 1.0
    max_minutes: float | None = None
    device: str = "auto"
    seed: int = 0


def work_folder(out: Path) -> Path:
    """Return the folder beside a bundle in which it is trained."""
    return out.with_name(f"{out.name}.training")


def train_bundle(
    manifest: str | Path,
    out: str | Path,
    settings: TrainSettings,
    *,
    coarse: str | Path | None = None,
    numbers: PresetSettings | None = None,
    slices: HarmonizerSettings | None = None,
    warn: Callable[[str], None] = lambda text: None,  # noqa: ARG005
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> Path:
    """Train on the cases of a manifest and write a complete, verified bundle.

    What is done lies in the folder ``<out>.training``, from which a run that was killed goes on if it is started again
    with the same manifest and settings; of the cases nothing is left there at the end.

    Parameters
    ----------
    manifest : path
        See `twintrack.studies.train.inputs.read_cases`.
    out : path
        The bundle; must not exist.
    settings : TrainSettings
        What is asked for.
    coarse : path, optional
        Bundle whose stage 1 is taken over; by default one is trained.
    numbers : PresetSettings, optional
        In place of the preset's.
    slices : HarmonizerSettings, optional
        The same for `Strategy.HARMONIZER`.
    warn : callable
        Told what should be known of raters and cases.
    progress, cancel
        Told and checked all the way.

    Returns
    -------
    pathlib.Path
        `out`.

    Raises
    ------
    InputError, BundleError
        If an input cannot be used, or memory is short; nothing is left behind of a training that has not begun.
    OutputError
        If `out` is there, disk space is short, or another training lies in its folder.
    Cancelled
        The training goes on when it is started again.
    """
    manifest, out = Path(manifest), Path(out)
    numbers = numbers or PRESETS[settings.preset]
    if settings.strategy is Strategy.HARMONIZER:
        slices = slices or HARMONIZER_PRESETS[settings.preset]
        numbers = replace(numbers, fine=slices.stage, members=1)
    else:
        slices = None
    run = _Run.of(manifest, out, settings, coarse, numbers, slices, warn, cancel or CancelToken())
    begun = run.begin()
    try:
        with ExitStack() as stack:
            run.lock(stack)
            return run.go(stack, progress)
    except TwinTrackError:
        if begun and not (run.work / NETWORKS / LOG).exists() and not (run.work / COARSE / LOG).exists():
            shutil.rmtree(run.work, ignore_errors=True)
        raise


@dataclass(frozen=True)
class _Run:
    """One training with all that it needs."""

    manifest: Path
    out: Path
    settings: TrainSettings
    coarse: Path | None
    numbers: PresetSettings
    slices: HarmonizerSettings | None
    cases: ManifestCases
    members: tuple[Member, ...]
    work: Path
    warn: Callable[[str], None]
    cancel: CancelToken

    @classmethod
    def of(
        cls,
        manifest: Path,
        out: Path,
        settings: TrainSettings,
        coarse: str | Path | None,
        numbers: PresetSettings,
        slices: HarmonizerSettings | None,
        warn: Callable[[str], None],
        cancel: CancelToken,
    ) -> _Run:
        """Check what can be checked before anything is written."""
        from twintrack.inference.devices import select_device

        if os.path.lexists(out):
            raise OutputError("exists already; choose another name", code="place-taken", path=out)
        cases = read_cases(manifest)
        if coarse is None and not cases.knows_organ:
            raise InputError(
                "does not say where the pancreas is, which stage 1 learns; add a column organ or anatomy, or take "
                "stage 1 from a bundle with --coarse BUNDLE",
                code="organ-unknown",
                path=manifest,
            )
        raters = raters_of(cases.train)
        count = numbers.members if settings.members is None else settings.members
        if settings.strategy is Strategy.RATER_SPECIFIC and settings.members is None:
            count = 1
        check_raters(settings.strategy, dict.fromkeys(raters, len(cases.train)), None)
        members = plan_members(settings.strategy, raters, rater=settings.rater, members=count)
        device = select_device(settings.device)
        # An anatomy of ten labels is taken for granted here: what there is shows when the maps are read.
        channels = len(raters) + 10
        stages = [numbers.fine] if coarse is not None else [numbers.fine, numbers.coarse]
        check_room(cases.images, len(raters), stages, work_folder(out), channels=channels, device=device)
        # Settings that contradict themselves are refused now, not after the cases were prepared.
        EnsemblePlan(
            Layout(settings.strategy, raters, ()),
            members,
            numbers.fine,
            settings.seed,
            settings.ordinal_weight,
            settings.max_minutes,
        )
        path = None if coarse is None else Path(coarse)
        given = replace(settings, device=device)
        return cls(manifest, out, given, path, numbers, slices, cases, members, work_folder(out), warn, cancel)

    def begin(self) -> bool:
        """Make the folder of the training, or find the same training there; return whether it is new."""
        plan = self._plan()
        place = self.work / PLAN
        if place.is_file():
            if read_json(place) != plan:
                raise OutputError(
                    "holds another training, of other cases, settings or versions; remove it, or choose another --out",
                    code="training-differs",
                    path=self.work,
                )
            return False
        if os.path.lexists(self.work):
            raise OutputError("exists already; choose another --out", code="place-taken", path=self.work)
        try:
            self.work.mkdir(parents=True)
            place.write_text(json.dumps(plan, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise OutputError(
                f"cannot be written ({error.strerror}); choose another --out", code="not-writable", path=self.work
            ) from error
        return True

    def lock(self, stack: ExitStack) -> None:
        """Hold the folder of the training: two that write there would spoil each other's networks."""
        try:
            descriptor = try_lock(self.work / LOCK)
        except BlockingIOError as error:
            raise OutputError(
                "is being trained by another process; wait for it, or choose another --out",
                code="training-runs",
                path=self.work,
            ) from error
        except OSError:  # a network folder without locks
            return
        stack.callback(os.close, descriptor)

    def _plan(self) -> dict[str, Any]:
        """Return all that decides what comes out, ready for JSON; names of files that may name patients are hashed."""
        content = "\n".join(case.content for case in self.cases.train)
        return {
            "schema": 1,
            "settings": {**asdict(self.settings), "device": self.settings.device.split(":")[0]},
            "numbers": json.loads(json.dumps(asdict(self.numbers))),
            **({} if self.slices is None else {"slices": json.loads(json.dumps(asdict(self.slices)))}),
            "manifest_sha256": file_sha256(self.manifest),
            "cases_sha256": hashlib.sha256(content.encode()).hexdigest(),
            "coarse": None if self.coarse is None else "given",
            "versions": versions(),
        }

    def go(self, stack: ExitStack, progress: Progress) -> Path:
        """Prepare, train, calibrate, measure, write."""
        opened = None if self.coarse is None else stack.enter_context(Bundle.open(self.coarse))
        tumor = self._prepare(part(progress, 0.0, 0.05))
        raters = tumor.raters
        warnings = check_raters(
            self.settings.strategy, {name: len(tumor.cases_of(name)) for name in raters}, size_rank_p_value(tumor.sizes)
        )
        for warning in warnings:
            self.warn(warning)
        if opened is None:
            coarse = StageSource(self._organ_network(part(progress, 0.05, 0.15)), ("0",))
        else:
            coarse = StageSource(opened.stage_folder("coarse"), opened.folds["coarse"])
        everybody = pseudonyms(self.cases.raters)
        ids = {name: everybody[name] for name in raters}
        if any(name != told for name, told in everybody.items()):
            self.warn("the bundle calls the readers " + ", ".join(f"{to} ({name})" for name, to in everybody.items()))
        layout = Layout(self.settings.strategy, tuple(ids.values()), tumor.anatomy)
        share = 1.0 if opened is not None else 1.0 - COARSE_SHARE
        networks, told = self._networks(tumor, layout, share, part(progress, 0.15, 0.85))
        fine = StageSource(networks, tuple(member.fold for member in self.members))
        card = self._card(layout, tumor, ids, opened)
        card = replace(card, training={**(card.training or {}), **told})
        self._finish(coarse, fine, card, everybody, progress)
        for name in (TUMOR, ORGANS):  # patients' images
            shutil.rmtree(self.work / name, ignore_errors=True)
        progress(1.0, "bundle written")
        return self.out

    def _networks(
        self, tumor: Prepared, layout: Layout, share: float, progress: Progress
    ) -> tuple[Path, dict[str, Any]]:
        """Train stage 2; return its folder, and what the card says of the training alone."""
        target = self.work / NETWORKS
        if self.slices is None:
            plan = self._ensemble(layout, self.members, self.numbers.fine, share)
            train_members(tumor, plan, target, device=self.settings.device, progress=progress, cancel=self.cancel)
            return target, {}
        minutes = None if self.settings.max_minutes is None else self.settings.max_minutes * share
        run = train_harmonizer(
            tumor,
            HarmonizerPlan(layout, self.slices, self.settings.seed, minutes),
            target,
            device=self.settings.device,
            progress=progress,
            cancel=self.cancel,
        )
        for alarm in run.alarms:
            self.warn(alarm)
        told: dict[str, Any] = {"epochs": len(run.log), "metrics": run.diversity}
        if run.alarms:
            told["alarms"] = list(run.alarms)
        return target, told

    def _ensemble(
        self, layout: Layout, members: tuple[Member, ...], stage: StageSettings, share: float
    ) -> EnsemblePlan:
        settings = self.settings
        minutes = None if settings.max_minutes is None else settings.max_minutes * share
        return EnsemblePlan(layout, members, stage, settings.seed, settings.ordinal_weight, minutes)

    def _prepare(self, progress: Progress) -> Prepared:
        """Prepare the cases, and keep what their CTs look like."""
        found: list[dict[str, float]] = []

        def measured(case: TrainingCase) -> TrainingCase:
            def read() -> CaseVolumes:
                volumes = case.read()
                found.append(features_of(volumes.ct))
                for note in volumes.notes:
                    self.warn(note)
                return volumes

            return replace(case, read=read)

        prepared = prepare_tumor(
            [measured(case) for case in self.cases.train],
            self.work / TUMOR,
            self.numbers.fine,
            seed=self.settings.seed,
            progress=progress,
            cancel=self.cancel,
        )
        if found:
            content = json.dumps(InputRange.over(found).to_json())
            (self.work / INPUTS).write_text(content + "\n", encoding="utf-8")
        return prepared

    def _organ_network(self, progress: Progress) -> Path:
        """Train stage 1 on the organ."""
        prepared = prepare_organ(
            self.cases.train,
            self.work / ORGANS,
            self.numbers.coarse,
            progress=part(progress, 0.0, 0.4),
            cancel=self.cancel,
        )
        layout = Layout(Strategy.SINGLE, (ORGAN,), (), tumor=ORGAN)
        plan = self._ensemble(layout, (Member("0", ORGAN),), self.numbers.coarse, COARSE_SHARE)
        return train_members(
            prepared,
            plan,
            self.work / COARSE,
            device=self.settings.device,
            progress=part(progress, 0.4, 1.0),
            cancel=self.cancel,
        )

    def _card(self, layout: Layout, tumor: Prepared, ids: dict[str, str], coarse: Bundle | None) -> BundleCard:
        """Return what the bundle says of itself, but for what is measured on held-out cases."""
        settings, cases = self.settings, self.cases
        counts = {"train": len(cases.train), "calibration": len(cases.calibration), "test": len(cases.test)}
        training: dict[str, Any] = {
            "strategy": settings.strategy.value,
            "raters": list(ids.values()),
            "cases": counts,
            "cases_by_rater": {ids[name]: len(tumor.cases_of(name)) for name in tumor.raters},
            "preset": settings.preset.value,
            "loss": LOSSES[settings.strategy],
            "iterations": self.numbers.fine.iterations,
            "epochs": self.numbers.fine.epochs,
            "seeds": [settings.seed],
            "manifest_sha256": file_sha256(self.manifest),
            "settings_sha256": file_sha256(self.work / PLAN),
            "versions": versions(),
        }
        if settings.strategy is Strategy.ORDINAL:
            training["ordinal_weight"] = settings.ordinal_weight
        card = ensemble_card(self.out.stem, layout, self.members, ids, coarse)
        return replace(
            card,
            demo=card.demo or cases.phantoms,
            description=f"Trained by twintrack {__version__} on {counts['train']} cases of {len(ids)} readers, "
            f"strategy {settings.strategy.value}.",
            inputs=InputRange.from_json(read_json(self.work / INPUTS), str(self.work / INPUTS)),
            training=training,
        )

    def _finish(
        self, coarse: StageSource, fine: StageSource, card: BundleCard, ids: dict[str, str], progress: Progress
    ) -> None:
        """Calibrate the networks, measure them on cases held out, and write the bundle."""
        from twintrack.calibration import write_calibrator

        with PrivateFolder() as scratch:
            raw = create_bundle(coarse, fine, card, out=scratch / "bundle", half=True)
            calibrator = fit_on_rows(
                raw,
                [_renamed(row, ids) for row in self.cases.calibration],
                self.manifest,
                device=self.settings.device,
                warn=self.warn,
                progress=part(progress, 0.85, 0.93),
                cancel=self.cancel,
            )
            for warning in calibrator.warnings:
                self.warn(warning)
            write_calibrator(calibrator, scratch / "calibrator.json")
            training = dict(card.training or {})
            if self.cases.test:
                with Bundle.open(raw) as opened:
                    training["metrics"] = training.get("metrics", {}) | measure_on_rows(
                        opened,
                        calibrator,
                        self.cases.test,
                        device=self.settings.device,
                        progress=part(progress, 0.93, 0.99),
                        cancel=self.cancel,
                    )
            create_bundle(
                coarse,
                fine,
                replace(card, training=training),
                out=self.out,
                calibrator=scratch / "calibrator.json",
                half=True,
            )


def _renamed(row: ManifestRow, ids: dict[str, str]) -> ManifestRow:
    """Return a row whose raters have pseudonyms: calibrators keep their names."""
    return replace(row, annotations={ids[name]: path for name, path in row.annotations.items()})
