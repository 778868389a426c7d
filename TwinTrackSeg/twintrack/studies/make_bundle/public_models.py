"""Public models that are known to work: what to download by hand, and the command that makes a bundle of it.

Nothing is downloaded from here. The list is ``data/known_models.json``.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from twintrack.errors import InputError

__all__ = ["KnownModel", "KnownStage", "find_known_model", "known_models"]

WIDTH = 100


@dataclass(frozen=True)
class KnownStage:
    """One of a public model's two networks.

    Attributes
    ----------
    folder : str
        Results folder, relative to where the downloads are unpacked.
    folds : tuple of str
        Members that are published.
    checkpoint : str
        File name of the weights.
    labels : mapping of str to str
        What each label name of ``dataset.json`` means.
    """

    folder: str
    folds: tuple[str, ...]
    checkpoint: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class KnownModel:
    """A public model and how to make a bundle of it.

    Attributes
    ----------
    name, title, publisher, summary, place : str
        Short name, and sentences for people.
    published, notes, unconfirmed : tuple of str
        Addresses; what to know; what could not be checked at the source.
    license : mapping of str to str
        Of the code and of the weights.
    download : tuple of mapping
        ``url``, ``file`` and what it ``holds``.
    coarse, fine : KnownStage
        The networks.
    options : tuple of pair of str
        Further options of ``bundle create``.
    sources : tuple of mapping
        ``url``, and what it ``says``.
    """

    name: str
    title: str
    publisher: str
    summary: str
    published: tuple[str, ...]
    license: Mapping[str, str]
    download: tuple[Mapping[str, str], ...]
    place: str
    coarse: KnownStage
    fine: KnownStage
    options: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    sources: tuple[Mapping[str, str], ...]
    unconfirmed: tuple[str, ...]

    @property
    def arguments(self) -> list[str]:
        """Arguments of ``twintrack`` that make the bundle, run where the downloads are unpacked."""
        arguments = ["bundle", "create"]
        for stage, prefix, found in (("coarse", "coarse-", self.coarse), ("fine", "", self.fine)):
            arguments += [f"--{stage}", found.folder, f"--{prefix}folds", ",".join(found.folds)]
            arguments += [f"--{prefix}checkpoint", found.checkpoint]
        return [*arguments, *(word for pair in self.options for word in pair)]

    def recipe(self, *, separator: str = " \\\n    ") -> str:
        """Return the whole recipe as text; `separator` stands between the options of its command."""
        files = [f"{part['file']} from {part['url']}: {part['holds']}" for part in self.download]
        labels = [f"{name}: {meaning}" for name, meaning in self.fine.labels.items()]
        parts = [
            f"{self.name}: {self.title}",
            _wrapped(self.summary),
            _section("Published by", [self.publisher, *self.published]),
            _section("Licence", [f"{what}: {text}" for what, text in self.license.items()]),
            _section("Download by hand", [*files, self.place]),
            "Then run\n\n" + self.command(separator),
            _section("Labels of the fine model", labels),
            _section("To know", self.notes),
            _section("Sources", [f"{source['url']}: {source['says']}" for source in self.sources]),
            _section("Not confirmed at the source", self.unconfirmed),
        ]
        return "\n\n".join(parts)

    def command(self, separator: str = " ") -> str:
        """Return the command line that makes the bundle."""
        words = [f'"{word}"' if " " in word else word for word in ["twintrack", *self.arguments]]
        return separator.join(
            [" ".join(words[:3]), *(f"{a} {b}" for a, b in zip(words[3::2], words[4::2], strict=True))]
        )


def known_models() -> tuple[KnownModel, ...]:
    """Return the list that ships with the package."""
    text = (resources.files("twintrack") / "data" / "known_models.json").read_text(encoding="utf-8")
    return tuple(_model(entry) for entry in json.loads(text)["models"])


def find_known_model(name: str) -> KnownModel:
    """Return the model called `name`.

    Raises
    ------
    InputError
        If it is not on the list.
    """
    models = {model.name: model for model in known_models()}
    if name not in models:
        raise InputError(f"no known model; the list holds {', '.join(models)}", code="model-unknown", where=name)
    return models[name]


def _model(entry: Mapping[str, Any]) -> KnownModel:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    stages = {key: KnownStage(**{**entry[key], "folds": tuple(entry[key]["folds"])}) for key in ("coarse", "fine")}
    values |= stages | {"options": tuple((option, value) for option, value in entry["options"])}
    return KnownModel(**values)


def _section(title: str, lines: Iterable[str]) -> str:
    return f"{title}\n" + "\n".join(_wrapped(line, "  - ", "    ") for line in lines)


def _wrapped(text: str, first: str = "", rest: str = "") -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
