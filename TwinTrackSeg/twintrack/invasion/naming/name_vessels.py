"""From masks of all arteries and all veins to vessels with names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twintrack.invasion.naming.arteries import UPSIDE_DOWN, name_arteries
from twintrack.invasion.naming.exchanged import MOST_EXCHANGED, exchanged
from twintrack.invasion.naming.found import Found
from twintrack.invasion.naming.great_vessels import Trunk, find_aorta, find_cava, trunk_of
from twintrack.invasion.naming.grid import Grid, Mask
from twintrack.invasion.naming.tree import Voxels
from twintrack.invasion.naming.veins import Organs, name_veins
from twintrack.volume import Volume

__all__ = ["NAMED", "NamedVessels", "VesselName", "name_vessels"]

NAMED: dict[str, int] = {
    "PORTA": 1,
    "SMV": 2,
    "AORTA": 3,
    "CELIAC": 4,
    "SMA": 5,
    "CHA": 6,
    "SPLENIC_ARTERY": 7,
    "SPLENIC_VEIN": 8,
    "PORTA_SMV": 9,
}
"""Every vessel that can get a name, and its value in a named map."""

NAMING_SCHEMA = 1
"""Version of ``naming.json``."""

_OTHER = 255


@dataclass(frozen=True)
class VesselName:
    """What is said of one vessel.

    Attributes
    ----------
    named : bool
        Whether the map holds it under its name.
    confidence : str or None
        ``high``; ``low`` where it is shown and measured, but counts for no pattern of contact; None if not named.
    reason : str
        By what it was recognised, or why it is not named.
    evidence : dict of str to float
        Measures, with their units in their names.
    volume_ml : float
        Of what is named.
    """

    named: bool
    confidence: str | None
    reason: str
    evidence: dict[str, float]
    volume_ml: float


@dataclass(frozen=True)
class NamedVessels:
    """Vessels with names.

    Attributes
    ----------
    labels : Volume
        uint8 (z, y, x) on the given grid, values of `NAMED`.
    vessels : dict of str to VesselName
        Every vessel of `NAMED`.
    unnamed_ml : float
        Volume of arteries and veins that got no name.
    warnings : tuple of str
        What a reader must know.
    """

    labels: Volume
    vessels: dict[str, VesselName]
    unnamed_ml: float
    warnings: tuple[str, ...]

    @property
    def values(self) -> dict[str, int]:
        """Value of each vessel that has its name."""
        return {name: NAMED[name] for name, one in self.vessels.items() if one.named}

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``naming.json``."""
        vessels = {name: {"value": NAMED[name]} | asdict(one) for name, one in self.vessels.items()}
        return {
            "schema": NAMING_SCHEMA,
            "vessels": vessels,
            "unnamed_ml": round(self.unnamed_ml, 3),
            "warnings": list(self.warnings),
        }

    @property
    def low(self) -> tuple[str, ...]:
        """Vessels whose names are not sure."""
        return tuple(name for name, one in self.vessels.items() if one.confidence == "low")


