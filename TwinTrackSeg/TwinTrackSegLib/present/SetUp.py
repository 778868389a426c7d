"""What is set once on a machine: model, processor, calibrator, computer, Python; no scene that is opened changes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from twintrack.bundle.model_bundle import demo_bundle_path
from twintrack.errors import BundleError
from TwinTrackSegLib.mrml.vessels.VesselChoice import VesselChoice
from TwinTrackSegLib.mrml.worker.Interpreter import defaultWorkerCommand, workerCommandOf
from TwinTrackSegLib.present.Host import Host
from TwinTrackSegLib.present.ModelChoice import DEVICES, HERE, SERVER, Asked, chooseModel, modelNotes

__all__ = ["RunParameters", "SetUp", "SetUpState"]


class RunParameters(Protocol):
    """What is chosen in the scene for a run; see `Asked`."""

    inputVolume: Any
    regionOfInterest: Any
    bundlePath: Path
    threshold: float
    rules: str


@dataclass(frozen=True)
class SetUpState:
    """What a front end shows.

    Attributes
    ----------
    model, modelTip : str
        What the chosen model says of itself, or that none is chosen.
    here : bool
        Whether this computer runs the model: model and processor can be chosen, a server's address cannot.
    """

    model: str
    modelTip: str
    here: bool


class SetUp:
    """Keeps the choices of the machine, and puts them together with the scene's into what a run is asked for.

    Parameters
    ----------
    host : Host
        The application.
    bundleLine : callable
        Returns the model's path as it stands in its field: a field that was emptied by hand names no model.
    changed : callable
        Called without arguments whenever `state` is another.

    Attributes
    ----------
    device, calibrator, runOn, server, certificates, python : str
        What is chosen; empty paths for none.
    """

    def __init__(self, host: Host, bundleLine: Callable[[], str], changed: Callable[[], None]) -> None:
        self._host, self._bundleLine, self._changed = host, bundleLine, changed
        self._bundle = Path()
        kept = host.recall("device")
        self.device = kept if kept in DEVICES else DEVICES[0]
        self.calibrator = self._existing("calibrator")
        self.runOn = SERVER if host.recall("runOn") == SERVER else HERE
        self.server, self.certificates = host.recall("server"), host.recall("certificates")
        self.python = self._existing("python")
        self._notes = modelNotes(self._bundle, remote=self.remote)

    @property
    def state(self) -> SetUpState:
        """What is to be shown now."""
        if not self.remote and not self._bundleLine():
            return SetUpState(chooseModel(), "", here=True)
        return SetUpState(self._notes.text, self._notes.tip, here=not self.remote)

    @property
    def remote(self) -> bool:
        """Whether a server runs the model."""
        return self.runOn == SERVER

    @property
    def ownPython(self) -> bool:
        """Whether another Python than the application's runs the model; its packages are its owner's business."""
        return bool(self.python) and Path(self.python).is_file()

    @property
    def workerCommand(self) -> list[str]:
        """Program and arguments that run the model."""
        return workerCommandOf(self.python) if self.ownPython else defaultWorkerCommand()

    def firstBundle(self) -> Path | None:
        """Return the model of the last time, else the demonstration; None where an installation has neither."""
        try:
            return Path(self._existing("bundle") or demo_bundle_path())
        except BundleError:  # the user chooses
            return None

    def chooseBundle(self, path: Path) -> None:
        """Follow the scene's model; one that can be read is that of the next scene too."""
        self._bundle = path
        self._notes = modelNotes(path, remote=self.remote)
        if self._notes.usable and not self.remote:
            self._host.remember("bundle", str(path))
        self._changed()

    def chooseDevice(self, device: str) -> None:
        """Choose a processor."""
        self.device = device
        self._host.remember("device", device)
        self._changed()

    def chooseCalibrator(self, path: str) -> None:
        """Choose another calibrator than the model's, or that for an empty path."""
        self.calibrator = path
        if not path or Path(path).is_file():
            self._host.remember("calibrator", path)
        self._changed()

    def chooseComputer(self, runOn: str, server: str, certificates: str) -> None:
        """Choose who runs the model; the choice is this machine's: a scene that is opened sends a CT nowhere."""
        self.runOn, self.server, self.certificates = runOn, server.strip(), certificates
        for name in ("runOn", "server", "certificates"):
            self._host.remember(name, getattr(self, name))
        self.chooseBundle(self._bundle)

    def choosePython(self, path: str) -> None:
        """Choose another Python than the application's, or that for an empty path."""
        self.python = path
        if self.ownPython or not path:
            self._host.remember("python", path)
        self._changed()

    def asked(self, parameters: RunParameters, *, keepScore: bool, vessels: VesselChoice | None) -> Asked:
        """Return what is chosen for a run, here and in the scene."""
        return Asked(
            inputVolume=parameters.inputVolume,
            region=parameters.regionOfInterest,
            bundle=parameters.bundlePath,
            bundleEmptied=not self._bundleLine(),  # by hand: the parameter keeps the path of before
            address=self.server if self.remote else None,
            certificates=(self.certificates or None) if self.remote else None,
            threshold=parameters.threshold,
            device=self.device,
            calibrator=self.calibrator or None,
            keepScore=keepScore,
            rules=parameters.rules,
            vessels=vessels,
            ownPython=self.ownPython,
        )

    def _existing(self, name: str) -> str:
        """Return a path that was kept; empty where it is not there any more."""
        path = self._host.recall(name)
        return path if path and Path(path).exists() else ""
