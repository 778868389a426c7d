"""All metrics of one case: the CURVAS-PDACVI protocol's and the project's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError
from twintrack.imaging.boxes import box_from, union
from twintrack.imaging.plane_contact import Box
from twintrack.labels import VESSEL_VALUES
from twintrack.metrics.agreement import THRESHOLDS, AgreementTable, sample_agreement
from twintrack.metrics.detection import CandidatePool, LesionCandidate, detection_ece, find_candidates
from twintrack.metrics.dice import consensus_dice, mhr_products, soft_dice, threshold_dice
from twintrack.metrics.staple import staple_rows
from twintrack.metrics.surface_distance import outline_distance
from twintrack.metrics.toplabel_ece import corrected_box, corrected_ece, protocol_box, protocol_ece, protocol_flaw
from twintrack.metrics.tumor_calibration import tumor_calibration
from twintrack.metrics.vascular import VesselContact, vessel_contacts
from twintrack.metrics.volume_crps import gaussian_crps, protocol_crps
from twintrack.raters import by_name
from twintrack.volume import Volume, fractions

__all__ = ["CONSTANT", "CaseMetrics", "evaluate_case"]

CONSTANT = "_constant"
"""Ending of the columns with the calibration of a constant map, which tells where nothing: every voxel in the box has
the fraction that the raters mark there on average."""

HALF = 0.5
"""Level of the binary prediction, where none is given, and of the outline distances."""


@dataclass(frozen=True)
class CaseMetrics:
    """The protocol's metrics of one case, and further ones.

    Attributes
    ----------
    tdsc, dsc, crps : float
        See `twintrack.metrics.dice` and `twintrack.metrics.volume_crps`; the CRPS is in mm³.
    ece_raters : mapping
        The protocol's top-label calibration error against each rater, by the rater's name; None where it is undefined.
    vessels : mapping
        Contact with each vessel by its name; empty without a vessel map.
    further : mapping
        The project's own metrics by column name; None where one is undefined.
    candidates : tuple of LesionCandidate
        What the detection error of several cases is made from.
    notes : tuple of str
        Why a metric is undefined, or is not what its name says.
    """

    tdsc: float
    dsc: float
    crps: float
    ece_raters: Mapping[str, float | None]
    vessels: Mapping[str, VesselContact]
    further: Mapping[str, float | None] = field(default_factory=dict)
    candidates: tuple[LesionCandidate, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ece(self) -> float | None:
        """Mean over the raters; None where the protocol's error is undefined."""
        known = [error for error in self.ece_raters.values() if error is not None]
        return float(np.mean(known)) if known else None

    @property
    def vascular_deg(self) -> dict[str, float]:
        """The protocol's vascular distance of each vessel."""
        return {name: contact.protocol_distance_deg for name, contact in self.vessels.items()}

    def row(self, names: Sequence[str]) -> dict[str, float | None]:
        """Return all columns of ``metrics.csv`` but the case; vessel columns for `names`, None if unknown."""
        distances = self.vascular_deg
        columns: dict[str, float | None] = {"tdsc": self.tdsc, "dsc": self.dsc, "ece": self.ece, "crps": self.crps}
        columns |= {f"vi_{name.lower()}": distances.get(name) for name in names}
        corrected = {name: contact.corrected_distance_deg for name, contact in self.vessels.items()}
        columns |= {f"vi_corrected_{name.lower()}": corrected.get(name) for name in names}
        return columns | dict(self.further)


