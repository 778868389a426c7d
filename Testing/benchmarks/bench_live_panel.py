"""How fast the live panel of a report is in a browser: ready for the reader, and each step of its threshold slider.

Run with ``python Testing/benchmarks/bench_live_panel.py REPORT.html``, a report of ``twintrack segment`` or ``demo``;
needs Chromium. 3D APIs are off. Asked for: ready within 500 ms, 16 ms of script for a step.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

READY_MS, STEP_MS = 500.0, 16.0

BEFORE = """<script>
window.addEventListener("DOMContentLoaded", () => {
  const panel = document.getElementById("panel");
  new MutationObserver(() => {
    const ready = performance.now(), slider = document.getElementById("panel-threshold"), steps = [];
    setTimeout(() => {
      for (let value = 1; value <= 100; value++) {
        slider.value = value;
        const begun = performance.now();
        slider.dispatchEvent(new Event("input"));
        steps.push(performance.now() - begun);
      }
      fetch("/found", { method: "POST", body: JSON.stringify({ ready, steps }) });
    }, 200);
  }).observe(panel, { attributes: true });
});
</script>"""
"""Stands in a copy of the report without its security policy, and measures."""


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    source = arguments.report.read_text(encoding="utf-8")
    page = re.sub(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", BEFORE, source, count=1)
    found = [measured(page) for _ in range(arguments.repeats)]
    ready = [one["ready"] for one in found]
    steps = [step for one in found for step in one["steps"]]
    print(f"report {arguments.report.stat().st_size / 1e6:.2f} MB")
    print(line("ready, from the start of the load", ready, READY_MS))
    print(line("script of a step of the slider", steps, STEP_MS))


def line(what: str, values: list[float], most: float) -> str:
    """Return median and largest of what was measured, beside what was asked for."""
    middle = statistics.median(values)
    held = "yes" if middle <= most else "NO"
    return f"{what:36s} median {middle:6.1f} ms, largest {max(values):6.1f}; asked {most:.0f} {held}"


def measured(page: str) -> dict[str, Any]:
    """Open a page in a new browser and return what it measures of itself."""
    found: dict[str, Any] = {}
    done = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page.encode() if self.path == "/" else b"")

        def do_POST(self) -> None:
            found.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()
            done.set()

        def log_message(self, *told: object) -> None:
            """Say nothing."""

    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("Chromium is not installed")
    with HTTPServer(("127.0.0.1", 0), Handler) as server, tempfile.TemporaryDirectory() as folder:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-3d-apis",
            "--remote-debugging-port=0",
        ]
        command += [f"--user-data-dir={folder}", f"http://127.0.0.1:{server.server_port}/"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                if not done.wait(120):
                    raise SystemExit("the page did not get ready within two minutes")
            finally:
                process.kill()
        server.shutdown()
    return found


if __name__ == "__main__":
    main()
