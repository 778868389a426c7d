"""Only `gui` knows Qt, the engine no Slicer, and heavy packages wait; `make lint` holds that imports point one way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

MODULE = Path(__file__).resolve().parents[3] / "TwinTrackSeg"
QT = {"qt", "ctk", "PythonQt", "PySide6", "PyQt5"}
SLICER = {"slicer", "vtk", "vtkmodules", "mrml", "TwinTrackSegLib", "TwinTrackSeg"}
HEAVY = {"torch", "nnunetv2", "highdicom", "pydicom", "matplotlib", "sklearn", "skimage", "SimpleITK", "dask"}

NETWORKS = "twintrack.harmonizer"
"""Classes of torch's: they need it to be defined, and so nobody imports this package before it is used."""


def scripts(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (MODULE / folder).rglob("*.py"))


def imports(path: Path, *, atImportOnly: bool = False) -> set[str]:
    """Return the dotted names that a file imports: anywhere, or only when it is itself imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if atImportOnly and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if atImportOnly and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the whole name"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
        pending.extend(ast.iter_child_nodes(node))
    return names


def tops(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def idOf(path: Path) -> str:
    return path.relative_to(MODULE).as_posix()


@pytest.mark.parametrize("path", scripts("twintrack"), ids=idOf)
def test_the_engine_imports_neither_slicer_nor_vtk_nor_qt(path):
    assert not tops(imports(path)) & (SLICER | QT)


@pytest.mark.parametrize("path", scripts("TwinTrackSegLib/mrml"), ids=idOf)
def test_mrml_imports_neither_qt_nor_gui(path):
    names = imports(path)
    assert not tops(names) & QT
    assert not any(name.startswith("TwinTrackSegLib.gui") for name in names)


@pytest.mark.parametrize("path", scripts("TwinTrackSegLib/gui"), ids=idOf)
def test_gui_does_not_import_the_module_file(path):
    assert "TwinTrackSeg" not in tops(imports(path))


def test_the_module_file_imports_qt_only_through_gui():
    assert not tops(imports(MODULE / "TwinTrackSeg.py")) & QT


@pytest.mark.parametrize("path", [MODULE / "TwinTrackSeg.py", *scripts("TwinTrackSegLib", "twintrack")], ids=idOf)
def test_heavy_packages_are_imported_where_they_are_used(path):
    names = imports(path, atImportOnly=True)
    if path.is_relative_to(MODULE / NETWORKS.replace(".", "/")):
        assert tops(names) & HEAVY <= {"torch"}
        return
    assert not tops(names) & HEAVY
    assert not any(name.startswith(NETWORKS) for name in names)
