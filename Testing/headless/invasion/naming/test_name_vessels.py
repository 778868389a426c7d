"""Names by anatomy: right where a vessel has its shape, and none where it has not."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from twintrack.invasion.naming import NAMED, NamedVessels, name_vessels
from twintrack.io.volumes import read_volume
from twintrack.volume import Geometry, Volume
from vessel_anatomy.conditions import LabelledCase, make_case
from vessel_anatomy.drawing import CODES

pytestmark = pytest.mark.slow  # each names a whole abdomen, half a second of the processor

LEAST_DICE = {"AORTA": 0.98, "SMA": 0.9, "CELIAC": 0.7, "SMV": 0.88, "PORTA": 0.78, "PORTA_SMV": 0.93}
"""A little less than the benchmark's medians have to reach: here each one must."""


@lru_cache
def case_of(condition: str, template: str = "usual", seed: int = 31) -> LabelledCase:
    return make_case(condition, template, seed)


def truth_of(case: LabelledCase, name: str) -> np.ndarray:
    parts = ("PORTA", "SMV") if name == "PORTA_SMV" else (name,)
    return np.isin(case.truth, [CODES[part] for part in parts])


def dice_and_precision(case: LabelledCase, found: NamedVessels, name: str) -> tuple[float, float]:
    named, truth = found.labels.array == NAMED[name], truth_of(case, name)
    both = float((named & truth).sum())
    return 2 * both / float(named.sum() + truth.sum()), both / float(named.sum())


@pytest.mark.parametrize("template", ["usual", "slender", "stout"])
def test_vessels_without_a_fault_are_named(template: str) -> None:
    case = case_of("clean", template)
    found = name_vessels(case.labels, case.names)
    for name, least in LEAST_DICE.items():
        if name == "PORTA_SMV":
            assert not found.vessels[name].named
            continue
        assert found.vessels[name].named, (name, found.vessels[name].reason)
        assert found.vessels[name].confidence == "high"
        assert dice_and_precision(case, found, name)[0] >= least, name


@pytest.mark.parametrize(
    ("condition", "unnamed"),
    [
        ("common trunk", ("CELIAC", "SMA", "CHA")),
        ("no celiac trunk", ("CELIAC", "CHA", "SPLENIC_ARTERY")),
        ("no SMA", ("SMA",)),
        ("no SMV", ("SMV", "SPLENIC_VEIN", "PORTA_SMV")),
        ("no portal vein", ("PORTA", "PORTA_SMV")),
        ("mirrored with organs", tuple(NAMED)),
        ("mirrored", tuple(NAMED)),
        ("upside down", tuple(NAMED)),
        ("classes swapped", tuple(NAMED)),
    ],
)
def test_what_is_not_there_or_contradicted_gets_no_name(condition: str, unnamed: tuple[str, ...]) -> None:
    case = case_of(condition)
    found = name_vessels(case.labels, case.names)
    for name in unnamed:
        assert not found.vessels[name].named, (name, found.vessels[name].reason)
        assert found.vessels[name].reason
        assert not (found.labels.array == NAMED[name]).any()
    for name, one in found.vessels.items():
        assert not one.named or dice_and_precision(case, found, name)[1] >= 0.5, name


def test_without_a_splenic_vein_the_axis_stays_undivided() -> None:
    case = case_of("no splenic vein")
    found = name_vessels(case.labels, case.names)
    assert not found.vessels["PORTA"].named
    assert not found.vessels["SMV"].named
    assert found.vessels["PORTA_SMV"].named
    assert dice_and_precision(case, found, "PORTA_SMV")[0] >= LEAST_DICE["PORTA_SMV"]


def test_an_undivided_axis_over_a_gap_is_not_sure() -> None:
    case = case_of("no splenic vein")
    cut = case.labels.array.copy()
    of_smv = case.truth == CODES["SMV"]
    middle = int(np.median(np.argwhere(of_smv)[:, 0]))
    cut[middle][of_smv[middle]] = 0
    found = name_vessels(case.labels.with_array(cut), case.names)
    assert found.vessels["PORTA_SMV"].confidence == "low"
    assert 0 < found.vessels["PORTA_SMV"].evidence["gap_mm"] <= 3
    assert dice_and_precision(case, found, "PORTA_SMV")[0] >= LEAST_DICE["PORTA_SMV"]


def test_arms_to_the_sides_need_something_that_says_which_side_is_which() -> None:
    case = case_of("arteries alone")
    found = name_vessels(case.labels, case.names)
    assert found.vessels["CELIAC"].named
    assert not found.vessels["CHA"].named
    assert "side" in found.vessels["CHA"].reason


def test_veins_alone_are_not_sure() -> None:
    case = case_of("veins alone")
    found = name_vessels(case.labels, case.names)
    assert {found.vessels[name].confidence for name in ("PORTA", "SMV")} == {"low"}


