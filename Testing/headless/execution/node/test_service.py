"""The node as a client of the service: what it sends and fetches, and whose fault it takes trouble for."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from archive_server import free_port
from contract_server import ABOUT, contract_server
from expected_errors import raises_error
from twintrack import __version__
from twintrack.errors import Cancelled, InputError
from twintrack.execution.node.run import Offer, ServiceAway
from twintrack.execution.node.service import RemoteService
from twintrack.execution.server import connection
from twintrack.execution.server.endpoint import Credentials
from twintrack.settings import SegmentSettings

pytestmark = pytest.mark.process

RESULT = {
    "result.json": b"{}",
    "probability.nii.gz": b"x" * 1000,
    "dicom/probability.dcm": b"the map",
    "dicom/segmentation.dcm": b"the outline",
    "dicom/report.dcm": b"the report",
}
OFFER = Offer(__version__, "0" * 64)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(connection, "PAUSE_S", 0.05)
    with contract_server(dict(RESULT)) as running:
        yield running


@pytest.fixture
def service(server) -> RemoteService:
    return RemoteService(server.address, Credentials())


@pytest.fixture
def source(ct, tmp_path: Path) -> Path:
    """A series as the node keeps it: names are hashes."""
    folder = tmp_path / "series"
    folder.mkdir()
    for number, path in enumerate(ct):
        (folder / f"{number:032x}").write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_every_slice_goes_there_and_the_objects_alone_come_back(server, service, source, out, ct) -> None:
    assert service.offer() == OFFER
    service.segment(source, out, SegmentSettings(threshold=0.4), OFFER)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        name.removeprefix("dicom/"): content for name, content in RESULT.items() if name.startswith("dicom/")
    }
    (run,) = server.kept.values()
    assert sorted(map(bytes, run.content)) == sorted(path.read_bytes() for path in ct)
    assert run.submission["settings"]["threshold"] == 0.4
    assert run.submission["settings"]["dicom"] is True
    assert run.submission["bundle_sha256"] == OFFER.bundle_sha256
    assert server.asked["fetch"] == 3
    assert len(server.dropped) == 1


def test_a_service_that_is_off_is_away() -> None:
    with pytest.raises(ServiceAway, match="server-unreachable"):
        RemoteService(f"http://127.0.0.1:{free_port()}", Credentials()).offer()


@pytest.mark.parametrize("code", ["identity-unknown", "server-not-ready", "server-no-room", "server-broken"])
def test_trouble_of_the_service_is_away(server, service, source, out, code: str, monkeypatch) -> None:
    monkeypatch.setattr("twintrack.execution.server.client.BUSY_S", 0.1)
    monkeypatch.setattr(connection, "AGAIN_S", 0.1)

    def refuse(handler, what: str, _count: int) -> bool:
        if what != "submit":
            return False
        handler.body()
        handler.refuse(code)
        return True

    server.fault = refuse
    with pytest.raises(ServiceAway):
        service.segment(source, out, SegmentSettings(), OFFER)


def test_a_bundle_that_was_exchanged_is_asked_for_anew(service, source, out) -> None:
    with pytest.raises(ServiceAway, match="exchanged"):
        service.segment(source, out, SegmentSettings(), Offer(__version__, "1" * 64))


def test_another_version_is_not_the_fault_of_the_ct(monkeypatch) -> None:
    with (
        contract_server({}, about={**ABOUT, "server": "twintrack 0.0.1"}) as server,
        pytest.raises(ServiceAway, match="versions-differ"),
    ):
        RemoteService(server.address, Credentials()).offer()


def failed(code: str, kind: str = "InputError") -> dict:
    return {"state": "failed", "error": {"code": code, "kind": kind, "message": "some sentence"}}


def test_what_the_engine_says_of_the_ct_is_its_own(server, service, source, out) -> None:
    server.news = failed("slices-missing")
    with raises_error(InputError, "slices-missing"):
        service.segment(source, out, SegmentSettings(), OFFER)
    assert list(out.iterdir()) == []


def test_a_process_that_died_may_have_been_an_accident(server, service, source, out) -> None:
    server.news = failed("server-process-died", "TwinTrackError")
    with pytest.raises(RuntimeError):
        service.segment(source, out, SegmentSettings(), OFFER)


def test_a_run_can_be_given_up(server, service, source, out) -> None:
    server.news = {"state": "running", "fraction": 0.1, "message": "at work"}
    threading.Timer(0.5, service.stop).start()
    with pytest.raises(Cancelled):
        service.segment(source, out, SegmentSettings(), OFFER)
    assert len(server.dropped) == 1
