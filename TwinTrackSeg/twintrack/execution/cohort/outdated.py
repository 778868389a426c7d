"""What a case was made with, next to what is asked for now, and in which words the difference is told.

A record states ``made``: ``version``, ``bundle``, ``settings`` (those that change a result, and the calibrator's hash),
and hashes of names, sizes and times of the files, ``image`` and ``vessels``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

__all__ = ["Difference", "RecordState", "difference", "notes", "outdated_text"]

OUTPUTS = ("keep_score", "rater_maps", "samples", "panel", "dicom")
"""Settings that add files to a result and change none of it."""

NOT_SETTINGS = {
    "version": "the version of TwinTrack",
    "bundle": "the bundle",
    "image": "the image",
    "vessels": "the vessel map",
}

UNKNOWN = "made with other settings or by an earlier version"


class Difference(NamedTuple):
    """What is new about what is asked for; nothing if a result can stay as it is.

    Attributes
    ----------
    changes : tuple of str
        Why the case would be done again.
    dropped : tuple of str
        Outputs that the result has and nobody asks for any more.
    """

    changes: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


class RecordState(NamedTuple):
    """How things stand with a case.

    Attributes
    ----------
    status : str
        ``done`` and ``failed`` as it is asked for now; ``outdated``, a result that would be done again; ``open``.
    difference : Difference
        Between the record, if there is one, and what is asked for.
    """

    status: str
    difference: Difference = Difference()


def difference(before: object, now: Mapping[str, Any]) -> Difference:
    """Compare what a record states with what is asked for, as far as `now` goes.

    Parameters
    ----------
    before : object
        The record's ``made``; anything, since a file of an earlier version, or of a user, is not what we wrote.
    now : mapping
        The same for what is asked for; without ``image`` and ``vessels`` these are not compared.
    """
    if not isinstance(before, Mapping) or not isinstance(before.get("settings"), Mapping):
        return Difference((UNKNOWN,))
    changes = [what for name, what in NOT_SETTINGS.items() if name in now and before.get(name) != now[name]]
    dropped: list[str] = []
    old, new = before["settings"], now["settings"]
    for name in sorted({*old, *new}):
        unasked = name in OUTPUTS and not old.get(name) and not new.get(name)  # unknown to an earlier version, or off
        if unasked or old.get(name) == new.get(name):
            continue
        (dropped if name in OUTPUTS and old.get(name) and not new.get(name) else changes).append(str(name))
    return Difference(tuple(changes), tuple(dropped))


def outdated_text(states: Mapping[RecordState, int]) -> str | None:
    """Return what changed, and how many cases would be done again for it; None if there is no such case.

    Parameters
    ----------
    states : mapping
        How often each state occurs.
    """
    outdated = {state: number for state, number in states.items() if state.status == "outdated"}
    if not outdated:
        return None
    changes = _counted((state.difference.changes, number) for state, number in outdated.items())
    return f"{changes}: {_cases(sum(outdated.values()))} would be done again; --redo does it"


def notes(states: Mapping[RecordState, int]) -> Iterator[str]:
    """Yield what else the user may want to know: what is tried again unasked, and what stays although it is dropped."""
    again = {state: number for state, number in states.items() if state.status == "open" and state.difference.changes}
    if again:
        changes = _counted((state.difference.changes, number) for state, number in again.items())
        yield f"{changes}: {_cases(sum(again.values()))} without a result, tried again"
    dropped: Counter[str] = Counter()
    for state, number in states.items():
        dropped.update(dict.fromkeys(state.difference.dropped if state.status == "done" else (), number))
    for output, number in dropped.items():
        yield f"{output} is off now: {_cases(number)} done with it stay as they are"


def _counted(changes: Iterable[tuple[Iterable[str], int]]) -> str:
    """Return all changes in one sentence, the commonest first, each with its number if there are several."""
    counts: Counter[str] = Counter()
    for names, number in changes:
        counts.update(dict.fromkeys(names, number))
    if len(counts) == 1:
        return _said(next(iter(counts)))
    return ", ".join(f"{_said(change)} ({_cases(number)})" for change, number in counts.most_common())


def _said(change: str) -> str:
    return change if change == UNKNOWN else f"{change} changed"


def _cases(number: int) -> str:
    return "1 case" if number == 1 else f"{number} cases"
