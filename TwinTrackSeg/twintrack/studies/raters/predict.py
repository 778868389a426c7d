"""What the networks of one training say of a case: all of their outputs, not only the pooled one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twintrack.inference.arrays import class_probabilities, to_host
from twintrack.inference.nnunet_model import Member, Stage, load_member, read_stage
from twintrack.inference.preprocess import preprocess
from twintrack.inference.slices import SliceScorer
from twintrack.inference.sliding_window import Canvas, sliding_logits
from twintrack.inference.tiling import TileMeter
from twintrack.progress.callbacks import CancelToken, no_progress
from twintrack.studies.raters.scores import RaterPrediction
from twintrack.system.json_file import read_json
from twintrack.training import Layout, Strategy
from twintrack.training import Member as Trained
from twintrack.training.presets import CONFIGURATION
from twintrack.volume import Volume

__all__ = ["EnsembleScorer", "SampleScorer", "Scorer"]

Box = tuple[slice, slice, slice]

Scorer = Callable[[Volume, Box | None], RaterPrediction]


class EnsembleScorer:
    """The networks of a results folder, loaded once; torch runs them.

    It gives what `twintrack.inference.score_ensemble` gives if every member looks at every tile, and the members' own
    maps beside.

    Parameters
    ----------
    folder : Path
        As `twintrack.training.train_members` left it.
    layout : Layout
        What the outputs mean.
    members : sequence of Trained
        Which networks there are.
    device : str
        torch's name of where they run.
    cancel : CancelToken
        Checked for every tile.
    """

    def __init__(
        self, folder: Path, layout: Layout, members: Sequence[Trained], *, device: str = "cpu", cancel: CancelToken
    ) -> None:
        self._layout, self._trained, self._cancel = layout, tuple(members), cancel
        plans, dataset = (read_json(folder / f"{name}.json") for name in ("plans", "dataset"))
        self._stage: Stage = read_stage(folder, plans, dataset, CONFIGURATION, mirroring=False)
        self._networks: list[Member] = [load_member(self._stage, one.fold, device) for one in members]
        self._device = device

    def __call__(self, ct: Volume, box: Box | None = None) -> RaterPrediction:
        """Score the voxels of a box, or of the whole CT; outside of it everything is 0.

        Parameters
        ----------
        ct : Volume
            HU, LPS axes.
        box : tuple of slice, optional
            (z, y, x).

        Raises
        ------
        InputError
            If there is too little memory.
        Cancelled
            Within one tile of the token.
        """
        part = ct.array if box is None else ct.array[box]
        spacing = ct.geometry.spacing_mm
        case = preprocess(part, spacing[::-1], self._stage, device=self._device, members=len(self._networks))
        canvas = Canvas.of(case.data, self._stage)
        window = tuple((0, n) for n in part.shape)
        wanted = [self._stage.channels[name] for name in self._layout.tumor_weights]
        found = []
        for network in self._networks:
            meter = TileMeter(len(canvas.tiles), "", no_progress, self._cancel)
            logits, _ = sliding_logits(network, canvas, canvas.tiles, self._stage, meter)
            chances = class_probabilities(logits, overlapping=self._stage.overlapping)[wanted]
            found.append(self._whole(to_host(case.to_grid(chances, window)).clip(0.0, 1.0), ct, box))
        return self._read_out(np.stack(found))

    def _whole(self, part: NDArray[np.float32], ct: Volume, box: Box | None) -> NDArray[np.float32]:
        if box is None:
            return part
        whole = np.zeros((len(part), *ct.array.shape), np.float32)
        place = (slice(None), *box)
        whole[place] = part
        return whole

    def _read_out(self, chances: NDArray[np.float32]) -> RaterPrediction:
        """Return the prediction of (member, tumour label, z, y, x)."""
        weights = np.array(list(self._layout.tumor_weights.values()), np.float32)
        maps = np.einsum("mlzyx,l->mzyx", chances, weights)
        if self._layout.strategy is Strategy.HEADS:
            return RaterPrediction(maps.mean(axis=0), tuple(chances.mean(axis=0)), self._layout.raters)
        if self._layout.strategy is Strategy.RATER_SPECIFIC:
            owners = tuple(one.rater or "" for one in self._trained)
            prediction = RaterPrediction(maps.mean(axis=0), tuple(maps), owners)
            # Each rater counts the same, however many networks there are of one.
            score: NDArray[np.float32] = np.stack(list(prediction.of_raters().values())).mean(axis=0)
            return RaterPrediction(score, tuple(maps), owners)
        levels = None
        if self._layout.strategy is Strategy.ORDINAL:
            mean = chances.mean(axis=0)
            levels = np.concatenate([1 - mean.sum(axis=0, keepdims=True), mean])
        return RaterPrediction(maps.mean(axis=0), tuple(maps), levels=levels)


class SampleScorer:
    """A network of slices: its samples are the members, their mean the score, and its raters' maps stand beside.

    Parameters
    ----------
    folder : Path
        As `twintrack.training.train_harmonizer` left it.
    raters : sequence of str
        In the order of the network's.
    device : str
        torch's name of where it runs.
    cancel : CancelToken
        Checked for every tile.
    """

    def __init__(self, folder: Path, raters: Sequence[str], *, device: str = "cpu", cancel: CancelToken) -> None:
        self._raters = tuple(raters)
        self._scorer = SliceScorer(folder, device=device, cancel=cancel)

    def __call__(self, ct: Volume, box: Box | None = None) -> RaterPrediction:
        """Score the voxels of a box, or of the whole CT; see `EnsembleScorer`."""
        samples, personas = self._scorer(ct, box)
        named = dict(zip(self._raters, personas, strict=True))
        return RaterPrediction(samples.mean(axis=0), tuple(samples), personas=named)
