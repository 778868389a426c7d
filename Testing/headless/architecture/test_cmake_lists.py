"""Slicer's build installs what the CMake lists name, and nothing else: they must name every file of the module."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MODULE = ROOT / "TwinTrackSeg"
LEFT_OUT = {"CMakeLists.txt"}
"""Needed to build the module, not to run it."""


def listed(variable: str) -> list[str]:
    """Return the entries of a ``set(variable ...)`` in the module's CMakeLists.txt."""
    text = (MODULE / "CMakeLists.txt").read_text(encoding="utf-8")
    text = re.sub(r"#.*", "", text)
    found = re.search(rf"set\({variable}\s+([^)]*)\)", text)
    assert found, f"CMakeLists.txt sets no {variable}"
    return [entry.replace("${MODULE_NAME}", "TwinTrackSeg").strip('"') for entry in found.group(1).split()]


def inTree() -> set[str]:
    files = (path for path in MODULE.rglob("*") if path.is_file())
    names = {path.relative_to(MODULE).as_posix() for path in files}
    built = re.compile(r"(^|/)(__pycache__|[^/]+\.egg-info|\.[^/]+)(/|$)")
    return {name for name in names if not built.search(name)} - LEFT_OUT


@pytest.mark.parametrize(
    ("variable", "isScript"), [("MODULE_PYTHON_SCRIPTS", True), ("MODULE_PYTHON_RESOURCES", False)]
)
def test_every_file_of_the_module_is_listed_once_and_every_listed_file_exists(variable, isScript):
    names = listed(variable)
    expected = {name for name in inTree() if name.endswith(".py") == isScript}
    missing, surplus = sorted(expected - set(names)), sorted(set(names) - expected)
    assert not missing, "add to " + variable + " in TwinTrackSeg/CMakeLists.txt:\n  " + "\n  ".join(missing)
    assert not surplus, f"listed in {variable} but not in the tree: {surplus}"
    assert names == sorted(names, key=lambda name: (name.count("/") > 0, name)), "keep the list sorted"
    assert len(names) == len(set(names))


def test_the_only_script_in_the_module_folder_itself_is_the_module():
    # Slicer takes every .py file in that folder for a module.
    assert [path.name for path in MODULE.glob("*.py")] == ["TwinTrackSeg.py"]


def test_the_extension_adds_the_module_and_its_icon_exists():
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert "add_subdirectory(TwinTrackSeg)" in text
    icon = re.search(r'EXTENSION_ICONURL "[^"]*/main/([^"]*)"', text)
    assert icon
    assert (ROOT / icon.group(1)).is_file()


def test_tests_for_slicer_that_cmake_names_exist():
    text = (MODULE / "CMakeLists.txt").read_text(encoding="utf-8")
    scripts = re.findall(r"slicer_add_python_(?:unit)?test\(\s*SCRIPT\s+(\S+?)\)", text)
    assert len(scripts) >= 2
    for script in scripts:
        path = script.replace("${MODULE_NAME}", "TwinTrackSeg").replace("${CMAKE_CURRENT_SOURCE_DIR}/", "")
        assert (MODULE / path).is_file(), script
