"""What an upload costs the HTTP server: MB a second over TLS, its CPU seconds and its memory, and what a break costs.

A server is started as its owner starts it, with the demo bundle, and a client with ``requests`` sends noise of the
size of a large CT in parts of 8 MiB, each with its SHA-256, as the program's own client does::

    python Testing/benchmarks/bench_service.py --megabytes 157 --repeats 5

The client runs on the same machine: wall time is that of both. Nothing is segmented.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import requests

PART = 8 << 20
MB = 1_000_000


class Server:
    """A server of the demo bundle, and what its process takes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._twintrack("certificates", folder / "tls", "--name", "localhost")
        clients = ("--clients", folder / "clients.json")
        self.token = self._twintrack("server", "add-client", "bench", "--token", *clients).split()[-1]
        options = ("--bundle", "demo", "--host", "0.0.0.0", "--port", "0", "--device", "cpu", "--spool", folder)
        command = [*options, "--tls", folder / "tls" / "server", *clients]
        self.process = subprocess.Popen(self._command("serve", *command), stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        ready = next(line for line in self.process.stdout if line.startswith("ready at "))
        self.address = f"https://localhost:{ready.strip().rpartition(':')[2]}"
        self._seen = psutil.Process(self.process.pid)
        self.peak_bytes = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def _command(self, *words: object) -> list[str]:
        return [sys.executable, "-m", "twintrack", *map(str, words)]

    def _twintrack(self, *words: object) -> str:
        return subprocess.run(self._command(*words), check=True, capture_output=True, text=True).stdout

    def _watch(self) -> None:
        while self.process.poll() is None:
            try:
                self.peak_bytes = max(self.peak_bytes, self._seen.memory_info().rss)
            except psutil.Error:
                return
            time.sleep(0.01)

    def cpu_s(self) -> float:
        """CPU seconds of the process that speaks HTTP, without those of its workers."""
        times = self._seen.cpu_times()
        return times.user + times.system

    def client(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        session.verify = str(self.folder / "tls" / "server" / "ca.pem")
        session.headers["Authorization"] = f"Bearer {self.token}"
        return session

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def submit(client: requests.Session, server: Server, size: int) -> str:
    content = {"schema": 1, "key": secrets.token_hex(16), "kind": "nifti", "files": [{"role": "ct", "bytes": size}]}
    answer = client.post(f"{server.address}/v1/runs", json={**content, "settings": {}}, timeout=30)
    answer.raise_for_status()
    return f"{server.address}/v1/runs/{answer.json()['run']}"


def send(client: requests.Session, run: str, data: memoryview, start: int, stop: int) -> int:
    """Send a file's parts from one byte to another; return how many bytes went."""
    for offset in range(start, stop, PART):
        part = data[offset : min(offset + PART, stop)]
        digest = {"X-Part-SHA256": hashlib.sha256(part).hexdigest()}
        answer = client.put(f"{run}/files/0?offset={offset}", data=bytes(part), headers=digest, timeout=60)
        answer.raise_for_status()
    return stop - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=157)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    size = options.megabytes * MB
    data = memoryview(os.urandom(size))
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        idle = psutil.Process(server.process.pid).memory_info().rss / MB
        print(f"server idle: {idle:.0f} MB; load of the machine {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
        try:
            rates, cpus = [], []
            for _ in range(options.repeats):
                client, cpu, began = server.client(), server.cpu_s(), time.perf_counter()
                run = submit(client, server, size)
                send(client, run, data, 0, size)
                rates.append(size / MB / (time.perf_counter() - began))
                cpus.append(server.cpu_s() - cpu)
                client.delete(run, timeout=30)
            told = ", ".join(f"{rate:.0f}" for rate in rates)
            print(f"{options.megabytes} MB up over TLS: median {statistics.median(rates):.0f} MB/s ({told})")
            print(f"server CPU an upload: median {statistics.median(cpus):.2f} s")
            print(f"server memory at the peak: {server.peak_bytes / MB:.0f} MB")
            run = submit(server.client(), server, size)
            first = send(server.client(), run, data, 0, min(8 * PART, size))
            client = server.client()  # a new connection
            have = client.get(run, timeout=30).json()["have"][0]
            again = send(client, run, data, have, size)
            twice = (first + again - size) / MB
            print(f"broken after {first / MB:.0f} MB: {again / MB:.0f} MB more, {twice:.1f} MB twice")
            took = []
            for _ in range(50):
                began = time.perf_counter()
                client.get(run, timeout=30).raise_for_status()
                took.append(time.perf_counter() - began)
            print(f"a question for news: median {1000 * statistics.median(took):.1f} ms")
        finally:
            server.close()


if __name__ == "__main__":
    main()
