"""What there is to run on, and how much memory it has, is told without taking any."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from twintrack.inference import describe_processor, devices, find_processors, may_have_gpu, select_device

torch = pytest.importorskip("torch")


def test_the_cpu_comes_last_with_the_main_memory():
    cpu = find_processors()[-1]
    assert cpu.device == "cpu"
    assert 0 < cpu.free_bytes <= cpu.total_bytes
    if sys.platform == "linux":
        assert cpu.total_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_asking_takes_no_memory_of_a_graphics_card(monkeypatch):
    """Two cards as torch describes them, and no driver to ask: their size is told, nothing is allocated."""
    monkeypatch.setattr(devices, "may_have_gpu", lambda: True)
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

    monkeypatch.setattr(devices, "may_have_gpu", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", broken)
    assert [each.device for each in find_processors()][-1] == "cpu"


def test_a_processor_that_is_not_there_has_a_name_and_no_memory():
    nothing = describe_processor("cuda:7")
    assert (nothing.device, nothing.total_bytes, nothing.free_bytes) == ("cuda:7", None, None)


def test_without_a_drivers_library_there_is_no_graphics_card_and_torch_agrees():
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        driver = True
    except OSError:
        driver = False
    if sys.platform == "darwin" or driver or Path("/dev/kfd").exists():
        assert may_have_gpu()
    else:
        assert not may_have_gpu()
        assert not torch.cuda.is_available()
        assert select_device("auto") == "cpu"


@pytest.mark.parametrize("system", ["linux", "win32"])
def test_a_drivers_library_leaves_the_answer_to_torch(monkeypatch, system):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: SimpleNamespace())
    assert may_have_gpu()
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: asked.append("cuda") or False)
    assert select_device("auto") in ("cpu", "mps")
    assert asked == ["cuda"]


def test_on_a_mac_torch_alone_can_tell(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: pytest.fail("there is no such library on a Mac"))
    assert may_have_gpu()
