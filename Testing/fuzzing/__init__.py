"""Inputs whose structure is wrong, for every reader, each tried in a forked child under limits of memory and time."""
