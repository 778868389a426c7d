"""The parts of a server without the server: addresses, certificates, the desk, what is sent."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from twintrack.errors import InputError, OutputError
from twintrack.execution.server.certificates import make_certificates
from twintrack.execution.server.client import _checked, _hash_of
from twintrack.execution.server.endpoint import CERTIFICATE_FILES, check_pair, parse_address, probe, security_of
from twintrack.execution.server.job import Model
from twintrack.execution.server.server import running_server
from twintrack.execution.server.spool import CHUNK_BYTES, Desk
from twintrack.execution.server.upload import pack
from twintrack.settings import SegmentSettings


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:8786", "tcp://localhost:1", "tcp://[::1]:8786", "tcp://127.9.9.9:5"]
)
def test_this_computer_may_be_spoken_to_without_certificates(address):
    place = parse_address(address, None)
    assert place.scheme == "tcp"
    assert place.port == int(address.rsplit(":", 1)[1])


@pytest.mark.parametrize(
    ("address", "certificates", "words"),
    [
        ("tcp://10.0.0.7:8786", None, "without protection"),
        ("tcp://gpu:8786", None, "without protection"),
        ("tcp://localhost.example:8786", None, "without protection"),
        ("tcp://0.0.0.0:8786", None, "without protection"),
        ("tcp://10.0.0.7:8786", "certs", "without protection"),
        ("tls://127.0.0.1:8786", None, "needs a folder with certificates"),
        ("tcp://127.0.0.1:8786", "certs", "with tls:// only"),
        ("gpu:8786", None, "not the address of a server"),
        ("tls://gpu", "certs", "not the address of a server"),
        ("ws://127.0.0.1:8786", None, "not the address of a server"),
        ("inproc://1", None, "not the address of a server"),
        ("tls://gpu:99999", "certs", "not the address of a server"),
        ("tls://[gpu:8786", "certs", "not the address of a server"),
        ("", None, "not the address of a server"),
    ],
)
def test_any_other_address_is_refused_by_itself(address, certificates, words):
    with pytest.raises(InputError, match=words):
        parse_address(address, certificates)


@pytest.mark.parametrize("host", ["0.0.0.0", "gpu.example", "192.168.1.4", "::"])
def test_a_server_without_certificates_listens_to_this_computer_only(host):
    with pytest.raises(InputError, match="needs certificates"), running_server(Model("bundle", ""), host=host):
        pass


def test_a_port_in_use_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused = pytest.raises(InputError, match=f"127.0.0.1:{port}: cannot be listened on")
        with refused, running_server(Model("bundle", ""), port=port):
            pass


def test_certificates_are_private_and_nobody_can_make_more(certificates):
    files = sorted(path for path in certificates.rglob("*"))
    assert {path.relative_to(certificates).as_posix() for path in files if path.is_file()} == {
        f"{role}/{name}" for role in ("server", "client") for name in CERTIFICATE_FILES
    }
    for path in [certificates, *files]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)
    assert not [path for path in certificates.parent.iterdir() if path != certificates]


def test_a_servers_certificates_fit_each_other_and_a_clients_do_not_make_a_server(certificates):
    check_pair(security_of(certificates / "server"), "server")
    with pytest.raises(InputError, match=r"client: not a server's certificates \(unsuitable certificate purpose\)"):
        check_pair(security_of(certificates / "client"), "client")


def test_the_certificates_pass_the_strict_rules_of_newer_pythons(certificates):
    context = ssl.create_default_context(cafile=certificates / "client" / "ca.pem")
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_cert_chain(certificates / "client" / "cert.pem", certificates / "client" / "key.pem")
    listening = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / "server" / "ca.pem")
    listening.verify_flags |= ssl.VERIFY_X509_STRICT
    listening.verify_mode = ssl.CERT_REQUIRED
    listening.load_cert_chain(certificates / "server" / "cert.pem", certificates / "server" / "key.pem")
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(down, up, server_hostname="gpu.example")
    server = listening.wrap_bio(up, down, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert client.version() == server.version() == "TLSv1.3"


def test_certificates_are_never_written_over(certificates):
    before = (certificates / "server" / "key.pem").read_bytes()
    with pytest.raises(InputError, match="is there already"):
        make_certificates(certificates, "gpu.example")
    assert (certificates / "server" / "key.pem").read_bytes() == before


@pytest.mark.parametrize("name", ["", "a b", "x\nkeyUsage=keyCertSign", "DNS:x,DNS:y"])
def test_a_name_that_is_none_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="not the name of a computer"):
        make_certificates(tmp_path / "new", name)
    assert not list(tmp_path.iterdir())


def test_without_openssl_there_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(InputError, match="openssl is missing"):
        make_certificates(tmp_path / "new", "gpu.example")


def test_folders_that_hold_no_certificates_are_named(certificates, tmp_path):
    with pytest.raises(InputError, match="give the folder server or client in it"):
        security_of(certificates)
    broken = tmp_path / "broken"
    shutil.copytree(certificates / "client", broken)
    shutil.copy(certificates / "server" / "key.pem", broken / "key.pem")
    with pytest.raises(InputError, match=r"cannot be used .*mismatch"):
        security_of(broken)
    (broken / "key.pem").unlink()
    with pytest.raises(InputError, match=r"holds no key\.pem; twintrack certificates makes them"):
        security_of(broken)


def test_a_certificate_out_of_date_is_said(certificates, tmp_path):
    old = tmp_path / "server"
    shutil.copytree(certificates / "server", old)
    make = ["openssl", "x509", "-clrext", "-in", "cert.pem", "-signkey", "key.pem", "-days", "-1", "-out", "ca.pem"]
    subprocess.run(make, cwd=old, capture_output=True, check=True)
    shutil.copy(old / "ca.pem", old / "cert.pem")  # its own authority, until yesterday
    with pytest.raises(InputError, match="certificate has expired"):
        check_pair(security_of(old), "server")


def test_who_speaks_something_else_is_found_out(certificates):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tls://127.0.0.1:{silent.getsockname()[1]}"
        security = security_of(certificates / "client")
        silent.settimeout(5)

        import threading

        def talk() -> None:
            stream, _ = silent.accept()
            stream.sendall(b"220 mail.example ESMTP\r\n")
            stream.close()

        thread = threading.Thread(target=talk)
        thread.start()
        with pytest.raises(InputError, match="does not speak TLS"):
            probe(address, parse_address(address, certificates / "client"), security)
        thread.join()


@pytest.fixture
def desk(tmp_path) -> Desk:
    return Desk(tmp_path, {"version": "1"})


def test_the_desk_takes_in_and_hands_out_the_same_bytes(desk):
    folder = Path(desk.begin("reader", "run"))
    assert folder.stat().st_mode & 0o777 == 0o700
    for offset, data in ((0, b"abc"), (3, b"def")):
        desk.send("run", "result/dicom/x.dcm", offset, data)
    desk.send("run", "result/empty", 0, b"")
    desk.send("run", "result/.lock", 0, b"")
    assert desk.listing("run") == [("dicom/x.dcm", 6), ("empty", 0)]
    assert desk.fetch("run", "dicom/x.dcm", 0) == b"abcdef"
    assert desk.fetch("run", "dicom/x.dcm", 4) == b"ef"


def test_the_desk_forgets_a_run_and_a_reader(desk, tmp_path):
    for client, run in (("a", "a1"), ("a", "a2"), ("b", "b1")):
        desk.begin(client, run)
        desk.send(run, "series/000000", 0, b"x")
    assert [desk.queue(run) for run in ("a1", "b1", "a2")] == [0, 1, 1]
    desk.end("a1")
    assert not (tmp_path / "a1").exists()
    assert desk.queue("b1") == 1
    desk.leave("a")
    assert [path.name for path in tmp_path.iterdir()] == ["b1"]
    with pytest.raises(InputError, match="does not know this run any more"):
        desk.send("a2", "series/000001", 0, b"x")
    assert not (tmp_path / "a2").exists()


def test_the_desk_sweeps_what_a_dead_worker_left(desk, tmp_path):
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "ct.nrrd").write_bytes(b"x")
    (tmp_path / ".lock").write_bytes(b"")
    (tmp_path / ".dask").mkdir()
    desk.begin("reader", "run")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".dask", ".lock", "run"]


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", ""])
def test_the_desk_keeps_files_in_their_runs(desk, name, tmp_path):
    desk.begin("reader", "run")
    with pytest.raises(InputError, match="leads out"):
        desk.send("run", name, 0, b"x")
    assert not list((tmp_path / "run").iterdir())


def test_a_server_without_room_says_so(desk, monkeypatch):
    desk.begin("reader", "run")

    def full(*_arguments, **_keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OutputError, match=r"cannot take the CT in \(No space left on device\)"):
        desk.send("run", "ct.nrrd", 0, b"x")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "result.json/../../x", "other.txt", ""])
def test_a_server_cannot_write_where_no_result_is(name):
    with pytest.raises(InputError, match="a file that no result has"):
        _checked(name)


@pytest.mark.parametrize("name", ["result.json", "dicom/segmentation.dcm"])
def test_a_results_files_are_taken(name):
    assert str(_checked(name)) == name


def test_a_file_is_sent_whole_under_a_name_that_says_nothing(tmp_path):
    ct = tmp_path / "DOE_JANE.nii.gz"
    content = bytes(range(256)) * (CHUNK_BYTES // 256) + b"the rest"
    ct.write_bytes(content)
    own = tmp_path / "site.json"
    own.write_bytes(b"")
    parcel = pack(ct, tmp_path / "out", SegmentSettings(calibrator=str(own)))
    assert list(parcel.files) == ["ct.nii.gz", "calibrator/site.json"]
    assert parcel.size == len(content)
    parts = list(parcel.chunks())
    assert [(name, offset) for name, offset, _ in parts] == [
        ("ct.nii.gz", 0),
        ("ct.nii.gz", CHUNK_BYTES),
        ("calibrator/site.json", 0),
    ]
    assert b"".join(data for _, _, data in parts) == content
    assert parcel.settings_in("/f")["calibrator"] == "/f/calibrator/site.json"
    assert parcel.settings_in("/f")["vessels"] is None
    assert parcel.said_here("/f/ct.nii.gz: no CT", "/f") == f"{ct}: no CT"
    assert parcel.said_here("/f/result: full", "/f") == f"{tmp_path / 'out'}: full"


def test_a_dicom_series_is_sent_as_numbers(tmp_path):
    for name in ("DOE2.dcm", "DOE1.dcm", "DOE3"):
        (tmp_path / name).write_bytes(bytes(128) + b"DICM" + name.encode())
    (tmp_path / "sub").mkdir()
    whole = pack(tmp_path, "out", SegmentSettings())
    assert whole.source == "series"
    assert [path.name for path in whole.files.values()] == ["DOE1.dcm", "DOE2.dcm", "DOE3"]
    assert not any("DOE" in name for name in whole.files)
    one = pack(tmp_path / "DOE2.dcm", "out", SegmentSettings())
    assert one.source == "series/000001"
    assert one.files == whole.files
    assert one.said_here("/f/series/000001: bad", "/f") == f"{tmp_path / 'DOE2.dcm'}: bad"
    assert whole.said_here("/f/series: two series", "/f") == f"{tmp_path}: two series"


@pytest.mark.parametrize("name", ["ct.mhd", "ct.nhdr"])
def test_a_volume_of_two_files_is_refused(tmp_path, name):
    (tmp_path / name).write_text("ObjectType = Image")
    with pytest.raises(InputError, match="as one file"):
        pack(tmp_path / name, "out", SegmentSettings())


def test_the_hash_of_a_bundle_is_the_same_in_a_folder_and_a_zip(bundle_folder, tmp_path):
    from twintrack.bundle.model_bundle import Bundle

    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", bundle_folder.parent, bundle_folder.name)
    with Bundle.open(bundle_folder) as opened:
        assert _hash_of(bundle_folder) == _hash_of(Path(archive)) == opened.sha256
