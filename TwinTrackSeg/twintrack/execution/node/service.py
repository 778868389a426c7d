"""The node's side of the service: one more client, which sends a series and fetches the DICOM objects alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from twintrack import __version__
from twintrack.errors import TwinTrackError
from twintrack.execution.node.run import Offer, ServiceAway
from twintrack.execution.server.client import begun, carried_out, offered
from twintrack.execution.server.connection import Connection
from twintrack.execution.server.endpoint import Credentials
from twintrack.execution.server.fetch import fetch_all
from twintrack.execution.server.upload import packed, send
from twintrack.progress.callbacks import CancelToken, no_progress
from twintrack.settings import SegmentSettings

__all__ = ["RemoteService"]

OBJECTS = "dicom/"
"""Where they lie in a result."""

OURS = ("server-", "transfer-")
CONFIGURED = ("not-a-server", "tls-failed", "client-unknown", "versions-differ", "bundles-differ")
"""Codes, and beginnings of codes, of what is wrong with service, network or configuration, and not with the CT."""

DIED = "server-process-died"
"""The worker's process ended: by accident, or because of the CT."""


class RemoteService:
    """A service at an address.

    Parameters
    ----------
    address : str
        As `twintrack.execution.server.endpoint.check_address` returned it.
    credentials : Credentials
        By what the two know each other.
    """

    def __init__(self, address: str, credentials: Credentials) -> None:
        self._address, self._credentials = address, credentials
        self._cancel = CancelToken()

    def offer(self) -> Offer:
        """Ask what it would segment with; `ServiceAway` if it cannot be asked."""
        with _away():
            found = offered(self._connection())
        return Offer(__version__, found.sha256)

    def segment(self, source: Path, out: Path, settings: SegmentSettings, offer: Offer) -> None:
        """Segment the series in folder `source` and write its DICOM objects into `out`, an empty folder.

        Raises
        ------
        ServiceAway
            If it cannot be asked, or offers something else by now.
        TwinTrackError
            What the engine says of the CT.
        RuntimeError
            If the process that segmented it ended.
        Cancelled
            If `stop` was called.
        """
        with _away(), packed(source, out, replace(settings, dicom=True), self._cancel) as upload:
            server = self._connection()
            found = offered(server)
            if found.sha256 != offer.bundle_sha256:
                raise ServiceAway("its bundle was exchanged")
            with begun(server, upload, found.sha256, no_progress) as run:
                send(server, run, upload, found.part_bytes, lambda _done: None)
                files = [
                    file for file in carried_out(server, run, upload, no_progress) if file.name.startswith(OBJECTS)
                ]
                fetch_all(server, run, files, out, out, no_progress)
        for file in files:
            (out / file.name).rename(out / Path(file.name).name)
        shutil.rmtree(out / OBJECTS, ignore_errors=True)

    def stop(self) -> None:
        """Give up what is being done; from any thread."""
        self._cancel.cancel()

    def _connection(self) -> Connection:
        return Connection(self._address, self._credentials, self._cancel)


@contextmanager
def _away() -> Iterator[None]:
    """Tell trouble with the service from trouble with the CT."""
    try:
        yield
    except TwinTrackError as error:
        if error.code == DIED:
            raise RuntimeError(error.code) from error
        if error.code.startswith(OURS) or error.code in CONFIGURED:
            raise ServiceAway(error.code) from error
        raise
