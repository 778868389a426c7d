"""Draw the picture of the sample case for Slicer's Sample Data module: the real slice view, off-screen."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WIDTH_PX, HEIGHT_PX = 280, 260
FIELD_MM = 90.0
COLORS = 256


def main() -> int:
    """Write the picture; about 260 x 280 pixels are what Slicer asks for."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    for part in ("TwinTrackSeg", "Testing/mrml"):
        sys.path.insert(0, str(ROOT / part))
    from mrml_environment import preparedScene
    from offscreen_slice import OffscreenSliceView
    from PIL import Image

    from TwinTrackSegLib.mrml.SampleCase import SAMPLE_NAME, addSampleCase

    scene = preparedScene()
    view = OffscreenSliceView(scene, WIDTH_PX, height=HEIGHT_PX)
    _ct, readers = addSampleCase()
    bounds = [0.0] * 6
    readers.GetRASBounds(bounds)
    view.lookAt([(low + high) / 2 for low, high in zip(bounds[::2], bounds[1::2], strict=True)], FIELD_MM)
    picture = Image.fromarray(view.pixels()).quantize(COLORS)
    view.close()
    picture.save(ROOT / "TwinTrackSeg" / "Resources" / "Icons" / f"{SAMPLE_NAME}.png", optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
