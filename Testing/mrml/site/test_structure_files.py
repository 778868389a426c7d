"""Masks, label maps and regions that come from files: what they are called, where they lie, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")
from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.io.volumes import write_volume
from twintrack.volume import Geometry, Volume

pytestmark = pytest.mark.slow


@pytest.fixture
def ct(scene):
    from TwinTrackSegLib.mrml.SelfTest import makeExampleCt

    return makeExampleCt()


def written(path, ct, names=None, shift=0):
    """Write boxes of the values 1 and 2, or of the value 1 alone, as a file; return their array (z, y, x)."""
    from TwinTrackSegLib.mrml.VolumeConversion import volumeFromNode

    whole = volumeFromNode(ct)
    array = np.zeros(whole.array.shape, np.uint8)
    array[8:16, 18:30, 20:32] = 1
    if names:
        array[2:4, 2:6, 3:5] = 2
    grid = whole.geometry
    origin = tuple(value + shift for value in grid.origin_mm)
    write_volume(Volume(array, Geometry(grid.size, grid.spacing_mm, origin, grid.direction)), path, names=names)
    return array


def taken(path, ct):
    from TwinTrackSegLib.mrml.site.StructureFiles import structuresStep, takeStructures

    return takeStructures(structuresStep(path, ct)(), ct)


def test_a_mask_is_called_like_its_file_and_lies_where_it_was_drawn(ct, tmp_path):
    from TwinTrackSegLib.mrml.site.Raters import ratersInScene
    from TwinTrackSegLib.mrml.VolumeConversion import segmentMask

    array = written(tmp_path / "Dr. A.nii.gz", ct)
    node = taken(tmp_path / "Dr. A.nii.gz", ct)
    (identifier,) = node.GetSegmentation().GetSegmentIDs()
    assert np.array_equal(segmentMask(node, identifier, ct), array == 1)
    assert [rater.title for rater in ratersInScene()] == ["Dr. A: Dr. A"]
    assert taken(tmp_path / "Dr. A.nii.gz", ct) is not node
    assert len(ratersInScene()) == 1  # read again, not twice there


def test_names_of_a_file_say_which_part_is_which_vessel(ct, tmp_path):
    from TwinTrackSegLib.mrml.vessels.VesselChoice import matchVessels

    written(tmp_path / "vessels.nii.gz", ct, names={"superior_mesenteric_artery": 1, "spleen": 2})
    found = matchVessels(taken(tmp_path / "vessels.nii.gz", ct)).segments
    assert {name for name, identifier in found.items() if identifier} == {"SMA"}


@pytest.mark.parametrize(
    ("shift", "name", "code"), [(0, "no.nii.gz", "file-missing"), (5000, "far.nii.gz", "grid-differs")]
)
def test_what_cannot_be_read_leaves_the_scene_as_it_was(ct, tmp_path, shift, name, code):
    from TwinTrackSegLib.mrml.site.Raters import ratersInScene

    written(tmp_path / "far.nii.gz", ct, shift=shift)
    with raises_error(InputError, code, name):
        taken(tmp_path / name, ct)
    assert ratersInScene() == []


def test_a_region_comes_as_slicer_saved_it_and_anything_else_is_refused(ct, tmp_path):
    import slicer
    from TwinTrackSegLib.mrml.site.StructureFiles import loadRegion
    from TwinTrackSegLib.mrml.worker.RunSettings import roiBox

    saved = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    bounds = [0.0] * 6
    ct.GetRASBounds(bounds)
    saved.SetCenter(*((low + high) / 2 for low, high in zip(bounds[::2], bounds[1::2], strict=True)))
    saved.SetSize(10, 12, 14)
    storage = slicer.vtkMRMLMarkupsROIJsonStorageNode()
    storage.SetFileName(str(tmp_path / "R.mrk.json"))
    assert storage.WriteData(saved)
    region = loadRegion(tmp_path / "R.mrk.json")
    assert region.GetName() == "R"
    assert roiBox(region, ct) == roiBox(saved, ct)
    (tmp_path / "x.mrk.json").write_text("{}", encoding="utf-8")
    number = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode")
    for name, code in (("x.mrk.json", "no-region"), ("no.mrk.json", "file-missing")):
        with raises_error(InputError, code, name):
            loadRegion(tmp_path / name)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == number


@pytest.mark.parametrize("typed", ["a b.nii.gz", " 'a b.nii.gz'\n", '"a b.nii.gz"'])
def test_a_path_may_be_pasted_with_quotes(typed):
    from TwinTrackSegLib.mrml.site.StructureFiles import pathOf

    assert pathOf(typed).name == "a b.nii.gz"
