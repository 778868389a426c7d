"""The kinds of trouble a run can meet, one type each.

They are raised where the trouble is known, with one sentence that names the file or value, the requirement and the
remedy, and are shown once at the edge (command line, worker, Slicer module).
"""

__all__ = ["BundleError", "Cancelled", "InputError", "OutputError", "RoiError", "TwinTrackError"]


class TwinTrackError(Exception):
    """Base of every error that a user can cause and understand."""


class InputError(TwinTrackError):
    """A file, volume or option the user gave is missing, unreadable or of the wrong kind."""


class BundleError(TwinTrackError):
    """A model bundle is incomplete, altered or not usable with this version."""


class RoiError(TwinTrackError):
    """No region of interest could be found or the requested one does not fit the volume."""


class OutputError(TwinTrackError):
    """The results could not be written where the user asked for them."""


class Cancelled(Exception):
    """The user cancelled the run. Not an error: nothing is written and nothing is shown as failed."""
