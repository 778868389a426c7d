"""What a user without a network fetches elsewhere: the exact wheels for this Python, and the commands."""

import importlib.metadata
import pathlib
import sys

from packaging.requirements import Requirement
from packaging.tags import platform_tags

from TwinTrackSegLib.present.Translation import tr as _

__all__ = ["WHEEL_LIST", "offlineHelp", "wheelsFor"]

WHEEL_LIST = "wheels.txt"
"""Beside the requirements file: all packages with all they need, in one version each."""

SOURCE_ONLY = "source only"
LIST_NAME = "twintrackseg-wheels.txt"

GLIBC_TAGS = ("2_28", "2_27", "2_26", "2_24", "2_17", "2_12", "2_5", "1", "2010", "2014")
"""Of the many Linux tags, those that wheels are published for."""


def wheelsFor(path: str | pathlib.Path, wanted: list[Requirement]) -> tuple[list[str], list[str]]:
    """Return what to fetch, as ``name==version``: wheels, and packages that exist as source only.

    Of the list beside the requirements file at `path`, what this system and Python need and do not have. Packages that
    are there in any version stay as they are, since Slicer may have brought them, but for those in `wanted`.
    """
    names = {requirement.name.lower() for requirement in wanted}
    wheels, sources = [], []
    for line in (pathlib.Path(path).parent / WHEEL_LIST).read_text(encoding="utf-8").splitlines():
        text, _hash, comment = line.partition("#")
        if not text.strip():
            continue
        pinned = Requirement(text.strip())
        here = pinned.marker is None or pinned.marker.evaluate()
        if here and (pinned.name.lower() in names or not _isInstalled(pinned.name)):
            chosen = sources if SOURCE_ONLY in comment else wheels
            chosen.append(f"{pinned.name}{pinned.specifier}")
    return wheels, sources


def offlineHelp(path: str | pathlib.Path, wanted: list[Requirement]) -> str:
    """Return the commands for another machine and for this one, with the list that they need."""
    wheels, sources = wheelsFor(path, wanted)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    tags = " ".join(f"--platform {tag}" for tag in _platforms())
    fetch = (
        f"pip download --no-deps --only-binary=:all: --implementation cp --python-version {version} {tags} "
        f"--dest wheels -r {LIST_NAME}"
    )
    build = f"pip wheel --no-deps --wheel-dir wheels {' '.join(sources)}"
    return _(
        "Without a network: save the list below as {name} on another machine with Python and run there\n\n"
        "{commands}\n\n"
        "Copy list and folder here, and in Slicer's Python console run\n\n"
        'slicer.util.pip_install("--no-index --no-deps --find-links FOLDER/wheels -r FOLDER/{name}{sources}")\n\n'
        "with FOLDER as the place of both. The list, for Python {version} on this system:\n\n{list}"
    ).format(
        name=LIST_NAME,
        commands="\n".join([fetch, build] if sources else [fetch]),
        sources="".join(f" {source}" for source in sources),
        version=version,
        list="\n".join(wheels),
    )


def _platforms() -> list[str]:
    """Return the tags that wheels for this system carry; pip takes older systems' along on macOS only."""
    tags = list(platform_tags())
    if sys.platform != "linux":
        return tags[:1]
    return [tag for tag in tags if tag.startswith("manylinux") and _glibc(tag) in GLIBC_TAGS]


def _glibc(tag: str) -> str:
    """Return the version part of ``manylinux_2_28_x86_64`` or ``manylinux2014_x86_64``."""
    words = tag.removeprefix("manylinux").lstrip("_").split("_")
    return "_".join(words[:2]) if words[0] == "2" else words[0]


def _isInstalled(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