@pytest.mark.parametrize(("order", "flips"), [((0, 1, 2), (True, True, False)), ((2, 0, 1), (False, True, True))])
def test_names_do_not_depend_on_how_the_voxels_are_stored(
    order: tuple[int, int, int], flips: tuple[bool, bool, bool]
) -> None:
    case = case_of("clean")
    straight = name_vessels(case.labels, case.names)
    array = case.labels.array.transpose([2 - order[2 - axis] for axis in range(3)])
    array = np.ascontiguousarray(np.flip(array, tuple(2 - axis for axis in range(3) if flips[axis])))
    turned = Volume(array, case.labels.geometry.turned(order, flips))
    found = name_vessels(turned, case.names)
    np.testing.assert_array_equal(found.labels.restored_to(case.labels.geometry).array, straight.labels.array)


def test_names_hold_in_an_oblique_grid() -> None:
    case = case_of("clean")
    turn = Rotation.from_euler("xyz", (9.0, -7.0, 12.0), degrees=True).as_matrix()
    grid = case.labels.geometry
    middle = grid.to_lps_mm((np.array(grid.size) - 1) / 2)
    origin = middle - turn @ (np.array(grid.spacing_mm) * (np.array(grid.size) - 1) / 2)
    oblique = Geometry(grid.size, grid.spacing_mm, tuple(origin.tolist()), tuple(turn.ravel().tolist()))
    i, j, k = np.meshgrid(*(np.arange(n) for n in grid.size), indexing="ij")
    index = np.rint(grid.to_index(oblique.to_lps_mm(np.stack([i, j, k], -1)))).astype(int)
    inside = np.all((index >= 0) & (index < np.array(grid.size)), axis=-1)
    index = np.where(inside[..., None], index, 0)
    picked = tuple(index[..., axis] for axis in (2, 1, 0))
    labels = np.where(inside, case.labels.array[picked], 0).transpose(2, 1, 0)
    truth = np.where(inside, case.truth[picked], 0).transpose(2, 1, 0)
    seen = LabelledCase(Volume(np.ascontiguousarray(labels), oblique), case.names, np.ascontiguousarray(truth))
    found = name_vessels(seen.labels, seen.names)
    for name in ("AORTA", "CELIAC", "SMA", "PORTA", "SMV"):
        assert found.vessels[name].named, (name, found.vessels[name].reason)
        assert dice_and_precision(seen, found, name)[0] >= LEAST_DICE[name] - 0.03, name


def test_an_empty_map_names_nothing() -> None:
    empty = Volume(np.zeros((8, 8, 8), np.uint8), Geometry((8, 8, 8), (1.0, 1.0, 1.0)))
    found = name_vessels(empty, {"ARTERIES": 1, "VEINS": 2})
    assert not found.values
    assert found.unnamed_ml == 0.0


def test_the_arteries_of_a_real_ct(test_data: Path) -> None:
    folder = test_data / "data" / "aorta"
    parts = {
        name: read_volume(folder / f"{file}.nii.gz")
        for name, file in (
            ("AORTA", "aorta"),
            ("CELIAC", "celiac_trunk"),
            ("SMA", "superior_mesenteric_artery"),
        )
    }
    merged = np.any([part.array > 0 for part in parts.values()], axis=0)
    found = name_vessels(parts["AORTA"].with_array(merged.astype(np.uint8)), {"ARTERIES": 1})
    aorta, celiac = (found.labels.array == NAMED[name] for name in ("AORTA", "CELIAC"))
    truth = parts["AORTA"].array > 0
    assert 2 * (aorta & truth).sum() / (aorta.sum() + truth.sum()) >= 0.98
    assert (celiac & (parts["CELIAC"].array > 0)).sum() >= 0.95 * celiac.sum() > 0
    assert not found.vessels["SMA"].named  # four slices at the edge of the image do not tell what it is


def test_a_short_vein_to_the_left_is_not_taken_for_the_splenic_one():
    """Where the portal vein is missing, one of the bowel's ends in the SMV, whose upper part would be a portal vein."""
    case = make_case("no portal vein", "slender", 2000)
    found = name_vessels(case.labels, case.names)
    assert not any(found.vessels[name].named for name in ("PORTA", "SMV", "SPLENIC_VEIN"))
    assert "may be one of the bowel" in found.vessels["PORTA"].reason


@pytest.mark.parametrize(
    ("condition", "template", "seed", "unnamed"),
    [
        ("pieces in the other class", "stout", 3000, ("SMV",)),
        ("pieces in the other class", "slender", 2002, ("SMA",)),
        ("common trunk", "slender", 2002, ("CELIAC", "SMA")),
    ],
)
def test_what_goes_on_in_the_other_class_and_a_trunk_that_is_passed_by_get_no_name(condition, template, seed, unnamed):
    """Names that were wrong on drawn maps."""
    case = make_case(condition, template, seed)
    found = name_vessels(case.labels, case.names)
    for name in unnamed:
        assert not found.vessels[name].named, found.vessels[name].reason
    for name, one in found.vessels.items():
        assert not one.named or dice_and_precision(case, found, name)[1] >= 0.5, name
