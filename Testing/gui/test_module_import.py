"""Opening the module in Slicer is fast: nothing heavy is imported for it, measured in a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.render

pytest.importorskip("slicer")
pytest.importorskip("PySide6")

HERE = Path(__file__).resolve().parent
MODULE = HERE.parent.parent / "TwinTrackSeg" / "TwinTrackSeg.py"
HEAVY = ("torch", "nnunetv2", "highdicom", "pydicom", "matplotlib", "sklearn", "skimage", "SimpleITK", "scipy")

LONGEST_SEC = 0.3
"""Of processor time, the best of `TRIES`: a neighbour on the same core stretches that too, if less than wall time."""

TRIES = 5

SCRIPT = """
import json, sys
sys.path[:0] = {paths}
from mrml_environment import preparedScene
from slicer_application import loadModule, start
preparedScene(); start()
import pathlib, packaging.requirements
import slicer.i18n, slicer.parameterNodeWrapper, slicer.ScriptedLoadableModule, slicer.util
import numpy, time, vtk.util.numpy_support  # Slicer has them from its start
before, start = set(sys.modules), time.process_time()
loadModule(pathlib.Path({module}))
seconds = time.process_time() - start
print(json.dumps([seconds, sorted(set(sys.modules) - before)]))
"""


def test_importing_the_module_is_fast_and_imports_no_heavy_package():
    paths = [str(HERE / "standin"), str(HERE.parent / "mrml")]
    script = SCRIPT.format(paths=paths, module=repr(str(MODULE)))
    seconds: list[float] = []
    while len(seconds) < TRIES and not any(second < LONGEST_SEC for second in seconds):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        second, names = json.loads(done.stdout.splitlines()[-1])
        seconds.append(second)
    tops = {name.split(".")[0] for name in names}
    assert "twintrack" in tops
    assert not tops & set(HEAVY)
    assert min(seconds) < LONGEST_SEC
