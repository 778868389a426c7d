"""`qt` for Slicer modules outside Slicer: PySide6 with the face that PythonQt gives Qt.

All classes in one namespace, properties as plain attributes (the setters stay), ``obj.connect("signal(args)", f)``,
``obj.name``, and a loader of .ui files that knows the stand-in widgets. A property that a class does not have cannot be
set, as in Slicer, so that a typo fails the test.
"""

import inspect
import os
import types
import weakref
import xml.etree.ElementTree as ET

import shiboken6
from PySide6 import QtCore, QtGui, QtTest, QtUiTools, QtWidgets

_QT_MODULES = (QtCore, QtGui, QtWidgets, QtUiTools, QtTest)
for _m in _QT_MODULES:
    for _n in dir(_m):
        if not _n.startswith("_") and _n not in ("connect",):
            globals().setdefault(_n, getattr(_m, _n))

# ---------------------------------------------------------------- properties as attributes
_STATIC_OWNERS = {QtCore.QCoreApplication, QtGui.QGuiApplication, QtWidgets.QApplication}
#: reject typos (attribute that a real PythonQt wrapper would not accept)
STRICT_ATTRIBUTES = os.environ.get("QT_SHIM_STRICT", "1") == "1"


class QtProperty:
    """Instance access: property value (as PythonQt). Class access: the original method, e.g. QTimer.singleShot(...)."""

    def __init__(self, fget, fset, original):
        self.fget, self.fset, self.original = fget, fset, original

    def __get__(self, obj, cls=None):
        if obj is None:
            return self.original if self.original is not None else self
        return self.fget(obj)

    def __set__(self, obj, value):
        self.fset(obj, value)


def _makeProperty(cls, name):
    cap = name[:1].upper() + name[1:]
    getter = None
    for candidate in (name, "is" + cap, "has" + cap):
        static = inspect.getattr_static(cls, candidate, None)
        if isinstance(static, QtProperty):
            getter = static.fget
            break
        if isinstance(static, (staticmethod, types.BuiltinFunctionType)):
            continue  # e.g. QTimer.singleShot()
        value = getattr(cls, candidate, None)
        if callable(value) and type(value) is not QtCore.Signal:
            getter = value
            break
    setter = getattr(cls, "set" + cap, None)
    setter = setter if callable(setter) else None

    def fget(self):
        return getter(self) if getter else QtCore.QObject.property(self, name)

    def fset(self, value):
        if setter:
            try:
                setter(self, value)
                return
            except TypeError:
                pass  # e.g. float given to an int property: let QVariant convert, as PythonQt does
        if not QtCore.QObject.setProperty(self, name, value):
            raise ValueError(f"Property '{name}' of type '{cls.__name__}' does not accept {value!r}")

    return QtProperty(fget, fset, getattr(cls, name, None))


def _qobjectClasses():
    seen = {}
    for m in _QT_MODULES:
        for n in dir(m):
            k = getattr(m, n)
            if isinstance(k, type) and issubclass(k, QtCore.QObject):
                seen[k] = None
    return sorted(seen, key=lambda k: len(k.__mro__))  # bases first


def _patchProperties():
    for cls in _qobjectClasses():
        if cls in _STATIC_OWNERS:
            continue
        mo = cls.staticMetaObject
        for i in range(mo.propertyOffset(), mo.propertyCount()):
            p = mo.property(i)
            name = p.name()
            if (
                type(inspect.getattr_static(cls, name, None)) is QtCore.Signal
            ):  # isinstance(x, Signal) corrupts refcounts (PySide 6.12, Python < 3.12)
                continue
            setattr(cls, name, _makeProperty(cls, name))


_baseSetattr = QtCore.QObject.__mro__[1].__setattr__  # Shiboken.Object


def _setattr(self, key, value):
    cls = type(self)
    for k in cls.__mro__:
        found = k.__dict__.get(key)
        if found is not None:
            if isinstance(found, QtCore.Property):
                found.fset(self, value)
                return
            break
    else:
        if STRICT_ATTRIBUTES and cls.__module__.startswith("PySide6."):
            raise AttributeError(
                f"Attribute '{key}' does not exist on {cls.__name__} and cannot be created on a C++ wrapper"
            )
    _baseSetattr(self, key, value)


# ---------------------------------------------------------------- connect / disconnect by string
_ALIASES = {  # Qt5 signal signatures that Slicer code still uses
    "currentIndexChanged(QString)": "currentTextChanged",
    "activated(QString)": "textActivated",
    "buttonClicked(int)": "idClicked",
    "error(QProcess::ProcessError)": "errorOccurred",
}


def _signalOf(obj, signature):
    signature = signature.replace(" ", "").replace("const", "").replace("&", "")
    name = _ALIASES.get(signature) if not hasattr(type(obj), "_signalAliases") else None
    name = name or getattr(obj, "_signalAliases", {}).get(signature) or signature.split("(")[0]
    signal = getattr(obj, name, None)
    if type(signal) is not QtCore.SignalInstance:
        raise ValueError(f"QObject::connect: {type(obj).__name__} has no signal {signature}")
    inner = signature[signature.index("(") + 1 : signature.rindex(")")] if "(" in signature else ""
    return name, signal, (len(inner.split(",")) if inner else 0)


