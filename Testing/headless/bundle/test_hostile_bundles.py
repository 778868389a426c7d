"""Bundles that a stranger bent: each command refuses them with one line, at once, and before memory is taken."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from expected_errors import raises_error
from twintrack.bundle.architecture import read_architecture
from twintrack.bundle.archive import extract_bundle_zip
from twintrack.bundle.checkpoints import read_checkpoint
from twintrack.bundle.model_bundle import Bundle, demo_bundle_path
from twintrack.bundle.nnunet_plans import check_dataset, check_plans
from twintrack.cli.app import run_command
from twintrack.errors import BundleError

DEMO = demo_bundle_path()
PLANS = json.loads((DEMO / "fine" / "plans.json").read_text())
Edit = Callable[[dict[str, Any]], object]


def configuration(plans: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = plans["configurations"]["3d_fullres"]
    return found


def put(**values: Any) -> Edit:
    return lambda plans: configuration(plans).update(values)


def arch(**values: Any) -> Edit:
    return lambda plans: configuration(plans)["architecture"]["arch_kwargs"].update(values)


def hu(**values: Any) -> Edit:
    return lambda plans: plans["foreground_intensity_properties_per_channel"]["0"].update(values)


def resampling(**values: Any) -> Edit:
    return put(resampling_fn_data_kwargs=values)


HOSTILE: dict[str, tuple[Edit, str]] = {
    "1e5 convolutions": (arch(n_conv_per_stage=[100_000] * 4), "n_conv_per_stage must be a whole number from 1 to 32"),
    "1e7 convolutions": (arch(n_conv_per_stage=10**7), "n_conv_per_stage must be a whole number from 1 to 32"),
    "1e7 in the decoder": (arch(n_conv_per_stage_decoder=[10**7] * 3), "n_conv_per_stage_decoder must be"),
    "no convolution": (arch(n_conv_per_stage=[0, 1, 1, 1]), "n_conv_per_stage must be"),
    "features": (arch(features_per_stage=[8, 16, 32, 10**9]), "features_per_stage must be"),
    "stages": (arch(n_stages=10**6), "n_stages must be a whole number from 2 to 12"),
    "fewer strides than stages": (arch(strides=[[1, 1, 1]]), "strides must have 4 entries"),
    "large stride": (arch(strides=[[1, 1, 1], [2, 2, 2], [2, 2, 2], [64, 2, 2]]), "strides must be"),
    "first stride": (arch(strides=[[2, 2, 2]] * 4), "strides must begin with 1"),
    "even kernel": (arch(kernel_sizes=[[2, 3, 3]] * 4), "kernel_sizes must be odd"),
    "large kernel": (arch(kernel_sizes=101), "kernel_sizes must be a whole number from 1 to 11"),
    "two-dimensional kernel": (arch(kernel_sizes=[[3, 3]] * 4), "three numbers a stage"),
    "unknown argument": (arch(evil=1), "holds 'evil'"),
    "unknown option": (arch(nonlin_kwargs={"evil": 1}), "'evil' = 1, which is not on the list"),
    "option out of its range": (arch(norm_op_kwargs={"eps": -1.0}), "'eps' = -1.0"),
    "operator by name alone": (
        lambda plans: configuration(plans)["architecture"].update(_kw_requires_import=["norm_op", "nonlin"]),
        "'conv_op' must stand in '_kw_requires_import'",
    ),
    "spacing 1e-9": (put(spacing=[1e-9] * 3), "spacing must be three lengths from 0.05 to 20 mm"),
    "spacing 5e-324": (put(spacing=[5e-324] * 3), "spacing must be three lengths"),
    "spacing 0.01": (put(spacing=[0.01] * 3), "spacing must be three lengths"),
    "spacing 1e9": (put(spacing=[1e9] * 3), "spacing must be three lengths"),
    "order 99": (resampling(order=99, order_z=-1, force_separate_z="x"), "'order' = 99"),
    "order true": (resampling(order=True), "'order' = True"),
    "segmentation for an image": (resampling(is_seg=True), "'is_seg' = True"),
    "unknown keyword": (resampling(evil=1), "'evil' = 1"),
    "patch 1": (put(patch_size=[1, 1, 1]), "patch_size must have at least 512 voxels"),
    "patch odd": (put(patch_size=[31, 63, 65]), "must be a multiple of [8, 8, 8]"),
    "patch of the strides": (put(patch_size=[8, 8, 8]), "leaves a single voxel"),
    "patch 1024": (put(patch_size=[1024, 1024, 1024]), "needs about"),
    "negative deviation": (hu(std=-1.0), "'std' must be above 0"),
    "mean of 1e300": (hu(mean=1e300), "'mean' must lie within 100000 HU"),
    "percentiles": (hu(percentile_00_5=300.0, percentile_99_5=-300.0), "'percentile_00_5' must lie below"),
    "inherits null": (put(inherits_from=None), "'inherits_from' must name a configuration, got None"),
}


@pytest.fixture(scope="module")
def bent(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bytes], Path]:
    """Return a function that puts other content in one file of a copy of the demo bundle, with the right hash."""
    folder = Path(shutil.copytree(DEMO, tmp_path_factory.mktemp("bent") / "demo"))

    def bend(name: str, content: bytes) -> Path:
        for original in ("fine/plans.json", "fine/dataset.json", "calibrator.json", "bundle.json"):
            (folder / original).write_bytes((DEMO / original).read_bytes())
        shutil.copy(DEMO / "fine/fold_0/checkpoint_final.pth", folder / "fine/fold_0")
        (folder / name).write_bytes(content)
        document = json.loads((DEMO / "bundle.json").read_bytes())
        document["files"][name] = hashlib.sha256(content).hexdigest()
        (folder / "bundle.json").write_text(json.dumps(document))
        return folder

    return bend


def refused(arguments: list[object], capsys: pytest.CaptureFixture[str], words: str) -> None:
    code = run_command([str(argument) for argument in arguments])
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    (line,) = said.err.splitlines()
    assert line.startswith("error: ")
    assert line.isprintable()
    assert words in line


@pytest.mark.parametrize("kind", HOSTILE)
def test_plans_out_of_their_ranges_are_refused_with_one_line(
    bent: Callable[[str, bytes], Path], capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    edit, words = HOSTILE[kind]
    plans = copy.deepcopy(PLANS)
    edit(plans)
    refused(["bundle", "verify", bent("fine/plans.json", json.dumps(plans).encode())], capsys, words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[" * 100_000, "nested deeper than 32 levels"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "nested deeper than 32 levels"),
        (b'{"a": NaN}', "holds NaN"),
        (b'{"a": 1e999}', "a number that is too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a whole number of 5000 digits"),
        (b'{"a": 1, "a": 2}', "the key 'a' twice"),
        (b'{"a": "' + b"x" * (16 * 1024**2) + b'"}', "larger than the 16,777,216 bytes"),
        ("{}".encode("utf-16"), "not UTF-8"),
    ],
)
def test_json_beyond_the_standard_or_the_limits_is_refused(
    bent: Callable[[str, bytes], Path], capsys: pytest.CaptureFixture[str], content: bytes, words: str
) -> None:
    refused(["bundle", "show", bent("fine/plans.json", content)], capsys, words)


@pytest.mark.slow
def test_every_command_that_opens_a_bundle_refuses_it_in_the_same_way(
    bent: Callable[[str, bytes], Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plans = copy.deepcopy(PLANS)
    arch(n_conv_per_stage=10**7)(plans)
    folder, out = bent("fine/plans.json", json.dumps(plans).encode()), tmp_path / "out"
    (tmp_path / "m.csv").write_text("case,image\na,a.nii.gz\n")
    (tmp_path / "a.nii.gz").write_bytes(b"")
    for arguments in (
        ["bundle", "show", folder],
        ["segment", tmp_path / "a.nii.gz", "--bundle", folder, "--out", out],
        ["cohort", tmp_path / "m.csv", "--bundle", folder, "--out", out],
        ["serve", "--bundle", folder, "--port", 0],
    ):
        refused(arguments, capsys, "n_conv_per_stage must be" if arguments[0] != "segment" else "error")
    assert not out.exists()


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ({"background": 0, "tumor": 2, "ignore": 1}, "'ignore' must be 3"),
        ({"background": 0, "tumor": 1, "ignore": [2]}, "'ignore' must be 2"),
        ({"background": 0, "tu\x1b[31mmor": 1}, "x1b[31mmor"),
        ({"background": 0, "x" * 300: 1}, "xxx"),
        ({"background": 0, **{f"n{i}": i for i in range(1, 256)}, "m": 1}, "257"),
    ],
)
def test_labels_that_nnunet_does_not_take_are_refused(labels: dict[str, Any], name: str) -> None:
    with raises_error(BundleError, "dataset-labels", name):
        check_dataset({"channel_names": {"0": "CT"}, "labels": labels}, "dataset.json")


def test_an_ignore_label_above_the_others_is_taken() -> None:
    check_dataset({"channel_names": {"0": "CT"}, "labels": {"background": 0, "tumor": 1, "ignore": 2}}, "dataset.json")


@pytest.mark.parametrize("kind", ["plain", "residual", "bottleneck", "batch norm", "one number for all", "PReLU"])
def test_the_parameters_that_plans_promise_are_those_of_the_network(kind: str, tiny_plans, tiny_dataset) -> None:
    from twintrack.inference.nnunet_model import build_network, read_stage

    plans = tiny_plans()
    architecture = configuration(plans)["architecture"]
    given = architecture["arch_kwargs"]
    if kind in ("residual", "bottleneck"):
        architecture["network_class_name"] = architecture["network_class_name"].replace("PlainConv", "ResidualEncoder")
        del given["n_conv_per_stage"]
        given["n_blocks_per_stage"] = [1, 2, 3]
    if kind == "bottleneck":
        block = "dynamic_network_architectures.building_blocks.residual.BottleneckD"
        given |= {"block": block, "bottleneck_channels": [3, 4, 5], "stem_channels": 6}
        architecture["_kw_requires_import"].append("block")
    if kind == "batch norm":
        given |= {"norm_op": "torch.nn.BatchNorm3d", "norm_op_kwargs": {"eps": 1e-5}, "conv_bias": False}
    if kind == "one number for all":
        given |= {"features_per_stage": 7, "kernel_sizes": 3, "n_conv_per_stage": 2, "n_conv_per_stage_decoder": 1}
    if kind == "PReLU":
        given |= {"nonlin": "torch.nn.PReLU", "nonlin_kwargs": {}}
    dataset = tiny_dataset({"background": 0, "a": 1, "b": 2})
    found = read_architecture(check_plans(plans, "3d_fullres", "plans.json"), "plans.json")
    network = build_network(read_stage(Path("x"), plans, dataset, "3d_fullres", False))
    assert found.parameters(3) == sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("stage", ["coarse", "fine"])
def test_the_public_models_fit_into_a_small_computer_by_the_formula(test_data: Path, stage: str) -> None:
    plans = json.loads((test_data / "reference/panorama_plans" / stage / "plans.json").read_text())
    checked = check_plans(plans, "3d_fullres", "plans.json")
    found = read_architecture(checked, "plans.json")
    parameters, measured_gb = {"coarse": (16_465_096, 0.535), "fine": (30_707_523, 1.717)}[stage]
    heads = {"coarse": 2, "fine": 7}[stage]
    assert found.parameters(heads) == parameters
    assert measured_gb <= found.activation_bytes(checked["patch_size"], heads) / 1e9 <= 1.25 * measured_gb


def test_a_ct_that_is_too_large_at_the_networks_voxel_size_is_refused_before_it_is_resampled() -> None:
    import numpy as np

    from twintrack.errors import InputError
    from twintrack.inference.nnunet_model import open_stage
    from twintrack.inference.preprocess import preprocess

    with Bundle.open(DEMO) as bundle:
        stage = open_stage(bundle, "coarse")
    stage.configuration["spacing"] = [0.05, 0.05, 0.05]
    ct = np.ones((200, 256, 256), np.int16)
    with raises_error(InputError, "no-memory", "12000", "5120"):
        preprocess(ct, (3.0, 1.0, 1.0), stage)
    with raises_error(InputError, "no-memory"):  # few voxels, but a matrix of the spline for each
        preprocess(np.ones((20_000, 1, 1), np.int16), (20.0, 0.05, 0.05), stage)


def test_a_patch_to_which_the_ct_would_be_padded_beyond_the_memory_is_refused_before_that() -> None:
    import numpy as np

    from twintrack.errors import InputError
    from twintrack.inference.nnunet_model import open_stage
    from twintrack.inference.preprocess import preprocess

    with Bundle.open(DEMO) as bundle:
        stage = open_stage(bundle, "fine")
    stage.configuration["patch_size"] = [8192, 8192, 8192]
    with raises_error(InputError, "no-memory", "8192", "TB"):
        preprocess(np.ones((20, 30, 30), np.int16), (2.0, 1.6, 1.6), stage)


def repacked(source: Path, target: Path, change: Callable[[str, bytes], bytes], packed: bool = False) -> Path:
    method = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w", method) as copied:
        for entry in archive.infolist():
            copied.writestr(entry.filename, change(entry.filename, archive.read(entry)))
    return target


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    import torch

    path = tmp_path / "checkpoint_final.pth"
    torch.save({"network_weights": {"a": torch.arange(3, dtype=torch.float32)}}, path)
    return path


def test_a_checkpoint_whose_records_are_packed_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    bomb = repacked(checkpoint, tmp_path / "bomb.pth", lambda name, data: data + bytes(10**7), packed=True)
    with raises_error(BundleError, "checkpoint-damaged"):
        read_checkpoint(bomb)


def test_a_storage_that_is_larger_than_its_record_is_refused_and_not_read_beyond_its_end(
    checkpoint: Path, tmp_path: Path
) -> None:
    path = repacked(
        checkpoint, tmp_path / "beyond.pth", lambda name, data: data[:-1] if name.endswith("data/0") else data
    )
    with raises_error(BundleError, "checkpoint-damaged", "'0'"):
        read_checkpoint(path)


def test_a_tensor_of_more_numbers_than_its_storage_is_refused(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "checkpoint_final.pth"
    torch.save({"network_weights": {"a": torch.zeros(1).expand(10**6, 10**6)}}, path)
    assert path.stat().st_size < 5000
    with raises_error(BundleError, "checkpoint-damaged", "000"):
        read_checkpoint(path)


def test_a_pickle_that_asks_for_memory_by_a_plain_name_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    call = b"\x80\x02c__builtin__\nbytearray\n\x8a\x06" + (10**13).to_bytes(6, "little") + b"\x85R."
    path = repacked(checkpoint, tmp_path / "greedy.pth", lambda name, data: call if name.endswith("data.pkl") else data)
    with raises_error(BundleError, "checkpoint-refused"):
        read_checkpoint(path)


def test_weights_of_other_shapes_are_refused_before_they_are_converted(
    bent: Callable[[str, bytes], Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import torch

    weights = read_checkpoint(DEMO / "fine/fold_0/checkpoint_final.pth")
    name = next(iter(weights["network_weights"]))
    weights["network_weights"][name] = torch.zeros(5)
    torch.save(weights, tmp_path / "other.pth")
    folder = bent("fine/fold_0/checkpoint_final.pth", (tmp_path / "other.pth").read_bytes())
    refused(["bundle", "verify", folder], capsys, f"size mismatch for {name}")


def zip_of(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("entries", "error"),
    [
        ({"bundle.json": bytes(80 * 1024**2)}, ("bundle-too-large",)),
        ({"a\x1b[2Jb": b""}, ("archive-entry-refused",)),
        ({"a\u202eb": b""}, ("archive-entry-refused",)),
        ({"/".join("abcdefghijk"): b""}, ("archive-entry-refused",)),
        ({"a" * 300: b""}, ("archive-entry-refused",)),
        ({f"{n}": b"" for n in range(300)}, ("bundle-too-large", "300")),
        ({f"{n}": b"" for n in range(1300)}, ("archive-damaged", "1256")),
    ],
)
def test_zips_that_grow_or_name_what_they_may_not_are_refused(
    tmp_path: Path, entries: dict[str, bytes], error: tuple[str, ...]
) -> None:
    path = zip_of(tmp_path / "b.zip", entries)
    (tmp_path / "out").mkdir()
    with raises_error(BundleError, *error) as caught:
        extract_bundle_zip(path, tmp_path / "out")
    assert str(caught.value).isprintable()


def test_a_zip_with_a_list_of_a_million_files_is_refused_before_it_is_read(tmp_path: Path) -> None:
    entry = b"PK\x01\x02" + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"a"
    listed = entry * 200_000
    end = b"PK\x05\x06" + bytes(8) + struct.pack("<LLH", len(listed), 0, 0)
    (tmp_path / "many.zip").write_bytes(listed + end)
    (tmp_path / "out").mkdir()
    with raises_error(BundleError, "archive-damaged"):
        extract_bundle_zip(tmp_path / "many.zip", tmp_path / "out")


def test_a_zip_whose_files_share_their_bytes_is_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "b.zip", {"a": b"x" * 100, "b": b"x" * 100}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    second = content.rfind(b"PK\x01\x02")
    content[second + 42 : second + 46] = bytes(4)  # where the second file starts: at the first
    path.write_bytes(content)
    (tmp_path / "out").mkdir()
    with raises_error(BundleError, "archive-damaged"):
        extract_bundle_zip(path, tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plans.json", "dataset.json", "dataset_fingerprint.json"])
def test_a_hostile_results_folder_is_refused_with_one_line(
    coarse_results: Path, fine_results: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    fine = Path(shutil.copytree(fine_results, tmp_path / fine_results.name))
    (fine / name).write_bytes(b"[" * 100_000)
    arguments = ["bundle", "create", "--coarse", coarse_results, "--fine", fine, "--out", tmp_path / "b"]
    refused(arguments, capsys, f"{name}: cannot be read (it is nested deeper")
    assert not (tmp_path / "b").exists()
