"""How networks run on a graphics card: each way to gain time there is a switch, so that it can be measured alone.

Nothing of it changes a run on the CPU. The product takes `Execution()`; ``tools/gpu_check.py`` compares.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

__all__ = ["Execution", "Precision"]


class Precision(Enum):
    """In which numbers a network computes on a graphics card."""

    FLOAT32 = "float32"
    AUTOCAST = "autocast"
    """Weights stay float32 and are turned into float16 at each forward, as nnU-Net does it."""
    HALF = "half"
    """The same arithmetic with weights that are turned into float16 once; normalisation keeps its own in float32."""


@dataclass(frozen=True)
class Execution:
    """How networks run on an NVIDIA graphics card.

    Attributes
    ----------
    precision : Precision
        The numbers that a network computes in. Tiles are summed up in float32 in any case.
    channels_last : bool
        Whether channels lie next to each other in memory, as the card's matrix units read them. Instance
        normalisation, for which torch would turn the layout back, is then done sample by sample.
    benchmark : bool
        Whether cuDNN tries its algorithms for each layer once and keeps the fastest.
    graph : bool
        Whether the forward of a network is recorded, as a CUDA graph, and then played: what the host does for each of
        its some hundred operations is done once.
    events : bool
        Whether the network's time is taken by events in the card's queue, with up to two batches waiting in it;
        without, the host waits for the card after each pass.
    prepare_on_card : bool
        Whether a CT is normalised and resampled on the card and stays there.
    label_on_card : bool
        Whether the likeliest vessel of each voxel is found on the card, and one byte a voxel comes to main memory.
    batch : int
        Most patches predicted together; fewer where the card's free memory is small.
    """

    precision: Precision = Precision.HALF
    channels_last: bool = True
    benchmark: bool = True
    graph: bool = True
    events: bool = True
    prepare_on_card: bool = True
    label_on_card: bool = True
    batch: int = 4

    @classmethod
    def plain(cls) -> Execution:
        """Return the way without any of it but half precision: eager, by nnU-Net's autocast, waited for."""
        return cls(Precision.AUTOCAST, *(False,) * 6)

    def once(self) -> Execution:
        """Return the way for networks that are gone after one run: nothing that costs first and pays later."""
        return replace(self, benchmark=False, graph=False)
