"""The parts of ``tools/gpu_check.py``: what is measured, each in a module, and how it is told."""
