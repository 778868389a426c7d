"""Between the MRML scene and the engine: imports slicer and vtk, never qt."""
