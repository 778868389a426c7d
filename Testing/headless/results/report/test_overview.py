from __future__ import annotations

import itertools

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.imaging.views import VIEWS, Section, find_focus
from twintrack.io.volumes import read_volume
from twintrack.results.report.overview import _Names, axial_of, change_title_line, drawable, write_overview
from twintrack.volume import Geometry, Volume

SIZE = (60, 50, 40)
SPACING = (2.0, 2.5, 3.0)
CENTER = (28, 26, 21)
"""Voxel (x, y, z) of the lesion's middle, on the LPS grid."""

MARKER = (slice(27, 31), slice(16, 20), slice(40, 44))
"""(z, y, x): to the patient's left, front and head side of the lesion."""

LABELS = {"tumor": 1, "SMA": 6}


def lps_case() -> tuple[Volume, Volume, Volume]:
    """A lesion, a marker and a vessel on a plain LPS grid; no part is symmetric."""
    geometry = Geometry(SIZE, SPACING, (-50.0, 20.0, 7.0))
    z, y, x = np.indices(geometry.shape)
    ct = np.full(geometry.shape, 40, np.int16)
    for axis in range(3):  # a bright cube in each of the three sections
        cube = list(MARKER)
        cube[axis] = slice(CENTER[2 - axis] - 1, CENTER[2 - axis] + 2)
        ct[tuple(cube)] = 600
    distance = np.sqrt(
        sum(((a - c) * mm / r) ** 2 for a, c, mm, r in zip((x, y, z), CENTER, SPACING, (14, 11, 9), strict=True))
    )
    probability = np.clip(1.2 - 0.7 * distance, 0, 0.96).astype(np.float32)
    labels = (probability >= 0.5).astype(np.uint8)
    labels[:, 30:34, 33:36] = 6
    return tuple(Volume(array, geometry) for array in (ct, probability, labels))


def turned(volume: Volume, flips: tuple[bool, ...], order: tuple[int, ...] = (0, 1, 2)) -> Volume:
    """The same patient stored with index axes flipped and permuted (axes in x, y, z order)."""
    geometry = volume.geometry
    array = volume.array[tuple(slice(None, None, -1 if flip else 1) for flip in reversed(flips))]
    corner = [size - 1 if flip else 0 for size, flip in zip(geometry.size, flips, strict=True)]
    matrix = geometry.direction_matrix * np.where(flips, -1.0, 1.0)
    array = array.transpose([2 - order[2 - axis] for axis in range(3)])
    return Volume(
        array,
        Geometry(
            tuple(geometry.size[axis] for axis in order),
            tuple(geometry.spacing_mm[axis] for axis in order),
            tuple(geometry.to_lps_mm(np.array(corner))),
            tuple(matrix[:, list(order)].ravel()),
        ),
    )


def picture(path, volumes, **options) -> np.ndarray:
    from matplotlib.image import imread

    ct, probability, segmentation = volumes
    options = {"threshold": 0.5, "segmentation": segmentation, "labels": LABELS, **options}
    write_overview(path, ct, probability, **options)
    return imread(path)[..., :3]


def panel(image: np.ndarray, number: int) -> np.ndarray:
    """One of the three sections: the inside of its frame, found by its place in the figure."""
    height, width = image.shape[:2]
    left, top = (0.012 + number * 0.3045) * width, (1 - 0.155 - 0.683) * height
    return image[round(top) : round(top + 0.683 * height), round(left) : round(left + 0.2975 * width)]


@pytest.fixture(scope="module")
def upright(tmp_path_factory) -> np.ndarray:
    return picture(tmp_path_factory.mktemp("upright") / "overview.png", lps_case())


@pytest.mark.render
@pytest.mark.parametrize("flips", [flips for flips in itertools.product([False, True], repeat=3) if any(flips)])
def test_the_picture_is_the_same_however_the_axes_are_flipped(tmp_path, upright, flips):
    volumes = [turned(volume, flips) for volume in lps_case()]
    np.testing.assert_array_equal(picture(tmp_path / "overview.png", volumes), upright)


@pytest.mark.render
def test_the_picture_is_the_same_however_the_axes_are_ordered(tmp_path, upright):
    volumes = [turned(volume, (True, False, True), (2, 0, 1)) for volume in lps_case()]
    np.testing.assert_array_equal(picture(tmp_path / "overview.png", volumes), upright)


