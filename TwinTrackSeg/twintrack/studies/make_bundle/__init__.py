"""A bundle made from nnU-Net's results."""
