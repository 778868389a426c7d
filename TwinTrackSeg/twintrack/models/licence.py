"""Under which terms a public model is to be had, and that a person accepted them: who, when, and which text."""

from __future__ import annotations

import getpass
import hashlib
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib import resources
from pathlib import Path
from typing import Any

from twintrack import __version__
from twintrack.bundle.places import models_folder
from twintrack.errors import InputError, OutputError
from twintrack.models.known import KnownModel, section, wrapped
from twintrack.system.atomic import atomic_path
from twintrack.system.json_file import read_json, save_json
from twintrack.system.paths import is_there

__all__ = ["accept", "accepted", "check_accepted", "legal_text", "terms", "terms_sha256"]

RECORD = "accepted-licences.json"
"""In the folder of installed models: what was accepted."""

MOST_RECORDS = 1000


def terms(model: KnownModel) -> str:
    """Return what has to be accepted before the model is got, in lines."""
    name = model.license["name"]
    return "\n\n".join(
        [
            f"{model.name}: {model.title}",
            wrapped(f"Published by {model.publisher}: {model.published[0]}"),
            section(
                "For research only, not for commercial use",
                [
                    f"Licence of the weights: {model.license['weights']}.",
                    f"{name} allows use and copies for purposes that are not commercial, if the publisher is named. "
                    "Whether your use is one of them, in a hospital above all, is for your institution to decide.",
                    "Not a medical device: not for diagnosis or treatment decisions.",
                    "Not calibrated: its numbers are scores, not fractions of readers.",
                ],
            ),
        ]
    )


def legal_text(model: KnownModel) -> str:
    """Return the whole text of the licence."""
    path = resources.files("twintrack") / "data" / "licences" / f"{model.license['name']}.txt"
    return path.read_text(encoding="utf-8")


def terms_sha256(model: KnownModel) -> str:
    """Return the hash of both texts: another text has to be accepted anew."""
    return hashlib.sha256(f"{terms(model)}\n\n{legal_text(model)}".encode()).hexdigest()


def accepted(model: KnownModel) -> dict[str, Any] | None:
    """Return the record of this user's acceptance of the present text; None if there is none."""
    digest, user = terms_sha256(model), _user()
    found = [r for r in _records() if r.get("terms_sha256") == digest and r.get("user") == user]
    return found[-1] if found else None


def accept(model: KnownModel, licence: str, *, by: str) -> dict[str, Any]:
    """Write down that the user accepts the licence called `licence`, and return the record.

    Parameters
    ----------
    model : KnownModel
        The model.
    licence : str
        The licence's name, as the user gave it: what is accepted has to be named.
    by : str
        How the user said so: ``option``, ``terminal`` or ``panel``.

    Raises
    ------
    InputError
        If the model's licence has another name.
    OutputError
        If it cannot be written down.
    """
    name = model.license["name"]
    if licence.strip().casefold() != name.casefold():
        raise InputError(
            f"the licence of {model.name} is {name}, not {licence!r}; accept it by that name after you read it",
            code="licence-not-accepted",
        )
    record = {
        "model": model.name,
        "licence": name,
        "terms_sha256": terms_sha256(model),
        "accepted": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "user": _user(),
        "by": by,
        "program": f"twintrack {__version__}",
    }
    folder = models_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / RECORD, overwrite=True, mark=False) as partial:
            save_json(partial, {"schema": 1, "records": [*_records(), record][-MOST_RECORDS:]})
    except OSError as error:
        raise OutputError(
            f"cannot be written ({error.strerror}); name another folder with TWINTRACK_MODELS", code="not-writable",
            path=folder,
        ) from error  # fmt: skip
    return record


def check_accepted(model: KnownModel) -> Mapping[str, Any]:
    """Return the record of the acceptance.

    Raises
    ------
    InputError
        If the user did not accept the licence.
    """
    record = accepted(model)
    if record is None:
        name = model.license["name"]
        raise InputError(
            f"its licence was not accepted; read it (twintrack model list {model.name} --licence) and add "
            f"--accept-licence {name}",
            code="licence-not-accepted",
            where=model.name,
        )
    return record


def _records() -> list[dict[str, Any]]:
    """Return what was accepted so far; a damaged file counts as none, so that the question is asked again."""
    path: Path = models_folder() / RECORD
    if not is_there(path):
        return []
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return []
    records = content.get("records") if isinstance(content, dict) else None
    return [record for record in records if isinstance(record, dict)] if isinstance(records, list) else []


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # an account without a name
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"
