"""The main job talks to nobody, and says nothing about the patient where it should not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest

pytestmark = pytest.mark.process

MAY_STAND_IN_RESULTS = ("Plantedfolder", "Plantedlabel", "Planteddescription")
"""What tells which CT it is, and may hold a name: name of the folder, label of the case, description of the series."""

PLANTED = ("Plantedname", "PLANTED-ID-4711", "19010203", "Plantedward")

WATCHED = """
import logging, os, sys
def watch(event, arguments):
    if event.startswith(("socket.connect", "socket.getaddrinfo", "socket.gethostby", "socket.sendto", "socket.sendmsg",
                         "urllib.Request", "http.client.connect", "smtplib.", "ftplib.")):
        os.write(2, f"TOUCHED the network: {event}\\n".encode())  # seen from child processes too
        raise PermissionError("no network: " + event)
    if event == "open" and isinstance(arguments[0], str) and arguments[1] and set(arguments[1]) & set("wax+"):
        NAMES.append(arguments[0])
    if event in ("os.mkdir", "os.rename", "tempfile.mkdtemp", "tempfile.mkstemp"):
        NAMES.append(str(arguments[0]))
NAMES = []
sys.addaudithook(watch)
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
from twintrack.cli.app import main
try:
    main(sys.argv[1:])
finally:
    print("WRITTEN", *NAMES, sep="\\n", file=sys.stderr)
    print("TELEMETRY", getattr(sys.modules.get("openvino_telemetry"), "__file__", None), file=sys.stderr)
"""


def watched(*arguments: object, temporary: Path) -> subprocess.CompletedProcess[str]:
    """Run a command with every attempt to use the network refused and noted; without any network where possible."""
    alone = ["unshare", "--net"]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        alone = []
    temporary.mkdir()
    return subprocess.run(
        [*alone, sys.executable, "-c", WATCHED, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(temporary)},
    )


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> Path:
    """A series that names a patient in every way."""
    import numpy as np

    from twintrack.dicom import write_ct_series
    from twintrack.volume import Geometry, Volume

    geometry = Geometry((48, 44, 24), (1.5, 1.5, 3.0))
    array = np.random.default_rng(1).normal(0, 60, geometry.shape).astype(np.int16)
    folder = tmp_path_factory.mktemp("planted") / f"{MAY_STAND_IN_RESULTS[0]} <i>"
    write_ct_series(Volume(array, geometry), folder, description="planted")
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.PatientName = f"{PLANTED[0]}^=<script>alert(1)</script>"
        dataset.PatientID, dataset.PatientBirthDate = PLANTED[1], PLANTED[2]
        dataset.InstitutionalDepartmentName = PLANTED[3]
        dataset.SeriesDescription = f"{MAY_STAND_IN_RESULTS[2]} <img src=x onerror=alert(1)>"
        dataset.StudyDescription = PLANTED[3]
        dataset.save_as(path)
    return folder


@pytest.fixture(scope="module")
def ended(series, bundle_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("watched")
    done = watched(
        *("segment", series, "--bundle", bundle_folder, "--out", folder / "out", "-v", "--dicom"),
        *(
            "--roi",
            "5,30,5,30,4,16",
            "--no-calibration",
            "--threshold",
            "0.01",
            "--case",
            f"{MAY_STAND_IN_RESULTS[1]} 7",
        ),
        temporary=folder / "temporary",
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder, done


def test_the_main_job_does_not_try_to_reach_the_network(ended):
    assert "TOUCHED" not in ended[1].stderr
    assert "TELEMETRY None" in ended[1].stderr


def test_the_watch_sees_attempts_of_child_processes(tmp_path):
    code = WATCHED.split("logging.basicConfig")[0] + (
        "import urllib.request\nif os.fork() == 0:\n    urllib.request.urlopen('http://127.0.0.1:9/')\nos.wait()\n"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "TOUCHED the network" in seen.stderr


def test_no_identifier_is_in_logs_reports_or_names_of_temporary_files(ended):
    folder, done = ended
    shown = done.stdout + done.stderr
    texts = {path: path.read_text("utf-8") for path in (folder / "out").rglob("*") if path.suffix in (".json", ".html")}
    assert len(texts) >= 2
    for word in (*PLANTED, *MAY_STAND_IN_RESULTS, "alert("):
        assert word not in shown
        where = {path.name for path, text in texts.items() if word in text}
        assert where == ({"result.json", "report.html"} if word not in PLANTED else set())
        assert not [path for path in folder.rglob("*") if word in path.name]
    for path in (folder / "out").glob("*.png"):
        assert not [word for word in (*PLANTED, *MAY_STAND_IN_RESULTS) if word.encode() in path.read_bytes()]


def test_what_tells_which_ct_it_is_stands_as_text_in_the_report(ended):
    report = (ended[0] / "out" / "report.html").read_text("utf-8")
    assert "<img src=x" not in report
    assert f"{MAY_STAND_IN_RESULTS[2]} &lt;img src=x onerror=alert(1)&gt;" in report
    assert f"{MAY_STAND_IN_RESULTS[0]} &lt;i&gt;" in report


def test_of_the_dicom_objects_the_report_alone_states_the_label(ended):
    label, folder = MAY_STAND_IN_RESULTS[1].encode(), MAY_STAND_IN_RESULTS[0].encode()
    contents = {path.name: path.read_bytes() for path in (ended[0] / "out" / "dicom").iterdir()}
    assert {name for name, content in contents.items() if label in content} == {"report.dcm"}
    assert not [name for name, content in contents.items() if folder in content]


def test_dicom_objects_keep_the_patient_they_belong_to(ended):
    path = next((ended[0] / "out" / "dicom").iterdir())
    assert str(pydicom.dcmread(path).PatientID) == PLANTED[1]


def test_temporary_files_are_gone(ended):
    assert [path.name for path in (ended[0] / "temporary").iterdir() if "twintrack" in path.name.lower()] == []
    assert json.loads((ended[0] / "out" / "result.json").read_text())["research_use_only"] is True


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "PixelSpacing", "Rows", "PixelData", "Modality"])
def test_errors_about_a_damaged_series_do_not_name_the_patient(series, tmp_path, capsys, keyword):
    from twintrack.cli.app import main

    shutil.copytree(series, tmp_path / "ct")
    for path in sorted((tmp_path / "ct").iterdir())[3:5]:
        dataset = pydicom.dcmread(path)
        delattr(dataset, keyword)
        dataset.save_as(path)
    with pytest.raises(SystemExit) as exit_info:
        main(["segment", str(tmp_path / "ct"), "--bundle", str(tmp_path), "--out", str(tmp_path / "out"), "-v"])
    shown = "".join(capsys.readouterr())
    assert exit_info.value.code == 2
    assert not [word for word in (*PLANTED, *MAY_STAND_IN_RESULTS) if word in shown]
