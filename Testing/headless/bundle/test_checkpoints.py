"""Checkpoints are read as data: what real training leaves is let through, code is refused by name and never runs."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from expected_errors import raises_error
from twintrack.bundle.checkpoints import read_checkpoint
from twintrack.errors import BundleError


class Evil:
    """Unpickling this runs a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch '{self.marker}'",))


def with_module_names(source: Path, target: Path, old: bytes, new: bytes) -> int:
    """Copy a checkpoint with other module names in its pickle, as another numpy would write; return how many."""
    changed = 0
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as copy:
        for entry in archive.infolist():
            content = archive.read(entry)
            if entry.filename.endswith("data.pkl"):
                changed = content.count(old)
                content = content.replace(old, new)
            copy.writestr(entry.filename, content)
    return changed


LOGGED = {
    "losses": [np.float32(0.5), np.float64(0.25), np.array(0.125, np.float32)],
    "dice_per_class": [np.arange(3.0), np.array([True]), np.arange(2, dtype=np.int64)],
    "epoch": np.int64(7),
}


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_a_training_log_of_numpy_1_and_of_numpy_2_is_read(tmp_path: Path, module: bytes) -> None:
    written, path = tmp_path / "written.pth", tmp_path / "checkpoint_final.pth"
    torch.save({"network_weights": {"a": torch.ones(2)}, "logging": LOGGED, "_best_ema": np.float64(0.5)}, written)
    mine = b"numpy._core.multiarray" if hasattr(np, "_core") else b"numpy.core.multiarray"
    assert with_module_names(written, path, mine, module) >= 2
    checkpoint = read_checkpoint(path, foreign=True)
    assert checkpoint["_best_ema"] == 0.5
    assert checkpoint["logging"]["losses"] == [0.5, 0.25, 0.125]
    assert checkpoint["logging"]["epoch"] == 7
    assert checkpoint["logging"]["dice_per_class"][0].tolist() == [0, 1, 2]


HIDING_PLACES: dict[str, Callable[[Evil], dict[str, Any]]] = {
    "entry": lambda evil: {"note": evil},
    "logging": lambda evil: {"logging": {"mean_fg_dice": [np.float64(0.1), evil]}},
    "object array": lambda evil: {"logging": {"mean_fg_dice": np.array([evil], dtype=object)}},
    "init_args": lambda evil: {"init_args": {"plans": {"configurations": {"3d_fullres": evil}}}},
    "weights": lambda evil: {"network_weights": {"a": evil}},
    "optimizer": lambda evil: {"optimizer_state": {"state": {0: {"momentum_buffer": evil}}}},
}


@pytest.mark.parametrize("foreign", [True, False])
@pytest.mark.parametrize("place", HIDING_PLACES)
def test_code_is_refused_by_name_wherever_it_hides_and_does_nothing(tmp_path: Path, place: str, foreign: bool) -> None:
    path, marker = tmp_path / "checkpoint_final.pth", tmp_path / "ran"
    content = {"network_weights": {"a": torch.ones(1)}} | HIDING_PLACES[place](Evil(marker))
    torch.save(content, path)
    by_numpy = place in ("object array", "logging") and not foreign
    name = "numpy" if by_numpy else "system"
    with raises_error(BundleError, "checkpoint-refused", name):
        read_checkpoint(path, foreign=foreign)
    assert not marker.exists()


@pytest.mark.parametrize("value", [np.array([{}], dtype=object), np.array(["a"]), np.datetime64(0, "s"), Path("x")])
def test_whatever_else_a_log_could_hold_is_refused_by_name(tmp_path: Path, value: object) -> None:
    path = tmp_path / "checkpoint_final.pth"
    torch.save({"network_weights": {"a": torch.ones(1)}, "logging": value}, path)
    with raises_error(BundleError, "checkpoint-refused"):
        read_checkpoint(path, foreign=True)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_bundle_checkpoint_with_code_in_it_is_refused_and_does_nothing(tmp_path: Path, legacy: bool) -> None:
    path, marker = tmp_path / "checkpoint_final.pth", tmp_path / "ran"
    torch.save(
        {"network_weights": {"a": torch.ones(1)}, "x": Evil(marker)}, path, _use_new_zipfile_serialization=not legacy
    )
    with raises_error(BundleError, "checkpoint-damaged" if legacy else "checkpoint-refused"):
        read_checkpoint(path)
    assert not marker.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_bare_pickle_is_refused_and_does_nothing(tmp_path: Path) -> None:
    path, marker = tmp_path / "checkpoint_final.pth", tmp_path / "ran"
    path.write_bytes(pickle.dumps({"network_weights": Evil(marker)}))
    with pytest.raises(BundleError):
        read_checkpoint(path, foreign=True)
    assert not marker.exists()


def test_numpy_values_are_let_through_from_training_but_not_in_a_bundle(fine_results: Path) -> None:
    path = fine_results / "fold_0/checkpoint_final.pth"
    assert read_checkpoint(path, foreign=True)["_best_ema"] == np.float64(0.5)
    with raises_error(BundleError, "checkpoint-refused"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"junk" * 100, b"PK\x03\x04junk"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "checkpoint_final.pth"
    path.write_bytes(content)
    with raises_error(BundleError, "checkpoint-damaged", "checkpoint_final.pth"):
        read_checkpoint(path)
