"""What a user can choose for one segmentation, as the command line, the worker and the Slicer module pass it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from twintrack.errors import InputError
from twintrack.system.case_label import check_case_label
from twintrack.system.paths import is_there, is_utf8

__all__ = [
    "BACKENDS",
    "CONTACT_MM_RANGE",
    "DEVICES",
    "MAX_SAMPLES",
    "NAME_VESSELS",
    "SegmentSettings",
    "check_name_vessels",
    "checked_contact_mm",
    "parse_roi",
    "parse_vessel_names",
]

DEVICES = ("auto", "cpu", "cuda", "mps")
"""Devices that can be asked for."""

BACKENDS = ("auto", "torch", "openvino")
"""What may run the networks on a CPU."""

NAME_VESSELS = ("auto", "off")
"""Whether vessels get names by anatomy where only arteries and veins are known."""

CONTACT_MM_RANGE = (0.5, 5.0)
"""Smallest and largest distance in mm from a vessel's lumen within which tumour may be said to touch the vessel.

A vessel's wall has 1 to 1.5 mm, and masks label the lumen; a few millimetres more is tissue between the two.
"""

MAX_SAMPLES = 16
"""Most samples of a result: each is a bit of an unsigned 16-bit number."""

MAX_VESSELS = 200
MAX_LABEL = 65535
MAX_NAME = 200
MAX_TEXT = 4096
"""Most vessels, largest value in a label map, longest name, and longest other text of a setting."""

Box = tuple[int, int, int, int, int, int]


@dataclass(frozen=True)
class SegmentSettings:
    """Options of one segmentation run.

    Attributes
    ----------
    roi : "auto", "full" or tuple of int
        Where stage 2 looks: found by stage 1, the whole volume, or the voxel index box ``i0, i1, j0, j1, k0, k1`` on
        the CT's own grid (x, y, z order, end exclusive).
    threshold : float
        Expected fraction of raters from which a voxel belongs to the working tumour outline, in (0, 1].
    device : str
        One of `DEVICES`.
    backend : str
        One of `BACKENDS`; ``auto`` takes OpenVINO on a CPU where it is installed.
    every_tile : bool
        Whether all members look at every tile, also where the first one sees no tumour anywhere near.
    calibrate : bool
        Whether the bundle's calibrator is applied to the score.
    calibrator : str, optional
        Calibrator file that is applied in place of the bundle's, for instance one fitted on a site's own raters.
    keep_score : bool
        Whether the uncalibrated score is written too.
    rater_maps : bool
        Whether the maps of single raters are written too; needs a bundle that can tell raters apart.
    samples : int
        How many samples of a network of slices are written too, at most `MAX_SAMPLES`; 0 for none. The map is the same
        whatever is written.
    panel : bool
        Whether the report has a live panel, which holds a piece of the CT.
    dicom : bool
        Whether DICOM objects are written too; needs a DICOM input.
    vessels : str, optional
        Label map with the vessels, in the CT's place; used instead of the vessels that the bundle predicts.
    vessel_names : mapping
        Value of each vessel in `vessels`, or what the file calls it; without, the names that the file has inside count.
    name_vessels : str
        ``auto``: names by anatomy where only arteries and veins are known; ``off``: the classes stay.
    curvas_numbers : bool
        Whether a vessel map without names inside has the numbers 1 to 5 of the CURVAS challenge, as in manifests.
    series : str, optional
        SeriesInstanceUID or SeriesNumber of the DICOM series that is meant, where the input holds several.
    acquisition : int, optional
        AcquisitionNumber of the phase or pass that is meant, where the series holds several over one part of the body.
    rules : str
        Rule set for the anatomic contact pattern, one of `twintrack.invasion.rule_names`.
    contact_mm : float, optional
        Distance in mm from a vessel's lumen within which tumour touches it, in `CONTACT_MM_RANGE`; the bundle's, or
        else `twintrack.invasion.DEFAULT_CONTACT_MM`, if not given.
    case : str, optional
        Label of the case, for result and report: see `twintrack.system.case_label`. It may hold a name, and so it
        stands in no log and is not sent to a server.
    """

    roi: str | Box = "auto"
    threshold: float = 0.5
    device: str = "auto"
    backend: str = "auto"
    every_tile: bool = False
    calibrate: bool = True
    calibrator: str | None = None
    keep_score: bool = False
    rater_maps: bool = False
    samples: int = 0
    panel: bool = True
    dicom: bool = False
    vessels: str | None = None
    vessel_names: Mapping[str, int | str] | None = None
    name_vessels: str = "auto"
    curvas_numbers: bool = False
    series: str | None = None
    acquisition: int | None = None
    rules: str = "nccn"
    contact_mm: float | None = None
    case: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not 0.0 < self.threshold <= 1.0:
            raise InputError(
                f"the threshold must be above 0 and at most 1, got {self.threshold}", code="threshold-range"
            )
        if self.device not in DEVICES:
            raise InputError(
                f"the device must be one of {', '.join(DEVICES)}, got {self.device!r}", code="device-unknown"
            )
        if self.backend not in BACKENDS:
            raise InputError(
                f"the backend must be one of {', '.join(BACKENDS)}, got {self.backend!r}", code="backend-unknown"
            )
        check_name_vessels(self.name_vessels)
        if not 0 <= self.samples <= MAX_SAMPLES:
            raise InputError(
                f"the number of samples must be 0 to {MAX_SAMPLES}, got {self.samples}", code="sample-count"
            )
        if isinstance(self.roi, str) and self.roi not in ("auto", "full"):
            raise InputError(
                f"the ROI must be auto, full or i0,i1,j0,j1,k0,k1, got {self.roi!r}", code="region-numbers"
            )
        if self.vessels is not None and not is_there(self.vessels):
            raise InputError("no such file (vessel label map)", code="file-missing", path=self.vessels)
        names = self.vessel_names
        if names is not None and not (isinstance(names, Mapping) and all(map(_is_label, names.values()))):
            raise InputError(
                f"vessel names must map each name to a value or a label, got {str(names)[:MAX_NAME]}",
                code="vessel-names-malformed",
            )
        if self.contact_mm is not None:
            checked_contact_mm(self.contact_mm)
        if self.case is not None:
            check_case_label(self.case)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> SegmentSettings:
        """Read what `to_json` wrote; unknown keys are refused."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(content) - known)
        if unknown:
            raise InputError(
                f"unknown setting {', '.join(unknown)}; known are {', '.join(sorted(known))}", code="option-unknown"
            )
        values = dict(content)
        roi = values.get("roi", "auto")
        if isinstance(roi, list | tuple):
            values["roi"] = _box([str(edge) for edge in roi])
        for key, value in values.items():
            _check_type(key, value)
        return cls(**values)


