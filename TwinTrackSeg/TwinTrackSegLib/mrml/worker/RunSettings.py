"""What a run is asked for: settings, the region as a box of voxels, and what the bundle says about itself."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import vtk

import slicer
from twintrack.bundle.archive import read_bundle_document
from twintrack.bundle.schema import parse_bundle_json
from twintrack.errors import InputError
from TwinTrackSegLib.mrml.VolumeConversion import ijkToRas

__all__ = ["BundleInfo", "RunSettings", "readBundleInfo", "roiBox"]

CALIBRATOR = "calibrator.json"


@dataclass(frozen=True)
class RunSettings:
    """What a run is asked for.

    Attributes
    ----------
    bundle : str
        Path of the model bundle (folder or zip); empty for a server's own.
    threshold : float
        MHR at which the working outline is drawn.
    roi : str or tuple of int
        ``"auto"``, ``"full"`` or a voxel index box (i0, i1, j0, j1, k0, k1), ends exclusive.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    calibrator : str or None
        Calibrator file to be used in place of the bundle's.
    keep_score : bool
        Whether the uncalibrated score comes with the result, to fit a calibrator on.
    rater_maps : bool
        Whether the maps of single readers come with the result; the bundle must tell readers apart.
    samples : int
        How many samples come with the result; the bundle must draw samples where it is not 0.
    rules : str
        Rule set that names the anatomic contact pattern of all vessels together.
    run_on : str or None
        Address of a server (``twintrack serve``), ``https://host:port``, that runs the model; None for this computer.
    tls : str or None
        Folder with the certificate or the token for it.
    """

    bundle: str
    threshold: float = 0.5
    roi: str | tuple[int, int, int, int, int, int] = "auto"
    device: str = "auto"
    calibrator: str | None = None
    keep_score: bool = False
    rater_maps: bool = False
    samples: int = 0
    rules: str = "nccn"
    run_on: str | None = None
    tls: str | None = None


def roiBox(roiNode: Any, volumeNode: Any) -> tuple[int, int, int, int, int, int]:
    """Return the smallest box (i0, i1, j0, j1, k0, k1), ends exclusive, of voxels of `volumeNode` around the ROI.

    The ROI may be turned, and both nodes may stand under transforms.

    Raises
    ------
    InputError
        If the ROI does not reach into the volume.
    """
    half = np.array(roiNode.GetSize()) / 2
    corners = np.array([(*(np.array(signs) * half), 1.0) for signs in product((-1, 1), repeat=3)])
    toWorld = slicer.util.arrayFromVTKMatrix(roiNode.GetObjectToWorldMatrix())
    fromWorld = np.eye(4)
    transform = volumeNode.GetParentTransformNode()
    if transform is not None:
        matrix = vtk.vtkMatrix4x4()
        transform.GetMatrixTransformToWorld(matrix)
        fromWorld = np.linalg.inv(slicer.util.arrayFromVTKMatrix(matrix))
    toIndex = np.linalg.inv(slicer.util.arrayFromVTKMatrix(ijkToRas(volumeNode))) @ fromWorld
    index = (corners @ (toIndex @ toWorld).T)[:, :3]
    size = np.array(volumeNode.GetImageData().GetDimensions())
    first = np.clip(np.floor(index.min(axis=0) + 0.5), 0, size).astype(int)
    last = np.clip(np.ceil(index.max(axis=0) + 0.5), 0, size).astype(int)
    if np.any(last - first < 1):
        raise InputError(
            f"the region '{roiNode.GetName()}' does not reach into volume '{volumeNode.GetName()}'; move it, or choose "
            "no region",
            code="region-outside",
        )
    (i0, j0, k0), (i1, j1, k1) = first.tolist(), last.tolist()
    return (i0, i1, j0, j1, k0, k1)


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
    raters : int or None
        Number of raters behind the calibrator, if it says.
    readers : tuple of str
        Pseudonyms of the readers that it tells apart.
    drawsSamples : bool
        Whether its network draws samples.
    """

    name: str
    version: str
    license: str
    description: str
    demo: bool
    tumor: tuple[str, ...] = ()
    vessels: tuple[str, ...] = ()
    calibrated: bool = True
    raters: int | None = None
    readers: tuple[str, ...] = ()
    drawsSamples: bool = False


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
        tumor=tuple(values["tumor_weights"]),
        vessels=tuple(values["vessel_labels"]),
        calibrated=CALIBRATOR in values["files"],
        raters=values["raters"],
        readers=tuple(rater.id for rater in values["rater_members"]),
        drawsSamples=values["slices"],
    )
