"""Errors as the user sees them."""

import contextlib
import logging
import traceback

import slicer.util
from slicer.i18n import tr as _

import slicer
from twintrack.errors import TwinTrackError

__all__ = ["shownErrors"]

logger = logging.getLogger(__name__)


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
