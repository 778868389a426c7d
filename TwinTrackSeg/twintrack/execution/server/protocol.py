"""What server and client say to each other: routes, names and limits, with nothing but Python's own library.

The server (`twintrack.execution.server.service`), the client and the DICOM node import it, so that a name is written
once. ``docs/openapi.json`` says the same to other programs; a test compares the two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from twintrack.errors import TwinTrackError

__all__ = [
    "ABOUT",
    "BEGIN",
    "CALIBRATOR",
    "CT",
    "DICOM",
    "DROP",
    "ENDINGS",
    "ERROR_STATUS",
    "FILE",
    "KIND_WORDS",
    "LEASE_S",
    "PART_BYTES",
    "PART_HASH",
    "RESULT",
    "RESULT_KEPT_S",
    "ROLES",
    "ROUTES",
    "RUN",
    "RUNS",
    "RUN_NAME",
    "SCHEMA",
    "SERIES",
    "SETTINGS",
    "VESSELS",
    "WAIT_S",
    "Limits",
    "Route",
    "State",
    "file_name",
    "path_of",
]

SCHEMA = 1
"""Version of what is said; stands in ``about`` and in each submission."""

PART_BYTES = 8 << 20
"""Largest part of a file that is sent at a time: little beside the memory of anybody, much beside the cost of it."""

PART_HASH = "X-Part-SHA256"
"""Header with a part's hash, in hexadecimal."""

LEASE_S = 30.0
"""A run of which its client asks nothing for so long is over: the client has gone."""

RESULT_KEPT_S = 600.0
"""How long a run that has ended is kept for a client that lost its connection."""

WAIT_S = 15.0
"""Longest wait of a question for news: shorter than the patience of any proxy."""

RUN_NAME = re.compile(r"[0-9a-f]{32}")
"""What a run's name looks like, and the key by which the same submission is known again."""


class State(str, Enum):
    """Where a run is."""

    UPLOADING = "uploading"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_end(self) -> bool:
        """Whether nothing comes after it."""
        return self not in (State.UPLOADING, State.QUEUED, State.RUNNING)


DICOM = "dicom"
ENDINGS = {"nifti": ".nii", "nifti-gz": ".nii.gz", "nrrd": ".nrrd", "metaimage": ".mha", DICOM: ".dcm"}
"""Ending of a file's name in a run's folder, by the kind that a client says it is."""

KIND_WORDS = tuple(ENDINGS)

CT, VESSELS, CALIBRATOR = ROLES = ("ct", "vessels", "calibrator")
"""What a file is for: the CT (of DICOM as many as there are), at most one vessel map, at most one calibrator."""

SERIES = "series"
"""Folder of a DICOM series in a run's folder."""

SETTINGS = (
    "roi", "threshold", "every_tile", "calibrate", "keep_score", "rater_maps", "samples", "panel", "dicom",
    "vessel_names", "name_vessels", "curvas_numbers", "series", "acquisition", "rules", "contact_mm",
)  # fmt: skip
"""Fields of `twintrack.settings.SegmentSettings` that a client may give: no path, no device, no name."""


def file_name(role: str, number: int, kind: str) -> str:
    """Return the name of a file in its run's folder; a client names none.

    Parameters
    ----------
    role : str
        One of `ROLES`.
    number : int
        Its place in the list of the submission.
    kind : str
        One of `KIND_WORDS`: the run's, or for a vessel map its own.
    """
    if role == CALIBRATOR:
        return "calibrator.json"
    if role == CT and kind == DICOM:
        return f"{SERIES}/{number:06d}"
    return f"{role}{ENDINGS[kind]}"


@dataclass(frozen=True)
class Limits:
    """What one client may take; ``about`` tells it.

    Attributes
    ----------
    runs : int
        Runs of a client that have not ended.
    bytes : int
        Of all files of a run together.
    files : int
        Files of a run.
    """

    runs: int = 4
    bytes: int = 4 << 30
    files: int = 5000


@dataclass(frozen=True)
class Route:
    """One thing that can be asked.

    Attributes
    ----------
    name : str
        What the code and ``openapi.json`` (``operationId``) call it.
    verb : str
        Of HTTP.
    path : str
        With ``{run}``, ``{number}`` and ``{name}`` where those stand.
    statuses : tuple of int
        With which it can be answered beside those that any can (401, 404, 405, 429, 500, 503).
    """

    name: str
    verb: str
    path: str
    statuses: tuple[int, ...]

    @property
    def is_of_run(self) -> bool:
        """Whether it is about one run, which must be the client's own."""
        return "{run}" in self.path


ABOUT = Route("about", "GET", "/v1/about", (200,))
RUNS = Route("submit", "POST", "/v1/runs", (200, 201, 409, 413, 422, 507))
RUN = Route("news", "GET", "/v1/runs/{run}", (200, 422))
FILE = Route("send", "PUT", "/v1/runs/{run}/files/{number}", (200, 409, 411, 413, 422, 507))
BEGIN = Route("begin", "POST", "/v1/runs/{run}/begin", (202, 409))
RESULT = Route("fetch", "GET", "/v1/runs/{run}/result/{name}", (200, 206, 409, 416))
DROP = Route("drop", "DELETE", "/v1/runs/{run}", (204,))
ROUTES = (ABOUT, RUNS, RUN, FILE, BEGIN, RESULT, DROP)
"""Everything that can be asked; the service's handlers, the tests and ``openapi.json`` go by this list."""

ERROR_STATUS = {
    "identity-unknown": 401,
    "not-there": 404,
    "verb-unknown": 405,
    "part-offset": 409,
    "upload-incomplete": 409,
    "upload-over": 409,
    "result-not-there": 409,
    "bundles-differ": 409,
    "part-length": 411,
    "part-too-large": 413,
    "upload-too-large": 413,
    "range-outside": 416,
    "request-malformed": 422,
    "part-hash": 422,
    "server-quota": 429,
    "server-broken": 500,
    "server-not-ready": 503,
    "server-no-room": 507,
}
"""Status of each code of an error that the service itself raises."""


def path_of(route: Route, *, run: str = "", number: int = 0, name: str = "") -> str:
    """Return the path of a route for one run, file of it, or file of its result.

    Raises
    ------
    TwinTrackError
        If `run` is not the name of a run: it came from elsewhere.
    """
    if route.is_of_run and not RUN_NAME.fullmatch(run):
        raise TwinTrackError("what the server calls a run is no name of one; tell whoever runs it", code="run-unknown")
    return route.path.format(run=run, number=number, name=name)
