"""Masks and vessel maps as other programs write them, each beside what an independent reader says."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.io.label_maps import read_label_map
from twintrack.io.masks import read_mask
from twintrack.io.vessel_maps import read_vessel_map
from twintrack.io.volumes import read_volume, write_volume
from twintrack.labels import VESSEL_VALUES
from twintrack.volume import Geometry, Volume

GRID = Geometry((24, 20, 16), (0.8, 0.9, 2.0), (-10.0, 5.0, 30.0))


@pytest.fixture
def vessels() -> Volume:
    """Five bars along z, values 1 to 5."""
    array = np.zeros(GRID.shape, np.uint8)
    for value in range(1, 6):
        array[2:14, 4 * value - 2 : 4 * value, 3:6] = value
    return Volume(array[:, : GRID.shape[1]], GRID)


@pytest.fixture
def mask() -> Volume:
    array = np.zeros(GRID.shape, np.uint8)
    array[4:9, 6:12, 7:15] = 1
    return Volume(array, GRID)


def saved(image: sitk.Image, path: Path) -> Path:
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


def crop(image: sitk.Image) -> sitk.Image:
    return image[5:18, 4:15, 2:12]


def turned(image: sitk.Image) -> sitk.Image:
    return sitk.DICOMOrient(image, "RPI")


def shifted(image: sitk.Image) -> sitk.Image:
    moved = sitk.Image(image)
    moved.SetOrigin([value + 0.005 for value in image.GetOrigin()])
    return moved


@pytest.mark.parametrize("change", [crop, turned, shifted], ids=["crop", "flipped axes", "origin 0.005 mm off"])
@pytest.mark.parametrize("value", [1, 2, 255])
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_a_mask_comes_onto_the_cases_grid_exactly(mask, tmp_path, change, value, ending) -> None:
    image = mask.with_array(mask.array * np.uint8(value)).to_sitk()
    path = saved(change(image), tmp_path / f"m{ending}")
    found, notes = read_mask(path, GRID, "the mask")
    assert np.array_equal(found.array, mask.array)
    assert found.geometry.same_grid(GRID)
    assert notes == ()
    # An independent reader: where ITK puts these voxels, nearest neighbour on the grid of the case.
    moved = sitk.Resample(sitk.ReadImage(str(path)), mask.to_sitk(), sitk.Transform(), sitk.sitkNearestNeighbor)
    assert np.array_equal(sitk.GetArrayFromImage(moved) != 0, found.array != 0)


def test_a_mask_on_another_grid_in_the_same_place_is_resampled_and_says_so(mask, tmp_path) -> None:
    fine = sitk.Resample(
        mask.to_sitk(), (48, 40, 32), sitk.Transform(), sitk.sitkNearestNeighbor,
        mask.geometry.origin_mm, (0.4, 0.45, 1.0), mask.geometry.direction,
    )  # fmt: skip
    found, (note,) = read_mask(saved(fine, tmp_path / "fine.nii.gz"), GRID, "the mask")
    assert "resampled" in note
    assert "48 x 40 x 32" in note
    assert abs(int(found.array.sum()) - int(mask.array.sum())) < 0.3 * mask.array.sum()


def test_a_mask_elsewhere_is_refused_with_both_places(mask, tmp_path) -> None:
    image = mask.to_sitk()
    image.SetOrigin((500.0, 0.0, 0.0))
    with raises_error(InputError, "grid-differs", "24", "20", "16", "annotation_A") as said:
        read_mask(saved(image, tmp_path / "far.nii.gz"), GRID, "annotation_A")
    assert len(str(said.value)) < 400 + len(str(tmp_path))


@pytest.mark.parametrize("near", [np.float32(0.99999994), np.float32(1.00003)])
def test_values_that_are_whole_but_for_rounding_are_labels(mask, tmp_path, near) -> None:
    write_volume(mask.with_array(mask.array.astype(np.float32) * near), tmp_path / "near.nii.gz")
    found, _ = read_mask(tmp_path / "near.nii.gz", GRID, "the mask")
    assert np.array_equal(found.array, mask.array)
    write_volume(mask.with_array(mask.array.astype(np.float32) * np.float32(0.9882)), tmp_path / "off.nii.gz")
    with raises_error(InputError, "not-labels"):
        read_mask(tmp_path / "off.nii.gz", GRID, "the mask")


def test_labels_that_nibabel_scaled_on_the_way_are_whole_again(mask, tmp_path) -> None:
    """An array of floats under a header of whole numbers is stored with a slope that no label survives exactly."""
    labels = mask.array.astype(np.float64)
    labels[11, 3:5, 3:5], labels[12, 3, 3] = 24, 24 - 1e-9
    write_volume(mask, tmp_path / "plain.nii.gz")
    scaled = nib.Nifti1Image(labels.transpose(2, 1, 0), nib.load(tmp_path / "plain.nii.gz").affine)
    scaled.set_data_dtype(np.int16)
    scaled.header.set_xyzt_units("mm")
    nib.save(scaled, tmp_path / "scaled.nii.gz")
    assert (
        1e-4 < np.abs(np.asarray(nib.load(tmp_path / "scaled.nii.gz").dataobj) - labels.transpose(2, 1, 0)).max() < 1e-3
    )
    found, _ = read_mask(tmp_path / "scaled.nii.gz#1", GRID, "the mask")
    assert np.array_equal(found.array, mask.array)


def test_an_empty_mask_is_a_reading(mask, tmp_path) -> None:
    write_volume(mask.with_array(np.zeros_like(mask.array)), tmp_path / "empty.nii.gz")
    found, notes = read_mask(tmp_path / "empty.nii.gz", GRID, "the mask")
    assert not found.array.any()
    assert notes == ()


@pytest.mark.parametrize(
    ("array", "error"),
    [
        (np.full(GRID.shape, -1, np.int16), ("not-labels",)),
        (
            np.linspace(0, 1, GRID.size[0] * GRID.size[1] * GRID.size[2], dtype=np.float32).reshape(GRID.shape),
            ("not-labels",),
        ),
    ],
    ids=["a CT", "a map"],
)
def test_what_is_no_mask_is_refused(tmp_path, array, error) -> None:
    write_volume(Volume(array, GRID), tmp_path / "x.nii.gz")
    with raises_error(InputError, *error):
        read_mask(tmp_path / "x.nii.gz", GRID, "the mask")


def test_one_of_several_values_is_chosen_by_number_or_by_its_name_and_else_asked_for(vessels, tmp_path) -> None:
    path = tmp_path / "several.nii.gz"
    write_volume(vessels, path)
    with raises_error(InputError, "structure-not-chosen", "several.nii.gz", "#1"):
        read_mask(path, GRID, "binary")
    found, _ = read_mask(tmp_path / "several.nii.gz#3", GRID, "binary")
    assert np.array_equal(found.array, vessels.array == 3)
    write_volume(vessels, path, names={"tumor": 2, "pancreas": 3})
    found, _ = read_mask(path, GRID, "binary")
    assert np.array_equal(found.array, vessels.array == 2)
    found, _ = read_mask(tmp_path / "several.nii.gz#Pancreas", GRID, "binary")
    assert np.array_equal(found.array, vessels.array == 3)
    with raises_error(InputError, "structure-unknown", "'spleen'", "'tumor'", "'pancreas'"):
        read_mask(tmp_path / "several.nii.gz#spleen", GRID, "binary")


def test_names_written_into_a_file_are_read_by_us_and_leave_it_a_nifti_for_others(vessels, tmp_path) -> None:
    names = {"tumor": 1, "PORTA": 2, "a & <b>": 4}
    write_volume(vessels, tmp_path / "named.nii.gz", names=names)
    write_volume(vessels, tmp_path / "bare.nii.gz")
    image = nib.load(tmp_path / "named.nii.gz")
    assert np.array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), vessels.array)
    assert np.allclose(image.affine, nib.load(tmp_path / "bare.nii.gz").affine)
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "named.nii.gz"))), vessels.array)
    (extension,) = image.header.extensions
    assert "CDATA[PORTA]" in str(extension.get_content())
    assert {part.name: part.value for part in read_label_map(tmp_path / "named.nii.gz").parts} == names
    assert read_volume(tmp_path / "named.nii.gz").geometry.same_grid(GRID)


def totalsegmentator(vessels: Volume, path: Path, names: dict[str, int]) -> Path:
    """A label map as TotalSegmentator 2 writes it: with its table of names in an extension."""
    affine = vessels.geometry.affine.copy()
    affine[:2] *= -1
    image = nib.Nifti1Image(vessels.array.transpose(2, 1, 0), affine)
    rows = "".join(
        f'<Label Key="{value}" Red="0.1" Green="0.2" Blue="0.3" Alpha="1"><![CDATA[{name}]]></Label>\n'
        for name, value in names.items()
    )
    text = (
        '<?xml version="1.0" encoding="UTF-8"?> <CaretExtension>  <Date><![CDATA[2013-07-14T05:45:09]]></Date>   '
        f'<VolumeInformation Index="0">   <LabelTable>{rows}  </LabelTable>  </VolumeInformation></CaretExtension>'
    )
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, text.encode()))
    nib.save(image, path)
    return path


def test_a_totalsegmentator_map_is_read_by_its_own_names(vessels, tmp_path) -> None:
    names = {"spleen": 1, "superior_mesenteric_artery": 2, "aorta": 3, "portal_vein_and_splenic_vein": 4}
    found = read_vessel_map(totalsegmentator(vessels, tmp_path / "ts.nii.gz", names))
    assert found.names == {"AORTA": 3, "SMA": 2}
    assert found.named_by == "file"
    assert "'spleen', 'portal_vein_and_splenic_vein'" in " ".join(found.notes)


def test_organs_with_the_numbers_of_vessels_are_refused(vessels, tmp_path) -> None:
    names = {"spleen": 1, "kidney_right": 2, "kidney_left": 3, "gallbladder": 4, "liver": 5}
    path = totalsegmentator(vessels, tmp_path / "ts.nii.gz", names)
    with raises_error(InputError, "vessels-not-found", "PORTA", "'spleen'", "'kidney_right'", "--vessel-names"):
        read_vessel_map(path)
    with raises_error(InputError, "vessel-name-differs", "'spleen'", "PORTA"):
        read_vessel_map(path, VESSEL_VALUES)
    with raises_error(InputError, "vessels-not-found"):
        read_vessel_map(path, default=VESSEL_VALUES)


def test_bare_numbers_are_never_named(vessels, tmp_path) -> None:
    write_volume(vessels, tmp_path / "bare.nrrd")
    with raises_error(InputError, "vessel-names-missing", "--vessel"):
        read_vessel_map(tmp_path / "bare.nrrd")
    agreed = read_vessel_map(tmp_path / "bare.nrrd", default=VESSEL_VALUES)
    assert agreed.names == VESSEL_VALUES
    given = read_vessel_map(tmp_path / "bare.nrrd", {"AORTA": 2})
    assert given.names == {"AORTA": 2}
    assert "values without a name, not measured: 1, 3, 4, 5" in given.notes[0]
    with raises_error(InputError, "vessels-not-found", "AORTA", "52"):
        read_vessel_map(tmp_path / "bare.nrrd", {"AORTA": 52})
    with raises_error(InputError, "vessels-share-label"):
        read_vessel_map(tmp_path / "bare.nrrd", {"AORTA": 2, "SMV": 2})


def test_an_image_as_vessel_map_is_refused(tmp_path) -> None:
    rng = np.random.default_rng(0)
    write_volume(Volume(rng.integers(0, 3000, GRID.shape).astype(np.uint16), GRID), tmp_path / "ct.nii.gz")
    with raises_error(InputError, "not-labels"):
        read_vessel_map(tmp_path / "ct.nii.gz", {"AORTA": 3})


def test_an_older_result_folder_names_its_segmentation(vessels, tmp_path) -> None:
    write_volume(vessels, tmp_path / "segmentation.nii.gz")
    (tmp_path / "result.json").write_text(json.dumps({"labels": {"tumor": 1, "PORTA": 2, "SMA": 5}}))
    assert read_vessel_map(tmp_path / "segmentation.nii.gz").names == {"PORTA": 2, "SMA": 5}


@pytest.fixture
def folder(vessels, tmp_path) -> Path:
    """A result: a label map in which the tumour covers a half of each vessel, and the whole vessels beside it."""
    labels = np.where(vessels.array > 0, vessels.array + 1, 0).astype(np.uint8)
    labels[8:] = 1
    values = {"PORTA": 1, "SMA": 5}
    named = {"tumor": 1, "PORTA": 2, "SMA": 6}
    write_volume(vessels.with_array(labels), tmp_path / "segmentation.nii.gz", names=named)
    write_volume(vessels, tmp_path / "vessels.nii.gz", names=values)
    (tmp_path / "result.json").write_text(json.dumps({"labels": named, "vessel_values": values}))
    return tmp_path


@pytest.mark.parametrize("given", [None, {"sma": "SMA"}])
def test_of_a_results_segmentation_the_whole_vessels_are_read(vessels, folder, given) -> None:
    found = read_vessel_map(folder / "segmentation.nii.gz", given)
    assert found.names["SMA"] == 5
    assert np.array_equal(found.labels.array, vessels.array)
    assert found.notes[0].startswith("the vessel map: vessels.nii.gz read in place of segmentation.nii.gz")
    assert read_vessel_map(folder / "vessels.nii.gz", given).notes == found.notes[1:]


def test_values_are_those_of_the_given_file_and_a_tumor_over_vessels_is_told(folder) -> None:
    found = read_vessel_map(folder / "segmentation.nii.gz", {"SMA": 6})
    assert found.names == {"SMA": 6}
    assert not (found.labels.array[8:] == 6).any()
    assert any("may lack what the tumour covers" in note for note in found.notes)


def test_a_file_that_an_older_result_does_not_name_is_not_its_vessels(vessels, folder) -> None:
    (folder / "result.json").write_text(json.dumps({"labels": {"tumor": 1, "PORTA": 2, "SMA": 6}}))
    found = read_vessel_map(folder / "segmentation.nii.gz")
    assert found.names == {"PORTA": 2, "SMA": 6}
    assert any("may lack what the tumour covers" in note for note in found.notes)


def test_a_folder_of_masks_is_named_by_its_files(vessels, tmp_path) -> None:
    files = {"aorta": 3, "superior_mesenteric_vein": 2, "liver": 1}
    for name, value in files.items():
        write_volume(vessels.with_array((vessels.array == value).astype(np.uint8)), tmp_path / f"{name}.nii.gz")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    found = read_vessel_map(tmp_path)
    assert found.named_by == "folder"
    assert set(found.names) == {"SMV", "AORTA"}
    for vessel, value in (("SMV", 2), ("AORTA", 3)):
        assert np.array_equal(found.labels.array == found.names[vessel], vessels.array == value)
    assert "not measured: 'liver'" in found.notes[0]
    assert set(read_vessel_map(tmp_path, {"CELIAC": "liver"}).names) == {"CELIAC"}
    with raises_error(InputError, "vessels-not-found", "SMA"):
        read_vessel_map(tmp_path, {"SMA": "spleen"})
    write_volume(vessels.with_array((vessels.array > 1).astype(np.uint8)), tmp_path / "sma.nii.gz")
    with raises_error(InputError, "vessels-overlap"):
        read_vessel_map(tmp_path)


def test_a_folder_without_vessels_says_what_it_holds(mask, tmp_path) -> None:
    with raises_error(InputError, "folder-empty"):
        read_vessel_map(tmp_path)
    write_volume(mask, tmp_path / "liver.nii.gz")
    with raises_error(InputError, "vessels-not-found", "PORTA", "'liver'"):
        read_vessel_map(tmp_path)


def seg_nrrd(path: Path, layers: np.ndarray, fields: list[str]) -> Path:
    """A segmentation of 3D Slicer with several layers, written by hand: (z, y, x, layer)."""
    z, y, x, count = layers.shape
    sx, sy, sz = GRID.spacing_mm
    ox, oy, oz = GRID.origin_mm
    head = [
        *("NRRD0004", "type: unsigned char", "dimension: 4", "space: left-posterior-superior"),
        *(f"sizes: {count} {x} {y} {z}", f"space directions: none ({sx},0,0) (0,{sy},0) (0,0,{sz})"),
        *("kinds: list domain domain domain", "endian: little", "encoding: raw", f"space origin: ({ox},{oy},{oz})"),
        *fields,
    ]
    path.write_bytes("\n".join(head).encode() + b"\n\n" + np.ascontiguousarray(layers, np.uint8).tobytes())
    return path


def test_slicers_overlapping_segments_are_chosen_by_name(mask, tmp_path) -> None:
    other = np.zeros_like(mask.array)
    other[6:12, 8:14, 9:18] = 1
    fields = [
        *("Segment0_Name:=Tumor", "Segment0_LabelValue:=1", "Segment0_Layer:=0"),
        *("Segment1_Name:=Reader B", "Segment1_LabelValue:=1", "Segment1_Layer:=1"),
        "Segment1_Tags:=TerminologyEntry:Segmentation~SCT^123037004^Anatomical Structure~SCT^15825003^Aorta~^^~~^^~^^|",
    ]
    path = seg_nrrd(tmp_path / "two.seg.nrrd", np.stack([mask.array, other], axis=-1), fields)
    found, _ = read_mask(path, GRID, "the mask")  # the one called tumour
    assert np.array_equal(found.array, mask.array)
    found, _ = read_mask(tmp_path / "two.seg.nrrd#reader b", GRID, "the mask")
    assert np.array_equal(found.array, other)
    vessel = read_vessel_map(path)
    assert vessel.names == {"AORTA": VESSEL_VALUES["AORTA"]}
    assert np.array_equal(vessel.labels.array != 0, other != 0)
    with raises_error(InputError, "volume-dimensions"):
        read_volume(path)


def test_two_parts_that_could_be_one_vessel_are_not_guessed(vessels, tmp_path) -> None:
    write_volume(vessels, tmp_path / "v.nii.gz", names={"portal vein": 1, "Vena portae": 2, "aorta": 3})
    with raises_error(InputError, "vessel-names-ambiguous", "PORTA"):
        read_vessel_map(tmp_path / "v.nii.gz")
    chosen = read_vessel_map(tmp_path / "v.nii.gz", {"PORTA": "vena portae", "AORTA": "aorta"})
    assert chosen.names == {"PORTA": 2, "AORTA": 3}


def test_a_tumor_that_was_not_drawn_is_an_empty_mask_and_no_other_organ_takes_its_place(vessels, tmp_path) -> None:
    pancreas = vessels.with_array(np.where(vessels.array == 2, 2, 0).astype(np.uint8))
    write_volume(pancreas, tmp_path / "m.nii.gz", names={"tumor": 1, "pancreas": 2})
    found, _ = read_mask(tmp_path / "m.nii.gz", GRID, "annotation_A")
    assert not found.array.any()
    write_volume(pancreas, tmp_path / "m.nii.gz", names={"pancreas": 2})
    with raises_error(InputError, "structure-not-chosen", "'pancreas'", "m.nii.gz", "#pancreas"):
        read_mask(tmp_path / "m.nii.gz", GRID, "annotation_A")
    write_volume(vessels.with_array(np.minimum(vessels.array, 2)), tmp_path / "m.nii.gz", names={"pancreas": 2})
    with raises_error(InputError, "structure-not-chosen"):
        read_mask(tmp_path / "m.nii.gz", GRID, "annotation_A")
    write_volume(pancreas, tmp_path / "m.nii.gz", names={"Reader B": 2})
    found, _ = read_mask(tmp_path / "m.nii.gz", GRID, "annotation_A")
    assert np.array_equal(found.array, vessels.array == 2)


def test_the_background_is_never_a_structure(vessels, tmp_path) -> None:
    write_volume(vessels.with_array(np.minimum(vessels.array, 2)), tmp_path / "m.nii.gz", names={"???": 0})
    with raises_error(InputError, "structure-not-chosen"):
        read_mask(tmp_path / "m.nii.gz", GRID, "annotation_A")
    path = seg_nrrd(
        tmp_path / "m.seg.nrrd",
        np.stack([vessels.array > 0, vessels.array > 1], axis=-1),
        ["Segment0_Name:=Tumor", "Segment0_LabelValue:=0", "Segment0_Layer:=0"],
    )
    with raises_error(InputError, "segmentation-segments"):
        read_mask(path, GRID, "annotation_A")


def test_a_number_never_picks_one_of_several_layers(vessels, tmp_path) -> None:
    names = ("SMA", "CELIAC", "AORTA", "SMV", "PORTA")
    fields = [
        line
        for number, name in enumerate(names)
        for line in (
            f"Segment{number}_Name:={name}",
            f"Segment{number}_LabelValue:=1",
            f"Segment{number}_Layer:={number}",
        )
    ]
    layers = np.stack([vessels.array == value for value in range(1, 6)], axis=-1)
    path = seg_nrrd(tmp_path / "five.seg.nrrd", layers, fields)
    with raises_error(InputError, "vessel-names-ambiguous", "PORTA"):
        read_vessel_map(path, {"PORTA": 1})
    found = read_vessel_map(path)
    for number, name in enumerate(names, start=1):
        assert np.array_equal(found.labels.array == found.names[name], vessels.array == number)
    unnamed = [line.replace(f"_Name:={names[n // 3]}", f"_Name:=Segment_{n // 3 + 1}") for n, line in enumerate(fields)]
    with raises_error(InputError, "vessel-names-ambiguous"):
        read_vessel_map(seg_nrrd(tmp_path / "u.seg.nrrd", layers, unnamed), default=VESSEL_VALUES)


def test_vessel_names_in_small_letters_are_the_same_vessels(vessels, tmp_path) -> None:
    write_volume(vessels, tmp_path / "v.nii.gz", names=VESSEL_VALUES)
    with raises_error(InputError, "vessel-name-differs", "'PORTA'", "AORTA"):
        read_vessel_map(tmp_path / "v.nii.gz", {"aorta": 1})
    assert read_vessel_map(tmp_path / "v.nii.gz", {"aorta": 3}).names == {"AORTA": 3}


def test_names_without_a_voxel_and_empty_folders_are_refused(vessels, tmp_path) -> None:
    liver = vessels.with_array(np.where(vessels.array == 5, 5, 0).astype(np.uint8))
    write_volume(liver, tmp_path / "v.nii.gz", names={"aorta": 1, "liver": 5})
    with raises_error(InputError, "vessels-not-found"):
        read_vessel_map(tmp_path / "v.nii.gz")
    (tmp_path / "folder").mkdir()
    write_volume(liver.with_array(np.zeros_like(liver.array)), tmp_path / "folder" / "aorta.nii.gz")
    with raises_error(InputError, "vessels-not-found"):
        read_vessel_map(tmp_path / "folder")


def test_a_file_of_a_folder_is_not_another_vessel_inside(vessels, tmp_path) -> None:
    one = vessels.with_array((vessels.array == 3).astype(np.uint8))
    write_volume(one, tmp_path / "sma.nii.gz", names={"aorta": 1})
    with raises_error(InputError, "several-structures", "SMA", "'aorta'"):
        read_vessel_map(tmp_path)
    write_volume(one, tmp_path / "SMA.nrrd")
    with raises_error(InputError, "files-same-name"):
        read_vessel_map(tmp_path)


def test_parts_may_have_any_sign_in_their_name(vessels, tmp_path) -> None:
    write_volume(vessels, tmp_path / "m.nii.gz", names={"Tumor #1": 2, "Tumor/PDAC": 3})
    for name, value in (("Tumor #1", 2), ("Tumor/PDAC", 3)):
        found, _ = read_mask(f"{tmp_path}/m.nii.gz#{name}", GRID, "it")
        assert np.array_equal(found.array, vessels.array == value)


def test_as_many_voxels_of_another_size_are_refused(mask, tmp_path) -> None:
    lost = Volume(mask.array, Geometry(GRID.size, (1.0, 1.0, 1.0)))
    write_volume(lost, tmp_path / "lost.nii.gz")
    with raises_error(InputError, "grid-differs"):
        read_mask(tmp_path / "lost.nii.gz", GRID, "the mask")


def test_unnamed_values_beside_named_ones_are_told(vessels, tmp_path) -> None:
    write_volume(vessels, tmp_path / "v.nii.gz", names={"aorta": 3, "liver": 1})
    notes = " ".join(read_vessel_map(tmp_path / "v.nii.gz").notes)
    assert "'liver'" in notes
    assert "values without a name, not measured: 2, 4, 5" in notes


def test_a_label_of_both_veins_is_read_where_the_two_are_not_told_apart(vessels, tmp_path) -> None:
    path, whole = tmp_path / "v.nii.gz", vessels.with_array(np.where(vessels.array == 2, 1, vessels.array))
    write_volume(whole, path, names={"PORTA_SMV": 1, "SMA": 5})
    assert read_vessel_map(path).names == {"SMA": 5, "PORTA_SMV": 1}
    assert read_vessel_map(path, {"porta_smv": 1}).names == {"PORTA_SMV": 1}
    with raises_error(InputError, "vessel-name-differs", "'PORTA_SMV'", "PORTA"):
        read_vessel_map(path, {"PORTA": 1})
    write_volume(vessels, path, names={"PORTA": 1, "SMV": 2, "PORTA_SMV": 3})
    assert read_vessel_map(path).names == {"PORTA": 1, "SMV": 2}  # together they are measured anyway
