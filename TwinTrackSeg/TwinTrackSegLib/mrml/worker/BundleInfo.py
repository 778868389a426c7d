"""What a bundle says about itself, read without touching its weights: for the badge beside the bundle selector."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from twintrack.bundle.archive import read_bundle_document
from twintrack.bundle.schema import parse_bundle_json

__all__ = ["BundleInfo", "readBundleInfo"]

CALIBRATOR = "calibrator.json"


@dataclass(frozen=True)
class BundleInfo:
    """What a bundle says about itself.

    Attributes
    ----------
    name, version, license, description : str
        As its author states them.
    demo : bool
        Whether it knows synthetic phantoms only.
    tumor, vessels : tuple of str
        Labels that sum to tumour, and names of the vessels that it finds.
    calibrated : bool
        Whether it holds a calibrator.
    readers : int or None
        Number of readers behind the calibrator, if it says.
    """

    name: str
    version: str
    license: str
    description: str
    demo: bool
    tumor: tuple[str, ...] = ()
    vessels: tuple[str, ...] = ()
    calibrated: bool = True
    readers: int | None = None


def readBundleInfo(path: str | Path) -> BundleInfo:
    """Read the bundle document in a folder or zip file. The engine verifies the files themselves when it runs.

    Raises
    ------
    BundleError
        If there is no such bundle or its document is damaged.
    """
    path = Path(path)
    content = read_bundle_document(path)
    values = parse_bundle_json(content, str(path))
    return BundleInfo(
        **{key: values[key] for key in ("name", "version", "license", "description", "demo")},
        tumor=tuple(values["tumor_labels"]),
        vessels=tuple(values["vessel_labels"]),
        calibrated=CALIBRATOR in values["files"],
        readers=values["raters"],
    )
