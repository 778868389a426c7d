"""What 3D Slicer's Extensions Index asks of an extension, as far as it can be seen in this repository.

Sources, of August 2026: catalog entry schema 1.0.2 of Slicer/Slicer; ``scripts/check_description_files.py``,
``AGENTS.md`` and the pull request template of Slicer/ExtensionsIndex. What is done by hand stands in CONTRIBUTING.md.
"""

from __future__ import annotations

import ast
import json
import re
import struct
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
ENTRY = ROOT / "Resources" / "ExtensionsIndex" / "TwinTrackSeg.json"
MODULE = ROOT / "TwinTrackSeg"
SCHEMA_URL = (
    "https://raw.githubusercontent.com/Slicer/Slicer/main/Schemas/slicer-extension-catalog-entry-schema-v1.0.2.json#"
)

REQUIRED = {"$schema", "category", "scm_url"}
KINDS = {
    "$schema": str,
    "category": str,
    "scm_url": str,
    "scm_revision": str,
    "scm_type": str,
    "build_dependencies": list,
    "dicom_support_rule": str,
    "build_subdirectory": str,
    "enabled": bool,
    "tier": int,
}
"""All fields that an entry may have."""

TIERS = {1, 3, 5}
"""2 and 4 are kept for later by the index."""


def entry() -> dict[str, object]:
    return dict(json.loads(ENTRY.read_text(encoding="utf-8")))


def variable(name: str) -> str:
    """Return what the top CMakeLists.txt sets, read as the index reads it: one quoted text on one line."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    found = re.findall(rf'^set\({name} "([^"\n]+)"\)$', text, re.MULTILINE)
    assert len(found) == 1, f"{name} is set {len(found)} times"
    return str(found[0])


def in_repository(url: str) -> Path:
    """Return the file that a URL of raw content points to, on the branch that the index builds."""
    about = entry()
    owner_and_name = str(about["scm_url"]).removeprefix("https://github.com/").removesuffix(".git")
    start = f"https://raw.githubusercontent.com/{owner_and_name}/{about['scm_revision']}/"
    assert url.startswith(start), url
    return ROOT / url.removeprefix(start)


def png_size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n", path
    width, height = struct.unpack(">II", head[16:24])
    return width, height


def test_the_entry_has_the_schemas_fields_and_no_others():
    about = entry()
    assert about["$schema"] == SCHEMA_URL
    assert set(about) >= REQUIRED
    assert set(about) <= set(KINDS)
    for name, value in about.items():
        assert type(value) is KINDS[name], name
    assert about["tier"] in TIERS
    assert all(type(name) is str for name in about["build_dependencies"])


def test_the_entry_is_written_as_the_index_formats_its_files():
    written = ENTRY.read_bytes()
    assert written == (json.dumps(entry(), indent=2, sort_keys=True) + "\n").encode()


def test_the_repository_is_fetched_from_an_address_that_the_index_takes():
    assert re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", str(entry()["scm_url"]))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert entry()["scm_url"] == variable("EXTENSION_HOMEPAGE") == citation["repository-code"]


def test_entry_and_cmake_say_the_same():
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert re.findall(r"^project\((\w+)\)$", text, re.MULTILINE) == [ENTRY.stem]
    assert not ENTRY.stem.lower().startswith("slicer")  # the repository may, the extension may not
    depends = variable("EXTENSION_DEPENDS").split()
    assert depends == entry()["build_dependencies"]
    assert variable("EXTENSION_CATEGORY") == entry()["category"]


def test_the_category_is_the_one_that_slicer_lists_the_module_under():
    tree = ast.parse((MODULE / "TwinTrackSeg.py").read_text(encoding="utf-8"))
    assigned = {
        ast.unparse(node.targets[0]): ast.unparse(node.value) for node in ast.walk(tree) if isinstance(node, ast.Assign)
    }
    assert assigned["parent.categories"] == f"[translate('qSlicerAbstractCoreModule', {entry()['category']!r})]"


def test_icon_and_screenshots_lie_in_this_repository():
    assert png_size(in_repository(variable("EXTENSION_ICONURL"))) == (128, 128)
    screenshots = variable("EXTENSION_SCREENSHOTURLS").split()
    assert screenshots
    for url in screenshots:
        width, height = png_size(in_repository(url))
        assert min(width, height) > 400, url


def test_the_description_is_one_or_two_sentences_and_says_what_it_is_not_for():
    description = variable("EXTENSION_DESCRIPTION")
    assert 1 <= len(re.findall(r"\.(?:\s|$)", description)) <= 2
    assert "research use only" in description.lower()
    assert ";" not in description  # CMake would make a list of it, and Slicer's build would keep the first part


def test_the_licence_lies_under_the_name_that_the_index_asks_for_and_is_the_same():
    assert (ROOT / "LICENSE.txt").read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize(
    "needed",
    [
        r"^# TwinTrackSeg$",
        r"!\[[^\]]+\]\(Resources/\S+\.png\)",
        r"Apache-2\.0",
        r"^\*\*Patents\*\*: \S",
        r"arXiv 2604\.15950",
        r"\*Sample Data\*",
    ],
)
def test_the_homepage_has_what_the_checklist_asks_for(needed):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(needed, readme, re.MULTILINE)


def test_the_homepage_has_a_sentence_on_every_module():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    added = re.findall(
        r"^add_subdirectory\((\w+)\)", (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    modules = [path.stem for name in added for path in (ROOT / name).glob("*.py")]
    assert modules
    for module in modules:
        assert re.search(rf"^- \*\*{module}\*\*: [^\n]+\.", readme, re.MULTILINE), module


def test_the_picture_in_the_sample_data_module_has_slicers_size():
    width, height = png_size(MODULE / "Resources" / "Icons" / "TwinTrackPhantom.png")
    assert abs(width - 280) <= 20
    assert abs(height - 260) <= 20


def test_what_a_maintainer_does_by_hand_is_listed():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    part = page.split("## Into the Extensions Index")[1].split("\n## ")[0]
    for word in ("`3d-slicer-extension`", "Resources/ExtensionsIndex/TwinTrackSeg.json", "Wiki", "tier", "5.12"):
        assert word in part, word
    assert part.count("- [ ] ") >= 6
