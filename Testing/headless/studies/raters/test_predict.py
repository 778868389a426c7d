"""The experiment's scoring of networks against the product's own."""

from __future__ import annotations

import numpy as np
import pytest

from twintrack.bundle.model_bundle import Bundle, demo_bundle_path
from twintrack.inference import NetworkStore, score_ensemble
from twintrack.inference.roi import roi_box
from twintrack.phantom import PhantomCase, make_phantom
from twintrack.progress.callbacks import CancelToken
from twintrack.studies.raters.predict import EnsembleScorer
from twintrack.training import Layout, Member, Strategy

pytestmark = pytest.mark.network

SIDES_MM = (70.0, 108.0, 108.0)
"""A little more than a patch of the demo bundle, so that nothing is grown into the surroundings."""


def box_around_tumor(case: PhantomCase) -> tuple[slice, slice, slice]:
    middle = np.argwhere(case.annotations[0].array).mean(axis=0)
    found = []
    for center, side, step, length in zip(
        middle, SIDES_MM, case.ct.geometry.spacing_mm[::-1], case.ct.array.shape, strict=True
    ):
        size = int(np.ceil(side / step))
        start = int(min(max(center - size / 2, 0), length - size))
        found.append(slice(start, start + size))
    return found[0], found[1], found[2]


def test_a_plain_ensemble_is_scored_as_segment_scores_it() -> None:
    case = make_phantom(3, raters=1)
    z, y, x = box = box_around_tumor(case)
    with Bundle.open(demo_bundle_path()) as bundle:
        folds = bundle.folds["fine"]
        (label,) = bundle.tumor_labels
        layout = Layout(Strategy.SOFT, ("1",), (), tumor=label)
        members = [Member(fold) for fold in folds]
        found = EnsembleScorer(bundle.stage_folder("fine"), layout, members, cancel=CancelToken())(case.ct, box)
        roi = roi_box(case.ct.geometry, (x.start, x.stop, y.start, y.stop, z.start, z.stop))
        expected = score_ensemble(
            case.ct, roi, bundle, store=NetworkStore("cpu", "torch"), skip_below=0, keep_each=True
        )
    assert expected.score.max() > 0.5
    assert np.abs(found.score[box] - expected.score).max() < 1e-5
    for mine, theirs in zip(found.members, expected.each, strict=True):
        assert np.abs(mine[box] - theirs.score).max() < 1e-3  # kept in half precision there
    outside = found.score.copy()
    outside[box] = 0
    assert not outside.any()
