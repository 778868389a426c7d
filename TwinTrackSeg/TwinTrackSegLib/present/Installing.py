"""The model's packages in words: what is missing and asked for, what a check found, what is still broken."""

from __future__ import annotations

from collections.abc import Sequence

from twintrack.errors import TwinTrackError
from TwinTrackSegLib.present.Translation import tr as _

__all__ = [
    "DependencyError",
    "beginCheck",
    "cancelCheck",
    "checkCancelled",
    "checkProgress",
    "checked",
    "declined",
    "installQuestion",
    "installationFailed",
    "model",
    "reinstallQuestion",
    "repairFailed",
    "stillMissing",
    "tooOld",
    "torchDamaged",
    "torchExtensionMissing",
    "torchNotInstalled",
    "unusablePython",
]


class DependencyError(TwinTrackError):
    """A package that is needed is missing and was not installed.

    Parameters
    ----------
    sentence : str
        What is the matter.
    details : str
        What can be done without a network.
    code : str
        The kind of trouble.
    """

    def __init__(self, sentence: str, details: str = "", *, code: str) -> None:
        super().__init__(sentence, code=code)
        self.details = details


def model() -> str:
    """Return what needs packages, as the beginning of a sentence, where nothing else is named."""
    return _("The model")


def installQuestion(purpose: str, names: Sequence[str], *, torch: bool) -> str:
    """Ask whether what `purpose` needs is to be installed; with `torch`, say how much that is."""
    question = _("{purpose} needs Python packages that are not installed: {names}.").format(
        purpose=purpose, names=", ".join(names)
    )
    if torch:
        question += " " + _("PyTorch takes up to 3 GB.")
    return question + "\n\n" + _("Install them into Slicer's Python now?")


def declined(purpose: str, names: Sequence[str]) -> DependencyError:
    """Return the error of a user who declined."""
    return DependencyError(
        _("the installation was declined; {purpose} cannot do without: {names}").format(
            purpose=purpose, names=", ".join(names)
        ),
        code="installation-declined",
    )


def installationFailed(reason: object) -> DependencyError:
    """Return the error of an installation that failed, and why."""
    return DependencyError(
        _("the installation failed: {reason}").format(reason=reason),
        code="installation-failed",
    )


def stillMissing(requirements: Sequence[object], details: str = "") -> DependencyError:
    """Return the error of what is missing after all; `details` say what can be done without a network."""
    return DependencyError(
        _("packages of Python are missing: {names}; install them and try again").format(
            names=", ".join(map(str, requirements))
        ),
        details,
        code="packages-missing",
    )


def torchExtensionMissing() -> DependencyError:
    """Return the error of PyTorch, which comes by an extension of Slicer that is not there."""
    return DependencyError(
        _("PyTorch is missing; install the extension PyTorch (Extensions Manager), restart Slicer and try again"),
        code="torch-missing",
    )


def torchNotInstalled() -> DependencyError:
    """Return the error of the extension that did not install PyTorch."""
    return DependencyError(
        _("PyTorch was not installed; install it in the module PyTorch Utils and try again"),
        code="torch-missing",
    )


def torchDamaged() -> DependencyError:
    """Return the error that says how PyTorch is put in order, which pip must not do."""
    return DependencyError(
        _(
            "PyTorch is damaged: uninstall it in the module PyTorch Utils, restart Slicer, and press Segment to "
            "install it again"
        ),
        code="torch-damaged",
    )


def repairFailed(reason: object) -> DependencyError:
    """Return the error of installing again that failed, and why."""
    return DependencyError(
        _("the repair failed: {reason}").format(reason=reason),
        code="package-repair-failed",
    )


def unusablePython(python: str) -> DependencyError:
    """Return the error of a program that is no Python."""
    return DependencyError(
        _("{python}: cannot be used as Python; choose another one").format(python=python),
        code="python-unusable",
    )


def beginCheck() -> str:
    """Return the text of the button that begins a check."""
    return _("Check and repair the installation")


def cancelCheck() -> str:
    """Return the text of the button that began a check, while it goes on."""
    return _("Cancel the check")


def checkCancelled() -> str:
    """Say that the check was given up."""
    return _("The check was cancelled.")


def checkProgress(number: int, count: int, name: str) -> str:
    """Say which package is being imported."""
    return _("Checking package {number} of {count}: {name}").format(number=number, count=count, name=name)


def checked(broken: Sequence[str], *, repaired: bool, external: bool) -> tuple[str, bool, bool]:
    """Return what a check found, whether that is a failure, and whether to offer to install again.

    Parameters
    ----------
    broken : sequence of str
        The packages that cannot be imported.
    repaired : bool
        Whether they were installed again already.
    external : bool
        Whether the Python is the user's own, in which nothing is installed from here.
    """
    names = ", ".join(broken)
    if not broken:
        return _("Repaired.") if repaired else _("All packages of the model can be imported."), False, False
    if repaired:
        return _("Still not working: {names}").format(names=names), True, False
    if external:
        return _("Cannot be imported by the chosen Python: {names}").format(names=names), True, False
    return _("Cannot be imported: {names}").format(names=names), True, True


def reinstallQuestion(broken: Sequence[str]) -> str:
    """Ask whether broken packages are to be installed again."""
    question = _("These packages cannot be imported: {names}. Install them again?")
    return question.format(names=", ".join(broken))


def tooOld(needed: Sequence[int], found: Sequence[int]) -> str:
    """Say that this Slicer is too old, in place of the panel."""
    return _(
        "TwinTrackSeg needs 3D Slicer {needed} or newer; this is {found}, whose own Python packages are too "
        "old for it. Install a newer one from download.slicer.org."
    ).format(needed=".".join(map(str, needed)), found=".".join(map(str, found)))
