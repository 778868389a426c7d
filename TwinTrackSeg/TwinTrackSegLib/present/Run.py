"""A run in words: the button, how far it is, how long it takes, where it runs, how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twintrack.progress.time_left import round_time
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult
from TwinTrackSegLib.mrml.worker.WorkerEvents import Processor, processorFor
from TwinTrackSegLib.present.Translation import tr as _

__all__ = [
    "RunButton",
    "cancelled",
    "cancelling",
    "doneText",
    "failed",
    "logText",
    "processorLine",
    "processorText",
    "progressText",
    "runButton",
    "starting",
    "unexpected",
    "withTimeLeft",
]

GIGABYTE = 1e9


@dataclass(frozen=True)
class RunButton:
    """The one button that starts a run and ends it."""

    text: str
    tip: str
    enabled: bool


def runButton(*, running: bool, ready: bool) -> RunButton:
    """Return the button; `ready` says whether there is a CT to segment."""
    if running:
        return RunButton(_("Cancel"), _("Stop the run; the Escape key does it too"), True)
    tip = _("Run the model on this CT") if ready else _("Choose a CT first")
    return RunButton(_("Segment"), tip, ready)


def starting() -> str:
    """Say that the model starts."""
    return _("Starting the model...")


def cancelling() -> str:
    """Say that the run is about to end."""
    return _("Cancelling...")


def cancelled() -> str:
    """Say that it was ended by the user."""
    return _("Cancelled.")


def failed(reason: str) -> str:
    """Say that it failed, and why."""
    return _("Failed: {reason}").format(reason=reason)


def doneText(result: SceneResult) -> str:
    """Say what a run that is done had to do otherwise than it began; nothing where the result that is shown says it."""
    notes = result.record.result.get("engine", {}).get("notes", [])
    return _("Done; {notes}.").format(notes="; ".join(notes)) if notes else ""


def progressText(fraction: float, seconds: float) -> str:
    """Say how far it is after how long."""
    minutes, rest = divmod(int(seconds), 60)
    return _("{percent} % after {minutes}:{seconds:02d}").format(
        percent=round(100 * fraction), minutes=minutes, seconds=rest
    )


def withTimeLeft(message: str, seconds: float | None) -> str:
    """Return `message` with the time left, if that is known and not over."""
    if not seconds:
        return message
    number, unit = round_time(seconds)
    phrases = {
        "s": _("{message}, about {number} s left"),
        "min": _("{message}, about {number} min left"),
        "h": _("{message}, about {number} h left"),
    }
    return phrases[unit].format(message=message, number=number)


def unexpected(error: BaseException) -> str:
    """Say that something happened that nobody foresaw."""
    return _("Unexpected error: {error}").format(error=error)


def logText(lines: Sequence[str]) -> str:
    """Return what the model's process wrote."""
    return "\n".join(lines) or _("The model's process has written nothing.")


def processorLine(
    found: Sequence[Processor], device: str, running: Processor | None = None, notes: Sequence[str] = ()
) -> str:
    """Say which processor will run, runs or gave way; empty while nothing is known.

    Parameters
    ----------
    found : sequence of Processor
        What the model's process found.
    device : str
        What the user asks for.
    running : Processor, optional
        What a run that is going on runs on, with `notes` of what it had to do for lack of memory.
    """
    if running is not None:
        return "\n".join([_("Runs on {processor}").format(processor=processorText(running)), *notes])
    if not found:
        return ""
    taken = processorFor(device, found)
    if taken is not None:
        return _("Will run on {processor}").format(processor=processorText(taken))
    there = ", ".join(processorText(each) for each in found)
    return _("The chosen processor was not found; there is {found}").format(found=there)


def processorText(processor: Processor) -> str:
    """Return name and memory of a processor for people."""
    names = {"cpu": _("the CPU"), "mps": _("Apple graphics")}
    name = processor.title or names.get(processor.kind, processor.device)
    if processor.totalBytes is None:
        return name
    total = f"{processor.totalBytes / GIGABYTE:.0f}"
    if processor.freeBytes is None:
        return _("{name}: {total} GB of memory").format(name=name, total=total)
    free = f"{processor.freeBytes / GIGABYTE:.1f}"
    return _("{name}: {free} of {total} GB of memory free").format(name=name, free=free, total=total)
