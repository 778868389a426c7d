"""Public models that are known: what is fetched, what its hash is and who says so; what cannot be had, and why.

The list is ``data/known_models.json``. Reading it touches no network.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from twintrack.errors import InputError

__all__ = [
    "Archive",
    "KnownModel",
    "KnownStage",
    "Pin",
    "UnusableModel",
    "find_known_model",
    "known_models",
    "section",
    "text_for_it",
    "unusable_models",
    "wrapped",
]

WIDTH = 100

METADATA = ("plans.json", "dataset.json")
"""Files beside the folds without which weights mean nothing."""


@dataclass(frozen=True)
class Pin:
    """What is known of a file before it is fetched.

    Attributes
    ----------
    source : str
        Who says so.
    sha256 : str or None
        Hash of its bytes.
    json_sha256 : str or None
        In place of it, hash of a JSON file's content, however it is written (see `content_sha256`).
    bytes, packed_bytes : int or None
        Its size, and its size in the archive.
    """

    source: str
    sha256: str | None = None
    json_sha256: str | None = None
    bytes: int | None = None
    packed_bytes: int | None = None


@dataclass(frozen=True)
class Archive:
    """A zip file of a public model.

    Attributes
    ----------
    stage : str
        The stage whose results folder it holds.
    url, file, holds : str
        Where it is, its name, and what is in it, for people.
    md5, md5_source : str
        Hash of the whole file and who says so; empty where none is known.
    members : mapping of str to Pin
        What is known of the files in the stage's folder.
    """

    stage: str
    url: str
    file: str
    holds: str
    members: Mapping[str, Pin]
    md5: str = ""
    md5_source: str = ""


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

    def weights(self, fold: str) -> str:
        """Return the place of a fold's weights in the stage's folder."""
        return f"fold_{fold}/{self.checkpoint}"


@dataclass(frozen=True)
class KnownModel:
    """A public model and how a bundle is made of it.

    Attributes
    ----------
    name, title, publisher, summary, place : str
        Short name, and sentences for people.
    published, notes, unconfirmed : tuple of str
        Addresses; what to know; what could not be checked at the source.
    license : mapping of str to str
        Of the ``code``; of the ``weights``, in words; and the ``name`` under which the user accepts the latter.
    download : tuple of Archive
        One for each stage.
    coarse, fine : KnownStage
        The networks.
    card : mapping
        What the bundle says of itself: labels, licence and description.
    sources : tuple of mapping
        ``url``, and what it ``says``.
    """

    name: str
    title: str
    publisher: str
    summary: str
    published: tuple[str, ...]
    license: Mapping[str, str]
    download: tuple[Archive, ...]
    place: str
    coarse: KnownStage
    fine: KnownStage
    card: Mapping[str, Any]
    notes: tuple[str, ...]
    sources: tuple[Mapping[str, str], ...]
    unconfirmed: tuple[str, ...]

    @property
    def folds(self) -> tuple[str, ...]:
        """Folds that both stages have."""
        return tuple(fold for fold in self.fine.folds if fold in self.coarse.folds)

    @property
    def first_folds(self) -> tuple[str, ...]:
        """What is fetched where nothing else is asked for: one fold whose hashes are known in both stages."""
        pinned = [fold for fold in self.folds if all(self.pin(archive, fold) for archive in self.download)]
        return tuple(pinned[:1] or self.folds[:1])

    def stage(self, name: str) -> KnownStage:
        """Return the stage ``coarse`` or ``fine``."""
        return self.coarse if name == "coarse" else self.fine

    def pin(self, archive: Archive, fold: str) -> Pin | None:
        """Return what is known of a fold's weights."""
        return archive.members.get(self.stage(archive.stage).weights(fold))

    def size(self, folds: Iterable[str], *, packed: bool) -> int:
        """Return about how many bytes the weights of `folds` have; those of an unknown fold count as others do."""
        total = 0
        for archive in self.download:
            known = [pin.packed_bytes if packed else pin.bytes for pin in archive.members.values()]
            usual = max((size for size in known if size), default=0)
            for fold in folds:
                pin = self.pin(archive, fold)
                total += (pin and (pin.packed_bytes if packed else pin.bytes)) or usual
        return total

    def disk_bytes(self, folds: Iterable[str]) -> int:
        """Return about how many bytes of the disk getting it takes: unpacked files, one packed file, the bundle."""
        folds = list(folds)
        return 2 * self.size(folds, packed=False) + self.size(folds[:1], packed=True)

    @property
    def arguments(self) -> list[str]:
        """Arguments of ``twintrack`` that make the bundle by hand, run where the downloads are unpacked."""
        arguments = ["bundle", "create"]
        for stage, prefix, found in (("coarse", "coarse-", self.coarse), ("fine", "", self.fine)):
            arguments += [f"--{stage}", found.folder, f"--{prefix}folds", ",".join(found.folds)]
            arguments += [f"--{prefix}checkpoint", found.checkpoint]
        card = self.card
        arguments += ["--tumor-labels", ",".join(card["tumor_labels"])]
        arguments += ["--organ-labels", ",".join(card["organ_labels"])]
        arguments += ["--vessel-labels", ",".join(f"{name}={label}" for name, label in card["vessel_labels"].items())]
        arguments += ["--license", card["license"], "--description", card["description"]]
        return [*arguments, "--out", self.name]

    def text(self, *, separator: str = " \\\n    ") -> str:
        """Return all that is known as text; `separator` stands between the options of the command by hand."""
        files = [f"{part.file}: {part.holds}" for part in self.download]
        labels = [f"{name}: {meaning}" for name, meaning in self.fine.labels.items()]
        parts = [
            f"{self.name}: {self.title}",
            wrapped(self.summary),
            section("Published by", [self.publisher, *self.published]),
            section("Licence", [f"{what}: {self.license[what]}" for what in ("code", "weights")]),
            section("Files", [*files, self.place]),
            section("Labels of the fine model", labels),
            section("To know", self.notes),
            section("Sources", [f"{source['url']}: {source['says']}" for source in self.sources]),
            section("Not confirmed at the source", self.unconfirmed),
            "What model get and model add do, by hand in the folder of the unpacked files\n\n"
            + self.command(separator),
        ]
        return "\n\n".join(parts)

    def command(self, separator: str = " ") -> str:
        """Return the command line that makes the bundle by hand."""
        words = [f'"{word}"' if any(c in word for c in " ()") else word for word in ["twintrack", *self.arguments]]
        return separator.join(
            [" ".join(words[:3]), *(f"{a} {b}" for a, b in zip(words[3::2], words[4::2], strict=True))]
        )


