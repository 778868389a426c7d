"""Which phase of contrast a CT series says that it is: by its description, and by the time since the injection."""

from __future__ import annotations

import re

from twintrack.dicom.read.headers import Header, time_of_day_s

__all__ = ["phase_notes", "stated_phase"]

_WORDS = {
    "unenhanced": r"nativ|unenhanced|non[ -]?enhanced|non[ -]?contrast|without contrast|w/o|ohne km|sans inj|sin contr"
    r"|smc|bez kontr",
    "pancreatic": r"pan[ck]rea\w* ?ph|parenchym|late art|art\w* late|spät ?art|spaet ?art|pan[ck]reatic",
    "arterial": r"art[eé]ri|\bart\b",
    "portal venous": r"portal|portov|ven[oöe]|\bven\b|\bpv\b",
    "delayed": r"delay|excret|urogr|tardi|spätph|spaetph|equilib",
}
"""What descriptions of series say, in the languages of scanners; the first that fits counts."""

_UNTIL_S = (("arterial", 28.0), ("pancreatic", 55.0), ("portal venous", 120.0), ("delayed", 1800.0))
"""Until how many seconds after the start of the injection a phase lasts, about."""

_WARNED = {
    "unenhanced": "tumour and vessel contact cannot be judged on such a CT",
    "arterial": "veins are not filled yet and a tumour hardly shows; both are read from a later phase",
    "delayed": "contrast has left vessels and gland; contact is read from a pancreatic or portal venous phase",
}


def stated_phase(description: str, delay_s: float | None = None) -> str | None:
    """Return the phase that a description or, where it says nothing, the time since the injection states.

    Parameters
    ----------
    description : str
        SeriesDescription.
    delay_s : float, optional
        From the start of the injection to the slices, in seconds.

    Returns
    -------
    str or None
        ``unenhanced``, ``arterial``, ``pancreatic``, ``portal venous`` or ``delayed``; None where neither says, or the
        description speaks of more than one.
    """
    text = description.casefold().replace("_", " ")
    said = [phase for phase, words in _WORDS.items() if re.search(words, text)]
    if "pancreatic" in said:
        said = [phase for phase in said if phase != "arterial"]
    if said:
        return said[0] if len(said) == 1 else None
    if delay_s is None or delay_s <= 0:
        return None
    return next((phase for phase, until_s in _UNTIL_S if delay_s <= until_s), None)


def phase_notes(header: Header) -> list[str]:
    """Warn of a phase in which a tumour of the pancreas and its vessels are not read."""
    begin, taken = time_of_day_s(header.text("ContrastBolusStartTime")), time_of_day_s(header.text("AcquisitionTime"))
    delay_s = None if begin is None or taken is None else taken - begin
    phase = stated_phase(header.text("SeriesDescription"), delay_s)
    if phase not in _WARNED:
        return []
    article = "an" if phase[0] in "au" else "a"
    kind = "unenhanced CT" if phase == "unenhanced" else f"{phase} phase"
    return [f"By its header this is {article} {kind}: {_WARNED[phase]}."]
