"""A volume keeps voxels and geometry together, also when it is turned."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK as sitk

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.io.volumes import read_volume
from twintrack.volume import FRACTION_TOLERANCE, Geometry, Volume, fractions


def oblique(permutation=(0, 1, 2), signs=(1, 1, 1), angle_deg=12.0) -> Geometry:
    """A grid whose axes are permuted, flipped and then turned about a slanted axis."""
    from scipy.spatial.transform import Rotation

    axes = np.eye(3)[:, permutation] * np.asarray(signs)
    turned = Rotation.from_rotvec(np.deg2rad(angle_deg) * np.array([0.6, 0.0, 0.8])).as_matrix() @ axes
    return Geometry((5, 7, 4), (0.7, 0.9, 2.5), (-31.5, 12.25, 80.0), tuple(turned.ravel()))


@pytest.mark.parametrize("permutation", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_turning_to_lps_and_back_gives_the_same_voxels_on_exactly_the_same_grid(permutation, signs):
    geometry = oblique(permutation, signs)
    volume = Volume(np.arange(5 * 7 * 4, dtype=np.int16).reshape(geometry.shape), geometry)
    back = volume.to_lps().restored_to(geometry)
    assert np.array_equal(back.array, volume.array)
    assert back.geometry == geometry
    assert back.array.dtype == np.int16


def with_ties() -> list[np.ndarray]:
    """Direction matrices of which two or three cosines are equally large, as of a gantry turned by 45 degrees."""
    half, third = np.sqrt(0.5), np.array([[2, 2, 1], [-2, 1, 2], [1, -2, 2]]) / 3
    found = [third, third.T]
    for axis, sign in itertools.product(range(3), (1, -1)):
        turn = np.eye(3)
        one, other = (place for place in range(3) if place != axis)
        turn[one, one] = turn[other, other] = half
        turn[one, other], turn[other, one] = -sign * half, sign * half
        found.append(turn)
    return found


AXES = [
    np.eye(3)[:, permutation] * signs
    for permutation in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


@pytest.mark.slow
def test_volumes_are_turned_as_itk_turns_them_to_the_last_bit():
    from scipy.spatial.transform import Rotation

    turns = [np.eye(3), *with_ties(), *Rotation.random(6, random_state=1).as_matrix()]
    array = np.arange(5 * 7 * 4, dtype=np.int16).reshape(4, 7, 5)
    for turn, axes in itertools.product(turns, AXES):
        direction = tuple((turn @ axes).ravel().tolist())
        volume = Volume(array, Geometry((5, 7, 4), (0.7, 0.9, 2.5), (-31.5, 12.25, 80.0), direction))
        expected = Volume.from_sitk(sitk.DICOMOrient(volume.to_sitk(), "LPS"))
        found = volume.to_lps()
        assert found.geometry == expected.geometry, direction
        np.testing.assert_array_equal(found.array, expected.array)
        assert found.array.flags.c_contiguous
        back = found.restored_to(volume.geometry)
        np.testing.assert_array_equal(back.array, array)
        assert back.geometry == volume.geometry


def test_nothing_is_copied_where_nothing_is_to_turn():
    volume = Volume(np.zeros((4, 7, 5)), oblique())
    assert volume.to_lps() is volume
    assert volume.restored_to(volume.geometry).array is volume.array


@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_turning_to_lps_moves_no_voxel_in_space(signs):
    geometry = oblique((2, 0, 1), signs)
    volume = Volume(np.zeros(geometry.shape, dtype=np.uint8), geometry)
    volume.array[3, 6, 1] = 1  # (z, y, x): index (1, 6, 3)
    turned = volume.to_lps()
    (found,) = np.argwhere(turned.array)[:, ::-1]
    assert turned.geometry.to_lps_mm(found) == pytest.approx(geometry.to_lps_mm(np.array([1, 6, 3])), abs=1e-9)
    assert np.argmax(np.abs(turned.geometry.direction_matrix), axis=0).tolist() == [0, 1, 2]
    assert np.diag(turned.geometry.direction_matrix).min() > 0


def test_index_and_position_are_inverse_and_agree_with_simpleitk():
    geometry = oblique()
    index = np.array([[0, 0, 0], [4, 6, 3], [2, 5, 1]])
    points = geometry.to_lps_mm(index)
    image = Volume(np.zeros(geometry.shape), geometry).to_sitk()
    for one, point in zip(index.tolist(), points, strict=True):
        assert image.TransformIndexToPhysicalPoint(one) == pytest.approx(point, abs=1e-9)
    assert geometry.to_index(points) == pytest.approx(index, abs=1e-9)


def test_restoring_to_another_grid_is_refused():
    volume = Volume(np.zeros((4, 7, 5)), oblique())
    other = Geometry((5, 7, 4), (0.7, 0.9, 2.5), (0.0, 0.0, 0.0))
    with raises_error(InputError, "grid-differs"):
        volume.restored_to(other)


def test_grids_a_twentieth_of_a_voxel_apart_are_different():
    geometry = oblique()
    moved = Geometry(geometry.size, geometry.spacing_mm, (-31.5 + 0.035, 12.25, 80.0), geometry.direction)
    assert geometry.same_grid(geometry)
    assert not geometry.same_grid(moved)


@pytest.mark.parametrize(
    ("size", "spacing", "direction", "error"),
    [
        ((0, 2, 2), (1, 1, 1), (1, 0, 0, 0, 1, 0, 0, 0, 1), ("volume-size",)),
        ((2, 2, 2), (1, 0, 1), (1, 0, 0, 0, 1, 0, 0, 0, 1), ("spacing-range",)),
        ((2, 2, 2), (1, float("nan"), 1), (1, 0, 0, 0, 1, 0, 0, 0, 1), ("spacing-range",)),
        ((2, 2, 2), (1, 1, 1), (1, 0.2, 0, 0, 1, 0, 0, 0, 1), ("axes-sheared",)),
    ],
)
def test_impossible_grids_are_refused(size, spacing, direction, error):
    with raises_error(InputError, *error):
        Geometry(size, spacing, (0.0, 0.0, 0.0), direction)


def test_an_array_of_another_shape_is_refused():
    with raises_error(InputError, "grid-differs"):
        Volume(np.zeros((5, 7, 4)), oblique())


def test_the_real_ct_is_turned_without_loss(test_data):
    ct = read_volume(test_data / "data" / "ct_3mm.nii.gz")
    assert ct.geometry.direction == (-1, 0, 0, 0, -1, 0, 0, 0, 1)
    turned = ct.to_lps()
    assert np.array_equal(turned.array, ct.array[:, ::-1, ::-1])
    assert turned.restored_to(ct.geometry).geometry == ct.geometry


@pytest.mark.parametrize("spacing_mm", [(1e-300, 1e-300, 1e-300), (1.0, 1.0, 1e-7), (1.0, 1e7, 1.0), (1e300, 1.0, 1.0)])
def test_edges_that_no_scanner_has_are_refused_before_anything_is_computed_with_them(spacing_mm):
    with raises_error(InputError, "spacing-range"):
        Geometry((2, 2, 2), spacing_mm)


@pytest.mark.parametrize("far", [1e300, float("nan"), float("-inf")])
def test_an_origin_beyond_any_room_is_refused(far):
    with raises_error(InputError, "origin-range"):
        Geometry((2, 2, 2), (1.0, 1.0, 1.0), (0.0, far, 0.0))


def test_fractions_within_the_tolerance_are_clipped_and_others_come_back_as_they_are():
    exact = np.array([[0.0, 0.5, 1.0]], np.float32)
    assert fractions(exact, "a map") is exact
    near = np.array([-FRACTION_TOLERANCE, 0.5, 1 + FRACTION_TOLERANCE])
    np.testing.assert_array_equal(fractions(near, "a map"), [0, 0.5, 1])
    assert fractions(np.array([True, False]), "a map").tolist() == [True, False]
    assert fractions(np.zeros((0, 3)), "a map").shape == (0, 3)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([0.0, 1.00001], ["0 to 1.00001", "percent"]),
        ([-0.00001, 1.0], ["-1e-05 to 1", "softmax"]),
        ([0.0, 97.77], ["0 to 97.77", "percent", "divide by 100"]),
        (np.array([0, 98], np.uint8), ["percent", "divide by 100", "divide by 255"]),
        (np.array([0, 249], np.uint8), ["0 to 249", "divide by 255"]),
        ([0.0, 255.0], ["divide by 255"]),
        (np.array([0, 60000], np.uint16), ["divide by 65535"]),
        ([0.0, 123.4], ["123.4"]),
        (np.array([-1024, 3071], np.int16), ["logits", "CT"]),
        ([0.5, np.nan], ["nan to nan"]),
    ],
)
def test_what_is_no_fraction_is_refused_with_its_range_and_the_remedy(values, names):
    with raises_error(InputError, "probability-range", *names):
        fractions(np.asarray(values), "a map")


def test_a_box_cut_out_lies_where_it_lay():
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
    geometry = Geometry((5, 6, 7), (0.7, 1.1, 2.5), (-10.0, 4.0, 30.0), tuple(turn.ravel().tolist()))
    whole = Volume(np.arange(210).reshape(7, 6, 5), geometry)
    box = (slice(2, 6), slice(1, 3), slice(0, 4))
    part = whole.cut(box)
    assert part.array.base is not None
    assert part.geometry.shape == part.array.shape == (4, 2, 4)
    for z, y, x in ((0, 0, 0), (3, 1, 2)):
        assert part.array[z, y, x] == whole.array[z + 2, y + 1, x]
        np.testing.assert_allclose(
            part.geometry.to_lps_mm(np.array([x, y, z])), geometry.to_lps_mm(np.array([x, y + 1, z + 2])), atol=1e-12
        )
