"""A model as data: its layout, plans, checkpoints and archive, and whether it suits a CT."""
