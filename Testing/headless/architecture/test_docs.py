"""The documents say what is there: packages, decisions, places of code, links, and whom to cite."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import twintrack as tt

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
DECISIONS = sorted((DOCS / "adr").glob("[0-9]*.md"))


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def idOf(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_every_package_is_on_the_page_how_it_is_built():
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    folders = [
        path.parent
        for room in ("twintrack", "TwinTrackSegLib")
        for path in (ROOT / "TwinTrackSeg" / room).rglob("*/__init__.py")
    ]
    missing = [
        name for path in folders if f"`{(name := path.relative_to(ROOT / 'TwinTrackSeg').as_posix())}/`" not in page
    ]
    assert len(folders) > 20
    assert not missing, f"run tools/docs_lists.py; docs/architecture.md lacks {missing}"


def test_lists_of_packages_and_decisions_are_those_of_the_tree():
    lists = tool("docs_lists")
    for path, lines in lists.lists().items():
        text = path.read_text(encoding="utf-8")
        assert text == lists.with_list(text, lines), f"run tools/docs_lists.py: {idOf(path)} is behind"


def test_decisions_are_numbered_without_a_gap_and_each_names_its_number():
    numbers = [int(path.name[:4]) for path in DECISIONS]
    assert numbers == list(range(1, len(numbers) + 1))
    for number, path in zip(numbers, DECISIONS, strict=True):
        assert path.read_text(encoding="utf-8").startswith(f"# {number}. "), path.name


def test_decisions_that_code_and_documents_name_exist():
    files = [*PAGES, *(path for part in ("TwinTrackSeg", "Testing", "tools") for path in (ROOT / part).rglob("*.py"))]
    named = {int(number) for path in files for number in re.findall(r"\bADR (\d+)", path.read_text(encoding="utf-8"))}
    assert named
    assert max(named) <= len(DECISIONS)


@pytest.mark.parametrize("page", PAGES, ids=idOf)
def test_links_to_files_lead_somewhere(page):
    targets = re.findall(r'(?:\]\(|src=")([^)\s"#]+)', page.read_text(encoding="utf-8"))
    local = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert not [target for target in local if not (page.parent / target).exists()]


def test_files_that_documents_name_by_their_path_exist():
    places = (ROOT, DOCS, ROOT / "TwinTrackSeg", ROOT / "TwinTrackSeg" / "twintrack")
    named = re.compile(r"`([\w.]+/[\w./]*\.(?:py|json|txt|html|js|csv|cff|md))`")
    found = {(page, name) for page in PAGES for name in named.findall(page.read_text(encoding="utf-8"))}
    missing = {(idOf(page), name) for page, name in found if not any((place / name).exists() for place in places)}
    assert len(found) > 50
    assert missing == {("docs/adr/0032-a-key-for-each-local-cluster.md", "skimage/__init__.py")}  # a stranger's file


def test_warnings_end_the_building_of_the_site():
    command = re.search(r"mkdocs build(.*)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert command
    assert "--strict" in command.group(1)
    assert "--quiet" not in command.group(1)  # mkdocs then counts no warnings


def test_code_that_is_written_by_hand_is_where_the_page_says():
    text = (DOCS / "by-hand.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    places = [place for row in rows for place in re.findall(r"`([^`]+)`", row[2])]
    assert len(places) > 30
    assert not [place for place in places if not (ROOT / "TwinTrackSeg" / "twintrack" / place).exists()]


def test_links_are_turned_to_pages_pictures_and_the_repository():
    turned = tool("docs_site").with_site_links
    repository = "https://example.org/r"
    assert turned("[a](docs/segment.md#x) [b](LICENSE)", "README.md", "index.md", repository) == (
        "[a](segment.md#x) [b](https://example.org/r/blob/main/LICENSE)"
    )
    assert turned(
        "[a](../../README.md) [b](0002-model-in-its-own-process.md)", "docs/adr/0001-x.md", "adr/0001-x.md", repository
    ) == ("[a](../index.md) [b](0002-model-in-its-own-process.md)")
    assert turned("![a](../Resources/overview.png)", "docs/segment.md", "segment.md", repository) == (
        "![a](Resources/overview.png)"
    )
    assert turned("[a](docs/adr)", "README.md", "index.md", repository) == "[a](adr/README.md)"
    for untouched in ("[a](docs/none.md)", "[a](https://x.org/a)", "```\n[a](LICENSE)\n```"):
        assert turned(untouched, "README.md", "index.md", repository) == untouched


def test_the_reference_shows_every_name_of_the_package():
    site = tool("docs_site")
    assert {name for _, name in site.face()} == set(tt.__all__) - {"__version__"}
    shown = set(re.findall(r"heading: tt\.(\w+)", site.python_face()))
    assert shown == set(tt.__all__) - {"__version__"}


@pytest.mark.slow
def test_the_reference_shows_every_public_function_of_the_engine():
    site = tool("docs_site")
    pages = "\n".join(site.engine_pages().values())
    face = {name for _, name in site.face()}
    shown = {
        f"{module}.{name}"
        for module, names in re.findall(r"::: (\S+)\n    options: \{members: \[([^]]*)\]", pages)
        for name in re.findall(r'"(\w+)"', names)
    }
    engine = ROOT / "TwinTrackSeg" / "twintrack"
    for path in engine.rglob("[!_]*.py"):
        module = ".".join(path.relative_to(engine.parent).with_suffix("").parts)
        text = path.read_text(encoding="utf-8")
        listed = re.search(r"^__all__ = \[([^]]*)\]", text, re.MULTILINE)
        public = set(re.findall(r'"(\w+)"', listed.group(1))) if listed else set()
        functions = set(re.findall(r"^def (\w+)\(", text, re.MULTILINE)) & public
        assert not {f"{module}.{name}" for name in functions - face} - shown, module


def test_the_tools_of_the_documentation_are_pinned():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0] for line in lines if "==" in line}
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r"^docs = \[(.*)\]$", text, re.MULTILINE)
    assert found
    tools = re.findall(r'"([a-z0-9-]+)', found.group(1))
    assert {"mkdocs-material", "mkdocstrings-python"} <= set(tools)
    assert set(tools) <= pinned


def test_the_citation_is_of_this_version_and_names_each_paper_with_its_authors():
    citation: dict[str, Any] = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == tt.__version__
    assert f'license = "{citation["license"]}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert citation["repository-code"] in (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert citation["message"]
    assert citation["title"] == "TwinTrackSeg"
    assert len(citation["references"]) == 4
    for paper in citation["references"]:
        assert {"type", "title", "authors", "year", "identifiers", "url"} <= set(paper)
        assert all({"family-names", "given-names"} == set(author) for author in paper["authors"])
        number = paper["url"].removeprefix("https://arxiv.org/abs/")
        assert re.fullmatch(r"\d{4}\.\d{5}", number)
        assert paper["identifiers"] == [{"type": "doi", "value": f"10.48550/arXiv.{number}"}]
        assert paper["year"] == 2000 + int(number[:2])
