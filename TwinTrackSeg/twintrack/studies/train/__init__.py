"""From a manifest with several raters to a bundle: checks, networks, calibrator, card."""
