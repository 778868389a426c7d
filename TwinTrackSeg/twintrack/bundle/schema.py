"""The content of ``bundle.json``: what it must say, and a clear sentence for everything that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from twintrack.bundle.fingerprint import Fingerprint
from twintrack.bundle.rater_entries import check_rater_members, read_rater_members, read_training, read_tumor_weights
from twintrack.errors import BundleError
from twintrack.imaging.ct_features import InputRange
from twintrack.settings import CONTACT_MM_RANGE
from twintrack.system.json_file import parse_json

__all__ = [
    "FOLD",
    "POOLING",
    "ROI_COMPONENT_FRACTION",
    "SCHEMAS",
    "SLICES",
    "STAGES",
    "parse_bundle_json",
    "schema_for",
]

SCHEMAS = (1, 2, 3)
"""Versions of the layout of ``bundle.json`` that this version reads and writes: see `schema_for`."""

STAGES = ("coarse", "fine")
"""The two models of a bundle."""

SLICES = "slices"
"""Kind of a fine stage whose network looks at slices and draws samples (ADR 55); other stages have no kind."""

POOLING = "mean-softmax"
"""The one pooling there is: class probabilities averaged over members in network space."""

ROI_COMPONENT_FRACTION = 0.1
"""Connected parts of the organ below this fraction of the largest one are dropped, unless a bundle says otherwise."""

MAX_MARGIN_MM = 200.0

MAX_MEMBERS = 32
"""Most networks of a stage."""

MAX_FILES = 256
"""Most files of a bundle; a real one has about a dozen."""

MAX_NAMES = 64
MAX_NAME = 200
MAX_TEXT = 20_000
"""Most labels, characters of a name, and characters of a text."""

MAX_RATERS = 1000

FOLD = re.compile(r"all|\d{1,3}")
"""What nnU-Net calls its folds."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


def parse_bundle_json(content: bytes, where: str) -> dict[str, Any]:
    """Check the bytes of a ``bundle.json`` and return its values as `twintrack.bundle.model_bundle.Bundle` takes them.

    Raises
    ------
    BundleError
        Names the entry that is missing or wrong.
    """
    try:
        document = parse_json(content)
    except ValueError as error:
        raise BundleError(f"cannot be read ({error})", code="json-unreadable", path=where) from error
    if not isinstance(document, dict):
        raise BundleError("must be a JSON object", code="json-unreadable", path=where)
    reader = _Reader(document, where)
    schema = reader.get("schema", int)
    if schema not in SCHEMAS:
        raise BundleError(
            f"schema {schema} is not known, only {', '.join(map(str, SCHEMAS[:-1]))} and {SCHEMAS[-1]}; update "
            "TwinTrack or the bundle",
            code="schema-unknown",
            path=where,
        )
    texts = {key: reader.get(key, str) for key in ("name", "version", "license", "description", "intended_use")}
    for key, text in texts.items():
        if key in ("description", "intended_use"):
            if len(text) > MAX_TEXT or not "".join(text.split()).replace(" ", "").isprintable():
                raise BundleError(
                    f"{key!r} must be at most {MAX_TEXT} printable characters", code="bundle-entry", path=where
                )
        elif not text.strip():
            raise BundleError(f"{key!r} must not be empty", code="bundle-entry", path=where)
        elif not _is_name(text):
            raise BundleError(
                f"{key!r} must be at most {MAX_NAME} printable characters on one line", code="bundle-entry", path=where
            )
    weights = reader.tumor_weights(schema)
    folds = {stage: reader.folds(stage) for stage in STAGES}
    # A document of schema 1 means in every version what it means in the first one, which knew no raters.
    raters = read_rater_members(document.get("rater_members") if schema > 1 else None, where)
    slices = reader.has_slices(schema)
    check_rater_members(raters, folds=folds["fine"], weights=weights, where=where, slices=slices)
    return {
        **texts,
        "demo": reader.get("demo", bool),
        "mirroring": reader.get("mirroring", bool),
        "tumor_weights": weights,
        "rater_members": raters,
        "training": read_training(document.get("training"), where),
        "organ_labels": reader.names("organ_labels"),
        "vessel_labels": reader.table("vessel_labels"),
        "roi_margin_mm": reader.margin_mm(),
        "roi_component_fraction": reader.fraction("roi_component_fraction", ROI_COMPONENT_FRACTION),
        "roi_probability": reader.fraction("roi_probability", None),
        "contact_mm": reader.contact_mm(),
        "pooling": reader.pooling(),
        "raters": reader.raters(),
        "configurations": reader.configurations(),
        "folds": folds,
        "slices": slices,
        "origins": {stage: reader.origin(stage) for stage in STAGES},
        "fingerprints": reader.fingerprints(),
        "inputs": None if document.get("inputs") is None else InputRange.from_json(document["inputs"], where),
        "files": reader.files(),
        "networks_sha256": reader.networks_sha256(),
    }


