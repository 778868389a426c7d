"""OpenVINO gives torch's numbers or is not used, and its cache is safe."""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from twintrack.bundle.model_bundle import Bundle
from twintrack.inference import openvino as compiled
from twintrack.inference.nnunet_model import Member, Stage, TorchNetwork, load_member, open_stage
from twintrack.inference.openvino import CompilationError, CompiledNetwork, cache_folder, compile_member

pytestmark = pytest.mark.network

pytest.importorskip("openvino", reason="OpenVINO is not installed")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setattr(compiled, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def patch_of(stage: Stage, batch: int = 1) -> np.ndarray:
    noise = np.random.default_rng(3).normal(size=(batch, 1, *stage.patch))
    return noise.astype(np.float32)


def must_not_load() -> Member:
    raise AssertionError("the cache was not used")


def compiled_of(stage: Stage, fold: str = "0", load: Callable[[], Member] | None = None) -> CompiledNetwork:
    """Compile a member, of which the fold's name stands for the hash of its weights."""
    network = compile_member(load or (lambda: load_member(stage, fold)), stage, "a member", fold * 64).network
    assert isinstance(network, CompiledNetwork)
    return network


def around(module: torch.nn.Module) -> Member:
    return Member("a member", TorchNetwork(module, "cpu"), (), "cpu")


@pytest.mark.parametrize("kind", ["tiny", "demo coarse", "demo fine"])
def test_logits_are_torchs(fine: Stage, cache: Path, kind: str) -> None:
    from twintrack.bundle.model_bundle import demo_bundle_path

    stage = fine if kind == "tiny" else open_stage(Bundle.open(demo_bundle_path()), kind.split()[1])
    member = load_member(stage, "0")
    found = compiled_of(stage, load=lambda: member)(patch_of(stage))
    expected = member.network(patch_of(stage))
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() / np.abs(expected).max() < 1e-3


def test_patches_of_a_batch_are_answered_one_by_one(fine: Stage, cache: Path) -> None:
    network = compiled_of(fine)
    two = patch_of(fine, 2)
    assert np.array_equal(network(two), np.concatenate([network(two[:1]), network(two[1:])]))


def test_the_second_time_it_comes_from_the_cache(fine: Stage, cache: Path) -> None:
    first = compiled_of(fine)
    again = compiled_of(fine, load=must_not_load)
    assert np.array_equal(first(patch_of(fine)), again(patch_of(fine)))
    assert [path.suffix for path in cache.iterdir()] == [".blob"]


def test_another_number_of_threads_is_the_same_entry(fine: Stage, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {}
    for threads in (1, 2):
        monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
        network = compiled_of(fine, load=None if threads == 1 else must_not_load)
        model = network._request.get_compiled_model()
        assert model.get_property("INFERENCE_NUM_THREADS") == threads
        answers[threads] = network(patch_of(fine))
    assert len(list(cache.iterdir())) == 1
    np.testing.assert_allclose(answers[1], answers[2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mirroring", [False, True])
def test_an_entry_knows_the_axes_that_the_member_is_mirrored_along(fine: Stage, cache: Path, mirroring: bool) -> None:
    stage = dataclasses.replace(fine, mirroring=mirroring)
    made = compile_member(lambda: load_member(stage, "0"), stage, "fold_0", "0" * 64)
    again = compile_member(must_not_load, stage, "fold_0", "0" * 64)
    assert made.mirror_axes == again.mirror_axes == ((0, 2) if mirroring else ())
    assert (again.name, again.device) == ("fold_0", "cpu")


def test_other_weights_are_another_entry(fine: Stage, cache: Path) -> None:
    compiled_of(fine)
    with pytest.raises(AssertionError):
        compiled_of(fine, "1", must_not_load)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_entry_is_made_anew(fine: Stage, cache: Path, damage: str) -> None:
    first = compiled_of(fine)
    (entry,) = cache.iterdir()
    content = bytearray(entry.read_bytes())
    content[100] ^= 0xFF
    entry.write_bytes({"cut": content[:1000], "flipped": content, "empty": b""}[damage])
    loads = []
    again = compiled_of(fine, load=lambda: loads.append(1) or load_member(fine, "0"))
    assert loads == [1]
    assert np.array_equal(first(patch_of(fine)), again(patch_of(fine)))
    compiled_of(fine, load=must_not_load)  # and the entry is good again


def test_a_cache_that_cannot_be_written_is_no_trouble(fine: Stage, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    network = compiled_of(fine)
    assert network(patch_of(fine)).shape[1] == fine.heads


def test_the_cache_forgets_what_was_used_longest_ago(fine: Stage, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    compiled_of(fine)
    (first,) = cache.iterdir()
    os.utime(first, (1, 1))
    mine = cache / "thesis.txt"  # of somebody who chose a folder of his own for the cache
    mine.write_text("years")
    os.utime(mine, (0, 0))
    monkeypatch.setattr(compiled, "CACHE_BYTES", int(1.5 * first.stat().st_size))
    compiled_of(fine, "1")
    assert mine.exists()
    assert not first.exists()
    assert len(list(cache.iterdir())) == 2
    compiled_of(fine, "1", must_not_load)


def test_a_network_that_gives_other_values_than_torch_is_refused(fine: Stage, cache: Path) -> None:
    class Flaky(torch.nn.Module):
        """Doubles its answer once it has been traced."""

        def __init__(self) -> None:
            super().__init__()
            self.network = load_member(fine, "0").network.module

        def forward(self, patches: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.network(patches)
            return answer if torch.jit.is_tracing() else 2 * answer

    with pytest.raises(CompilationError, match="differ from torch's"):
        compiled_of(fine, load=lambda: around(Flaky()))
    assert not cache.exists()


def test_a_network_that_cannot_be_converted_is_refused_and_the_log_is_left_as_it_was(fine: Stage, cache: Path) -> None:
    class Odd(torch.nn.Module):
        def forward(self, patches: torch.Tensor) -> torch.Tensor:
            return torch.linalg.eigvals(patches[0, 0]).real

    root = logging.getLogger()
    before = (root.level, list(root.filters), list(root.handlers))
    with pytest.raises(CompilationError):
        compiled_of(fine, load=lambda: around(Odd()))
    assert (root.level, root.filters, root.handlers) == before


def test_the_tests_own_cache_is_not_the_users() -> None:
    import os

    assert str(cache_folder()).startswith(os.environ["XDG_CACHE_HOME"])


OFFLINE = """
import socket, sys
def refuse(*_, **__):
    raise AssertionError("network access")
socket.socket.connect = socket.getaddrinfo = refuse
from twintrack.inference.openvino import openvino_present
assert openvino_present()
import openvino
assert "openvino_telemetry" not in sys.modules
import threading
assert threading.active_count() == 1, threading.enumerate()
"""


def test_openvino_is_used_without_its_telemetry() -> None:
    done = subprocess.run([sys.executable, "-c", OFFLINE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
