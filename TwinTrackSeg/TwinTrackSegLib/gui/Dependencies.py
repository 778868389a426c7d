"""Python packages of the engine: looked for without importing them, installed only after asking."""

import importlib.metadata
import importlib.util
import pathlib

from packaging.requirements import Requirement

import slicer
from TwinTrackSegLib.present import Installing
from TwinTrackSegLib.present.Installing import DependencyError
from TwinTrackSegLib.present.OfflineHelp import offlineHelp

__all__ = [
    "DependencyError",
    "Packages",
    "ensureDependencies",
    "missingRequirements",
    "readRequirements",
    "repairPackages",
]

SHIPPED_WITH_SLICER = ("numpy", "scipy", "vtk", "SimpleITK", "requests", "pydicom")
"""Packages that are Slicer's own: never installed, upgraded or replaced from here."""

TORCH = "torch"


class Packages:
    """The packages of a requirements file, as single actions of the panel need some of them.

    Parameters
    ----------
    path : str or path
        The requirements file.
    """

    def __init__(self, path: str | pathlib.Path) -> None:
        self._path = path

    def missing(self, *names: str) -> list[str]:
        """Return those of the named packages that are not installed."""
        return [requirement.name for requirement in missingRequirements(self._path, *names)] if names else []

    def ensure(self, purpose: str, *names: str) -> None:
        """Install what is missing of the named packages after asking, as `ensureDependencies` does."""
        if names:
            ensureDependencies(self._path, *names, purpose=purpose)

    def ensureModel(self) -> None:
        """Install what is missing of all that the file names, after asking."""
        ensureDependencies(self._path)

    def canRunModel(self) -> bool:
        """Whether nothing of the file is missing."""
        return not missingRequirements(self._path)


def readRequirements(path: str | pathlib.Path) -> list[Requirement]:
    """Return what the file at `path` asks for on this kind of machine, without Slicer's own packages."""
    lines = [line.split("#")[0].strip() for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines()]
    wanted = [Requirement(line) for line in lines if line]
    own = {name.lower() for name in SHIPPED_WITH_SLICER}
    return [r for r in wanted if r.name.lower() not in own and (r.marker is None or r.marker.evaluate())]


def missingRequirements(path: str | pathlib.Path, *only: str) -> list[Requirement]:
    """Return the requirements in the file at `path`, or `only` some, that are not met, leaving out Slicer's own."""
    return [r for r in readRequirements(path) if (not only or r.name in only) and not _isMet(r)]


def ensureDependencies(path: str | pathlib.Path, *only: str, purpose: str = "") -> None:
    """Install what is missing of the requirements file at `path`, or of `only` some of it, after asking the user.

    The user is asked once for all, PyTorch included, so that a no is the last word.

    Parameters
    ----------
    path : str or path
        The requirements file.
    *only : str
        Names of those that are needed; all where none is named.
    purpose : str
        What needs them, as the beginning of a sentence; the model by default.

    Raises
    ------
    DependencyError
        If something is still missing: the user declined, or the installation failed.
    """
    missing = missingRequirements(path, *only)
    if not missing:
        return
    try:
        _install(missing, purpose or Installing.model())
    except DependencyError as error:
        raise DependencyError(
            str(error), offlineHelp(path, missingRequirements(path, *only)), code="packages-missing"
        ) from error
    still = missingRequirements(path, *only)
    if still:
        raise Installing.stillMissing(still, offlineHelp(path, still))


def repairPackages(names: list[str], path: str | pathlib.Path) -> None:
    """Install the named packages of the requirements file again, over what is left of them.

    Raises
    ------
    DependencyError
        If the installation fails, or PyTorch is among them: pip would put another build in the place of the one that
        Slicer's PyTorch extension chose for the graphics card.
    """
    wanted = [requirement for requirement in readRequirements(path) if requirement.name in names]
    texts = [str(requirement) for requirement in wanted if requirement.name != TORCH]
    try:
        if texts:
            slicer.util.pip_install(["--force-reinstall", "--no-deps", *texts])
    except Exception as error:
        raise Installing.repairFailed(error) from error
    if len(texts) < len(wanted):
        raise Installing.torchDamaged()


def _isMet(requirement: Requirement) -> bool:
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(version, prereleases=True)


def _install(missing: list[Requirement], purpose: str) -> None:
    """Ask once, then let Slicer's PyTorch extension choose the build that fits the graphics card, and pip the rest."""
    torch = next((requirement for requirement in missing if requirement.name == TORCH), None)
    if torch is not None and importlib.util.find_spec("PyTorchUtils") is None:
        raise Installing.torchExtensionMissing()
    names = [requirement.name for requirement in missing]
    question = Installing.installQuestion(purpose, names, torch=torch is not None)
    if not slicer.util.confirmOkCancelDisplay(question, "TwinTrackSeg"):
        raise Installing.declined(purpose, names)
    try:
        if torch is not None:
            _installTorch(torch)
        rest = [str(requirement) for requirement in missing if requirement.name != TORCH]
        if rest:
            from slicer.packaging import pip_ensure

            keep = [*SHIPPED_WITH_SLICER, TORCH]
            pip_ensure(rest, skip_packages=keep, prompt_install=False, requester="TwinTrackSeg")
    except DependencyError:
        raise
    except Exception as error:
        raise Installing.installationFailed(error) from error


def _installTorch(requirement: Requirement) -> None:
    import PyTorchUtils

    logic = PyTorchUtils.PyTorchUtilsLogic()
    if logic.installTorch(askConfirmation=False, torchVersionRequirement=str(requirement.specifier) or None) is None:
        raise Installing.torchNotInstalled()
