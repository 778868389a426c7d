"""OpenVINO gives torch's numbers or is not used, and its cache is safe."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from twintrack.bundle.model_bundle import Bundle
from twintrack.inference import openvino as compiled
from twintrack.inference.nnunet_model import Stage, load_network, open_stage
from twintrack.inference.openvino import CompilationError, cache_folder, compile_network

pytestmark = pytest.mark.network

pytest.importorskip("openvino", reason="OpenVINO is not installed")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setattr(compiled, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def patch_of(stage: Stage, batch: int = 1) -> torch.Tensor:
    noise = np.random.default_rng(3).normal(size=(batch, 1, *stage.patch))
    return torch.from_numpy(noise.astype(np.float32))


def must_not_load() -> torch.nn.Module:
    raise AssertionError("the cache was not used")


@pytest.mark.parametrize("kind", ["tiny", "demo coarse", "demo fine"])
def test_logits_are_torchs(fine: Stage, cache: Path, kind: str) -> None:
    from twintrack.bundle.model_bundle import demo_bundle_path

    stage = fine if kind == "tiny" else open_stage(Bundle.open(demo_bundle_path()), kind.split()[1])
    network = load_network(stage, "0")
    found = compile_network(lambda: network, stage, "0" * 64)(patch_of(stage))
    with torch.no_grad():
        expected = network(patch_of(stage))
    assert found.dtype == torch.float32
    assert found.shape == expected.shape
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-3


def test_patches_of_a_batch_are_answered_one_by_one(fine: Stage, cache: Path) -> None:
    network = compile_network(lambda: load_network(fine, "0"), fine, "0" * 64)
    two = patch_of(fine, 2)
    assert torch.equal(network(two), torch.cat([network(two[:1]).clone(), network(two[1:]).clone()]))


def test_the_second_time_it_comes_from_the_cache(fine: Stage, cache: Path) -> None:
    first = compile_network(lambda: load_network(fine, "0"), fine, "0" * 64)
    again = compile_network(must_not_load, fine, "0" * 64)
    assert torch.equal(first(patch_of(fine)).clone(), again(patch_of(fine)))
    assert [path.suffix for path in cache.iterdir()] == [".blob"]


def test_other_weights_are_another_entry(fine: Stage, cache: Path) -> None:
    compile_network(lambda: load_network(fine, "0"), fine, "0" * 64)
    with pytest.raises(AssertionError):
        compile_network(must_not_load, fine, "1" * 64)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_entry_is_made_anew(fine: Stage, cache: Path, damage: str) -> None:
    first = compile_network(lambda: load_network(fine, "0"), fine, "0" * 64)
    (entry,) = cache.iterdir()
    content = bytearray(entry.read_bytes())
    content[100] ^= 0xFF
    entry.write_bytes({"cut": content[:1000], "flipped": content, "empty": b""}[damage])
    loads = []
    again = compile_network(lambda: loads.append(1) or load_network(fine, "0"), fine, "0" * 64)
    assert loads == [1]
    assert torch.equal(first(patch_of(fine)).clone(), again(patch_of(fine)))
    compile_network(must_not_load, fine, "0" * 64)  # and the entry is good again


def test_a_cache_that_cannot_be_written_is_no_trouble(fine: Stage, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    network = compile_network(lambda: load_network(fine, "0"), fine, "0" * 64)
    assert network(patch_of(fine)).shape[1] == fine.heads


def test_the_cache_forgets_what_was_used_longest_ago(fine: Stage, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    compile_network(lambda: load_network(fine, "0"), fine, "0" * 64)
    (first,) = cache.iterdir()
    os.utime(first, (1, 1))
    mine = cache / "thesis.txt"  # of somebody who chose a folder of his own for the cache
    mine.write_text("years")
    os.utime(mine, (0, 0))
    monkeypatch.setattr(compiled, "CACHE_BYTES", int(1.5 * first.stat().st_size))
    compile_network(lambda: load_network(fine, "1"), fine, "1" * 64)
    assert mine.exists()
    assert not first.exists()
    assert len(list(cache.iterdir())) == 2
    compile_network(must_not_load, fine, "1" * 64)


def test_a_network_that_gives_other_values_than_torch_is_refused(fine: Stage, cache: Path) -> None:
    class Flaky(torch.nn.Module):
        """Doubles its answer once it has been traced."""

        def __init__(self) -> None:
            super().__init__()
            self.network = load_network(fine, "0")

        def forward(self, patches: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.network(patches)
            return answer if torch.jit.is_tracing() else 2 * answer

    with pytest.raises(CompilationError, match="differ from torch's"):
        compile_network(Flaky, fine, "0" * 64)
    assert not cache.exists()


def test_a_network_that_cannot_be_converted_is_refused_and_the_log_is_left_as_it_was(fine: Stage, cache: Path) -> None:
    class Odd(torch.nn.Module):
        def forward(self, patches: torch.Tensor) -> torch.Tensor:
            return torch.linalg.eigvals(patches[0, 0]).real

    root = logging.getLogger()
    before = (root.level, list(root.filters), list(root.handlers))
    with pytest.raises(CompilationError):
        compile_network(Odd, fine, "0" * 64)
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
