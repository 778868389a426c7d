"""Waiting for a cluster's work, which ends when nobody has been left to do it for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twintrack.errors import InputError
from twintrack.execution.cluster.client import slots
from twintrack.execution.cluster.versions import WAIT_FOR_WORKERS_S
from twintrack.progress.callbacks import CancelToken, Progress, no_progress

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["GOES_ON", "ClusterWait"]

LOOK_EVERY_S = 1.0
"""How often a wait looks for workers."""

FETCH_S = 300.0
"""How long one result may be on its way; when its worker dies meanwhile, it is made once more."""

GONE = "the scheduler went away;"

GOES_ON = "run the same command again, it goes on where it stopped"


class ClusterWait:
    """Waits for the work of a cluster, and says so when there is nobody to do it.

    A cluster without workers may start some when it needs them: it has a while for that, anew in every wait, since
    whatever was waited for and came has shown that there are workers.

    Parameters
    ----------
    client : distributed.Client
        Connected to the cluster.
    wait_s : float
        How long a cluster without workers is waited for.
    resource : str, optional
        What a worker has to offer to be of use.
    again : str
        What the user is told to do when the cluster is lost.
    progress, announce : callable
        Told while there are no workers: the first every time, the second once, and when there are some again.
    cancel : CancelToken
        Looked at while waiting.
    """

    def __init__(
        self,
        client: Client,
        *,
        wait_s: float = WAIT_FOR_WORKERS_S,
        resource: str | None = None,
        again: str = GOES_ON,
        progress: Progress = no_progress,
        announce: Callable[[str], None] | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        self._client, self._wait_s, self._resource, self._again = client, wait_s, resource, again
        self._progress, self._announce, self._cancel = progress, announce, cancel or CancelToken()
        self._last = 0.0, "waiting for the first case"

    def report(self, fraction: float, message: str) -> None:
        """Pass progress on."""
        self._last = fraction, message
        self._progress(fraction, message)

    def wait(self, arrived: Callable[[float], bool]) -> None:
        """Return when something has arrived.

        Parameters
        ----------
        arrived : callable
            Waits for that number of seconds at most, and says whether it has.

        Raises
        ------
        InputError
            If for too long there was no worker, or the scheduler is gone.
        Cancelled
            If the user cancelled meanwhile.
        """
        alone_since: float | None = None
        while not arrived(LOOK_EVERY_S):
            self._cancel.check()
            if self._client.status != "running":
                raise self.error(GONE)
            if slots(self._client, self._resource):
                if alone_since is not None:
                    self._tell("the cluster has workers again")
                    self._progress(*self._last)
                alone_since = None
                continue
            if alone_since is None:
                alone_since = time.monotonic()
                self._tell(f"the cluster has no workers left; waiting {self._wait_s:g} s for new ones")
            left = self._wait_s - (time.monotonic() - alone_since)
            if left <= 0:
                raise self.error(
                    f"the cluster lost all of its workers, and none came within {self._wait_s:g} s; start some and"
                )
            self._progress(self._last[0], f"{self._last[1]}, waiting for workers ({left:.0f} s left)")

    def end(self, future: Future[Any]) -> None:
        """Return when a task has succeeded; raise what it raised.

        Raises
        ------
        InputError
            If the scheduler, or for too long every worker, is lost before.
        Cancelled
            If the user cancelled meanwhile.
        """
        from distributed import TimeoutError as TooLong

        while True:
            if not future.done():
                ended = threading.Event()
                future.add_done_callback(lambda _, ended=ended: ended.set())
                self.wait(ended.wait)
            self.check(future)
            try:
                error = future.exception(timeout=FETCH_S)
            except TooLong:  # its worker died at this moment
                continue
            if error is not None:
                raise error
            return

    def result(self, future: Future[Any]) -> Any:
        """Return what a task gives; see `end`."""
        from distributed import CancelledError
        from distributed import TimeoutError as TooLong

        while True:
            self.end(future)
            try:
                return future.result(timeout=FETCH_S)
            except TooLong:
                continue
            except (OSError, CancelledError) as error:  # the task has succeeded, so this is the connection
                raise self.error(GONE) from error

    def check(self, future: Future[Any]) -> None:
        """Raise `InputError` if a task has ended because the scheduler is gone.

        One whose result was lost with its worker is carried out again, and has not ended.
        """
        if future.status == "cancelled":
            raise self.error(GONE)

    def error(self, what: str) -> InputError:
        """Return an error that says what happened, where, and what to do."""
        address = self._client.scheduler.address if self._client.scheduler is not None else "the cluster"
        return InputError(f"{what} {self._again}", code="cluster-lost", path=address)

    def _tell(self, line: str) -> None:
        if self._announce is not None:
            self._announce(line)
