"""The calling side: a child is started when it is needed, watched, and replaced after a death."""

from __future__ import annotations

import logging
import os
import pickle
import queue
import shutil
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twintrack.errors import InputError
from twintrack.progress.callbacks import CancelToken, Progress
from twintrack.system.capacity import available_memory
from twintrack.system.reading_child.messages import (
    END_WAIT_S,
    Answer,
    Channel,
    PipeChannel,
    Request,
    SocketChannel,
    answer_of,
)

if TYPE_CHECKING:
    import subprocess

__all__ = ["FUNCTIONS", "ReadingChild", "read_in_child", "time_limit_s"]

FUNCTIONS = frozenset({"twintrack.dicom.read.series:read_series_here"})
"""What a child may be asked to call, as ``module:function``; the function returns what can be pickled."""

LEAST_LIMIT_S = 60.0
"""Seconds that any file may take."""

LIMIT_S_PER_BYTE = 60.0 / 100e6
"""Seconds more for each byte of input: a minute for 100 MB, some hundred times what a whole file takes."""

POLL_S = 0.1
"""Seconds between looks at the clock and at the cancel token."""

START = "import sys; sys.path[:] = [p for p in sys.path if p]; sys.path[:0] = sys.argv[1:2]; \
sys.path += [p for p in sys.argv[2:] if p not in sys.path]; \
from twintrack.system.reading_child.child import serve; serve()"
"""The child's program: it finds the modules of its parent, and none in the current folder."""

logger = logging.getLogger(__name__)


def time_limit_s(input_bytes: int) -> float:
    """Return how many seconds reading may take."""
    return LEAST_LIMIT_S + LIMIT_S_PER_BYTE * input_bytes


def read_in_child(
    function: str,
    *args: object,
    named: str | Path,
    input_bytes: int = 0,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
    limit_s: float | None = None,
    memory_bytes: int | None = None,
    **keywords: object,
) -> Any:
    """Call a function of `FUNCTIONS` in this process's reading child and return its result.

    Parameters
    ----------
    function : str
        ``module:function``.
    *args, **keywords
        Its arguments; they are pickled.
    named : str or Path
        The file or folder, as the user knows it, for the sentences below.
    input_bytes : int
        How large the input is; gives the time limit.
    progress : callable, optional
        Called here, in the calling thread, with what the function tells its own argument ``progress``, which it then
        must have. Whatever it raises ends the child and passes on.
    cancel : CancelToken, optional
        Ends the child at once.
    limit_s : float, optional
        Seconds that the call may take, instead of `time_limit_s`.
    memory_bytes : int, optional
        Memory that the child may take beyond what it has; by default all that is free.

    Raises
    ------
    InputError
        If the child died or took too long; the sentence starts with `named`.
    MemoryError
        If its memory was not enough.
    Cancelled
        If `cancel` was triggered.
    Exception
        What the function raised, of the same type and with the same text.
    """
    return _own_child().call(
        function,
        *args,
        named=named,
        input_bytes=input_bytes,
        progress=progress,
        cancel=cancel,
        limit_s=limit_s,
        memory_bytes=memory_bytes,
        **keywords,
    )


class ReadingChild:
    """A child process that is started, kept and replaced as calls need it.

    Parameters
    ----------
    functions : collection of str
        What it may be asked to call.
    """

    def __init__(self, functions: frozenset[str] = FUNCTIONS) -> None:
        self._functions = functions
        self._turn = threading.Lock()
        self._running: _Running | None = None

    @property
    def pid(self) -> int | None:
        """The id of the process, if there is one."""
        running = self._running
        return None if running is None else running.process.pid

    def call(
        self,
        function: str,
        *args: object,
        named: str | Path,
        input_bytes: int = 0,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
        limit_s: float | None = None,
        memory_bytes: int | None = None,
        **keywords: object,
    ) -> Any:
        """See `read_in_child`."""
        if function not in self._functions:
            raise ValueError(f"{function} is none of the functions that a reading child may call")
        cancel = CancelToken() if cancel is None else cancel
        limit_s = time_limit_s(input_bytes) if limit_s is None else limit_s
        memory_bytes = available_memory() if memory_bytes is None else memory_bytes
        level = logging.getLogger("twintrack").getEffectiveLevel()
        request = pickle.dumps(
            Request(function, args, keywords, progress is not None, limit_s, memory_bytes, level), protocol=5
        )
        while not self._turn.acquire(timeout=POLL_S):
            cancel.check()
        try:
            answer = self._ask(request, str(named), progress, cancel, limit_s)
        except BaseException:  # the interrupt, the end of the time, what `progress` raised: it is in the middle of it
            self._end(_Manner.KILLED)
            raise
        finally:
            self._turn.release()
        if answer.kind == "result":
            return answer.content
        error, told = answer.content
        if isinstance(error, MemoryError):
            self.close()  # with whatever it still holds
            raise MemoryError(str(error) or f"{named}: too large for the free memory")
        raise error from _ThereRaised(told)

    def close(self) -> None:
        """End the child; a later call starts another."""
        with self._turn:
            self._end(_Manner.CLOSED)

    def _ask(
        self, request: bytes, named: str, progress: Progress | None, cancel: CancelToken, limit_s: float
    ) -> Answer:
        """Send a request and return its result or error; a child that ended before it began is replaced."""
        until_s = time.monotonic() + limit_s
        for _ in range(2):
            running = self._running = self._running or _start(named)
            began = False
            with suppress(OSError):  # it is gone: there will be no answer
                running.channel.send(request)
            while (answer := _next_answer(running, cancel, until_s)) is not None:
                began = True
                if answer.kind == "progress" and progress is not None:
                    progress(*answer.content)
                elif answer.kind == "log":
                    name, level, message = answer.content
                    logging.getLogger(name).log(level, "%s", message)
                elif answer.kind in ("result", "error"):
                    return answer
            if time.monotonic() > until_s:
                raise InputError(
                    f"reading took longer than {limit_s:.0f} s and was stopped; the file may be damaged, copy "
                    "or export it again",
                    code="reading-too-slow",
                    where=named,
                )
            code = self._end(_Manner.AWAITED)
            if began:
                raise InputError(f"{_death(code)}", code="reading-died", where=named)
        raise InputError(
            "the process that reads files ended when it was started; install the program again",
            code="reading-not-started",
            where=named,
        )

    def _end(self, manner: _Manner) -> int | None:
        """End the child and return its exit code."""
        running, self._running = self._running, None
        return None if running is None else running.end(manner)


