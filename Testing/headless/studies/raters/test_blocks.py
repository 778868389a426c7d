from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from twintrack.phantom import RaterPanel, Slab, draw_panel, make_phantom
from twintrack.studies.raters.blocks import Block, BlockStore

SLAB = Slab()


def same(found: Block, seed: int, panel: RaterPanel | None, raters: int) -> None:
    made = Block.of(make_phantom(seed, slab=SLAB, panel=panel, raters=raters if panel is None else None))
    for name in ("ct", "anatomy", "vessels", "true_mhr"):
        assert_same(getattr(found, name), getattr(made, name))
    for name in ("masks", "true_raters"):
        own, others = getattr(found, name), getattr(made, name)
        assert list(own) == list(others)
        for rater in own:
            assert_same(own[rater], others[rater])


def assert_same(found: object, made: object) -> None:
    assert found.geometry == made.geometry
    assert found.array.dtype == made.array.dtype
    assert np.array_equal(found.array, made.array)


@pytest.mark.slow
@pytest.mark.parametrize("panel", [None, draw_panel(3, seed=1)], ids=["anonymous", "fixed"])
def test_a_block_that_was_kept_is_the_one_that_was_made(
    panel: RaterPanel | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = tmp_path / "blocks"
    same(BlockStore(SLAB, panel, 3, keep)(5), 5, panel, 3)
    (kept,) = keep.iterdir()
    monkeypatch.setattr(BlockStore, "_made", lambda *_: pytest.fail("made again"))
    same(BlockStore(SLAB, panel, 3, keep)(5), 5, panel, 3)
    assert list(keep.iterdir()) == [kept]


@pytest.mark.slow
def test_a_block_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    BlockStore(SLAB, None, 2, tmp_path)(5)
    (kept,) = tmp_path.iterdir()
    whole = kept.read_bytes()
    for length in (0, 100, len(whole) - 7):
        kept.write_bytes(whole[:length])
        same(BlockStore(SLAB, None, 2, tmp_path)(5), 5, None, 2)
        assert len(kept.read_bytes()) > length


@pytest.mark.slow
def test_other_raters_are_another_file(tmp_path: Path) -> None:
    BlockStore(SLAB, None, 2, tmp_path)(5)
    same(BlockStore(SLAB, None, 3, tmp_path)(5), 5, None, 3)
    same(BlockStore(SLAB, draw_panel(2, seed=0), 2, tmp_path)(5), 5, draw_panel(2, seed=0), 2)
    assert len(list(tmp_path.iterdir())) == 3
