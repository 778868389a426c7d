"""How long a run still takes, in the user's language."""

from slicer.i18n import tr as _

from twintrack.progress.time_left import round_time

__all__ = ["withTimeLeft"]


def withTimeLeft(message: str, seconds: float | None) -> str:
    """Return `message` with the time left, if that is known and not over."""
    if not seconds:
        return message
    number, unit = round_time(seconds)
    phrases = {
        "s": _("{message}, about {number} s left"),
        "min": _("{message}, about {number} min left"),
        "h": _("{message}, about {number} h left"),
    }
    return phrases[unit].format(message=message, number=number)
