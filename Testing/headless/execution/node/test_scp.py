"""Who may send, what is taken, and what a stranger can do who sends nonsense or nothing."""

from __future__ import annotations

import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pydicom
import pytest
from pydicom.filewriter import dcmwrite

pytest.importorskip("pynetdicom", reason="pynetdicom is not installed")

import twintrack.execution.node.ledger as ledger
import twintrack.execution.node.scp as scp
from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.execution.node.complete import Waits
from twintrack.execution.node.scp import Listening

from .sending import send
from .test_ledger import FULL

pytestmark = pytest.mark.process

FOR_EVER = Waits(1e6, 1e6)


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A certificate for the loopback, signed by itself, and one of a stranger."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path / "certificates"
    folder.mkdir()
    for name in ("node", "stranger"):
        command = [program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
        command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return folder


def stored(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "incoming").rglob("*") if path.is_file())


def test_an_instance_is_kept_byte_for_byte(ct, started, port, nowhere, storescu) -> None:
    with started(nowhere, waits=FOR_EVER) as folder:
        command = [storescu, "-xe", "-aet", "PACS", "-aec", "NODE", "127.0.0.1", str(port), *map(str, ct)]
        subprocess.run(command, check=True, timeout=300)
        kept = {pydicom.dcmread(path).SOPInstanceUID: path for path in stored(folder)}
    assert len(kept) == len(ct)
    for path in ct:
        sent, came = pydicom.dcmread(path), pydicom.dcmread(kept[pydicom.dcmread(path).SOPInstanceUID])
        assert came == sent
        assert came.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
        assert came.PixelData == sent.PixelData
        assert (kept[sent.SOPInstanceUID].stat().st_mode & 0o077) == 0 or (folder.stat().st_mode & 0o077) == 0


def test_the_connection_can_be_tried(started, port, nowhere) -> None:
    from pynetdicom import AE
    from pynetdicom.sop_class import Verification

    entity = AE(ae_title="PACS")
    entity.add_requested_context(Verification)
    with started(nowhere):
        association = entity.associate("127.0.0.1", port, ae_title="NODE")
        assert association.send_c_echo().Status == 0
        association.release()


@pytest.mark.parametrize(("calling", "called"), [("STRANGER", "NODE"), ("PACS", "SOMEBODY"), ("PACS", "ANY-SCP")])
def test_a_wrong_title_is_refused_and_told_once(ct, started, port, nowhere, caplog, calling: str, called: str) -> None:
    with started(nowhere, waits=FOR_EVER) as folder:
        for _ in range(2):
            assert send(ct, port, calling=calling, called=called) == []
        assert stored(folder) == []
    told = [message for message in caplog.messages if "refused" in message]
    assert len(told) == 1
    assert calling in told[0]
    assert called in told[0]


@pytest.mark.parametrize(
    ("kind", "syntax"),
    [
        ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.1.2.1"),  # segmentation
        ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.1.2.1"),  # MR
        ("1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.1.2.1"),  # secondary capture
        ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1.99"),  # deflated
        ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.4.50"),  # JPEG with loss
    ],
)
def test_other_kinds_of_objects_and_encodings_are_refused(started, port, nowhere, kind: str, syntax: str) -> None:
    from pynetdicom import AE

    entity = AE(ae_title="PACS")
    entity.add_requested_context(kind, syntax)
    with started(nowhere):
        association = entity.associate("127.0.0.1", port, ae_title="NODE")
        assert association.accepted_contexts == []


def test_enhanced_ct_and_lossless_compression_are_accepted(started, port, nowhere) -> None:
    from pynetdicom import AE

    entity = AE(ae_title="PACS")
    entity.add_requested_context("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.1.2.1")
    for syntax in scp.SYNTAXES:
        entity.add_requested_context("1.2.840.10008.5.1.4.1.1.2", syntax)
    with started(nowhere):
        association = entity.associate("127.0.0.1", port, ae_title="NODE")
        assert len(association.accepted_contexts) == 1 + len(scp.SYNTAXES)
        association.release()


def test_nothing_is_taken_when_the_disk_is_full(ct, started, port, nowhere, caplog) -> None:
    with started(nowhere, waits=FOR_EVER, reserve_bytes=1 << 60) as folder:
        assert set(send(ct, port)) == {0xA700}
        assert stored(folder) == []
        assert list((folder / "received").iterdir()) == []
    assert "disk is full" in caplog.text


def test_nothing_is_taken_when_the_ledger_is_full(ct, started, port, nowhere, monkeypatch) -> None:
    monkeypatch.setattr(ledger, "TABLES", ledger.TABLES + FULL)
    with started(nowhere, waits=FOR_EVER) as folder:
        assert set(send(ct, port)) == {0xA700}
        assert list((folder / "received").iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="one loopback address elsewhere")
def test_one_address_does_not_keep_others_out(ct, started, port, nowhere, monkeypatch) -> None:
    monkeypatch.setattr(scp, "OF_ADDRESS", 3)
    with started(nowhere, waits=FOR_EVER):
        idle = [socket.create_connection(("127.0.0.1", port), 60, ("127.0.0.2", 0)) for _ in range(5)]
        try:
            for refused in idle[3:]:
                refused.settimeout(60)
                assert refused.recv(1) == b""
            assert send(ct[:1], port) == [0]
        finally:
            for connection in idle:
                connection.close()


