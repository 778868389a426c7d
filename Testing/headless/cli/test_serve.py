"""The server's command as systemd sees it."""

from __future__ import annotations

import socket
import sys

import pytest

from twintrack.cli.serve import tell_systemd


@pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")
@pytest.mark.parametrize("is_abstract", [False, True], ids=["path", "abstract name"])
def test_systemd_is_told_where_it_listens(is_abstract, tmp_path, monkeypatch):
    name = f"@twintrack-test-{tmp_path.name}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name[1:] if is_abstract else name)
        systemd.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        tell_systemd("READY=1")
        assert systemd.recv(100) == b"READY=1"
    tell_systemd("STOPPING=1")  # nobody listens any more: no error
    monkeypatch.delenv("NOTIFY_SOCKET")
    tell_systemd("READY=1")
