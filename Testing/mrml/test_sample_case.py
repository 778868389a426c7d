"""The sample case in a real scene: the engine's phantom voxel by voxel, its readers by name, without a network."""

from __future__ import annotations

import socket

import numpy as np
import pytest

pytest.importorskip("slicer")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def phantom():
    from twintrack.phantom import make_phantom
    from twintrack.studies.demo import DEMO_SEED

    return make_phantom(DEMO_SEED, raters=5)


@pytest.fixture
def sample(scene, phantom, monkeypatch):
    """The sample case of the scene; the phantom is drawn once for all tests, and any socket is an error."""
    import twintrack.phantom
    from twintrack.studies.demo import DEMO_SEED
    from TwinTrackSegLib.mrml.SampleCase import addSampleCase

    def drawn(seed, *, raters):
        assert (seed, raters) == (DEMO_SEED, 5)
        return phantom

    def refuse(*_args, **_kwargs):
        raise AssertionError("the sample case asked for a network")

    monkeypatch.setattr(twintrack.phantom, "make_phantom", drawn)
    monkeypatch.setattr(socket, "socket", refuse)
    return addSampleCase()


def test_the_ct_is_the_phantoms_and_can_be_segmented(sample, phantom):
    from TwinTrackSegLib.mrml.VolumeConversion import checkCt, geometryFromNode, volumeFromNode

    ct, _readers = sample
    assert ct.GetName() == "TwinTrackPhantom"
    assert geometryFromNode(ct).same_grid(phantom.ct.geometry)
    assert np.array_equal(volumeFromNode(ct).array, phantom.ct.array)
    checkCt(ct)


def test_every_reader_is_a_segment_with_exactly_the_marked_voxels_also_where_readers_overlap(sample, phantom):
    from TwinTrackSegLib.mrml.VolumeConversion import segmentMask

    ct, readers = sample
    segmentation = readers.GetSegmentation()
    names = [segmentation.GetSegment(identifier).GetName() for identifier in segmentation.GetSegmentIDs()]
    assert names == [f"Reader {number}" for number in range(1, 6)]
    masks = [segmentMask(readers, identifier, ct) for identifier in segmentation.GetSegmentIDs()]
    for mask, annotation in zip(masks, phantom.annotations, strict=True):
        assert mask.any()
        assert np.array_equal(mask, annotation.array > 0)
    assert np.sum(masks, axis=0).max() == 5


def test_the_readers_are_found_as_raters_and_their_map_is_the_mean_of_their_masks(sample, phantom):
    from TwinTrackSegLib.mrml.site.Raters import likelyRaters, makeMhr, raterNames, ratersInScene
    from TwinTrackSegLib.mrml.VolumeConversion import volumeFromNode

    ct, _readers = sample
    raters = likelyRaters(ratersInScene(), ct)
    assert raterNames(raters) == tuple(f"Reader {number}" for number in range(1, 6))
    expected = np.mean([annotation.array > 0 for annotation in phantom.annotations], axis=0)
    assert np.allclose(volumeFromNode(makeMhr(raters, ct)).array, expected)


def test_a_second_one_has_another_name(sample):
    from TwinTrackSegLib.mrml.SampleCase import addSampleCase

    ct, readers = addSampleCase()
    assert ct.GetName() != sample[0].GetName()
    assert readers.GetName() == f"{ct.GetName()} readers"


def test_the_views_show_the_ct_where_readers_marked_the_tumor(scene, phantom, monkeypatch):
    from offscreen_slice import OffscreenSliceView

    import twintrack.phantom
    from TwinTrackSegLib.mrml.SampleCase import addSampleCase
    from TwinTrackSegLib.mrml.VolumeConversion import LPS_SIGNS

    monkeypatch.setattr(twintrack.phantom, "make_phantom", lambda *_a, **_k: phantom)
    view = OffscreenSliceView(scene, 100)
    try:
        ct, _readers = addSampleCase()
        assert view.logic.GetSliceCompositeNode().GetBackgroundVolumeID() == ct.GetID()
        offset = view.node.GetSliceOffset()
    finally:
        view.close()
    marked = np.argwhere(np.any([annotation.array > 0 for annotation in phantom.annotations], axis=0))
    heights = [(LPS_SIGNS * phantom.ct.geometry.to_lps_mm(index))[2] for index in marked[:, ::-1]]
    assert min(heights) < offset < max(heights)
