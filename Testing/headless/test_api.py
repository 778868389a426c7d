"""What ``import twintrack as tt`` hands out: every name exists, says what it takes, and does what its example shows."""

from __future__ import annotations

import ast
import doctest
import inspect
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import twintrack as tt
from command_line import small_ct
from expected_errors import raises_error
from twintrack.cli.app import run_command
from twintrack.errors import InputError
from twintrack.system.paths import file_sha256

pytestmark = pytest.mark.network

STUB = Path(tt.__file__).with_suffix(".pyi")

MOST_IMPORT_S = 0.3
"""CPU seconds of ``import twintrack``, start of the interpreter left out."""

UNITS = ("degrees", "mm", "HU", "in [0, 1]", "voxel", "(z, y, x)", "(x, y, z)", "mL")
"""What a number or an array can be told to be; a function that takes or gives neither needs none of them."""

BOX = (80, 104, 60, 84, 24, 36)
"""A small part of a phantom, (i0, i1, j0, j1, k0, k1), for runs whose result does not matter."""

UNITLESS = {"load_bundle", "read_calibrator", "write_calibrator", "calibrate", "__version__"}


def functions() -> list[str]:
    return [name for name in tt.__all__ if inspect.isfunction(getattr(tt, name))]


def test_the_stub_names_what_the_package_gives() -> None:
    tree = ast.parse(STUB.read_text(encoding="utf-8"))
    imported = {
        alias.asname: f"{node.module}.{alias.name}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert {"__version__", *imported} == set(tt.__all__)
    for name, origin in imported.items():
        module, _, attribute = origin.rpartition(".")
        assert getattr(tt, name) is getattr(sys.modules[module], attribute)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'segmentt'"):
        tt.segmentt  # noqa: B018
    assert set(tt.__all__) <= set(dir(tt))


@pytest.mark.parametrize("name", [name for name in tt.__all__ if name not in ("__version__", "VESSEL_VALUES")])
def test_every_name_is_described(name: str) -> None:
    value = getattr(tt, name)
    text = inspect.getdoc(value) or ""
    assert len(text.splitlines()[0]) > 20, name
    if inspect.isfunction(value):
        signature = inspect.signature(value)
        assert signature.return_annotation is not inspect.Parameter.empty
        assert "Raises\n------" in text
        for parameter in signature.parameters.values():
            assert parameter.annotation is not inspect.Parameter.empty, parameter
            assert parameter.name in text, f"{name} does not describe {parameter.name}"
        if name not in UNITLESS:
            assert any(unit in text for unit in UNITS), f"{name} names no shape and no unit"


@pytest.mark.parametrize("name", [name for name in tt.__all__ if ">>>" in (inspect.getdoc(getattr(tt, name)) or "")])
def test_examples_do_what_they_show(name: str) -> None:
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for example in doctest.DocTestFinder(recurse=False).find(getattr(tt, name), name, globs={}):
        runner.run(example)
    assert runner.tries > 0
    assert runner.failures == 0


def test_the_main_functions_have_examples() -> None:
    shown = {name for name in functions() if ">>>" in (inspect.getdoc(getattr(tt, name)) or "")}
    assert {"load_bundle", "segment", "read_result", "measure_vessels", "make_phantom", "evaluate_case"} <= shown


def test_import_is_quick_and_light() -> None:
    script = (
        "import json, sys, time\n"
        "begun = time.process_time()\n"
        "import twintrack\n"
        "took = time.process_time() - begun\n"
        "print(json.dumps([took, sorted({name.split('.')[0] for name in sys.modules})]))\n"
    )
    runs = [
        json.loads(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(took for took, _ in runs) < MOST_IMPORT_S
    assert not {"torch", "nnunetv2", "SimpleITK", "scipy", "numpy", "typer"} & set(runs[0][1])


@pytest.fixture(scope="module")
def case() -> tt.PhantomCase:
    return tt.make_phantom(7)


@pytest.fixture(scope="module")
def segmented(case) -> tt.SegmentResult:
    with tt.load_bundle("demo") as model:
        return tt.segment(case.ct, model, device="cpu", case="seven")


def test_a_result_comes_back_as_it_was_saved(segmented, tmp_path) -> None:
    folder = segmented.save(tmp_path / "result")
    read = tt.read_result(folder)
    assert np.array_equal(read.probability.array, segmented.probability.array)
    assert np.array_equal(read.labels.array, segmented.labels.array)
    assert read.probability.geometry.same_grid(segmented.probability.geometry)
    written = {name: read.summary.pop(name) for name in ("vessels_sha256",)}
    assert written == {"vessels_sha256": file_sha256(folder / "vessels.nii.gz")}
    seconds = read.summary.pop("seconds")
    before = dict(segmented.summary)
    assert before.pop("seconds").items() < seconds.items()  # writing takes time too
    assert read.summary == json.loads(json.dumps(before))
    assert read.vessels == json.loads(json.dumps(segmented.vessels))
    assert read.warnings == segmented.warnings
    assert read.label_names["tumor"] == 1
    assert np.array_equal(read.vessel_map.array, segmented.vessel_map.array)
    assert read.vessel_names == segmented.vessel_names == tt.VESSEL_VALUES
    measured = tt.measure_vessels(read.probability, read.vessel_map, read.vessel_names)
    assert set(measured.vessels) == set(segmented.vessels["vessels"])


def test_a_result_of_an_earlier_version_opens_without_whole_vessels(segmented, tmp_path) -> None:
    folder = segmented.save(tmp_path / "result")
    stated = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    del stated["vessel_values"]
    (folder / "result.json").write_text(json.dumps(stated), encoding="utf-8")
    read = tt.read_result(folder)
    assert (read.vessel_map, read.vessel_names) == (None, {})


def test_a_missing_or_foreign_file_of_the_vessels_is_named(segmented, tmp_path) -> None:
    folder = segmented.save(tmp_path / "result")
    shifted = replace(segmented.vessel_map.geometry, origin_mm=(0.0, 0.0, 0.0))
    tt.write_volume(tt.Volume(segmented.vessel_map.array, shifted), folder / "vessels.nii.gz")
    with raises_error(tt.InputError, "grid-differs", "vessels.nii.gz"):
        tt.read_result(folder)
    tt.write_volume(segmented.probability, folder / "vessels.nii.gz")
    with raises_error(tt.InputError, "result-malformed", "vessels.nii.gz"):
        tt.read_result(folder)
    (folder / "vessels.nii.gz").unlink()
    with raises_error(tt.InputError, "file-missing", "vessels.nii.gz"):
        tt.read_result(folder)


def test_a_result_says_which_ct_it_belongs_to(segmented) -> None:
    stated = segmented.summary["input"]
    assert (stated["case"], stated["name"]) == ("seven", None)
    assert len(stated["sha256"]) == 64


def test_the_library_writes_what_the_command_writes(segmented, tmp_path) -> None:
    folder = segmented.save(tmp_path / "by_library")
    tt.write_volume(segmented.ct.volume, tmp_path / "ct.nii.gz")
    bundle = Path(tt.__file__).parent / "data" / "demo_bundle"
    command = ["segment", str(tmp_path / "ct.nii.gz"), "--bundle", str(bundle)]
    assert run_command([*command, "--device", "cpu", "--out", str(tmp_path / "by_command")]) == 0
    names = [{path.name for path in place.iterdir()} for place in (folder, tmp_path / "by_command")]
    assert names[0] == names[1]
    theirs, ours = tt.read_result(tmp_path / "by_command"), tt.read_result(folder)
    np.testing.assert_allclose(theirs.probability.array, ours.probability.array, atol=1e-5)
    assert set(theirs.summary) == set(ours.summary)


def test_a_saved_result_is_not_written_over_foreign_files(segmented, tmp_path) -> None:
    (tmp_path / "overview.png").write_text("mine")
    with raises_error(tt.OutputError, "place-taken", "overview.png"):
        segmented.save(tmp_path)
    assert (tmp_path / "overview.png").read_text() == "mine"


def test_a_result_becomes_dicom_with_the_series_it_was_made_from(case, tmp_path) -> None:
    from twintrack.dicom import write_ct_series

    write_ct_series(case.ct, tmp_path / "series", description="CT")
    with tt.load_bundle("demo") as model:
        result = tt.segment(tmp_path / "series", model, device="cpu")
    files = result.save_dicom(tmp_path / "dicom", tmp_path / "series")
    assert {path.name for path in files} == {"probability.dcm", "segmentation.dcm", "report.dcm"}
    read = tt.read_result(result.save(tmp_path / "result"))
    again = read.save_dicom(tmp_path / "again", tmp_path / "series", labelmap=True)
    assert (tmp_path / "again" / "labelmap.dcm") in again
    write_ct_series(small_ct((1, 0, 0, 0, 1, 0, 0, 0, 1)), tmp_path / "other", description="CT")
    with raises_error(tt.InputError, "grid-differs"):
        result.save_dicom(tmp_path / "wrong", tmp_path / "other")
    assert not (tmp_path / "wrong").exists()


def test_what_cannot_be_segmented_is_refused(case) -> None:
    with tt.load_bundle("demo") as model:
        with raises_error(tt.InputError, "not-hounsfield", "CT", "HU"):
            tt.segment(case.vessels, model)
        with raises_error(tt.InputError, "option-unknown", "'treshold'"):
            tt.segment(case.ct, model, treshold=0.3)
        with raises_error(tt.InputError, "threshold-range"):
            tt.segment(case.ct, model, threshold=3)


def test_calibrate_and_evaluate_as_the_commands_do(tmp_path) -> None:
    from twintrack.phantom import write_cohort

    manifest = write_cohort(tmp_path / "study", cases=2, raters=3, seed=41000)
    rows = manifest.read_text(encoding="utf-8").splitlines()
    place = rows[0].split(",").index("true_mhr") if "true_mhr" in rows[0] else None
    assert place is not None
    for column in ("score", "probability"):
        head = rows[0].split(",")
        head[place] = column
        (tmp_path / "study" / f"{column}.csv").write_text("\n".join([",".join(head), *rows[1:]]) + "\n")
    calibrator = tt.calibrate(tmp_path / "study" / "score.csv", resamples=5)
    assert (calibrator.cases, calibrator.raters) == (2, 3)
    tt.write_calibrator(calibrator, tmp_path / "c.json")
    assert tt.read_calibrator(tmp_path / "c.json").knots_y == calibrator.knots_y
    summary = tt.evaluate(tmp_path / "study" / "probability.csv", tmp_path / "out", bootstrap=10)
    assert summary["cases"] == 2
    assert summary == json.loads((tmp_path / "out" / "summary.json").read_text())


def test_a_model_that_is_closed_says_so_and_a_bundle_can_be_given_in_its_place(case) -> None:
    model = tt.load_bundle("demo")
    model.close()
    with raises_error(tt.InputError, "model-closed"):
        tt.segment(case.ct, model)
    assert tt.segment(case.ct, "demo", device="cpu", roi=BOX).summary["bundle"]["demo"]


def test_dicom_objects_of_what_is_no_series_are_refused_before_the_networks_run(case) -> None:
    with tt.load_bundle("demo") as model, raises_error(tt.InputError, "no-dicom-source", "DICOM"):
        tt.segment(case.ct, model, dicom=True)


def test_two_threads_with_one_model_get_what_each_asked_for(case) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with tt.load_bundle("demo") as model, ThreadPoolExecutor(2) as pool:
        asked = ["torch", "auto", "torch"]
        runs = [pool.submit(tt.segment, case.ct, model, device="cpu", backend=backend, roi=BOX) for backend in asked]
        found = [run.result().summary["engine"]["backend"] for run in runs]
    assert [found[0], found[2]] == ["torch", "torch"]


def test_vessels_are_never_measured_by_numbers_that_nobody_named(segmented) -> None:
    with raises_error(InputError, "vessel-names-missing"):
        tt.measure_vessels(segmented.probability, segmented.labels)


def test_stray_voxels_left_out_of_a_vessel_are_told(case) -> None:
    stray = case.vessels.array.copy()
    stray[0, 0, 0] = tt.VESSEL_VALUES["SMV"]
    found = tt.measure_vessels(case.true_mhr, case.vessels.with_array(stray), tt.VESSEL_VALUES)
    assert found.warnings == ("1 piece of SMV below 60 mm3 left out",)


def test_a_result_is_short_to_look_at(segmented) -> None:
    assert len(repr(segmented)) < 120
    assert segmented == segmented


@pytest.mark.parametrize("name", ["mask.png", "mask.dcm", "mask"])
def test_a_volume_is_written_only_to_a_volume_file(segmented, tmp_path, name) -> None:
    with raises_error(tt.OutputError, "volume-ending"):
        tt.write_volume(segmented.labels, tmp_path / name)
    assert not list(tmp_path.iterdir())
