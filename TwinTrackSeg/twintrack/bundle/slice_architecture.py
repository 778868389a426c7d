"""A network of slices (ADR 55) in numbers, as the plans of a bundle describe it: every number in its range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from twintrack.errors import BundleError

__all__ = ["DECODER", "ENCODER", "NOWHERE", "PLACES", "SLICE_CLASS", "SliceArchitecture", "read_slice_architecture"]

SLICE_CLASS = "twintrack.harmonizer.HarmonizerNetwork"
"""What the plans of such a network name as its class; it is a word, and nothing is imported by it."""

DECODER, ENCODER, NOWHERE = PLACES = ("decoder", "encoder", "off")
"""Which features the noise harmonizer modulates."""

_RANGES = {
    "latent": (1, 64),
    "tokens": (1, 256),
    "token_width": (1, 512),
    "hidden": (1, 1024),
    "combiner": (1, 512),
    "raters": (1, 32),
    "prompts": (1, 256),
    "prompt_edge": (1, 128),
    "bank": (1, 1024),
}
"""Smallest and largest value of each number."""

MAX_LEVELS, MAX_FEATURES = 8, 1024


@dataclass(frozen=True)
class SliceArchitecture:
    """Numbers of a `twintrack.harmonizer.HarmonizerNetwork`.

    Attributes
    ----------
    features : tuple of int
        Channels of each resolution, the finest first.
    raters : int
        Whom the personalizer knows.
    latent : int
        Numbers of a code.
    harmonize : str
        One of `PLACES`.
    tokens, token_width, hidden : int
        Of the noise harmonizer.
    combiner : int
        Channels of the layers that combine features and code.
    thin_start : bool
        Whether the finest resolution has one convolution in place of two, down and up.
    prompts, prompt_edge, bank : int
        Of the personalizer: prompts, their edge in pixels, and prior codes that it looks at.
    """

    features: tuple[int, ...]
    raters: int
    latent: int = 6
    harmonize: str = DECODER
    tokens: int = 8
    token_width: int = 32
    hidden: int = 64
    combiner: int = 16
    thin_start: bool = False
    prompts: int = 8
    prompt_edge: int = 16
    bank: int = 100

    @property
    def name(self) -> str:
        """For people."""
        return SLICE_CLASS.rpartition(".")[2]

    @property
    def steps(self) -> int:
        """Number that must divide the edges of a patch."""
        return 2 ** (len(self.features) - 1)

    def to_json(self) -> dict[str, Any]:
        """Return the entry ``architecture`` of nnU-Net's plans."""
        numbers = asdict(self) | {"features": list(self.features)}
        return {"network_class_name": SLICE_CLASS, "arch_kwargs": numbers, "_kw_requires_import": []}

    def parameters(self, heads: int) -> int:
        """Return at least how many parameters the network has."""
        before = (2, *self.features[:-1])
        widest = sum(9 * count * (less + count) for less, count in zip(before, self.features, strict=True))
        high = 3 * max(self.features[0] // 4, 4)
        prompts = self.prompts * high * self.prompt_edge**2
        return 6 * widest + prompts + heads * self.features[0]

    def activation_bytes(self, patch: Sequence[int], heads: int) -> int:
        """Return about how much memory in bytes a patch takes, but for the parameters."""
        return 4 * prod(patch) * (heads + 6 * sum(self.features) + self.combiner * 3 * heads)


def read_slice_architecture(configuration: Mapping[str, Any], where: str) -> SliceArchitecture | None:
    """Read the entry ``architecture`` of a configuration; None if it is of another network.

    Raises
    ------
    BundleError
        Names the number that is missing or out of range.
    """
    entry = configuration.get("architecture")
    if not isinstance(entry, dict) or entry.get("network_class_name") != SLICE_CLASS:
        return None
    numbers = entry.get("arch_kwargs")
    numbers = numbers if isinstance(numbers, dict) else {}
    features = numbers.get("features")
    if (
        not isinstance(features, list)
        or not 2 <= len(features) <= MAX_LEVELS
        or not all(_within(count, 1, MAX_FEATURES) for count in features)
    ):
        raise _refused(f"'features' must list 2 to {MAX_LEVELS} numbers of channels, got {features!r:.80}", where)
    if numbers.get("harmonize") not in PLACES:
        raise _refused(f"'harmonize' must be one of {', '.join(PLACES)}, got {numbers.get('harmonize')!r:.80}", where)
    for name, (low, high) in _RANGES.items():
        if not _within(numbers.get(name), low, high):
            raise _refused(
                f"{name!r} must be a whole number from {low} to {high}, got {numbers.get(name)!r:.80}", where
            )
    if not isinstance(numbers.get("thin_start"), bool):
        raise _refused(f"'thin_start' must be true or false, got {numbers.get('thin_start')!r:.80}", where)
    further = set(numbers) - {"features", "harmonize", "thin_start", *_RANGES}
    if further:
        raise _refused(f"{sorted(further)[0]!r:.80} is no entry of such a network", where)
    found = SliceArchitecture(
        features=tuple(features),
        harmonize=numbers["harmonize"],
        thin_start=numbers["thin_start"],
        **{name: numbers[name] for name in _RANGES},
    )
    edges = configuration.get("patch_size")
    if not isinstance(edges, list) or len(edges) != 3 or edges[0] != 1 or any(edge % found.steps for edge in edges[1:]):
        raise _refused(f"patch_size must be one slice with edges that {found.steps} divides, got {edges!r:.80}", where)
    return found


def _within(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _refused(sentence: str, where: str) -> BundleError:
    return BundleError(sentence, code="slice-architecture", path=where)
