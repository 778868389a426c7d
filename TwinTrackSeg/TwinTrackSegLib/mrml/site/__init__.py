"""A site's own raters: their map, the evaluation against them, a calibrator of their own."""
