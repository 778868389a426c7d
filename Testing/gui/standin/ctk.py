"""Stand-ins for the CTK widgets that the module's panel uses.

Other CTK widgets exist by name only, because Slicer's own parameter node wrapper names them; they cannot be made.
"""

from __future__ import annotations

import re
from pathlib import Path

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
    """A line with a path, and a button that opens a dialog: for a folder only where `filters` leaves out `Files`.

    As in CTK, a line that does not fit the name filters is no path, and no `currentPathChanged` tells of it. Without
    filters that is the empty line: only `validInputChanged` says that a path was taken away.
    """

    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)
    Dirs, Files, Drives, Readable, Writable, Executable, NoDotAndDotDot = 0x1, 0x2, 0x4, 0x10, 0x20, 0x40, 0x1000
    _lastFolder = ""

    def __init__(self, *args):
        super().__init__(parentOf(args))
        self._nameFilters, self._valid = [], False
        self._filters = self.Dirs | self.Files | self.Drives | self.NoDotAndDotDot | self.Readable | self.Executable
        self._combo = qt.QComboBox()
        self._combo.setEditable(True)
        self._combo.setInsertPolicy(qt.QComboBox.NoInsert)
        self._combo.setSizeAdjustPolicy(qt.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        self._combo.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
        self._edit = self._combo.lineEdit()
        self._browse = qt.QToolButton()
        self._browse.setText("...")
        self._browse.setToolTip("Open a dialog")
        self._browse.setSizePolicy(qt.QSizePolicy.Fixed, qt.QSizePolicy.Ignored)
        layout = qt.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._combo)
        layout.addWidget(self._browse)
        self.setFocusProxy(self._edit)
        self._edit.textChanged.connect(self._onText)
        self._browse.clicked.connect(self.browse)

    def _onText(self, text):
        endings = [ending for names in self._nameFilters for ending in re.findall(r"\*\.(\w+)", names)]
        valid = bool(re.fullmatch("|".join(rf".*\.{ending}?" for ending in endings) or ".+", text))
        changed, self._valid = valid != self._valid, valid
        if valid:
            path = Path(text).absolute()
            ctkPathLineEdit._lastFolder = str(path.parent if path.is_file() else path)
            self.currentPathChanged.emit(text)
        if changed:
            self.validInputChanged.emit(valid)

    def browse(self, *_unused):
        start, names = self.currentPath or self._lastFolder, ";;".join(self._nameFilters)
        if not self._filters & self.Files:
            path = qt.QFileDialog.getExistingDirectory(self, "Select a directory...", start)
        elif self._filters & self.Writable:
            path = qt.QFileDialog.getSaveFileName(self, "Select a file to save ", start, names)
        else:
            path = qt.QFileDialog.getOpenFileName(self, "Open a file", start, names)
        if path:
            self.setCurrentPath(path)

    def comboBox(self):
        return self._combo

    def setCurrentPath(self, path):
        self._edit.setText(path)

    currentPath = Property(str, lambda self: self._edit.text, setCurrentPath)
    filters = stored(int, "_filters", 0)
    nameFilters = stored("QStringList", "_nameFilters", [])


class NotStoodIn:
    """A widget class that this stand-in has by name only."""

    def __init__(self, *args):
        raise NotImplementedError(f"{type(self).__name__} has no stand-in; write one in Testing/gui/standin")


def __getattr__(name):
    if name.startswith("ctk"):
        globals()[name] = type(name, (NotStoodIn,), {})
        return globals()[name]
    raise AttributeError(name)
