"""What the user sees: the only place that imports qt and ctk."""
