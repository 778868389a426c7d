"""Python packages of the engine: looked for without importing them, installed only after asking."""

import importlib.metadata
import importlib.util
import json
import pathlib
import subprocess
import tempfile

from packaging.requirements import Requirement
from slicer.i18n import tr as _

import slicer
from twintrack.errors import TwinTrackError
from TwinTrackSegLib.gui.OfflineHelp import offlineHelp

__all__ = [
    "DependencyError",
    "brokenPackages",
    "ensureDependencies",
    "missingRequirements",
    "repairPackages",
]

SHIPPED_WITH_SLICER = ("numpy", "scipy", "vtk", "SimpleITK", "requests", "pydicom")
"""Packages that are Slicer's own: never installed, upgraded or replaced from here."""

TORCH = "torch"

IMPORT_NAMES = {"scikit-learn": "sklearn", "scikit-image": "skimage"}
"""What is imported of packages whose module has another name."""

IMPORT_TIMEOUT_SEC = 300
TRY_IMPORTS = """
import importlib, json, sys
broken = []
for name in sys.argv[1:]:
    try:
        if importlib.import_module(name).__file__ is None:
            raise ImportError("an empty folder is all that is left")
    except BaseException:
        broken.append(name)
print(json.dumps(broken))
"""
"""Half-installed packages are often empty folders, which Python imports without a word."""


class DependencyError(TwinTrackError):
    """A package that the model needs is missing and was not installed.

    Parameters
    ----------
    sentence : str
        What is the matter.
    details : str
        What can be done without a network.
    """

    def __init__(self, sentence: str, details: str = "") -> None:
        super().__init__(sentence)
        self.details = details


def missingRequirements(path: str | pathlib.Path, *only: str) -> list[Requirement]:
    """Return the requirements in the file at `path`, or `only` some, that are not met, leaving out Slicer's own."""
    return [r for r in _requirements(path) if (not only or r.name in only) and not _isMet(r)]


def ensureDependencies(path: str | pathlib.Path, *only: str) -> None:
    """Install what is missing of the requirements file at `path`, or of `only` some of it, after asking the user.

    Raises
    ------
    DependencyError
        If something is still missing: the user declined, or the installation failed.
    """
    missing = missingRequirements(path, *only)
    if not missing:
        return
    try:
        if any(requirement.name == TORCH for requirement in missing):
            _installTorch(next(r for r in missing if r.name == TORCH))
        rest = [requirement for requirement in missing if requirement.name != TORCH]
        if rest:
            _install(rest)
    except DependencyError as error:
        raise DependencyError(str(error), offlineHelp(path, missingRequirements(path, *only))) from error
    still = missingRequirements(path, *only)
    if still:
        names = ", ".join(str(requirement) for requirement in still)
        raise DependencyError(
            _("Python packages are missing: {names}; install them and try again").format(names=names),
            offlineHelp(path, still),
        )


def brokenPackages(python: list[str], path: str | pathlib.Path) -> list[str]:
    """Return the packages of the requirements file at `path` that a child of `python` cannot import.

    The child imports them, not this process: a damaged package may take its interpreter down.

    Raises
    ------
    DependencyError
        If the interpreter cannot be run.
    """
    wanted = {IMPORT_NAMES.get(name, name): name for name in (r.name for r in _requirements(path))}
    try:
        done = subprocess.run(
            [*python, "-c", TRY_IMPORTS, *wanted],
            capture_output=True,
            text=True,
            timeout=IMPORT_TIMEOUT_SEC,
            check=False,
        )
        return [wanted[name] for name in json.loads(done.stdout.splitlines()[-1])]
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        raise DependencyError(
            _("{python}: cannot be used as Python ({reason}); choose another one").format(
                python=python[0], reason=error
            )
        ) from error


def repairPackages(names: list[str], path: str | pathlib.Path) -> None:
    """Install the named packages of the requirements file again, over what is left of them.

    Raises
    ------
    DependencyError
        If the installation fails.
    """
    texts = [str(requirement) for requirement in _requirements(path) if requirement.name in names]
    if not texts:
        return
    try:
        slicer.util.pip_install(["--force-reinstall", "--no-deps", *texts])
    except Exception as error:
        raise DependencyError(_("The repair failed: {reason}").format(reason=error)) from error


def _requirements(path: str | pathlib.Path) -> list[Requirement]:
    """Return what is asked for on this kind of machine, without Slicer's own packages."""
    lines = [line.split("#")[0].strip() for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines()]
    wanted = [Requirement(line) for line in lines if line]
    own = {name.lower() for name in SHIPPED_WITH_SLICER}
    return [r for r in wanted if r.name.lower() not in own and (r.marker is None or r.marker.evaluate())]


def _isMet(requirement: Requirement) -> bool:
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(version, prereleases=True)


def _installTorch(requirement: Requirement) -> None:
    """Let Slicer's PyTorch extension choose the build that fits the graphics card."""
    if importlib.util.find_spec("PyTorchUtils") is None:
        raise DependencyError(
            _("PyTorch is missing; install the extension PyTorch (Extensions Manager), restart Slicer and try again")
        )
    import PyTorchUtils

    PyTorchUtils.PyTorchUtilsLogic().installTorch(
        askConfirmation=True, torchVersionRequirement=str(requirement.specifier) or None
    )


def _install(requirements: list[Requirement]) -> None:
    texts = [str(requirement) for requirement in requirements]
    keep = [*SHIPPED_WITH_SLICER, TORCH]
    try:
        if importlib.util.find_spec("slicer.packaging") is not None:  # Slicer 5.12 and later
            import slicer.packaging

            slicer.packaging.pip_ensure(texts, skip_packages=keep, requester="TwinTrackSeg")
        else:
            _installWithPip(texts, keep)
    except RuntimeError as error:  # declined
        raise DependencyError(
            _("The installation was declined; the model cannot run without these packages")
        ) from error
    except Exception as error:
        raise DependencyError(_("The installation failed: {reason}").format(reason=error)) from error


def _installWithPip(requirements: list[str], keep: list[str]) -> None:
    """Slicer before 5.12: ask here, and pin what must not change through a constraints file."""
    question = _("TwinTrackSeg needs these Python packages: {names}\n\nInstall them now?").format(
        names=", ".join(requirements)
    )
    if not slicer.util.confirmOkCancelDisplay(question, "TwinTrackSeg"):
        raise RuntimeError("declined")
    pins = [f"{name}=={version}" for name in keep if (version := _versionOf(name))]
    with tempfile.TemporaryDirectory() as folder:
        constraints = pathlib.Path(folder) / "constraints.txt"
        constraints.write_text("\n".join(pins), encoding="utf-8")
        slicer.util.pip_install(["-c", str(constraints), *requirements])


def _versionOf(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
