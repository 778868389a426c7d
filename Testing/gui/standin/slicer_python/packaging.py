"""What the module uses of Slicer's installer of Python packages. No test installs: each puts its own `pip_install`."""

import importlib.metadata

import slicer.util
from packaging.requirements import Requirement

import slicer

__all__ = ["pip_ensure", "pip_install"]


def pip_check(requirement):
    try:
        return importlib.metadata.version(requirement.name) in requirement.specifier
    except importlib.metadata.PackageNotFoundError:
        return False


def pip_ensure(requirements, skip_packages=None, prompt_install=True, requester=None, skip_in_testing=True):
    missing = [text for text in requirements if not pip_check(Requirement(text))]
    if not missing or (skip_in_testing and slicer.app.testingEnabled()):
        return
    if prompt_install and not slicer.util.confirmOkCancelDisplay("Packages need to be installed", requester):
        raise RuntimeError("User declined package installation")
    pip_install(missing, skip_packages=skip_packages, requester=requester)


def pip_install(requirements, **_options):
    raise NotImplementedError(f"not installed from a test: {requirements}")
