"""A run that another computer carries out: the CT goes there, progress and the result come back."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from twintrack import __version__
from twintrack.bundle.archive import read_bundle_document
from twintrack.errors import BundleError, InputError, OutputError, TwinTrackError
from twintrack.execution.answer import UNEXPECTED
from twintrack.execution.server.connection import Connection, Refused, Said
from twintrack.execution.server.endpoint import SHOWN_LETTERS, Credentials, check_address
from twintrack.execution.server.fetch import ResultFile, fetch_all, listed_files
from twintrack.execution.server.protocol import ABOUT, BEGIN, DROP, PART_BYTES, RUN, RUN_NAME, RUNS, SCHEMA, State
from twintrack.execution.server.upload import Upload, packed, send
from twintrack.progress.callbacks import CancelToken, Progress, no_progress, part
from twintrack.results.folder import COMMAND, check_result_folder, run_inputs
from twintrack.results.label_result import label_result
from twintrack.settings import SegmentSettings
from twintrack.system.atomic import atomic_folder
from twintrack.system.capacity import check_output
from twintrack.system.terminal import one_line, printable

__all__ = ["Offer", "begun", "carried_out", "offered", "segment_there"]

POLL_S = 5.0
"""How long the server may wait for news before it answers: a link that was cut is noticed soon after."""

LEAST_POLL_S = 0.2
"""A server that answers at once and says nothing new is not asked more often."""

BUSY_S = 600.0
"""For so long a server without room for a further run of ours is asked again."""

FAREWELL_S = 2.0
"""How long the end of a run waits until the server has heard of it; it ends the run by itself otherwise."""

MOST = 1 << 53
"""Largest number that is taken from a server."""

SENT, COMPUTED = 0.1, 0.95
"""Fractions of the run at which the CT is sent and the result is computed."""


@dataclass(frozen=True)
class Offer:
    """What a server offers.

    Attributes
    ----------
    title : str
        Name and version of its bundle.
    sha256 : str
        The bundle's hash.
    part_bytes : int
        Largest part of a file that it takes.
    """

    title: str
    sha256: str
    part_bytes: int


def segment_there(
    source: str | Path,
    bundle: str | Path | None,
    out: str | Path,
    settings: SegmentSettings,
    *,
    address: str,
    certificates: str | Path | None = None,
    token_file: str | Path | None = None,
    announce: Callable[[str], None] | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> Path:
    """Let a server segment a CT, and write the result folder here, as `twintrack.results.folder.segment_file` does.

    Parameters
    ----------
    source, out, settings, overwrite, progress, cancel
        As there; but the server's device and backend are used.
    bundle : path, optional
        The bundle that is expected. The server's own is used, and must be the same.
    address : str
        Of `twintrack serve`, such as ``https://host:8786``.
    certificates : path, optional
        Folder by which server and client know each other; see `twintrack.execution.server.endpoint.Credentials`.
    token_file : path, optional
        File with the client's token, where the folder holds no certificate of the client's.
    announce : callable, optional
        Told which bundle the server offers.

    Raises
    ------
    TwinTrackError
        As a run here raises it, and `InputError` if the server cannot be used.
    Cancelled
        If `cancel` was triggered; the server forgets the run.
    """
    cancel = cancel or CancelToken()
    place = check_address(address)
    access = Credentials.of(place, certificates, token_file)
    check_output(out)
    inputs = run_inputs(source, bundle, settings)
    check_result_folder(out, settings, inputs, overwrite=overwrite)
    with packed(source, out, settings, cancel) as upload:
        progress(0.0, "looking for the server")
        server = Connection(place, access, cancel)
        offer = offered(server)
        expected = _check_bundle(bundle, offer.sha256, f"{address} offers {offer.title}")
        if announce is not None:
            announce(f"{address}: {offer.title}, sha256 {offer.sha256}")
        with begun(server, upload, expected, progress) as run:
            sending = f"sending the CT to {offer.title}"
            send(server, run, upload, offer.part_bytes, lambda done: progress(SENT * done, sending))
            files = carried_out(server, run, upload, part(progress, SENT, COMPUTED))
            room = atomic_folder(out, command=COMMAND, last="result.json", inputs=inputs, overwrite=overwrite)
            with room as staging:
                fetch_all(server, run, files, staging, Path(out), part(progress, COMPUTED, 1.0))
                label_result(staging, source, settings)
                cancel.check()
    progress(1.0, "done")
    return Path(out)


def offered(server: Connection) -> Offer:
    """Ask what the server offers, once: who cannot be reached now is told so at once."""
    about: Said = server.ask(ABOUT, again_s=0)
    if about.get("schema", int) != SCHEMA:
        raise InputError(
            "speaks another version of the protocol; install the same version of twintrack here and there",
            code="versions-differ",
            path=server.address,
        )
    version = about.text("server").removeprefix("twintrack ")
    if version != __version__:  # the report that is labelled here is the one of this version
        raise InputError(
            f"has twintrack {version}, this computer {__version__}; install the same version",
            code="versions-differ",
            path=server.address,
        )
    bundle = about.part("bundle")
    title = f"{bundle.text('name')} {bundle.text('version')}"
    part_bytes = about.part("limits").count("part_bytes", MOST)
    return Offer(title, bundle.text("sha256"), min(max(part_bytes, 1), PART_BYTES))


def _check_bundle(path: str | Path | None, sha256: str, offer: str) -> str | None:
    """Refuse a server with another bundle than the one that is expected; return that one's hash, if one is."""
    if not path:
        return None
    expected = _hash_of(Path(path))
    if expected != sha256:
        raise InputError(
            f"is another bundle (sha256 {expected[:12]}) than {offer} (sha256 {sha256[:12]}); give no bundle "
            "to use the server's, or choose another server",
            code="bundles-differ",
            path=path,
        )
    return expected


