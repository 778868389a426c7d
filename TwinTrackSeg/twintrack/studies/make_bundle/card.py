"""What a bundle says about itself, as its maker decides it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from twintrack.bundle.schema import POOLING, ROI_COMPONENT_FRACTION
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
    tumor_labels, organ_labels : tuple of str
        Label names, in the fine and in the coarse ``dataset.json``, that make up the tumour and the organ.
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
    """

    name: str
    license: str
    version: str = "1.0"
    description: str = ""
    intended_use: str = RESEARCH_USE
    demo: bool = False
    raters: int | None = None
    tumor_labels: tuple[str, ...] = ("tumor",)
    organ_labels: tuple[str, ...] = ("pancreas",)
    vessel_labels: Mapping[str, str] = field(default_factory=dict)
    roi_margin_mm: float = 20.0
    roi_component_fraction: float = ROI_COMPONENT_FRACTION
    roi_probability: float | None = None
    mirroring: bool = False
    inputs: InputRange | None = None
    contact_mm: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the entries as ``bundle.json`` holds them."""
        entries = asdict(self) | {"vessel_labels": dict(self.vessel_labels)}
        entries["inputs"] = None if self.inputs is None else self.inputs.to_json()
        return entries | {"pooling": POOLING}
