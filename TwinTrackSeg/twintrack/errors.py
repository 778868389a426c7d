"""The kinds of trouble a run can meet, one type each.

They are raised where the trouble is known, with one sentence that says what is wrong, what is required and the remedy,
and with fields that say which file, which place and which kind of trouble. Callers go by the type and the fields, never
by the sentence. The text is put together and shown once, at the edge (command line, worker, Slicer module).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["BundleError", "Cancelled", "InputError", "OutputError", "RoiError", "TwinTrackError", "locating"]


class TwinTrackError(Exception):
    """Base of every error that a user can cause and understand.

    Parameters
    ----------
    message : str
        One sentence without the place: what is wrong, what is required, the remedy.
    code : str
        The kind of trouble, in lower case with hyphens, such as ``grid-differs``. It stays when the words change.
    path : path or str, optional
        The file, folder or address that `message` is about.
    where : str, optional
        Where that was met, such as the line of a table or the name of a case.

    Attributes
    ----------
    message, code, path, where
        As given.

    Notes
    -----
    ``str(error)`` is what users see: `where`, `path` and `message`, as far as there are any, with colons between them.
    """

    def __init__(self, message: str, *, code: str, path: Path | str | None = None, where: str | None = None) -> None:
        super().__init__(message)
        self.message, self.code, self.path, self.where = message, code, path, where

    def __str__(self) -> str:
        return ": ".join(str(part) for part in (self.where, self.path, self.message) if part is not None)

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_again, (type(self), self.args, self.__dict__)

    def rename(self, old: Path, new: Path | str) -> None:
        """Put `new` for the path `old`, or for a path's beginning: for what was done in another folder."""
        if self.path is not None and (path := Path(self.path)).is_relative_to(old):
            self.path = new if path == old else Path(new) / path.relative_to(old)

    def fields(self) -> dict[str, str]:
        """Return the error as texts for another process: `kind` (the type of this module) and what it was made of."""
        known = {"message": self.message, "code": self.code, "path": self.path, "where": self.where}
        kind = next(base.__name__ for base in type(self).__mro__ if base.__module__ == __name__)
        return {"kind": kind, **{name: str(value) for name, value in known.items() if value is not None}}

    @staticmethod
    def of_fields(fields: Mapping[str, Any]) -> TwinTrackError:
        """Return the error that `fields` of another process describe; of this base type if the kind is not known."""
        kinds = {kind.__name__: kind for kind in (InputError, BundleError, RoiError, OutputError)}
        path, where = (None if fields.get(name) is None else str(fields[name]) for name in ("path", "where"))
        kind = kinds.get(str(fields.get("kind")), TwinTrackError)
        return kind(str(fields.get("message", "")), code=str(fields.get("code", "")), path=path, where=where)


def _made_again(kind: type[TwinTrackError], args: tuple[Any, ...], fields: dict[str, Any]) -> TwinTrackError:
    """Return an error as it was before it was pickled or copied, whatever else its type takes."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error


@contextmanager
def locating(*, path: Path | str | None = None, where: str | None = None) -> Iterator[None]:
    """Give errors of the block the fields `path` and `where` where they have none."""
    try:
        yield
    except TwinTrackError as error:
        error.path = path if error.path is None else error.path
        error.where = where if error.where is None else error.where
        raise


class InputError(TwinTrackError):
    """A file, volume or option the user gave is missing, unreadable or of the wrong kind."""


class BundleError(TwinTrackError):
    """A model bundle is incomplete, altered or not usable with this version."""


class RoiError(TwinTrackError):
    """No region of interest could be found or the requested one does not fit the volume."""


class OutputError(TwinTrackError):
    """The results could not be written where the user asked for them."""


class Cancelled(Exception):
    """The user cancelled the run. Not an error: nothing is written and nothing is shown as failed."""
