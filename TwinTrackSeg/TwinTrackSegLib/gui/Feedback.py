"""How the panel speaks to the user: looks that carry a meaning, the status line, errors by their sentence, the wait.

The looks take all their colours from the theme's palette, by its roles: they follow Slicer's light and dark theme, also
when it is changed while the panel is open.
"""

import contextlib
import logging
import traceback
from enum import Enum

import qt
import slicer.util

import slicer
from twintrack.errors import TwinTrackError
from TwinTrackSegLib.present.Run import unexpected

__all__ = [
    "Look",
    "dress",
    "dressTick",
    "sayStatus",
    "shownErrors",
]

logger = logging.getLogger(__name__)


class Look(Enum):
    """How loud a label is: foreground role, background role, and whether it is bold."""

    PLAIN = ("WindowText", "Window", False)
    NOTE = ("ToolTipText", "ToolTipBase", False)
    """A warning: the theme's colours for a note that lies on a window."""
    LOUD = ("Window", "WindowText", True)
    """What must not be missed: the theme's text and background change places, so its contrast stays."""


LABEL_MARGIN_PX = 4


def dress(label, look=Look.PLAIN) -> None:
    """Give `label` a look."""
    foreground, background, bold = look.value
    label.setForegroundRole(getattr(qt.QPalette, foreground))
    label.setBackgroundRole(getattr(qt.QPalette, background))
    label.autoFillBackground = look is not Look.PLAIN
    label.margin = 0 if look is Look.PLAIN else LABEL_MARGIN_PX
    _setBold(label, bold)


def dressTick(button, chosen: bool) -> None:
    """Press `button` down, and let it stand out while it is."""
    button.checked = chosen
    _setBold(button, chosen)


def _setBold(widget, bold: bool) -> None:
    font = widget.font
    font.setBold(bold)
    widget.font = font


def sayStatus(ui, text: str, failed: bool = False) -> None:
    """Say in the panel's status line what was done, or what went wrong."""
    dress(ui.statusLabel, Look.LOUD if failed else Look.PLAIN)
    ui.statusLabel.text, ui.statusLabel.visible = text, bool(text)


@contextlib.contextmanager
def shownErrors(told=None):
    """Show errors: a known one by its sentence, any other with its traceback for the report.

    `told`, if given, is called with the sentence: the panel keeps it after the box is closed.
    """
    try:
        yield
    except TwinTrackError as error:
        logger.info("%s: %s", type(error).__name__, error)
        if told is not None:
            told(str(error))
        more = {"detailedText": error.details} if getattr(error, "details", "") else {}
        slicer.util.errorDisplay(str(error), "TwinTrackSeg", **more)
    except Exception as error:
        logger.exception("unexpected error in the panel")
        sentence = unexpected(error)
        if told is not None:
            told(sentence)
        slicer.util.errorDisplay(sentence, "TwinTrackSeg", detailedText=traceback.format_exc())
