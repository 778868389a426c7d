"""Between the MRML scene and the engine: imports slicer and vtk, never qt.

Its rooms, each of which imports only those after it: `export` and `site` (own raters), `result` and `worker`,
`vessels`, `display`. The conversion of nodes to volumes lies below all of them, the module's logic above.
"""