def marker_side(view: str) -> tuple[bool, bool]:
    """Where a marker to the left, front and head side belongs: (right half, upper half)."""
    return {"Axial": (True, True), "Coronal": (True, True), "Sagittal": (False, True)}[view]


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_section_shows_each_patient_direction_on_its_radiological_side(view):
    ct, probability, _ = lps_case()
    focus = find_focus(probability, 0.5)
    center = (focus.center_mm[view.across], focus.center_mm[view.down])
    section = Section(view, focus.slices[view.through], center, 120.0, pixels=200)
    rows, columns = np.nonzero(section.sample(ct.array, SPACING, fill=-1000) > 300)
    right_half, upper_half = marker_side(view.name)
    assert (columns.mean() > 100) == right_half
    assert (rows.mean() < 100) == upper_half
    middle = tuple(((axis.start + axis.stop - 1) / 2) * mm for axis, mm in zip(reversed(MARKER), SPACING, strict=True))
    right_mm, down_mm = section.place(middle)
    assert right_mm == pytest.approx((columns.mean() + 0.5) * 120 / 200, abs=0.7)
    assert down_mm == pytest.approx((rows.mean() + 0.5) * 120 / 200, abs=0.7)


@pytest.mark.render
@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_the_picture_shows_each_patient_direction_on_its_radiological_side(tmp_path, upright, view):
    ct, *others = lps_case()
    plain = picture(tmp_path / "plain.png", (ct.with_array(np.full_like(ct.array, 40)), *others))
    number = VIEWS.index(view)
    marker = panel(upright, number).sum(axis=2) - panel(plain, number).sum(axis=2) > 0.5
    rows, columns = np.nonzero(marker)
    assert rows.size > 100
    right_half, upper_half = marker_side(view.name)
    assert (columns.mean() > marker.shape[1] / 2) == right_half
    assert (rows.mean() < marker.shape[0] / 2) == upper_half


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_lengths_in_a_section_are_in_mm_in_both_directions(view):
    box = np.zeros((40, 50, 60), np.float32)
    box[10:20, 10:22, 10:25] = 1  # 30 mm along each axis at 3, 2.5 and 2 mm
    center = (24.5 + 9.5) * 0.5
    section = Section(view, (17, 16, 15)[view.through], (center * 2, center * 2), 100.0, pixels=400)
    inside = section.sample(box, SPACING, fill=0) > 0.5
    assert inside.any(axis=0).sum() / 4 == pytest.approx(30, abs=0.5)
    assert inside.any(axis=1).sum() / 4 == pytest.approx(30, abs=0.5)


def test_the_focus_is_the_largest_slice_of_the_largest_lesion():
    _, probability, _ = lps_case()
    array = probability.array.copy()
    array[2, 2, 2:5] = 1.0  # a smaller lesion, with higher values
    focus = find_focus(probability.with_array(array), 0.5)
    assert focus.slices == CENTER
    assert focus.found
    assert focus.center_mm == pytest.approx([c * mm for c, mm in zip(CENTER, SPACING, strict=True)], abs=2)


def test_below_the_threshold_the_focus_is_the_best_there_is():
    _, probability, _ = lps_case()
    weak = find_focus(probability.with_array(probability.array * np.float32(0.3)), 0.5)
    assert (weak.found, weak.slices) == (False, CENTER)
    roi = np.zeros_like(probability.array)
    roi[10:15, 20:31, 30:41] = 0.01
    assert find_focus(probability.with_array(roi), 0.5).slices == (35, 25, 12)
    empty = find_focus(probability.with_array(np.zeros_like(roi)), 0.5)
    assert (empty.found, empty.slices) == (False, (29, 24, 19))


@pytest.mark.render
def test_the_overlay_has_color_only_where_the_map_is_shown(tmp_path):
    ct, probability, _ = lps_case()
    plain = panel(picture(tmp_path / "a.png", (ct, probability.with_array(probability.array * 0), None)), 0)
    shown = panel(picture(tmp_path / "b.png", (ct, probability, None)), 0)
    colorful = np.ptp(shown, axis=2) > 0.15
    assert np.ptp(plain, axis=2).max() < 0.02
    assert 0.02 < colorful.mean() < 0.5


@pytest.mark.render
def test_an_empty_map_and_a_demo_model_change_the_picture_but_break_nothing(tmp_path, upright):
    ct, probability, segmentation = lps_case()
    empty = picture(
        tmp_path / "empty.png", (ct, probability.with_array(np.zeros_like(probability.array)), segmentation)
    )
    demo = picture(tmp_path / "demo.png", (ct, probability, segmentation), demo=True, bundle_name="<demo>")
    assert empty.shape == demo.shape == upright.shape
    raw = picture(tmp_path / "raw.png", (ct, probability, segmentation), calibrated=False)
    top = slice(0, int(0.16 * upright.shape[0]))
    assert np.any(raw[top] != upright[top])
    assert np.any(empty[top] != upright[top])
    assert np.any(demo[top] != upright[top])


