"""How several raters become one target, what the network's outputs then mean, and which networks there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from twintrack.bundle.schema import MAX_MEMBERS
from twintrack.errors import InputError
from twintrack.raters import name_order

__all__ = ["FEWEST_CASES", "Layout", "Member", "Strategy", "check_raters", "plan_members"]

FEWEST_CASES = 5
"""With fewer training cases of a rater, what is learnt of the rater is those cases."""

ORGAN = "pancreas"
"""Label of the coarse network."""


class Strategy(str, Enum):
    """What a network is trained to say where raters differ."""

    SINGLE = "single"
    MAJORITY = "majority"
    LABEL_SAMPLING = "label-sampling"
    RATER_SPECIFIC = "rater-specific"
    SOFT = "soft"
    ORDINAL = "ordinal"
    HEADS = "heads"
    HARMONIZER = "harmonizer"

    @property
    def one_rater(self) -> bool:
        """Whether a network learns from one rater alone."""
        return self in (Strategy.SINGLE, Strategy.RATER_SPECIFIC)


@dataclass(frozen=True)
class Layout:
    """What the outputs of a network mean.

    Attributes
    ----------
    strategy : Strategy
        How it is trained.
    raters : tuple of str
        All raters, in the order of the prepared masks.
    anatomy : tuple of str
        Names of the further labels, in the order of their values in the prepared maps.
    tumor : str
        Name of the tumour, where there is one label of it.
    """

    strategy: Strategy
    raters: tuple[str, ...]
    anatomy: tuple[str, ...]
    tumor: str = "tumor"

    @property
    def overlapping(self) -> bool:
        """Whether each output is a region of its own (sigmoid) in place of one label a voxel (softmax)."""
        return self.strategy is Strategy.HEADS

    @property
    def tumor_weights(self) -> dict[str, float]:
        """Weight of each tumour label in the fraction of raters, as ``bundle.json`` holds it."""
        count = len(self.raters)
        if self.strategy is Strategy.ORDINAL:
            return {f"level_{k}": k / count for k in range(1, count + 1)}
        if self.strategy is Strategy.HEADS:
            return {f"rater_{name}": 1 / count for name in self.raters}
        return {self.tumor: 1.0}

    @property
    def first_anatomy(self) -> int:
        """Channel of the first label that is no tumour; the background's, where there is one, is 0."""
        return len(self.tumor_weights) + (not self.overlapping)

    @property
    def channels(self) -> int:
        """Number of the network's outputs."""
        return self.first_anatomy + len(self.anatomy)

    def dataset(self) -> dict[str, Any]:
        """Return nnU-Net's ``dataset.json`` of these outputs."""
        names = [*self.tumor_weights, *self.anatomy]
        labels: dict[str, Any] = {"background": 0}
        entries: dict[str, Any] = {"channel_names": {"0": "CT"}, "file_ending": ".nii.gz"}
        if not self.overlapping:
            labels |= {name: value for value, name in enumerate(names, start=1)}
            return {**entries, "labels": labels}
        # nnU-Net takes labels for overlapping regions if they share a value: where all raters agree.
        shared = len(names) + 1
        for value, name in enumerate(names, start=1):
            labels[name] = [value, shared] if name in self.tumor_weights else value
        return {**entries, "labels": labels, "regions_class_order": list(range(1, len(names) + 1))}


@dataclass(frozen=True)
class Member:
    """One network of the ensemble.

    Attributes
    ----------
    fold : str
        What nnU-Net's layout calls it.
    rater : str or None
        Whom it learns from, if from one rater alone.
    """

    fold: str
    rater: str | None = None


def plan_members(strategy: Strategy, raters: Sequence[str], *, rater: str | None, members: int) -> tuple[Member, ...]:
    """Return the networks: `members` of them, or `members` of each rater where they belong to raters.

    Parameters
    ----------
    strategy : Strategy
        How they are trained.
    raters : sequence of str
        All raters.
    rater : str or None
        The one of `Strategy.SINGLE`; by default the first.
    members : int
        At least 1.

    Raises
    ------
    InputError
        If there are more than a bundle holds, or the rater is unknown or of no use.
    """
    if (rater is not None) and strategy is not Strategy.SINGLE:
        raise InputError("--rater goes with --strategy single; leave it out", code="options-exclude")
    if rater is not None and rater not in raters:
        raise InputError(f"rater {rater} drew no training case; choose among {', '.join(raters)}", code="rater-unknown")
    if strategy is Strategy.HARMONIZER and members != 1:
        raise InputError(
            "--strategy harmonizer trains one network, whose samples differ; leave out --members",
            code="options-exclude",
        )
    if strategy is Strategy.RATER_SPECIFIC:
        owners: list[str | None] = [name for _ in range(members) for name in raters]
    else:
        owners = [(rater or raters[0]) if strategy is Strategy.SINGLE else None] * members
    if not 1 <= len(owners) <= MAX_MEMBERS:
        raise InputError(
            f"there must be 1 to {MAX_MEMBERS} networks, got {len(owners)}; choose another number of --members",
            code="member-count",
        )
    return tuple(Member(str(number), owner) for number, owner in enumerate(owners))


def check_raters(strategy: Strategy, cases_of: Mapping[str, int], sizes_p: float | None) -> tuple[str, ...]:
    """Refuse raters of whom the strategy can learn nothing; return warnings.

    Parameters
    ----------
    strategy : Strategy
        What is asked for.
    cases_of : mapping of str to int
        Number of training cases that each rater read.
    sizes_p : float or None
        P-value of the raters' ranks by size, see `twintrack.metrics.size_ranks`; None where it is not defined.

    Raises
    ------
    InputError
        If there is one rater only, and more are needed.
    """
    if len(cases_of) < 2 and strategy is not Strategy.SINGLE:
        raise InputError(
            f"has one rater only, {next(iter(cases_of), 'none')}, and --strategy {strategy.value} learns from several; "
            "use --strategy single",
            code="one-rater",
        )
    warnings = []
    few = [f"{name} ({cases_of[name]})" for name in sorted(cases_of, key=name_order) if cases_of[name] < FEWEST_CASES]
    if few:
        warnings.append(f"raters with fewer than {FEWEST_CASES} training cases: {', '.join(few)}")
    if (
        sizes_p is not None
        and sizes_p > ALIKE_P
        and strategy
        in (
            Strategy.RATER_SPECIFIC,
            Strategy.HEADS,
            Strategy.HARMONIZER,
        )
    ):
        warnings.append(
            "these readers cannot be told apart by how much they draw; rater-specific training will not differ from "
            f"label sampling (permutation test of size ranks, p = {sizes_p:.2f})"
        )
    return tuple(warnings)


ALIKE_P = 0.05
"""Above this p-value, the raters' ranks by size are what chance gives."""