def evaluate_case(
    probability: Volume,
    annotations: Mapping[Any, Volume],
    vessels: Volume | None = None,
    binary: Volume | None = None,
    names: Mapping[str, int] = VESSEL_VALUES,
) -> CaseMetrics:
    """Compute every metric of one case.

    The arrays are taken as they lie in the files: the protocol's vessel degrees depend on the array's orientation.
    Outside small boxes around the tumour and the vessels the volumes are read slice by slice and never copied.

    Parameters
    ----------
    probability : Volume
        Map in [0, 1], as `twintrack.volume.fractions` allows it.
    annotations : mapping
        Mask of 0 and 1 of each rater by the rater's name (a number becomes its text); any number of raters, and a mask
        may be empty.
    vessels : Volume, optional
        Label map of whole numbers.
    binary : Volume, optional
        Binary prediction for the DSC; by default the map above 0.5.
    names : mapping
        Value of each vessel in `vessels`.

    Returns
    -------
    CaseMetrics
        Overlaps and calibration errors in [0, 1], CRPS in mm³, vessel distances in degrees.

    Raises
    ------
    InputError
        If there is no annotation, grids differ, or values are not of the named kind.

    Examples
    --------
    >>> import twintrack as tt
    >>> case = tt.make_phantom(7)
    >>> raters = dict(enumerate(case.annotations, start=1))
    >>> metrics = tt.evaluate_case(case.true_mhr, raters, case.vessels)
    >>> 0 < metrics.tdsc <= 1, sorted(metrics.vascular_deg)
    (True, ['AORTA', 'CELIAC', 'PORTA', 'SMA', 'SMV'])
    """
    named = by_name(annotations)
    p = _checked(probability, named, vessels, binary)
    masks = [mask.array for mask in named.values()]
    annotated = union(box_from(mask, 1) for mask in masks)
    marked = union([annotated, box_from(p, min(THRESHOLDS)), None if binary is None else box_from(binary.array, 1)])
    marked = marked or (slice(0, 1), slice(0, 1), slice(0, 1))
    inside, drawn = p[marked], [mask[marked] for mask in masks]
    given = inside > HALF if binary is None else binary.array[marked] != 0
    table = AgreementTable.count(inside, drawn, given, voxels=p.size)
    total, square_total = _sums(p)
    voxel_mm3 = probability.geometry.voxel_ml * 1000
    volumes_mm3 = [float(voxels) * voxel_mm3 for voxels in table.rater_voxels]
    flaw = protocol_flaw(annotated, p.shape)
    further: dict[str, float | None] = {
        "crps_corrected": gaussian_crps(volumes_mm3, total * voxel_mm3),
        "soft_dice": soft_dice(square_total, mhr_products(inside, drawn), table),
    }
    further |= _with_constant(p, masks, annotated) | _agreement(table)
    further |= _outlines(inside, drawn, probability.geometry.spacing_mm)
    candidates = find_candidates(inside, dict(zip(named, drawn, strict=True)), voxel_mm3 / 1000)
    further |= {
        "d_ece": _detection(candidates, tuple(named)),
        "raters_ml": float(np.mean(volumes_mm3)) / 1000,
        "predicted_ml": total * voxel_mm3 / 1000,
    }
    return CaseMetrics(
        tdsc=threshold_dice(table),
        dsc=consensus_dice(table, staple_rows(table)),
        crps=protocol_crps(volumes_mm3, total * voxel_mm3),
        ece_raters=dict(zip(named, _protocol_errors(p, masks, annotated), strict=True)),
        vessels={} if vessels is None else vessel_contacts(p, masks, _labels(vessels), names),
        further=further,
        candidates=candidates,
        notes=() if flaw is None else (f"{flaw}; ece_corrected has no such flaw",),
    )


def _checked(
    probability: Volume, annotations: Mapping[str, Volume], vessels: Volume | None, binary: Volume | None
) -> NDArray[np.floating]:
    """Return the map's array in single or double precision; refuse what cannot be evaluated."""
    if not annotations:
        raise InputError("a case needs the annotation of at least one rater, got none", code="no-annotation")
    others = {f"annotation_{rater}": mask for rater, mask in annotations.items()}
    others |= {name: volume for name, volume in (("vessels", vessels), ("binary", binary)) if volume is not None}
    for name, volume in others.items():
        if not volume.geometry.same_grid(probability.geometry):
            raise InputError(
                f"{name} lies on another grid than the probability map; resample it to that grid", code="grid-differs"
            )
    for name in others.keys() - {"vessels"}:
        if not all(_is_binary(plane) for plane in others[name].array):
            raise InputError(f"{name} holds values other than 0 and 1; make it a binary mask", code="mask-not-binary")
    p = fractions(probability.array, "a probability")
    return p if p.dtype in (np.float32, np.float64) else p.astype(np.float32)


