"""A small parameter node wrapper: typed parameters in a MRML node, bound both ways to the widgets of a panel.

Nodes are kept as node references, the rest as text, where Slicer's own wrapper keeps them too.
"""

import pathlib
import typing

import slicer.util
import vtk

import slicer

__all__ = ["WithinRange", "parameterNodeWrapper"]

PROPERTY = "SlicerParameterName"


class WithinRange:
    """Refuses values outside a closed range."""

    def __init__(self, minimum, maximum):
        self.minimum, self.maximum = minimum, maximum

    def check(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{value} is not within {self.minimum} and {self.maximum}")


class _NodeKind:
    default = None

    def read(self, node, name):
        return node.GetNodeReference(name)

    def write(self, node, name, value):
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def isIn(self, _node, _name):
        return True  # no reference is a value too


class _TextKind:
    def __init__(self, convert, default):
        self.convert, self.default = convert, default

    def read(self, node, name):
        return self.convert(node.GetParameter(name))

    def write(self, node, name, value):
        node.SetParameter(name, str(value))

    def isIn(self, node, name):
        return name in node.GetParameterNames()


def _kindOf(datatype):
    if isinstance(datatype, type) and issubclass(datatype, slicer.vtkMRMLNode):
        return _NodeKind()
    return {
        float: _TextKind(float, 0.0),
        str: _TextKind(str, ""),
        pathlib.Path: _TextKind(pathlib.Path, pathlib.Path()),
    }[datatype]


class _Parameter:
    """A property of the wrapper class."""

    def __init__(self, name, hint, default):
        datatype, *checks = typing.get_args(hint) if hasattr(hint, "__metadata__") else (hint,)
        self.name, self.checks = name, checks
        self.kind = _kindOf(datatype)
        self.default = self.kind.default if default is None else default

    def __get__(self, wrapper, _cls=None):
        node = wrapper.parameterNode
        if not self.kind.isIn(node, self.name):
            return self.default
        return self.kind.read(node, self.name)

    def __set__(self, wrapper, value):
        for check in self.checks:
            check.check(value)
        with slicer.util.NodeModify(wrapper.parameterNode):
            self.kind.write(wrapper.parameterNode, self.name, value)


class _Binding:
    """A widget that shows one parameter."""

    SIGNALS: typing.ClassVar = {
        "qMRMLNodeComboBox": ("currentNodeChanged", lambda w: w.currentNode(), lambda w, v: w.setCurrentNode(v)),
        "ctkSliderWidget": ("valueChanged", lambda w: w.value, lambda w, v: w.setValue(v)),
        "ctkPathLineEdit": (
            "currentPathChanged",
            lambda w: pathlib.Path(w.currentPath),
            lambda w, v: w.setCurrentPath(str(v)),
        ),
    }

    def __init__(self, widget, changed):
        signal, self.read, self.write = self.SIGNALS[type(widget).__name__]
        self.widget, self.changed = widget, lambda *_unused: changed(self)
        self.signal = getattr(widget, signal)
        self.signal.connect(self.changed)

    def disconnect(self):
        self.signal.disconnect(self.changed)


class _Connection:
    """All bindings of one panel."""

    def __init__(self, wrapper, gui):
        self.wrapper, self.busy = wrapper, False
        widgets = {w.property(PROPERTY): w for w in vars(gui).values() if w.property(PROPERTY)}
        self.bindings = {name: _Binding(widget, self.fromGui) for name, widget in widgets.items()}
        self.toGui()
        self.tag = wrapper.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_unused: self.toGui())

    def toGui(self):
        if self.busy:
            return
        self.busy = True
        try:
            for name, binding in self.bindings.items():
                binding.write(binding.widget, getattr(self.wrapper, name))
        finally:
            self.busy = False

    def fromGui(self, binding):
        if self.busy:
            return
        name = next(n for n, b in self.bindings.items() if b is binding)
        setattr(self.wrapper, name, binding.read(binding.widget))

    def close(self):
        self.wrapper.parameterNode.RemoveObserver(self.tag)
        for binding in self.bindings.values():
            binding.disconnect()


def parameterNodeWrapper(cls):
    """Turn the annotated names of `cls` into parameters of the node that it is made with."""
    hints = typing.get_type_hints(cls, include_extras=True)
    for name, hint in hints.items():
        setattr(cls, name, _Parameter(name, hint, vars(cls).get(name)))

    def makeWrapper(self, parameterNode):
        self.parameterNode = parameterNode
        self._connections = {}
        for name in hints:
            parameter = type(self).__dict__[name]
            if not parameter.kind.isIn(parameterNode, name):
                parameter.kind.write(parameterNode, name, parameter.default)

    def connectGui(self, gui):
        tag = len(self._connections)
        self._connections[tag] = _Connection(self, gui)
        return tag

    def disconnectGui(self, tag):
        self._connections.pop(tag).close()

    cls.__init__, cls.connectGui, cls.disconnectGui = makeWrapper, connectGui, disconnectGui
    return cls