@dataclass(frozen=True)
class UnusableModel:
    """A public model that no bundle can be made of, and why.

    Attributes
    ----------
    name, title, publisher, summary : str
        Short name, and sentences for people.
    published, reasons, unconfirmed : tuple of str
        Addresses; why not; what could not be checked at the source.
    license : mapping of str to str
        Of code and weights.
    sources : tuple of mapping
        ``url``, and what it ``says``.
    """

    name: str
    title: str
    publisher: str
    summary: str
    published: tuple[str, ...]
    reasons: tuple[str, ...]
    license: Mapping[str, str]
    sources: tuple[Mapping[str, str], ...]
    unconfirmed: tuple[str, ...]

    def text(self) -> str:
        """Return all that is known as text."""
        parts = [
            f"{self.name}: {self.title}",
            wrapped(self.summary),
            section("Published by", [self.publisher, *self.published]),
            section("Licence", [f"{what}: {text}" for what, text in self.license.items()]),
            section("Why no bundle can be made of it", self.reasons),
            section("Sources", [f"{source['url']}: {source['says']}" for source in self.sources]),
            section("Not confirmed at the source", self.unconfirmed),
        ]
        return "\n\n".join(parts)


def known_models() -> tuple[KnownModel, ...]:
    """Return the models that can be got."""
    return tuple(_model(entry) for entry in _document()["models"])


