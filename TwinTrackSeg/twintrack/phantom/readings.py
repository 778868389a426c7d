"""What a phantom's own raters say of each vessel and of the volume, from their masks and the true vessels."""

from __future__ import annotations

from typing import Any

import numpy as np

from twintrack.invasion import DEFAULT_CONTACT_MM, rater_contact
from twintrack.labels import VESSEL_VALUES
from twintrack.phantom.case import PhantomCase

__all__ = ["rater_readings"]


def rater_readings(case: PhantomCase, *, contact_mm: float = DEFAULT_CONTACT_MM) -> dict[str, Any]:
    """Return the fraction of raters for each statement, with the median and the range of their angles.

    Parameters
    ----------
    case : PhantomCase
        With its raters' masks.
    contact_mm : float
        Distance from the lumen, in mm, within which tumour touches a vessel.

    Returns
    -------
    dict
        ``raters`` (their number), ``volume_ml`` (``p10``, ``median``, ``p90``) and, by vessel, ``contact``, ``encased``
        (fractions) and ``median_deg``.
    """
    contacts = [rater_contact(mask, case.vessels, VESSEL_VALUES, contact_mm=contact_mm) for mask in case.annotations]
    volumes = [float(np.count_nonzero(mask.array)) * mask.geometry.voxel_ml for mask in case.annotations]
    vessels = {}
    for name in contacts[0]:
        known = [contact[name] for contact in contacts]
        angles = np.array([0.1 if one.angle_deg is None else one.angle_deg for one in known if one is not None])
        if len(angles):
            vessels[name] = {
                "contact": float((angles > 0).mean()),
                "encased": float((angles > 180).mean()),
                "median_deg": float(np.median(angles)),
            }
    p10, median, p90 = (round(float(value), 2) for value in np.quantile(volumes, (0.1, 0.5, 0.9)))
    return {"raters": len(contacts), "volume_ml": {"p10": p10, "median": median, "p90": p90}, "vessels": vessels}
