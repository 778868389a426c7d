"""Work for a cluster as one packed argument: a scheduler keeps what it is sent for a while, as Python objects."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["submit_packed"]


def submit_packed(
    client: Client,
    name: str,
    function: Callable[..., object],
    *arguments: object,
    resources: Mapping[str, float] | None,
    worker: str | None = None,
) -> Future[Any]:
    """Let a worker, or that very one, call `function`; the scheduler sees a name and some bytes.

    A scheduler makes Python objects of what it is sent, and remembers the last 1,000 messages of every connection.
    """
    from distributed.protocol.pickle import dumps

    packed = dumps((function, arguments))
    where = {} if worker is None else {"workers": [worker]}
    return client.submit(_call, packed, key=f"{name}-{uuid.uuid4().hex}", resources=resources, **where)


def _call(packed: bytes) -> object:
    from distributed.protocol.pickle import loads

    function, arguments = loads(packed)
    return function(*arguments)
