"""What is behind an error of a connection, as requests and urllib3 pack it: asked by every client here."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

__all__ = ["causes", "is_untrusted"]


def is_untrusted(error: BaseException) -> bool:
    """Whether a connection failed because the server's certificate is not to be trusted."""
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes(error))


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that is behind it."""
    seen: set[int] = set()
    left: list[Any] = [error]
    while left:
        cause = left.pop(0)
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            left += [*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__]
