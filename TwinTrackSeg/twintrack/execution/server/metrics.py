"""Whether the service lives and is ready, and its numbers in Prometheus' text form, for this computer alone."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import accumulate

from tornado.web import Application, RequestHandler

__all__ = ["Histogram", "Sample", "admin_application", "prometheus_text"]

BUCKETS_S = (5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
"""Upper ends of the classes of a run's duration; a run on a GPU takes some seconds, one on two cores some minutes."""

Sample = tuple[str, str, str, dict[str, str], float]
"""Name, type, help, labels and value of a number."""


class Histogram:
    """Durations by class."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS_S) + 1)
        self._sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(BUCKETS_S, seconds)] += 1
        self._sum_s += seconds

    def samples(self, name: str, what: str) -> Iterable[Sample]:
        """Yield it as Prometheus has it: each class holds those before it."""
        ends = [f"{end:g}" for end in BUCKETS_S] + ["+Inf"]
        for end, count in zip(ends, accumulate(self._counts), strict=True):
            yield f"{name}_bucket", "histogram", what, {"le": end}, count
        yield f"{name}_sum", "histogram", what, {}, self._sum_s
        yield f"{name}_count", "histogram", what, {}, sum(self._counts)


def prometheus_text(samples: Iterable[Sample]) -> str:
    """Return numbers as text, those of one name in a row."""
    lines: list[str] = []
    told = ""
    for name, kind, what, labels, value in samples:
        family = (
            name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") if kind == "histogram" else name
        )
        if family != told:
            lines += [f"# HELP {family} {what}", f"# TYPE {family} {kind}"]
            told = family
        inner = ",".join(f'{key}="{word}"' for key, word in labels.items())
        lines.append(f"{name}{{{inner}}} {_number(value)}" if inner else f"{name} {_number(value)}")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def admin_application(is_ready: Callable[[], bool], samples: Callable[[], Iterable[Sample]]) -> Application:
    """Return what answers ``/live``, ``/ready`` and ``/metrics``."""
    words = {
        "/live": lambda: (200, "live\n"),
        "/ready": lambda: (200, "ready\n") if is_ready() else (503, "not ready\n"),
        "/metrics": lambda: (200, prometheus_text(samples())),
    }
    return Application([(path, _Told, {"word": word}) for path, word in words.items()])


class _Told(RequestHandler):
    """Answers with a text."""

    def initialize(self, word: Callable[[], tuple[int, str]]) -> None:
        """Take what gives the text."""
        self._word = word

    def get(self) -> None:
        """Answer."""
        status, text = self._word()
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.finish(text)

    def log_exception(self, *_arguments: object) -> None:
        """Say nothing: no request here tells anything."""
