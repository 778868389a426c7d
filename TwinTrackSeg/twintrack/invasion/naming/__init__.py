"""Names by anatomy: which of all arteries and veins is which, by where they lie and how they run."""

from twintrack.invasion.naming.name_vessels import NAMED, NamedVessels, VesselName, name_vessels
from twintrack.invasion.naming.readout import naming_sentence, with_names

__all__ = ["NAMED", "NamedVessels", "VesselName", "name_vessels", "naming_sentence", "with_names"]
