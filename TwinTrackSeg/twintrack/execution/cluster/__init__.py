"""Dask: schedulers, workers, and what is submitted to them."""
