"""What there is to run on, and how much memory it has, is told without taking any."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import pytest

from twintrack.inference import describe_processor, find_processors

torch = pytest.importorskip("torch")


def test_the_cpu_comes_last_with_the_main_memory():
    cpu = find_processors()[-1]
    assert cpu.device == "cpu"
    assert 0 < cpu.free_bytes <= cpu.total_bytes
    if sys.platform == "linux":
        assert cpu.total_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_asking_takes_no_memory_of_a_graphics_card(monkeypatch):
    """Two cards as torch describes them, and no driver to ask: their size is told, nothing is allocated."""
    cards = [SimpleNamespace(name=f"Card {n}", total_memory=(n + 1) * 10**9, uuid=f"no-such-{n}") for n in range(2)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(cards))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: cards[index])
    for taking in ("mem_get_info", "init", "synchronize", "current_device"):
        monkeypatch.setattr(torch.cuda, taking, lambda *_: pytest.fail("took memory of the card"))
    first, second, cpu = find_processors()
    assert (first.device, first.title, first.total_bytes) == ("cuda:0", "Card 0", 10**9)
    assert second.device == "cuda:1"
    assert second.free_bytes is None
    assert cpu.device == "cpu"
    assert describe_processor("cuda") == first
    assert describe_processor("cuda:1") == second


def test_a_driver_that_does_not_fit_torch_leaves_the_cpu(monkeypatch):
    def broken() -> bool:
        raise RuntimeError("driver too old")

    monkeypatch.setattr(torch.cuda, "is_available", broken)
    assert [each.device for each in find_processors()][-1] == "cpu"


def test_a_processor_that_is_not_there_has_a_name_and_no_memory():
    nothing = describe_processor("cuda:7")
    assert (nothing.device, nothing.total_bytes, nothing.free_bytes) == ("cuda:7", None, None)
