"""The engine gives the same map however the CT lies in its file, and refuses what does not belong together."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import twintrack
from expected_errors import raises_error
from twintrack.bundle.model_bundle import Bundle, demo_bundle_path
from twintrack.calibration import read_calibrator, write_calibrator
from twintrack.cli.app import run_command
from twintrack.errors import BundleError, Cancelled, InputError
from twintrack.invasion import DEFAULT_CONTACT_MM
from twintrack.io.ct import Ct
from twintrack.io.volumes import read_volume, write_volume
from twintrack.phantom import make_phantom
from twintrack.pipeline import chosen_calibrator, segment
from twintrack.progress.callbacks import CancelToken
from twintrack.results.folder import describe
from twintrack.settings import SegmentSettings
from twintrack.volume import Geometry, Volume

pytestmark = pytest.mark.network

DEMO = Path(twintrack.__file__).parent / "data" / "demo_bundle"


@pytest.fixture(scope="module")
def bundle(make_bundle):
    with Bundle.open(make_bundle()) as opened:
        yield opened


@pytest.fixture(scope="module")
def plain(plain_bundle):
    with Bundle.open(plain_bundle) as opened:
        yield opened


def lps_ct() -> Volume:
    geometry = Geometry((26, 30, 14), (1.4, 1.3, 3.1), (-10.0, 20.0, -50.0))
    array = np.random.default_rng(3).normal(0, 80, geometry.shape)
    return Volume(array.astype(np.int16), geometry)


def turned(ct: Volume, order: tuple[int, ...], flips: tuple[int, ...]) -> Volume:
    """The same CT stored with permuted index axes (x, y, z), the given ones reversed."""
    affine, size = ct.geometry.affine, np.array(ct.geometry.size)
    array = ct.array.transpose(2, 1, 0).transpose(order)
    direction, spacing = affine[:3, :3][:, order], np.array(ct.geometry.spacing_mm)[list(order)]
    origin, size = affine[:3, 3].copy(), size[list(order)]
    for axis in flips:
        array = np.flip(array, axis)
        origin += direction[:, axis] * (size[axis] - 1)
        direction[:, axis] *= -1
    geometry = Geometry(
        tuple(size.tolist()),
        tuple(spacing.tolist()),
        tuple(origin.tolist()),
        tuple((direction / spacing).ravel().tolist()),
    )
    return Volume(np.ascontiguousarray(array.transpose(2, 1, 0)), geometry)


@pytest.mark.parametrize(
    ("order", "flips"),
    [((0, 1, 2), (2,)), ((2, 0, 1), ()), ((2, 1, 0), (0, 1, 2))],
)
def test_the_map_does_not_depend_on_how_the_ct_is_stored(plain, order, flips):
    ct = lps_ct()
    settings = SegmentSettings(roi="full", calibrate=False)
    reference = segment(ct, plain, settings).score
    other = segment(turned(ct, order, flips), plain, settings)
    assert other.score.geometry == turned(ct, order, flips).geometry
    assert other.score.to_lps().array == pytest.approx(reference.array, abs=1e-3)
    assert other.score.to_lps().geometry.same_grid(ct.geometry)


@pytest.mark.parametrize("flips", [axes for n in range(3) for axes in itertools.combinations(range(3), n)])
def test_a_roi_box_counts_the_voxels_of_the_file(plain, flips):
    ct = turned(lps_ct(), (0, 1, 2), flips)
    found = segment(ct, plain, SegmentSettings(roi=(2, 20, 5, 25, 3, 12), calibrate=False))
    assert (found.roi_start, found.roi_stop) == ((2, 5, 3), (20, 25, 12))
    filled = np.argwhere(found.score.array)[:, ::-1]
    assert filled.min(axis=0).tolist() == [2, 5, 3]
    assert filled.max(axis=0).tolist() == [19, 24, 11]


def test_a_given_vessel_outside_the_region_is_not_assessed_rather_than_free(bundle, tmp_path):
    ct = lps_ct()
    vessels = np.zeros(ct.array.shape, dtype=np.uint8)
    vessels[4:10, 8:11, 4:7], vessels[4:10, 8:11, 19:22] = 5, 3
    write_volume(ct.with_array(vessels), tmp_path / "vessels.nii.gz")
    settings = SegmentSettings(
        roi=(2, 12, 5, 25, 3, 12),
        calibrate=False,
        vessels=tmp_path / "vessels.nii.gz",
        vessel_names={"SMA": 5, "AORTA": 3},
    )
    found = segment(ct, bundle, settings).invasion.vessels
    assert found["SMA"].searched == 1
    assert (found["AORTA"].present, found["AORTA"].category, found["AORTA"].p_contact) == (True, None, None)


@pytest.mark.parametrize(
    ("asked", "bundles", "taken"), [(None, None, DEFAULT_CONTACT_MM), (None, 2.5, 2.5), (1.5, 2.5, 1.5)]
)
def test_the_contact_distance_is_the_one_asked_for_else_the_bundles_else_the_programs(
    plain, asked, bundles, taken, tmp_path
):
    ct = lps_ct()
    vessels = np.zeros(ct.array.shape, dtype=np.uint8)
    vessels[2:12, 10:16, 10:16] = 5
    write_volume(ct.with_array(vessels), tmp_path / "vessels.nii.gz")
    given = {"vessels": tmp_path / "vessels.nii.gz", "vessel_names": {"SMA": 5}}
    settings = SegmentSettings(roi="full", calibrate=False, contact_mm=asked, **given)
    assert segment(ct, replace(plain, contact_mm=bundles), settings).invasion.contact_mm == taken


def test_the_members_range_stands_beside_the_contact_with_given_vessels(bundle, make_bundle, tmp_path):
    ct = lps_ct()
    vessels = np.zeros(ct.array.shape, dtype=np.uint8)
    vessels[2:12, 10:16, 10:16] = 5
    write_volume(ct.with_array(vessels), tmp_path / "vessels.nii.gz")
    settings = SegmentSettings(
        roi="full", calibrate=False, vessels=tmp_path / "vessels.nii.gz", vessel_names={"SMA": 5}, every_tile=True
    )
    vessel = segment(ct, bundle, settings).invasion.vessels["SMA"]
    assert vessel.p_contact > 0.05
    assert vessel.member_range.members == 3
    # The mean of all members is nowhere above the largest of them.
    assert vessel.member_range.level_contact[0] < vessel.member_range.level_contact[1]
    assert vessel.level_contact <= vessel.member_range.level_contact[1] + 1e-3
    with Bundle.open(make_bundle(folds=("0",), out=tmp_path / "one")) as single:
        assert segment(ct, single, settings).invasion.vessels["SMA"].member_range is None


def test_cancel_stops_the_run(bundle):
    cancel = CancelToken()

    def stop_half_way(fraction: float, _: str) -> None:
        if fraction > 0.4:
            cancel.cancel()

    with pytest.raises(Cancelled):
        segment(lps_ct(), bundle, SegmentSettings(roi="full", calibrate=False), progress=stop_half_way, cancel=cancel)


def test_a_calibrator_of_another_pooling_is_refused(make_bundle, tmp_path):
    folder = make_bundle(calibrator=demo_bundle_path() / "calibrator.json", out=tmp_path / "bundle")
    file, manifest = folder / "calibrator.json", folder / "bundle.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"pooling": "mean-logits"}))
    content = json.loads(manifest.read_text())
    content["files"]["calibrator.json"] = hashlib.sha256(file.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(content))
    with Bundle.open(folder) as opened, raises_error(BundleError, "calibrator-pooling"):
        segment(lps_ct(), opened, SegmentSettings(roi="full"))


@pytest.fixture(scope="module")
def phantom_run():
    """A phantom that neither training nor calibration has seen, through the whole engine."""
    case = make_phantom(50001)
    seen: list[float] = []
    with Bundle.open(demo_bundle_path()) as demo:
        found = segment(case.ct, demo, progress=lambda fraction, _: seen.append(fraction))
    return case, found, seen


def test_the_demo_bundle_finds_a_phantom_s_tumor(phantom_run):
    case, found, _ = phantom_run
    drawn = np.sum([mask.array for mask in case.annotations], axis=0)
    majority, predicted = drawn >= 3, found.labels.array == 1
    assert 2 * np.sum(majority & predicted) / (majority.sum() + predicted.sum()) > 0.6
    (i0, j0, k0), (i1, j1, k1) = found.roi_start, found.roi_stop
    assert drawn.sum() == drawn[k0:k1, j0:j1, i0:i1].sum()


def test_the_map_is_far_closer_to_the_truth_than_an_outline_where_readers_disagree(phantom_run):
    """An outline says 0 or 1 where the truth lies between: what everybody gets without several readers."""
    case, found, _ = phantom_run
    truth = case.true_mhr.array
    ambiguous = (truth > 0.1) & (truth < 0.9)
    majority = np.mean([mask.array for mask in case.annotations], axis=0) > 0.5
    of_map, of_outline = (np.abs(said - truth)[ambiguous].mean() for said in (found.probability.array, majority))
    assert of_map < 0.6 * of_outline


def test_progress_never_goes_back(phantom_run):
    _, _, seen = phantom_run
    assert len(seen) > 10
    assert seen == sorted(seen)
    assert seen[-1] <= 1


def test_a_demo_result_says_what_it_is(phantom_run):
    assert any("phantoms only" in warning for warning in phantom_run[1].warnings)


def test_what_a_demo_run_writes_follows_the_published_schemas(phantom_run):
    case, found, _ = phantom_run
    with Bundle.open(demo_bundle_path()) as demo:
        result = describe(Ct(case.ct, "file"), found, demo, SegmentSettings())
    assert result["statements"]["source"] == found.invasion.statements == "calibrated"
    for kind, content in (("result", result), ("invasion", found.invasion.to_json())):
        published = Path(__file__).resolve().parents[2] / "docs" / "schemas" / f"{kind}.json"
        schema = json.loads(published.read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator(schema).validate(json.loads(json.dumps(content)))


def test_all_five_vessels_are_measured_and_the_two_veins_as_one(phantom_run):
    _, found, _ = phantom_run
    assert set(found.invasion.vessels) == {"PORTA", "SMV", "AORTA", "CELIAC", "SMA", "PORTA_SMV"}
    assert all(vessel.present for vessel in found.invasion.vessels.values())
    assert list(found.label_names.values()) == [1, 2, 3, 4, 5, 6]


def test_a_vessel_that_runs_past_the_region_is_not_called_free(phantom_run):
    """The aorta of the phantoms lies behind the searched region; the veins run through it."""
    _, found, _ = phantom_run
    content = found.invasion.to_json()
    aorta, veins = content["vessels"]["AORTA"], content["vessels"]["PORTA_SMV"]
    assert aorta["searched"] < 0.1
    assert aorta["coverage"] < 0.1
    assert aorta["category"] is aorta["p_contact"] is None
    assert veins["coverage"] > 0.75
    pattern = content["resectability"]
    assert "AORTA" in pattern["not_assessed"]
    assert not pattern["complete"]


def test_an_own_calibrator_is_taken_in_place_of_the_bundles(tmp_path):
    shipped = read_calibrator(DEMO / "calibrator.json")
    own = replace(shipped, knots_y=tuple(value / 2 for value in shipped.knots_y), band=None)
    write_calibrator(own, tmp_path / "site.json")
    with Bundle.open(DEMO) as bundle:
        assert chosen_calibrator(bundle, None).knots_y == pytest.approx(shipped.knots_y)
        assert chosen_calibrator(bundle, str(tmp_path / "site.json")).knots_y == pytest.approx(own.knots_y)


def test_a_missing_calibrator_is_named(tmp_path):
    with Bundle.open(DEMO) as bundle, raises_error(InputError, "file-missing", "nothing.json"):
        chosen_calibrator(bundle, str(tmp_path / "nothing.json"))


def small_ct(path: Path) -> Path:
    array = np.random.default_rng(4).normal(40, 30, (18, 30, 36))
    array[:3], array[:, :4] = -1000, -100
    write_volume(Volume(array.round().astype(np.int16), Geometry((36, 30, 18), (1.5, 1.6, 3.0))), path)
    return path


@pytest.fixture
def site(tmp_path) -> Path:
    """A calibrator that halves what the demo's gives, of 12 cases."""
    shipped = read_calibrator(DEMO / "calibrator.json")
    own = replace(shipped, knots_y=tuple(value / 2 for value in shipped.knots_y), band=None, cases=12)
    write_calibrator(own, tmp_path / "site.json")
    return tmp_path / "site.json"


