"""Stacks of slices of one volume, drawn from prepared cases and augmented together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, radians
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twintrack.training.prepare import Prepared, PreparedCase

if TYPE_CHECKING:
    import torch

__all__ = ["StackSource", "Stacks"]

AROUND_TUMOR = 0.75
"""Share of the stacks that lie around a voxel that some rater marked."""

JITTER = 0.3
"""By which part of its edge a stack is moved at most from being centred."""

ROOM = 1.25
"""Edge of what is cut out over that of a stack, so that a turned one has no empty corners."""

TURN_DEG, ZOOM = 15.0, 0.15
"""Largest rotation, and logarithm of the largest zoom."""

GAIN, OFFSET, NOISE, NOISY = 0.15, 0.1, 0.3, 0.15
"""Logarithm of the largest gain, spread of the offset, largest spread of noise, and share of the noisy stacks."""


@dataclass(frozen=True)
class Stacks:
    """A batch.

    Attributes
    ----------
    image : torch.Tensor
        (b, z, y, x), normalized intensities.
    anatomy : torch.Tensor
        (b, z, y, x), whole numbers: 0, or a label from 1 on.
    masks : torch.Tensor
        (b, rater, z, y, x), 0 or 1.
    read : torch.Tensor
        (b, rater), boolean: whether the rater read the case.
    """

    image: torch.Tensor
    anatomy: torch.Tensor
    masks: torch.Tensor
    read: torch.Tensor

    @property
    def slices(self) -> torch.Tensor:
        """The image as (b * z, 1, y, x)."""
        return self.image.flatten(0, 1)[:, None]

    @property
    def drawn(self) -> torch.Tensor:
        """Whether anybody marked anything in a stack, (b)."""
        return self.masks.flatten(1).any(1)


class StackSource:
    """Draws stacks from prepared cases.

    Parameters
    ----------
    prepared : Prepared
        The cases.
    cases : sequence of PreparedCase
        Those to draw from.
    shape : tuple of int
        Of a stack, (z, y, x).
    reach : int
        Slices of the volume, around the one that was chosen, among which a stack's others are drawn: with neighbours
        alone, the one code of a stack would never have to fit slices with and without tumour together.
    device : str
        torch's name of where stacks go.
    """

    def __init__(
        self,
        prepared: Prepared,
        cases: Sequence[PreparedCase],
        shape: tuple[int, int, int],
        reach: int,
        device: str,
    ) -> None:
        self._folder, self._cases, self._shape, self._device = prepared.arrays, tuple(cases), shape, device
        self._reach = max(reach, shape[0])
        self._raters = prepared.raters
        self._open: dict[str, tuple[Any, Any, Any, Any]] = {}

    def draw(self, rng: np.random.Generator, count: int, *, augment: bool = True) -> Stacks:
        """Return a batch of `count` stacks."""
        import torch

        room = (self._shape[0], *(ceil(edge * ROOM) for edge in self._shape[1:]))
        images, channels, read = [], [], []
        for _ in range(count):
            case = self._cases[rng.integers(len(self._cases))]
            image, marks = self._cut(case, rng, room)
            images.append(image)
            channels.append(marks)
            read.append([rater in case.raters for rater in self._raters])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        return self._augmented(
            torch.from_numpy(np.stack(images)),
            torch.from_numpy(np.stack(channels)),
            torch.tensor(read),
            generator,
            augment,
        )

    def _arrays(self, case: PreparedCase) -> tuple[Any, Any, Any, Any]:
        if case.name not in self._open:
            image, channels = (
                np.load(self._folder / f"{case.name}{kind}.npy", mmap_mode="r", allow_pickle=False)
                for kind in ("", "_seg")
            )
            with np.load(self._folder / f"{case.name}.npz", allow_pickle=False) as stored:
                self._open[case.name] = (image[0], channels, stored["tumor"][:, 1:], stored["rest"][:, 1:])
        return self._open[case.name]

    def _cut(
        self, case: PreparedCase, rng: np.random.Generator, room: Sequence[int]
    ) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
        image, channels, tumor, rest = self._arrays(case)
        wanted = tumor if rng.random() < AROUND_TUMOR else rest
        places = next((found for found in (wanted, rest, tumor) if len(found)), None)
        if places is None:
            center = np.array([rng.integers(edge) for edge in image.shape])
        else:
            center = np.asarray(places[rng.integers(len(places))])
        slices = self._slices(int(center[0]), image.shape[0], rng)
        inside, target = [], []
        for place, edge, wide, size in zip(center[1:], self._shape[1:], room[1:], image.shape[1:], strict=True):
            most = int(JITTER * edge)
            start = int(place) + int(rng.integers(-most, most + 1)) - wide // 2
            low, high = max(start, 0), min(start + wide, size)
            inside.append(slice(low, high))
            target.append(slice(low - start, high - start))
        cut = np.zeros(tuple(room), np.float32)
        marks = np.zeros((len(channels), *room), np.int8)
        (rows, columns), (there_y, there_x) = inside, target
        cut[:, there_y, there_x] = image[slices, rows, columns]
        marks[:, :, there_y, there_x] = channels[:, slices, rows, columns]
        return cut, marks

    def _slices(self, chosen: int, size: int, rng: np.random.Generator) -> list[int]:
        """Return the numbers of a stack's slices, `chosen` and others near it; some twice in a volume of too few."""
        first = min(max(chosen - self._reach // 2, 0), max(size - self._reach, 0))
        others = [number for number in range(first, min(first + self._reach, size)) if number != chosen] or [chosen]
        wanted = self._shape[0] - 1
        drawn = rng.choice(others, wanted, replace=len(others) < wanted)
        return sorted([chosen, *map(int, drawn)])

    def _augmented(
        self,
        image: torch.Tensor,
        channels: torch.Tensor,
        read: torch.Tensor,
        generator: torch.Generator,
        augment: bool,
    ) -> Stacks:
        """Turn, zoom, shade and spoil; random numbers are those of the CPU."""
        import torch
        from torch.nn import functional

        count, strength = len(image), float(augment)

        def uniform(most: float) -> torch.Tensor:
            return (2 * torch.rand(count, generator=generator) - 1) * most * strength

        angle, zoom = uniform(radians(TURN_DEG)), uniform(ZOOM).exp() / ROOM
        gain, offset = uniform(GAIN).exp(), torch.randn(count, generator=generator) * OFFSET * strength
        noisy = torch.rand(count, generator=generator) < NOISY * strength
        spread = torch.rand(count, generator=generator) * NOISE * noisy
        noise = torch.randn((count, *self._shape), generator=generator) if bool(noisy.any()) else torch.zeros(())

        device = torch.device(self._device)
        cosine, sine, nothing = zoom * angle.cos(), zoom * angle.sin(), torch.zeros(count)
        turned = torch.stack([cosine, -sine, nothing, sine, cosine, nothing], dim=1).view(count, 2, 3).to(device)
        grid = functional.affine_grid(turned, [count, 1, *self._shape[1:]], align_corners=False)
        image = functional.grid_sample(image.to(device), grid, align_corners=False)
        flat = channels.to(device).float().flatten(1, 2)
        flat = functional.grid_sample(flat, grid, mode="nearest", align_corners=False)
        marks = flat.unflatten(1, channels.shape[1:3])
        shade = (slice(None), None, None, None)
        image = image * gain.to(device)[shade] + offset.to(device)[shade]
        image = image + noise.to(device) * spread.to(device)[shade]
        anatomy = (marks[:, 0].round().long() - 1).clamp(min=0)
        return Stacks(image, anatomy, (marks[:, 1:] == 1).float(), read.to(device))
