"""What MkDocs does not do by itself (a hook, named in ``mkdocs.yml``).

README, CONTRIBUTING and CHANGELOG become pages, the reference is generated, and links that leave ``docs/`` are turned
to the page, the picture or the repository's file that they mean. A link to nothing is left as it is: MkDocs refuses it.
"""

from __future__ import annotations

import ast
import os
import posixpath
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import messages

ROOT = Path(__file__).resolve().parents[1]
ENGINE = ROOT / "TwinTrackSeg" / "twintrack"
ROOT_PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Files of the repository's root that are pages of the site."""

LINK = re.compile(r"(?<=\]\()([^)\s#]+)(#[^)\s]*)?(?=[)\s])")
PICTURE = re.compile(r"<img\s[^>]*>")
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that do not lie in ``docs/``, and the pictures of ``Resources/``."""
    from mkdocs.structure.files import File

    for name, page in ROOT_PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    for picture in sorted((ROOT / "Resources").rglob("*.png")):
        files.append(File.generated(config, picture.relative_to(ROOT).as_posix(), abs_src_path=str(picture)))
    pages = {
        "reference/command-line.md": command_line(),
        "reference/python.md": python_face(),
        "reference/messages.md": messages.page(),
        **engine_pages(),
    }
    for page, text in pages.items():
        files.append(File.generated(config, page, content=text))
    places = sorted(file.src_uri for file in files.documentation_pages())
    config["nav"] = with_subpages(config["nav"], places)
    return files


def with_subpages(navigation: Any, pages: list[str]) -> Any:
    """Return the navigation, with the other pages of a folder after its ``README.md`` or ``index.md``."""
    if isinstance(navigation, dict):
        return {title: with_subpages(entry, pages) for title, entry in navigation.items()}
    if not isinstance(navigation, list):
        return navigation
    found: list[Any] = []
    for entry in navigation:
        found.append(with_subpages(entry, pages))
        if isinstance(entry, str):
            folder = f"{posixpath.dirname(entry)}/"
            found += [page for page in pages if page.startswith(folder) and page != entry]
    return found


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Write HTML pictures as Markdown, so that MkDocs checks them too, and turn the links of the page."""
    del files
    shown = page.file.src_uri
    source = next((name for name, target in ROOT_PAGES.items() if target == shown), f"docs/{shown}")
    return with_site_links(PICTURE.sub(_as_markdown, markdown), source, shown, config.repo_url)


def with_site_links(text: str, source: str, page: str, repository: str) -> str:
    """Return a page's text with links as they are on the site.

    Parameters
    ----------
    text
        Markdown, its links relative to `source`.
    source, page
        The file in the repository, and its place among the pages.
    repository
        Address for files that are not on the site.
    """

    def turned(match: re.Match[str]) -> str:
        target, anchor = match.group(1), match.group(2) or ""
        if SCHEME.match(target):
            return match.group(0)
        meant = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if meant.startswith("..") or not (ROOT / meant).exists():
            return match.group(0)
        place = _place(meant)
        if place is None:
            return f"{repository}/blob/main/{meant}{anchor}"
        return posixpath.relpath(place, posixpath.dirname(page) or ".") + anchor

    lines, fenced = [], False
    for line in text.split("\n"):
        fenced ^= line.lstrip().startswith("```")
        lines.append(line if fenced else LINK.sub(turned, line))
    return "\n".join(lines)


def _place(path: str) -> str | None:
    """Return where a file of the repository lies on the site, or None where it does not."""
    if path in ROOT_PAGES:
        return ROOT_PAGES[path]
    if (ROOT / path).is_dir():
        path = f"{path}/README.md"
    if path.startswith("docs/") and (ROOT / path).is_file():
        return path.removeprefix("docs/")
    return path if path.startswith("Resources/") and path.endswith(".png") else None


def _as_markdown(match: re.Match[str]) -> str:
    fields = dict(re.findall(r'(\w+)="([^"]*)"', match.group(0)))
    width = f'{{ width="{fields["width"]}" }}' if "width" in fields else ""
    return f"![{fields.get('alt', '')}]({fields['src']}){width}"


def command_line() -> str:
    """Return the page of all commands, written by typer itself from the help that the commands have."""
    command = [sys.executable, "-m", "typer", "twintrack.cli.app", "utils", "docs", "--name", "twintrack"]
    environment = {**os.environ, "PYTHONPATH": str(ENGINE.parent), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, encoding="utf-8")
    return done.stdout


def python_face() -> str:
    """Return the page of what ``import twintrack as tt`` hands out: what the stub of the package imports."""
    parts = ["# From Python", "", "::: twintrack", "    options: {members: [], show_root_heading: false}"]
    for home, name in face():
        parts += ["", f"::: {home}.{name}", f"    options: {{heading: tt.{name}, toc_label: {name}}}"]
    return "\n".join(parts) + "\n"


def face() -> list[tuple[str, str]]:
    """Return (module, name) of each name that the stub of the package imports, in its order."""
    tree = ast.parse((ENGINE / "__init__.pyi").read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return [(str(node.module), alias.name) for node in imports for alias in node.names]


def engine_pages() -> dict[str, str]:
    """Return a page for each package of the engine, and one for the modules beside them."""
    shown = set(face())
    pages: dict[str, list[str]] = {}
    for module, tree in _modules():
        names = [
            name
            for name in _public(tree)
            if not any(name == known and f"{module}.".startswith(f"{home}.") for home, known in shown)
        ]
        if not names:
            continue
        parts = module.split(".")
        package = parts[1] if (ENGINE / parts[1]).is_dir() else ""
        page = pages.setdefault(package, [f"# {'.'.join(['twintrack', package]).rstrip('.')}", ""])
        members = ", ".join(f'"{name}"' for name in names)  # in YAML a bare N is a boolean
        page += [f"::: {module}", f"    options: {{members: [{members}], show_root_full_path: true}}", ""]
    first = pages.pop("")
    first[0] = "# Inside the engine"
    first[1:1] = [
        "",
        "What packages and modules have for each other. For scripts, take what [twintrack](../python.md) hands out.",
    ]
    texts = {f"reference/engine/{package}.md": "\n".join(lines) for package, lines in pages.items()}
    return {"reference/engine/index.md": "\n".join(first), **texts}


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ENGINE.rglob("*.py")):
        parts = path.relative_to(ENGINE.parent).with_suffix("").parts
        if parts[-1] not in ("__init__", "__main__"):
            yield ".".join(parts), ast.parse(path.read_text(encoding="utf-8"))


def _public(tree: ast.Module) -> list[str]:
    """Return ``__all__``, empty without one."""
    listed: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            listed = ast.literal_eval(node.value)
    return listed