def schema_for(tumor_weights: Mapping[str, float], rater_members: Sequence[object], *, slices: bool = False) -> int:
    """Return the schema that a bundle is written with: the lowest whose programs get it right.

    Where all tumour labels weigh 1 and no network belongs to a rater, a program that knows schema 1 does the same with
    the bundle as this one. A network of slices takes schema 3.
    """
    if slices:
        return 3
    return 1 if not rater_members and all(weight == 1 for weight in tumor_weights.values()) else 2


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable()


class _Reader:
    """Typed access to the entries of the document."""

    def __init__(self, document: dict[str, Any], where: str) -> None:
        self.document = document
        self.where = where

    def get(self, key: str, kind: type) -> Any:
        if key not in self.document:
            raise BundleError(f"has no entry {key!r}", code="bundle-entry", path=self.where)
        value = self.document[key]
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            raise BundleError(f"{key!r} must be {_KINDS[kind]}, got {value!r}", code="bundle-entry", path=self.where)
        return value

    def names(self, key: str) -> tuple[str, ...]:
        values = self.get(key, list)
        if not 0 < len(values) <= MAX_NAMES or not all(map(_is_name, values)) or len(set(values)) != len(values):
            raise BundleError(
                f"{key!r} must be a list of different names, got {values!r}", code="bundle-entry", path=self.where
            )
        return tuple(values)

    def tumor_weights(self, schema: int) -> dict[str, float]:
        """Read the labels that make the tumour; in schema 1 they have no weights, and so each weighs 1."""
        if schema == 1:
            return dict.fromkeys(self.names("tumor_labels"), 1.0)
        return read_tumor_weights(self.get("tumor_weights", dict), self.where)

    def table(self, key: str) -> dict[str, str]:
        table: dict[str, str] = self.get(key, dict)
        if len(table) > MAX_NAMES or not all(_is_name(v) for item in table.items() for v in item):
            raise BundleError(f"{key!r} must map names to names, got {table!r}", code="bundle-entry", path=self.where)
        if len(set(table.values())) != len(table):
            raise BundleError(f"{key!r} uses one label for two vessels", code="vessels-share-label", path=self.where)
        return table

    def margin_mm(self) -> float:
        value = self.document.get("roi_margin_mm")
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not 0 <= value <= MAX_MARGIN_MM:  # type: ignore[operator]
            raise BundleError(
                f"'roi_margin_mm' must be a length from 0 to {MAX_MARGIN_MM:g} mm", code="bundle-entry", path=self.where
            )
        return float(value)  # type: ignore[arg-type]

    def contact_mm(self) -> float | None:
        """Read the distance within which tumour touches a vessel; it may be left out, or null."""
        value, (low, high) = self.document.get("contact_mm"), CONTACT_MM_RANGE
        if value is None:
            return None
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not low <= value <= high:
            raise BundleError(
                f"'contact_mm' must be a length from {low:g} to {high:g} mm or null, got {value!r}",
                code="bundle-entry",
                path=self.where,
            )
        return float(value)

    def fraction(self, key: str, default: float | None) -> float | None:
        """Read an entry that may be left out; null is a value only where it is the default."""
        value = self.document.get(key, default)
        if value is None and default is None:
            return None
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not 0 <= value <= 1:  # type: ignore[operator]
            null = " or null" if default is None else ""
            raise BundleError(
                f"{key!r} must be a number from 0 to 1{null}, got {value!r}", code="bundle-entry", path=self.where
            )
        return float(value)  # type: ignore[arg-type]

    def has_slices(self, schema: int) -> bool:
        """Read whether the fine stage is a network of slices; documents before schema 3 say nothing of kinds."""
        kinds = {stage: self.get(stage, dict).get("kind") if schema > 2 else None for stage in STAGES}
        if kinds["coarse"] is not None or kinds["fine"] not in (None, SLICES):
            raise BundleError(
                f"'kind' may be {SLICES!r}, of 'fine' alone, got {kinds!r:.80}", code="bundle-entry", path=self.where
            )
        return kinds["fine"] == SLICES

    def origin(self, stage: str) -> dict[str, str]:
        """Read which trainer made a stage's networks and which of its checkpoints were taken, where that is told."""
        table = {key: self.get(stage, dict).get(key) for key in ("trainer", "checkpoint")}
        for key, value in table.items():
            if value not in (None, "") and not _is_name(value):
                raise BundleError(
                    f"{key!r} of {stage!r} must be a name, got {value!r}", code="bundle-entry", path=self.where
                )
        return {key: value for key, value in table.items() if value}

    def fingerprints(self) -> dict[str, Fingerprint]:
        if "fingerprint" not in self.document:
            return {}
        table = self.get("fingerprint", dict)
        if not set(table) <= set(STAGES):
            raise BundleError(
                f"'fingerprint' may have the entries {' and '.join(STAGES)} only", code="bundle-entry", path=self.where
            )
        return {stage: Fingerprint.from_json(table[stage], f"{self.where}, {stage} fingerprint") for stage in table}

    def pooling(self) -> str:
        value = self.get("pooling", str)
        if value != POOLING:
            raise BundleError(f"pooling {value!r} is not known, only {POOLING!r}", code="bundle-entry", path=self.where)
        return POOLING

    def raters(self) -> int | None:
        value = self.document.get("raters")
        if value is not None and (
            not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_RATERS
        ):
            raise BundleError(
                f"'raters' must be a number of readers, at most {MAX_RATERS}, or null, got {value!r}",
                code="bundle-entry",
                path=self.where,
            )
        return value

    def configurations(self) -> dict[str, str]:
        table = self.table_of_stages("configuration")
        for stage, value in table.items():
            if not _is_name(value):
                raise BundleError(
                    f"'configuration' of {stage!r} must be a name, got {value!r}", code="bundle-entry", path=self.where
                )
        return table

    def folds(self, stage: str) -> tuple[str, ...]:
        values = self.get(stage, dict).get("folds")
        right = isinstance(values, list) and all(isinstance(v, str) and FOLD.fullmatch(v) for v in values)
        if not right or not 0 < len(values) <= MAX_MEMBERS or len(set(values)) != len(values):
            raise BundleError(
                f'\'folds\' of {stage!r} must be a list such as ["0", "1"], got {values!r}',
                code="bundle-entry",
                path=self.where,
            )
        return tuple(values)

    def networks_sha256(self) -> str | None:
        """Read the hash of the networks, which may be left out."""
        value = self.document.get("networks_sha256")
        if value is not None and (not isinstance(value, str) or not _SHA256.fullmatch(value)):
            raise BundleError(
                f"'networks_sha256' must be a SHA-256 of 64 digits or null, got {value!r}",
                code="bundle-entry",
                path=self.where,
            )
        return value

    def files(self) -> dict[str, str]:
        files: dict[str, str] = self.get("files", dict)
        if len(files) > MAX_FILES:
            raise BundleError(
                f"'files' names {len(files)} files, more than the {MAX_FILES} allowed",
                code="bundle-too-large",
                path=self.where,
            )
        for name, digest in files.items():
            if not FILE.fullmatch(name) or name == "bundle.json" or len(name) > MAX_NAME:
                raise BundleError(
                    f"'files' holds {name!r}, which is not a path inside the bundle",
                    code="bundle-entry",
                    path=self.where,
                )
            if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
                raise BundleError(
                    f"'files' needs a SHA-256 of 64 digits for {name!r}, got {digest!r}",
                    code="bundle-entry",
                    path=self.where,
                )
        return files

    def table_of_stages(self, key: str) -> dict[str, Any]:
        table = self.get(key, dict)
        if set(table) != set(STAGES):
            raise BundleError(
                f"{key!r} must have the entries {' and '.join(STAGES)}", code="bundle-entry", path=self.where
            )
        return dict(table)


_KINDS = {int: "a whole number", str: "a text", bool: "true or false", list: "a list", dict: "a table"}
