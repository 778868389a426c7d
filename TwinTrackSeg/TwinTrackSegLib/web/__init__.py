"""The browser viewer: the module's way of working without Slicer, on the same scene and with the same sentences."""