def _hash_of(path: Path) -> str:
    """Return the hash of a bundle folder or zip, from its list of files alone."""
    try:
        content = read_bundle_document(path)
    except BundleError as error:
        raise BundleError("no such bundle; give none to use the server's", code="bundle-missing", path=path) from error
    return hashlib.sha256(content).hexdigest()


@contextmanager
def begun(server: Connection, upload: Upload, bundle_sha256: str | None, progress: Progress) -> Iterator[str]:
    """Yield the name of a new run; in the end the server forgets it, whatever happened."""
    submission = {
        "schema": SCHEMA,
        "key": secrets.token_hex(16),  # so that a submission whose answer got lost makes no second run
        "kind": upload.kind,
        "files": upload.listed(),
        "settings": upload.settings,
        "bundle_sha256": bundle_sha256,
    }
    until = time.monotonic() + BUSY_S
    while True:
        try:
            run = server.ask(RUNS, body=submission, expected=("server-quota", "server-not-ready")).text("run")
            break
        except Refused as refused:
            if time.monotonic() > until:
                raise refused.error from None
            progress(0.0, "waiting for the server")
            server.pause(refused.retry_s)
    if not RUN_NAME.fullmatch(run):
        raise InputError(
            "the server's answer is not understood (run); tell whoever runs it", code="server-malformed",
            path=server.address,
        )  # fmt: skip
    try:
        yield run
    finally:
        server.farewell(DROP, run, FAREWELL_S)


def carried_out(server: Connection, run: str, upload: Upload, progress: Progress) -> list[ResultFile]:
    """Let a worker of the server do the work, and tell what it tells; return what it made."""
    with suppress(Refused):  # an earlier try arrived, and its answer was lost
        server.ask(BEGIN, run=run, expected=("upload-over",))
    heard = 0
    while True:
        asked = time.monotonic()
        query = {"after": str(heard), "wait": f"{POLL_S:g}"}
        news: Said = server.ask(RUN, run=run, query=query, wait_s=POLL_S)
        state, number = news.text("state"), news.count("seq", MOST)
        if state == State.QUEUED:
            before = 0 if news.get("before", int, type(None)) is None else news.count("before", MOST)
            progress(0.0, "waiting for the server" + (f", {before} before this one" if before else ""))
        elif state == State.RUNNING:
            fraction = news.get("fraction", int, float, type(None))
            if fraction is not None:  # it may have been given to a process that has said nothing yet
                progress(float(fraction), news.text("message"))
        elif state == State.DONE:
            return listed_files(news)
        elif state == State.FAILED:
            _raise(news.get("error", dict), upload)
        else:
            raise InputError("the server dropped the run; start it again", code="server-gave-up")
        if number <= heard:
            server.pause(max(0.0, LEAST_POLL_S - (time.monotonic() - asked)))
        heard = number


def _raise(fields: dict[str, Any], upload: Upload) -> NoReturn:
    """Raise what the worker met, of the kind and with the sentence of a run here."""
    fields = {name: one_line(printable(str(value))) for name, value in fields.items() if value is not None}
    kind, sentence = fields.get("kind", ""), fields.get("message", "")
    if kind == "OutputError":  # it is the server's disk, which the user cannot see
        raise OutputError(
            f"the server cannot write the result ({sentence}); tell whoever runs it", code="server-not-writable"
        )
    if kind == "MemoryError":
        raise MemoryError(sentence)
    if fields.get("code") == UNEXPECTED:
        raise type(kind[:SHOWN_LETTERS], (Exception,), {})(sentence)
    error = TwinTrackError.of_fields(fields)
    upload.name_here(error)
    raise error
