"""Look into a wheel and a source distribution: what is shipped is the package, all of it, and nothing else.

Usage: python tools/check_wheel.py dist/

`make wheel` builds both and calls it. Nothing is installed.
"""

from __future__ import annotations

import email
import re
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENGINE = ROOT / "TwinTrackSeg"
EXTRAS = ("codecs", "dicom-send", "node", "parquet", "server", "view")
"""Extras that the documents name."""


def shipped() -> set[str]:
    """Return what a wheel must hold: modules, stubs, data and the viewer's page, as they lie in the repository."""
    wanted = {path for path in (ENGINE / "twintrack").rglob("*.py*") if path.suffix in (".py", ".pyi")}
    wanted |= {path for path in (ENGINE / "TwinTrackSegLib").rglob("*.py") if "gui" not in path.parts}
    wanted |= {path for path in (ENGINE / "twintrack" / "data").rglob("*") if path.is_file()}
    wanted |= {path for path in (ENGINE / "TwinTrackSegLib" / "web" / "page").rglob("*") if path.is_file()}
    wanted.add(ENGINE / "twintrack" / "py.typed")
    return {path.relative_to(ENGINE).as_posix() for path in wanted if "__pycache__" not in path.parts}


def version() -> str:
    """Return the version as the package states it."""
    text = (ENGINE / "twintrack" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise SystemExit("twintrack/__init__.py states no version")
    return found[1]


def faults_of_wheel(path: Path) -> list[str]:
    """Return what is wrong with a wheel."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        (place,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        about = email.message_from_bytes(archive.read(place))
    held = {name for name in names if ".dist-info/" not in name}
    faults = [f"lacks {name}" for name in sorted(shipped() - held)]
    faults += [f"holds {name}, which is no part of the package" for name in sorted(held - shipped())]
    if about["Version"] != version():
        faults.append(f"is version {about['Version']}, the package says {version()}")
    if about["License-Expression"] != "Apache-2.0" or not [name for name in names if name.endswith("/LICENSE")]:
        faults.append("does not bring its licence")
    faults += [f"lacks the extra {name}" for name in EXTRAS if name not in about.get_all("Provides-Extra", [])]
    if not any(line.startswith("torch") for line in about.get_all("Requires-Dist", [])):
        faults.append("asks for no torch")
    return faults


def faults_of_source(path: Path) -> list[str]:
    """Return what is wrong with a source distribution: it must hold what a wheel is built from."""
    with tarfile.open(path) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"pyproject.toml", "LICENSE", "README.md", "TwinTrackSeg/Resources/requirements.txt"}
    needed |= {f"TwinTrackSeg/{name}" for name in shipped()}
    return [f"lacks {name}" for name in sorted(needed - held)]


def main() -> None:
    """Look at the one wheel and the one source distribution of a folder; say what is wrong and end with 1."""
    folder = Path(sys.argv[1])
    (wheel,), (source,) = list(folder.glob("*.whl")), list(folder.glob("*.tar.gz"))
    faults = [f"{wheel.name} {fault}" for fault in faults_of_wheel(wheel)]
    faults += [f"{source.name} {fault}" for fault in faults_of_source(source)]
    if faults:
        raise SystemExit("\n".join(faults))
    print(f"{wheel.name}, {source.name}: {len(shipped())} files, whole and nothing else")


if __name__ == "__main__":
    main()
