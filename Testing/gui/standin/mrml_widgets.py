"""Stand-ins for Slicer's own widgets that the panel uses, on the real MRML scene."""

from __future__ import annotations

import weakref

import qt
from ctk import NotStoodIn, parentOf, stored
from qt import Property, Signal, registerCustomWidget

import slicer


@registerCustomWidget
class qMRMLWidget(qt.QWidget):
    mrmlSceneChanged = Signal(object)

    def __init__(self, *args):
        super().__init__(parentOf(args))
        self._scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


@registerCustomWidget
class qMRMLNodeComboBox(qt.QWidget):
    """A selector of nodes that follows the scene."""

    currentNodeChanged = Signal(object)

    def __init__(self, *args):
        super().__init__(parentOf(args))
        self._scene, self._tags, self._types, self._lastID, self._updating = None, [], [], None, False
        self._combo = qt.QComboBox()
        layout = qt.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        self._combo.currentIndexChanged.connect(self._emitCurrent)
        self.setEnabled(False)  # until it has a scene

    def _accepts(self, node):
        hidden = node.GetHideFromEditors() or any(node.IsA(t) for t in self.hideChildNodeTypes)
        return not hidden and any(node.IsA(t) for t in self._types)

    def _refresh(self):
        nodes = [self._scene.GetNthNode(n) for n in range(self._scene.GetNumberOfNodes())]
        nodes = [node for node in nodes if self._accepts(node)]
        selected = self._combo.currentData
        self._updating = True
        self._combo.clear()
        if self.noneEnabled:
            self._combo.addItem("None", "")
        for node in nodes:
            self._combo.addItem(node.GetName(), node.GetID())
        index = self._combo.findData(selected) if selected else -1
        self._combo.setCurrentIndex(index if index >= 0 else (0 if self.noneEnabled else -1))
        self._updating = False
        self._emitCurrent()

    def _emitCurrent(self, *_unused):
        nodeID = self._combo.currentData or ""
        if not self._updating and self._scene is not None and nodeID != self._lastID:
            self._lastID = nodeID
            self.currentNodeChanged.emit(self.currentNode())

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        if scene is self._scene:
            return
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._scene, self._tags = scene, []
        self.setEnabled(scene is not None)
        if scene is None:
            return
        me, tags = weakref.ref(self), self._tags

        def update(_caller, _event):
            widget = me()
            if widget is not None and qt.shiboken6.isValid(widget):
                widget._refresh()
                return
            for tag in tags:  # deleted: as Slicer's own, it leaves the scene
                scene.RemoveObserver(tag)

        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent, scene.EndImportEvent):
            self._tags.append(scene.AddObserver(event, update))
        self._refresh()

    def currentNode(self):
        nodeID = self._combo.currentData
        return self._scene.GetNodeByID(nodeID) if self._scene is not None and nodeID else None

    def setCurrentNode(self, node):
        index = self._combo.findData(node.GetID()) if node is not None else -1
        self._combo.setCurrentIndex(index if index >= 0 else (0 if self.noneEnabled else -1))

    def _setTypes(self, types):
        self._types = list(types)
        if self._scene is not None:
            self._refresh()

    nodeTypes = Property("QStringList", lambda self: tuple(self._types), _setTypes)
    hideChildNodeTypes = stored("QStringList", "_hideChildNodeTypes", [])
    noneEnabled = stored(bool, "_noneEnabled", False)
    addEnabled = stored(bool, "_addEnabled", True)
    removeEnabled = stored(bool, "_removeEnabled", True)


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """What Slicer gives a scripted module's widget class as its parent."""

    def __init__(self, module):
        super().__init__()
        self._module, self.pythonWidget, self.isEntered = module, None, False
        qt.QVBoxLayout(self)

    def setup(self):
        self.pythonWidget = getattr(self._module.pythonModule, self._module.name + "Widget")(self)
        self.pythonWidget.setup()
        self.setMRMLScene(slicer.mrmlScene)

    def self(self):
        return self.pythonWidget

    def enter(self):
        self.isEntered = True
        self.pythonWidget.enter()

    def exit(self):
        self.isEntered = False
        self.pythonWidget.exit()


def install() -> None:
    """Put the stand-ins where modules look for them; others that Slicer's own files name exist by name only."""
    for cls in (qMRMLWidget, qMRMLNodeComboBox, qSlicerScriptedLoadableModuleWidget):
        setattr(slicer, cls.__name__, cls)
    slicer.qSlicerWidget = qMRMLWidget
    for name in ("qMRMLRangeWidget", "qMRMLSliderWidget", "qMRMLSpinBox", "qMRMLTableView"):
        setattr(slicer, name, type(name, (NotStoodIn,), {}))
