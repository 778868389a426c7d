"""Archive, node and archive again: three objects in the study, however often and in however many parts a CT is sent."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pydicom
import pytest

pytest.importorskip("pynetdicom", reason="pynetdicom is not installed")

import twintrack.execution.node.send as send_module
from archive_server import PASSWORD, USER, Archive, free_port, running_archive, web_plugin
from expected_errors import raises_error
from twintrack.dicom import DimseTarget
from twintrack.dicom.send.delivery import Delivery
from twintrack.errors import InputError, OutputError
from twintrack.execution.node.complete import Waits
from twintrack.execution.node.ledger import Ledger, Stage
from twintrack.execution.node.run import ServiceAway
from twintrack.execution.node.send import Archive as Target
from twintrack.execution.node.send import Sender
from twintrack.execution.server.audit import Audit

from .sending import NUMBER, PATIENT, send, target_of, until

pytestmark = pytest.mark.process


@pytest.fixture
def pacs(tmp_path: Path, port: int):
    """Orthanc, which knows the node."""
    (tmp_path / "orthanc").mkdir()
    peers = {"node": ["NODE", "127.0.0.1", port]}
    with running_archive(tmp_path / "orthanc", DicomModalities=peers, DicomAlwaysAllowStore=True) as archive:
        yield archive


def ends(folder: Path) -> list[str]:
    return [json.loads(line)["end"] for line in (folder / "audit.jsonl").read_text().splitlines()]


def modalities(archive: Archive) -> list[str]:
    return sorted(archive.ask(f"series/{name}")["MainDicomTags"]["Modality"] for name in archive.ask("series"))


def test_a_ct_that_the_archive_sends_gets_three_objects_in_its_study(pacs, ct, started, tmp_path) -> None:
    import requests

    assert all(item.arrived for item in target_of(pacs).send(ct))
    (series,) = pacs.ask("series")
    url = f"{pacs.root}/modalities/node/store"
    with started(target_of(pacs)) as folder:
        calling = {"LocalAet": "PACS", "Resources": [series]}
        for number in (1, 2):
            requests.post(url, json=calling, auth=(USER, PASSWORD), timeout=300).raise_for_status()
            until(lambda count=number: len(ends(folder)) == count)
        assert ends(folder) == ["done", "known"]
        until(lambda: not list((folder / "incoming").iterdir()))
    assert pacs.counts() == (1, 4, len(ct) + 3)
    assert modalities(pacs) == ["CT", "OT", "SEG", "SR"]
    for name in pacs.ask("series"):
        tags = pacs.ask(f"instances/{pacs.ask(f'series/{name}')['Instances'][0]}/simplified-tags")
        assert tags["PatientName"] == PATIENT
        if tags["Modality"] != "CT":
            assert "research use only" in tags["SeriesDescription"]


def test_sent_in_two_associations_and_again_after_a_restart_it_is_run_once(pacs, ct, started, service, port) -> None:
    target_of(pacs).send(ct)
    with started(target_of(pacs)) as folder:
        other: list[int] = []
        assert send(ct[:3], port, at_end=lambda: other.extend(send(ct[3:], port, calling="OTHER"))) == [0, 0, 0]
        assert other == [0, 0, 0]
        until(lambda: ends(folder) == ["done"])
    with started(target_of(pacs)) as folder:
        send(ct, port)
        until(lambda: ends(folder) == ["done", "known"])
        send(ct[:2], port)
        until(lambda: ends(folder) == ["done", "known", "known"])
    assert service.sets == [len(ct)]
    assert pacs.counts() == (1, 4, len(ct) + 3)


def test_a_node_that_forgot_everything_makes_the_same_objects(pacs, ct, started, service, port, tmp_path) -> None:
    target_of(pacs).send(ct)
    for number in (1, 2):
        with started(target_of(pacs)) as folder:
            send(ct, port)
            until(lambda: ends(folder) == ["done"])
        folder.rename(tmp_path / f"away{number}")
    assert service.sets == [len(ct)] * 2
    assert pacs.counts() == (1, 4, len(ct) + 3)


def test_a_slice_more_runs_again_with_other_uids_and_a_lone_late_one_is_told(
    pacs, ct, started, service, port, caplog
) -> None:
    target_of(pacs).send(ct)
    with started(target_of(pacs)) as folder:
        send(ct[:5], port)
        until(lambda: ends(folder) == ["done"])
        until(lambda: not list((folder / "incoming").iterdir()))
        send(ct[5:], port)
        until(lambda: ends(folder) == ["done", "late"])
        assert "send the whole series again" in caplog.text
        send(ct, port)
        until(lambda: ends(folder) == ["done", "late", "done"])
    assert service.sets == [5, 6]
    assert pacs.counts() == (1, 4, len(ct) + 6)


def test_another_bundle_is_another_run(pacs, ct, started, service, port) -> None:
    target_of(pacs).send(ct)
    with started(target_of(pacs)) as folder:
        send(ct, port)
        until(lambda: ends(folder) == ["done"])
        service.version = "2.0"
        send(ct, port)
        until(lambda: ends(folder) == ["done", "done"])
    assert pacs.counts()[0] == 1
    assert service.sets == [len(ct)] * 2


def test_an_association_that_breaks_gives_nothing_but_one_line(ct, started, service, port, nowhere, caplog) -> None:
    caplog.set_level(logging.INFO)
    with started(nowhere, waits=Waits(0.3, 1.0)) as folder:
        send(ct, port, stop_after=3)
        until(lambda: ends(folder) == ["broken"])
        assert list((folder / "incoming").iterdir()) == []
    assert service.sets == []
    assert len([message for message in caplog.messages if message.startswith("run ")]) == 1


def test_results_wait_for_an_archive_that_is_away_and_come_once(
    ct, started, service, port, tmp_path, monkeypatch, caplog
) -> None:
    monkeypatch.setattr(send_module, "FIRST_S", 0.3)
    (tmp_path / "orthanc").mkdir()
    address = free_port()
    target = Target(DimseTarget("127.0.0.1", address, "ORTHANC", "NODE"))
    with started(target) as folder:
        send(ct, port)
        until(lambda: "did not take" in caplog.text)
        assert ends(folder) == []
        until(lambda: not list((folder / "incoming").iterdir()))  # the CT is not kept for it
    with started(target) as folder:
        assert ends(folder) == []
        with running_archive(tmp_path / "orthanc", DicomPort=address) as pacs:
            until(lambda: ends(folder) == ["done"])
            assert pacs.counts() == (1, 3, 3)
            until(lambda: not list((folder / "results").iterdir()))
    assert service.sets == [len(ct)]


def test_results_go_by_dicomweb_too(pacs, ct, started, port, monkeypatch) -> None:
    pytest.importorskip("dicomweb_client")
    if web_plugin() is None:
        pytest.skip("Orthanc's DICOMweb plug-in is not installed")
    monkeypatch.setenv("TWINTRACK_STOW_USER", USER)
    monkeypatch.setenv("TWINTRACK_STOW_PASSWORD", PASSWORD)
    target_of(pacs).send(ct)
    with started(Target(stow=pacs.web)) as folder:
        send(ct, port)
        until(lambda: ends(folder) == ["done"])
    assert pacs.counts() == (1, 4, len(ct) + 3)


def test_a_service_that_is_away_is_asked_until_it_is_back(
    pacs, ct, started, service, port, monkeypatch, caplog
) -> None:
    monkeypatch.setattr(send_module, "FIRST_S", 0.2)
    service.error = ServiceAway("server-unreachable")
    with started(target_of(pacs)) as folder:
        send(ct, port)
        until(lambda: len(service.sets) > 2)
        assert ends(folder) == []
        service.error = None
        until(lambda: ends(folder) == ["done"])
    assert len([message for message in caplog.messages if "server-unreachable" in message]) == 1
    assert pacs.counts() == (1, 3, 3)


def test_a_ct_without_a_finding_is_told(ct, started, service, port, nowhere, monkeypatch, caplog) -> None:
    monkeypatch.setattr(service, "segment", lambda *_arguments: None)
    with started(nowhere) as folder:
        send(ct, port)
        until(lambda: ends(folder) == ["done"])
    assert "0 everywhere" in caplog.text


def test_what_the_engine_refuses_is_told_by_its_code_and_runs_when_it_is_sent_again(
    pacs, ct, started, service, port, caplog
) -> None:
    service.error = InputError(f"{PATIENT}: slices are missing", code="slices-missing")
    with started(target_of(pacs)) as folder:
        send(ct, port)
        until(lambda: ends(folder) == ["failed"])
        assert "slices-missing" in caplog.text
        service.error = None
        send(ct, port)
        until(lambda: ends(folder) == ["failed", "done"])
    assert PATIENT not in caplog.text


def test_what_went_wrong_by_accident_is_tried_again_and_not_for_ever(
    ct, started, service, port, nowhere, monkeypatch
) -> None:
    monkeypatch.setattr(send_module, "FIRST_S", 0.1)
    service.error = RuntimeError(PATIENT)
    with started(nowhere) as folder:
        send(ct, port)
        until(lambda: ends(folder) == ["failed"])
    assert service.sets == [len(ct)] * 3


def test_a_full_disk_of_the_node_costs_no_result(ct, started, service, port, nowhere, monkeypatch, caplog) -> None:
    monkeypatch.setattr(send_module, "FIRST_S", 0.1)
    service.error = OutputError("cannot be written", code="not-writable")
    with started(nowhere) as folder:
        send(ct, port)
        until(lambda: len(service.sets) > 3)
        assert ends(folder) == []
        service.error = None
        until(lambda: list((folder / "results").rglob("report.dcm")))
    assert len([message for message in caplog.messages if "not-writable" in message]) == 1


def test_results_that_cannot_be_sent_hold_no_others_up(tmp_path, monkeypatch) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite", Audit(None))
    sender = Sender(tmp_path, ledger, Target(stow="http://127.0.0.1/dicom-web"))
    names = [ledger.arrival(source, "PACS", "association", 0.0, 0.0) for source in ("bad", "good")]
    for name, word in zip(names, ("bad", "good"), strict=True):
        sender.folder_of(name).mkdir()
        (sender.folder_of(name) / "report.dcm").write_text(word)
        ledger.move(name, Stage.DELIVERING)

    def sent(_archive: Target, files: list[Path]) -> list[Delivery]:
        if files[0].read_text() == "bad":
            raise AttributeError(PATIENT)
        return [Delivery(path) for path in files]

    monkeypatch.setattr(Target, "send", sent)
    assert sender.look() == 1
    assert [series.id for series in ledger.at(Stage.DELIVERING)] == names[:1]
    ledger.close()


def test_planted_identifiers_stand_in_no_log_audit_ledger_or_name(
    pacs, ct, started, service, port, caplog, capfd
) -> None:
    caplog.set_level(logging.DEBUG)
    header = pydicom.dcmread(ct[0])
    planted = [PATIENT, NUMBER, header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID]
    service.error = InputError(" ".join(planted), code="refused")
    with started(target_of(pacs), waits=Waits(0.6, 600.0)) as folder:
        send(ct, port, stop_after=2)
        send(ct, port)
        until(lambda: ends(folder) == ["failed"])
        service.error = RuntimeError(" ".join(planted))
        send(ct, port)
        until(lambda: len(service.sets) == 2)
        names = [*service.seen, *(str(path) for path in folder.rglob("*"))]
        kept = [path.read_bytes() for path in folder.glob("*") if path.is_file()]
    told = caplog.text + "".join(capfd.readouterr()) + "\n".join(names)
    assert (folder / "audit.jsonl").stat().st_size > 100
    assert any("/incoming/" in name for name in names)
    for word in planted:
        assert word not in told
        assert not any(str(word).encode() in content for content in kept)


def test_nothing_is_sent_anywhere_by_default() -> None:
    with raises_error(InputError, "archive-missing", "--pacs", "--stow"):
        Target()
    with raises_error(InputError, "archive-missing"):
        Target(DimseTarget("127.0.0.1", 104), "https://pacs.example/dicom-web")


def test_a_folder_of_somebody_else_and_one_in_use_are_refused(started, nowhere, tmp_path) -> None:
    (tmp_path / "node" / "incoming" / "mine").mkdir(parents=True)
    with raises_error(OutputError, "folder-not-empty"), started(nowhere):
        pass
    assert (tmp_path / "node" / "incoming" / "mine").is_dir()
    (tmp_path / "node").rename(tmp_path / "other")
    with started(nowhere), raises_error(OutputError, "folder-in-use"), started(nowhere):
        pass
