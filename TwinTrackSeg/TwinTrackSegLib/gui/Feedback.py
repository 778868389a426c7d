"""How the panel speaks to the user: colours that carry a meaning, the status line, errors by their sentence.

The colours are readable in Slicer's light and dark theme alike.
"""

import contextlib
import logging
import traceback

import slicer.util
from slicer.i18n import tr as _

import slicer
from twintrack.errors import TwinTrackError

__all__ = [
    "CATEGORY_COLORS",
    "CHOSEN",
    "DEMO",
    "EDITED",
    "ERROR",
    "WARNING",
    "dress",
    "dressTick",
    "sayStatus",
    "shownErrors",
]

logger = logging.getLogger(__name__)

DEMO = ("#ffffff", "#b04a00")
WARNING = ("#000000", "#ffd060")
EDITED = ("#ffffff", "#6a3d9a")
ERROR = ("#ffffff", "#961414")
CHOSEN = ("#ffffff", "#1f5f99")
"""Text and background: both are set, so that no theme can spoil the contrast."""

CATEGORY_COLORS = {"encasement": (228, 60, 100), "abutment": (184, 130, 0), "none": (70, 130, 230), "": (128, 128, 128)}
"""Crimson, amber, blue, grey: far apart for every kind of colour vision, at least 3:1 on white and on dark tables."""


def dress(label, style=None) -> None:
    """Give `label` the colours of `style`, or those of the theme."""
    label.styleSheet = (
        f"QLabel {{ color: {style[0]}; background-color: {style[1]}; padding: 4px; border-radius: 3px; }}"
        if style is not None
        else ""
    )


def dressTick(button, chosen: bool) -> None:
    """Press `button` down, and let it stand out while it is."""
    button.checked = chosen
    button.styleSheet = (
        f"QToolButton {{ color: {CHOSEN[0]}; background-color: {CHOSEN[1]}; font-weight: bold; padding: 2px; }}"
        if chosen
        else ""
    )


def sayStatus(ui, text: str, failed: bool = False) -> None:
    """Say in the panel's status line what was done, or what went wrong."""
    dress(ui.statusLabel, ERROR if failed else None)
    ui.statusLabel.text = text


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
        sentence = _("Unexpected error: {error}").format(error=error)
        if told is not None:
            told(sentence)
        slicer.util.errorDisplay(sentence, "TwinTrackSeg", detailedText=traceback.format_exc())
