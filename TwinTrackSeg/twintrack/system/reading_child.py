"""A child process for readers whose code is not ours: a file that kills a decoder kills the child, and is named.

`read_in_child` calls a function of the engine there, by the name that `FUNCTIONS` lists. There is one child a process:
started when first needed, kept for the next call, ended when idle for `IDLE_S`, started anew after a death. Calls from
several threads take turns.

What crosses: arguments and results are pickled, both ends are this program. Arrays in a result (contiguous ones, at any
depth) come in memory that both processes share, so that the pipe carries no voxels; it has no name in any file system
and is gone with the last process that holds it, however that ends. What is logged and told to `progress` comes back;
the child has neither the terminal nor the standard streams of the command.

Limits: seconds (in proportion to the input's bytes) and memory. The child is killed when the time is over, when the
caller is cancelled or interrupted, or when `progress` raises; so a function there must leave nothing that it alone
would clean up. A folder that a result needs for longer is made by the caller (`PrivateFolder`) and passed as a path.
When the calling process dies, the child ends too; where native code holds the interpreter, at its time limit.
"""

from __future__ import annotations

import importlib
import io
import logging
import mmap
import os
import pickle
import queue
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from twintrack.errors import InputError
from twintrack.progress import CancelToken, Progress
from twintrack.system.capacity import available_memory

if TYPE_CHECKING:
    import subprocess

__all__ = ["FUNCTIONS", "ReadingChild", "read_in_child", "time_limit_s"]

FUNCTIONS = frozenset({"twintrack.dicom.series:read_series_here"})
"""What a child may be asked to call, as ``module:function``; the function returns what can be pickled."""

LEAST_LIMIT_S = 60.0
"""Seconds that any file may take."""

LIMIT_S_PER_BYTE = 60.0 / 100e6
"""Seconds more for each byte of input: a minute for 100 MB, some hundred times what a whole file takes."""

IDLE_S = 10.0
"""Seconds without a call after which the child ends: its memory is the computation's from then on."""

POLL_S = 0.1
"""Seconds between looks at the clock and at the cancel token."""

SMALL_BYTES = 1 << 16
"""Arrays up to this size come through the pipe."""

ALIGNMENT = 64
"""Bytes at whose multiples arrays begin in shared memory."""

END_WAIT_S = 2.0
"""Seconds that a child has for an orderly end."""

START = "import sys; sys.path[:] = [p for p in sys.path if p]; sys.path[:0] = sys.argv[1:2]; \
sys.path += [p for p in sys.argv[2:] if p not in sys.path]; \
from twintrack.system.reading_child import serve; serve()"
"""The child's program: it finds the modules of its parent, and none in the current folder."""

_FRAME = 8
"""Bytes of a message's length before it."""

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
            _Request(function, args, keywords, progress is not None, limit_s, memory_bytes, level), protocol=5
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
    ) -> _Answer:
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
                    f"{named}: reading took longer than {limit_s:.0f} s and was stopped; the file may be damaged, copy "
                    "or export it again"
                )
            code = self._end(_Manner.AWAITED)
            if began:
                raise InputError(f"{named}: {_death(code)}")
        raise InputError(f"{named}: the process that reads files ended when it was started; install the program again")

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


@dataclass(frozen=True)
class _Request:
    """What the child is to do."""

    function: str
    args: tuple[object, ...]
    keywords: dict[str, object]
    with_progress: bool
    limit_s: float
    memory_bytes: int | None
    log_level: int


@dataclass(frozen=True)
class _Answer:
    """A message of the child: ``began``, ``progress``, ``log``, ``error`` or ``result``."""

    kind: str
    content: Any = None


# --- the calling process


@dataclass
class _Running:
    """A started child."""

    process: subprocess.Popen[bytes]
    channel: _Channel
    answers: queue.SimpleQueue[_Answer | None]
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


def _next_answer(running: _Running, cancel: CancelToken, until_s: float) -> _Answer | None:
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
            f"{named}: the process that reads files cannot be started ({error.strerror}); close other programs"
        ) from error
    answers: queue.SimpleQueue[_Answer | None] = queue.SimpleQueue()
    listener = threading.Thread(target=_listen, args=(channel, answers), name="reading child", daemon=True)
    listener.start()
    return _Running(process, channel, answers, listener)


def _spawn(command: list[str], environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], _Channel]:
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
            return process, _Pipes(os.dup(incoming.fileno()), os.dup(outgoing.fileno()))
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        )
    return process, _Socket(ours)


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


def _listen(channel: _Channel, answers: queue.SimpleQueue[_Answer | None]) -> None:
    """Pass on messages until the child is gone, then None."""
    try:
        while (message := channel.receive()) is not None:
            answers.put(_unpacked(*message))
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


# --- between the two


class _Channel(Protocol):
    """Messages with a length before them; with a message may come a file of shared memory."""

    def send(self, message: bytes, memory: int | None = None) -> None: ...

    def receive(self) -> tuple[bytes, int | None] | None: ...

    def close_sending(self) -> None: ...

    def close(self) -> None: ...


