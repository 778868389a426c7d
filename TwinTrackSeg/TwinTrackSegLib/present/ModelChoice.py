"""What is asked of the model, in words: which model, whose vessels, which rules, which computer; what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twintrack.errors import BundleError, InputError, TwinTrackError
from twintrack.labels import VESSELS
from twintrack.settings import MAX_SAMPLES
from TwinTrackSegLib.mrml.vessels.VesselChoice import VesselChoice
from TwinTrackSegLib.mrml.vessels.VesselTable import TITLES
from TwinTrackSegLib.mrml.worker.RunSettings import RunSettings, readBundleInfo, roiBox
from TwinTrackSegLib.present.Host import FileQuestion
from TwinTrackSegLib.present.Translation import tr as _

__all__ = [
    "ADDRESS_EXAMPLE",
    "DEVICES",
    "HERE",
    "SERVER",
    "VESSEL_TITLES",
    "Asked",
    "ModelNotes",
    "chooseModel",
    "computers",
    "deviceTitles",
    "modelNotes",
    "ruleTitles",
    "zipQuestion",
]

DEVICES = ("auto", "cpu", "cuda", "mps")

VESSEL_TITLES = {vessel.name: vessel.title for vessel in VESSELS}
"""The vessels' names for people, written out as in a sentence."""

HERE, SERVER = "here", "server"

ADDRESS_EXAMPLE = "https://gpu.hospital.example:8786"


@dataclass(frozen=True)
class ModelNotes:
    """What the chosen model says of itself.

    Attributes
    ----------
    text, tip : str
        Several lines, and a description.
    demo : bool
        Whether it knows phantoms only.
    usable : bool
        Whether it could be read; a server's own always is.
    """

    text: str
    tip: str = ""
    demo: bool = False
    usable: bool = True


@dataclass(frozen=True)
class Asked:
    """What the panel's fields hold when a run is asked for.

    Attributes
    ----------
    inputVolume, region : vtkMRMLNode or None
        The CT, and where to look.
    bundle : Path
        The model; `bundleEmptied` where its line was emptied by hand.
    address, certificates : str or None
        The server's, None for this computer.
    threshold, device, calibrator, keepScore, rules
        As `RunSettings` has them.
    vessels : VesselChoice, optional
        Vessels of the scene, to be measured in place of the model's.
    ownPython : bool
        Whether another Python than the application's runs the model: its packages are its owner's business.
    """

    inputVolume: Any
    region: Any
    bundle: Path
    bundleEmptied: bool
    address: str | None
    certificates: str | None
    threshold: float
    device: str
    calibrator: str | None
    keepScore: bool
    rules: str
    vessels: VesselChoice | None = None
    ownPython: bool = False

    @property
    def needsPackages(self) -> bool:
        """Whether the model's packages must be there: a server's client needs none of them."""
        return self.address is None and not self.ownPython

    def settings(self) -> RunSettings:
        """Return what a run is asked for.

        Raises
        ------
        InputError
            If the region lies outside the input volume, or the server has no address.
        BundleError
            If there is no bundle where one is named, or none is: said at once, not after a process was started for it.
        """
        if self.region is not None and self.inputVolume is None:
            raise InputError(_("choose a CT first"), code="no-input-chosen")
        if self.address == "":
            raise InputError(_("give the server's address, or run on this computer"), code="no-server-address")
        readers, samples = False, 0
        if self.address is None:
            if self.bundleEmptied:
                raise BundleError(chooseModel(), code="no-bundle-chosen")
            info = readBundleInfo(self.bundle)
            readers, samples = bool(info.readers), MAX_SAMPLES if info.drawsSamples else 0
        return RunSettings(
            bundle=str(self.bundle) if self.address is None else "",
            threshold=self.threshold,
            roi="auto" if self.region is None else roiBox(self.region, self.inputVolume),
            device=self.device,
            calibrator=self.calibrator,
            keep_score=self.keepScore,
            rater_maps=readers,
            samples=samples,
            rules=self.rules,
            run_on=self.address,
            tls=self.certificates,
        )


def chooseModel() -> str:
    """Say that no model is chosen."""
    return _("Choose a model bundle.")


def deviceTitles() -> tuple[str, ...]:
    """Return the names of `DEVICES` for people."""
    return (_("Automatic"), _("CPU"), _("Graphics card (CUDA)"), _("Apple graphics (MPS)"))


def ruleTitles() -> dict[str, str]:
    """Return the engine's rule sets with their names for people."""
    return {
        "nccn": _("NCCN (180°)"),
        "ahpba": _("AHPBA/SSO/SSAT 2009"),
        "alliance": _("Alliance A021101"),
        "dpcg": _("Dutch Pancreatic Cancer Group (90°/270°)"),
    }


def computers() -> tuple[tuple[str, str], ...]:
    """Return where the model can run: name for people, and what is remembered of the choice."""
    return ((_("This computer"), HERE), (_("A server"), SERVER))


def modelNotes(path: str | Path, *, remote: bool) -> ModelNotes:
    """Return what the model at `path` says of itself, why it cannot be read, or that the server has its own."""
    if remote:
        return ModelNotes(_("The server's own model is used; the log and the result say which one it is."))
    try:
        info = readBundleInfo(path)
    except (TwinTrackError, OSError) as error:
        return ModelNotes(str(error), usable=False)
    vessels = ", ".join(TITLES.get(name, name) for name in info.vessels) or _("none")
    lines = [
        _("{name} {version}, licence {license}").format(name=info.name, version=info.version, license=info.license),
        _("Tumour labels: {labels}. Finds vessels: {vessels}.").format(labels=", ".join(info.tumor), vessels=vessels),
    ]
    if not info.calibrated:
        lines.append(_("No calibrator: gives scores, not fractions of readers."))
    elif info.raters:
        lines.append(_("Calibrated on {number} readers.").format(number=info.raters))
    else:
        lines.append(_("Calibrated; the number of readers is not stated."))
    if info.demo:
        lines.append(_("Demonstration: knows phantoms only. On a patient's CT its result means nothing."))
    return ModelNotes("\n".join(lines), info.description, info.demo)


def zipQuestion() -> FileQuestion:
    """Ask for a zipped model."""
    return FileQuestion(_("Choose a zipped bundle"), _("Zip files"), (".zip",))
