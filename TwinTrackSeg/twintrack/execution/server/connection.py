"""A connection to a server: made after asking what could be wrong with it, lost with a sentence."""

from __future__ import annotations

import logging
import queue
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twintrack.errors import InputError, TwinTrackError
from twintrack.execution.cluster.versions import GPU, SAME_VERSIONS, check_versions
from twintrack.execution.server.endpoint import parse_address, probe, security_of
from twintrack.execution.server.job import PROGRESS, Job, carry_out

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["Server", "connected"]

CONNECT_S = 10
"""A server that has not answered after this time is taken for unreachable."""

ANSWER_S = 60
"""A server that has not answered a question after this time is taken for lost; one of them carries 8 MiB."""

NO_ARRAYS = tuple(package for package in SAME_VERSIONS if package != "numpy")
"""Packages that must be the same here and there: nothing of numpy's is sent."""


class Server:
    """A server that answered.

    Parameters
    ----------
    address : str
        Its address.
    client : Client
        Dask's connection to it.
    """

    def __init__(self, address: str, client: Client) -> None:
        self.address = address
        self._client = client
        self._is_lost = False

    @property
    def me(self) -> str:
        """What the server calls this connection."""
        return str(self._client.id)

    def ask(self, function: Callable[..., Any], *arguments: object) -> Any:
        """Call a function of `twintrack.execution.server.spool` in the server's scheduler.

        Raises
        ------
        InputError
            If the connection is lost.
        """
        if self._is_lost:
            raise self._lost()  # at once: Dask would try to connect anew
        try:
            return self._client.run_on_scheduler(function, *arguments, callback_timeout=ANSWER_S)
        except (OSError, TimeoutError) as error:
            raise self._lost() from error

    @contextmanager
    def heard(self, run: str) -> Iterator[queue.SimpleQueue[dict[str, Any]]]:
        """Yield a queue that fills with the progress of a run."""
        events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

        def hear(event: tuple[float, dict[str, Any]]) -> None:
            if event[1].get("run") == run:
                events.put(event[1])

        self._client.subscribe_topic(PROGRESS, hear)
        try:
            yield events
        finally:
            self._client.unsubscribe_topic(PROGRESS)

    def submit(self, run: str, case: Job) -> Future[Any]:
        """Ask for a worker to carry out a run."""
        return self._client.submit(carry_out, case, key=f"twintrack-{run}", pure=False, resources={GPU: 1})

    def result(self, future: Future[Any]) -> dict[str, Any]:
        """Return what a worker says of a run that has ended.

        Raises
        ------
        InputError
            If the connection was lost meanwhile.
        TwinTrackError
            If one process after the other has died.
        """
        from distributed import KilledWorker

        if future.status not in ("finished", "error"):
            raise self._lost()
        try:
            return dict(future.result(timeout=CONNECT_S))
        except KilledWorker as error:
            raise TwinTrackError(
                "the server's processes keep dying; tell whoever runs it",
                code="server-processes-die",
                path=self.address,
            ) from error
        except (OSError, TimeoutError) as error:
            raise self._lost() from error

    def _lost(self) -> InputError:
        self._is_lost = True
        return InputError(
            "the connection to the server was lost; start the run again", code="server-lost", path=self.address
        )


@contextmanager
def connected(address: str, certificates: str | Path | None) -> Iterator[Server]:
    """Yield a server, checked for what could be wrong with address, certificates and versions.

    Raises
    ------
    InputError
        With the one thing that is wrong.
    """
    place = parse_address(address, certificates)
    security = security_of(certificates)
    probe(address, place, security)
    import dask
    from distributed import Client

    for name in ("distributed", "distributed.client"):  # what matters comes back as an exception
        logging.getLogger(name).setLevel(logging.CRITICAL)
    options: dict[str, Any] = {"timeout": CONNECT_S, "set_as_default": False, "direct_to_workers": False}
    with dask.config.set({"distributed.comm.timeouts.connect": f"{CONNECT_S}s"}):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of versions, which are compared below
                client = Client(address, security=security, **options)
        except (OSError, ValueError, TypeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"what answers there is not a TwinTrack server ({reason})", code="not-a-server", path=address
            ) from error
        with client:
            _check_versions(address, client)
            yield Server(address, client)


def _check_versions(address: str, client: Client) -> None:
    """Refuse a server with other versions of what the two speak with."""
    from distributed.versions import get_versions

    packages = ["twintrack"]
    try:
        there = client.sync(lambda: client.scheduler.versions(packages=packages))  # type: ignore[union-attr,unused-ignore]
    except (OSError, TimeoutError) as error:
        raise InputError("does not say its versions; try again", code="server-no-versions", path=address) from error
    versions = {
        "client": get_versions(packages),
        "scheduler": there,
        "workers": {},
    }  # those have the scheduler's Python
    check_versions(address, versions, NO_ARRAYS, on_workers_only=())