class _Socket:
    """A connected pair of local sockets; it carries file descriptors."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def send(self, message: bytes, memory: int | None = None) -> None:
        head = len(message).to_bytes(_FRAME, "little")
        with self._sending:
            if memory is None:
                self._connection.sendall(head)
            else:
                socket.send_fds(self._connection, [head], [memory])
            self._connection.sendall(message)

    def receive(self) -> tuple[bytes, int | None] | None:
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
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._connection.close()


class _Pipes:
    """Two pipes; shared memory is found by its name."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._sending = threading.Lock()

    def send(self, message: bytes, memory: int | None = None) -> None:  # noqa: ARG002 - it has a name
        rest = memoryview(len(message).to_bytes(_FRAME, "little") + message)
        with self._sending:
            while rest:
                rest = rest[os.write(self._outgoing, rest) :]

    def receive(self) -> tuple[bytes, int | None] | None:
        head = os.read(self._incoming, _FRAME)
        if not head:
            return None
        head += _exactly(self._read, _FRAME - len(head))
        return _exactly(self._read, int.from_bytes(head, "little")), None

    def close_sending(self) -> None:
        with suppress(OSError):
            os.close(self._outgoing)

    def close(self) -> None:
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
class _Packed:
    """A result whose arrays lie in shared memory."""

    pickled: bytes
    places: tuple[tuple[int, int], ...]
    size: int
    name: str


def _unpacked(message: bytes, memory: int | None) -> _Answer:
    """Return a message of the child with the arrays of its result."""
    answer: _Answer = pickle.loads(message)
    packed = answer.content
    if answer.kind != "result" or not isinstance(packed, _Packed):
        return answer
    if not packed.places:
        return _Answer("result", pickle.loads(packed.pickled))
    if sys.platform == "win32":
        shared = mmap.mmap(-1, packed.size, tagname=packed.name)
    else:
        assert memory is not None
        try:
            shared = mmap.mmap(memory, packed.size)
        finally:
            os.close(memory)
    view = memoryview(shared)
    arrays = [view[start : start + length] for start, length in packed.places]
    return _Answer("result", pickle.loads(packed.pickled, buffers=arrays))


# --- the child


def serve(idle_s: float = IDLE_S) -> None:
    """Be the child: do one request after the other until the parent is gone, or has no work for `idle_s`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle
    channel = _take_channel()
    requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
    busy = threading.Event()
    threading.Thread(target=_watch_parent, args=(channel, requests, busy), daemon=True).start()
    logging.getLogger().addHandler(_Forwarder(channel))
    kept: object = None  # on Windows shared memory lives as long as somebody holds it
    with suppress(queue.Empty, OSError):
        while (request := requests.get(timeout=idle_s)) is not None:
            channel.send(pickle.dumps(_Answer("began")))
            busy.set()
            kept = _serve_one(request, channel)
            busy.clear()
    del kept
    import atexit

    atexit._run_exitfuncs()
    os._exit(0)  # without the slow taking apart of what is loaded


def _take_channel() -> _Channel:
    """Take over the connection from the standard streams, which nothing else shall use."""
    nothing = os.open(os.devnull, os.O_RDWR)
    if sys.platform == "win32":
        import msvcrt

        channel: _Channel = _Pipes(os.dup(0), os.dup(1))
        for file in (0, 1):
            msvcrt.setmode(file, os.O_BINARY)
    else:
        channel = _Socket(socket.socket(fileno=os.dup(0)))
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    with suppress(OSError):  # Linux: when memory is short, this process is ended first
        Path("/proc/self/oom_score_adj").write_text("1000")
    return channel


def _watch_parent(channel: _Channel, requests: queue.SimpleQueue[_Request | None], busy: threading.Event) -> None:
    """Take in requests; once the parent is gone, end at once, whatever is being done."""
    with suppress(Exception):
        while (message := channel.receive()) is not None:
            requests.put(pickle.loads(message[0]))
    if busy.is_set():
        os._exit(1)
    requests.put(None)


def _serve_one(request: _Request, channel: _Channel) -> object:
    """Do a request and send what came out; return what must live until the next one."""
    _limit(request)
    logging.getLogger("twintrack").setLevel(request.log_level)
    keywords = dict(request.keywords)
    if request.with_progress:
        keywords["progress"] = lambda fraction, message: channel.send(
            pickle.dumps(_Answer("progress", (fraction, message)))
        )
    try:
        module, _, name = request.function.partition(":")
        result = getattr(importlib.import_module(module), name)(*request.args, **keywords)
        return _send_result(result, channel)
    except Exception as error:
        channel.send(_packed_error(error))
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
    return None


def _packed_error(error: Exception) -> bytes:
    told = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    try:
        packed = pickle.dumps(_Answer("error", (error, told)))
        pickle.loads(packed)
    except Exception:  # an exception that does not survive it, by its constructor or what it holds
        return pickle.dumps(_Answer("error", (RuntimeError(f"{type(error).__name__}: {error}"), told)))
    return packed


def _limit(request: _Request) -> None:
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


def _send_result(result: object, channel: _Channel) -> object:
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
    message = pickle.dumps(_Answer("result", _Packed(pickled, tuple(places), size, name)), protocol=5)
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


class _Forwarder(logging.Handler):
    """Sends what is logged to the parent's loggers."""

    def __init__(self, channel: _Channel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(Exception):
            self._channel.send(pickle.dumps(_Answer("log", (record.name, record.levelno, record.getMessage()))))
