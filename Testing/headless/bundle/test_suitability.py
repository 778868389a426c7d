"""CTs unlike those of the training get a warning with numbers, and those like them get none."""

from __future__ import annotations

import json

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.bundle.model_bundle import Bundle, demo_bundle_path
from twintrack.bundle.suitability import assess
from twintrack.errors import BundleError
from twintrack.imaging.ct_features import FEATURES, Contrast, InputRange, contrast_of, features_of
from twintrack.io.ct import load_ct
from twintrack.io.volumes import write_volume
from twintrack.phantom import make_phantom
from twintrack.studies.make_bundle.inputs import measure_inputs
from twintrack.volume import Geometry, Volume


@pytest.fixture(scope="module")
def demo():
    with Bundle.open(demo_bundle_path()) as bundle:
        yield bundle


@pytest.mark.slow
def test_a_phantom_that_was_not_among_the_training_s_gets_no_warning(demo):
    """Measured once over 40 phantoms with seeds from 900000 on: none got one."""
    found = assess(make_phantom(900100, raters=1).ct.to_lps(), demo)
    assert found.compared
    assert found.warnings == ()


@pytest.mark.slow
def test_networks_that_disagree_far_more_than_on_the_calibration_phantoms_are_told(demo):
    """Measured: 1.1 to 3.0 mL on 12 phantoms of other seeds (900101 to 900111, 50001)."""
    ct = make_phantom(900100, raters=1).ct.to_lps()
    assert assess(ct, demo, disagreement_ml=3.0).warnings == ()
    found = assess(ct, demo, disagreement_ml=40.0)
    assert found.outside == ("volume on which the networks disagree in mL 40 (training: 1.32 to 4.26)",)
    assert found.to_json()["features"]["disagreement_ml"] == 40.0


@pytest.mark.process
@pytest.mark.parametrize("name", ["ct_3mm.nii.gz", "ct_dicom", "aorta/ct.nii.gz"])
def test_real_cts_are_unlike_the_demo_bundle_s_phantoms(demo, test_data, name):
    found = assess(load_ct(test_data / "data" / name).volume.to_lps(), demo)
    assert len(found.outside) >= 3
    assert "share of fat" in found.warnings[0]
    assert json.loads(json.dumps(found.to_json()))["outside"] == list(found.outside)


def ct_of(tissues: dict[float, float], spacing=(1.0, 1.0, 2.0)) -> Volume:
    """A CT with given shares of HU values."""
    geometry = Geometry((20, 20, 25), spacing)
    counts = (np.array(list(tissues.values())) * 10_000).round().astype(int)
    return Volume(np.repeat(np.array(list(tissues), np.int16), counts).reshape(geometry.shape), geometry)


def test_features_are_the_shares_that_were_put_in():
    found = features_of(ct_of({-1000: 0.5, -100: 0.1, 40: 0.3, 120: 0.05, 900: 0.05}))
    expected = {"body_share": 0.5, "fat_share": 0.2, "dense_share": 0.1, "soft_median_hu": 40, "soft_p95_hu": 120}
    expected |= {"voxel_mm": 1, "slice_mm": 2, "width_mm": 20, "depth_mm": 20, "height_mm": 50}
    assert found == pytest.approx(expected)
    assert set(found) == set(FEATURES) - {"disagreement_ml"}  # that is the ensemble's


def test_every_ct_of_the_reference_is_inside_and_a_doubled_spacing_is_not():
    cts = [ct_of({-1000: 0.5 - x, -100: 0.1 + x, 40: 0.4}) for x in (0.0, 0.1, 0.2)]
    reference = InputRange.over(features_of(ct) for ct in cts)
    assert [reference.outside(features_of(ct)) for ct in cts] == [(), (), ()]
    (words,) = reference.outside(features_of(cts[0]) | {"slice_mm": 4.0})
    assert words == "slice spacing in mm 4 (training: 2 to 2)"


