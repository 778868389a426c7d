"""What the two processes say to each other: requests, answers, and arrays in memory that both share."""

from __future__ import annotations

import io
import mmap
import os
import pickle
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = [
    "END_WAIT_S",
    "Answer",
    "Channel",
    "PipeChannel",
    "Request",
    "SocketChannel",
    "answer_of",
    "send_result",
]

SMALL_BYTES = 1 << 16
"""Arrays up to this size come through the pipe."""

ALIGNMENT = 64
"""Bytes at whose multiples arrays begin in shared memory."""

END_WAIT_S = 2.0
"""Seconds that a child has for an orderly end."""

_FRAME = 8
"""Bytes of a message's length before it."""


@dataclass(frozen=True)
class Request:
    """What the child is to do."""

    function: str
    args: tuple[object, ...]
    keywords: dict[str, object]
    with_progress: bool
    limit_s: float
    memory_bytes: int | None
    log_level: int


@dataclass(frozen=True)
class Answer:
    """A message of the child: ``began``, ``progress``, ``log``, ``error`` or ``result``."""

    kind: str
    content: Any = None


class Channel(Protocol):
    """Messages with a length before them; with a message may come a file of shared memory."""

    def send(self, message: bytes, memory: int | None = None) -> None:
        """Send a message, and with it a file of shared memory."""

    def receive(self) -> tuple[bytes, int | None] | None:
        """Wait for the next message; None once the other side is gone."""

    def close_sending(self) -> None:
        """Let the other side see that no more messages come."""

    def close(self) -> None:
        """Let go of the connection."""


class SocketChannel:
    """A connected pair of local sockets; it carries file descriptors."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def send(self, message: bytes, memory: int | None = None) -> None:
        """Send a message, and with it a file of shared memory."""
        head = len(message).to_bytes(_FRAME, "little")
        with self._sending:
            if memory is None:
                self._connection.sendall(head)
            else:
                socket.send_fds(self._connection, [head], [memory])
            self._connection.sendall(message)

    def receive(self) -> tuple[bytes, int | None] | None:
        """Wait for the next message; None once the other side is gone."""
        flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
        head, files, _, _ = socket.recv_fds(self._connection, _FRAME, 1, flags)
        for file in files:
            os.set_inheritable(file, False)
        if not head:
            return None
        head += _exactly(self._connection.recv, _FRAME - len(head))
        message = _exactly(self._connection.recv, int.from_bytes(head, "little"))
        return message, files[0] if files else None

    def close_sending(self) -> None:
        """Let the other side see that no more messages come."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


class PipeChannel:
    """Two pipes; shared memory is found by its name."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._sending = threading.Lock()

    def send(self, message: bytes, memory: int | None = None) -> None:  # noqa: ARG002 - it has a name
        """Send a message, and with it a file of shared memory."""
        rest = memoryview(len(message).to_bytes(_FRAME, "little") + message)
        with self._sending:
            while rest:
                rest = rest[os.write(self._outgoing, rest) :]

    def receive(self) -> tuple[bytes, int | None] | None:
        """Wait for the next message; None once the other side is gone."""
        head = os.read(self._incoming, _FRAME)
        if not head:
            return None
        head += _exactly(self._read, _FRAME - len(head))
        return _exactly(self._read, int.from_bytes(head, "little")), None

    def close_sending(self) -> None:
        """Let the other side see that no more messages come."""
        with suppress(OSError):
            os.close(self._outgoing)

    def close(self) -> None:
        """Let go of the connection."""
        for file in (self._incoming, self._outgoing):
            with suppress(OSError):
                os.close(file)

    def _read(self, count: int) -> bytes:
        return os.read(self._incoming, count)


def _exactly(read: Callable[[int], bytes], count: int) -> bytes:
    """Read `count` bytes."""
    parts = io.BytesIO()
    while count:
        part = read(min(count, 1 << 20))
        if not part:
            raise EOFError
        parts.write(part)
        count -= len(part)
    return parts.getvalue()


@dataclass(frozen=True)
class _SharedResult:
    """A result whose arrays lie in shared memory."""

    pickled: bytes
    places: tuple[tuple[int, int], ...]
    size: int
    name: str


def answer_of(message: bytes, memory: int | None) -> Answer:
    """Return a message of the child with the arrays of its result."""
    answer: Answer = pickle.loads(message)
    shared_result = answer.content
    if answer.kind != "result" or not isinstance(shared_result, _SharedResult):
        return answer
    if not shared_result.places:
        return Answer("result", pickle.loads(shared_result.pickled))
    if sys.platform == "win32":
        shared = mmap.mmap(-1, shared_result.size, tagname=shared_result.name)
    else:
        assert memory is not None
        try:
            shared = mmap.mmap(memory, shared_result.size)
        finally:
            os.close(memory)
    view = memoryview(shared)
    arrays = [view[start : start + length] for start, length in shared_result.places]
    return Answer("result", pickle.loads(shared_result.pickled, buffers=arrays))


def send_result(result: object, channel: Channel) -> object:
    """Send a result, its arrays in shared memory."""
    buffers: list[memoryview] = []

    def is_small(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes <= SMALL_BYTES:
            return True
        buffers.append(raw)
        return False

    pickled = pickle.dumps(result, protocol=5, buffer_callback=is_small)
    places, size = [], 0
    for buffer in buffers:
        places.append((size, buffer.nbytes))
        size += -(-buffer.nbytes // ALIGNMENT) * ALIGNMENT
    name = f"twintrack-{os.urandom(16).hex()}"
    message = pickle.dumps(Answer("result", _SharedResult(pickled, tuple(places), size, name)), protocol=5)
    if not buffers:
        channel.send(message)
        return None
    if sys.platform == "win32":
        shared = mmap.mmap(-1, size, tagname=name)
        for (start, length), buffer in zip(places, buffers, strict=True):
            shared[start : start + length] = buffer
        channel.send(message)
        return shared
    file = _nameless_memory()
    try:
        os.ftruncate(file, size)
        for (start, _), buffer in zip(places, buffers, strict=True):
            _write(file, buffer, start)
        channel.send(message, file)
    finally:
        os.close(file)
    return None


def _nameless_memory() -> int:
    """Open a file that lies in memory, or at least in no folder, and is gone with its last user."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("twintrack")
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _write(file: int, buffer: memoryview, start: int) -> None:
    while buffer:
        written = os.pwrite(file, buffer, start)
        buffer, start = buffer[written:], start + written
