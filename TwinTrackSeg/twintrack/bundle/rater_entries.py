"""What ``bundle.json`` says of raters: the weight of each tumour label, who is behind which network, and the training.

Read with the standard library alone, as `twintrack.bundle.schema` is: Slicer's side reads it before packages are there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twintrack.errors import BundleError

__all__ = [
    "MAX_RATER_MEMBERS",
    "RATER_ID",
    "TRAINING_ENTRIES",
    "WEIGHT_ROUNDING",
    "RaterMember",
    "check_rater_members",
    "read_rater_members",
    "read_training",
    "read_tumor_weights",
]

RATER_ID = re.compile(r"[A-Za-z0-9_-]{1,16}")
"""A rater's pseudonym. What such a bundle shows is how somebody draws: a name would not belong there."""

MAX_RATER_MEMBERS = 32
"""Most raters that a bundle tells apart."""

MAX_LABELS = 64
MAX_WORD = 200
MAX_ENTRIES = 256
"""Most tumour labels, characters of a text on one line, and values of one entry of `training`."""

MAX_SENTENCE = 500
"""Characters of a text that says what went wrong."""

LARGEST = 1e12

WEIGHT_ROUNDING = 1e-6
"""By which weights of channels that may be active together may exceed 1 in sum: 1/R is not a decimal number."""