_TYPES: dict[str, tuple[type, ...]] = {
    "roi": (str, tuple),
    "threshold": (int, float),
    "contact_mm": (int, float, type(None)),
    "acquisition": (int, type(None)),
    "samples": (int,),
    **dict.fromkeys(("every_tile", "calibrate", "keep_score", "rater_maps", "panel", "dicom"), (bool,)),
    "curvas_numbers": (bool,),
    **dict.fromkeys(("device", "backend", "rules", "name_vessels"), (str,)),
    **dict.fromkeys(("vessels", "series", "calibrator", "case"), (str, type(None))),
    "vessel_names": (dict, type(None)),
}


def _check_type(key: str, value: object) -> None:
    """Refuse a JSON value of another kind than the setting has."""
    right = isinstance(value, _TYPES[key]) and not (
        key in ("threshold", "contact_mm", "acquisition", "samples") and isinstance(value, bool)
    )
    if right and isinstance(value, dict):
        right = len(value) <= MAX_VESSELS and all(map(_is_label, value.values()))
        right = right and all(0 < len(name) <= MAX_NAME and name.isprintable() for name in value)
    if isinstance(value, str):
        right = right and len(value) <= MAX_TEXT and "\0" not in value and is_utf8(value)
    if not right:
        given = "what was given" if key == "case" else repr(str(value)[:MAX_NAME])
        raise InputError(f"the setting {key!r} cannot be {given}", code="option-type")


def check_name_vessels(mode: str) -> None:
    """Refuse what is none of `NAME_VESSELS`.

    Raises
    ------
    InputError
        With what can be asked for.
    """
    if mode not in NAME_VESSELS:
        raise InputError(
            f"vessels are named {' or '.join(NAME_VESSELS)} (name_vessels), not {mode[:MAX_NAME]!r}; choose one",
            code="name-vessels-unknown",
        )


def checked_contact_mm(contact_mm: float) -> float:
    """Return the contact distance if it is a length in `CONTACT_MM_RANGE`.

    Raises
    ------
    InputError
        With the range, if it is not.
    """
    low, high = CONTACT_MM_RANGE
    if not low <= contact_mm <= high:
        raise InputError(
            f"the contact distance (contact_mm) must be from {low:g} to {high:g} mm, got {contact_mm:g}",
            code="contact-distance",
        )
    return float(contact_mm)


def _is_label(value: object) -> bool:
    """Whether a value says which part of a label map is meant: its number or its name."""
    if isinstance(value, str):
        return 0 < len(value) <= MAX_NAME and value.isprintable()
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_LABEL


def parse_roi(text: str) -> str | Box:
    """Read ``auto``, ``full`` or ``i0,i1,j0,j1,k0,k1``.

    Raises
    ------
    InputError
        If the text is none of these.
    """
    return text if text in ("auto", "full") else _box(text.split(","))


def parse_vessel_names(text: str) -> dict[str, int | str]:
    """Read ``NAME=VALUE|LABEL,...``: for each vessel a positive value, or what the file calls it.

    Raises
    ------
    InputError
        If the text is not of this form, or two vessels have the same name or value.
    """
    names: dict[str, int | str] = {}
    for entry in text.split(","):
        name, equals, value = (part.strip() for part in entry.partition("="))
        is_number = value.isascii() and value.isdecimal()
        right = equals and 0 < len(name) <= MAX_NAME and 0 < len(value) <= MAX_NAME and value.isprintable()
        if not right or (is_number and not (len(value) <= 5 and 1 <= int(value) <= MAX_LABEL)):
            raise InputError(
                f"vessel names must look like PORTA=1,SMV=2 or AORTA=aorta, with values from 1 to {MAX_LABEL}, got "
                f"{entry.strip()[:MAX_NAME]!r}",
                code="vessel-names-malformed",
            )
        names[name] = int(value) if is_number else value
    if len(set(names.values())) < len(text.split(",")):
        raise InputError(
            f"each vessel needs its own name and value, got {text[:MAX_NAME]!r}", code="vessels-share-label"
        )
    return names


def _box(edges: list[str]) -> Box:
    try:
        if any(len(edge) > 20 for edge in edges):
            raise ValueError("too long")
        i0, i1, j0, j1, k0, k1 = (int(edge) for edge in edges)
    except ValueError:
        given = ",".join(edges)
        raise InputError(
            f"the ROI must be auto, full or six voxel indices i0,i1,j0,j1,k0,k1, got {given!r}", code="region-numbers"
        ) from None
    return (i0, i1, j0, j1, k0, k1)
