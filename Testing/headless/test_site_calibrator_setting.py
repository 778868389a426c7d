"""A calibrator of one's own takes the place of the bundle's, and a wrong one is named."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import twintrack
from twintrack.bundle.model_bundle import Bundle
from twintrack.calibration import read_calibrator, write_calibrator
from twintrack.cli.app import _run
from twintrack.errors import InputError
from twintrack.io.volumes import read_volume, write_volume
from twintrack.pipeline import chosen_calibrator
from twintrack.settings import SegmentSettings
from twintrack.volume import Geometry, Volume

DEMO = Path(twintrack.__file__).parent / "data" / "demo_bundle"


def test_the_setting_goes_through_json():
    settings = SegmentSettings(calibrator="site.json")
    assert SegmentSettings.from_json(settings.to_json()) == settings


def test_an_own_calibrator_is_taken_in_place_of_the_bundles(tmp_path):
    shipped = read_calibrator(DEMO / "calibrator.json")
    own = replace(shipped, knots_y=tuple(value / 2 for value in shipped.knots_y), band=None)
    write_calibrator(own, tmp_path / "site.json")
    with Bundle.open(DEMO) as bundle:
        assert chosen_calibrator(bundle, None).knots_y == pytest.approx(shipped.knots_y)
        assert chosen_calibrator(bundle, str(tmp_path / "site.json")).knots_y == pytest.approx(own.knots_y)


def test_a_missing_calibrator_is_named(tmp_path):
    with Bundle.open(DEMO) as bundle, pytest.raises(InputError, match=r"nothing\.json"):
        chosen_calibrator(bundle, str(tmp_path / "nothing.json"))


def small_ct(path: Path) -> Path:
    array = np.random.default_rng(4).normal(40, 30, (18, 30, 36))
    array[:3], array[:, :4] = -1000, -100
    write_volume(Volume(array.round().astype(np.int16), Geometry((36, 30, 18), (1.5, 1.6, 3.0))), path)
    return path


@pytest.fixture
def site(tmp_path) -> Path:
    """A calibrator that halves what the demo's gives, of 4 readers and 12 cases."""
    shipped = read_calibrator(DEMO / "calibrator.json")
    own = replace(shipped, knots_y=tuple(value / 2 for value in shipped.knots_y), band=None, raters=4, cases=12)
    write_calibrator(own, tmp_path / "site.json")
    return tmp_path / "site.json"


def test_the_command_line_takes_it_and_result_and_report_name_it_with_its_hash(bundle_folder, site, tmp_path):
    """The bundle has no calibrator of its own: then a site's is enough."""
    out = tmp_path / "out"
    run = ["segment", str(small_ct(tmp_path / "ct.nii.gz")), "--bundle", str(bundle_folder), "--out", str(out)]
    assert _run([*run, "--roi", "4,30,2,26,3,15", "--calibrator", str(site), "--keep-score"]) == 0
    stated = json.loads((out / "result.json").read_text(encoding="utf-8"))["calibrator"]
    digest = hashlib.sha256(site.read_bytes()).hexdigest()
    assert (stated["file"], stated["sha256"], stated["raters"], stated["cases"]) == ("site.json", digest, 4, 12)
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
        assert _run([*run, *arguments]) == 2
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
    with pytest.raises(InputError, match="no calibrator"):
        make_plan(tmp_path / "manifest.csv", bundle_folder, tmp_path / "out", SegmentSettings())