def test_a_range_survives_json_and_names_that_are_missing_are_not_compared():
    reference = InputRange({"slice_mm": (1.0, 3.0)}, 5)
    assert InputRange.from_json(json.loads(json.dumps(reference.to_json())), "bundle.json") == reference
    assert reference.outside(features_of(ct_of({-1000: 1.0}))) == ()


@pytest.mark.parametrize(
    "entry",
    [
        *([], {}, {"ranges": []}, {"ranges": {"slice_mm": [1, 2]}}, {"ranges": {"other": [1, 2]}, "cases": 3}),
        *({"ranges": {"slice_mm": pair}, "cases": 3} for pair in ([2, 1], [1], [1, float("nan")], ["a", "b"], None)),
        *({"ranges": {}, "cases": cases} for cases in (0, True, 1.5, None)),
    ],
)
def test_a_malformed_range_is_refused(entry):
    with raises_error(BundleError, "fingerprint-malformed", "bundle.json"):
        InputRange.from_json(entry, "bundle.json")


@pytest.mark.parametrize(
    ("arteries", "veins", "phase"),
    [
        *((45, 50, "unenhanced"), (350, 90, "arterial"), (246, 119, "pancreatic"), (160, 170, "portal venous")),
        *((None, 50, "unenhanced"), (300, None, "unknown"), (None, None, "unknown")),
    ],
)
def test_the_phase_is_estimated_from_the_vessels(arteries, veins, phase):
    assert Contrast(arteries, veins).phase == phase


def test_contrast_is_measured_in_the_vessels_and_an_unenhanced_ct_is_told(demo):
    ct = ct_of({-1000: 0.5, -100: 0.1, 50: 0.4})
    vessels = ct.with_array(np.zeros(ct.array.shape, np.uint8))
    vessels.array[-5:, :, :10], vessels.array[-5:, :, 10:] = 1, 2
    found = contrast_of(ct, vessels, {"AORTA": 1, "PORTA": 2})
    assert (found.arteries_hu, found.veins_hu) == (50, 50)
    assert "contrast medium" in assess(ct, demo, vessels, {"AORTA": 1, "PORTA": 2}).warnings[-1]
    bright = ct.with_array(np.where(vessels.array > 0, 180, ct.array))
    assert contrast_of(bright, vessels, {"AORTA": 1, "PORTA": 2}).phase == "portal venous"
    assert not any("phase" in line for line in assess(bright, demo, vessels, {"AORTA": 1, "PORTA": 2}).warnings)
    arterial = ct.with_array(np.where(vessels.array == 1, 350, np.where(vessels.array == 2, 90, ct.array)))
    (said,) = (line for line in assess(arterial, demo, vessels, {"AORTA": 1, "PORTA": 2}).warnings if "phase" in line)
    assert "350 and 90 HU" in said
    assert "early arterial phase" in said


def test_a_bundle_without_a_range_still_compares_the_spacing(bundle_folder):
    with Bundle.open(bundle_folder) as bundle:
        assert assess(ct_of({-1000: 0.5, 40: 0.5}), bundle).outside == ()
        coarse = assess(ct_of({-1000: 0.5, 40: 0.5}, (1.0, 1.0, 12.0)), bundle)
    assert "slice spacing 12 mm" in coarse.warnings[0]


def test_a_bundle_keeps_the_range_of_the_cts_in_a_manifest(make_bundle, tmp_path):
    for number in (1, 2):
        write_volume(ct_of({-1000: 0.5, 40: 0.5}, (1.0, 1.0, float(number))), tmp_path / f"{number}.nrrd")
    (tmp_path / "m.csv").write_text("case,image\na,1.nrrd\nb,2.nrrd\n")
    inputs = measure_inputs(tmp_path / "m.csv")
    assert (inputs.cases, inputs.ranges["slice_mm"]) == (2, (1.0, 2.0))
    with Bundle.open(make_bundle(out=tmp_path / "bundle", inputs=inputs)) as bundle:
        assert bundle.inputs == inputs
        assert bundle.describe()["inputs"] == inputs.to_json()
