"""A result folder of the engine in the scene: loaded, found again, outlined, corrected."""
