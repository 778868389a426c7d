"""Where the networks are compiled, a run needs neither torch nor nnU-Net, and gives what it gives with them."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from twintrack.bundle.model_bundle import Bundle
from twintrack.inference import NetworkStore, may_have_gpu
from twintrack.io.volumes import write_volume
from twintrack.phantom import make_phantom
from twintrack.volume import Volume

pytest.importorskip("openvino", reason="OpenVINO is not installed")
pytestmark = [
    pytest.mark.process,
    pytest.mark.network,
    pytest.mark.skipif(may_have_gpu(), reason="torch is asked whether there is a graphics card"),
]

COMMAND = """
import sys
from twintrack.cli.app import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    assert ended.code == 0, ended.code
print("packages:", *sorted({"torch", "nnunetv2", "acvl_utils", "batchgenerators"} & set(sys.modules)))
"""
SAME_BYTES = ("probability.nii.gz", "score.nii.gz", "segmentation.nii.gz", "vessels.nii.gz", "invasion.json")


def packages_of(command: list[str | Path], environment: dict[str, str]) -> list[str]:
    """Run a command of twintrack in a process of its own; return which of the packages it imported."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, command)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()[1:]


def test_the_first_run_of_a_bundle_compiles_it_by_torch_and_later_ones_give_the_same_without(tmp_path: Path) -> None:
    ct = tmp_path / "ct.nii.gz"
    write_volume(make_phantom(43000).ct, ct)
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "LOCALAPPDATA": str(tmp_path / "cache")}
    command = ["segment", ct, "--bundle", "demo", "--keep-score", "--out"]
    first = packages_of([*command, tmp_path / "first"], environment)
    again = packages_of([*command, tmp_path / "again"], environment)
    assert {"torch", "nnunetv2"} <= set(first)
    assert again == []
    for name in SAME_BYTES:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "first" / name).read_bytes(), name
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("first", "again")]
    assert [result["engine"]["backend"] for result in results] == ["openvino", "openvino"]
    for key in ("volume_ml", "lesions", "statements", "warnings", "device"):
        assert results[0][key] == results[1][key]


def test_a_cohort_s_workers_need_no_torch_whatever_number_of_threads_they_have(
    make_bundle: Callable[..., Path], make_ct: Callable[..., Volume], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_bundle(vessel_labels={}, out=tmp_path / "bundle")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with Bundle.open(folder) as bundle:
        NetworkStore("cpu", "openvino").load_all(bundle)
    absent = tmp_path / "absent"
    for name in ("torch", "nnunetv2"):
        (absent / name).mkdir(parents=True)
        (absent / name / "__init__.py").write_text("raise ImportError('this computer has no such package')\n")
    write_volume(make_ct((40, 36, 20)), tmp_path / "ct.nii.gz")
    with (tmp_path / "m.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["case", "image"], ["a", "ct.nii.gz"]])
    command = ["cohort", tmp_path / "m.csv", "--bundle", folder, "--roi", "full", "--no-calibration", "--workers", "1"]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    paths = os.pathsep.join([str(absent), *(path for path in sys.path if path)])
    packages = packages_of([*command, "--out", tmp_path / "out"], os.environ | {"PYTHONPATH": paths})
    assert packages == []
    result = json.loads((tmp_path / "out" / "cases" / "a" / "result.json").read_text())
    assert result["engine"]["backend"] == "openvino"
    assert result["engine"]["notes"] == []


def test_a_network_that_is_not_compiled_brings_torch_in(
    make_bundle: Callable[..., Path], make_ct: Callable[..., Volume], tmp_path: Path
) -> None:
    folder = make_bundle(vessel_labels={}, out=tmp_path / "bundle")
    write_volume(make_ct((40, 36, 20)), tmp_path / "ct.nii.gz")
    options = ["--roi", "full", "--no-calibration", "--backend", "torch", "--out", tmp_path / "out"]
    packages = packages_of(["segment", tmp_path / "ct.nii.gz", "--bundle", folder, *options], dict(os.environ))
    assert {"torch", "nnunetv2"} <= set(packages)
    assert np.isfinite(json.loads((tmp_path / "out" / "result.json").read_text())["volume_ml"]["expected"])
