"""Where a NIfTI file lies is what nibabel says, an independent reader, and nothing that the header leaves open."""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
import pytest

from expected_errors import raises_error
from random_nifti import random_nifti
from twintrack.errors import InputError
from twintrack.io.ct import load_ct
from twintrack.io.masks import read_mask
from twintrack.io.volumes import read_stored, read_volume, write_volume
from twintrack.volume import Geometry, Volume

SIZE = (24, 20, 16)
AFFINE = np.array([[-0.8, 0, 0, 20.0], [0, 0.9, 0, -30.0], [0, 0, 2.5, 400.0], [0, 0, 0, 1]])
LPS = np.diag([-1.0, -1.0, 1.0])


def world(affine: np.ndarray, size: tuple[int, int, int] = SIZE) -> np.ndarray:
    """Return the LPS mm of each voxel, (x, y, z, 3), of an affine to RAS."""
    return (np.moveaxis(np.indices(size), 0, -1) @ affine[:3, :3].T + affine[:3, 3]) @ LPS


def field(places_mm: np.ndarray) -> np.ndarray:
    """Return values that say where they lie."""
    return places_mm @ [7.0, 3.0, -2.0] + 300.0


def save(path, affine, *, sform=1, qform=0, q_affine=None, data=None, kind=nib.Nifti1Image, unit="mm"):
    data = field(world(affine)).astype(np.float32) if data is None else data
    image = kind(data, affine)
    image.set_sform(affine, sform)
    image.set_qform(affine if q_affine is None else q_affine, qform, strip_shears=True)
    image.header.set_xyzt_units(unit)
    nib.save(image, path)
    return path


def sheared(axis: int = 2, tilt_deg: float = 12.0) -> np.ndarray:
    """Return the affine with the planes across `axis` shifted along the next axis."""
    affine, towards = AFFINE.copy(), (axis + 1) % 3
    sideways = np.linalg.norm(AFFINE[:3, axis]) * np.tan(np.deg2rad(tilt_deg))
    affine[:3, axis] += AFFINE[:3, towards] / np.linalg.norm(AFFINE[:3, towards]) * sideways
    return affine


