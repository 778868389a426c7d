"""A page as a browser has it once its scripts have run."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

PROBE_SEC = 180
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
"""It runs as root, without a graphics card, and in containers that have little shared memory."""


def chromium() -> str:
    """Return the browser's program; skips the test where there is none, or none that can show a page here."""
    found = _works()
    if "/" not in found:
        pytest.skip(found)
    return found


@functools.cache
def _works() -> str:
    """Return a browser that shows a page of one word, or why there is none: a fault of the machine is not ours."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        return "no Chromium is installed"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = ["--headless", *FLAGS, f"--user-data-dir={profile}", "--dump-dom"]
        try:
            asked = [browser, *flags, "data:text/html,<p>word</p>"]
            shown = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=PROBE_SEC).stdout
        except (OSError, subprocess.TimeoutExpired):
            shown = ""
    return browser if "word" in shown else "Chromium shows no page on this machine"


def browsed(page: Path, profile: Path) -> str:
    """Return the page's source at last; skips the test where there is no Chromium.

    Parameters
    ----------
    page : Path
        An HTML file.
    profile : Path
        New folder for the browser's own files.
    """
    command = [
        chromium(),
        "--headless",
        *FLAGS,
        "--disable-3d-apis",
        "--virtual-time-budget=9000",
    ]
    command += ["--allow-file-access-from-files", f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout
