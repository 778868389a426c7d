"""What is sent to the server for a run, under names that tell nothing of the patient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twintrack.dicom.read.find import files_below
from twintrack.errors import InputError, TwinTrackError
from twintrack.execution.server.spool import CHUNK_BYTES
from twintrack.io.vessel_maps import whole_vessels
from twintrack.settings import SegmentSettings
from twintrack.system.paths import is_there

__all__ = ["Upload", "pack"]

SERIES = "series"
"""Folder of a DICOM series on the server."""

DETACHED = (".mhd", ".nhdr", ".hdr", ".img")
"""Endings of volumes that are two files."""


@dataclass(frozen=True)
class Upload:
    """A run's files.

    Attributes
    ----------
    source : str
        Name of the CT on the server: a file or a folder.
    settings : dict
        `SegmentSettings` as JSON values; the files in it by their name on the server.
    files : dict
        Path here of each file, by its name on the server.
    places : dict
        What the user calls a file or folder, by its name on the server.
    """

    source: str
    settings: dict[str, Any]
    files: dict[str, Path]
    places: dict[str, str]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self.files.values())

    def chunks(self) -> Iterator[tuple[str, int, bytes]]:
        """Yield name, offset and content of one part after the other.

        Raises
        ------
        InputError
            If a file cannot be read.
        """
        for name, path in self.files.items():
            try:
                with path.open("rb") as stream:
                    data = stream.read(CHUNK_BYTES)
                    yield name, 0, data  # of an empty file too
                    while data := stream.read(CHUNK_BYTES):
                        yield name, stream.tell() - len(data), data
            except OSError as error:
                raise InputError(
                    f"cannot be read ({error.strerror}); choose another file", code="file-unreadable", path=path
                ) from error

    def settings_in(self, folder: str) -> dict[str, Any]:
        """Return the settings with the paths that files have in the run's folder on the server."""
        paths = {key: f"{folder}/{name}" for key in ("vessels", "calibrator") if (name := self.settings[key])}
        return {**self.settings, **paths}

    def name_here(self, error: TwinTrackError, folder: str) -> None:
        """Let an error of the server name the paths that the user knows."""
        for name in sorted(self.places, key=len, reverse=True):
            error.rename(Path(folder, name), self.places[name])


def pack(source: str | Path, out: str | Path, settings: SegmentSettings) -> Upload:
    """Say what has to be sent for a run.

    A volume file goes as it is. Of a DICOM folder, or of the folder around one DICOM file, all files go: only the
    engine tells which of them belong to the series.

    Raises
    ------
    InputError
        If the CT is not there, or is only a part of itself.
    """
    given = Path(source)
    if not is_there(given):
        raise InputError("no such file or folder", code="file-missing", path=source)
    name, files = _pack_ct(given)
    places = {there: str(here) for there, here in files.items()} | {name: str(source), "result": str(out)}
    if given.is_dir() or name.startswith(f"{SERIES}/"):
        places[SERIES] = str(given if given.is_dir() else given.parent)
    values = settings.to_json() | {"case": None}  # the label may hold a name: see `label_result`
    for key in ("vessels", "calibrator"):
        if values[key] is not None:
            path = Path(values[key])
            if path.is_dir():
                raise InputError(
                    "a folder cannot be sent to a server; give the vessels as one file",
                    code="folder-for-server",
                    path=path,
                )
            if key == "vessels":  # what lies beside it does not travel
                path = whole_vessels(path, settings.vessel_names)
            # The result names the calibrator's file. One that is not there is missed by the server, in the usual words.
            there = f"{key}{_ending(path)}" if key == "vessels" else f"{key}/{path.name}"
            places[there], values[key] = values[key], there
            if path.is_file():
                files[there] = path
    return Upload(name, values, files, places)


def _pack_ct(given: Path) -> tuple[str, dict[str, Path]]:
    """Return the CT's name on the server, and its files."""
    if given.is_file() and not _is_dicom(given):
        if given.suffix.lower() in DETACHED:
            raise InputError(
                "keeps its voxels in another file; save the CT as one file (NIfTI, NRRD or MHA)",
                code="voxels-elsewhere",
                path=given,
            )
        name = f"ct{_ending(given)}"
        return name, {name: given}
    folder = given if given.is_dir() else given.parent
    found = files_below(folder)
    if not found:
        raise InputError("holds no files; give the folder of a DICOM series", code="folder-empty", path=given)
    files = {f"{SERIES}/{number:06d}": path for number, path in enumerate(found)}
    if given.is_dir():
        return SERIES, files
    return next(name for name, path in files.items() if path == folder / given.name), files


def _ending(path: Path) -> str:
    """Return the part of a file's name that tells how it is read."""
    return "".join(path.suffixes[-2:]) if path.suffix.lower() == ".gz" else path.suffix


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror}); choose another file", code="file-unreadable", path=path
        ) from error