def check_field(volume: Volume, affine: np.ndarray = AFFINE) -> int:
    """Compare values of a volume with what they say, wherever a file of that affine reaches; return how many."""
    places = volume.geometry.to_lps_mm(np.argwhere(np.ones(volume.array.shape))[:, ::-1])
    index = (places @ LPS - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    inside = np.all((index > -1e-3) & (index < np.array(SIZE) - 1 + 1e-3), axis=1)
    np.testing.assert_allclose(volume.array.ravel()[inside], field(places[inside]), atol=0.02)
    return int(inside.sum())


def test_every_voxel_lies_where_nibabel_places_it_or_the_file_is_refused(tmp_path):
    rng, outcomes = np.random.default_rng(22), []
    for number in range(200):
        path = tmp_path / f"{number}.nii"
        path.write_bytes(random_nifti(rng, sheared=False))
        header = nib.nifti1.Nifti1PairHeader(path.read_bytes()[:348], check=False)
        header["pixdim"][0] = header["pixdim"][0] or 1  # as nibabel mends it on loading
        mm = {"unknown": 1, "mm": 1, "meter": 1000, "micron": 0.001}[header.get_xyzt_units()[0]]
        affine = header.get_best_affine()
        affine[:3] *= mm
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        if not header["sform_code"] and not header["qform_code"]:
            expected = "place-unknown"
        elif lengths.min() < 0.01 or lengths.max() > 20:
            expected = "spacing-range"
        else:
            expected = None
        outcomes.append(expected)
        if expected is not None:
            with raises_error(InputError, expected):
                read_volume(path)
            continue
        found = read_volume(path)
        size = header.get_data_shape()[:3]
        assert found.geometry.size == size
        i, j, k = np.indices(size)
        places = found.geometry.to_lps_mm(np.stack([i, j, k], -1))
        np.testing.assert_allclose(places, world(affine, size), atol=0.01 * lengths.min())
    assert len(set(outcomes)) == 3
    assert outcomes.count(None) > 60


@pytest.mark.parametrize("codes", [(1, 1), (2, 1), (1, 2), (1, 4), (4, 1)])
@pytest.mark.parametrize("other", ["mirrored", "shifted"])
def test_where_both_matrices_are_stated_the_sform_counts_and_the_distance_is_told(tmp_path, codes, other):
    elsewhere = AFFINE.copy()
    if other == "mirrored":
        elsewhere[0] *= -1  # 0.8 * 23 + 40 mm at one corner, 40 at the other
        off_mm = 40.0
    else:
        elsewhere[0, 3] += 20
        off_mm = 20.0
    path = save(tmp_path / "ct.nii.gz", AFFINE, sform=codes[0], qform=codes[1], q_affine=elsewhere)
    stored = read_stored(path)
    check_field(stored.volume)
    assert stored.volume.geometry.size == SIZE
    (note,) = stored.notes
    assert f"up to {off_mm:.1f} mm apart (sform and qform); the sform was taken" in note


def test_matrices_that_agree_or_stand_alone_are_not_spoken_of(tmp_path):
    for sform, qform in ((1, 1), (1, 0), (0, 1)):
        stored = read_stored(save(tmp_path / "ct.nii.gz", AFFINE, sform=sform, qform=qform))
        assert stored.notes == ()
        assert stored.grid is None
        check_field(stored.volume)


def test_a_file_without_a_code_is_refused_because_left_and_right_are_not_known(tmp_path):
    with raises_error(InputError, "place-unknown", "ct.nii.gz") as said:
        read_volume(save(tmp_path / "ct.nii.gz", AFFINE, sform=0, qform=0))
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("qform", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("tilt_deg", [12.0, -25.0])
def test_sheared_axes_are_put_upright_and_results_back_onto_the_files_own_voxels(tmp_path, axis, tilt_deg, qform):
    affine = sheared(axis, tilt_deg)
    path = save(tmp_path / "ct.nii.gz", affine, qform=qform)
    stored = read_stored(path)
    assert check_field(stored.volume, affine) > 0.8 * np.prod(SIZE)
    assert f"sheared by {abs(tilt_deg):.1f} degrees" in stored.notes[0]
    if axis == 2:  # sideways over 15 steps of 2.5 mm
        assert f"{abs(np.tan(np.deg2rad(tilt_deg))) * 15 * 2.5:.1f} mm from the first to the last" in stored.notes[0]
    back = tmp_path / "back.nii.gz"
    write_volume(stored.volume, back, grid=stored.grid)
    independent = nib.load(back)
    np.testing.assert_allclose(independent.affine, affine, atol=1e-4)
    assert independent.shape == SIZE
    own = field(world(affine))
    assert np.median(np.abs(independent.get_fdata() - own)) < 0.05
    again = read_stored(back)
    assert again.volume.geometry.same_grid(stored.volume.geometry)
    room = np.empty_like(again.volume.array)
    assert read_volume(back, room=lambda found, _type: room.reshape(found.shape)).array.base is room
    assert np.array_equal(room, again.volume.array)


@pytest.mark.parametrize(("tilt_deg", "percent"), [(18.5, 5), (-16.5, 4), (30.0, 13), (7.0, None)])
def test_by_how_much_a_file_of_dcm2niix_is_too_short_is_told(tmp_path, tilt_deg, percent):
    notes = read_stored(save(tmp_path / "ct.nii.gz", sheared(2, tilt_deg))).notes
    told = [note for note in notes if "dcm2niix" in note]
    assert [f"{percent} % closer together" in note for note in told] == [True] * (percent is not None)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_labels_on_sheared_axes_come_back_as_they_were_and_lie_on_their_ct(tmp_path, axis):
    affine = sheared(axis, 17.0)
    labels = np.zeros(SIZE, np.uint8)
    labels[6:12, 5:14, 4:11], labels[12:20, 5:9, 9:12] = 3, 7
    path = save(tmp_path / "labels.nii.gz", affine, data=labels)
    stored = read_stored(path, labels=True)
    assert set(np.unique(stored.volume.array)) == {0, 3, 7}
    write_volume(stored.volume, tmp_path / "back.nii.gz", names={"a": 3, "b": 7}, grid=stored.grid)
    back = nib.load(tmp_path / "back.nii.gz")
    np.testing.assert_array_equal(np.asarray(back.dataobj), labels)
    np.testing.assert_allclose(back.affine, affine, atol=1e-4)
    save(tmp_path / "mask.nii.gz", affine, data=(labels == 3).astype(np.uint8))
    ct = read_volume(save(tmp_path / "ct.nii.gz", affine))
    mask, notes = read_mask(tmp_path / "mask.nii.gz", ct.geometry, "the mask")
    assert not any("resampled" in note for note in notes)
    inside = mask.geometry.to_lps_mm(np.argwhere(mask.array)[:, ::-1])
    np.testing.assert_allclose(inside.mean(axis=0), world(affine)[labels == 3].mean(axis=0), atol=0.5)


def test_values_beyond_the_sheared_planes_of_a_ct_are_air(tmp_path):
    data = np.full(SIZE, 40, np.int16)
    data[:12] = -500
    ct = load_ct(save(tmp_path / "ct.nii.gz", sheared(), data=data))
    assert ct.volume.array.dtype == np.int16
    assert set(np.unique(ct.volume.array)) <= set(range(-1024, 41))
    assert (ct.volume.array == -1024).any()
    assert ct.notes
    assert ct.grid is not None


@pytest.mark.parametrize("shear", [1e-6, 1e-5, 1e-4, 2e-4, 9e-4])
def test_a_shear_that_rounding_leaves_is_read_without_a_word_and_given_back_exactly(tmp_path, shear):
    affine = AFFINE.copy()
    affine[0, 1] += shear * affine[1, 1]
    path = save(tmp_path / "ct.nii.gz", affine, data=np.arange(np.prod(SIZE), dtype=np.int16).reshape(SIZE))
    stored = read_stored(path)
    assert stored.notes == ()
    np.testing.assert_array_equal(stored.volume.array.transpose(2, 1, 0), np.asarray(nib.load(path).dataobj))
    i, j, k = np.indices(SIZE)
    off_mm = np.linalg.norm(stored.volume.geometry.to_lps_mm(np.stack([i, j, k], -1)) - world(affine), axis=-1)
    assert off_mm.max() < max(1e-4, shear * 0.9 * 20)
    write_volume(stored.volume, tmp_path / "back.nii.gz", grid=stored.grid)
    np.testing.assert_allclose(nib.load(tmp_path / "back.nii.gz").affine, affine, atol=2e-5)


def test_a_rotation_rounded_to_few_decimals_is_read(tmp_path):
    # Text files of registration programs hold as few.
    turn = np.deg2rad(7.0)
    c, s = np.cos(turn), np.sin(turn)
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    for decimals in (6, 4, 3):
        affine = AFFINE.copy()
        affine[:3, :3] = np.round(rotation @ AFFINE[:3, :3], decimals)
        stored = read_stored(save(tmp_path / "ct.nii.gz", affine))
        assert stored.notes == ()
        assert stored.volume.geometry.size == SIZE


def test_shears_that_no_scanner_leaves_are_refused_with_the_millimetres(tmp_path):
    affine = AFFINE.copy()
    affine[:3, :3] = AFFINE[:3, :3] @ [[1, 0.1, 0.1], [0, 1, 0.1], [0, 0, 1]]
    with raises_error(InputError, "axes-sheared"):
        read_volume(save(tmp_path / "affine.nii.gz", affine))
    with raises_error(InputError, "axes-sheared", "40.0", "31.5"):
        read_volume(save(tmp_path / "steep.nii.gz", sheared(2, 40.0)))


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize(("unit", "mm"), [("mm", 1.0), ("unknown", 1.0), ("meter", 1000.0), ("micron", 0.001)])
def test_the_unit_of_length_is_honoured(tmp_path, kind, unit, mm):
    affine = np.diag([1 / mm, 1 / mm, 1 / mm, 1]) @ AFFINE
    path = save(tmp_path / "ct.nii.gz", affine, unit=unit, kind=kind, qform=1, data=field(world(AFFINE)))
    stored = read_stored(path)
    np.testing.assert_allclose(stored.volume.geometry.spacing_mm, (0.8, 0.9, 2.5), rtol=1e-5)
    check_field(stored.volume)
    assert stored.notes == ()


@pytest.mark.parametrize(("unit", "word"), [("meter", "metres"), ("micron", "micrometres")])
def test_numbers_in_mm_that_claim_another_unit_are_refused(tmp_path, unit, word):
    with raises_error(InputError, "spacing-range", word, "0.01", "20") as said:
        read_volume(save(tmp_path / "ct.nii.gz", AFFINE, unit=unit))
    assert "memory" not in str(said.value)


def test_an_edge_of_nothing_is_refused_where_the_qform_needs_it(tmp_path):
    path = save(tmp_path / "ct.nii", AFFINE, sform=0, qform=1)
    raw = bytearray(path.read_bytes())
    raw[80:92] = bytes(12)  # pixdim[1] to [3]
    path.write_bytes(raw)
    with raises_error(InputError, "place-unknown"):
        read_volume(path)


def test_edges_that_differ_between_pixdim_and_sform_are_told(tmp_path):
    path = save(tmp_path / "ct.nii", AFFINE)
    raw = bytearray(path.read_bytes())
    raw[80:92] = np.array([1, 1, 5], "<f4").tobytes()
    path.write_bytes(raw)
    stored = read_stored(path)
    np.testing.assert_allclose(stored.volume.geometry.spacing_mm, (0.8, 0.9, 2.5), rtol=1e-6)
    assert "1 x 1 x 5 mm and, in its sform, of 0.8 x 0.9 x 2.5 mm" in stored.notes[0]


def test_nifti_2_and_what_is_not_a_nifti_in_one_file_is_called_by_its_name(tmp_path):
    path = save(tmp_path / "two.nii.gz", AFFINE, kind=nib.Nifti2Image)
    assert check_field(read_volume(path)) == np.prod(SIZE)
    (tmp_path / "zipped.nii").write_bytes(path.read_bytes())
    assert check_field(read_volume(tmp_path / "zipped.nii")) == np.prod(SIZE)
    nib.save(nib.Nifti1Pair(np.zeros(SIZE, np.int16), AFFINE), tmp_path / "pair.img")
    (tmp_path / "pair.nii").write_bytes((tmp_path / "pair.hdr").read_bytes())
    with raises_error(InputError, "nifti-pair", "NIfTI"):
        read_volume(tmp_path / "pair.nii")
    nib.save(nib.AnalyzeImage(np.zeros(SIZE, np.int16), AFFINE), tmp_path / "old.img")
    (tmp_path / "old.nii").write_bytes((tmp_path / "old.hdr").read_bytes())
    with raises_error(InputError, "analyze-header", "ANALYZE", "7.5"):
        read_volume(tmp_path / "old.nii")


def test_a_mirrored_affine_keeps_its_handedness(tmp_path):
    for signs in itertools.product((1.0, -1.0), repeat=3):
        affine = AFFINE.copy()
        affine[:3, :3] = AFFINE[:3, :3] * signs
        volume = read_volume(save(tmp_path / "ct.nii.gz", affine))
        assert volume.array.shape == SIZE[::-1]
        assert check_field(volume, affine) == np.prod(SIZE)


def test_own_voxels_refuse_another_grid(tmp_path):
    stored = read_stored(save(tmp_path / "ct.nii.gz", sheared()))
    other = Volume(np.zeros((2, 2, 2), np.float32), Geometry((2, 2, 2), (1.0, 1.0, 1.0)))
    with raises_error(InputError, "grid-differs"):
        write_volume(other, tmp_path / "x.nii.gz", grid=stored.grid)