def name_vessels(labels: Volume, names: Mapping[str, int]) -> NamedVessels:
    """Name aorta, celiac trunk, SMA and the veins of the portal system by where they lie and how they run.

    A name needs the shape and the course of its vessel: what lacks them, what could be two vessels, and what an organ
    contradicts gets none.

    Parameters
    ----------
    labels : Volume
        Label map, (z, y, x), in any orientation.
    names : mapping of str to int
        Value of what is known: ``ARTERIES``, ``VEINS``, and, where there are, ``AORTA``, ``IVC``, ``PORTAL_SPLENIC``
        (portal and splenic vein in one), ``liver``, ``spleen``, ``pancreas``.
    """
    turned = labels.to_lps()
    result = np.zeros(turned.array.shape, np.uint8)
    warnings: list[str] = []
    side = _Sides.of(turned, names)
    found: dict[str, Found] = {name: Found.unnamed("the map holds no such class") for name in NAMED}
    unnamed_ml = 0.0
    artery_z_mm: dict[str, float] = {}
    artery = _mask(turned, names, ("ARTERIES", "AORTA"))
    vein = _mask(turned, names, ("VEINS", "IVC", "PORTAL_SPLENIC"))
    aorta, artery_grid = _aorta_of(turned, names, artery)
    if artery_grid is not None and aorta is None:
        warnings.append("No aorta was found among the arteries; no artery is named.")
    vein_grid = None if vein is None else Grid.around(vein, turned.geometry)
    veins_here = None if vein is None or vein_grid is None else vein_grid.down(vein)
    cava = None
    if veins_here is not None and vein_grid is not None:
        cava = _cava_of(turned, names, veins_here, vein_grid, aorta)
    mirrored = side.mirrored or _cava_on_the_left(cava, aorta)
    if mirrored:
        warnings.append(
            "Left and right look exchanged, or arteries and veins: no vessel is named. Check the file's orientation "
            "and which class is which."
        )
        found = {name: Found.unnamed("left and right, or arteries and veins, look exchanged") for name in NAMED}
    right_is_right = side.known or cava is not None
    arteries: tuple[dict[str, Found], Voxels] | None = None
    veins: tuple[dict[str, Found], Voxels] | None = None
    arteries_here = None if artery is None or artery_grid is None else artery_grid.down(artery)
    if arteries_here is not None and artery_grid is not None:
        if aorta is not None and not mirrored:
            arteries = name_arteries(
                arteries_here, aorta, artery_grid, right_is_right=right_is_right, organs_checked=side.known
            )
            new = arteries[0]
            mirrored = new["SMA"].reason == UPSIDE_DOWN
            if mirrored:
                warnings.append("Head and feet look exchanged: no vessel is named. Check the file's orientation.")
                found = {name: Found.unnamed(UPSIDE_DOWN) for name in NAMED}
            artery_z_mm = {name: new[name].evidence["ostium_z_mm"] for name in ("SMA", "CELIAC") if new[name].named}
        elif aorta is None and not mirrored:
            found |= {
                name: Found.unnamed("no aorta was found")
                for name in ("AORTA", "CELIAC", "SMA", "CHA", "SPLENIC_ARTERY")
            }
    if veins_here is not None and vein_grid is not None and not mirrored:
        veins = name_veins(veins_here, cava, aorta, vein_grid, side.organs, artery_z_mm)
    if arteries is not None and veins is not None and not mirrored:
        _refuse_exchanged(arteries, veins[1], "vein")
        _refuse_exchanged(veins, arteries[1], "artery")
    if artery is not None and artery_grid is not None and arteries_here is not None:
        here = np.where(arteries_here, _OTHER, 0).astype(np.uint8)
        if aorta is not None and arteries is not None and not mirrored:
            found |= arteries[0] | {"AORTA": _aorta_found(aorta)}
            here[aorta.mask] = NAMED["AORTA"]
            _paint(here, arteries[1].index, arteries[0])
        unnamed_ml += _bring_back(result, here, artery, artery_grid, turned)
    if vein is not None and vein_grid is not None and veins_here is not None:
        here = np.where(veins_here, _OTHER, 0).astype(np.uint8)
        if veins is not None:
            found |= veins[0]
            _paint(here, veins[1].index, veins[0])
        unnamed_ml += _bring_back(result, here, vein, vein_grid, turned)
    said = {name: _said(name, found[name], result, turned.geometry.voxel_ml) for name in NAMED}
    back = turned.with_array(result).restored_to(labels.geometry)
    return NamedVessels(back, said, unnamed_ml, tuple(warnings))


@dataclass(frozen=True)
class _Sides:
    """What organs say of left and right."""

    known: bool
    mirrored: bool
    organs: Organs

    @classmethod
    def of(cls, turned: Volume, names: Mapping[str, int]) -> _Sides:
        places = {name: _places(turned, names[name]) for name in ("liver", "spleen", "pancreas") if name in names}
        liver, spleen = places.get("liver"), places.get("spleen")
        organs = Organs(liver, places.get("pancreas"))
        if liver is None or spleen is None or len(liver) < 50 or len(spleen) < 50:
            return cls(False, False, organs)
        apart = float(spleen[:, 0].mean() - liver[:, 0].mean())
        return cls(apart > 40.0, apart < -20.0, organs)


