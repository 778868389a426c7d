"""Write the lists in ``docs/`` anew: the packages in ``architecture.md``, the decisions in ``adr/README.md``.

Each stands between two marks; the text around them is written by hand. A package is described by the first sentence of
its docstring, a decision by its heading and the line ``Status:`` below it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "TwinTrackSeg"
DOCS = ROOT / "docs"
ROOMS = ("twintrack", "TwinTrackSegLib")


def main() -> None:
    """Replace both lists."""
    for path, lines in lists().items():
        path.write_text(with_list(path.read_text(encoding="utf-8"), lines), encoding="utf-8")


def lists() -> dict[Path, list[str]]:
    """Return the lines of each list, by the page it stands on."""
    return {DOCS / "architecture.md": list(package_lines()), DOCS / "adr" / "README.md": list(decision_lines())}


def with_list(text: str, lines: list[str]) -> str:
    """Return a page's text with `lines` between its marks."""
    before, mark, rest = text.partition("<!-- list -->\n")
    _, end, after = rest.partition("<!-- end of list -->\n")
    if not (mark and end):
        raise ValueError("the page has no <!-- list --> and <!-- end of list -->, each on a line of its own")
    return "".join([before, mark, "\n", *(f"{line}\n" for line in lines), "\n", end, after])


def package_lines() -> Iterator[str]:
    """Yield the tree of packages, and of the modules that lie beside them, as a nested list."""
    for room in ROOMS:
        yield f"- **{room}**: {first_sentence(SOURCES / room / '__init__.py')}"
        beside = sorted((SOURCES / room).glob("[!_]*.py"))
        inside = sorted(path.parent for path in (SOURCES / room).rglob("*/__init__.py"))
        for folder in inside:
            depth = len(folder.relative_to(SOURCES / room).parts)
            name = folder.relative_to(SOURCES).as_posix()
            yield f"{'    ' * depth}- `{name}/`: {first_sentence(folder / '__init__.py')}"
        for path in beside:
            yield f"    - `{path.relative_to(SOURCES).as_posix()}`: {first_sentence(path)}"


def decision_lines() -> Iterator[str]:
    """Yield a table of the decisions."""
    yield from ("| | decision | status |", "| --: | --- | --- |")
    for path in sorted((DOCS / "adr").glob("[0-9]*.md")):
        text = path.read_text(encoding="utf-8")
        heading = re.search(r"^# (\d+)\. (.+)$", text, re.MULTILINE)
        status = re.search(r"^Status: (.+)$", text, re.MULTILINE)
        if not heading or not status:
            raise ValueError(f"{path}: needs a heading '# NUMBER. TITLE' and a line 'Status: ...'")
        yield f"| {heading.group(1)} | [{heading.group(2)}]({path.name}) | {status.group(1)} |"


def first_sentence(path: Path) -> str:
    """Return the first line of a module's docstring, which is one sentence."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not docstring:
        raise ValueError(f"{path}: has no docstring")
    return docstring.splitlines()[0]


if __name__ == "__main__":
    main()
