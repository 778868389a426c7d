"""The Slicer side of TwinTrackSeg: scene and engine (``mrml``), words and decisions (``present``), Qt (``gui``)."""  # noqa: N999
