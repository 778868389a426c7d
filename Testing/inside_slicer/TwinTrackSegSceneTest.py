"""Run by ctest inside Slicer (``--testing --python-script``), with a main window: the module's own self test.

Steps that need a package which Slicer does not ship are not run where it is not installed, and say so.
"""

import slicer.util

from TwinTrackSeg import TwinTrackSegTest

try:
    TwinTrackSegTest().runTest()
    slicer.util.exit(slicer.util.EXIT_SUCCESS)
except Exception:
    import traceback

    traceback.print_exc()
    slicer.util.exit(slicer.util.EXIT_FAILURE)
