"""What a Dask worker keeps for servers: one run at a time, and nothing of it when nobody asks for it any more."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from twintrack.execution.server import far_end
from twintrack.execution.server.far_end import RUN_LOST, FarEnd, ask_far_end

BUNDLE = "0" * 64


@pytest.fixture
def scratch(tmp_path, monkeypatch) -> Path:
    """Where the worker has its folders."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


class Worker:
    """A Dask worker, as far as it is asked for anything."""

    memory_manager = SimpleNamespace(memory_limit=None)


async def free(end: FarEnd) -> None:
    """Wait until the worker has let go of its run."""
    while not (await end.claim("probe", BUNDLE, False))["free"]:
        await asyncio.sleep(0.01)
    await end.release("probe")


def test_a_worker_has_one_run_at_a_time(scratch):
    async def ask() -> None:
        end = FarEnd(None)
        assert await end.claim("one", BUNDLE, False) == {"free": True, "loaded": False, "ending": False}
        assert await end.claim("two", BUNDLE, False) == {"free": False, "loaded": False, "ending": False}
        await end.put("one", "", [("ct/1", 0, b"voxels")])
        assert [path.read_bytes() for path in scratch.rglob("ct/1")] == [b"voxels"]
        await end.release("two")  # not its own
        assert not (await end.claim("two", BUNDLE, False))["free"]
        await end.release("one")
        assert (await end.claim("two", BUNDLE, False))["ending"]
        await asyncio.wait_for(free(end), 60)

    asyncio.run(ask())
    assert not list(scratch.rglob("ct"))


def test_a_worker_that_must_have_loaded_the_bundle_is_not_taken_without(scratch):
    async def ask() -> dict:
        return await FarEnd(None).claim("one", BUNDLE, True)

    assert asyncio.run(ask()) == {"free": False, "loaded": False, "ending": False}
    assert not list(scratch.iterdir())


def test_a_run_that_nobody_asks_for_is_gone(scratch, monkeypatch):
    monkeypatch.setattr(far_end, "LEASE_S", 0.3)

    async def ask() -> None:
        end = FarEnd(None)
        await end.claim("one", BUNDLE, False)
        for _ in range(5):
            await asyncio.sleep(0.1)
            await end.put("one", "", [])  # it is asked for
        assert list(scratch.iterdir())
        await asyncio.wait_for(free(end), 60)

    asyncio.run(ask())


def test_errors_are_answers_and_never_reach_dask_s_log(scratch):
    async def ask() -> list[dict]:
        worker = Worker()
        told = [await ask_far_end("put", "nobody", "", [], dask_worker=worker)]
        await ask_far_end("claim", "one", BUNDLE, False, dask_worker=worker)
        told.append(await ask_far_end("put", "one", "", [("../x", 0, b"DOE")], dask_worker=worker))
        await ask_far_end("put", "one", "", [("x", 0, b"DOE")], dask_worker=worker)
        told.append(await ask_far_end("put", "one", "", [("x", 0, b"DOE")], dask_worker=worker))
        told.append(await ask_far_end("put", "one", "", [("y", 0, None)], dask_worker=worker))
        return told

    answers = asyncio.run(ask())
    assert [answer["fields"]["code"] for answer in answers] == [RUN_LOST, "part-name", "cluster-no-room", RUN_LOST]
    assert not any("DOE" in str(answer) for answer in answers)
