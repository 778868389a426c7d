"""What a client asks for when it begins a run, read with distrust: kinds, sizes, settings, and no name of anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from twintrack.errors import InputError
from twintrack.execution.server import protocol
from twintrack.execution.server.protocol import CALIBRATOR, CT, DICOM, ENDINGS, ROLES, SETTINGS, VESSELS, Limits
from twintrack.settings import SegmentSettings
from twintrack.system.json_file import parse_json

__all__ = ["LARGEST_BYTES", "Announced", "Submission", "read_submission"]

LARGEST_BYTES = 1 << 20
"""Largest submission; one with 5,000 files has a fifth of it."""

FIELDS = frozenset({"schema", "key", "kind", "files", "settings", "bundle_sha256"})

LARGEST_CALIBRATOR_BYTES = 64 << 20


@dataclass(frozen=True)
class Announced:
    """A file that is to come.

    Attributes
    ----------
    name : str
        In the run's folder; given here, not by the client.
    bytes : int
        Its size.
    """

    name: str
    bytes: int


@dataclass(frozen=True)
class Submission:
    """What a run shall be.

    Attributes
    ----------
    key : str
        The same for an attempt to submit the same run again.
    kind : str
        Of the CT, one of `protocol.KIND_WORDS`.
    source : str
        Name of the CT in the run's folder: a file, or the folder of a series.
    files : tuple of Announced
        In the client's order, which is how it calls them.
    settings : dict
        Of `SegmentSettings`, as JSON values, with names in the run's folder where those are paths.
    bundle_sha256 : str or None
        The bundle that must be the server's.
    """

    key: str
    kind: str
    source: str
    files: tuple[Announced, ...]
    settings: dict[str, Any]
    bundle_sha256: str | None

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(file.bytes for file in self.files)


def read_submission(body: bytes, limits: Limits) -> Submission:
    """Read the body of a submission.

    Raises
    ------
    InputError
        With the code ``request-malformed``, ``upload-too-large``, or that of a setting.
    """
    try:
        content = parse_json(body)
    except ValueError as error:
        raise InputError(f"the request is no JSON ({error})", code="request-malformed") from error
    if not isinstance(content, dict) or content.get("schema") != protocol.SCHEMA:
        _refuse(f"a submission is a JSON object of schema {protocol.SCHEMA}")
    if unknown := sorted(set(content) - FIELDS):
        _refuse(f"a submission has only {', '.join(sorted(FIELDS))}, not {unknown[0][:40]!r}")
    key, kind, bundle = content.get("key"), content.get("kind"), content.get("bundle_sha256")
    if not isinstance(key, str) or not protocol.RUN_NAME.fullmatch(key):
        _refuse("the key must be 32 hexadecimal digits, random for each run")
    if not isinstance(kind, str) or kind not in ENDINGS:
        _refuse(f"the kind must be one of {', '.join(ENDINGS)}")
    if bundle is not None and not (isinstance(bundle, str) and len(bundle) == 64):
        _refuse("the bundle's hash must be 64 hexadecimal digits, or null")
    names, files = _files(content.get("files"), kind, limits)
    settings = _settings(content.get("settings"))
    settings |= {role: names[role] for role in (VESSELS, CALIBRATOR) if role in names}
    return Submission(key, kind, names[CT], files, settings, bundle)


def _refuse(sentence: str) -> NoReturn:
    raise InputError(sentence, code="request-malformed")


def _files(content: object, kind: str, limits: Limits) -> tuple[dict[str, str], tuple[Announced, ...]]:
    """Return the name for each role, and all files."""
    if not isinstance(content, list) or not content:
        _refuse("the files must be a list with at least the CT")
    if len(content) > limits.files:
        raise InputError(f"a run has at most {limits.files} files, got {len(content)}", code="upload-too-large")
    names: dict[str, str] = {}
    files: list[Announced] = []
    for number, entry in enumerate(content):
        role, size = _role_and_size(entry)
        if role in names and not (role == CT and kind == DICOM):
            _refuse(f"one file of the role {role} is taken")
        if role == CT and kind == DICOM and not size:
            _refuse("a DICOM file of a CT has some bytes")
        own_kind = _kind_of(entry, role, kind)
        name = protocol.file_name(role, number, own_kind)
        names[role] = protocol.SERIES if role == CT and kind == DICOM else name
        files.append(Announced(name, size))
        if role == CALIBRATOR and size > LARGEST_CALIBRATOR_BYTES:
            _refuse("a calibrator is much smaller than that")
    if CT not in names:
        _refuse("a CT must be among the files")
    if (whole := sum(file.bytes for file in files)) > limits.bytes:
        raise InputError(
            f"a run has at most {limits.bytes} bytes, got {whole}; send a smaller part of the body",
            code="upload-too-large",
        )
    return names, tuple(files)


def _role_and_size(entry: object) -> tuple[str, int]:
    if not isinstance(entry, Mapping) or set(entry) - {"role", "bytes", "kind"}:
        _refuse("a file has a role, its bytes, and a vessel map its kind")
    role, size = entry.get("role"), entry.get("bytes")
    if not isinstance(role, str) or role not in ROLES:
        _refuse(f"the role of a file must be one of {', '.join(ROLES)}")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        _refuse("the bytes of a file must be a whole number")
    return role, size


def _kind_of(entry: Mapping[str, Any], role: str, kind: str) -> str:
    if role != VESSELS:
        if entry.get("kind") not in (None, kind):
            _refuse("only a vessel map has a kind of its own")
        return kind
    own = entry.get("kind", kind)
    if not isinstance(own, str) or own not in ENDINGS:
        _refuse(f"the kind of a vessel map must be one of {', '.join(ENDINGS)}")
    return own


def _settings(content: object) -> dict[str, Any]:
    """Check settings as far as that can be done without the CT."""
    if not isinstance(content, dict):
        _refuse("the settings must be an object")
    if unknown := sorted(set(content) - set(SETTINGS)):
        _refuse(f"the setting {unknown[0][:40]!r} cannot be given here; known are {', '.join(SETTINGS)}")
    SegmentSettings.from_json(content)
    return dict(content)
