"""What is imported when: nothing heavy to begin with, and no more than the networks need before the first run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from twintrack.bundle.model_bundle import Bundle
from twintrack.inference import NetworkStore, may_have_gpu

pytestmark = pytest.mark.process

HEAVY = {
    "torch",
    "nnunetv2",
    "openvino",
    "scipy",
    "SimpleITK",
    "pydicom",
    "highdicom",
    "matplotlib",
    "sklearn",
    "skimage",
    "pydantic_core",
}
NOT_FOR_NETWORKS = {
    "torch._dynamo",
    "torch._inductor",
    "torchvision",
    "timm",
    "matplotlib",
    "highdicom",
    "sklearn",
    "dask",
    "openvino_telemetry",
    "pandas",
    "nnunetv2.inference.predict_from_raw_data",
    "nnunetv2.training",
}
PROGRAMS = {"twintrack.cli.app", "twintrack.execution.worker.__main__"}
FOR_BUILDING_NETWORKS = {"torch", "nnunetv2", "acvl_utils", "batchgenerators", "dynamic_network_architectures"}


def modules(statements: str, *arguments: str) -> list[set[str]]:
    """Run statements in a fresh interpreter; return the sets of module names that they show."""
    head = "import json, sys\ndef show(): print(json.dumps(sorted(sys.modules)))\n"
    done = subprocess.run(
        [sys.executable, "-c", head + statements, *arguments], capture_output=True, text=True, check=True
    )
    return [set(json.loads(line)) for line in done.stdout.splitlines()]


def tops(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize(
    "name",
    [
        "twintrack",
        "twintrack.cli.app",
        "twintrack.execution.worker.__main__",
        "twintrack.execution.worker.serve",
        "twintrack.inference",
        "twintrack.calibration",
        "twintrack.bundle.model_bundle",
    ],
)
def test_importing_a_part_of_the_package_imports_nothing_heavy(name):
    (found,) = modules(f"import {name}\nshow()\n")
    assert not tops(found) & HEAVY
    assert name not in PROGRAMS or "numpy" not in found, "it reads once, when imported, how many threads it may use"


def test_what_slicers_side_reads_before_anything_is_installed_needs_no_package():
    old = Path(__file__).resolve().parents[2] / "old_files"
    statements = """
from pathlib import Path
sys.modules["pydantic"] = sys.modules["pydantic_core"] = sys.modules["psutil"] = None
from twintrack.bundle.schema import parse_bundle_json
from twintrack.results.schema import read_invasion_json, read_result_json
old = Path(sys.argv[1])
parse_bundle_json((old / "bundle_1.json").read_bytes(), "bundle.json")
read_result_json(old / "result_1.json")
read_invasion_json(old / "invasion_2.json")
show()
"""
    (found,) = modules(statements, str(old))
    assert "twintrack.results.schema" in found


RUN = """
from twintrack.inference import NetworkStore, import_packages, roi_full, score_ensemble, localize
import_packages()
show()
import numpy as np
from twintrack.bundle.model_bundle import Bundle
from twintrack.volume import Geometry, Volume
noise = np.random.default_rng(0).normal(0, 100, (16, 32, 32)).astype(np.float32)
ct = Volume(noise, Geometry((32, 32, 16), (1.5, 1.5, 3.0)))
with Bundle.open(sys.argv[1]) as bundle:
    store = NetworkStore("cpu", sys.argv[2])
    localize(ct, bundle, store=store)
    score_ensemble(ct, roi_full(ct.geometry), bundle, store=store)
show()
"""


def test_a_worker_that_serves_by_torch_imports_ahead_what_networks_need_and_not_more(bundle_folder):
    ahead, after = modules("sys.modules['openvino'] = None\n" + RUN, str(bundle_folder), "torch")
    assert not ahead & NOT_FOR_NETWORKS
    assert "torch" in ahead
    packages = {"torch", "nnunetv2", "acvl_utils", "dynamic_network_architectures", "scipy", "skimage"}
    late = {name for name in after - ahead if name.split(".")[0] in packages}
    assert tops(late) <= tops(ahead), "a whole package was still to be imported"
    assert not {name for name in late if name.startswith("nnunetv2")}


def test_a_worker_whose_networks_are_compiled_imports_neither_torch_nor_nnunet(bundle_folder):
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    if may_have_gpu():
        pytest.skip("torch is asked whether there is a graphics card")
    with Bundle.open(bundle_folder) as bundle:
        NetworkStore("cpu", "openvino").load_all(bundle)
    ahead, after = modules(RUN, str(bundle_folder), "auto")
    assert not after & (NOT_FOR_NETWORKS | FOR_BUILDING_NETWORKS)
    packages = {"openvino", "scipy"}
    assert packages <= tops(ahead)
    assert tops(after - ahead) & packages <= tops(ahead)
