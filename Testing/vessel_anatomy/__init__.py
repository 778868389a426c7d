"""Vessels of the upper abdomen as label maps with known names, and what goes wrong with such maps."""
