"""A run that another computer carries out: the CT goes there, progress and the result come back."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from twintrack import __version__
from twintrack.bundle.archive import read_bundle_document
from twintrack.errors import BundleError, InputError, OutputError, TwinTrackError
from twintrack.execution.answer import UNEXPECTED
from twintrack.execution.server import spool
from twintrack.execution.server.connection import Server, connected
from twintrack.execution.server.endpoint import parse_address
from twintrack.execution.server.job import Job
from twintrack.execution.server.upload import Upload, pack
from twintrack.progress.callbacks import CancelToken, Progress, no_progress, part
from twintrack.results.folder import COMMAND, RESULT_FILES, check_result_folder, run_inputs
from twintrack.results.label_result import label_result
from twintrack.settings import SegmentSettings
from twintrack.system.atomic import atomic_folder
from twintrack.system.capacity import check_output

__all__ = ["segment_there"]

POLL_S = 0.05
"""How often cancel and the run's end are looked for."""

ASK_S = 2.0
"""How often a run asks how many are before it, and whether all is well with it."""

SENT, COMPUTED = 0.1, 0.95
"""Fractions of the run at which the CT is sent and the result is computed."""


def segment_there(
    source: str | Path,
    bundle: str | Path | None,
    out: str | Path,
    settings: SegmentSettings,
    *,
    address: str,
    certificates: str | Path | None = None,
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
        Of `twintrack serve`, such as ``tls://host:8786``.
    certificates : path, optional
        Folder with the client's certificate; needed for any computer but this one.
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
    parse_address(address, certificates)
    check_output(out)
    inputs = run_inputs(source, bundle, settings)
    check_result_folder(out, settings, inputs, overwrite=overwrite)
    upload = pack(source, out, settings)
    progress(0.0, "looking for the server")
    with connected(address, certificates) as server:
        cancel.check()
        about = server.ask(spool.about)
        if about["version"] != __version__:  # Dask compares what was installed, which need not be what is imported
            raise InputError(
                f"has twintrack {about['version']}, this computer {__version__}; install the same version",
                code="versions-differ",
                path=address,
            )
        offered = about["bundle"]
        title = f"{offered['name']} {offered['version']}"
        _check_bundle(bundle, offered["sha256"], f"{address} offers {title}")
        if announce is not None:
            announce(f"{address}: {title}, sha256 {offered['sha256']}")
        run = secrets.token_hex(16)
        folder = server.ask(spool.begin, server.me, run)
        try:
            _send(server, run, upload, lambda done: progress(SENT * done, f"sending the CT to {title}"), cancel)
            _compute(server, run, upload, folder, part(progress, SENT, COMPUTED), cancel)
            place = atomic_folder(out, command=COMMAND, last="result.json", inputs=inputs, overwrite=overwrite)
            with place as staging:
                _fetch(server, run, staging, Path(out), part(progress, COMPUTED, 1.0), cancel)
                label_result(staging, source, settings.case)
        except InputError:
            cancel.check()  # who cancelled while the connection broke need not hear of it
            raise
        finally:
            with suppress(TwinTrackError):  # when the connection ends, the server ends the run by itself
                server.ask(spool.end, run)
    progress(1.0, "done")
    return Path(out)


def _check_bundle(path: str | Path | None, sha256: str, offer: str) -> None:
    """Refuse a server with another bundle than the one that is expected."""
    if not path:
        return
    expected = _hash_of(Path(path))
    if expected != sha256:
        raise InputError(
            f"is another bundle (sha256 {expected[:12]}) than {offer} (sha256 {sha256[:12]}); give no bundle "
            "to use the server's, or choose another server",
            code="bundles-differ",
            path=path,
        )


def _hash_of(path: Path) -> str:
    """Return the hash of a bundle folder or zip, from its list of files alone."""
    try:
        content = read_bundle_document(path)
    except BundleError as error:
        raise BundleError("no such bundle; give none to use the server's", code="bundle-missing", path=path) from error
    return hashlib.sha256(content).hexdigest()


def _send(server: Server, run: str, upload: Upload, progress: Callable[[float], None], cancel: CancelToken) -> None:
    sent, size = 0, max(upload.size, 1)
    progress(0.0)
    for name, offset, data in upload.chunks():
        cancel.check()
        server.ask(spool.send, run, name, offset, data)
        sent += len(data)
        progress(min(sent / size, 1.0))


def _compute(server: Server, run: str, upload: Upload, folder: str, progress: Progress, cancel: CancelToken) -> None:
    """Let a worker of the server do the work, and tell what it tells."""
    case = Job(run, folder, f"{folder}/{upload.source}", upload.settings_in(folder))
    with server.heard(run) as events:
        future = server.submit(run, case)
        waiting, ask_at, ended = True, 0.0, False
        while not ended:
            ended = future.done()  # asked first: what was told until then is in the queue
            while not events.empty():
                event, waiting = events.get(), False
                progress(float(event["fraction"]), str(event["message"]))
            cancel.check()
            if not ended and time.monotonic() >= ask_at:
                ask_at = time.monotonic() + ASK_S
                before = server.ask(spool.queue, run)  # also asked during the work: the process may have died
                if waiting:
                    progress(0.0, "waiting for the server" + (f", {before} before this one" if before else ""))
            time.sleep(0.0 if ended else POLL_S)
        final = server.result(future)
    if final["event"] != "done":
        _raise(final, upload, folder)


def _raise(final: dict[str, Any], upload: Upload, folder: str) -> NoReturn:
    """Raise what the worker met, of the kind and with the sentence of a run here."""
    if final["event"] == "cancelled":
        raise InputError("the server dropped the run; start it again", code="server-gave-up")
    fields = final["fields"]
    kind, sentence = str(fields["kind"]), str(fields["message"])
    if kind == "OutputError":  # it is the server's disk, which the user cannot see
        raise OutputError(
            f"the server cannot write the result ({sentence}); tell whoever runs it", code="server-not-writable"
        )
    if kind == "MemoryError":
        raise MemoryError(sentence)
    if fields["code"] == UNEXPECTED:
        raise type(kind, (Exception,), {})(sentence)
    error = TwinTrackError.of_fields(fields)
    upload.name_here(error, folder)
    raise error


def _fetch(server: Server, run: str, staging: Path, out: Path, progress: Progress, cancel: CancelToken) -> None:
    """Write the result's files into a private folder."""
    files: list[tuple[str, int]] = server.ask(spool.listing, run)
    whole, got = max(sum(size for _, size in files), 1), 0
    for name, size in files:
        path = staging / _checked(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            while stream.tell() < size:
                cancel.check()
                progress(got / whole, "fetching the result")
                data = server.ask(spool.fetch, run, name, stream.tell())
                if not data:
                    raise OutputError(
                        f"the server's {name} ends too early; start the run again", code="transfer-cut-off", path=out
                    )
                stream.write(data)
                got += len(data)
    cancel.check()


def _checked(name: str) -> PurePosixPath:
    """Refuse a file that no result has, wherever it would go."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or path.parts[0] not in RESULT_FILES:
        raise InputError(
            "the server sends a file that no result has; tell whoever runs it", code="server-unexpected-file"
        )
    return path
