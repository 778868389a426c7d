"""What the worker says: its events, the errors in them, and the processors that it found, with their memory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twintrack import errors

__all__ = ["Processor", "errorOf", "parseEvent", "processorFor", "processorOf", "processorsOf"]

FINAL_EVENTS = ("done", "error", "cancelled")


def parseEvent(line: str) -> dict[str, Any] | None:
    """Return the event that a line of output carries, or None if it carries none (a library's chatter)."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict):
        return None
    if event.get("event") == "progress":
        fraction = event.get("fraction")
        return event if isinstance(fraction, (int, float)) and 0 <= fraction <= 1 else None
    return event if event.get("event") in (*FINAL_EVENTS, "ready") else None


def errorOf(event: dict[str, Any]) -> errors.TwinTrackError:
    """Return the worker's error as the engine's own type, with its sentence and fields."""
    fields = event.get("fields")
    if not isinstance(fields, dict):
        message = str(event.get("message") or "the model process failed without a message")
        fields = {"kind": event.get("kind"), "message": message, "code": "worker-failed"}
    return errors.TwinTrackError.of_fields(fields)


@dataclass(frozen=True)
class Processor:
    """Something that the networks can run on.

    Attributes
    ----------
    device : str
        The engine's name of it: ``cpu``, ``cuda:0``, ``mps``.
    title : str
        Its maker's name for it; empty where nobody says.
    totalBytes, freeBytes : int or None
        Memory that it has and memory that could be taken; None where that is not known.
    """

    device: str
    title: str = ""
    totalBytes: int | None = None
    freeBytes: int | None = None

    @property
    def kind(self) -> str:
        """What is asked for to run on it: ``cpu``, ``cuda`` or ``mps``."""
        return self.device.split(":")[0]


def processorOf(told: object) -> Processor | None:
    """Return the processor that a field of a worker's event tells of, or None."""
    if not isinstance(told, Mapping) or not isinstance(told.get("device"), str) or not told["device"]:
        return None
    title = told.get("title")
    return Processor(
        device=told["device"],
        title=title if isinstance(title, str) else "",
        totalBytes=_bytes(told.get("total_bytes")),
        freeBytes=_bytes(told.get("free_bytes")),
    )


def processorsOf(told: object) -> tuple[Processor, ...]:
    """Return the processors that a worker's ``ready`` event lists, in the order in which ``auto`` tries them."""
    if not isinstance(told, Sequence) or isinstance(told, str):
        return ()
    return tuple(processor for each in told if (processor := processorOf(each)) is not None)


def processorFor(choice: str, found: Sequence[Processor]) -> Processor | None:
    """Return the one of `found` that a run takes when `choice` is asked for; None if there is none of that kind."""
    fitting = [processor for processor in found if choice in ("auto", processor.kind)]
    return fitting[0] if fitting else None


def _bytes(value: object) -> int | None:
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0 else None
