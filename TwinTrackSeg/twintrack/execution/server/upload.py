"""What is sent to the server for a run: files without names, told apart by their number alone."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twintrack.errors import InputError, OutputError, TwinTrackError
from twintrack.execution.server.connection import Connection, Refused
from twintrack.execution.server.protocol import (
    CALIBRATOR,
    CT,
    DICOM,
    ENDINGS,
    FILE,
    PART_HASH,
    SERIES,
    SETTINGS,
    VESSELS,
    file_name,
)
from twintrack.io.vessel_maps import whole_vessels
from twintrack.io.volumes import check_single_file
from twintrack.progress.callbacks import CancelToken
from twintrack.settings import SegmentSettings
from twintrack.system.paths import is_there
from twintrack.system.private_folder import PrivateFolder

__all__ = ["SentFile", "Upload", "packed", "send"]

DAMAGED_PARTS = 5
"""So often a part of a file may arrive damaged before the run is given up."""

FIRST_PART_BYTES, LEAST_PART_BYTES = 256 << 10, 64 << 10
"""The first part that is sent, and the smallest one."""

PART_S = 10.0
"""What a part shall take at most, by the pace of the one before; the server waits for six times as long."""

GROWTH = 8
"""How much larger than the last one a part may be."""

RESULT = "result"
"""What the server calls the result folder in an error."""


@dataclass(frozen=True)
class SentFile:
    """A file that is sent.

    Attributes
    ----------
    role : str
        What it is for, as `twintrack.execution.server.protocol.ROLES` names it.
    path : Path
        Where it lies here.
    place : str
        What the user calls it.
    kind : str
        How it is read: one of the keys of `twintrack.execution.server.protocol.ENDINGS`.
    size : int
        Its bytes.
    """

    role: str
    path: Path
    place: str
    kind: str
    size: int


@dataclass(frozen=True)
class Upload:
    """A run's files, in the order of their numbers.

    Attributes
    ----------
    kind : str
        How the CT is read.
    files : tuple of SentFile
        The CT's, then the others.
    settings : dict
        What is asked for: fields of `SegmentSettings` as JSON values, none of which says anything of this computer.
    places : dict
        What the user calls what is no single file, by its name on the server.
    """

    kind: str
    files: tuple[SentFile, ...]
    settings: dict[str, Any]
    places: dict[str, str]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def listed(self) -> list[dict[str, Any]]:
        """Return the files as a submission lists them."""
        return [
            {"role": file.role, "bytes": file.size, **({"kind": file.kind} if file.role == VESSELS else {})}
            for file in self.files
        ]

    def name_here(self, error: TwinTrackError) -> None:
        """Let an error of the server name the paths that the user knows."""
        names = {file_name(f.role, number, f.kind): f.place for number, f in enumerate(self.files)} | self.places
        for name in sorted(names, key=len, reverse=True):
            error.rename(Path(name), names[name])


@contextmanager
def packed(source: str | Path, out: str | Path, settings: SegmentSettings, cancel: CancelToken) -> Iterator[Upload]:
    """Yield what has to be sent for a run; what had to be unpacked for it is there as long as the block lasts.

    A volume file goes as it is. Of a DICOM folder, a ZIP archive, or the folder around one DICOM file, the files of
    the one series go.

    Raises
    ------
    InputError
        If the CT is not there, or is only a part of itself.
    OutputError
        If there is no room to unpack an archive.
    """
    from twintrack.dicom import is_dicom_input

    given = Path(source)
    if not is_there(given):
        raise InputError("no such file or folder", code="file-missing", path=source)
    is_dicom = is_dicom_input(given)
    places = {SERIES: str(source), RESULT: str(out)}
    with _folder_for(given) as folder:
        files = _pack_series(given, folder, settings, cancel) if is_dicom else [_sent(CT, given, str(source))]
        values = {name: value for name, value in settings.to_json().items() if name in SETTINGS}
        if settings.vessels is not None:
            files.append(_pack_vessels(settings.vessels, settings))
        if settings.calibrator is not None:
            files.append(_sent(CALIBRATOR, Path(settings.calibrator).expanduser(), settings.calibrator))
        yield Upload(DICOM if is_dicom else files[0].kind, tuple(files), values, places)


@contextmanager
def _folder_for(given: Path) -> Iterator[Path]:
    """Yield where an archive is unpacked; for anything else a folder that nothing is written to."""
    from twintrack.dicom.read.headers import is_zip

    if not is_zip(given):
        yield given
        return
    try:
        private = PrivateFolder()
    except OSError as error:
        raise OutputError(
            f"no temporary folder can be made ({error.strerror}); set TMPDIR", code="no-temporary-folder"
        ) from error
    with private as folder:
        yield folder


def _pack_series(given: Path, folder: Path, settings: SegmentSettings, cancel: CancelToken) -> list[SentFile]:
    """Return the files of the one series that is meant, whole, so that the server tells the same of them."""
    from twintrack.dicom.read.find import series_files

    found = series_files(given, folder, series_uid=settings.series, cancel=cancel)
    return [_sent(CT, path, place, DICOM) for path, place in found]


def _pack_vessels(path: str, settings: SegmentSettings) -> SentFile:
    given = Path(path)
    if given.is_dir():
        raise InputError(
            "a folder cannot be sent to a server; give the vessels as one file", code="folder-for-server", path=path
        )
    return _sent(VESSELS, whole_vessels(given, settings.vessel_names), path)  # what lies beside it does not travel


def _sent(role: str, path: Path, place: str, kind: str | None = None) -> SentFile:
    """Return a file with its size and kind.

    Raises
    ------
    InputError
        If it is of no kind that can be sent alone, or cannot be read.
    """
    if role == CALIBRATOR:
        kind = ""
        if not path.is_file():
            raise InputError("no such file; make one with `twintrack calibrate`", code="file-missing", path=place)
    elif kind is None:
        kind = _kind(path, place)
    try:
        with path.open("rb") as stream:
            return SentFile(role, path, place, kind, stream.seek(0, 2))
    except OSError as error:
        raise _unreadable(error, place) from error


def _kind(path: Path, place: str) -> str:
    """Return how a file is read, by its name's ending."""
    name = path.name.lower()
    endings = sorted(ENDINGS, key=lambda kind: len(ENDINGS[kind]), reverse=True)
    kind = next((kind for kind in endings if name.endswith(ENDINGS[kind])), None)
    if kind is not None and kind != DICOM:
        try:
            check_single_file(path)
        except TwinTrackError as error:
            error.path = place
            raise
        return kind
    if path.suffix.lower() in (".mhd", ".nhdr", ".hdr", ".img"):
        raise InputError(
            "keeps its voxels in another file; save the CT as one file (NIfTI, NRRD or MHA)",
            code="voxels-elsewhere",
            path=place,
        )
    from twintrack.dicom import is_dicom_input

    if is_dicom_input(path):  # a vessel map as DICOM-SEG
        return DICOM
    raise InputError(
        "of no kind that can be sent to a server; save it as NIfTI, NRRD or MHA", code="volume-ending", path=place
    )


