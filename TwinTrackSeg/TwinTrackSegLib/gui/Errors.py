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
def shownErrors():
    """Show errors: a known one by its sentence, any other with its traceback for the report."""
    try:
        yield
    except TwinTrackError as error:
        logger.info("%s: %s", type(error).__name__, error)
        slicer.util.errorDisplay(str(error), "TwinTrackSeg")
    except Exception as error:
        logger.exception("unexpected error in the panel")
        slicer.util.errorDisplay(
            _("Unexpected error: {error}").format(error=error), "TwinTrackSeg", detailedText=traceback.format_exc()
        )