def unusable_models() -> tuple[UnusableModel, ...]:
    """Return the models that are known and cannot be had."""
    return tuple(UnusableModel(**_with_tuples(entry)) for entry in _document()["not_importable"])


def find_known_model(name: str) -> KnownModel:
    """Return the model called `name`.

    Raises
    ------
    InputError
        If it is not on the list, or no bundle can be made of it.
    """
    models = {model.name: model for model in known_models()}
    if name in models:
        return models[name]
    if name in (model.name for model in unusable_models()):
        raise InputError(
            f"no bundle can be made of it; twintrack model list {name} says why",
            code="model-unusable",
            where=name,
        )
    raise InputError(
        f"no known model; twintrack model list shows them ({', '.join(models)})", code="model-unknown", where=name
    )


def _document() -> dict[str, Any]:
    text = (resources.files("twintrack") / "data" / "known_models.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def _with_tuples(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}


def _model(entry: Mapping[str, Any]) -> KnownModel:
    stages = {key: KnownStage(**_with_tuples(entry[key])) for key in ("coarse", "fine")}
    archives = tuple(
        Archive(**{**part, "members": {name: Pin(**pin) for name, pin in part["members"].items()}})
        for part in entry["download"]
    )
    return KnownModel(**{**_with_tuples(entry), **stages, "download": archives})


def text_for_it(model: KnownModel, folds: Iterable[str]) -> str:
    """Return what whoever runs a hospital's network wants to know: addresses, sizes, hashes, and the way by hand."""
    folds = list(folds)
    lines = []
    for archive in model.download:
        lines.append(f"{archive.url}")
        lines.append(
            f"    MD5 of the whole file: {archive.md5 or 'not known'}" + f" ({archive.md5_source})" * bool(archive.md5)
        )
        for fold in folds:
            name, pin = model.stage(archive.stage).weights(fold), model.pin(archive, fold)
            if pin is None:
                lines.append(f"    {name} in it: size and hash not known")
            else:
                lines.append(f"    {name} in it: {pin.bytes:,} bytes, SHA-256 {pin.sha256}")
                lines.append(f"        (as said by {pin.source})")
    given = " ".join(archive.file for archive in model.download)
    parts = [
        f"For whoever runs the network: {model.title}",
        wrapped(
            "The program twintrack (TwinTrackSeg for 3D Slicer, research only) needs the files below once. It asks for "
            "them only when its user presses a button or types a command; nothing is sent but the request itself, and "
            "nothing of a patient."
        ),
        "\n".join(lines),
        section(
            "By the program",
            [
                f"HTTPS, port 443, GET with Range: about {model.size(folds, packed=True) / 1e6:.0f} MB of these files. "
                "Redirections are followed to https:// alone.",
                "Proxies: as the system or the variable HTTPS_PROXY says. Certificates: those that the system trusts; "
                "of a proxy that looks into TLS, the authority's certificate in the system's store, or by --ca-file "
                "FILE. There is no way to switch the check off.",
                f"twintrack model get {model.name} --folds {','.join(folds)} --accept-licence {model.license['name']}",
                "From a mirror of your own that holds the same files: --from https://HOST/FOLDER",
            ],
        ),
        section(
            "By hand, on a computer without a network",
            [
                "Fetch the files elsewhere, compare what is known above, and bring them as they are (zip).",
                f"twintrack model add {given} --folds {','.join(folds)} --accept-licence {model.license['name']}",
            ],
        ),
    ]
    return "\n\n".join(parts)


def section(title: str, lines: Iterable[str]) -> str:
    """Return a heading with a list below it."""
    return f"{title}\n" + "\n".join(wrapped(line, "  - ", "    ") for line in lines)


def wrapped(text: str, first: str = "", rest: str = "") -> str:
    """Return a paragraph in lines that fit a terminal."""
    return textwrap.fill(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
