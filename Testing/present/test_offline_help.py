"""A machine without a network gets the exact wheels for its system and Python, and commands that fit them."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
RESOURCES = ROOT / "TwinTrackSeg" / "Resources"
REQUIREMENTS = RESOURCES / "requirements.txt"

onListedPython = pytest.mark.skipif(sys.version_info < (3, 11), reason="the list is made for Slicer's Pythons")


@pytest.fixture
def help_():
    from TwinTrackSegLib.present import OfflineHelp

    return OfflineHelp


def listed(path: Path) -> dict[str, Requirement]:
    """Return the requirements in a file that hold here, by name."""
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    found = [Requirement(line) for line in lines if line]
    return {canonicalize_name(each.name): each for each in found if each.marker is None or each.marker.evaluate()}


@onListedPython
def test_the_list_holds_one_version_of_everything_and_all_that_it_needs():
    pins = listed(RESOURCES / "wheels.txt")
    assert all(re.fullmatch(r"==[^*,]+", str(pin.specifier)) for pin in pins.values())
    for name, requirement in listed(REQUIREMENTS).items():
        assert requirement.specifier.contains(str(pins[name].specifier)[2:]), name
    for name in pins:
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for need in map(Requirement, needs):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                assert canonicalize_name(need.name) in pins, f"{name} needs {need}"


@onListedPython
def test_the_list_agrees_with_the_versions_that_were_tested_together():
    tested, pins = listed(ROOT / "constraints.txt"), listed(RESOURCES / "wheels.txt")
    both = set(tested) & set(pins)
    assert len(both) > 50
    assert {name for name in both if tested[name].specifier != pins[name].specifier} == set()


def aList(folder: Path, *lines: str) -> Path:
    (folder / "wheels.txt").write_text("# a comment\n" + "\n".join(lines), encoding="utf-8")
    return folder / "requirements.txt"


def test_what_is_there_stays_unless_it_is_too_old_and_other_systems_are_left_out(help_, tmp_path):
    path = aList(
        tmp_path,
        "no-such-package==1.2  # source only",
        "no-such-wheel==3.4",
        "numpy==99",
        "packaging==99",
        "no-such-other==1 ; sys_platform == 'no such system'",
    )
    wheels, sources = help_.wheelsFor(path, [Requirement("packaging>=99")])
    assert wheels == ["no-such-wheel==3.4", "packaging==99"]
    assert sources == ["no-such-package==1.2"]


def test_the_help_names_platform_version_list_and_both_commands(help_, tmp_path):
    path = aList(tmp_path, "no-such-wheel==3.4", "no-such-source==1.2  # source only")
    text = help_.offlineHelp(path, [Requirement("no-such-wheel>=3")])
    fetch = next(line for line in text.splitlines() if line.startswith("pip download"))
    assert "--no-deps" in fetch
    assert "--only-binary=:all:" in fetch
    assert f"--python-version {sys.version_info.major}.{sys.version_info.minor}" in fetch
    assert "pip wheel --no-deps --wheel-dir wheels no-such-source==1.2" in text.splitlines()
    assert text.splitlines()[-1] == "no-such-wheel==3.4"
    assert ">=" not in text.rpartition("The list")[2]
    if sys.platform == "linux":
        platforms = re.findall(r"--platform (\S+)", fetch)
        assert any(tag.startswith("manylinux_2_17_") for tag in platforms)
        assert not any(tag.startswith("linux_") for tag in platforms)  # no index has wheels of that name
        assert len(platforms) <= 10
