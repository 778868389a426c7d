"""A process of its own for the Slicer module: ``python -m twintrack.execution.worker``."""