def _unreadable(error: OSError, place: str) -> InputError:
    return InputError(f"cannot be read ({error.strerror}); choose another file", code="file-unreadable", path=place)


def send(server: Connection, run: str, upload: Upload, part_bytes: int, progress: Callable[[float], None]) -> None:
    """Send all files in parts, each with its hash; after a broken connection only what the server has not.

    Parameters
    ----------
    server : Connection
        Where to.
    run : str
        The run's name there.
    upload : Upload
        The files.
    part_bytes : int
        Size of a part.
    progress : callable
        Told the fraction of bytes that are there.

    Raises
    ------
    InputError
        If a file cannot be read, has changed, or does not arrive as it is.
    """
    before, whole, pace = 0, max(upload.size, 1), _Pace(part_bytes)
    progress(0.0)
    for number, file in enumerate(upload.files):
        try:
            with file.path.open("rb") as stream:
                for have in _send_file(server, run, number, file, stream.seek, stream.read, pace):
                    progress(min((before + have) / whole, 1.0))
        except OSError as error:
            raise _unreadable(error, file.place) from error
        before += file.size


class _Pace:
    """Chooses the size of parts, so that each is there long before the server gives it up, however slow the link.

    Parameters
    ----------
    most : int
        The largest size.

    Attributes
    ----------
    bytes : int
        Size of the next part.
    """

    def __init__(self, most: int) -> None:
        self._most, self.bytes = most, min(FIRST_PART_BYTES, most)

    def note(self, size: int, seconds: float) -> None:
        """Take note of how long a part took, all attempts at it together."""
        if size == self.bytes or seconds > PART_S:  # the rest of a file says little
            wanted = int(size * PART_S / max(seconds, 1e-3))
            self.bytes = min(max(min(wanted, GROWTH * size), LEAST_PART_BYTES), self._most)


def _send_file(
    server: Connection,
    run: str,
    number: int,
    file: SentFile,
    seek: Callable[[int], int],
    read: Callable[[int], bytes],
    pace: _Pace,
) -> Iterator[int]:
    """Send one file; yield how much of it is there after each part."""
    have, damaged, strange = 0, 0, 0
    while have < file.size:
        seek(have)
        data, began = read(min(pace.bytes, file.size - have)), time.monotonic()
        if not data:
            raise InputError(
                "became shorter while it was sent; start the run again", code="file-changed", path=file.place
            )
        headers = {PART_HASH: hashlib.sha256(data).hexdigest()}
        try:
            answer = server.ask(
                FILE, run=run, number=number, query={"offset": str(have)}, body=data, headers=headers,
                expected=("part-offset", "part-hash"),
            )  # fmt: skip
            pace.note(len(data), time.monotonic() - began)
            there = answer.count("have", file.size)
            strange = strange + 1 if there <= have else 0
        except Refused as refused:
            there = have if refused.have is None else min(refused.have, file.size)
            damaged += refused.code == "part-hash"
            strange = strange + 1 if there == have and refused.code != "part-hash" else strange
            if damaged > DAMAGED_PARTS or strange > DAMAGED_PARTS:
                raise InputError(
                    "does not arrive at the server as it is; check the network, and try again", code="transfer-damaged",
                    path=file.place,
                ) from refused  # fmt: skip
        if strange > DAMAGED_PARTS:
            raise InputError("the server takes no more of the CT; tell whoever runs it", code="server-malformed")
        have = there
        yield have
