"""The Slicer side of TwinTrackSeg: ``mrml`` (scene and engine, no Qt) and ``gui`` (the only place with Qt)."""  # noqa: N999
