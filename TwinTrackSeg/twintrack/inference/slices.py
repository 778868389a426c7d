"""Stage 2 with a network of slices: samples and raters of the whole region, each with one code (ADR 55)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twintrack.bundle.model_bundle import Bundle
from twintrack.errors import BundleError
from twintrack.inference.arrays import CPU, Array, class_probabilities, to_device, to_host
from twintrack.inference.ensemble_result import EnsembleResult
from twintrack.inference.network_store import NetworkStore
from twintrack.inference.nnunet_model import Member, Stage, load_member, open_stage, read_stage
from twintrack.inference.preprocess import preprocess, preprocess_region
from twintrack.inference.rater_maps import rater_spread
from twintrack.inference.roi import Roi
from twintrack.inference.sliding_window import Canvas, sliding_logits
from twintrack.inference.tiling import Tile, TileMeter
from twintrack.inference.vessel_map import VesselChannels, vessel_map
from twintrack.progress.callbacks import CancelToken, Progress, no_progress, part
from twintrack.system.json_file import read_json
from twintrack.volume import Volume

if TYPE_CHECKING:
    import torch

    from twintrack.harmonizer import HarmonizerNetwork

__all__ = ["MARKED", "SCORE_SAMPLES", "SliceMaps", "SliceScorer", "draw_slices", "score_slices"]

SCORE_SAMPLES = 16
"""Samples whose mean is the score. Always the same ones, so that a result repeats and a calibrator fits."""

MARKED = 0.5
"""A sample marks a voxel where its own probability is above this."""

BATCH = 8
"""Slices predicted together."""

SEED = 2605_08210
"""Of the samples and of the bank that raters' codes are found with."""


@dataclass(frozen=True)
class SliceMaps:
    """What a network of slices says of a canvas, float32 in network space; see `twintrack.inference.arrays`.

    Attributes
    ----------
    anatomy : array
        Probabilities (class, a, b, c) of what a voxel is if it is not tumour, background first.
    samples, raters : array
        Probability of tumour by each sample and each rater, (n, a, b, c).
    """

    anatomy: Array
    samples: Array
    raters: Array


