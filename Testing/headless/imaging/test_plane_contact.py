"""The challenge's per-plane degrees, bit for bit."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import contact_by_threshold
from twintrack.imaging.plane_contact import PLANE_AXES, plane_contact_curves_deg, plane_contact_deg

REFERENCE_PLANES = ("cor", "sag", "ax")
REFERENCE_NAMES = {"CELIAC": "CELIAC TRUNK"}
TURNS = {
    "as_is": lambda a: a,
    "flip_rows": lambda a: a[::-1],
    "flip_cols": lambda a: a[:, ::-1],
    "transpose": lambda a: a.T,
    "rot180": lambda a: a[::-1, ::-1],
}


@pytest.fixture(scope="module")
def reference(test_data: Path) -> Path:
    folder = test_data / "reference" / "curvas_pdacvi"
    if not folder.is_dir():
        pytest.skip("the reference numbers are not among the test data")
    return folder


@pytest.fixture(scope="module")
def generator(reference: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("curvas_make_cases", reference / "make_cases.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_two_dimensional_probes_are_bit_equal_in_every_orientation(reference: Path) -> None:
    probes = load(reference / "micro.json")["contact_2d"]
    assert len(probes) == 24
    for probe in probes:
        lesion, vessel = (np.array([[int(c) for c in row] for row in probe[key]]) for key in ("lesion", "vessel"))
        for name, turn in TURNS.items():
            for axis in range(3):
                flat = (np.expand_dims(turn(mask), axis) for mask in (lesion, vessel))
                assert plane_contact_deg(*flat)[axis] == probe[name]["degrees"]


@pytest.mark.parametrize("seed", range(1, 13))
def test_reference_cases_are_bit_equal_for_raters_and_thresholds(
    seed: int, reference: Path, generator: ModuleType
) -> None:
    content = load(reference / "public.json")
    expected = content["seeds"][str(seed)]
    case = generator.make_case(seed)
    assert generator.case_hashes(case) == expected["sha256"]
    for name, value in generator.VESSELS.items():
        vessel = case["vessels"] == value
        curves = plane_contact_curves_deg(case["probability"], vessel, content["meta"]["thresholds"])
        raters = [plane_contact_deg(annotation, vessel) for annotation in case["annotations"]]
        for axis, plane in enumerate(REFERENCE_PLANES):
            key = REFERENCE_NAMES.get(name, name)
            assert curves[axis].tolist() == expected["vi"]["degrees_thresholds"][key][plane]
            assert [degrees[axis] for degrees in raters] == expected["vi"]["degrees_raters"][key][plane]


def test_each_plane_is_measured_in_its_own_slices() -> None:
    vessel = np.zeros((9, 9, 9), dtype=bool)
    vessel[4, 3:6, 3:6] = True
    tumor = np.zeros_like(vessel)
    tumor[4, 3:6, 6] = True
    # In the slice z = 4 the vessel is a 3 x 3 square with 8 edge pixels, 3 of them beside the tumour. The slice y = 4
    # holds a row of three pixels of which one has tumour beside it, and no slice x holds both.
    degrees = plane_contact_deg(tumor, vessel)
    assert degrees[PLANE_AXES["axial"]] == 3 / 8 * 360
    assert degrees[PLANE_AXES["coronal"]] == 1 / 3 * 360
    assert degrees[PLANE_AXES["sagittal"]] == 0


def test_thresholds_are_strict_and_compared_in_double_precision() -> None:
    vessel = np.zeros((1, 5, 5), dtype=bool)
    vessel[0, 2, 2] = True
    probability = np.full(vessel.shape, 0.1, dtype=np.float32)
    # The single-precision 0.1 is a little larger than the double-precision one; 0.5 is the same in both.
    assert plane_contact_curves_deg(probability, vessel, [0.1])[0, 0] == 360
    assert plane_contact_curves_deg(np.full_like(probability, 0.5), vessel, [0.5])[0, 0] == 0


@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 5, 6)])
def test_empty_masks_touch_nothing(shape: tuple[int, int, int]) -> None:
    empty, full = np.zeros(shape, dtype=bool), np.ones(shape, dtype=bool)
    for tumor, vessel in ((empty, full), (full, empty), (empty, empty)):
        assert plane_contact_deg(tumor, vessel).tolist() == [0, 0, 0]
    assert plane_contact_deg(full, full).tolist() == [360, 360, 360]


@pytest.mark.slow
def test_all_thresholds_at_once_give_what_one_after_the_other_gives() -> None:
    random = np.random.default_rng(11)
    for _ in range(300):
        probability, vessel, thresholds = random_scene(random)
        if random.random() < 0.2:  # as a view with its axes in another order
            probability, vessel = probability.T, vessel.T
        expected = contact_by_threshold.protocol_deg(probability, vessel, thresholds)
        found = plane_contact_curves_deg(probability, vessel, thresholds)
        assert found.tolist() == expected.tolist()


def random_scene(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Draw noise or a ball for the vessel, a map with ties at its thresholds, and these in any order."""
    shape = random.integers(1, 12, 3)
    thresholds = random.permutation(np.round(np.arange(1, 20) / 20, 2))[: random.integers(1, 20)]
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"))
    away = np.linalg.norm(places - random.integers(0, shape)[:, None, None, None], axis=0)
    vessel = away < random.uniform(0, 5) if random.random() < 0.7 else random.random(shape) < random.uniform(0.02, 0.6)
    probability = random.random(shape) * (random.random(shape) < random.uniform(0.02, 1.0))
    tied = random.random(shape) < 0.3
    probability[tied] = random.choice(thresholds, np.count_nonzero(tied))
    return probability.astype(random.choice([np.float32, np.float64])), vessel, thresholds.tolist()
