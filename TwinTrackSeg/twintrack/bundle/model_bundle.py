"""A model as it is handed on: a folder (or a zip of it) whose every file is named, hashed and free of code."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from twintrack.bundle.archive import MAX_BYTES, MAX_FILES, UNPACKED, unpack_bundle_zip
from twintrack.bundle.fingerprint import Fingerprint, networks_sha256, plans_intensities
from twintrack.bundle.nnunet_plans import architecture_name, check_dataset, check_plans, has_regions, label_channels
from twintrack.bundle.places import bundle_path, demo_bundle_path
from twintrack.bundle.rater_entries import WEIGHT_ROUNDING, RaterMember
from twintrack.bundle.schema import POOLING, ROI_COMPONENT_FRACTION, STAGES, parse_bundle_json
from twintrack.bundle.slice_architecture import read_slice_architecture
from twintrack.errors import BundleError
from twintrack.imaging.ct_features import InputRange
from twintrack.labels import VESSEL_VALUES
from twintrack.system.json_file import MAX_JSON_BYTES, read_json, read_limited
from twintrack.system.ownership import is_litter
from twintrack.system.paths import file_sha256, is_there
from twintrack.system.private_folder import PrivateFolder

__all__ = ["CHECKPOINT_NAME", "POOLING", "STAGES", "Bundle", "bundle_path", "demo_bundle_path"]

CHECKPOINT_NAME = "checkpoint_final.pth"
"""File name of a member's weights in its fold folder, as nnU-Net writes it."""