@pytest.mark.render
def test_a_line_above_the_picture_says_which_ct_it_is(tmp_path, upright):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning of a letter that the font lacks would tell it
        named = picture(tmp_path / "named.png", lps_case(), which="Case $x_1$ Müller 症 · CT 0123abcd")
    line = len(named) - len(upright)
    np.testing.assert_array_equal(named[line:], upright)
    assert (named[:line] < 0.5).any()
    assert named[0].min() == named[line - 1].min() == 1


@pytest.mark.render
def test_the_line_is_changed_without_the_volumes(tmp_path):
    for name, which in (("a", "CT 0123abcd"), ("b", "Case b · CT 0123abcd")):
        picture(tmp_path / f"{name}.png", lps_case(), which=which)
    change_title_line(tmp_path / "a.png", "Case b · CT 0123abcd")
    from matplotlib.image import imread

    np.testing.assert_array_equal(imread(tmp_path / "a.png"), imread(tmp_path / "b.png"))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for name in ("broken.png", "none.png"):
        with raises_error(InputError, "report-unreadable", name):
            change_title_line(tmp_path / name, "x")


@pytest.mark.process
def test_letters_that_the_font_lacks_are_boxes():
    assert drawable("Fall Müller 症 7") == "Fall Müller ▯ 7"


@pytest.mark.process
def test_other_grids_are_refused(tmp_path):
    ct, probability, _ = lps_case()
    other = Volume(probability.array, Geometry(SIZE, (2.0, 2.0, 2.0)))
    with raises_error(InputError, "grid-differs", "CT"):
        write_overview(tmp_path / "overview.png", ct, other, threshold=0.5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.render
def test_a_real_ct_with_reversed_axes_is_drawn(tmp_path, test_data):
    ct = read_volume(test_data / "data" / "ct_3mm.nii.gz")
    probability = np.zeros(ct.array.shape, np.float32)
    probability[60:66, 50:56, 58:66] = 0.8
    image = picture(tmp_path / "overview.png", (ct, ct.with_array(probability), None))
    assert image.std() > 0.1


@pytest.mark.render
def test_a_faint_piece_far_from_the_tumour_has_no_colour_but_is_shown_where_there_is_nothing_else(tmp_path):
    """It would look like a finding; where no tumour is above the threshold, it is what there is to see."""
    ct, probability, _ = lps_case()
    far = np.zeros_like(probability.array)
    far[CENTER[2], 8:12, 10:16] = 0.15  # in the axial section

    def pixels(name, array, threshold=0.5):
        write_overview(tmp_path / name, ct, probability.with_array(array), threshold=threshold)
        return picture_of(tmp_path / name)

    alone = pixels("alone.png", probability.array)
    assert np.array_equal(pixels("both.png", np.maximum(probability.array, far)), alone)
    low = 0.3 * probability.array  # reaches 0.29: nothing above the threshold
    assert not np.array_equal(pixels("low.png", low), pixels("low_both.png", np.maximum(low, far)))


def picture_of(path):
    from PIL import Image

    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


@pytest.mark.render
def test_the_axial_section_can_be_cut_out_with_and_without_a_line_above(tmp_path):
    ct, probability, _ = lps_case()
    cut = []
    for name, which in (("plain.png", ""), ("named.png", "CT 0123abcd")):
        write_overview(tmp_path / name, ct, probability, threshold=0.5, which=which)
        cut.append(np.asarray(axial_of(tmp_path / name)))
    assert np.array_equal(*cut)
    assert abs(cut[0].shape[0] - cut[0].shape[1]) <= 2
    assert (cut[0] < 250).any(axis=2).mean() > 0.95  # no white paper around it


def test_names_of_vessels_lie_apart_and_inside_the_picture():
    names = _Names(120.0, "Axial")
    beside = [names.place("AORTA", (50.0, 60.0, 60.0, 70.0)) for _ in range(5)]
    assert len(set(beside[:4])) == 4
    assert beside[4] is None  # below, above, right and left are taken
    _, y = names.place("SMA", (2.0, 100.0, 8.0, 119.0))  # at the lower edge and beside the scale: above
    assert y < 100
    assert names.place("CELIAC", (0.0, 0.0, 120.0, 120.0)) is None
