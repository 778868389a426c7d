"""Objects sent to a real archive (Orthanc) come back as they were, by C-STORE and C-GET and by DICOMweb."""

from __future__ import annotations

import logging
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

pytest.importorskip("pynetdicom", reason="pynetdicom is not installed")
pytest.importorskip("dicomweb_client", reason="dicomweb-client is not installed")

from small_series import phantom

from archive_server import PASSWORD, USER, Archive, free_port, running_archive, web_plugin
from expected_errors import raises_error
from twintrack.dicom import (
    Algorithm,
    DimseTarget,
    check_arrived,
    read_series,
    segments_from_labels,
    send_dimse,
    send_stow,
    write_ct_series,
    write_parametric_map,
    write_segmentation,
    write_structured_report,
)
from twintrack.dicom.send.stow import PASSWORD_VARIABLE, TOKEN_VARIABLE, USER_VARIABLE
from twintrack.errors import InputError, OutputError

pytestmark = pytest.mark.process

ALGORITHM = Algorithm("demo bundle", "1.2", "0123456789abcdef" * 4)
RESULT = {"threshold": 0.5, "volume_ml": {"at_threshold": 1.0, "expected": 1.5}, "lesions": []}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    with running_archive(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture(scope="module")
def objects(tmp_path_factory) -> tuple[Path, ...]:
    """A segmentation with levels, a map and a report."""
    folder = tmp_path_factory.mktemp("objects")
    write_ct_series(phantom(), folder / "ct", description="source")
    series = read_series(folder / "ct")
    array = np.zeros(series.volume.array.shape, dtype=np.float32)
    array[1:4, 3:9, 4:12] = np.linspace(0.1, 1, 8, dtype=np.float32)
    probability = series.volume.with_array(array)
    masks = segments_from_labels(probability.with_array((array >= 0.5).astype(np.uint8)), {"tumor": 1})
    seg = write_segmentation(
        masks, series, folder / "seg.dcm", algorithm=ALGORITHM, threshold=0.5, probability=probability, raters=5
    )
    return (
        seg,
        write_parametric_map(probability, series, folder / "map.dcm", algorithm=ALGORITHM),
        write_structured_report(RESULT, None, series, seg, folder / "sr.dcm", algorithm=ALGORITHM),
    )


def by_dimse(archive: Archive, sent: Dataset) -> Dataset:
    """Fetch one object by C-GET."""
    from pynetdicom import AE, build_role, evt
    from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet

    got = []

    def take(event) -> int:
        got.append(event.dataset)
        return 0x0000

    entity = AE(ae_title="TESTER")
    entity.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
    entity.add_requested_context(sent.SOPClassUID, sent.file_meta.TransferSyntaxUID)
    association = entity.associate(
        "127.0.0.1",
        archive.dicom_port,
        ae_title="ORTHANC",
        ext_neg=[build_role(sent.SOPClassUID, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, take)],
    )
    assert association.is_established
    wanted = Dataset()
    wanted.QueryRetrieveLevel = "IMAGE"
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(wanted, keyword, sent[keyword].value)
    for _ in association.send_c_get(wanted, StudyRootQueryRetrieveInformationModelGet):
        pass
    association.release()
    assert len(got) == 1
    return got[0]


def by_dicomweb(archive: Archive, sent: Dataset) -> Dataset:
    """Fetch one object by WADO-RS."""
    from dicomweb_client.api import DICOMwebClient
    from dicomweb_client.session_utils import create_session_from_user_pass

    client = DICOMwebClient(archive.web, session=create_session_from_user_pass(USER, PASSWORD))
    syntax = str(sent.file_meta.TransferSyntaxUID)
    return client.retrieve_instance(
        sent.StudyInstanceUID,
        sent.SeriesInstanceUID,
        sent.SOPInstanceUID,
        media_types=(("application/dicom", syntax),),
    )


def remove_all(archive: Archive) -> None:
    """Empty the archive."""
    import requests

    for patient in archive.ask("patients"):
        requests.delete(f"{archive.root}/patients/{patient}", auth=(USER, PASSWORD), timeout=120)


def assert_comes_back(archive: Archive, objects) -> None:
    ways = [by_dimse] + ([by_dicomweb] if web_plugin() else [])
    for path in objects:
        sent = pydicom.dcmread(path)
        for way in ways:
            got = way(archive, sent)
            assert got == Dataset(sent), f"{path.name} changed on the way {way.__name__}"


def target_of(archive: Archive, **options) -> DimseTarget:
    return DimseTarget.parse(archive.address, title="ORTHANC", **options)


def test_objects_sent_by_dcmtk_come_back_identical(archive: Archive, objects) -> None:
    # pynetdicom installs a program of the same name beside Python.
    program = shutil.which("storescu", path="/usr/bin:/usr/local/bin:/opt/homebrew/bin")
    if program is None:
        pytest.skip("storescu (dcmtk) is not installed")
    remove_all(archive)
    command = [program, "-R", "-xe", "-aec", "ORTHANC", "127.0.0.1", str(archive.dicom_port), *map(str, objects)]
    subprocess.run(command, check=True, timeout=300)
    assert_comes_back(archive, objects)


def test_objects_sent_by_c_store_come_back_identical(archive: Archive, objects) -> None:
    remove_all(archive)
    deliveries = send_dimse(objects, target_of(archive))
    assert [item.path for item in deliveries] == list(objects)
    check_arrived(deliveries, "ORTHANC")
    assert_comes_back(archive, objects)


@pytest.fixture
def web_archive(archive: Archive) -> Archive:
    if web_plugin() is None:
        pytest.skip("Orthanc's DICOMweb plug-in is not installed")
    return archive


def test_objects_sent_by_dicomweb_come_back_identical(web_archive: Archive, objects, monkeypatch) -> None:
    remove_all(web_archive)
    monkeypatch.setenv(USER_VARIABLE, USER)
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    check_arrived(send_stow(objects, web_archive.web), web_archive.web)
    assert_comes_back(web_archive, objects)


def test_credentials_may_come_from_a_netrc_file_and_reach_no_log(
    web_archive: Archive, objects, monkeypatch, tmp_path: Path, caplog
) -> None:
    remove_all(web_archive)
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    caplog.set_level(logging.DEBUG)
    check_arrived(send_stow(objects[:1], web_archive.web), web_archive.web)
    assert PASSWORD not in caplog.text


def test_wrong_credentials_are_told_without_being_shown(web_archive: Archive, objects, monkeypatch, caplog) -> None:
    monkeypatch.setenv(USER_VARIABLE, USER)
    monkeypatch.setenv(PASSWORD_VARIABLE, "guessed-wrong")
    caplog.set_level(logging.DEBUG)
    deliveries = send_stow(objects, web_archive.web)
    with raises_error(OutputError, "archive-refused", "HTTP", "401") as caught:
        check_arrived(deliveries, web_archive.web)
    assert "0 of 3 arrived" in str(caught.value)
    assert "guessed-wrong" not in caplog.text + str(caught.value)
    assert all(path.exists() for path in objects)


def test_what_the_archive_refuses_is_named_and_the_rest_arrives(archive: Archive, objects, tmp_path: Path) -> None:
    remove_all(archive)
    bad = pydicom.dcmread(objects[0])
    bad.SOPClassUID = bad.file_meta.MediaStorageSOPClassUID = "1.2.826.0.1.3680043.8.498.1"  # a private kind of object
    bad.save_as(tmp_path / "bad.dcm")
    files = (objects[1], tmp_path / "bad.dcm", objects[2])
    deliveries = send_dimse(files, target_of(archive))
    assert [item.arrived for item in deliveries] == [True, False, True]
    with raises_error(OutputError, "archive-refused", "bad.dcm", "map.dcm", "sr.dcm"):
        check_arrived(deliveries, "ORTHANC")
    assert_comes_back(archive, (objects[1], objects[2]))


def test_nobody_listening_and_a_wrong_title_are_told(archive: Archive, objects) -> None:
    nobody = send_dimse(objects, DimseTarget("127.0.0.1", free_port()))
    assert {item.problem.split(";")[0] for item in nobody} == {"no connection"}
    stranger = send_dimse(objects, DimseTarget("127.0.0.1", archive.dicom_port, title="SOMEBODY"))
    assert {item.problem.split(";")[0] for item in stranger} == {"it rejected the connection"}
    unreachable = send_stow(objects[:1], f"http://127.0.0.1:{free_port()}/dicom-web")
    assert "no connection" in unreachable[0].problem


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate of the loopback address, signed by itself, and its key."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")
    command = [program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    return tmp_path / "cert.pem", tmp_path / "key.pem"


def test_an_encrypted_connection_is_made_to_a_known_archive_only(certificate, objects, tmp_path: Path) -> None:
    certificate, key = certificate
    settings = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(certificate),
        "DicomTlsPrivateKey": str(key),
        "DicomTlsTrustedCertificates": str(certificate),
        "DicomTlsRemoteCertificateRequired": False,
    }
    (tmp_path / "secure").mkdir()
    with running_archive(tmp_path / "secure", **settings) as secure:
        known = send_dimse(objects, target_of(secure, tls=True, ca_file=certificate))
        check_arrived(known, "ORTHANC")
        stranger = send_dimse(objects, target_of(secure, tls=True))
        plain = send_dimse(objects, target_of(secure))
    assert not any(item.arrived for item in (*stranger, *plain))


def test_certificates_without_encryption_are_refused(tmp_path: Path) -> None:
    with raises_error(InputError, "options-exclude", "--tls"):
        DimseTarget("localhost", 104, certificate=tmp_path / "cert.pem")
    (tmp_path / "cert.pem").write_text("no certificate")
    with raises_error(InputError, "certificate-unusable", "cert.pem", "PEM"):
        send_dimse([], DimseTarget("localhost", 104, tls=True, ca_file=tmp_path / "cert.pem"))


@pytest.mark.parametrize("address", ["localhost", "localhost:", ":104", "localhost:0", "localhost:99999", "host:x"])
def test_bad_addresses_are_refused(address: str) -> None:
    with raises_error(InputError, "address-malformed", "HOST", "PORT"):
        DimseTarget.parse(address)


def test_secrets_in_an_address_or_over_plain_http_are_refused(monkeypatch) -> None:
    with raises_error(InputError, "credentials-in-address") as caught:
        send_stow([], "https://somebody:secret@archive.example/dicom-web")
    assert "secret@" not in str(caught.value)
    monkeypatch.setenv(TOKEN_VARIABLE, "secret")
    with raises_error(InputError, "credentials-unencrypted"):
        send_stow([], "http://archive.example/dicom-web")
