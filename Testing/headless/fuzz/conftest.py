"""How many inputs the readers are tried with: a few in the tests, TWINTRACK_FUZZ of them in ``make fuzz``."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

NIGHTLY = int(os.environ.get("TWINTRACK_FUZZ", "0"))

settings.register_profile(
    "readers",
    max_examples=NIGHTLY or 100,
    deadline=None,
    derandomize=not NIGHTLY,
    database=None,
    suppress_health_check=list(HealthCheck),
)
