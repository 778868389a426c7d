from __future__ import annotations

import math

import pytest

from twintrack.metrics.size_strata import STRATA, equivalent_diameter_mm


def test_the_diameter_is_that_of_the_ball_with_the_volume():
    for diameter_mm in (1.0, 20.0, 40.0, 65.0):
        assert equivalent_diameter_mm(math.pi / 6 * diameter_mm**3 / 1000) == pytest.approx(diameter_mm)


@pytest.mark.parametrize(
    ("volume_ml", "name"),
    [
        (0.0, "no tumour drawn"),
        (1e-6, "up to 20 mm"),
        (4.18, "up to 20 mm"),
        (4.20, "20 to 40 mm"),
        (33.5, "20 to 40 mm"),
        (33.6, "above 40 mm"),
        (5000.0, "above 40 mm"),
    ],
)
def test_every_volume_belongs_to_exactly_one_range(volume_ml, name):
    assert [stratum.name for stratum in STRATA if stratum.holds(volume_ml)] == [name]
