"""A page as a browser has it once its scripts have run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def browsed(page: Path, profile: Path) -> str:
    """Return the page's source at last; skips the test where there is no Chromium.

    Parameters
    ----------
    page : Path
        An HTML file.
    profile : Path
        New folder for the browser's own files.
    """
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed")
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-3d-apis",
        "--virtual-time-budget=9000",
    ]
    command += ["--allow-file-access-from-files", f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
