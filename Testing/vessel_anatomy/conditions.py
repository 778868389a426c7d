"""What goes wrong with maps of arteries and veins: each condition changes a drawn patient, and its truth with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from twintrack.volume import Geometry, Volume
from vessel_anatomy.drawing import ARTERIES, CODES, ORGANS, VEINS, Anatomy, draw, paint_tube
from vessel_anatomy.templates import Branch

__all__ = ["CLASSES", "CLEAN", "CONDITIONS", "LabelledCase", "make_case"]

CLASSES = {"ARTERIES": 1, "VEINS": 2, "AORTA": 3, "liver": 4, "spleen": 5, "pancreas": 6}
"""Values of the label maps."""

Rng = np.random.Generator
_ARTERY_CODES = [CODES[name] for name in ARTERIES]
_MAIN = ("celiac", "sma", "hepatic", "splenic_artery", "portal", "smv", "splenic_vein")


@dataclass(frozen=True)
class LabelledCase:
    """What a program gets, and what is true.

    Attributes
    ----------
    labels : Volume
        Values of `CLASSES`.
    names : dict of str to int
        The classes that it holds.
    truth : numpy.ndarray
        uint8 (z, y, x), values of `vessel_anatomy.drawing.CODES`; 0 where `labels` has no vessel.
    """

    labels: Volume
    names: dict[str, int]
    truth: NDArray[np.uint8]


@dataclass
class _Patient:
    """A patient under change."""

    anatomy: Anatomy
    rng: Rng
    artery: NDArray[np.bool_]
    vein: NDArray[np.bool_]
    given: tuple[str, ...] = ("ARTERIES", "VEINS")

    @property
    def truth(self) -> NDArray[np.uint8]:
        return self.anatomy.truth

    def line(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self.anatomy.lines_mm[name]

    def ball(self, center_mm: NDArray[np.float64], radius_mm: float) -> NDArray[np.bool_]:
        inside = np.zeros(self.truth.shape, np.uint8)
        paint_tube(inside, self.anatomy.geometry, center_mm[None], np.array([radius_mm]), 1)
        return inside > 0

    def take(self, where: NDArray[np.bool_]) -> None:
        self.artery &= ~where
        self.vein &= ~where

    def only(self, name: str) -> NDArray[np.bool_]:
        return self.truth == CODES[name]


@dataclass(frozen=True)
class _Condition:
    change: Callable[[_Patient], None]
    without: tuple[str, ...] = ()
    extra: dict[str, Branch] = field(default_factory=dict)
    spacing_mm: tuple[float, float, float] = (1.2, 1.2, 1.5)


def _nothing(patient: _Patient) -> None:
    pass


def _with_organs(patient: _Patient) -> None:
    patient.given += ("liver", "spleen", "pancreas")


def _with_aorta(patient: _Patient) -> None:
    patient.given += ("AORTA",)


def _arteries_alone(patient: _Patient) -> None:
    patient.given = ("ARTERIES",)


def _veins_alone(patient: _Patient) -> None:
    patient.given = ("VEINS",)


def _gaps(width_mm: float) -> Callable[[_Patient], None]:
    """Cut every main vessel once, across."""

    def change(patient: _Patient) -> None:
        for name in _MAIN:
            if name not in patient.anatomy.lines_mm:
                continue
            points, radii = patient.line(name)
            number = int(patient.rng.uniform(0.3, 0.75) * len(points))
            along = points[min(number + 3, len(points) - 1)] - points[number - 3]
            along /= np.linalg.norm(along)
            around = np.argwhere(patient.ball(points[number], 2.5 * radii[number] + 3.0))
            steps = (patient.anatomy.geometry.to_lps_mm(around[:, ::-1]) - points[number]) @ along
            cut = np.zeros(patient.truth.shape, bool)
            cut[tuple(around[np.abs(steps) <= width_mm / 2].T)] = True
            patient.take(cut & patient.only(patient.anatomy.labels[name]))

    return change


def _bridge(
    patient: _Patient, start: NDArray[np.float64], end: NDArray[np.float64], radius_mm: float, name: str
) -> None:
    line = start + np.linspace(0, 1, 80)[:, None] * (end - start)
    leak = np.zeros(patient.truth.shape, np.uint8)
    paint_tube(leak, patient.anatomy.geometry, line, np.full(80, radius_mm), 1)
    added = (leak > 0) & (patient.truth == 0)
    patient.truth[added] = CODES[name]
    (patient.artery if name == "artery" else patient.vein)[added] = True


def _leak_celiac_sma(patient: _Patient) -> None:
    celiac, sma = patient.line("celiac")[0], patient.line("sma")[0]
    _bridge(patient, celiac[int(0.7 * len(celiac))], sma[int(0.14 * len(sma))], 2.4, "artery")


def _leak_portal_cava(patient: _Patient) -> None:
    portal, cava = patient.line("portal")[0], patient.line("cava")[0]
    middle = portal[len(portal) // 2]
    _bridge(patient, middle, cava[np.argmin(np.linalg.norm(cava - middle, axis=1))], 3.0, "vein")


def _leak_splenic_artery_sma(patient: _Patient) -> None:
    splenic, sma = patient.line("splenic_artery")[0], patient.line("sma")[0]
    _bridge(patient, splenic[int(0.3 * len(splenic))], sma[int(0.2 * len(sma))], 2.0, "artery")


def _leak_smv_renal(patient: _Patient) -> None:
    smv, renal = patient.line("smv")[0], patient.line("left_renal_vein")[0]
    start = smv[int(0.2 * len(smv))]
    _bridge(patient, start, renal[np.argmin(np.linalg.norm(renal - start, axis=1))], 2.5, "vein")


def _swapped_pieces(patient: _Patient) -> None:
    """Call a piece of the SMV artery, and a piece of the SMA vein, as networks do where both lie side by side."""
    for name, source, target in (("smv", patient.vein, patient.artery), ("sma", patient.artery, patient.vein)):
        points, radii = patient.line(name)
        number = int(patient.rng.uniform(0.25, 0.5) * len(points))
        moved = patient.ball(points[number], radii[number] + 4.0) & patient.only(name.upper())
        source &= ~moved
        target |= moved


def _eroded(patient: _Patient) -> None:
    from scipy.ndimage import binary_erosion

    patient.artery[:] = binary_erosion(patient.artery)
    patient.vein[:] = binary_erosion(patient.vein)


def _dilated(patient: _Patient) -> None:
    """Grow all by a voxel; what is added belongs to the nearest vessel of its class."""
    from scipy.ndimage import binary_dilation, distance_transform_edt

    truth = patient.truth.copy()
    for mask, codes in ((patient.artery, _ARTERY_CODES), (patient.vein, [CODES[name] for name in VEINS])):
        own = np.isin(truth, codes)
        grown = binary_dilation(mask) & (patient.truth == 0)
        nearest = distance_transform_edt(~own, return_distances=False, return_indices=True)
        patient.truth[grown] = truth[tuple(nearest)][grown]
        mask |= grown


def _rough(patient: _Patient) -> None:
    """Flip voxels on both sides of the surface; what is added belongs to the nearest vessel of its class."""
    from scipy.ndimage import binary_dilation, binary_erosion, distance_transform_edt

    truth = patient.truth.copy()
    for mask, codes in ((patient.artery, _ARTERY_CODES), (patient.vein, [CODES[name] for name in VEINS])):
        nearest = distance_transform_edt(~np.isin(truth, codes), return_distances=False, return_indices=True)
        lost = mask & ~binary_erosion(mask) & (patient.rng.random(mask.shape) < 0.25)
        won = binary_dilation(mask) & (patient.truth == 0) & (patient.rng.random(mask.shape) < 0.15)
        patient.truth[won] = truth[tuple(nearest)][won]
        mask[won] = True
        mask[lost] = False


def _islands(patient: _Patient) -> None:
    shape = np.array(patient.truth.shape)
    for mask, other in ((patient.artery, "artery"), (patient.vein, "vein")):
        for _ in range(300):
            place = tuple(patient.rng.integers(0, shape))
            if patient.truth[place] == 0:
                patient.truth[place] = CODES[other]
                mask[place] = True
        for _ in range(6):
            center = patient.anatomy.geometry.to_lps_mm(patient.rng.integers(0, shape)[::-1])
            blob = patient.ball(center, patient.rng.uniform(2.0, 4.5)) & (patient.truth == 0)
            patient.truth[blob] = CODES[other]
            mask |= blob


def _cut_z(low: Callable[[_Patient], float], high: Callable[[_Patient], float]) -> Callable[[_Patient], None]:
    def change(patient: _Patient) -> None:
        z_mm = patient.anatomy.geometry.to_lps_mm(np.outer(np.arange(patient.truth.shape[0]), (0, 0, 1)))[:, 2]
        outside = (z_mm < low(patient)) | (z_mm > high(patient))
        patient.take(np.broadcast_to(outside[:, None, None], patient.truth.shape))

    return change


def _start_z(patient: _Patient, name: str) -> float:
    return float(patient.line(name)[0][0, 2])


def _far(_: _Patient) -> float:
    return 1e6


def _deep(_: _Patient) -> float:
    return -1e6


def _around_gland(patient: _Patient) -> None:
    spacing = tuple(reversed(patient.anatomy.geometry.spacing_mm))
    gland = patient.anatomy.organs == ORGANS["pancreas"]
    box = np.argwhere(gland)
    margin = np.ceil(15.0 / np.array(spacing)).astype(int)
    low, high = box.min(0) - margin, box.max(0) + margin
    inside = np.zeros(gland.shape, bool)
    inside[tuple(slice(max(a, 0), b + 1) for a, b in zip(low, high, strict=True))] = True
    patient.take(~inside)


def _removed(*labels: str, tubes: tuple[str, ...] = ()) -> Callable[[_Patient], None]:
    """Take vessels out of the map, though the patient has them."""

    def change(patient: _Patient) -> None:
        for label in labels:
            patient.take(patient.only(label))
        for tube in tubes:
            points, radii = patient.line(tube)
            gone = np.zeros(patient.truth.shape, np.uint8)
            paint_tube(gone, patient.anatomy.geometry, points, radii + 0.5, 1)
            patient.take((gone > 0) & np.isin(patient.truth, [CODES["artery"], CODES["vein"]]))

    return change


def _short_sma(patient: _Patient) -> None:
    points = patient.line("sma")[0]
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    cut = points[np.searchsorted(along, 38.0)]
    z_mm = patient.anatomy.geometry.to_lps_mm(np.outer(np.arange(patient.truth.shape[0]), (0, 0, 1)))[:, 2]
    patient.take(patient.only("SMA") & (z_mm < cut[2])[:, None, None])


def _common_trunk(patient: _Patient) -> None:
    """Let celiac trunk and SMA leave the aorta as one."""
    truth, geometry = patient.truth, patient.anatomy.geometry
    celiac, sma = patient.line("celiac")[0], patient.line("sma")[0]
    start = celiac[0] * 0.5 + sma[0] * 0.5
    middle = start + np.array([0.0, -20.0, 0.0])
    ends = (celiac[-1], sma[int(0.25 * len(sma))])
    for name, tube in (("CELIAC", "celiac"), ("SMA", "sma")):
        points, _ = patient.line(tube)
        stop = len(points) if tube == "celiac" else int(0.25 * len(points))
        gone = np.zeros(truth.shape, np.uint8)
        paint_tube(gone, geometry, points[:stop], patient.line(tube)[1][:stop] + 1.5, 1)
        gone = (gone > 0) & patient.only(name)
        truth[gone] = 0
        patient.artery[gone] = False
    _bridge(patient, start, middle, 4.2, "artery")
    for end in ends:
        _bridge(patient, middle, end, 3.4, "artery")


def _narrowed(patient: _Patient) -> None:
    """Thin the vessels along 15 to 25 mm, as a tumour around them does."""
    geometry = patient.anatomy.geometry
    for name in ("celiac", "sma", "smv", "portal"):
        if name not in patient.anatomy.lines_mm:
            continue
        points, radii = patient.line(name)
        middle = int(patient.rng.uniform(0.15, 0.5) * len(points))
        half = int(patient.rng.uniform(15, 25))
        part = slice(max(middle - half, 0), middle + half)
        wide, thin = np.zeros(patient.truth.shape, np.uint8), np.zeros(patient.truth.shape, np.uint8)
        paint_tube(wide, geometry, points[part], radii[part] + 2.0, 1)
        longer = slice(max(middle - half - 30, 0), middle + half + 30)  # beyond the balls that are taken away
        paint_tube(thin, geometry, points[longer], 0.5 * radii[longer], 1)
        patient.take((wide > 0) & (thin == 0) & patient.only(patient.anatomy.labels[name]))


def _occluded_confluence(patient: _Patient) -> None:
    patient.take(patient.ball(patient.line("smv")[0][0], 11.0))


def _occluded_sma(patient: _Patient) -> None:
    points = patient.line("sma")[0]
    patient.take(patient.ball(points[int(patient.rng.uniform(0.15, 0.35) * len(points))], 9.0) & patient.only("SMA"))


def _occluded_celiac(patient: _Patient) -> None:
    points = patient.line("celiac")[0]
    patient.take(patient.ball(points[int(0.55 * len(points))], 6.5) & patient.only("CELIAC"))


def _aneurysm(patient: _Patient) -> None:
    points, radii = patient.line("aorta")
    z_mm = _start_z(patient, "sma") - 62.0
    swell = radii + 9.0 * np.exp(-(((points[:, 2] - z_mm) / 20.0) ** 2))
    grown = np.zeros(patient.truth.shape, np.uint8)
    paint_tube(grown, patient.anatomy.geometry, points, swell, 1)
    added = (grown > 0) & (patient.truth == 0)
    patient.truth[added] = CODES["AORTA"]
    patient.artery[added] = True


def _dissection(patient: _Patient) -> None:
    """Leave a flap of a voxel unlabelled along the aorta."""
    points, _ = patient.line("aorta")
    aorta = np.argwhere(patient.only("AORTA"))
    place = patient.anatomy.geometry.to_lps_mm(aorta[:, ::-1])
    center = np.stack(
        [np.interp(place[:, 2], *(points[np.argsort(points[:, 2])][:, [2, axis]].T)) for axis in (0, 1)], 1
    )
    angle = patient.rng.uniform(0, np.pi) + place[:, 2] / 60.0
    off = (place[:, 0] - center[:, 0]) * np.cos(angle) + (place[:, 1] - center[:, 1]) * np.sin(angle)
    flap = np.zeros(patient.truth.shape, bool)
    flap[tuple(aorta[np.abs(off - 2.0) < 0.8].T)] = True
    patient.take(flap)


def _mirrored(patient: _Patient) -> None:
    """Mirror the voxels left to right, as a lost header does; nothing in it is where its name says."""
    anatomy = patient.anatomy
    anatomy.truth[:] = anatomy.truth[:, :, ::-1].copy()
    anatomy.organs[:] = anatomy.organs[:, :, ::-1].copy()
    patient.artery[:] = patient.artery[:, :, ::-1].copy()
    patient.vein[:] = patient.vein[:, :, ::-1].copy()


def _mirrored_with_organs(patient: _Patient) -> None:
    _mirrored(patient)
    _with_organs(patient)


def _upside_down(patient: _Patient) -> None:
    anatomy = patient.anatomy
    for array in (anatomy.truth, anatomy.organs, patient.artery, patient.vein):
        array[:] = array[::-1].copy()


def _classes_swapped(patient: _Patient) -> None:
    artery = patient.artery.copy()
    patient.artery[:], patient.vein[:] = patient.vein, artery


_REPLACED_HEPATIC = {
    "replaced_hepatic": Branch(
        "artery", "sma", 0.10, ((0, 0, 0, 2.7), (-14, 3, 4, 2.6), (-30, 4, 22, 2.5), (-46, 2, 40, 2.2))
    )
}
_BIG_INFERIOR_MESENTERIC_VEIN = {
    "inferior_mesenteric_vein": Branch(
        "vein", "smv", 0.08, ((0, 0, 0, 3.4), (18, 4, -6, 3.4), (34, 10, -22, 3.2), (40, 12, -90, 2.8))
    )
}
_WITHOUT_SPLENIC = ("splenic_vein",)

CLEAN = ("clean", "clean with organs", "clean with aorta")
"""Conditions in which nothing is wrong."""

CONDITIONS: dict[str, _Condition] = {
    "clean": _Condition(_nothing),
    "clean with organs": _Condition(_with_organs),
    "clean with aorta": _Condition(_with_aorta),
    "arteries alone": _Condition(_arteries_alone),
    "veins alone": _Condition(_veins_alone),
    "gaps of 1.5 mm": _Condition(_gaps(1.5)),
    "gaps of 6 mm": _Condition(_gaps(6.0)),
    "leak celiac to SMA": _Condition(_leak_celiac_sma),
    "leak splenic artery to SMA": _Condition(_leak_splenic_artery_sma),
    "leak portal vein to cava": _Condition(_leak_portal_cava),
    "leak SMV to left renal vein": _Condition(_leak_smv_renal),
    "pieces in the other class": _Condition(_swapped_pieces),
    "eroded by a voxel": _Condition(_eroded),
    "dilated by a voxel": _Condition(_dilated),
    "rough surface": _Condition(_rough),
    "islands": _Condition(_islands),
    "image ends below": _Condition(_cut_z(lambda one: _start_z(one, "sma") - 32.0, _far)),
    "image ends under the celiac": _Condition(_cut_z(_deep, lambda one: _start_z(one, "celiac") - 6.0)),
    "image ends above the confluence": _Condition(_cut_z(_deep, lambda one: _start_z(one, "smv") + 14.0)),
    "SMA a stump": _Condition(_cut_z(lambda one: _start_z(one, "sma") - 4.0, _far)),
    "SMA of 38 mm": _Condition(_short_sma),
    "cropped around the gland": _Condition(_around_gland),
    "slices of 5 mm": _Condition(_nothing, spacing_mm=(0.8, 0.8, 5.0)),
    "replaced right hepatic": _Condition(_nothing, extra=_REPLACED_HEPATIC),
    "no celiac trunk": _Condition(
        _removed("CELIAC", "CHA", "SPLENIC_ARTERY", tubes=("left_gastric", "proper_hepatic"))
    ),
    "no SMA": _Condition(_removed("SMA", tubes=("jejunal_1", "jejunal_2", "ileocolic"))),
    "no root of the SMA": _Condition(_removed("SMA")),
    "common trunk": _Condition(_common_trunk),
    "thinned by tumour": _Condition(_narrowed),
    "occluded confluence": _Condition(_occluded_confluence),
    "occluded SMA": _Condition(_occluded_sma),
    "occluded celiac trunk": _Condition(_occluded_celiac),
    "no splenic vein": _Condition(_nothing, without=_WITHOUT_SPLENIC),
    "no splenic vein, large IMV": _Condition(
        _nothing, without=(*_WITHOUT_SPLENIC, "inferior_mesenteric_vein"), extra=_BIG_INFERIOR_MESENTERIC_VEIN
    ),
    "no portal vein": _Condition(_removed("PORTA", tubes=("right_portal", "left_portal"))),
    "no SMV": _Condition(_removed("SMV")),
    "aneurysm": _Condition(_aneurysm),
    "dissection": _Condition(_dissection),
    "mirrored": _Condition(_mirrored),
    "mirrored with organs": _Condition(_mirrored_with_organs),
    "upside down": _Condition(_upside_down),
    "classes swapped": _Condition(_classes_swapped),
}
"""By name."""


def make_case(condition: str, template: str, seed: int) -> LabelledCase:
    """Draw a patient in a condition."""
    wanted = CONDITIONS[condition]
    anatomy = draw(template, seed, spacing_mm=wanted.spacing_mm, without=wanted.without, extra=wanted.extra)
    artery = np.isin(anatomy.truth, _ARTERY_CODES)
    patient = _Patient(
        anatomy, np.random.default_rng([seed, *condition.encode()]), artery, (anatomy.truth > 0) & ~artery
    )
    wanted.change(patient)
    return _labelled(patient, anatomy.geometry)


def _labelled(patient: _Patient, geometry: Geometry) -> LabelledCase:
    labels = np.zeros(patient.truth.shape, np.uint8)
    for name in ("liver", "spleen", "pancreas"):
        if name in patient.given:
            labels[patient.anatomy.organs == ORGANS[name]] = CLASSES[name]
    if "VEINS" in patient.given:
        labels[patient.vein] = CLASSES["VEINS"]
    if "ARTERIES" in patient.given:
        labels[patient.artery] = CLASSES["ARTERIES"]
    if "AORTA" in patient.given:
        labels[patient.artery & (patient.truth == CODES["AORTA"])] = CLASSES["AORTA"]
    held = np.isin(labels, (CLASSES["ARTERIES"], CLASSES["VEINS"], CLASSES["AORTA"]))
    names = {name: value for name, value in CLASSES.items() if name in patient.given}
    return LabelledCase(Volume(labels, geometry), names, np.where(held, patient.truth, 0).astype(np.uint8))