@dataclass(frozen=True)
class Bundle:
    """An opened, verified model bundle.

    Open one with `Bundle.open`; as a context manager it removes the temporary files of a zipped bundle at the end.

    Attributes
    ----------
    path : pathlib.Path
        Folder with the bundle's files (a temporary one for a zip).
    sha256 : str
        Hash of ``bundle.json``; since that lists the hash of every other file, it identifies the whole bundle.
    name, version, license, description, intended_use : str
        What the bundle says about itself.
    demo : bool
        Whether the bundle knows synthetic phantoms only.
    tumor_weights : mapping of str to float
        What each tumour label's probability adds to the score, in (0, 1], by label name in the fine ``dataset.json``.
    organ_labels : tuple of str
        Label names in the coarse ``dataset.json`` that make up the organ.
    vessel_labels : mapping of str to str
        Vessel name to label name in the fine ``dataset.json``; may be empty.
    roi_margin_mm : float
        How far the organ is dilated to become the region of interest, in mm.
    mirroring : bool
        Whether predictions are averaged over mirrored inputs.
    pooling : str
        How members' outputs become one score.
    raters : int or None
        Number of raters behind the calibrator, where known.
    configurations : mapping of str to str
        nnU-Net configuration by stage.
    folds : mapping of str to tuple of str
        Members by stage.
    files : mapping of str to str
        SHA-256 of every file but ``bundle.json``, by relative POSIX path.
    roi_component_fraction : float
        Connected parts of the organ below this fraction of the largest part are dropped: 0 keeps all, 1 the largest.
    roi_probability : float or None
        The organ is where its probability is at least this; None: where no other class of stage 1 is likelier.
    origins : mapping of str to mapping of str to str
        By stage, the ``trainer`` and the ``checkpoint`` that the weights come from, where known.
    fingerprints : mapping of str to Fingerprint
        By stage, numbers of the training images, where known.
    inputs : InputRange or None
        What the CTs looked like that the bundle was made with, where known.
    contact_mm : float or None
        Distance in mm from a vessel's lumen within which tumour touches it; None: the program's own.
    rater_members : tuple of RaterMember
        Which networks or labels speak for which rater; empty where none does.
    training : mapping or None
        How the networks were trained: see `twintrack.bundle.rater_entries.TRAINING_ENTRIES`.
    slices : bool
        Whether the fine stage is a network of slices, whose samples differ as raters do (ADR 55).
    """

    path: Path
    sha256: str
    name: str
    version: str
    license: str
    description: str
    intended_use: str
    demo: bool
    tumor_weights: Mapping[str, float]
    vessel_labels: Mapping[str, str]
    organ_labels: tuple[str, ...]
    roi_margin_mm: float
    mirroring: bool
    pooling: str
    raters: int | None
    configurations: Mapping[str, str]
    folds: Mapping[str, tuple[str, ...]]
    files: Mapping[str, str]
    roi_component_fraction: float = ROI_COMPONENT_FRACTION
    roi_probability: float | None = None
    origins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    fingerprints: Mapping[str, Fingerprint] = field(default_factory=dict)
    inputs: InputRange | None = None
    contact_mm: float | None = None
    rater_members: tuple[RaterMember, ...] = ()
    training: Mapping[str, Any] | None = None
    slices: bool = False
    _unpacked: PrivateFolder | None = field(default=None, repr=False, compare=False)

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Open a bundle folder or zip file, check what it says and the hash of every file.

        Raises
        ------
        BundleError
            If anything is missing, altered, malformed or not supported.
        """
        if is_there(path := Path(path).expanduser()) and path.is_dir():
            return cls._from_folder(path, None)
        if not (is_there(path) and path.is_file()):
            raise BundleError(
                "no such bundle; give a bundle folder or a zip file of one", code="bundle-missing", path=path
            )
        unpacked = unpack_bundle_zip(path)
        folder = unpacked.path / UNPACKED
        try:
            return cls._from_folder(folder, unpacked)
        except BaseException as error:
            unpacked.close()
            if isinstance(error, BundleError):
                error.rename(folder, path)
            raise

    @classmethod
    def _from_folder(cls, folder: Path, unpacked: PrivateFolder | None) -> Bundle:
        document = folder / "bundle.json"
        if not document.is_file():
            remedy = (
                "it holds what nnU-Net's training left: twintrack bundle create makes a bundle of that"
                if _is_of_training(folder)
                else "give a bundle folder, or a zip file of one"
            )
            raise BundleError(
                f"not a bundle, because it has no bundle.json; {remedy}", code="not-a-bundle", path=folder
            )
        try:
            content = read_limited(document, MAX_JSON_BYTES)
        except (OSError, ValueError) as error:
            raise BundleError(f"cannot be read ({error})", code="file-unreadable", path=document) from error
        values = parse_bundle_json(content, str(document))
        values.pop("networks_sha256")  # for other programs; it follows from the rest
        bundle = cls(path=folder, sha256=hashlib.sha256(content).hexdigest(), _unpacked=unpacked, **values)
        bundle._check_layout()
        bundle.verify()
        bundle._check_models()
        return bundle

    def __enter__(self) -> Bundle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the temporary files of a zipped bundle; nothing for a folder."""
        if self._unpacked is not None:
            self._unpacked.close()

    @property
    def calibrator_path(self) -> Path | None:
        """The calibrator's file, or None for a bundle that is not calibrated yet."""
        return self.path / "calibrator.json" if "calibrator.json" in self.files else None

    @property
    def networks_sha256(self) -> str:
        """Hash of all that decides a score: see `twintrack.bundle.fingerprint.networks_sha256`."""
        return networks_sha256(
            files=self.files,
            folds=self.folds,
            configurations=self.configurations,
            tumor_weights=self.tumor_weights,
            vessel_labels=self.vessel_labels,
            rater_members=self.rater_members,
            pooling=self.pooling,
            mirroring=self.mirroring,
            slices=self.slices,
        )

    @property
    def tumor_labels(self) -> tuple[str, ...]:
        """Labels that take part in the score."""
        return tuple(self.tumor_weights)

    @property
    def raters_have_members(self) -> bool:
        """Whether every network of the fine ensemble learnt from one rater alone."""
        return any(rater.members for rater in self.rater_members)

    def check_tells_raters(self) -> None:
        """Refuse a wish for the maps of single raters where nothing in the bundle speaks for one.

        Raises
        ------
        BundleError
            If `rater_members` is empty.
        """
        if not self.rater_members:
            raise BundleError(
                "has no networks or outputs of single readers, so it cannot say how one of them would draw; leave out "
                "--raters, or take a bundle that lists readers in bundle show",
                code="no-rater-members",
                path=self.path,
            )

    def check_draws_samples(self) -> None:
        """Refuse a wish for samples where the networks have none to draw.

        Raises
        ------
        BundleError
            If the fine stage is no network of slices.
        """
        if not self.slices:
            raise BundleError(
                "has no network that draws samples; leave out --samples, or take a bundle that was trained with "
                "--strategy harmonizer",
                code="no-samples",
                path=self.path,
            )

    @property
    def member_weights(self) -> tuple[float, ...]:
        """How much each network of the fine ensemble counts, in the order of its folds; they add up to their number.

        Where networks belong to raters, each rater counts the same, however many networks the rater has.
        """
        folds = self.folds["fine"]
        shares = {
            fold: len(folds) / (len(self.rater_members) * len(rater.members))
            for rater in self.rater_members
            for fold in rater.members
        }
        return tuple(shares.get(fold, 1.0) for fold in folds)

    @property
    def members(self) -> int:
        """Number of networks in the fine ensemble."""
        return len(self.folds["fine"])

    @property
    def vessel_values(self) -> dict[str, int]:
        """Value of each predicted vessel in a vessel label map: 1 to 5 as in `VESSEL_VALUES`, others after."""
        further = [name for name in self.vessel_labels if name not in VESSEL_VALUES]
        order = [*VESSEL_VALUES, *further]
        return {name: order.index(name) + 1 for name in order if name in self.vessel_labels}

    def stage_folder(self, stage: str) -> Path:
        """Return the folder with ``plans.json`` and ``dataset.json`` of a stage, ``"coarse"`` or ``"fine"``."""
        return self.path / stage

    def read_json(self, stage: str, name: str) -> dict[str, Any]:
        """Read ``plans.json`` or ``dataset.json`` of a stage.

        Raises
        ------
        BundleError
            If the file is not a JSON object.
        """
        path = self.stage_folder(stage) / name
        try:
            content = read_json(path)
        except (OSError, ValueError) as error:
            raise BundleError(f"not a readable JSON file ({error})", code="json-unreadable", path=path) from error
        if not isinstance(content, dict):
            raise BundleError("must be a JSON object", code="json-unreadable", path=path)
        return content

    def verify(self) -> None:
        """Compare every file with its hash and refuse files that are not listed.

        Raises
        ------
        BundleError
            Names the file that is missing, altered or not listed.
        """
        left = MAX_BYTES
        for name, expected in self.files.items():
            path = self.path / name
            if not path.is_file():
                raise BundleError(
                    f"the bundle's file {name} is missing; get the bundle again",
                    code="bundle-file-missing",
                    path=self.path,
                )
            left -= path.stat().st_size
            if left < 0:
                raise BundleError(
                    f"has more than the {MAX_BYTES:,} bytes that a bundle may have",
                    code="bundle-too-large",
                    path=self.path,
                )
            if file_sha256(path) != expected:
                raise BundleError(
                    f"the bundle's file {name} was altered or damaged; get the bundle again",
                    code="bundle-file-altered",
                    path=self.path,
                )
        for count, path in enumerate(self.path.rglob("*")):
            if count > 8 * MAX_FILES:
                raise BundleError(
                    "holds more files and folders than a bundle may have", code="bundle-too-large", path=self.path
                )
            name = path.relative_to(self.path).as_posix()
            if path.is_dir() or name == "bundle.json" or is_litter(path.name):
                continue
            if name not in self.files:
                raise BundleError(
                    f"the file {name} is not listed in bundle.json; remove it",
                    code="bundle-file-unlisted",
                    path=self.path,
                )

    def describe(self) -> dict[str, Any]:
        """Return what a person wants to know about the bundle, ready for JSON."""
        return {
            "name": self.name,
            "version": self.version,
            "sha256": self.sha256,
            "networks_sha256": self.networks_sha256,
            "license": self.license,
            "description": self.description,
            "intended_use": self.intended_use,
            "demo": self.demo,
            "raters": self.raters,
            "calibrated": self.calibrator_path is not None,
            "calibrator": self._describe_calibrator(),
            "tumor_labels": list(self.tumor_labels),
            "tumor_weights": dict(self.tumor_weights),
            "rater_members": [rater.to_json() for rater in self.rater_members],
            "training": None if self.training is None else dict(self.training),
            "vessel_labels": dict(self.vessel_labels),
            "organ_labels": list(self.organ_labels),
            "roi_margin_mm": self.roi_margin_mm,
            "roi_component_fraction": self.roi_component_fraction,
            "roi_probability": self.roi_probability,
            "mirroring": self.mirroring,
            "contact_mm": self.contact_mm,
            "inputs": None if self.inputs is None else self.inputs.to_json(),
            "pooling": self.pooling,
            "size_mb": round(sum((self.path / name).stat().st_size for name in self.files) / 1e6, 2),
            "stages": {stage: self._describe_stage(stage) for stage in STAGES},
        }

    def _describe_calibrator(self) -> dict[str, Any] | None:
        from twintrack.calibration import read_calibrator

        if self.calibrator_path is None:
            return None
        calibrator = read_calibrator(self.calibrator_path)
        stated = {"target": calibrator.target, "cases": calibrator.cases, "bins": calibrator.bins}
        return stated | {"upper_bins": calibrator.upper_bins, "largest": calibrator.knots_y[-1]}

    def _describe_stage(self, stage: str) -> dict[str, Any]:
        plans, dataset = self.read_json(stage, "plans.json"), self.read_json(stage, "dataset.json")
        where = str(self.path / stage / "plans.json")
        configuration = check_plans(plans, self.configurations[stage], where)
        fingerprint = self.fingerprints.get(stage)
        return {
            "architecture": architecture_name(configuration, where),
            "configuration": self.configurations[stage],
            "folds": list(self.folds[stage]),
            **({"kind": "slices"} if self.slices and stage == "fine" else {}),
            "labels": dataset["labels"],
            "patch_size": configuration["patch_size"],
            "spacing_mm": configuration["spacing"],
            "training_intensities": plans_intensities(plans),
            "fingerprint": None if fingerprint is None else fingerprint.to_json(),
            "origin": dict(self.origins.get(stage, {})),
        }

    def _check_layout(self) -> None:
        for stage in STAGES:
            checkpoints = [f"{stage}/fold_{fold}/{CHECKPOINT_NAME}" for fold in self.folds[stage]]
            for name in (f"{stage}/plans.json", f"{stage}/dataset.json", *checkpoints):
                if name not in self.files:
                    raise BundleError(
                        f"'files' does not list {name}, which is needed",
                        code="bundle-file-unlisted",
                        path=self.path / "bundle.json",
                    )

    def _check_models(self) -> None:
        names = {"coarse": self.organ_labels, "fine": (*self.tumor_labels, *self.vessel_labels.values())}
        for stage in STAGES:
            where = f"{self.path / stage / 'dataset.json'}"
            self._check_plans(stage)
            dataset = self.read_json(stage, "dataset.json")
            check_dataset(dataset, where)
            known = label_channels(dataset)
            for name in names[stage]:
                if name not in known or dataset["labels"][name] == 0:
                    raise BundleError(
                        f"has no label {name!r}, which bundle.json names; it has {list(known)}",
                        code="label-unknown",
                        path=where,
                    )
            if stage == "fine":
                self._check_weights(known, overlapping=has_regions(dataset["labels"]), where=where)

    def _check_plans(self, stage: str) -> None:
        """Check plans, and that a network of slices is there where one is said to be, and nowhere else."""
        where = str(self.path / stage / "plans.json")
        configuration = check_plans(self.read_json(stage, "plans.json"), self.configurations[stage], where)
        found, wanted = read_slice_architecture(configuration, where), self.slices and stage == "fine"
        if (found is not None) != wanted:
            raise BundleError(
                "describes another kind of network than bundle.json says; get the bundle again",
                code="slice-architecture",
                path=where,
            )
        if found is not None and (found.raters != len(self.rater_members) or len(self.folds[stage]) != 1):
            raise BundleError(
                f"is one network of {found.raters} raters, and bundle.json names {len(self.folds[stage])} networks and "
                f"{len(self.rater_members)} raters; get the bundle again",
                code="slice-architecture",
                path=where,
            )

    def _check_weights(self, channels: Mapping[str, int], *, overlapping: bool, where: str) -> None:
        """Refuse tumour labels whose weighted sum could be above 1, or that cannot speak for a rater."""
        total = math.fsum(self.tumor_weights.values())
        if overlapping and total > 1 + WEIGHT_ROUNDING:
            raise BundleError(
                f"regions overlap, so the weights of the tumour labels must add up to at most 1, not {total:g}",
                code="regions-overlap",
                path=where,
            )
        if any(rater.label is not None for rater in self.rater_members) and not overlapping:
            raise BundleError(
                "has labels that exclude each other, so none can speak for one rater; each rater needs a region that "
                "may overlap the others'",
                code="rater-members",
                path=where,
            )
        weighted = any(weight != 1 for weight in self.tumor_weights.values())
        if weighted and len({channels[name] for name in self.tumor_weights}) < len(self.tumor_weights):
            raise BundleError(
                "two of bundle.json's 'tumor_weights' are one output of the network; give each label its own",
                code="label-repeated",
                path=where,
            )


def _is_of_training(folder: Path) -> bool:
    """Whether a folder is one of nnU-Net's results: ``<trainer>__<plans>__<configuration>``, or the one around it."""
    return any((place / "plans.json").is_file() for place in (folder, *folder.glob("*__*__*")))
