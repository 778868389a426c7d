"""Pictures of vessels: what one is does not depend on those that were drawn before it."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from twintrack.invasion import measure_invasion
from twintrack.phantom import make_phantom
from twintrack.results.report.vessel_pictures import section_of, vessel_pictures

NAMES = {"PORTA": 1, "SMV": 2, "AORTA": 3, "CELIAC": 4, "SMA": 5}


@pytest.mark.slow
@pytest.mark.render
def test_each_picture_of_several_is_the_one_that_is_drawn_alone() -> None:
    case = make_phantom(11)
    found = measure_invasion(case.true_mhr, case.vessels, NAMES)
    together = vessel_pictures(case.ct, case.true_mhr, found)
    assert len(together) >= 3
    for name, png in [*together.items()][1:3]:
        one = replace(found, vessels={name: found.vessels[name]})
        assert vessel_pictures(case.ct, case.true_mhr, one) == {name: png}
        pixels = np.asarray(Image.open(io.BytesIO(png)))
        assert pixels.shape[2] == 3
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 500  # colours of the wall, greys of the CT
    assert len(set(together.values())) == len(together)
    section = np.asarray(section_of(next(iter(together.values()))))
    assert abs(section.shape[0] - section.shape[1]) <= 4
    assert (section < 250).any(axis=2).mean() > 0.9  # hardly any white paper around it
