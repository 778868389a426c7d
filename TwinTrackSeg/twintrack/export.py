"""DICOM objects of a result: from memory at the end of a run, or later from its folder."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twintrack.atomic import atomic_folder
from twintrack.errors import InputError
from twintrack.volume import Volume, read_volume

if TYPE_CHECKING:
    from twintrack.dicom import DicomSeries

__all__ = ["export_result", "write_objects"]

logger = logging.getLogger(__name__)

OBJECTS = ("probability.dcm", "segmentation.dcm")
"""File names of the parametric map and of the segmentation."""


def export_result(result_folder: str | Path, series_path: str | Path, out: str | Path) -> tuple[Path, ...]:
    """Write the DICOM objects of a result folder; return their paths.

    Parameters
    ----------
    result_folder : path
        What ``twintrack segment`` wrote.
    series_path : path
        The CT series that was segmented.
    out : path
        Folder for the objects.

    Raises
    ------
    InputError
        If the folder holds no complete result, or the result lies on another grid than the series.
    OutputError
        If there is nothing to export or `out` cannot be written.
    """
    from twintrack.dicom import read_series

    folder = Path(result_folder)
    try:
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder}: holds no result.json; give the result folder of a finished run") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / 'result.json'}: cannot be read ({error})") from error
    labels, probability = (read_volume(folder / f"{name}.nii.gz") for name in ("segmentation", "probability"))
    series = read_series(Path(series_path))
    if not labels.geometry.same_grid(series.volume.geometry):
        raise InputError(f"{series_path}: another grid than the result in {folder}; give the segmented series")
    with atomic_folder(out, owned=OBJECTS, last=OBJECTS[0]) as partial:
        made = write_objects(partial, series, labels, probability, result)
    return tuple(Path(out) / path.name for path in made)


def write_objects(
    out: Path, series: DicomSeries, labels: Volume, probability: Volume, result: dict[str, Any]
) -> tuple[Path, ...]:
    """Write the DICOM objects of a result that lies on the grid of `series` and is described by ``result.json``.

    Where neither a tumour nor a vessel was found there is no segmentation to write, only the map.
    """
    from twintrack.dicom import Algorithm, MapMeaning, segments_from_labels, write_parametric_map, write_segmentation

    bundle, calibrator = result["bundle"], result["calibrator"]
    meaning = MapMeaning.SCORE if calibrator is None else MapMeaning(calibrator["target"])
    algorithm = Algorithm(bundle["name"], bundle["version"], bundle["sha256"], {"device": str(result["device"])})
    out.mkdir(parents=True, exist_ok=True)
    stated: dict[str, Any] = {"algorithm": algorithm, "meaning": meaning}
    # The grids agree to rounding; the series' own numbers are exact.
    on_series = series.volume.with_array
    paths = [write_parametric_map(on_series(probability.array), series, out / OBJECTS[0], **stated)]
    if labels.array.any():
        segments = segments_from_labels(on_series(labels.array), result["labels"])
        paths.append(write_segmentation(segments, series, out / OBJECTS[1], threshold=result["threshold"], **stated))
    else:
        logger.warning("no segment holds a voxel, so that no segmentation object is written")
    return tuple(paths)
