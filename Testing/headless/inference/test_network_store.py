"""Networks are loaded once; when the device fails, the next best takes over and says so."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch

from expected_errors import raises_error
from twintrack.bundle.model_bundle import Bundle
from twintrack.errors import InputError
from twintrack.inference import network_store as store_module
from twintrack.inference.ensemble import score_ensemble
from twintrack.inference.network_store import NetworkStore
from twintrack.inference.nnunet_model import Stage, TorchNetwork
from twintrack.inference.openvino import CompilationError, CompiledNetwork
from twintrack.inference.roi import roi_full
from twintrack.volume import Volume

MakeCt = Callable[..., Volume]


def test_a_kept_network_is_loaded_once(bundle: Bundle, fine: Stage) -> None:
    store = NetworkStore("cpu", "torch")
    first = store.member(bundle, fine, "fine", "0")
    other = store.member(bundle, fine, "fine", "1")
    store.start("cpu", "torch")
    assert store.member(bundle, fine, "fine", "0") is first
    assert store.member(bundle, fine, "fine", "1") is other


def test_without_keeping_one_network_is_in_memory_at_a_time(bundle: Bundle, fine: Stage) -> None:
    store = NetworkStore("cpu", "torch", keep=False)
    first = store.member(bundle, fine, "fine", "0")
    store.member(bundle, fine, "fine", "1")
    assert store.member(bundle, fine, "fine", "0") is not first


def test_another_bundle_or_backend_displaces_the_networks(
    bundle: Bundle, fine: Stage, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    store = NetworkStore("cpu", "torch")
    first = store.member(bundle, fine, "fine", "0")
    with Bundle.open(make_bundle(name="another", out=tmp_path / "b")) as another:
        assert store.member(another, fine, "fine", "0") is not first
    again = store.member(bundle, fine, "fine", "0")
    assert again is not first
    store.start("cpu", "openvino")
    assert isinstance(store.member(bundle, fine, "fine", "0").network, CompiledNetwork)
    store.start("cpu", "torch")
    assert isinstance(store.member(bundle, fine, "fine", "0").network, TorchNetwork)


def test_unknown_backends_and_backends_without_their_device_are_input_errors() -> None:
    with raises_error(InputError, "backend-unknown"):
        NetworkStore("cpu", "onnx")
    store = NetworkStore("cpu", "torch")
    with raises_error(InputError, "device-unknown", "'tpu'"):
        store.start("tpu", "auto")
    with raises_error(InputError, "device-unknown", "'tpu'"):
        store.start("tpu", "auto")  # not taken for the request that is being served


def test_without_openvino_torch_runs_the_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "openvino_present", lambda: False)
    assert NetworkStore("cpu", "auto").backend == "torch"
    with raises_error(InputError, "openvino-missing", "OpenVINO"):
        NetworkStore("cpu", "openvino")


@pytest.mark.network
def test_both_backends_give_the_same_map(make_ct: MakeCt, bundle: Bundle) -> None:
    ct = make_ct((61, 50, 33), (0.9, 1.1, 1.7))
    maps = {}
    for backend in ("torch", "openvino"):
        found = score_ensemble(ct, roi_full(ct.geometry), bundle, store=NetworkStore("cpu", backend))
        assert found.backend == backend
        assert found.notes == ()
        maps[backend] = found.score
    assert abs(maps["torch"] - maps["openvino"]).max() < 1e-3


@pytest.mark.network
def test_a_network_that_openvino_cannot_run_is_run_by_torch(
    monkeypatch: pytest.MonkeyPatch, make_ct: MakeCt, bundle: Bundle
) -> None:
    def refuse(*_: object) -> CompiledNetwork:
        raise CompilationError("an operation is not known")

    monkeypatch.setattr(store_module, "compile_member", refuse)
    ct = make_ct((40, 36, 20))
    found = score_ensemble(ct, roi_full(ct.geometry), bundle, store=NetworkStore("cpu", "auto"))
    assert found.backend == "torch"
    assert found.notes == ("OpenVINO cannot run this model (an operation is not known); torch runs it",)
    plain = score_ensemble(ct, roi_full(ct.geometry), bundle, store=NetworkStore("cpu", "torch"))
    assert (found.score == plain.score).all()


@pytest.mark.network
def test_openvino_failing_in_the_middle_starts_the_member_again_with_torch(
    monkeypatch: pytest.MonkeyPatch, make_ct: MakeCt, bundle: Bundle
) -> None:
    calls = 0
    run = CompiledNetwork.__call__

    def fail_at_the_third(self: CompiledNetwork, patches: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("could not create a primitive\nmore")
        return run(self, patches)

    monkeypatch.setattr(CompiledNetwork, "__call__", fail_at_the_third)
    ct = make_ct((60, 50, 30))
    told: list[float] = []
    found = score_ensemble(
        ct,
        roi_full(ct.geometry),
        bundle,
        store=NetworkStore("cpu", "auto"),
        progress=lambda fraction, _: told.append(fraction),
    )
    assert found.notes == ("OpenVINO failed (could not create a primitive); torch runs the networks",)
    assert told == sorted(told)
    plain = score_ensemble(ct, roi_full(ct.geometry), bundle, store=NetworkStore("cpu", "torch"))
    assert abs(found.score - plain.score).max() < 1e-6


def test_the_ladder_of_a_gpu_that_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    store = NetworkStore("cpu", "torch")
    store.device = store.sums = "meta"  # stands for a GPU: no memory is touched
    store.batch = 4
    seen = []
    for _ in range(4):
        store.step_down(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
        seen.append((store.batch, store.sums, store.device))
    assert seen == [(2, "meta", "meta"), (1, "meta", "meta"), (1, "cpu", "meta"), (1, "cpu", "cpu")]
    assert len(store.notes) == 4
    assert "2 tiles at a time" in store.notes[0]
    assert "main memory" in store.notes[2]
    assert "the CPU runs it" in store.notes[3]
    with raises_error(InputError, "no-memory"):
        store.step_down(RuntimeError("DefaultCPUAllocator: can't allocate memory"))


def test_the_next_run_tries_the_first_choice_again(bundle: Bundle, fine: Stage) -> None:
    store = NetworkStore("cpu", "auto")
    assert store.backend == "openvino"
    store.step_down(RuntimeError("out of memory"))
    assert store.backend == "torch"
    store.start("cpu", "auto")
    assert store.backend == "openvino"
    assert store.notes == []


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: not enough memory",
            raises_error(InputError, "no-memory"),
        ),
        ("expected scalar type Float", pytest.raises(RuntimeError, match="expected scalar type")),  # not hidden
    ],
)
def test_only_a_lack_of_memory_is_the_computers_fault(
    monkeypatch: pytest.MonkeyPatch,
    make_ct: MakeCt,
    bundle: Bundle,
    message: str,
    expected: AbstractContextManager[object],
) -> None:
    def broken(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError(message)

    store = NetworkStore("cpu", "torch")
    monkeypatch.setattr(torch.nn.Conv3d, "forward", broken)
    ct = make_ct((32, 32, 16))
    with expected:
        score_ensemble(ct, roi_full(ct.geometry), bundle, store=store)
