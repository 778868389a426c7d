"""Scores of maps against the raters' masks."""