def _places(turned: Volume, value: int) -> NDArray[np.float64]:
    """Return places of an organ's voxels, LPS mm, every few of them."""
    step = [max(1, round(4.0 / edge)) for edge in turned.geometry.spacing_mm[::-1]]
    index = np.argwhere(turned.array[:: step[0], :: step[1], :: step[2]] == value) * step
    return turned.geometry.to_lps_mm(index[:, ::-1])


def _mask(turned: Volume, names: Mapping[str, int], wanted: tuple[str, ...]) -> Mask | None:
    """Return what belongs to any of some classes; None where none is known."""
    held = [names[name] for name in wanted if name in names]
    if not held:
        return None
    mask: Mask = turned.array == held[0]
    for value in held[1:]:
        mask |= turned.array == value
    return mask


def _aorta_of(turned: Volume, names: Mapping[str, int], artery: Mask | None) -> tuple[Trunk | None, Grid | None]:
    """Return the aorta, as given or as found, and the grid of the arteries."""
    grid = None if artery is None else Grid.around(artery, turned.geometry)
    if artery is None or grid is None:
        return None, None
    if "AORTA" in names:
        given = grid.down(turned.array == names["AORTA"])
        trunk = trunk_of(given, grid)
        return (trunk if trunk is not None and trunk.height_mm >= 25.0 and trunk.radius_mm >= 4.5 else None), grid
    return find_aorta(grid.down(artery), grid), grid


def _cava_of(turned: Volume, names: Mapping[str, int], veins: Mask, grid: Grid, aorta: Trunk | None) -> Trunk | None:
    if "IVC" in names:
        return trunk_of(grid.down(turned.array == names["IVC"]), grid)
    return find_cava(veins, grid, aorta)


def _cava_on_the_left(cava: Trunk | None, aorta: Trunk | None) -> bool:
    """Whether the cava lies on the left of the aorta, at most of the heights that both have."""
    if cava is None or aorta is None:
        return False
    z = cava.line_mm[:, 2]
    both = (z >= aorta.line_mm[0, 2]) & (z <= aorta.line_mm[-1, 2])
    if both.sum() < 5:
        return False
    aside = np.array([point[0] - aorta.at(float(point[2]))[0] for point in cava.line_mm[both]])
    return float(np.median(aside)) > 0


def _refuse_exchanged(own: tuple[dict[str, Found], Voxels], other: Voxels, kind: str) -> None:
    """Take their names from vessels that hold a piece of an interrupted one of the other class."""
    suspect = exchanged(own[1], other)
    for name, one in own[0].items():
        if one.voxels is not None and len(one.voxels) and float(suspect[one.voxels].mean()) > MOST_EXCHANGED:
            own[0][name] = Found.unnamed(
                f"a piece of it lies where an interrupted {kind} goes on: whose it is is not clear"
            )


def _aorta_found(aorta: Trunk) -> Found:
    evidence = {"radius_mm": round(aorta.radius_mm, 1), "height_mm": round(aorta.height_mm, 1)}
    return Found(np.zeros(0, np.int64), "high", "the widest artery", evidence)


def _paint(here: NDArray[np.uint8], index: NDArray[np.int64], new: Mapping[str, Found]) -> None:
    for name, one in new.items():
        if one.voxels is not None:
            here[tuple(index[one.voxels].T)] = NAMED[name]


def _bring_back(result: NDArray[np.uint8], here: NDArray[np.uint8], inside: Mask, grid: Grid, turned: Volume) -> float:
    """Write the names to the given grid; return the volume of what has none, in mL."""
    values = grid.up(here, inside)
    unnamed = (values == _OTHER) | (values == 0)
    part = result[grid.box]
    values[unnamed] = 0
    part[inside[grid.box]] = values
    return float(np.count_nonzero(unnamed)) * turned.geometry.voxel_ml


def _said(name: str, one: Found, result: NDArray[np.uint8], voxel_ml: float) -> VesselName:
    count = int(np.count_nonzero(result == NAMED[name])) if one.named else 0
    if one.named and not count:
        return VesselName(False, None, "too small", {}, 0.0)
    return VesselName(one.named, one.confidence, one.reason, dict(one.evidence), round(count * voxel_ml, 3))
