"""What a network on a card does otherwise is the same arithmetic; here its tensors lie in main memory."""

from __future__ import annotations

import gc
import weakref
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from twintrack.bundle.model_bundle import Bundle
from twintrack.inference.cuda_network import CudaNetwork, GraphMemory, fitting_batch, free_card_bytes
from twintrack.inference.execution import Execution, Precision
from twintrack.inference.network_store import NetworkStore
from twintrack.inference.nnunet_model import Stage, TorchNetwork, load_member
from twintrack.inference.pass_clock import EventClock
from twintrack.inference.tiling import TileMeter
from twintrack.progress.callbacks import CancelToken

pytestmark = pytest.mark.network

FLOAT32 = Execution(Precision.FLOAT32)
HALF_ROUNDING = 2e-2
"""Of the largest logit: some tens of layers, each rounded to 11 bits."""


def network_of(stage: Stage, execution: Execution, batch: int = 2) -> CudaNetwork:
    network = load_member(stage, "0").network
    assert isinstance(network, TorchNetwork)
    return CudaNetwork(network.module, stage.patch, execution, batch, GraphMemory(), "cpu")


def patches_of(stage: Stage, count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 1, *stage.patch)).astype(np.float32)


def relative_difference(found: torch.Tensor, expected: np.ndarray) -> float:
    return float(np.abs(found.numpy() - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("channels_last", [False, True])
def test_in_float32_the_logits_are_those_of_the_plain_module_in_either_layout(fine: Stage, channels_last: bool) -> None:
    patches = patches_of(fine)
    expected = load_member(fine, "0").network(patches)
    found = network_of(fine, replace(FLOAT32, channels_last=channels_last))(patches)
    assert (found.dtype, found.is_contiguous()) == (torch.float32, True)
    assert relative_difference(found, expected) < 1e-5


def test_half_precision_rounds_and_no_more(fine: Stage) -> None:
    patches = patches_of(fine, 1)
    expected = load_member(fine, "0").network(patches)
    network = network_of(fine, Execution(), batch=1)
    found = network(patches)
    assert found.dtype == torch.float32
    assert 0 < relative_difference(found, expected) < HALF_ROUNDING


def test_weights_are_turned_into_half_precision_once_and_those_of_the_normalisation_are_not(fine: Stage) -> None:
    module = load_member(fine, "0").network.module
    norm = next(part for part in module.modules() if isinstance(part, torch.nn.InstanceNorm3d))
    norm.weight.fill_(1 + 2**-20)  # 1 in half precision
    CudaNetwork(module, fine.patch, Execution(), 1, GraphMemory(), "cpu")
    assert torch.equal(norm.weight, torch.full_like(norm.weight, 1 + 2**-20))
    kinds = {(type(part).__name__, p.dtype) for part in module.modules() for p in part.parameters(recurse=False)}
    assert {kind for name, kind in kinds if "Conv" in name} == {torch.float16}
    assert {kind for name, kind in kinds if "Norm" in name} == {torch.float32}


def test_channels_stay_last_from_the_first_layer_on(fine: Stage) -> None:
    module = load_member(fine, "0").network.module
    network = CudaNetwork(module, fine.patch, FLOAT32, 2, GraphMemory(), "cpu")
    seen: list[tuple[str, bool]] = []

    def look(part: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        seen.append((type(part).__name__, output.is_contiguous(memory_format=torch.channels_last_3d)))

    for part in module.modules():
        if isinstance(part, torch.nn.Conv3d | torch.nn.InstanceNorm3d | torch.nn.LeakyReLU):
            part.register_forward_hook(look)
    network(patches_of(fine))
    assert all(last for _, last in seen[:-1])  # the last layer makes the logits
    assert {"Conv3d", "InstanceNorm3d"} <= {name for name, _ in seen}


def test_what_is_returned_is_not_overwritten_by_the_next_call_and_a_small_batch_gives_the_same(fine: Stage) -> None:
    network = network_of(fine, FLOAT32)
    patches = patches_of(fine)
    first = network(patches)
    kept = first.clone()
    alone = network(patches[1:])
    assert torch.equal(first, kept)
    assert alone.shape == (1, *first.shape[1:])
    assert torch.equal(alone[0], first[1])  # a sample does not see the others


def test_where_nothing_can_be_recorded_the_network_goes_on_eagerly(fine: Stage) -> None:
    if torch.cuda.is_available():
        pytest.skip("here it can")
    network = network_of(fine, FLOAT32, batch=1)
    patches = patches_of(fine, 1)
    results = [network(patches) for _ in range(4)]
    assert network.graph is None
    assert all(torch.equal(result, results[0]) for result in results)


needs_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA card")


@needs_card
def test_a_recording_gives_what_the_eager_forward_gives_and_networks_share_its_memory(fine: Stage) -> None:
    memory, patches = GraphMemory(), torch.from_numpy(patches_of(fine)).cuda()
    networks = []
    for fold in ("0", "1"):
        module = load_member(fine, fold, "cuda").network.module
        networks.append(CudaNetwork(module, fine.patch, replace(Execution(), benchmark=False), 2, memory))
    eager = [network(patches) for network in networks]
    assert all(network.graph is None for network in networks)
    recorded = [[network(patches) for network in networks] for _ in range(4)][-1]
    assert all(network.graph is not None for network in networks)
    for first, last in zip(eager, recorded, strict=True):
        torch.testing.assert_close(first, last, rtol=1e-3, atol=1e-3)
    assert networks[0].graph.pool() == networks[1].graph.pool()


@needs_card
def test_the_cards_own_events_tell_the_time_and_the_tiles(fine: Stage) -> None:
    meter = TileMeter(12, "Testing", lambda *_: None, CancelToken())
    network = CudaNetwork(load_member(fine, "0", "cuda").network.module, fine.patch, Execution(), 2, GraphMemory())
    patches, clock = torch.from_numpy(patches_of(fine)).cuda(), EventClock(meter)
    for _ in range(6):
        with clock.network():
            network(patches)
        clock.done(2)
    clock.finish()
    assert meter.done == 12
    assert meter.network_s > 0


def test_the_setting_of_the_process_stays_as_it_was(fine: Stage) -> None:
    before = torch.backends.cudnn.benchmark
    during = []
    module = load_member(fine, "0").network.module
    module.register_forward_hook(lambda *_: during.append(torch.backends.cudnn.benchmark))
    for benchmark in (False, True):
        execution = replace(FLOAT32, benchmark=benchmark, channels_last=False)
        CudaNetwork(module, fine.patch, execution, 1, GraphMemory(), "cpu")(patches_of(fine, 1))
    assert during == [False, True]
    assert torch.backends.cudnn.benchmark == before


def test_a_network_that_is_let_go_frees_its_memory_at_once(fine: Stage) -> None:
    network = network_of(fine, FLOAT32, batch=1)
    weight = weakref.ref(next(network._module.parameters()))
    gc.disable()
    try:
        del network
        assert weight() is None
    finally:
        gc.enable()


def test_the_batch_is_a_power_of_two_that_fits_into_half_of_the_free_memory(fine: Stage) -> None:
    one = fine.architecture.activation_bytes(fine.patch, fine.heads)
    wanted = replace(FLOAT32, batch=11)
    assert fitting_batch(fine, wanted, None) == 8
    assert [fitting_batch(fine, wanted, n * one) for n in (0, 3, 4, 7, 8, 15, 16, 100)] == [1, 1, 2, 2, 4, 4, 8, 8]
    assert fitting_batch(fine, replace(wanted, precision=Precision.HALF), 4 * one) == 4
    assert free_card_bytes() is None or torch.cuda.is_available()


def test_a_stage_that_had_room_for_one_tile_alone_is_not_tried_with_two(bundle: Bundle, fine: Stage) -> None:
    store = NetworkStore("cpu", "torch")
    store.device = store.sums = "cuda"  # nothing is computed there
    store.batch = 4
    store._batches[(fine.patch, fine.heads)] = 1
    assert store.batch_for(fine) == 1
    store.step_down(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert (store.batch, store.sums) == (4, "cpu")
    assert "main memory" in store.notes[0]


def test_what_pays_later_is_left_out_where_networks_do_not_stay_loaded() -> None:
    once = NetworkStore("cpu", "torch", keep=False).execution
    kept = NetworkStore("cpu", "torch").execution
    assert kept == Execution()
    assert once == replace(kept, benchmark=False, graph=False)


def test_the_plain_way_has_every_switch_off() -> None:
    plain = Execution.plain()
    switches = [field.name for field in fields(Execution) if field.type == "bool"]
    assert len(switches) == 6
    assert not any(getattr(plain, name) for name in switches)
    assert plain.precision is Precision.AUTOCAST
