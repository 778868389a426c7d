"""Three templates of the vessels around the pancreas, which differ in course, calibre and branching.

A template lists tubes. Each begins on another one, so that what is drawn at random (where the celiac trunk leaves the
aorta, how long it is) moves all that hangs on it. Positions are LPS mm: x to the patient's left, y to the back, z to
the head; the origin lies about at the neck of the pancreas.

Drawn from published ranges: the distance from the celiac trunk to the SMA, 21.9 +- 8.0 mm in 150 CTs (International
Journal of Anatomy, Radiology and Surgery 2021), 18.2 +- 6.6 and 15.5 +- 4.1 mm in 107 CT angiographies (Rusu 2021).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TEMPLATES", "Branch", "Template"]

Point = tuple[float, float, float, float]
"""x, y, z and radius, in mm."""


@dataclass(frozen=True)
class Branch:
    """A tube that begins on another one.

    Attributes
    ----------
    label : str
        What its voxels are: a name of the readouts, or ``artery`` and ``vein`` for any other.
    parent : str
        The tube that it begins on.
    at : float or None
        Where on the parent: fraction of its length; None for a branch of the aorta or the cava, whose first point says
        the height.
    points : tuple of Point
        Its further points, as steps from where it begins, with radii; the first radius is that of its beginning.
    """

    label: str
    parent: str
    at: float | None
    points: tuple[Point, ...]
    z_mm: float = 0.0


@dataclass(frozen=True)
class Template:
    """One anatomy.

    Attributes
    ----------
    aorta, cava : tuple of Point
        The two great vessels, in place.
    confluence_mm : tuple of float
        Where portal, splenic and superior mesenteric vein meet.
    celiac_sma_mm : tuple of float
        Mean and standard deviation of the distance between the two arteries' beginnings.
    sma_z_mm : float
        Height at which the SMA leaves the aorta.
    jitter_mm : float
        Standard deviation of every control point.
    branches : dict of str to Branch
        In the order in which they are drawn; of two tubes that share a voxel the first has it.
    """

    aorta: tuple[Point, ...]
    cava: tuple[Point, ...]
    confluence_mm: tuple[float, float, float]
    celiac_sma_mm: tuple[float, float]
    sma_z_mm: float
    jitter_mm: float
    branches: dict[str, Branch]


_USUAL = Template(
    aorta=((13, 40, -135, 8.8), (12, 38, -30, 9.8), (11, 37, 20, 10.4), (10, 40, 112, 11.4)),
    cava=((-20, 40, -135, 9.5), (-21, 38, 0, 10.5), (-22, 34, 112, 12)),
    confluence_mm=(-9, 5, -4),
    celiac_sma_mm=(21.9, 8.0),
    sma_z_mm=-8,
    jitter_mm=1.2,
    branches={
        "celiac": Branch(
            "CELIAC", "aorta", None, ((0, 0, 0, 3.9), (0, -15, 3, 3.8), (1, -25, 4, 3.6), (2, -33, 3, 3.4))
        ),
        "sma": Branch(
            "SMA",
            "aorta",
            None,
            ((0, 0, 0, 4.2), (-1, -17, -5, 4.1), (-2, -25, -18, 3.9), (-4, -27, -52, 3.5), (-7, -24, -118, 2.9)),
        ),
        "hepatic": Branch(
            "CHA", "celiac", 1.0, ((0, 0, 0, 2.9), (-12, -5, -2, 2.8), (-24, -7, -3, 2.7), (-34, -6, 0, 2.6))
        ),
        "splenic_artery": Branch(
            "SPLENIC_ARTERY",
            "celiac",
            1.0,
            ((0, 0, 0, 3.0), (12, -3, 6, 2.9), (26, 4, -1, 2.8), (44, 14, 9, 2.7), (60, 22, 4, 2.6), (80, 36, 16, 2.4)),
        ),
        "left_gastric": Branch("artery", "celiac", 0.8, ((0, 0, 0, 1.8), (2, -4, 12, 1.7), (6, -14, 30, 1.5))),
        "proper_hepatic": Branch("artery", "hepatic", 1.0, ((0, 0, 0, 2.4), (-6, 2, 12, 2.3), (-22, 4, 30, 2.0))),
        "gastroduodenal": Branch("artery", "hepatic", 1.0, ((0, 0, 0, 2.0), (-3, -3, -12, 1.9), (-8, -2, -34, 1.7))),
        "right_renal": Branch(
            "artery", "aorta", None, ((0, 0, 0, 2.9), (-14, 12, -3, 2.8), (-32, 19, -6, 2.7), (-60, 18, -16, 2.5)), -22
        ),
        "left_renal": Branch(
            "artery", "aorta", None, ((0, 0, 0, 2.9), (20, 8, -3, 2.8), (36, 12, -4, 2.7), (50, 14, -6, 2.5)), -19
        ),
        "inferior_mesenteric": Branch(
            "artery", "aorta", None, ((0, 0, 0, 2.0), (3, -15, -8, 2.0), (10, -17, -28, 1.9), (18, -13, -48, 1.7)), -84
        ),
        "jejunal_1": Branch("artery", "sma", 0.30, ((0, 0, 0, 1.6), (10, -4, -4, 1.5), (30, -10, -16, 1.3))),
        "jejunal_2": Branch("artery", "sma", 0.48, ((0, 0, 0, 1.6), (10, -3, -7, 1.5), (28, -8, -24, 1.3))),
        "jejunal_3": Branch("artery", "sma", 0.66, ((0, 0, 0, 1.6), (9, -3, -8, 1.5), (22, -8, -24, 1.3))),
        "ileocolic": Branch("artery", "sma", 0.60, ((0, 0, 0, 1.7), (-10, -4, -10, 1.6), (-30, -10, -30, 1.4))),
        "portal": Branch(
            "PORTA", "confluence", 0.0, ((0, 0, 0, 6.5), (-10, 2, 14, 6.7), (-24, 4, 31, 6.5), (-38, 2, 46, 6))
        ),
        "smv": Branch(
            "SMV", "confluence", 0.0, ((0, 0, 0, 6.3), (0, -1, -20, 5.7), (1, 1, -52, 5.2), (2, 4, -112, 4.6))
        ),
        "splenic_vein": Branch(
            "SPLENIC_VEIN", "confluence", 0.0, ((0, 0, 0, 4.7), (22, -3, 5, 4.4), (58, 15, 16, 4.1), (96, 38, 28, 3.4))
        ),
        "right_portal": Branch("vein", "portal", 1.0, ((0, 0, 0, 5.0), (-16, 6, 8, 4.4), (-36, 14, 10, 3.4))),
        "left_portal": Branch("vein", "portal", 1.0, ((0, 0, 0, 4.6), (2, -16, 14, 4.0), (10, -32, 20, 3.2))),
        "inferior_mesenteric_vein": Branch(
            "vein", "splenic_vein", 0.30, ((0, 0, 0, 2.4), (4, 4, -14, 2.3), (4, 2, -60, 2.1), (2, 4, -112, 1.8))
        ),
        "gastrocolic": Branch("vein", "smv", 0.18, ((0, 0, 0, 2.4), (-12, -10, -4, 2.2), (-26, -20, -8, 1.8))),
        "jejunal_vein": Branch("vein", "smv", 0.26, ((0, 0, 0, 2.6), (10, 14, -6, 2.4), (30, 12, -14, 2.0))),
        "coronary_vein": Branch("vein", "portal", 0.2, ((0, 0, 0, 1.8), (12, -8, 14, 1.7), (22, -16, 34, 1.5))),
        "left_renal_vein": Branch(
            "vein",
            "cava",
            None,
            ((0, 0, 0, 4.6), (14, -14, 1, 3.8), (34, -14, 3, 3.9), (56, 4, 2, 3.8), (74, 14, 0, 3.4)),
            -24,
        ),
        "right_renal_vein": Branch("vein", "cava", None, ((0, 0, 0, 4.6), (-16, 8, -4, 4.2), (-34, 14, -10, 3.6)), -28),
        "hepatic_vein": Branch("vein", "cava", None, ((0, 0, 0, 5.0), (-16, -14, 4, 4.4), (-40, -30, -4, 3.4)), 88),
    },
)
"""Vessels of usual calibre, steep SMA, three branches of a trunk that runs forwards."""

_SLENDER = Template(
    aorta=((2, 46, -135, 6.9), (8, 40, -75, 7.3), (3, 36, -25, 7.8), (1, 38, 25, 8.4), (4, 46, 112, 9.4)),
    cava=((-26, 44, -135, 7.5), (-27, 40, -10, 8.5), (-25, 36, 60, 9.5), (-22, 30, 112, 10.5)),
    confluence_mm=(-14, 0, 0),
    celiac_sma_mm=(15.5, 4.1),
    sma_z_mm=-2,
    jitter_mm=1.6,
    branches={
        "celiac": Branch(
            "CELIAC", "aorta", None, ((0, 0, 0, 3.1), (1, -11, -2, 3.0), (1, -18, 0, 3.0), (2, -24, 5, 2.9))
        ),
        "sma": Branch(
            "SMA",
            "aorta",
            None,
            ((0, 0, 0, 3.4), (-1, -12, -6, 3.3), (-3, -15, -22, 3.2), (-2, -18, -60, 2.9), (-10, -22, -120, 2.5)),
        ),
        "hepatic": Branch(
            "CHA", "celiac", 1.0, ((0, 0, 0, 2.4), (-8, -7, 1, 2.4), (-18, -12, -5, 2.3), (-29, -11, -2, 2.2))
        ),
        "splenic_artery": Branch(
            "SPLENIC_ARTERY",
            "celiac",
            1.0,
            (
                (0, 0, 0, 2.6),
                (9, -2, 9, 2.5),
                (20, 2, -4, 2.4),
                (32, 8, 9, 2.4),
                (46, 15, -2, 2.3),
                (60, 24, 12, 2.2),
                (76, 34, 8, 2.0),
            ),
        ),
        "left_gastric": Branch("artery", "celiac", 0.55, ((0, 0, 0, 1.6), (3, -6, 10, 1.5), (10, -14, 24, 1.3))),
        "proper_hepatic": Branch("artery", "hepatic", 1.0, ((0, 0, 0, 2.0), (-3, 4, 14, 1.9), (-14, 8, 34, 1.7))),
        "gastroduodenal": Branch("artery", "hepatic", 1.0, ((0, 0, 0, 1.8), (-5, -2, -10, 1.7), (-7, 2, -40, 1.5))),
        "right_renal": Branch(
            "artery", "aorta", None, ((0, 0, 0, 2.4), (-12, 9, -6, 2.4), (-29, 17, -13, 2.3), (-56, 20, -20, 2.1)), -14
        ),
        "left_renal": Branch(
            "artery", "aorta", None, ((0, 0, 0, 2.4), (16, 5, -6, 2.4), (34, 12, -12, 2.3), (52, 18, -12, 2.1)), -20
        ),
        "accessory_renal": Branch("artery", "aorta", None, ((0, 0, 0, 1.6), (18, 0, -8, 1.6), (46, 12, -18, 1.5)), -46),
        "inferior_mesenteric": Branch(
            "artery", "aorta", None, ((0, 0, 0, 1.7), (6, -9, -10, 1.6), (14, -8, -30, 1.6), (20, -4, -52, 1.4)), -76
        ),
        "jejunal_1": Branch("artery", "sma", 0.24, ((0, 0, 0, 1.4), (9, -2, -2, 1.3), (26, -6, -8, 1.2))),
        "jejunal_2": Branch("artery", "sma", 0.40, ((0, 0, 0, 1.4), (10, -2, -6, 1.3), (30, -10, -18, 1.2))),
        "jejunal_3": Branch("artery", "sma", 0.58, ((0, 0, 0, 1.4), (12, -4, -8, 1.3), (26, -12, -30, 1.2))),
        "middle_colic": Branch("artery", "sma", 0.34, ((0, 0, 0, 1.4), (-6, -12, -6, 1.3), (-12, -32, -20, 1.2))),
        "ileocolic": Branch("artery", "sma", 0.55, ((0, 0, 0, 1.5), (-12, -2, -14, 1.4), (-34, -6, -40, 1.3))),
        "portal": Branch(
            "PORTA", "confluence", 0.0, ((0, 0, 0, 5.3), (-5, 5, 16, 5.2), (-13, 8, 34, 5.2), (-22, 6, 52, 4.9))
        ),
        "smv": Branch(
            "SMV", "confluence", 0.0, ((0, 0, 0, 5.0), (2, -4, -18, 4.6), (2, -8, -56, 4.2), (-6, -12, -118, 3.6))
        ),
        "splenic_vein": Branch(
            "SPLENIC_VEIN",
            "confluence",
            0.0,
            ((0, 0, 0, 3.8), (15, -2, -2, 3.6), (38, 8, 4, 3.4), (62, 24, 16, 3.1), (88, 40, 18, 2.8)),
        ),
        "right_portal": Branch("vein", "portal", 1.0, ((0, 0, 0, 3.9), (-14, 4, 10, 3.4), (-34, 10, 16, 2.8))),
        "left_portal": Branch("vein", "portal", 1.0, ((0, 0, 0, 3.6), (4, -12, 12, 3.2), (14, -28, 16, 2.6))),
        "inferior_mesenteric_vein": Branch(
            "vein", "confluence", 0.0, ((3, 0, 0, 2.0), (12, 4, -16, 2.0), (20, 10, -60, 1.9), (22, 12, -112, 1.6))
        ),
        "gastrocolic": Branch("vein", "smv", 0.14, ((0, 0, 0, 2.0), (-8, -12, 0, 1.9), (-22, -24, -2, 1.6))),
        "jejunal_vein": Branch("vein", "smv", 0.34, ((0, 0, 0, 2.4), (12, 12, -4, 2.2), (32, 10, -10, 1.8))),
        "ileal_vein": Branch("vein", "smv", 0.55, ((0, 0, 0, 2.8), (8, 2, -14, 2.6), (22, 0, -46, 2.2))),
        "left_renal_vein": Branch(
            "vein",
            "cava",
            None,
            ((0, 0, 0, 3.9), (16, -8, 2, 3.1), (32, -9, 5, 2.9), (54, 2, 8, 3.2), (74, 12, 8, 3.0)),
            -22,
        ),
        "right_renal_vein": Branch("vein", "cava", None, ((0, 0, 0, 3.9), (-14, 8, 0, 3.6), (-32, 18, -4, 3.2)), -20),
        "hepatic_vein": Branch("vein", "cava", None, ((0, 0, 0, 4.4), (-14, -16, 6, 4.0), (-36, -34, 4, 3.0)), 84),
    },
)
"""Thin vessels, winding aorta, narrow angle of the SMA, a trunk that first runs down and sends its branches off one by
one; the inferior mesenteric vein enters the confluence."""

_STOUT = Template(
    aorta=((22, 34, -135, 10.4), (14, 38, -70, 12.4), (18, 40, -10, 12.6), (20, 42, 40, 13.0), (14, 50, 112, 13.8)),
    cava=((-18, 36, -135, 11.5), (-14, 42, -40, 12.5), (-20, 40, 30, 13.0), (-26, 34, 112, 14.0)),
    confluence_mm=(-2, -6, -8),
    celiac_sma_mm=(18.2, 6.6),
    sma_z_mm=-14,
    jitter_mm=1.4,
    branches={
        "celiac": Branch(
            "CELIAC", "aorta", None, ((0, 0, 0, 4.6), (-3, -20, 7, 4.5), (-5, -30, 12, 4.3), (-6, -40, 14, 4.2))
        ),
        "sma": Branch(
            "SMA",
            "aorta",
            None,
            ((0, 0, 0, 4.9), (-2, -24, 0, 4.7), (-4, -37, -12, 4.5), (-8, -40, -45, 4.2), (-4, -34, -116, 3.5)),
        ),
        "hepatic": Branch(
            "CHA", "celiac", 1.0, ((0, 0, 0, 3.4), (-14, -3, 6, 3.3), (-28, -2, 8, 3.2), (-44, 0, 4, 3.1))
        ),
        "splenic_artery": Branch(
            "SPLENIC_ARTERY",
            "celiac",
            1.0,
            ((0, 0, 0, 3.8), (16, -5, 2, 3.7), (30, 2, 12, 3.5), (50, 10, 18, 3.4), (78, 34, 30, 3.0)),
        ),
        "left_gastric": Branch("artery", "celiac", 1.0, ((0, 0, 0, 2.2), (3, -6, 12, 2.1), (4, -18, 34, 1.9))),
        "proper_hepatic": Branch("artery", "hepatic", 1.0, ((0, 0, 0, 2.9), (-10, 0, 12, 2.8), (-26, -2, 24, 2.4))),
        "gastroduodenal": Branch("artery", "hepatic", 1.0, ((0, 0, 0, 2.4), (0, -6, -14, 2.3), (-4, -8, -40, 2.0))),
        "right_renal": Branch(
            "artery", "aorta", None, ((0, 0, 0, 3.4), (-16, 14, 0, 3.3), (-36, 20, -4, 3.2), (-70, 16, -20, 3.0)), -30
        ),
        "left_renal": Branch(
            "artery", "aorta", None, ((0, 0, 0, 3.4), (20, 2, -2, 3.3), (38, 8, -10, 3.2), (52, 16, -14, 3.0)), -24
        ),
        "inferior_mesenteric": Branch(
            "artery", "aorta", None, ((0, 0, 0, 2.3), (2, -20, -4, 2.3), (10, -24, -24, 2.2), (16, -20, -44, 2.0)), -88
        ),
        "jejunal_1": Branch("artery", "sma", 0.36, ((0, 0, 0, 1.9), (12, -4, -2, 1.8), (32, -8, -10, 1.5))),
        "jejunal_2": Branch("artery", "sma", 0.52, ((0, 0, 0, 1.9), (12, -4, -8, 1.8), (30, -8, -28, 1.5))),
        "middle_colic": Branch("artery", "sma", 0.40, ((0, 0, 0, 1.9), (-8, -12, -4, 1.8), (-22, -26, -10, 1.5))),
        "ileocolic": Branch("artery", "sma", 0.70, ((0, 0, 0, 2.0), (-12, -4, -10, 1.9), (-28, -10, -26, 1.6))),
        "portal": Branch(
            "PORTA", "confluence", 0.0, ((0, 0, 0, 7.8), (-16, 4, 10, 7.9), (-34, 6, 22, 7.6), (-52, 2, 34, 7.2))
        ),
        "smv": Branch(
            "SMV", "confluence", 0.0, ((0, 0, 0, 7.4), (-4, 0, -22, 6.9), (-10, 6, -60, 6.2), (-10, 10, -108, 5.4))
        ),
        "splenic_vein": Branch(
            "SPLENIC_VEIN",
            "confluence",
            0.0,
            ((0, 0, 0, 5.8), (20, -2, 10, 5.4), (46, 8, 18, 5.0), (70, 26, 26, 4.6), (96, 46, 44, 4.0)),
        ),
        "right_portal": Branch("vein", "portal", 1.0, ((0, 0, 0, 6.0), (-14, 10, 4, 5.4), (-30, 20, 2, 4.2))),
        "left_portal": Branch("vein", "portal", 1.0, ((0, 0, 0, 5.4), (-4, -18, 12, 4.8), (4, -36, 22, 3.8))),
        "inferior_mesenteric_vein": Branch(
            "vein", "smv", 0.12, ((0, 0, 0, 2.8), (12, 6, -8, 2.7), (22, 10, -50, 2.5), (24, 12, -100, 2.1))
        ),
        "gastrocolic": Branch("vein", "smv", 0.24, ((0, 0, 0, 3.0), (-14, -8, -2, 2.8), (-30, -14, -10, 2.2))),
        "jejunal_vein": Branch("vein", "smv", 0.40, ((0, 0, 0, 3.2), (14, -8, -6, 3.0), (34, -10, -16, 2.4))),
        "coronary_vein": Branch("vein", "splenic_vein", 0.16, ((0, 0, 0, 2.2), (4, -10, 16, 2.1), (8, -20, 40, 1.8))),
        "left_renal_vein": Branch(
            "vein",
            "cava",
            None,
            ((0, 0, 0, 5.4), (16, -18, -2, 4.4), (36, -20, 0, 4.2), (60, -2, 4, 4.6), (76, 12, 4, 4.2)),
            -32,
        ),
        "right_renal_vein": Branch("vein", "cava", None, ((0, 0, 0, 5.2), (-18, 4, -8, 4.8), (-38, 10, -18, 4.2)), -40),
        "hepatic_vein": Branch("vein", "cava", None, ((0, 0, 0, 6.0), (-18, -10, 2, 5.2), (-44, -22, -8, 4.0)), 86),
    },
)
"""Wide and winding vessels, SMA that runs far forwards before it turns down, a long trunk that rises and forks in
three, a flat portal vein; the inferior mesenteric vein enters the SMV."""

TEMPLATES: dict[str, Template] = {"usual": _USUAL, "slender": _SLENDER, "stout": _STOUT}
