"""A step in a process of its own: what it gives and raises comes back, and one that is ended leaves nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial

import numpy as np
import psutil
import pytest

pytest.importorskip("trame_slicer", reason="the extra 'view' is not installed: make view-tools")
from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.io.ct import load_ct
from TwinTrackSegLib.web.LongSteps import LongSteps

pytestmark = pytest.mark.process


def test_what_a_step_gives_and_raises_comes_back(tmp_path):
    async def take() -> None:
        steps = LongSteps()
        assert await steps.take(partial(np.full, 3, 7.0)) == pytest.approx([7, 7, 7])
        assert await steps.take(os.getpid) != os.getpid()
        with raises_error(InputError, "file-missing", "no.nii.gz"):
            await steps.take(partial(load_ct, tmp_path / "no.nii.gz"))

    asyncio.run(take())


def test_a_step_that_is_killed_is_an_error_and_one_that_is_closed_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    async def take() -> None:
        steps, others = LongSteps(), psutil.Process().children()
        with raises_error(InputError, "step-ended", "SIGABRT"):
            await steps.take(os.abort)
        waiting = asyncio.create_task(steps.take(signal.pause))
        while not (children := [one for one in psutil.Process().children() if one not in others]):
            await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        psutil.wait_procs(children, timeout=300)
        assert not any(child.is_running() for child in children)
        assert list(tmp_path.iterdir()) == []

    asyncio.run(take())
