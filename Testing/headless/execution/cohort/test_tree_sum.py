"""`calibrate` and `evaluate` give the same numbers on a cluster as in one process."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from twintrack.calibration import load_sketch
from twintrack.cli.app import main
from twintrack.errors import InputError, RoiError
from twintrack.execution.cohort.tree_sum import map_over
from twintrack.io.volumes import write_volume
from twintrack.progress.callbacks import CancelToken, no_progress
from twintrack.studies.calibrate import fit_sketch, sketch_cases
from twintrack.studies.evaluate.run import evaluate_manifest
from twintrack.studies.map_cases import one_by_one
from twintrack.volume import Geometry, Volume

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def client(cluster):
    from distributed import Client

    with Client(cluster) as connected:
        yield connected


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    """Ten cases of three raters, one of whom is missing once; maps are noisy."""
    folder, geometry = tmp_path_factory.mktemp("study"), Geometry((12, 11, 10), (1.0, 1.0, 2.0))
    rows = [["case", "score", "probability", "annotation_1", "annotation_2", "annotation_3"]]
    for number in range(10):
        random = np.random.default_rng(number)
        z, y, x = np.indices(geometry.shape)
        distance = np.sqrt((z - 5) ** 2 + (y - 5) ** 2 + (x - 6) ** 2)
        score = (1 / (1 + np.exp(2 * (distance - 3) + random.normal(0, 1, distance.shape)))).astype(np.float32)
        arrays = {"score": score, **{f"annotation_{n}": (distance < 2 + n / 2).astype(np.uint8) for n in (1, 2, 3)}}
        for name, array in arrays.items():
            write_volume(Volume(array, geometry), folder / f"{number}_{name}.nii.gz")
        names = [f"{number}_{name}.nii.gz" for name in ("score", "score", *list(arrays)[1:])]
        rows.append([f"c{number}", *names[:-1], "" if number == 3 else names[-1]])
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    return folder / "manifest.csv"


def test_a_sum_over_a_cluster_keeps_the_order_of_the_items(client):
    map_cases = map_over(client)
    for count in (1, 7, 9, 130):
        assert map_cases(list, list(range(count)), no_progress, CancelToken()) == list(range(count))


def halves(items: Sequence[int]) -> tuple[list[int], int]:
    """What belongs to the items alone, and what is added up."""
    return [item * 2 for item in items], sum(items)


def test_what_belongs_to_single_items_comes_in_their_order_beside_the_sum(client):
    for count in (1, 9, 130):
        for map_cases in (map_over(client), one_by_one):
            kept: list[int] = []
            total = map_cases(halves, range(count), no_progress, CancelToken(), kept.extend)
            assert kept == list(range(0, 2 * count, 2))
            assert total == sum(range(count))


def test_a_calibrator_fitted_on_a_cluster_is_that_of_one_process(client, manifest):
    here, there = sketch_cases([manifest]), sketch_cases([manifest], map_cases=map_over(client))
    assert (here.cases, here.manifests) == (there.cases, there.manifests)
    for name in ("counts", "mass", "rater_counts", "rater_positives"):
        np.testing.assert_array_equal(getattr(here, name), getattr(there, name))
    one, other = (fit_sketch(sketch, resamples=20) for sketch in (here, there))
    np.testing.assert_allclose(one.knots_x, other.knots_x, rtol=0, atol=1e-12)
    np.testing.assert_allclose(one.knots_y, other.knots_y, rtol=0, atol=1e-12)


def test_an_evaluation_on_a_cluster_is_that_of_one_process(client, manifest, tmp_path):
    evaluate_manifest(manifest, tmp_path / "here", bootstrap=50)
    evaluate_manifest(manifest, tmp_path / "there", bootstrap=50, map_cases=map_over(client))
    for name in ("metrics.csv", "summary.md", "summary.json"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()
    assert json.loads((tmp_path / "there" / "summary.json").read_text(encoding="utf-8"))["cases"] == 10


def test_networks_on_a_cluster_score_as_in_one_process(client, make_cohort, bundle_folder):
    study = make_cohort(["p1", "p2"])
    lines = study.read_text(encoding="utf-8").splitlines()
    head, *rows = [line.rsplit(",", 1)[0] for line in lines]
    text = [f"{head},annotation_1", *(f"{row},vessels{number}.nii.gz" for number, row in enumerate(rows))]
    for number in range(2):
        geometry = Geometry((26, 30, 14), (1.4, 1.3, 3.1), (-10.0, 20.0, -50.0))
        mask = np.zeros(geometry.shape, np.uint8)
        mask[4:9, 10:20, 8:18] = 1
        write_volume(Volume(mask, geometry), study.parent / f"vessels{number}.nii.gz")
    study.write_text("\n".join(text) + "\n", encoding="utf-8")
    options = {"bundle_path": bundle_folder, "domain": "all", "device": "cpu"}

    def outcome(**more: object) -> object:
        """The tiny networks may find no organ; then the cluster has to say the same."""
        try:
            return sketch_cases([study], **options, **more).counts.tolist()
        except RoiError as error:
            return str(error)

    assert outcome() == outcome(map_cases=map_over(client, bundle=bundle_folder))


def test_workers_that_work_elsewhere_find_the_files_of_a_relative_manifest(address, manifest, tmp_path, monkeypatch):
    monkeypatch.chdir(manifest.parent)
    with pytest.raises(SystemExit) as ended:
        main(["calibrate", "manifest.csv", "--sketch", str(tmp_path / "s.npz"), "--scheduler", address])
    assert ended.value.code == 0
    assert load_sketch(tmp_path / "s.npz").cases == 10


def test_the_error_of_the_first_bad_row_comes_back_as_it_is(client, manifest, tmp_path):
    text = manifest.read_text(encoding="utf-8").replace("4_score.nii.gz", "4_annotation_1.nii.gz", 1)
    bad = manifest.with_name("bad.csv")
    bad.write_text(text.replace("7_annotation_1.nii.gz", "manifest.csv", 1), encoding="utf-8")
    with pytest.raises(InputError) as here:
        sketch_cases([bad])
    with pytest.raises(InputError) as there:
        sketch_cases([bad], map_cases=map_over(client))
    assert str(here.value) == str(there.value)