def test_an_instance_without_a_series_is_refused(ct, started, port, nowhere, tmp_path) -> None:
    dataset = pydicom.dcmread(ct[0])
    dataset.SeriesInstanceUID = ""
    dcmwrite(tmp_path / "bare.dcm", dataset)
    with started(nowhere, waits=FOR_EVER) as folder:
        assert send([tmp_path / "bare.dcm", ct[1]], port) == [0xC000, 0]
        assert len(stored(folder)) == 1


def test_an_instance_without_an_end_is_cut_off(ct, started, port, nowhere, monkeypatch, caplog) -> None:
    monkeypatch.setattr(scp, "INSTANCE_BYTES", 500)
    with started(nowhere, waits=FOR_EVER) as folder:
        with pytest.raises((RuntimeError, AttributeError, ValueError)):
            send(ct[:1], port)
        assert stored(folder) == []
    assert "cut off" in caplog.text


def test_instances_that_are_too_much_together_are_cut_off(ct, started, port, nowhere, monkeypatch, caplog) -> None:
    monkeypatch.setattr(scp, "MEMORY_BYTES", 500)
    with started(nowhere, waits=FOR_EVER) as folder:
        with pytest.raises((RuntimeError, AttributeError, ValueError)):
            send(ct[:1], port)
        assert stored(folder) == []
    assert "at the same time" in caplog.text


def test_who_sends_byte_by_byte_is_cut_off(ct, started, port, nowhere, monkeypatch) -> None:
    with started(nowhere, waits=FOR_EVER):
        monkeypatch.setattr(scp, "PDU_S", 0.5)
        with socket.create_connection(("127.0.0.1", port), timeout=60) as stranger:
            stranger.sendall(struct.pack(">BBL", 1, 0, 10000))

            def drip() -> None:
                for _ in range(600):
                    stranger.sendall(b"x")
                    time.sleep(0.1)

            with pytest.raises(ConnectionError):
                drip()
        monkeypatch.setattr(scp, "PDU_S", 60.0)
        assert send(ct[:1], port) == [0]


def test_a_stranger_who_announces_gigabytes_is_cut_off(ct, started, port, nowhere) -> None:
    with started(nowhere, waits=FOR_EVER):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as stranger:
            stranger.sendall(struct.pack(">BBL", 1, 0, 0xFFFFFF00) + b"x" * 1000)
            assert is_closed(stranger)
        assert send(ct[:1], port) == [0]


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side closes the connection before the time is up."""
    try:
        return not connection.recv(100) or not connection.recv(100)
    except ConnectionError:
        return True


def test_over_tls_plain_peers_and_strangers_are_refused(ct, started, port, nowhere, certificates) -> None:
    own = {"certificate": certificates / "node.pem", "key": certificates / "node.key"}
    with started(nowhere, waits=FOR_EVER, **own, callers_ca=certificates / "node.pem") as folder:
        context = ssl.create_default_context(cafile=str(certificates / "node.pem"))
        assert send(ct[:1], port) == []
        assert send(ct[:1], port, tls_args=(context, "127.0.0.1")) == []  # shows no certificate
        context.load_cert_chain(certificates / "stranger.pem", certificates / "stranger.key")
        assert send(ct[:1], port, tls_args=(context, "127.0.0.1")) == []
        assert stored(folder) == []
        context.load_cert_chain(certificates / "node.pem", certificates / "node.key")
        assert send(ct, port, tls_args=(context, "127.0.0.1")) == [0] * len(ct)
        assert len(stored(folder)) == len(ct)


@pytest.mark.parametrize("encrypted", [False, True])
def test_half_open_connections_keep_nobody_out(ct, started, port, nowhere, certificates, encrypted: bool) -> None:
    own = {"certificate": certificates / "node.pem", "key": certificates / "node.key"} if encrypted else {}
    context = ssl.create_default_context(cafile=str(certificates / "node.pem"))
    options = {"tls_args": (context, "127.0.0.1")} if encrypted else {}
    with started(nowhere, waits=FOR_EVER, **own):
        idle = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(12)]
        try:
            for connection in idle[:6]:
                connection.sendall(b"\x16\x03")  # the beginning of a handshake
            before = time.monotonic()
            assert send(ct[:1], port, **options) == [0]
            assert time.monotonic() - before < 6 * scp.HANDSHAKE_S  # one after the other they would take twelve
        finally:
            for connection in idle:
                connection.close()


def test_listening_needs_senders_titles_and_certificates_that_fit(tmp_path: Path) -> None:
    with raises_error(InputError, "sender-missing", "--from"):
        Listening("NODE", ())
    for title in ("", "x" * 17, "a\\b", "né"):
        with raises_error(InputError, "ae-title"):
            Listening("NODE", (title,))
    with raises_error(InputError, "options-exclude", "--tls-cert"):
        Listening("NODE", ("PACS",), callers_ca=tmp_path / "ca.pem")
    (tmp_path / "cert.pem").write_text("none")
    with raises_error(InputError, "certificate-unusable", "cert.pem"):
        Listening("NODE", ("PACS",), certificate=tmp_path / "cert.pem").encryption()


def test_a_port_that_is_taken_is_told(started, nowhere, port) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        with raises_error(InputError, "port-taken", str(port)), started(nowhere):
            pass


def test_many_senders_at_the_same_time_lose_nothing(ct, started, port, nowhere) -> None:
    statuses: list[int] = []

    def one(files: list[Path]) -> None:
        statuses.extend(send(files, port))

    with started(nowhere, waits=FOR_EVER) as folder:
        threads = [threading.Thread(target=one, args=(ct[number::3],)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [0] * len(ct)
        assert len(stored(folder)) == len(ct)
        assert len(list((folder / "incoming").iterdir())) == 1
