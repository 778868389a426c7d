"""Lines that a kept worker gets: requests of other types, depths, lengths and encodings."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from fuzzing import models, shapes
from fuzzing.harness import Kind

ANSWER_S = 60.0
"""Longest wait for the answers to the lines of one input."""

ENDS = ("done", "error", "cancelled")


def make(rng: Random, seeds: Path, folder: Path) -> Path:
    """Write what goes into the worker's standard input."""
    lines = [_line(rng, seeds, folder) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
    end = rng.choice((b"\n",) * 10 + (b"\r\n", b"\n\n", b"\r", b"\0\n", b"\x0b"))
    path = folder / "lines"
    path.write_bytes(end.join(lines) + rng.choice((end, end, b"")))
    return path


def _line(rng: Random, seeds: Path, folder: Path) -> bytes:
    request: dict[str, Any] = {
        **{"schema": 1, "input": str(seeds / "ct.nii.gz"), "bundle": str(seeds / "bundle"), "out": str(folder / "out")},
        **{"roi": list(models.ROI), "threshold": 0.5, "device": "cpu", "backend": "torch", "calibrate": True},
        **{
            "vessels": None,
            "vessel_names": {"SMA": 1},
            "series": None,
            "rules": "nccn",
            "contact_mm": 1.9,
            "dicom": False,
        },
    }
    if rng.random() < 0.8:  # mostly to an error after the request is understood
        request["bundle"] = str(folder / "nowhere")
    if rng.random() < 0.15:
        request |= {
            "run_on": rng.choice(
                (
                    "",
                    "127.0.0.1:1",
                    "tls://127.0.0.1:1",
                    "https://127.0.0.1:1",
                    "http://127.0.0.1:1",
                    "x" * 5000,
                    "[::1",
                    "127.0.0.1:99999999",
                )
            )
        }
        request["tls"] = rng.choice((None, "", "/nowhere", str(folder), "\0"))
    way = rng.choice(("bent",) * 7 + ("paths", "paths", "whole", "long", "raw", "raw"))
    if way == "whole":
        return json.dumps(shapes.odd(rng)).encode("utf-8", "surrogatepass")
    if way == "paths":
        paths = (
            "/dev/zero",
            "/dev/stdin",
            "/",
            "",
            ".",
            "/proc/self/mem",
            "x" * 5000,
            "\ud800",
            "a\0b",
            str(folder),
            "~",
        )
        request[rng.choice(("input", "bundle", "out", "vessels", "calibrator"))] = rng.choice(paths)
    if way == "long":
        request["series"] = "1" * rng.choice((10**6, 10**7))
    if way == "raw":
        raw = (
            b"\xff\xfe\xfd",
            b"{" * 100_000,
            b"[" * 100_000,
            b'{"a":' * 50_000,
            b"9" * 5000,
            b"cancel ",
            b"cancel\0",
            b"\0",
        )
        more = (
            b'{"schema":1,"schema":1}',
            b"NaN",
            b'"cancel"',
            b'{"cancel": 1}',
            b'{"cancel": true',
            b"{}" * 50_000,
            b"1e999",
        )
        return rng.choice((*raw, *more, b'{"schema":' + b"9" * 100_000 + b"}"))
    content = shapes.bent(rng, request) if way == "bent" else request
    text = shapes.as_bytes(rng, content)
    return text.replace(b"\n", b" ") if rng.random() < 0.8 else text


def _answers_due(text: str) -> int:
    """Return how many lines the worker has to answer."""
    from twintrack.execution.worker.serve import _read

    found = [_read(line) for line in io.StringIO(text)]
    asked = [one for one in found if one is not None and one != "cancel"]
    return sum(not (isinstance(one, dict) and one.get("cancel") is True) for one in asked)


def read(made: object, folder: Path) -> None:
    """Let a worker answer the lines, and check that it said how each ended and is still there."""
    from twintrack.execution.answer import Events
    from twintrack.execution.worker.serve import serve

    text = io.TextIOWrapper(io.BytesIO(Path(str(made)).read_bytes()), encoding="utf-8", errors="replace").read()
    said = io.StringIO()
    due = _answers_due(text)

    def lines() -> Iterator[str]:
        yield from io.StringIO(text)
        until = time.monotonic() + ANSWER_S
        while len(_ends(said.getvalue())) < due and time.monotonic() < until:
            time.sleep(0.002)

    assert serve(lines(), Events(said)) == 0
    check_events(said.getvalue(), due)


def _ends(said: str) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in said.splitlines(keepends=True) if line.endswith("\n")]
    return [event for event in events if event["event"] in ENDS]


def check_events(said: str, due: int) -> None:
    """Check that each request ended once, and an error was one that a user can understand."""
    import twintrack.errors
    from twintrack.errors import TwinTrackError

    ends = _ends(said)
    assert len(ends) == due, f"{len(ends)} of {due} requests were answered"
    for event in ends:
        if event["event"] == "error":
            kind = getattr(twintrack.errors, event["kind"], None)
            assert kind is not None, event
            assert issubclass(kind, TwinTrackError), event


def command(made: object, folder: Path) -> tuple[list[str], bytes]:
    """Give the lines to a worker: all to one that stays, or the first as a request file."""
    from fuzzing.commands import WAIT

    content = Path(str(made)).read_bytes()
    if len(content) % 2:
        return ["--worker", "--serve"], content
    request = folder / "request.json"
    request.write_bytes(content.splitlines()[0] if content.splitlines() else b"")
    return ["--worker", str(request)], WAIT


def load() -> None:
    """Import what a worker has imported when it is ready."""
    models.load_networks()


WORKER = Kind("worker", models.prepare, make, read, command, load)
