"""The child: it does one request after the other, under limits of memory and time, and has no terminal."""

from __future__ import annotations

import importlib
import logging
import os
import pickle
import queue
import signal
import socket
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path

from twintrack.system.reading_child.messages import (
    END_WAIT_S,
    Answer,
    Channel,
    PipeChannel,
    Request,
    SocketChannel,
    send_result,
)

__all__ = ["serve"]

IDLE_S = 2.0
"""Seconds without a call after which the child ends: its memory is the computation's from then on."""


def serve(idle_s: float = IDLE_S) -> None:
    """Be the child: do one request after the other until the parent is gone, or has no work for `idle_s`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle
    channel = _take_channel()
    requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
    busy = threading.Event()
    threading.Thread(target=_watch_parent, args=(channel, requests, busy), daemon=True).start()
    logging.getLogger().addHandler(_Forwarder(channel))
    shared: object = None  # on Windows shared memory lives as long as somebody holds it
    with suppress(queue.Empty, OSError):
        while (request := requests.get(timeout=idle_s)) is not None:
            channel.send(pickle.dumps(Answer("began")))
            busy.set()
            shared = _serve_one(request, channel)
            busy.clear()
    del shared
    import atexit

    atexit._run_exitfuncs()
    os._exit(0)  # without the slow taking apart of what is loaded


def _take_channel() -> Channel:
    """Take over the connection from the standard streams, which nothing else shall use."""
    nothing = os.open(os.devnull, os.O_RDWR)
    if sys.platform == "win32":
        import msvcrt

        channel: Channel = PipeChannel(os.dup(0), os.dup(1))
        for file in (0, 1):
            msvcrt.setmode(file, os.O_BINARY)
    else:
        channel = SocketChannel(socket.socket(fileno=os.dup(0)))
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    with suppress(OSError):  # Linux: when memory is short, this process is ended first
        Path("/proc/self/oom_score_adj").write_text("1000")
    return channel


def _watch_parent(channel: Channel, requests: queue.SimpleQueue[Request | None], busy: threading.Event) -> None:
    """Take in requests; once the parent is gone, end at once, whatever is being done."""
    with suppress(Exception):
        while (message := channel.receive()) is not None:
            requests.put(pickle.loads(message[0]))
    if busy.is_set():
        os._exit(1)
    requests.put(None)


def _serve_one(request: Request, channel: Channel) -> object:
    """Do a request and send what came out; return what must live until the next one."""
    _limit(request)
    logging.getLogger("twintrack").setLevel(request.log_level)
    keywords = dict(request.keywords)
    if request.with_progress:
        keywords["progress"] = lambda fraction, message: channel.send(
            pickle.dumps(Answer("progress", (fraction, message)))
        )
    try:
        module, _, name = request.function.partition(":")
        result = getattr(importlib.import_module(module), name)(*request.args, **keywords)
        return send_result(result, channel)
    except Exception as error:
        channel.send(_pickled_error(error))
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
    return None


def _pickled_error(error: Exception) -> bytes:
    told = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    try:
        pickled = pickle.dumps(Answer("error", (error, told)))
        pickle.loads(pickled)
    except Exception:  # an exception that does not survive it, by its constructor or what it holds
        return pickle.dumps(Answer("error", (RuntimeError(f"{type(error).__name__}: {error}"), told)))
    return pickled


def _limit(request: Request) -> None:
    """Set the limits that the system watches over: memory, and time should the parent no longer be there."""
    if sys.platform == "win32":
        import ctypes

        ctypes.windll.kernel32.SetErrorMode(0x0003)  # no window that waits for somebody to close it
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, request.limit_s + END_WAIT_S)
    if request.memory_bytes is not None:
        most = resource.getrlimit(resource.RLIMIT_AS)[1]
        wanted = _address_space_bytes() + request.memory_bytes
        with suppress(OSError, ValueError):  # macOS has the limit but does not take every value
            resource.setrlimit(
                resource.RLIMIT_AS, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most)
            )


def _address_space_bytes() -> int:
    with suppress(OSError, ValueError):
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return 1 << 32


class _Forwarder(logging.Handler):
    """Sends what is logged to the parent's loggers."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(Exception):
            self._channel.send(pickle.dumps(Answer("log", (record.name, record.levelno, record.getMessage()))))
