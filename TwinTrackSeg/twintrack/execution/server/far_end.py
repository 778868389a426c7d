"""A server's run in a Dask worker: what the worker keeps for it, and the seven things that it can be asked.

The worker is a host and no more. What a stranger sent is opened in a process of the engine that the worker keeps with
the bundle loaded, in a `Pool` as on a server's own machine, so that limits of memory and time, cancelling and crashes
are the same here and there. Nothing is a Dask task: each question is one call (`Client.run`), carried out in the
worker's event loop. One run has the worker at a time; whoever does not ask for a while has lost it, and what was made
for it is removed.

No error leaves a call: Dask would write its arguments, bytes of a CT, into the worker's log.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from twintrack.errors import BundleError, InputError, OutputError, TwinTrackError
from twintrack.execution.answer import error_event
from twintrack.execution.server.file_parts import FilePart, files_below, packed, write_parts
from twintrack.execution.server.pool import Offered, Pool, Work, WorkerLimits
from twintrack.execution.server.run import OUT, error_told
from twintrack.system.private_folder import PrivateFolder

__all__ = ["BUNDLE", "RUN_LOST", "FarEnd", "ask_far_end"]

LEASE_S = 30.0
"""Who has not asked for so long has gone: its run ends here, and the worker is free."""

NEWS_S = 5.0
"""How long a question for news waits for some."""

BUNDLE = "bundle"
"""The folder of a bundle's files on their way."""

RUN_LOST = "cluster-run-lost"
"""Code of the error of a worker that does not know a run, or met an error that nobody foresaw."""

_log = logging.getLogger(__name__)


@dataclass
class _Held:
    """A run that has the worker: its folder, what has been told of it, and what is done for it."""

    run: str
    folder: PrivateFolder
    seen: float
    events: list[dict[str, Any]]
    news: asyncio.Event
    work: asyncio.Task[None] | None = None
    result: Iterator[list[FilePart]] | None = None