def test_the_command_line_takes_it_and_result_and_report_name_it_with_its_hash(plain_bundle, site, tmp_path):
    """The bundle has no calibrator of its own: then a site's is enough."""
    out = tmp_path / "out"
    run = ["segment", str(small_ct(tmp_path / "ct.nii.gz")), "--bundle", str(plain_bundle), "--out", str(out)]
    assert run_command([*run, "--roi", "4,30,2,26,3,15", "--calibrator", str(site), "--keep-score"]) == 0
    stated = json.loads((out / "result.json").read_text(encoding="utf-8"))["calibrator"]
    digest = hashlib.sha256(site.read_bytes()).hexdigest()
    assert (stated["file"], stated["sha256"], stated["raters"], stated["cases"]) == ("site.json", digest, 5, 12)
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "site.json" in report
    assert digest in report
    score, mapped = (read_volume(out / f"{name}.nii.gz").array for name in ("score", "probability"))
    np.testing.assert_allclose(mapped, np.where(score > 0, read_calibrator(site)(score), 0), atol=1e-6)


def test_what_cannot_be_used_is_one_error_line(bundle_folder, site, tmp_path, capsys):
    run = [
        "segment",
        str(small_ct(tmp_path / "ct.nii.gz")),
        "--bundle",
        str(bundle_folder),
        "--out",
        str(tmp_path / "o"),
    ]
    for arguments, words in (
        (["--calibrator", str(site), "--no-calibration"], "leave one out"),
        (["--calibrator", str(tmp_path / "none.json")], "none.json: no such file"),
        (["--calibrator", str(tmp_path / "ct.nii.gz")], "not readable as a calibrator"),
    ):
        assert run_command([*run, *arguments]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith("error: ")
        assert words in line
    assert not (tmp_path / "o").exists()


def test_the_cases_of_a_cohort_are_done_again_with_another_calibrator(bundle_folder, site, tmp_path):
    from twintrack.execution.cohort.plan import make_plan

    small_ct(tmp_path / "ct.nii.gz")
    (tmp_path / "manifest.csv").write_text("case,image\na,ct.nii.gz\n", encoding="utf-8")

    def key() -> str:
        settings = SegmentSettings(calibrator=str(site))
        plan = make_plan(tmp_path / "manifest.csv", bundle_folder, tmp_path / "out", settings)
        return plan.task(next(plan.cases())).key

    first = key()
    assert key() == first
    write_calibrator(replace(read_calibrator(site), cases=13), site)
    assert key() != first
    with raises_error(InputError, "no-calibrator"):
        make_plan(tmp_path / "manifest.csv", bundle_folder, tmp_path / "out", SegmentSettings())
