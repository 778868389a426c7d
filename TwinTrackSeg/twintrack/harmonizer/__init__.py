"""A probabilistic U-Net of slices whose samples differ as raters do: network and losses, after arXiv:2605.08210.

S. Karimijafarbigloo et al., "Harmonized Feature Conditioning and Frequency-Prompt Personalization for Multi-Rater
Medical Segmentation" (2026). Written from the paper's equations, which leave much open; what was decided stands in
ADR 55. Equation numbers in this package are the paper's.
"""

from twintrack.harmonizer.losses import energy_loss, mask_distance, mean_distance, segmentation_loss
from twintrack.harmonizer.network import HarmonizerNetwork

__all__ = ["HarmonizerNetwork", "energy_loss", "mask_distance", "mean_distance", "segmentation_loss"]
