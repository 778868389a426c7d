"""What an experiment has already computed, on disk: found again by content, so that a killed run goes on."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError, OutputError
from twintrack.io.volumes import read_volume, write_volume
from twintrack.system.atomic import atomic_path
from twintrack.system.ownership import Inputs
from twintrack.volume import Volume

__all__ = ["ExperimentStore", "VoxelSample", "content_key"]

KEY_DIGITS = 16
"""Hexadecimal digits of a key in a file name: 64 bits, more than enough to tell a few thousand results apart."""

_Found = TypeVar("_Found")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VoxelSample:
    """All that a fit needs of a calibration case: the voxels with a score or a mark, in no particular shape.

    Attributes
    ----------
    score : numpy.ndarray
        float32 (voxel,).
    marks : dict
        bool (voxel,) of each rater by the rater's name: marked as tumour.
    """

    score: NDArray[np.float32]
    marks: dict[str, NDArray[np.bool_]]

    @classmethod
    def of(cls, score: Volume, annotations: Mapping[str, Volume]) -> VoxelSample:
        """Take the voxels of a case that a fit can learn from or has to count as missed."""
        used = score.array > 0
        for mask in annotations.values():
            used |= mask.array != 0
        marks = {rater: mask.array[used] != 0 for rater, mask in annotations.items()}
        return cls(score.array[used].astype(np.float32, copy=False), marks)


def content_key(*parts: object) -> str:
    """Return a short hash of what a result depends on."""
    return hashlib.sha256("\0".join(str(part) for part in parts).encode()).hexdigest()[:KEY_DIGITS]


class ExperimentStore:
    """Results of single cases, one file each; a file that cannot be read counts as absent and is made again.

    Parameters
    ----------
    folder : Path
        Where they lie; made when missing. May be deleted when an experiment is done.
    inputs : Inputs
        What the experiment reads, which is never replaced. Anything else under the name of a result is: the name holds
        a hash of all that the result depends on.
    """

    def __init__(self, folder: Path, inputs: Inputs = ()) -> None:
        self._folder, self._inputs = folder, inputs
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot be made ({error.strerror}); choose another result folder", code="not-writable", path=folder
            ) from error

    def sample(self, name: str, key: str) -> VoxelSample | None:
        """Return a kept sample, or None."""
        return self._find(self._path(name, key, ".npz"), _read_sample)

    def keep_sample(self, name: str, key: str, sample: VoxelSample) -> None:
        """Keep what a fit needs of a case."""
        raters = list(sample.marks)
        bits = np.stack([np.packbits(marks) for marks in sample.marks.values()])
        with self._written(name, key, ".npz") as partial:
            np.savez_compressed(partial, score=sample.score, raters=np.array(raters), marks=bits)

    def score(self, name: str, key: str) -> Volume | None:
        """Return a kept score volume, or None."""
        return self._find(self._path(name, key, ".nii.gz"), read_volume)

    def keep_score(self, name: str, key: str, score: Volume) -> None:
        """Keep the score of a case."""
        with self._written(name, key, ".nii.gz") as partial:
            write_volume(score, partial)

    def record(self, name: str, key: str) -> dict[str, Any] | None:
        """Return kept numbers, or None."""
        return self._find(self._path(name, key, ".json"), lambda path: json.loads(path.read_text(encoding="utf-8")))

    def keep_record(self, name: str, key: str, record: Mapping[str, Any]) -> None:
        """Keep the numbers of a case."""
        with self._written(name, key, ".json") as partial:
            partial.write_text(json.dumps(record), encoding="utf-8")

    def _written(self, name: str, key: str, ending: str) -> AbstractContextManager[Path]:
        return atomic_path(self._path(name, key, ending), inputs=self._inputs, overwrite=True, mark=False)

    def _path(self, name: str, key: str, ending: str) -> Path:
        return self._folder / f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)[:60]}.{key}{ending}"

    def _find(self, path: Path, read: Callable[[Path], _Found]) -> _Found | None:
        if not path.exists():
            return None
        try:
            return read(path)
        except Exception as error:  # whatever a damaged file makes its reader raise: the case is computed again
            _log.warning("%s: damaged (%s); computed again", path, error)
            return None


def _read_sample(path: Path) -> VoxelSample:
    # Opened here, because numpy leaves a damaged file open.
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
        score, raters, bits = stored["score"], stored["raters"], stored["marks"]
    if len(raters) != len(bits) or len(raters) == 0:
        raise InputError("holds other raters than marks", code="cache-stale")
    marks = np.unpackbits(bits, axis=1, count=score.size).astype(bool)
    return VoxelSample(score, {str(rater): marks[place] for place, rater in enumerate(raters)})