def _capacity(f, n):
    try:
        sig = inspect.signature(f)
    except (TypeError, ValueError):
        return None
    kinds = [p.kind for p in sig.parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return n
    return min(n, sum(k in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for k in kinds))


_connections = {}


def _adapter(f, n):
    capacity = _capacity(f, n)

    def call(*args):
        if capacity is not None:
            return f(*args[:capacity])
        for k in range(n, 0, -1):  # a built-in function: try with fewer and fewer arguments
            try:
                return f(*args[:k])
            except TypeError:
                continue
        return f()

    return call


def _connect(self, signature, receiver=None, slot=None, *args):
    if (
        not isinstance(signature, str) or signature[:1] in "12"
    ):  # PySide's own SignalInstance.connect comes through here
        given = [a for a in (signature, receiver, slot, *args) if a is not None]
        return _objectGetattribute(self, "connect")(*given)
    if slot is not None and not callable(receiver):
        receiver = getattr(receiver, slot.split("(")[0])
    name, signal, n = _signalOf(self, signature)
    adapter = _adapter(receiver, n)
    _connections.setdefault((shiboken6.getCppPointer(self)[0], name), []).append((receiver, adapter))
    signal.connect(adapter)
    return True


def _disconnect(self, signature, receiver=None, slot=None, *args):
    if not isinstance(signature, str) or signature[:1] in "12":
        given = [a for a in (signature, receiver, slot, *args) if a is not None]
        return _objectGetattribute(self, "disconnect")(*given)
    if slot is not None and not callable(receiver):
        receiver = getattr(receiver, slot.split("(")[0])
    name, signal, _n = _signalOf(self, signature)
    entries = _connections.get((shiboken6.getCppPointer(self)[0], name), [])
    for entry in list(entries):
        if receiver is None or entry[0] == receiver:
            signal.disconnect(entry[1])
            entries.remove(entry)
            if receiver is not None:
                return True
    return receiver is None


def _findChildren(original):
    def find(self, cls=QtCore.QObject, name=None, *args):
        if isinstance(cls, str):  # PythonQt accepts the class name
            return [
                c for c in original(self, QtCore.QObject) if c.inherits(cls) and (name is None or c.objectName == name)
            ]
        return original(self, cls, name) if name is not None else original(self, cls)

    return find


def _makeGetattribute(original):
    # PySide resolves methods that are static and non-static at once (obj.connect, obj.disconnect, QFile.exists)
    # in C per class, so setting QObject.connect on the class has no effect on instances.
    def getattribute(self, key):
        if key == "connect":
            return _connect.__get__(self)
        if key == "disconnect":
            return _disconnect.__get__(self)
        return original(self, key)

    return getattribute


_objectGetattribute = QtCore.QObject.__getattribute__


def _patchObject():
    Q = QtCore.QObject
    Q.name = property(lambda self: self.objectName, lambda self, v: self.setObjectName(v))
    Q.className = lambda self: self.metaObject().className()
    Q.delete = lambda self: shiboken6.delete(self)
    Q.findChildren = _findChildren(Q.findChildren)
    originals = {cls: cls.__getattribute__ for cls in _qobjectClasses()}
    for cls in originals:
        cls.__setattr__ = _setattr
        cls.__getattribute__ = _makeGetattribute(originals[cls])


_patchProperties()
_patchObject()


# ---------------------------------------------------------------- differing static helpers
def _firstOnly(cls, *names):
    for n in names:
        original = getattr(cls, n)
        setattr(cls, n, staticmethod(lambda *a, _o=original, **k: _o(*a, **k)[0]))


_firstOnly(QtWidgets.QFileDialog, "getOpenFileName", "getSaveFileName", "getOpenFileNames")
_firstOnly(QtWidgets.QInputDialog, "getText", "getItem", "getInt", "getDouble")

_colorName = QtGui.QColor.name
QtGui.QColor.name = lambda self, f=0: _colorName(self, QtGui.QColor.NameFormat(f))  # PythonQt takes ints for enums

# ---------------------------------------------------------------- .ui files
customWidgets = {}
_loaded = weakref.WeakKeyDictionary()


def registerCustomWidget(cls):
    customWidgets[cls.__name__] = cls
    return cls


class QUiLoader(QtUiTools.QUiLoader):
    """Registers the stand-ins; <connections> with stand-in widgets are made in Python, because
    arguments such as vtkMRMLScene* have no Qt metatype here."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._made = []
        for cls in customWidgets.values():
            self.registerCustomWidget(cls)

    def createWidget(self, className, parent=None, name=""):
        """Hold the Python side of every widget: when that of a plain parent goes, a stand-in inside goes with it."""
        widget = super().createWidget(className, parent, name)
        self._made.append(widget)
        return widget

    def load(self, device, parent=None):
        if isinstance(device, str):
            device = QtCore.QFile(device)
            device.open(QtCore.QFile.ReadOnly)
        tree = ET.fromstring(bytes(device.readAll()))
        classes = {w.get("name"): w.get("class") for w in tree.iter("widget")}
        missing = sorted(
            {c for c in classes.values() if c not in customWidgets and not hasattr(QtWidgets, c)} - {"Line"}
        )
        if missing:
            raise RuntimeError(f"No stand-in for widget class(es) {missing} used in the .ui file")
        deferred = []
        connections = tree.find("connections")
        for c in list(connections) if connections is not None else []:
            sender, signal, receiver, slot = (c.findtext(t) for t in ("sender", "signal", "receiver", "slot"))
            if classes.get(sender) in customWidgets or classes.get(receiver) in customWidgets:
                deferred.append((sender, signal, receiver, slot))
                connections.remove(c)
        buffer = QtCore.QBuffer()
        buffer.setData(ET.tostring(tree))
        buffer.open(QtCore.QIODevice.ReadOnly)
        widget = super().load(buffer, parent)
        _loaded[widget] = self._made
        objects = {o.objectName: o for o in [widget, *widget.findChildren(QtCore.QObject)] if o.objectName}
        for sender, signal, receiver, slot in deferred:
            objects[sender].connect(signal, getattr(objects[receiver], slot.split("(")[0]))
        return widget
