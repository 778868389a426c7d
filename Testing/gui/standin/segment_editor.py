"""What the panel meets of Slicer's Segment Editor: the module selector, and the editor widget with its node."""

from types import SimpleNamespace

import slicer


class SegmentEditor:
    """Remembers what it was asked to edit."""

    def __init__(self):
        self.opened, self.segmentation, self.volume, self.segment = "", None, None, ""
        self.node = slicer.vtkMRMLSegmentEditorNode()

    def setSegmentationNode(self, node):
        self.segmentation = node

    def setSourceVolumeNode(self, node):
        self.volume = node

    def setCurrentSegmentID(self, identifier):
        self.segment = identifier

    def mrmlSegmentEditorNode(self):
        return self.node


def install(monkeypatch):
    """Put an editor where modules look for it; return it."""
    editor = SegmentEditor()

    def selectModule(name):
        editor.opened = name

    monkeypatch.setattr(slicer.util, "moduleSelector", lambda: SimpleNamespace(selectModule=selectModule))
    widget = SimpleNamespace(self=lambda: SimpleNamespace(editor=editor))
    module = SimpleNamespace(widgetRepresentation=lambda: widget)
    monkeypatch.setattr(slicer.modules, "segmenteditor", module, raising=False)
    return editor
