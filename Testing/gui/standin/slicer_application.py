"""The part of the Slicer application that the module meets: ``slicer.app``, ``slicer.modules``, loading of the module.

``slicer`` itself, its nodes and ``slicer.util`` are the real ones of the slicer-core wheel. The Python files that the
wheel lacks come from the Slicer source tree named by SLICER_SOURCE, or else from the small ones in ``slicer_python``.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import types
from pathlib import Path

import qt
import slicer.util

import slicer

HERE = Path(__file__).resolve().parent


class ModuleManager(qt.QObject):
    moduleAboutToBeUnloaded = qt.Signal(str)

    def module(self, name):
        return getattr(slicer.modules, name.lower(), None)


class SlicerApplication(qt.QApplication):
    """`slicer.app`, as far as the module and `slicer.util` ask for it."""

    applicationName = "Slicer"
    majorVersion, minorVersion = 5, 12
    startupCompleted = qt.Signal()

    def __init__(self):
        super().__init__(["Slicer"])
        self._folder = tempfile.TemporaryDirectory(prefix="slicer-stand-in-")
        self.temporaryPath = self._folder.name
        self._manager = ModuleManager()
        self._startupEnvironment = qt.QProcessEnvironment.systemEnvironment()
        self.setOrganizationName("TwinTrackSeg stand-in")
        qt.QSettings.setPath(qt.QSettings.NativeFormat, qt.QSettings.UserScope, self.temporaryPath)

    def moduleManager(self):
        return self._manager

    def startupEnvironment(self):
        """Return the environment of before the launcher: what is set later is Slicer's own."""
        return self._startupEnvironment

    def testingEnabled(self):
        return True

    def translate(self, _context, text):
        return text

    def layoutManager(self):
        return None


class ScriptedModule:
    """What `slicer.modules.<name>` is for a scripted module, and what its first class gets as parent."""

    def __init__(self, path: Path):
        self.name, self.path, self._widget = path.stem, str(path), None
        self.title, self.categories, self.dependencies, self.contributors = "", [], [], []
        self.helpText, self.acknowledgementText, self.icon = "", "", None
        specification = importlib.util.spec_from_file_location(self.name, path)
        self.pythonModule = importlib.util.module_from_spec(specification)
        sys.modules[self.name] = self.pythonModule
        specification.loader.exec_module(self.pythonModule)

    def widgetRepresentation(self):
        """Return the one widget that the application shows, made when it is first asked for."""
        if self._widget is None:
            self._widget = self.makeWidget()
        return self._widget

    def makeWidget(self):
        widget = slicer.qSlicerScriptedLoadableModuleWidget(self)
        widget.setup()
        return widget


def start() -> SlicerApplication:
    """Make `slicer.app` and its neighbours, once."""
    if getattr(slicer, "app", None) is not None:
        return slicer.app
    source = os.environ.get("SLICER_SOURCE")
    slicer.__path__.append(str(Path(source) / "Base/Python/slicer" if source else HERE / "slicer_python"))
    if source:
        sys.path.insert(0, str(Path(source) / "Modules/Scripted/SampleData"))
    slicer.modules = sys.modules["slicer.modules"] = types.ModuleType("slicer.modules")
    import mrml_widgets

    mrml_widgets.install()
    slicer.app = SlicerApplication()
    return slicer.app


def loadModule(path: Path) -> ScriptedModule:
    """Load a scripted module as Slicer does: folder on the path, first class made with the module as parent, set up."""
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    module = ScriptedModule(path)
    setattr(slicer.modules, module.name.lower(), module)
    instance = getattr(module.pythonModule, module.name)(module)
    setattr(slicer.modules, f"{module.name}Instance", instance)
    if hasattr(instance, "setup"):
        instance.setup()
    return module