class _Manner(Enum):
    """How a child ends."""

    CLOSED = "it has no task and is told to go"
    KILLED = "in the middle of a task"
    AWAITED = "by itself: it said its last word"


class _ThereRaised(Exception):
    """The traceback of the child, for logs."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass
class _Running:
    """A started child."""

    process: subprocess.Popen[bytes]
    channel: Channel
    answers: queue.SimpleQueue[Answer | None]
    listener: threading.Thread

    def end(self, manner: _Manner) -> int | None:
        """End the process, wait for it and return its exit code."""
        import subprocess

        if manner is _Manner.CLOSED:
            self.channel.close_sending()
        elif manner is _Manner.KILLED:
            self.process.kill()
        try:
            code = self.process.wait(END_WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.listener.join(END_WAIT_S)
        self.channel.close()
        return code


def _next_answer(running: _Running, cancel: CancelToken, until_s: float) -> Answer | None:
    """Return the child's next message, or None once it is gone or the time is over."""
    while True:
        try:
            return running.answers.get(timeout=POLL_S)
        except queue.Empty:
            cancel.check()
            if time.monotonic() > until_s:
                return None


_own: tuple[int, ReadingChild] | None = None
_own_lock = threading.Lock()


def _own_child() -> ReadingChild:
    """Return the child of this process; a forked process has its own."""
    global _own
    with _own_lock:
        if _own is None or _own[0] != os.getpid():
            import atexit

            child = ReadingChild()
            atexit.register(_close_own, os.getpid(), child)
            _own = (os.getpid(), child)
        return _own[1]


def _close_own(pid: int, child: ReadingChild) -> None:
    if os.getpid() == pid:
        child.close()


def _start(named: str) -> _Running:
    """Start a child and the thread that takes in what it says."""
    import twintrack

    root = str(Path(twintrack.__file__).resolve().parents[1])
    search = [root, *(str(Path(entry).absolute()) for entry in sys.path if entry)]
    # Its arithmetic is small: more threads would only cost memory.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        process, channel = _spawn([_python(), "-c", START, *search], environment)
    except OSError as error:
        raise InputError(
            f"the process that reads files cannot be started ({error.strerror}); close other programs",
            code="reading-not-started",
            where=named,
        ) from error
    answers: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
    listener = threading.Thread(target=_listen, args=(channel, answers), name="reading child", daemon=True)
    listener.start()
    return _Running(process, channel, answers, listener)


def _spawn(command: list[str], environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], Channel]:
    """Start a process that is connected with this one and with nothing else."""
    import subprocess

    if sys.platform == "win32":
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=environment,
            creationflags=subprocess.CREATE_NO_WINDOW,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin as outgoing, process.stdout as incoming:
            return process, PipeChannel(os.dup(incoming.fileno()), os.dup(outgoing.fileno()))
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        )
    return process, SocketChannel(ours)


def _python() -> str:
    """Return a Python of this installation; inside 3D Slicer, ``sys.executable`` may be the application."""
    own = Path(sys.executable or "")
    if own.stem.lower().startswith("python"):
        return str(own)
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    beside = [own.parent / "PythonSlicer", own.parent / "PythonSlicer.exe", Path(sys.exec_prefix, "bin", name)]
    found = shutil.which("PythonSlicer") or next((str(path) for path in beside if path.is_file()), None)
    if found is None:
        raise FileNotFoundError(2, "no Python interpreter found", str(own))
    return found


def _listen(channel: Channel, answers: queue.SimpleQueue[Answer | None]) -> None:
    """Pass on messages until the child is gone, then None."""
    try:
        while (message := channel.receive()) is not None:
            answers.put(answer_of(*message))
    except Exception:  # half a message of a process that died
        logger.debug("the reading child ended in the middle of a message", exc_info=True)
    answers.put(None)


def _death(code: int | None) -> str:
    """Say how a child ended."""
    if code is not None and code < 0:
        try:
            reason = signal.Signals(-code).name
        except ValueError:
            reason = f"signal {-code}"
        if reason == "SIGKILL":
            return (
                "the process that read it was ended by the system (SIGKILL), most often for lack of memory; close "
                "other programs, or export the file again if it is damaged"
            )
    else:
        reason = f"exit code {code if code is None else hex(code & 0xFFFFFFFF)}"
    return f"cannot be read, the process that read it ended with {reason}; the file may be damaged, copy it again"