class FarEnd:
    """What one Dask worker keeps for servers.

    Parameters
    ----------
    memory_bytes : int or None
        What a run may take if the server says nothing: the worker's own limit.
    """

    def __init__(self, memory_bytes: int | None) -> None:
        self._memory_bytes = memory_bytes
        self._held: _Held | None = None
        self._ending: asyncio.Task[None] | None = None
        self._pool: Pool | None = None
        self._bundle: tuple[str, PrivateFolder] | None = None
        self._leased: asyncio.Task[None] | None = None

    async def claim(self, run: str, sha256: str, loaded: bool) -> dict[str, Any]:
        """Take the worker for a run if it is free; `loaded` says whether it must, or must not, have that bundle.

        The answer ``ending`` says that the run that has it is being put away.
        """
        has = self._bundle is not None and self._bundle[0] == sha256
        is_free = self._held is None and self._ending is None and (self._pool is None or self._pool.free > 0 or not has)
        if not is_free or loaded is not has:
            return {"free": False, "loaded": has, "ending": self._ending is not None}
        self._held = _Held(run, PrivateFolder(), time.monotonic(), [], asyncio.Event())
        self._leased = asyncio.create_task(self._watch(self._held))
        return {"free": True, "loaded": has, "ending": False}

    async def put(self, run: str, folder: str, parts: list[FilePart]) -> dict[str, Any]:
        """Take in parts of files, in a folder of the run's own."""
        await asyncio.to_thread(write_parts, self._of(run).folder.path / folder, parts)
        return {}

    async def load(self, run: str, sha256: str, offered: Mapping[str, Any]) -> dict[str, Any]:
        """Begin to load the bundle that has been put; news tell ``loaded`` or ``error``."""
        self._do(self._of(run), self._load(self._of(run), sha256, offered))
        return {}

    async def begin(self, run: str, source: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Begin the work; news tell how it goes and how it ended. Paths are names in the run's folder."""
        self._do(self._of(run), self._work(self._of(run), source, settings))
        return {}

    async def news(self, run: str, after: int) -> dict[str, Any]:
        """Return the events after so many, as soon as there are some."""
        held = self._of(run)
        if len(held.events) <= after:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(held.news.wait(), NEWS_S)
        held.news.clear()
        return {"events": held.events[after:]}

    async def get(self, run: str) -> dict[str, Any]:
        """Return the next parts of the result's files, none when all have been fetched."""
        held = self._of(run)
        if held.result is None:
            held.result = packed(files_below(held.folder.path / OUT, "."))
        return {"parts": await asyncio.to_thread(next, held.result, [])}

    async def release(self, run: str) -> dict[str, Any]:
        """End a run, whatever it does, and return at once; the worker is free when nothing of it is left."""
        if self._held is not None and self._held.run == run:
            self._end(self._held)
        return {}

    def _of(self, run: str) -> _Held:
        if self._held is None or self._held.run != run:
            raise TwinTrackError("the worker of the cluster no longer knows the run", code="cluster-run-lost")
        self._held.seen = time.monotonic()
        return self._held

    def _do(self, held: _Held, work: Coroutine[Any, Any, None]) -> None:
        held.events.clear()
        held.work = asyncio.create_task(self._told(held, work))

    async def _told(self, held: _Held, work: Coroutine[Any, Any, None]) -> None:
        """Do something, and say what went wrong."""
        try:
            await work
        except Exception as error:
            self._tell(held, error_event(error))

    def _tell(self, held: _Held, event: dict[str, Any]) -> None:
        held.events.append(event)
        held.news.set()

    async def _load(self, held: _Held, sha256: str, offered: Mapping[str, Any]) -> None:
        await self._drop_bundle()
        place = PrivateFolder()
        bundle = place.path / BUNDLE
        try:
            (held.folder.path / BUNDLE).rename(bundle)
            limits = WorkerLimits(offered["memory_bytes"] or self._memory_bytes, offered["run_s"])
            pool = Pool(
                Offered(bundle, offered["device"], offered["backend"]), workers=1, limits=limits, warn=_log.warning
            )
            await pool.start()
            if pool.about["sha256"] != sha256:
                await pool.stop()
                raise BundleError("arrived as another bundle than was sent", code="bundle-changed", path=BUNDLE)
        except BaseException as error:
            place.close()
            if isinstance(error, TwinTrackError):
                error.rename(place.path, "")
            raise
        self._pool, self._bundle = pool, (sha256, place)
        self._tell(held, {"event": "loaded"})

    async def _drop_bundle(self) -> None:
        pool, bundle, self._pool, self._bundle = self._pool, self._bundle, None, None
        if pool is not None:
            await pool.stop()
        if bundle is not None:
            await asyncio.to_thread(bundle[1].close)

    async def _work(self, held: _Held, source: str, settings: Mapping[str, Any]) -> None:
        assert self._pool is not None
        folder = held.folder.path
        own = {name: str(folder / settings[name]) for name in ("vessels", "calibrator") if settings.get(name)}
        work = Work(held.run, folder / source, folder / OUT, {**settings, **own})
        last = await self._pool.carry_out(work, lambda event: self._tell(held, event))
        if last["event"] == "error":
            last = last | {"fields": error_told(last["fields"], folder)}
        self._tell(held, last)

    def _end(self, held: _Held) -> None:
        if self._ending is None:
            self._ending = asyncio.create_task(self._let_go(held))

    async def _let_go(self, held: _Held) -> None:
        """Wait until nothing uses the run's folder any more, and remove it."""
        try:
            if held.work is not None and not held.work.done():
                if self._pool is None:  # it is being loaded
                    held.work.cancel()
                else:
                    await self._pool.cancel(held.run)
                await asyncio.wait([held.work])
            await asyncio.to_thread(held.folder.close)
        finally:
            self._held = self._ending = None

    async def _watch(self, held: _Held) -> None:
        """End a run that nobody asks for any more."""
        while self._held is held and time.monotonic() - held.seen < LEASE_S:
            await asyncio.sleep(LEASE_S / 10)
        if self._held is held:
            self._end(held)


_ends: WeakKeyDictionary[Any, FarEnd] = WeakKeyDictionary()
"""Of the Dask workers of this process, of which there is one most often."""


async def ask_far_end(what: str, *arguments: Any, dask_worker: Any = None) -> dict[str, Any]:
    """Ask the Dask worker that carries this out for something: the name of a public method of `FarEnd`.

    Returns
    -------
    dict
        What the method returns; or an event ``error`` in its place.
    """
    if dask_worker not in _ends:
        limit = getattr(dask_worker.memory_manager, "memory_limit", None)
        _ends[dask_worker] = FarEnd(int(limit) if limit else None)
    try:
        answer: dict[str, Any] = await getattr(_ends[dask_worker], what)(*arguments)
    except (TwinTrackError, OSError) as error:
        return error_event(error if isinstance(error, TwinTrackError) else _no_room(error))
    except Exception as error:  # its words may quote a file
        return error_event(InputError(f"unforeseen: {type(error).__name__}", code="cluster-run-lost"))
    return answer


def _no_room(error: OSError) -> OutputError:
    return OutputError(
        f"a worker of the cluster cannot take the CT in ({error.strerror}); tell whoever runs the server",
        code="cluster-no-room",
    )
