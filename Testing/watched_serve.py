"""``twintrack serve`` under watch: what its process must never do is written down, for a test to find.

Run as a program with the arguments of ``serve``, after a file for the report and a folder in which it may write.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
from pathlib import Path

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.link", "os.truncate", "shutil.rmtree")
STARTS = ("subprocess.Popen", "os.fork", "os.posix_spawn", "os.exec", "os.system")


class Watch:
    """An audit hook, and what it saw."""

    def __init__(self, report: Path, allowed: Path) -> None:
        self._report, self._allowed = report, (str(allowed), os.devnull, "/proc", "/sys/fs")
        self.seen: list[str] = []
        self.started = 0

    def __call__(self, event: str, arguments: tuple) -> None:
        if event == "pickle.find_class":
            self.seen.append(f"{event} {arguments}")
        elif event in STARTS:
            self.started += 1
        elif event == "open":
            path, mode, flags = arguments
            if isinstance(path, str) and (set(mode or "") & set("wax+") or (flags or 0) & WRITES):
                self._look(event, path)
        elif event in CHANGES:
            self._look(event, str(arguments[0]))

    def _look(self, event: str, path: str) -> None:
        is_relative = not Path(path).is_absolute()  # in a folder that is open: `shutil.rmtree` goes so
        if not is_relative and not path.startswith(self._allowed) and "__pycache__" not in path:
            self.seen.append(f"{event} {path}")

    def write(self) -> None:
        """Write the report."""
        seen, started = list(self.seen), self.started
        content = {"seen": seen, "started": started, "modules": sorted(sys.modules)}
        self._report.write_text(json.dumps(content))


if __name__ == "__main__":
    watch = Watch(Path(sys.argv[1]), Path(sys.argv[2]))
    from twintrack.cli.app import main

    atexit.register(watch.write)
    sys.addaudithook(watch)
    main(["serve", *sys.argv[3:]])