def _is_binary(plane: NDArray[np.generic]) -> bool:
    """Tell whether a slice holds nothing but 0 and 1."""
    if plane.dtype.kind in "bu":
        return int(plane.max(initial=0)) <= 1
    return bool(((plane == 0) | (plane == 1)).all())


def _labels(vessels: Volume) -> NDArray[np.integer]:
    """Return the vessel map as integers, which files may hold as floating point numbers."""
    labels = vessels.array
    if labels.dtype.kind == "f":
        whole = labels.astype(np.int32)
        if not (whole == labels).all():
            raise InputError("vessels holds values that are not whole numbers; make it a label map", code="not-labels")
        return whole
    return labels.astype(np.uint8) if labels.dtype == bool else labels


def _sums(p: NDArray[np.floating]) -> tuple[float, float]:
    """Return the sums of the map and of its square, in double precision."""
    total = square_total = 0.0
    for plane in p:
        if not plane.any():
            continue
        exact = plane.astype(np.float64).ravel()
        total += float(exact.sum())
        square_total += float(exact @ exact)
    return total, square_total


def _protocol_errors(
    p: NDArray[np.floating], masks: Sequence[NDArray[np.generic]], annotated: Box | None
) -> list[float | None]:
    """Return the protocol's calibration error against each rater."""
    box = protocol_box(annotated, p.shape)
    if box is None:
        return [None] * len(masks)
    errors = protocol_ece(p[box], [mask[box] for mask in masks])
    return [error if np.isfinite(error) else None for error in errors]


def _calibration(
    p: NDArray[np.floating], masks: Sequence[NDArray[np.generic]], annotated: Box | None
) -> dict[str, float | None]:
    """Return the calibration errors that are not the protocol's, in the symmetric box."""
    box = corrected_box(annotated, p.shape)
    inside, drawn = p[box], [mask[box] for mask in masks]
    tumor = tumor_calibration(inside, drawn)
    return {"ece_corrected": float(np.mean(corrected_ece(inside, drawn))), **asdict(tumor)}


def _with_constant(
    p: NDArray[np.floating], masks: Sequence[NDArray[np.generic]], annotated: Box | None
) -> dict[str, float | None]:
    """Return the calibration errors of the map that are not the protocol's, then all of them of a constant map."""
    found = _calibration(p, masks, annotated)
    box = corrected_box(annotated, p.shape)
    rate = float(np.mean([np.count_nonzero(mask[box]) / mask[box].size for mask in masks]))
    constant = np.broadcast_to(p.dtype.type(rate), p.shape)
    errors = [error for error in _protocol_errors(constant, masks, annotated) if error is not None]
    trivial = {"ece": float(np.mean(errors)) if errors else None, **_calibration(constant, masks, annotated)}
    return {**found, "base_rate": rate, **{f"{name}{CONSTANT}": error for name, error in trivial.items()}}


def _agreement(table: AgreementTable) -> dict[str, float | None]:
    samples = sample_agreement(table)
    return {"ged": samples.ged, "dice_max": samples.dice_max, "dice_match": samples.dice_match}


def _detection(candidates: Sequence[LesionCandidate], raters: Sequence[str]) -> float | None:
    pool = CandidatePool()
    pool.add(candidates)
    error = float(detection_ece(*pool.sums(slice(0, 1), raters))[0])
    return error if np.isfinite(error) else None


def _outlines(
    p: NDArray[np.floating], masks: Sequence[NDArray[np.generic]], spacing_mm: tuple[float, float, float]
) -> dict[str, float | None]:
    """Compare the outlines of the map and of the MHR at one half ("at least half of the raters")."""
    votes = np.sum([mask != 0 for mask in masks], axis=0)
    distance = outline_distance(p >= HALF, 2 * votes >= len(masks), spacing_mm)
    return {"hd95_mm": distance.hd95_mm, "surface_dice": distance.surface_dice}
