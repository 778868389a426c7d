"""What a bundle says about itself, as its maker decides it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from twintrack.bundle.rater_entries import (
    TRAINING_ENTRIES,
    RaterMember,
    check_rater_members,
    read_rater_members,
    read_training,
    read_tumor_weights,
)
from twintrack.bundle.schema import POOLING, ROI_COMPONENT_FRACTION, schema_for
from twintrack.errors import BundleError
from twintrack.imaging.ct_features import InputRange

__all__ = ["RESEARCH_USE", "BundleCard"]

RESEARCH_USE = "Research use only. Not a medical device; not for diagnosis or treatment decisions."


@dataclass(frozen=True)
class BundleCard:
    """The entries of ``bundle.json`` that cannot be read off the networks.

    Attributes
    ----------
    name, license, version, description, intended_use : str
        For people; `license` is that of the weights.
    demo : bool
        Whether the model knows synthetic phantoms only.
    raters : int or None
        Number of raters behind the calibrator, where known.
    tumor_weights : mapping of str to float
        What each tumour label's probability adds to the score, in (0, 1], by label name in the fine ``dataset.json``.
    organ_labels : tuple of str
        Label names in the coarse ``dataset.json`` that make up the organ.
    vessel_labels : mapping of str to str
        Vessel name (``"SMA"``) to label name in the fine ``dataset.json``.
    roi_margin_mm : float
        How far the organ is dilated to become the region of interest, in mm.
    roi_component_fraction : float
        Connected parts of the organ below this fraction of the largest part are dropped: 0 keeps all, 1 the largest.
    roi_probability : float or None
        The organ is where its probability is at least this; None: where no other class of stage 1 is likelier.
    mirroring : bool
        Whether predictions are averaged over mirrored inputs, as far as the networks were trained for it.
    inputs : InputRange or None
        What the CTs look like that the networks were made with; other CTs then get a warning.
    contact_mm : float or None
        Distance in mm from a vessel's lumen within which tumour touches it; None: the program's own.
    rater_members : sequence of mapping
        As in ``bundle.json``, whose network or whose label is which: ``{"id": "A", "members": ["0", "5"]}`` for all
        raters, or ``{"id": "A", "label": "rater_A"}``. Ids are pseudonyms.
    training : mapping or None
        How the networks were trained: see `twintrack.bundle.rater_entries.TRAINING_ENTRIES`.
    slices : bool
        Whether the fine network is one of slices, which draws samples.
    """

    name: str
    license: str
    version: str = "1.0"
    description: str = ""
    intended_use: str = RESEARCH_USE
    demo: bool = False
    raters: int | None = None
    tumor_weights: Mapping[str, float] = field(default_factory=lambda: {"tumor": 1.0})
    organ_labels: tuple[str, ...] = ("pancreas",)
    vessel_labels: Mapping[str, str] = field(default_factory=dict)
    roi_margin_mm: float = 20.0
    roi_component_fraction: float = ROI_COMPONENT_FRACTION
    roi_probability: float | None = None
    mirroring: bool = False
    inputs: InputRange | None = None
    contact_mm: float | None = None
    rater_members: Sequence[Mapping[str, Any]] = ()
    training: Mapping[str, Any] | None = None
    slices: bool = False

    def checked_raters(self, folds: Sequence[str]) -> tuple[RaterMember, ...]:
        """Return `rater_members` as a program reads them, for the fine model's `folds`.

        Raises
        ------
        BundleError
            If the weights, the raters or the card of the training are not what a bundle may hold.
        """
        weights = read_tumor_weights(dict(self.tumor_weights), self.name)
        raters = read_rater_members(_as_read(list(self.rater_members)) or None, self.name)
        check_rater_members(raters, folds=folds, weights=weights, where=self.name, slices=self.slices)
        for name in self.training or ():
            if name not in TRAINING_ENTRIES:
                raise BundleError(
                    f"'training' has an entry {name!r}; it may have {', '.join(TRAINING_ENTRIES)}",
                    code="bundle-entry",
                    path=self.name,
                )
        read_training(_as_read(self.training), self.name)
        return raters

    def to_json(self) -> dict[str, Any]:
        """Return the entries as ``bundle.json`` holds them, in the lowest schema that can say them."""
        entries = asdict(self) | {"vessel_labels": dict(self.vessel_labels), "pooling": POOLING}
        entries["inputs"] = None if self.inputs is None else self.inputs.to_json()
        weights, raters = dict(self.tumor_weights), [dict(entry) for entry in self.rater_members]
        schema = schema_for(weights, raters, slices=self.slices)
        for name in ("tumor_weights", "rater_members", "training", "slices"):
            del entries[name]
        told: dict[str, Any] = {"tumor_labels": list(weights)} if schema == 1 else {"tumor_weights": weights}
        if raters:
            told["rater_members"] = raters
        if self.training is not None:
            told["training"] = dict(self.training)
        return {"schema": schema} | entries | told


def _as_read(value: object) -> Any:
    """Return a value of the card as a program reads it from ``bundle.json``."""
    return json.loads(json.dumps(value))
