"""Stand-ins for the CTK widgets that the module's panel uses.

Other CTK widgets exist by name only, because Slicer's own parameter node wrapper names them; they cannot be made.
"""

from __future__ import annotations

import qt
from qt import Property, Signal, registerCustomWidget


def stored(type_, attribute, default):
    """Return a Qt property that is kept and does nothing else."""
    return Property(
        type_,
        lambda self: getattr(self, attribute, default),
        lambda self, value: setattr(self, attribute, value),
    )


def parentOf(arguments):
    return next((a for a in arguments if isinstance(a, qt.QWidget)), None)


@registerCustomWidget
class ctkCollapsibleButton(qt.QAbstractButton):
    """A titled box that can be closed, by the mouse on its title or by the space bar."""

    HEADER_PX = 24
    contentsCollapsed = Signal(bool)

    def __init__(self, *args):
        super().__init__(parentOf(args))
        self.setContentsMargins(0, self.HEADER_PX, 0, 0)
        self.setSizePolicy(qt.QSizePolicy.Preferred, qt.QSizePolicy.Preferred)
        self.setFocusPolicy(qt.Qt.StrongFocus)
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(self._onToggled)

    def _onToggled(self, opened):
        self.setMaximumHeight(16777215 if opened else self.HEADER_PX)
        self.contentsCollapsed.emit(not opened)

    collapsed = Property(bool, lambda self: not self.checked, lambda self, value: self.setChecked(not value))

    def hitButton(self, position):
        return position.y() < self.HEADER_PX

    def paintEvent(self, event):
        painter = qt.QPainter(self)
        header = qt.QRect(0, 0, self.width, self.HEADER_PX - 2)
        painter.fillRect(header, self.palette.midlight() if self.enabled else self.palette.button())
        painter.setPen(self.palette.color(qt.QPalette.ButtonText))
        title = ("▾ " if self.checked else "▸ ") + self.text
        painter.drawText(header.adjusted(6, 0, 0, 0), qt.Qt.AlignVCenter | qt.Qt.TextShowMnemonic, title)
        if self.hasFocus():
            painter.drawRect(header.adjusted(0, 0, -1, -1))
        painter.end()


@registerCustomWidget
class ctkSliderWidget(qt.QWidget):
    """A slider and a spin box with one value."""

    valueChanged = Signal(float)
    STEPS = 1000

    def __init__(self, *args):
        super().__init__(parentOf(args))
        self._value, self._minimum, self._maximum, self._decimals = 0.0, 0.0, 99.0, 2
        self._slider = qt.QSlider(qt.Qt.Horizontal)
        self._slider.setRange(0, self.STEPS)
        self._spinBox = qt.QDoubleSpinBox()
        self._busy = False
        layout = qt.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider)
        layout.addWidget(self._spinBox)
        self._slider.valueChanged.connect(self._sliderMoved)
        self._spinBox.valueChanged.connect(lambda value: self._busy or self.setValue(value))
        self._sync()

    def _sliderMoved(self, position):
        if not self._busy:
            self.setValue(self._minimum + (self._maximum - self._minimum) * position / self.STEPS)

    def _sync(self):
        self._busy = True
        self._spinBox.setDecimals(self._decimals)
        self._spinBox.setRange(self._minimum, self._maximum)
        self._spinBox.setValue(self._value)
        self._slider.setValue(round(self.STEPS * (self._value - self._minimum) / (self._maximum - self._minimum or 1)))
        self._busy = False

    def slider(self):
        return self._slider

    def setValue(self, value):
        value = round(min(max(float(value), self._minimum), self._maximum), self._decimals)
        changed = value != self._value
        self._value = value
        self._sync()
        if changed:
            self.valueChanged.emit(value)

    def _setLimit(self, name, value):
        setattr(self, name, float(value))
        self.setValue(self._value)

    def _setDecimals(self, decimals):
        self._decimals = int(decimals)
        self._sync()

    value = Property(float, lambda self: self._value, setValue)
    minimum = Property(float, lambda self: self._minimum, lambda self, v: self._setLimit("_minimum", v))
    maximum = Property(float, lambda self: self._maximum, lambda self, v: self._setLimit("_maximum", v))
    decimals = Property(int, lambda self: self._decimals, _setDecimals)
    singleStep = stored(float, "_singleStep", 1.0)
    pageStep = stored(float, "_pageStep", 10.0)


@registerCustomWidget
class ctkPathLineEdit(qt.QWidget):
    """A line with a path."""

    currentPathChanged = Signal(str)

    def __init__(self, *args):
        super().__init__(parentOf(args))
        self._edit = qt.QLineEdit()
        layout = qt.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._edit)
        self._edit.textChanged.connect(self.currentPathChanged.emit)

    def setCurrentPath(self, path):
        if path != self._edit.text:
            self._edit.setText(path)

    currentPath = Property(str, lambda self: self._edit.text, setCurrentPath)


class NotStoodIn:
    """A widget class that this stand-in has by name only."""

    def __init__(self, *args):
        raise NotImplementedError(f"{type(self).__name__} has no stand-in; write one in Testing/gui/standin")


def __getattr__(name):
    if name.startswith("ctk"):
        globals()[name] = type(name, (NotStoodIn,), {})
        return globals()[name]
    raise AttributeError(name)
