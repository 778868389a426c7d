"""Numbers in the form that Prometheus reads: each name described once, classes of durations that hold those before."""

from __future__ import annotations

import re

import pytest

from twintrack.execution.server.metrics import BUCKETS_S, Histogram, prometheus_text

LINE = re.compile(r'[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? -?[0-9.e+-]+')


def test_a_name_is_described_once_before_its_numbers():
    text = prometheus_text(
        [
            ("runs", "gauge", "Runs.", {"state": "done"}, 2),
            ("runs", "gauge", "Runs.", {"state": "failed"}, 1),
            ("ready", "gauge", "Ready.", {}, True),
        ]
    )
    assert text.splitlines() == [
        "# HELP runs Runs.",
        "# TYPE runs gauge",
        'runs{state="done"} 2',
        'runs{state="failed"} 1',
        "# HELP ready Ready.",
        "# TYPE ready gauge",
        "ready 1",
    ]


def test_a_class_of_durations_holds_those_before_it():
    seconds = Histogram()
    for value in (0.0, BUCKETS_S[0], BUCKETS_S[0] + 0.1, 1e9):
        seconds.add(value)
    lines = prometheus_text(seconds.samples("run_seconds", "Seconds.")).splitlines()
    assert lines[:2] == ["# HELP run_seconds Seconds.", "# TYPE run_seconds histogram"]
    assert all(LINE.fullmatch(line) for line in lines[2:])
    assert lines[2] == f'run_seconds_bucket{{le="{BUCKETS_S[0]:g}"}} 2'
    assert lines[3] == f'run_seconds_bucket{{le="{BUCKETS_S[1]:g}"}} 3'
    assert lines[2 + len(BUCKETS_S)] == 'run_seconds_bucket{le="+Inf"} 4'
    assert lines[-1] == "run_seconds_count 4"
    assert float(lines[-2].split()[1]) == pytest.approx(1e9 + 2 * BUCKETS_S[0] + 0.1)


def test_large_numbers_are_told_to_the_last_byte():
    assert prometheus_text([("bytes", "counter", "Bytes.", {}, 2**53 - 1)]).endswith(f"bytes {2**53 - 1}\n")