@dataclass(frozen=True)
class RaterMember:
    """What speaks for one rater in a bundle: networks of the fine ensemble, or one output of all of them.

    Attributes
    ----------
    id : str
        Pseudonym.
    members : tuple of str
        Folds of the networks that learnt from this rater alone; empty where a label speaks for the rater.
    label : str or None
        The rater's own label in the fine ``dataset.json``, one of the bundle's tumour labels.
    persona : int or None
        The rater's place in a network of slices, which can draw as each of its raters.
    """

    id: str
    members: tuple[str, ...] = ()
    label: str | None = None
    persona: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the entry of ``bundle.json``."""
        if self.persona is not None:
            return {"id": self.id, "persona": self.persona}
        return {"id": self.id, **({"members": list(self.members)} if self.label is None else {"label": self.label})}


def read_tumor_weights(value: object, where: str) -> dict[str, float]:
    """Read ``tumor_weights``: what one unit of each tumour label's probability adds to the score.

    Raises
    ------
    BundleError
        If it is no table of 1 to `MAX_LABELS` labels with finite weights in (0, 1].
    """
    weights = value if isinstance(value, dict) and 0 < len(value) <= MAX_LABELS else {"": 0}
    if not all(_is_line(name) and _is_number(weight) and 0 < weight <= 1 for name, weight in weights.items()):
        raise _malformed(
            f"'tumor_weights' must map labels to weights above 0 and at most 1, got {_shown(value)}", where
        )
    return {name: float(weight) for name, weight in weights.items()}


def read_rater_members(value: object, where: str) -> tuple[RaterMember, ...]:
    """Read ``rater_members``, which may be left out; what they belong to is checked by `check_rater_members`.

    Raises
    ------
    BundleError
        Names the entry that is wrong.
    """
    if value is None:
        return ()
    if not isinstance(value, list) or not 0 < len(value) <= MAX_RATER_MEMBERS:
        raise _malformed(
            f"'rater_members' must be a list of at most {MAX_RATER_MEMBERS} raters or null, got {_shown(value)}", where
        )
    return tuple(_rater_member(entry, where) for entry in value)


def _rater_member(entry: object, where: str) -> RaterMember:
    identity = entry.get("id") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(identity, str) or not RATER_ID.fullmatch(identity):
        raise _malformed(
            "each of 'rater_members' needs an 'id', a pseudonym of at most 16 letters, digits, _ and -, got "
            f"{_shown(entry)}",
            where,
        )
    members, label, persona = (entry.get(name) for name in ("members", "label", "persona"))
    if sum(value is not None for value in (members, label, persona)) != 1:
        raise _malformed(f"the rater {identity!r} needs one of 'members', 'label' and 'persona'", where)
    if persona is not None:
        if not _count(persona, MAX_RATER_MEMBERS - 1):
            raise _malformed(f"'persona' of the rater {identity!r} must be a number, got {_shown(persona)}", where)
        return RaterMember(identity, persona=persona)
    if label is not None:
        if not _is_line(label):
            raise _malformed(f"'label' of the rater {identity!r} must be a label's name, got {_shown(label)}", where)
        return RaterMember(identity, label=label)
    if not isinstance(members, list) or not 0 < len(members) <= MAX_RATER_MEMBERS or not _are_different(members):
        raise _malformed(
            f"'members' of the rater {identity!r} must list different folds such as [\"0\"], got {_shown(members)}",
            where,
        )
    return RaterMember(identity, members=tuple(members))


def check_rater_members(
    raters: Sequence[RaterMember],
    *,
    folds: Sequence[str],
    weights: Mapping[str, float],
    where: str,
    slices: bool = False,
) -> None:
    """Check that raters, networks and tumour labels belong to each other one way alone.

    Parameters
    ----------
    raters : sequence of RaterMember
        As read.
    folds : sequence of str
        Members of the fine ensemble.
    weights : mapping of str to float
        The bundle's ``tumor_weights``.
    where : str
        File, for messages.
    slices : bool
        Whether the fine stage is a network of slices, whose raters are its personas, all of them.

    Raises
    ------
    BundleError
        With the code ``rater-members`` where a rater, a network or a label is named twice, is not there, or belongs to
        nobody.
    """
    if not raters:
        return

    def refuse(sentence: str) -> BundleError:
        return BundleError(sentence, code="rater-members", path=where)

    for what, names in (
        ("rater", [rater.id.casefold() for rater in raters]),  # ids become names of files
        ("member", [fold for rater in raters for fold in rater.members]),
        ("label", [rater.label for rater in raters if rater.label is not None]),
    ):
        twice = _first_repeated(names)
        if twice is not None:
            raise refuse(f"'rater_members' names the {what} {twice!r} twice; each belongs to one rater")
    personas = sorted(rater.persona for rater in raters if rater.persona is not None)
    if personas != list(range(len(raters) if slices else 0)):
        raise refuse(
            "'rater_members' must give each rater of a network of slices its own 'persona' from 0 on, and no rater of "
            "another network one"
        )
    if slices:
        return
    by_label = [rater.label is not None for rater in raters]
    if any(by_label) != all(by_label):
        raise refuse("'rater_members' must give all raters 'members', or all of them a 'label'")
    for rater in raters:
        for fold in rater.members:
            if fold not in folds:
                raise refuse(
                    f"the rater {rater.id!r} has the member {fold!r}, which is none of the folds {', '.join(folds)} of "
                    "'fine'"
                )
        if rater.label is not None and rater.label not in weights:
            raise refuse(
                f"the rater {rater.id!r} has the label {rater.label!r}, which is none of 'tumor_weights' "
                f"({', '.join(weights)})"
            )
    nobody = [fold for fold in folds if not any(fold in rater.members for rater in raters)]
    if nobody and not any(by_label):
        raise refuse(
            f"the member {nobody[0]!r} belongs to no rater; either all members of 'fine' belong to raters, or none"
        )


def _are_different(values: list[Any]) -> bool:
    """Whether all are texts, and none is there twice."""
    return all(isinstance(value, str) for value in values) and len(set(values)) == len(values)


def _cases(value: object) -> bool:
    splits = {"train", "calibration", "test"}
    return isinstance(value, dict) and set(value) <= splits and all(map(_count, value.values()))


def _count(value: object, most: float = LARGEST) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _id(value: object) -> bool:
    return isinstance(value, str) and RATER_ID.fullmatch(value) is not None


def _ids(value: object) -> bool:
    return isinstance(value, list) and 0 < len(value) <= MAX_ENTRIES and all(map(_id, value)) and _are_different(value)


def _lines(value: object) -> bool:
    return isinstance(value, list) and len(value) <= MAX_ENTRIES and all(map(_is_sentence, value))


def _seeds(value: object) -> bool:
    return isinstance(value, list) and len(value) <= MAX_ENTRIES and all(_count(seed, 2**63 - 1) for seed in value)


def _sha256(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def _table(key: Callable[[object], bool], entry: Callable[[object], bool]) -> Callable[[object], bool]:
    def right(value: object) -> bool:
        if not isinstance(value, dict) or len(value) > MAX_ENTRIES:
            return False
        return all(key(name) and entry(one) for name, one in value.items())

    return right


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST


def _is_number_or_null(value: object) -> bool:
    return value is None or _is_number(value)


def _is_sentence(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_SENTENCE and value.isprintable()


def _is_line(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_WORD and value.isprintable()


TRAINING_ENTRIES: dict[str, tuple[str, Callable[[object], bool]]] = {
    "strategy": ("a name on one line", _is_line),
    "raters": ("a list of different pseudonyms of at most 16 letters, digits, _ and -", _ids),
    "cases": ("numbers of cases by the splits train, calibration and test", _cases),
    "cases_by_rater": ("numbers of training cases by rater", _table(_id, _count)),
    "preset": ("a name on one line", _is_line),
    "loss": ("a text on one line", _is_line),
    "ordinal_weight": ("a number", _is_number),
    "iterations": ("a whole number", _count),
    "epochs": ("a whole number", _count),
    "seeds": ("a list of whole numbers", _seeds),
    "losses": ("the last training loss by member", _table(_is_line, _is_number)),
    "metrics": ("numbers, or null, by name", _table(_is_line, _is_number_or_null)),
    "manifest_sha256": ("a SHA-256 of 64 digits", _sha256),
    "settings_sha256": ("a SHA-256 of 64 digits", _sha256),
    "alarms": ("texts on one line", _lines),
    "versions": ("versions by the package's name", _table(_is_line, _is_line)),
}
"""The entries of ``training``, what each must be, and whether a value is; all but the first three may be left out.

``metrics`` are held-out ones, by names of the maker's choice.
"""

_NEEDED = ("strategy", "raters", "cases")


def read_training(value: object, where: str) -> dict[str, Any] | None:
    """Read ``training``, a card of how the networks were trained, which may be left out; unknown entries are dropped.

    Raises
    ------
    BundleError
        Names the entry that is missing or wrong.
    """
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _malformed(f"'training' must be a table or null, got {_shown(value)}", where)
    for name in _NEEDED:
        if value.get(name) is None:
            raise _malformed(f"'training' has no entry {name!r}", where)
    found = {}
    for name, (requirement, right) in TRAINING_ENTRIES.items():
        entry = value.get(name)
        if entry is None:
            continue
        if not right(entry):
            raise _malformed(f"{name!r} of 'training' must be {requirement}, got {_shown(entry)}", where)
        found[name] = entry
    return found


def _malformed(sentence: str, where: str) -> BundleError:
    return BundleError(sentence, code="bundle-entry", path=where)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_WORD else f"{text[:MAX_WORD]}..."


def _first_repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