def draw_slices(
    network: HarmonizerNetwork,
    canvas: Canvas,
    stage: Stage,
    meter: TileMeter,
    *,
    samples: int = SCORE_SAMPLES,
    raters: bool = True,
    device: str = CPU,
    sums: str = CPU,
) -> SliceMaps:
    """Draw samples, and what each rater would draw, of a canvas whose tiles have one slice.

    The prior of the canvas is the mean of its tiles', of mean and of standard deviation; so is a rater's code. A sample
    has one code in all of them, and is coherent through slices.

    Parameters
    ----------
    network : HarmonizerNetwork
        On `device`.
    canvas : Canvas
        Its tiles count the same for the codes.
    stage : Stage
        Its plans.
    meter : TileMeter
        Told of every tile, as often as `passes` says.
    samples : int
        How many; the first ones are the same for every number.
    raters : bool
        Whether raters are wanted too.
    device, sums : str
        torch's names of where the network runs, and where tiles are summed up.
    """
    import torch

    from twintrack.harmonizer.latent import Gaussian

    architecture = _architecture(stage)
    bank_noise, noise = (
        torch.from_numpy(
            np.random.default_rng([SEED, stream]).standard_normal((count, architecture.latent), np.float32)
        )
        for stream, count in enumerate((architecture.bank, samples))
    )

    def over_tiles(read: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """Return the mean over the tiles of what is read of each, one row a tile."""
        total, count = torch.zeros(()), 0
        for tiles in _batches(canvas.tiles):
            meter.before()
            with torch.no_grad():
                total = total + read(_patches(canvas.data, tiles, device)).sum(0).cpu()
            count += len(tiles)
            meter.after(len(tiles))
        return total / count

    def moments(patches: torch.Tensor) -> torch.Tensor:
        found = network.prior(patches)
        return torch.stack([found.mean, found.std], dim=1)

    mean, std = over_tiles(moments)
    prior = Gaussian(mean[None], std[None])
    codes, personal = prior.sample(noise)[0].to(device), torch.zeros(0, architecture.latent, device=device)
    if raters:
        bank = prior.sample(bank_noise).to(device)
        personal = over_tiles(
            lambda patches: network.personalizer(network.features(patches).maps, bank.expand(len(patches), -1, -1))
        ).to(device)
    classes = stage.heads - 1
    counts = (classes, len(codes), len(personal))
    drawing = Member("fold_0", _Drawing(network, codes, personal, device), (), device)
    outputs = replace(stage, channels={str(number): number for number in range(sum(counts))})
    logits, _ = sliding_logits(drawing, canvas, canvas.tiles, outputs, meter, batch=BATCH, sums=sums)
    ends = np.cumsum(counts)
    chances = class_probabilities(logits[ends[0] :], overlapping=True)
    return SliceMaps(
        class_probabilities(logits[: ends[0]], overlapping=False),
        chances[: counts[1]],
        chances[counts[1] :],
    )


def passes(*, raters: bool) -> int:
    """Return how often `draw_slices` looks at each tile."""
    return 3 if raters else 2


class _Drawing:
    """A network with its codes, called as `twintrack.inference.nnunet_model.TorchNetwork` is."""

    def __init__(self, network: HarmonizerNetwork, codes: torch.Tensor, personal: torch.Tensor, device: str) -> None:
        self._network, self._codes, self._personal, self._device = network, codes, personal, device

    def __call__(self, patches: Array) -> Array:
        """Return the logits of (batch, 1, 1, y, x), float32."""
        import torch

        tensor = torch.from_numpy(np.ascontiguousarray(patches)) if isinstance(patches, np.ndarray) else patches
        with torch.no_grad():
            logits = self._network(tensor[:, :, 0], self._codes, self._personal)[:, :, None].float()
        return logits.numpy() if self._device == CPU else logits


def score_slices(
    ct: Volume,
    roi: Roi,
    bundle: Bundle,
    store: NetworkStore,
    keep_raters: bool,
    samples: int,
    progress: Progress,
    cancel: CancelToken,
) -> EnsembleResult:
    """Score the region as `twintrack.inference.ensemble.score_ensemble` says, with a network of slices.

    Raises
    ------
    BundleError
        If the network gives values that are not finite.
    """
    stage = open_stage(bundle, "fine")
    progress(0.0, "Preparing the region of interest")
    outputs = stage.heads - 1 + SCORE_SAMPLES + keep_raters * len(bundle.rater_members)
    roomy = replace(stage, channels={str(number): number for number in range(outputs)})
    case, window = preprocess_region(ct, roi, roomy, device=store.prepares_on, members=1, note=store.note)
    canvas = Canvas.of(case.data, stage, None if roi.mask.all() else case.from_grid(roi.mask, window))
    looks = len(canvas.tiles) * passes(raters=keep_raters)
    meter = TileMeter(looks, "Drawing samples", part(progress, 0.05, 0.95), cancel)
    network = _module(store.member(bundle, stage, "fine", bundle.folds["fine"][0]))
    maps = draw_slices(network, canvas, stage, meter, raters=keep_raters, device=store.device, sums=store.sums)
    cancel.check()
    progress(0.95, "Bringing the samples to the CT's grid")

    def on_grid(channel: Array) -> NDArray[np.float32]:
        found = to_host(case.to_grid(channel[None], window)[0].clip(0.0, 1.0))
        return np.multiply(found, roi.mask, out=found)

    tumor = maps.samples.mean(0)
    score = on_grid(tumor)
    if not np.isfinite(score).all():
        raise BundleError(
            "the network of slices gives values that are not finite on this CT",
            code="values-not-finite",
            path=stage.folder,
        )
    bits = None
    if samples:
        bits = np.zeros(score.shape, np.uint16)
        for number, sample in enumerate(maps.samples[:samples]):
            bits |= (on_grid(sample) > MARKED).astype(np.uint16) << number
    rater_maps = {}
    if keep_raters:
        rater_maps = {
            rater.id: on_grid(maps.raters[rater.persona]).astype(np.float16) for rater in bundle.rater_members
        }
    channels, vessels = VesselChannels.of(bundle, stage), None
    if channels.values:
        classes = to_device(_with_tumor(maps.anatomy, tumor), store.labels_on)
        vessels = vessel_map(case, classes, window, channels, roi.mask)
    progress(1.0, "Tumour score ready")
    return EnsembleResult(
        roi,
        score,
        vessels,
        bundle.vessel_values,
        members=1,
        tiles=len(canvas.tiles),
        skipped=0,
        disagreement_ml=None,
        device=store.device,
        backend="torch",
        network_s=round(meter.network_s, 3),
        notes=tuple(store.notes),
        rater_maps=rater_maps,
        rater_spread=rater_spread(list(rater_maps.values())) if rater_maps else None,
        samples=bits,
    )


class SliceScorer:
    """A network of a training's folder, loaded once, for cases that are given as a whole or in a box.

    Parameters
    ----------
    folder : Path
        As `twintrack.training.train_harmonizer` left it.
    device : str
        torch's name of where it runs.
    cancel : CancelToken, optional
        Checked for every tile.
    """

    def __init__(self, folder: Path, *, device: str = CPU, cancel: CancelToken | None = None) -> None:
        plans, dataset = (read_json(folder / f"{name}.json") for name in ("plans", "dataset"))
        self.stage = read_stage(folder, plans, dataset, next(iter(plans["configurations"])), mirroring=False)
        self.network = _module(load_member(self.stage, "0", device))
        self._device, self._cancel = device, cancel or CancelToken()

    def __call__(
        self,
        ct: Volume,
        box: tuple[slice, slice, slice] | None = None,
        *,
        samples: int = SCORE_SAMPLES,
        raters: bool = True,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the probability of tumour by each sample and by each rater, in the plans' order.

        Parameters
        ----------
        ct : Volume
            HU, LPS axes.
        box : tuple of slice, optional
            (z, y, x); outside of it everything is 0.
        samples, raters
            As in `draw_slices`.

        Returns
        -------
        tuple of numpy.ndarray
            (sample, z, y, x) and (rater, z, y, x), float32 in [0, 1], on the CT's grid.
        """
        inner = box or (slice(0, None),) * 3
        array = ct.array[inner]
        case = preprocess(array, ct.geometry.spacing_mm[::-1], self.stage, device=self._device)
        canvas = Canvas.of(case.data, self.stage)
        looks = len(canvas.tiles) * passes(raters=raters)
        meter = TileMeter(looks, "", no_progress, self._cancel)
        maps = draw_slices(self.network, canvas, self.stage, meter, samples=samples, raters=raters, device=self._device)
        window = tuple((0, size) for size in array.shape)
        found = []
        for channels in (maps.samples, maps.raters):
            whole = np.zeros((len(channels), *ct.array.shape), np.float32)
            if len(channels):
                place = (slice(None), *inner)
                whole[place] = to_host(case.to_grid(channels, window)).clip(0.0, 1.0)
            found.append(whole)
        return found[0], found[1]


def _architecture(stage: Stage) -> Any:
    architecture = stage.slices
    assert architecture is not None, "not a network of slices"
    return architecture


def _module(member: Member) -> HarmonizerNetwork:
    network: HarmonizerNetwork = member.network.module  # type: ignore[attr-defined]
    return network


def _batches(tiles: Sequence[Tile]) -> Iterator[Sequence[Tile]]:
    for start in range(0, len(tiles), BATCH):
        yield tiles[start : start + BATCH]


def _patches(data: Array, tiles: Sequence[Tile], device: str) -> torch.Tensor:
    """Return the tiles as (n, 1, y, x)."""
    import torch

    cut = [data[:, tile[0], tile[1], tile[2]] for tile in tiles]
    if isinstance(data, np.ndarray):
        return torch.from_numpy(np.stack(cut)[:, :, 0]).to(torch.device(device))
    return torch.stack(cut)[:, :, 0].to(torch.device(device))


def _with_tumor(anatomy: Array, tumor: Array) -> Array:
    """Return the probabilities of all classes, in the order of the labels: background, tumour, anatomy."""
    rest = anatomy * (1 - tumor)
    if isinstance(rest, np.ndarray):
        return np.concatenate([rest[:1], tumor[None], rest[1:]])
    import torch

    return torch.cat([rest[:1], tumor[None], rest[1:]])
