"""Whether a file is the one that is known: by the list, by the hash of its archive, or by what was taken before."""

from __future__ import annotations

from pathlib import Path

from twintrack.bundle.places import models_folder
from twintrack.errors import InputError
from twintrack.models.archives import Taken, content_sha256
from twintrack.models.known import Archive, KnownModel
from twintrack.system.atomic import atomic_path
from twintrack.system.json_file import read_json, save_json

__all__ = ["Trust"]

TRUSTED = "trusted-files.json"
"""In the folder of installed models: hashes of files that were taken on first use."""

KNOWN, ARCHIVE, BEFORE, FIRST = "known", "archive", "taken before", "first use"
"""How a file was checked, in the record."""


class Trust:
    """What the files of a model are compared with.

    Parameters
    ----------
    model : KnownModel
        The model.
    first_use : bool
        Whether files are taken of which nothing is known.
    """

    def __init__(self, model: KnownModel, *, first_use: bool) -> None:
        self._model, self._first_use = model, first_use
        self._before = _trusted().get(model.name, {})
        self._archives: set[str] = set()
        self._new: dict[str, str] = {}
        self._how: dict[Path, str] = {}

    def check_known(self, archive: Archive, names: list[str]) -> None:
        """Refuse files that could not be compared with anything.

        Raises
        ------
        InputError
            Names the first one.
        """
        for name in names:
            known = archive.members.get(name) is not None or self._key(archive, name) in self._before
            if not known and not self._first_use:
                raise InputError(
                    f"no hash of {name} of the {archive.stage} model is known, so nobody can say whether what comes is "
                    f"what was published; take fold {', '.join(self._model.first_folds)}, or add --trust-on-first-use",
                    code="not-pinned",
                    where=self._model.name,
                )

    def take_archive(self, archive: Archive) -> None:
        """Take note that the archive as a whole has the hash that is known."""
        self._archives.add(archive.stage)

    def check_size(self, archive: Archive, name: str, size: int, path: str | Path) -> None:
        """Refuse a file whose listed size says already that it is another one.

        Raises
        ------
        InputError
            If it is.
        """
        pin = archive.members.get(name)
        if pin is not None and pin.bytes is not None and pin.bytes != size:
            raise InputError(
                f"{name} in it has {size:,} bytes, and {pin.bytes:,} are known; it is another file, and was not taken",
                code="size-differs",
                path=path,
            )

    def check(self, archive: Archive, name: str, taken: Taken) -> None:
        """Compare a file.

        Raises
        ------
        InputError
            If it is another one than is known, or nothing is known of it and that was not allowed.
        """
        pin, key = archive.members.get(name), self._key(archive, name)
        if pin is not None:
            found = content_sha256(taken.path) if pin.json_sha256 else taken.sha256
            self._compare(archive, name, found, pin.json_sha256 or str(pin.sha256), pin.source)
            how = KNOWN
        elif archive.stage in self._archives:
            how = ARCHIVE
        elif key in self._before:
            self._compare(archive, name, taken.sha256, self._before[key], "taken here before")
            how = BEFORE
        else:
            self.check_known(archive, [name])
            self._new[key] = taken.sha256
            how = FIRST
        self._how[taken.path] = how

    def remember(self) -> None:
        """Write down what was taken on first use: it is compared with from now on."""
        if not self._new:
            return
        path, content = models_folder() / TRUSTED, _trusted()
        content[self._model.name] = {**content.get(self._model.name, {}), **self._new}
        with atomic_path(path, overwrite=True, mark=False) as partial:
            save_json(partial, {"schema": 1, "sha256": content})

    def report(self, stage: str, files: list[Taken]) -> list[dict[str, str | int]]:
        """Return what was found of files, for the record."""
        return [
            {
                "stage": stage,
                "file": f"{taken.path.parent.name}/{taken.path.name}"
                if taken.path.suffix == ".pth"
                else taken.path.name,
                "bytes": taken.bytes,
                "sha256": taken.sha256,
                "checked": self._how[taken.path],
            }
            for taken in files
        ]

    def _compare(self, archive: Archive, name: str, found: str, known: str, source: str) -> None:
        if found != known:
            raise InputError(
                f"{name} of the {archive.stage} model has the hash {found[:16]}..., and {known[:16]}... is known "
                f"({source}); it is another file, and was not taken: tell whoever runs the network, or the publisher",
                code="hash-differs",
                where=self._model.name,
            )

    @staticmethod
    def _key(archive: Archive, name: str) -> str:
        return f"{archive.stage}/{name}"


def _trusted() -> dict[str, dict[str, str]]:
    """Return the hashes of what was taken on first use, by model and file."""
    try:
        content = read_json(models_folder() / TRUSTED)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot be read ({error}); put it in order, or remove it to begin anew", code="json-unreadable",
            path=models_folder() / TRUSTED,
        ) from error  # fmt: skip
    hashes = content.get("sha256") if isinstance(content, dict) else None
    return hashes if isinstance(hashes, dict) else {}
