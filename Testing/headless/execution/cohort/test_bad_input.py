"""What cannot work is said in one line, with exit code 2, before anything is computed."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from archive_server import free_port
from expected_errors import raises_error
from twintrack import __version__
from twintrack.cli.app import main
from twintrack.errors import BundleError, InputError, OutputError
from twintrack.execution.cluster import client as cluster
from twintrack.execution.cluster import versions as dask_shared
from twintrack.execution.cohort import run_cohort
from twintrack.execution.cohort import worker_checks as seen
from twintrack.execution.cohort.overview import RUN_COMMAND
from twintrack.execution.cohort.plan import make_plan
from twintrack.execution.cohort.worker_checks import problem_seeing
from twintrack.system.atomic import atomic_folder

pytestmark = pytest.mark.process


def test_a_scheduler_that_does_not_answer_is_one_line_and_exit_code_2(make_cohort, plain_bundle, tmp_path):
    manifest, address = make_cohort(["p1"]), f"tcp://127.0.0.1:{free_port()}"
    command = ["cohort", str(manifest), "--bundle", str(plain_bundle), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "twintrack", *command, "--no-calibration", "--scheduler", address],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {address}: no Dask scheduler can be reached")
    assert not (tmp_path / "out" / "cases").exists()


@pytest.mark.parametrize("address", ["nonsense://host:1", "tcp://127.0.0.1", "tcp://nowhere.invalid:8786"])
def test_an_address_that_is_none_is_refused(make_cohort, plain_bundle, settings, tmp_path, address, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_S", 1)
    with raises_error(InputError, "cluster-unreachable"):
        run_cohort(make_cohort(["p1"]), plain_bundle, tmp_path / "out", settings, scheduler=address)


def test_a_server_that_is_no_scheduler_is_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_S", 0.5)
    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        address = f"tcp://127.0.0.1:{server.server_port}"
        with raises_error(InputError, "cluster-unreachable"), cluster.cluster_client(address):
            pass
        server.shutdown()
        thread.join()


def test_tls_without_certificates_says_where_dask_looks_for_them():
    with (
        raises_error(InputError, "certificate-missing", "distributed.comm.tls.ca"),
        cluster.cluster_client("tls://127.0.0.1:1"),
    ):
        pass


def test_other_versions_on_a_worker_are_named():
    here = {"python": "3.11.7.final.0", "distributed": "2026.8.0", "dask": "2026.8.0", "msgpack": "1.2.4"}
    here |= {"cloudpickle": "3.1.2", "numpy": "2.4.6", "twintrack": __version__}

    def versions(**other: str | None) -> dict:
        return {
            "client": {"packages": here},
            "scheduler": {"packages": here | {"twintrack": None}},  # the scheduler needs no engine
            "workers": {"tcp://w:1": {"packages": here}, "tcp://w:2": {"packages": here | other}},
        }

    cluster.check_versions("tcp://s:1", versions(python="3.11.9.final.0", numpy="2.4.1"))
    for package, version in (("distributed", "2025.4.0"), ("python", "3.12.1.final.0"), ("twintrack", None)):
        with raises_error(InputError, "versions-differ", "tcp://s", "tcp://w", package) as raised:
            cluster.check_versions("tcp://s:1", versions(**{package: version}))
        assert (version or "(missing)") in str(raised.value)


def test_a_worker_with_another_twintrack_is_named_with_both_versions(address, monkeypatch):
    monkeypatch.setattr(dask_shared, "__version__", "0.0.9")
    named = (address, "tcp://", f"twintrack {__version__}", "0.0.9")
    with raises_error(InputError, "versions-differ", *named), cluster.cluster_client(address):
        pass


def test_a_real_cluster_tells_all_versions_that_are_compared(address):
    with cluster.cluster_client(address) as client:
        versions = cluster._versions(client)
        quiet = [
            not logging.getLogger(name).isEnabledFor(logging.ERROR) for name in ("distributed.client", "distributed")
        ]
    assert all(quiet), "the traceback of a lost scheduler would stand before the one line that says so"
    assert len(versions["workers"]) == 2
    for found in versions["workers"].values():
        assert all(found["packages"][package] for package in dask_shared.SAME_VERSIONS)


def test_workers_that_do_not_see_a_file_say_which(make_cohort, plain_bundle, settings, tmp_path):
    plan = make_plan(make_cohort(["p1"]), plain_bundle, tmp_path, settings)
    probe, files = tmp_path / "probe", {"CT": next(plan.cases()).source}
    probe.touch()
    bundle = (str(plain_bundle), plan.bundle_sha256)
    assert problem_seeing(*bundle, files, str(probe)) is None
    assert problem_seeing(None, None, files, None) is None
    gone = str(tmp_path / "elsewhere")
    assert "bundle is not visible" in str(problem_seeing(gone, plan.bundle_sha256, files, str(probe)))
    assert "another bundle" in str(problem_seeing(str(plain_bundle), "0" * 64, files, str(probe)))
    assert problem_seeing(*bundle, {"CT": gone}, str(probe)) == f"{gone}: the CT is not visible from the workers"
    missing = problem_seeing(*bundle, files, str(tmp_path / "gone" / "probe"))
    assert "result folder is not visible" in str(missing)


def test_workers_without_the_resource_are_refused_with_the_remedy(make_cohort, plain_bundle, settings, tmp_path):
    from distributed import LocalCluster

    options = {"dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, **options) as plain,
        raises_error(InputError, "cluster-no-worker", "--resources", '"GPU=1"'),
    ):
        run_cohort(make_cohort(["p1"]), plain_bundle, tmp_path / "out", settings, scheduler=plain.scheduler_address)


def test_a_scheduler_without_workers_is_waited_for_as_long_as_the_user_says(
    make_cohort, plain_bundle, tmp_path, capsys
):
    from distributed import LocalCluster

    options = {"dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    with LocalCluster(n_workers=0, processes=False, protocol="tcp", **options) as empty:
        address, manifest = empty.scheduler_address, make_cohort(["p1"])
        command = ["cohort", str(manifest), "--bundle", str(plain_bundle), "--out", str(tmp_path / "out")]
        with pytest.raises(SystemExit) as ended:
            main([*command, "--no-calibration", "--scheduler", address, "--wait-s", "1"])
    assert ended.value.code == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "the cluster has no workers; waiting 1 s for the first"
    assert said[1].startswith(f"error: {address}: has no workers, and none came within 1 s; start some")
    assert not (tmp_path / "out" / "cases").exists()


def test_a_device_that_workers_do_not_have_is_refused(make_cohort, plain_bundle, address, settings, tmp_path):
    if sys.platform == "darwin":
        pytest.skip("has the device")
    with raises_error(InputError, "cluster-worker-unfit", "'mps'", "//"):
        run_cohort(
            make_cohort(["p1"]), plain_bundle, tmp_path / "out", replace(settings, device="mps"), scheduler=address
        )
    assert not (tmp_path / "out" / "cases").exists()


def refused(manifest: Path, bundle: Path, out: Path, settings, code: str, *names: str) -> None:
    """No cluster may be looked for: the address leads nowhere."""
    with raises_error((InputError, BundleError), code, *names):
        run_cohort(manifest, bundle, out, settings, scheduler="tcp://127.0.0.1:1")
    assert not (out / "cases").exists()


def test_manifests_with_doubles_or_missing_files_are_refused(make_cohort, plain_bundle, settings, tmp_path):
    out = tmp_path / "out"
    refused(make_cohort(["p1", "p1"]), plain_bundle, out, settings, "case-twice", "line 3", "'p1'")
    refused(make_cohort(["p1", "P1"]), plain_bundle, out, settings, "case-folders-collide")
    manifest = make_cohort(["p1", "p2"])
    (manifest.parent / "ct1.nii.gz").unlink()
    refused(manifest, plain_bundle, out, settings, "file-missing", "line 3: image")
    refused(make_cohort(["p1"]), tmp_path / "no bundle", out, settings, "bundle-missing")


def test_what_every_case_would_be_refused_for_is_refused_at_once(make_cohort, plain_bundle, settings, tmp_path, capsys):
    manifest, out = make_cohort(["p1"]), tmp_path / "out"
    refused(manifest, plain_bundle, out, replace(settings, dicom=True), "no-dicom-source", "line 2: image")
    with pytest.raises(SystemExit) as ended:
        main(["cohort", str(manifest), "--bundle", str(plain_bundle), "--out", str(out), "--rules", "mine"])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: mine: no such rule set")
    assert not out.exists()


def test_folders_of_something_else_are_refused(make_cohort, plain_bundle, settings, tmp_path):
    manifest = make_cohort(["p1"])
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine", encoding="utf-8")
    refused(manifest, plain_bundle, other, settings, "folder-of-others")
    with raises_error(InputError, "not-a-folder"):
        run_cohort(manifest, plain_bundle, other / "thesis.txt", settings)


def test_a_new_folder_that_a_file_manager_has_shown_is_new(make_cohort, plain_bundle, settings, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for name in (".DS_Store", "Thumbs.db", "._cases"):
        (out / name).write_bytes(b"x")
    refused(make_cohort(["p1"]), plain_bundle, out, settings, "cluster-unreachable")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_ct_among_the_cases_of_the_folder_stays(make_cohort, plain_bundle, address, settings, tmp_path, overwrite):
    out = tmp_path / "out"
    manifest = make_cohort(["p1"])
    run_cohort(manifest, plain_bundle, out, settings, scheduler=address)
    image = out / "cases" / "p1" / "probability.nii.gz"
    (manifest.parent / "ct0.nii.gz").replace(image)  # also the commonest way to give a result's own map as input
    manifest.write_text(f"case,image\np1,{image}\n", encoding="utf-8")
    before = image.read_bytes()
    with raises_error(OutputError, "place-of-input", "probability.nii.gz"):
        run_cohort(manifest, plain_bundle, out, settings, scheduler=address, redo=True, overwrite=overwrite)
    assert image.read_bytes() == before


def test_the_folder_of_another_manifest_is_refused(make_cohort, plain_bundle, address, settings, tmp_path):
    out = tmp_path / "out"
    run_cohort(make_cohort(["p1"]), plain_bundle, out, settings, scheduler=address)
    other = make_cohort(["q1"], folder=tmp_path / "another study")
    with raises_error(InputError, "folder-of-another-run"):
        run_cohort(other, plain_bundle, out, settings, scheduler=address)
    record = out / "cases" / "p1" / "case.json"
    before = record.read_bytes()
    namesake = make_cohort(["p0", "p1"], folder=tmp_path / "namesake")
    lines = namesake.read_text(encoding="utf-8").splitlines()
    namesake.write_text("\n".join([lines[0], lines[2]]) + "\n", encoding="utf-8")  # p1 alone, with a CT of its own
    with raises_error(InputError, "folder-of-another-run"):
        run_cohort(namesake, plain_bundle, out, settings, scheduler=address)
    assert record.read_bytes() == before
    longer = make_cohort(["p1", "p2"])
    assert run_cohort(longer, plain_bundle, out, settings, scheduler=address, redo=True).done == 2
    moved = longer.with_name("moved.csv")
    moved.write_bytes(longer.read_bytes())
    assert run_cohort(moved, plain_bundle, out, settings, scheduler=address).unchanged == 2


def test_a_folder_that_cannot_be_written_to_is_named(
    make_cohort, plain_bundle, address, settings, tmp_path, monkeypatch
):
    manifest, out = make_cohort(["p1"]), tmp_path / "out"
    with atomic_folder(out, command=RUN_COMMAND, last="cohort.json") as folder:
        about = json.dumps({"manifest": {"path": str(manifest)}})
        (folder / "cohort.json").write_text(about, encoding="utf-8")
    (out / "cases").write_text("a file where a folder should be", encoding="utf-8")
    with raises_error(OutputError, "not-writable"):
        run_cohort(manifest, plain_bundle, out, settings, scheduler=address)
    monkeypatch.setattr(seen, "STAGING_PREFIX", "too long a name " * 20)
    with raises_error(OutputError, "not-writable"):
        run_cohort(manifest, plain_bundle, out, settings, scheduler=address)


def test_a_place_without_the_right_to_write_is_not_taken_for_a_folder_in_use(
    make_cohort, plain_bundle, settings, tmp_path, monkeypatch
):
    manifest, real = make_cohort(["p1"]), os.open

    def denied(path: object, flags: int, *rest: object, **named: object) -> int:  # as root one may write everywhere
        if flags & os.O_CREAT and str(path).endswith(".twintrack-run"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", denied)
    with raises_error(OutputError, "not-writable"):
        run_cohort(manifest, plain_bundle, tmp_path / "out", settings)


@pytest.mark.skipif(sys.platform == "win32", reason="holds the lock the POSIX way")
def test_a_folder_in_use_by_another_run_is_refused(make_cohort, plain_bundle, settings, tmp_path):
    import fcntl

    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".twintrack-run").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with raises_error(InputError, "folder-locked"):
            run_cohort(make_cohort(["p1"]), plain_bundle, tmp_path / "out", settings)
