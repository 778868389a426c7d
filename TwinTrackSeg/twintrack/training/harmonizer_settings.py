"""Numbers of the strategy ``harmonizer``: size of its network, length of its phases, and weights of its losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from twintrack.bundle.slice_architecture import DECODER, PLACES, SliceArchitecture
from twintrack.errors import InputError
from twintrack.training.presets import Preset, StageSettings

__all__ = ["HARMONIZER_PRESETS", "HarmonizerSettings"]

LEAST_COMBINER = 8
"""Channels at least of the layers that combine features and code."""


@dataclass(frozen=True)
class HarmonizerSettings:
    """Numbers of a training in two phases.

    Attributes
    ----------
    stage : StageSettings
        Spacing, channels, batch, and length and rate of phase 1; its patch is a stack of slices of one volume,
        (slices, y, x), which share a code. One slice is the paper's.
    personal_epochs : int
        Epochs of phase 2, of as many steps each.
    personal_rate : float
        First learning rate of phase 2.
    samples : int
        K of equation 7: prior samples of each stack in a step.
    kl_weight, penalty_weight, energy_weight : float
        Weights of equation 8 (appendix A); without the energy term the last is 0.
    harmonize : str
        Which features are modulated: ``decoder``, ``encoder`` or ``off``.
    reach_mm : float
        Thickness of the part of a volume that a stack's slices are drawn from.
    latent, bank : int
        Numbers of a code, and prior codes that the personalizer looks at.
    """

    stage: StageSettings
    personal_epochs: int
    personal_rate: float = 5e-5
    samples: int = 8
    kl_weight: float = 2e-3
    penalty_weight: float = 3e-4
    energy_weight: float = 1.0
    harmonize: str = DECODER
    reach_mm: float = 60.0
    latent: int = 6
    bank: int = 100

    def __post_init__(self) -> None:
        if self.harmonize not in PLACES:
            raise InputError(
                f"features are harmonized at one of {', '.join(PLACES)}, not {self.harmonize!r}",
                code="harmonize-place",
            )
        if self.samples < 2:
            raise InputError(
                f"the energy distance needs at least 2 samples a step, not {self.samples}", code="sample-count"
            )

    def architecture(self, raters: Sequence[str]) -> SliceArchitecture:
        """Return the network for these raters."""
        return SliceArchitecture(
            self.stage.features,
            len(raters),
            latent=self.latent,
            harmonize=self.harmonize,
            combiner=max(self.stage.features[0], LEAST_COMBINER),
            thin_start=self.stage.thin_start,
            bank=self.bank,
        )

    def shortened(self, epochs: int, personal_epochs: int, iterations: int) -> HarmonizerSettings:
        """Return the same with another length."""
        stage = replace(self.stage, epochs=epochs, iterations=iterations)
        return replace(self, stage=stage, personal_epochs=personal_epochs)


HARMONIZER_PRESETS: Mapping[Preset, HarmonizerSettings] = MappingProxyType(
    {
        Preset.TINY: HarmonizerSettings(
            StageSettings(
                epochs=40,
                iterations=30,
                batch_size=3,
                spacing_mm=(3.0, 2.0, 2.0),
                patch_size=(4, 64, 64),
                features=(8, 16, 32),
                thin_start=True,
                rate=4e-3,
            ),
            personal_epochs=10,
            personal_rate=3e-3,
            samples=4,
            bank=32,
        ),
        Preset.SMALL: HarmonizerSettings(
            StageSettings(
                epochs=60,
                iterations=50,
                batch_size=3,
                spacing_mm=(2.0, 1.6, 1.6),
                patch_size=(4, 96, 96),
                features=(16, 32, 64, 128),
                rate=1e-3,
            ),
            personal_epochs=30,
            personal_rate=1e-3,
        ),
        Preset.FULL: HarmonizerSettings(
            StageSettings(
                epochs=100,
                iterations=250,
                batch_size=6,
                spacing_mm=(1.5, 0.8, 0.8),
                patch_size=(4, 128, 128),
                features=(32, 64, 128, 192, 192),
                rate=1e-4,
            ),
            personal_epochs=150,
        ),
    }
)
