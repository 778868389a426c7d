"""What tests expect of an error: its type, its code and what its sentence must name, never the words.

The words are in one place, where the error is raised; ``tools/messages.py`` lists them all side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from twintrack.errors import TwinTrackError


@contextmanager
def raises_error(
    kind: type[TwinTrackError] | tuple[type[TwinTrackError], ...],
    code: str,
    *names: object,
    path: Path | str | None = None,
    where: str | None = None,
) -> Iterator[pytest.ExceptionInfo[TwinTrackError]]:
    """Expect an error of that type and code, whose text holds `names`: files, fields and values, as users see them."""
    with pytest.raises(kind) as found:
        yield found
    error = found.value
    assert error.code == code, f"{error.code}: {error}"
    for name in names:
        assert str(name) in str(error)
    if path is not None:
        assert str(error.path) == str(path)
    if where is not None:
        assert error.where == where
