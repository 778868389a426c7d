"""Celiac trunk, superior mesenteric artery, common hepatic and splenic artery, by where they leave and how they run.

References
----------
Distance of the two arteries' beginnings: 21.9 +- 8.0 mm in 150 CTs (International Journal of Anatomy, Radiology and
Surgery 2021), 18.2 +- 6.6 and 15.5 +- 4.1 mm in 107 CT angiographies (Rusu 2021). A right hepatic artery from the SMA:
9.6 % (PMC5348823).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from twintrack.invasion.naming.bridges import GAP_MM, PIECE_MM3, bridge
from twintrack.invasion.naming.found import Evidence, Found
from twintrack.invasion.naming.great_vessels import Trunk
from twintrack.invasion.naming.grid import Grid, Mask
from twintrack.invasion.naming.tree import Tree, Voxels

__all__ = ["UPSIDE_DOWN", "name_arteries"]

FRONT_DEG = 60.0
"""Largest angle of a beginning from straight ahead, seen along the aorta."""

PASSING_DEG = 25.0
"""Angle from straight ahead beyond which an SMA that hangs on the celiac trunk may only pass the aorta."""

SIDE_DEG = (50.0, 150.0)
"""Angles at which renal arteries leave."""

LEAST_SHARE, LEAST_RADIUS_MM = 0.25, 2.2
"""Least radius of a celiac trunk or an SMA, a share of the aorta's or this; the inferior mesenteric one is thinner."""

THIN_MM = 1.2
"""The same where the other of the two lies above or below it."""

PARTNER_MM = (4.0, 45.0)
"""Height of the celiac trunk's beginning above that of the SMA."""

DOWN_MM = 16.0
"""The SMA's line ends at least so far below its beginning, within `MIDLINE_MM` of it to the sides."""

MIDLINE_MM = 20.0

ARM_MM = 12.0
"""A branch shorter than this is a twig."""

AHEAD_MM, CELIAC_UNFORKED_MM = 14.0, 30.0
"""How far a celiac trunk that does not part within the map leads ahead, and how long it is at most."""

FORK_RADII = 0.9
"""How far beyond its beginning a fork shows, in radii."""

CELIAC_LONG_MM = (5.0, 48.0)
"""Length of a celiac trunk."""

SMA_LONG_MM = 18.0
"""Least length of a named SMA."""

SHORT_SMA_MM = 40.0
"""An SMA that is followed less far down is not sure."""

CHA_LONG_MM = 45.0
"""Length of a common hepatic artery at most."""

LEAVING_MM, AWAY_MM = (7.0, 14.0), 2.5
"""Within this length a branch leads at least so far away from the aorta."""

RENAL_MM = (-14.0, 45.0)
"""Height of the SMA's beginning above that of a renal artery."""

UP_MM = 45.0
"""No branch in front rises so far at the midline."""

UPSIDE_DOWN = "head and feet look exchanged"
"""Reason where the longest front branch runs up."""


@dataclass
class _Branch:
    """What leaves the aorta in one place."""

    tree: Tree
    ostium_mm: NDArray[np.float64]
    angle_deg: float
    radius_mm: float
    voxels: int
    shared: bool
    gap_mm: float
    along: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self.along = self.tree.along_mm()

    @property
    def front(self) -> bool:
        return abs(self.angle_deg) <= FRONT_DEG

    def evidence(self, length_mm: float) -> Evidence:
        return {
            "ostium_z_mm": round(float(self.ostium_mm[2]), 1),
            "angle_deg": round(self.angle_deg, 0),
            "radius_mm": round(self.radius_mm, 1),
            "length_mm": round(length_mm, 1),
            "gap_mm": round(self.gap_mm, 1),
        }


def name_arteries(
    arteries: Mask, aorta: Trunk, grid: Grid, *, right_is_right: bool, organs_checked: bool
) -> tuple[dict[str, Found], Voxels]:
    """Name the arteries in front of the aorta.

    Parameters
    ----------
    arteries : numpy.ndarray
        (z, y, x), the aorta too.
    aorta : Trunk
        The aorta.
    grid : Grid
        Of the masks.
    right_is_right : bool
        Whether an organ or the cava says that the image is not mirrored; arms to the sides are named only then.
    organs_checked : bool
        Whether liver and spleen said so.

    Returns
    -------
    dict of str to Found
        Every artery of the readouts, named or with the reason why not.
    Voxels
        What the voxel numbers of the named ones mean.
    """
    rest = arteries & ~aorta.mask
    voxels = Voxels(rest, arteries, grid)
    found = {name: Found.unnamed("not found") for name in ("CELIAC", "SMA", "CHA", "SPLENIC_ARTERY")}
    if not len(voxels.index):
        return found, voxels
    branches = _branches(voxels, aorta)
    front = [branch for branch in branches if branch.front and branch.radius_mm >= THIN_MM]
    _name_pair(front, branches, aorta, found)
    if _runs_up(front):
        for name in found:
            found[name] = Found.unnamed(UPSIDE_DOWN)
        return found, voxels
    celiac = found["CELIAC"]
    if celiac.named and isinstance(celiac.source, _Branch):
        _name_arms(celiac, voxels, right_is_right, organs_checked, found)
    return found, voxels


def _branches(voxels: Voxels, aorta: Trunk) -> list[_Branch]:
    """Return what leaves the aorta, place by place; pieces that a gap cuts off hang on what they go on from.

    Where a vessel that begins elsewhere touches the aorta's wall in passing, it does not begin.
    """
    touching = np.union1d(voxels.beside(aorta.mask), _across_gaps(voxels, aorta))
    gaps = bridge(voxels, touching)
    branches, passing = _from_ostia(voxels, aorta, touching, gaps)
    if passing.size:
        branches, _ = _from_ostia(voxels, aorta, np.setdiff1d(touching, passing), gaps)
    return branches


def _from_ostia(
    voxels: Voxels, aorta: Trunk, touching: NDArray[np.int64], gaps: dict[int, float]
) -> tuple[list[_Branch], NDArray[np.int64]]:
    """Return the branches from some voxels at the aorta, and those of them where a vessel only passes."""
    passing = [np.zeros(0, np.int64)]
    branches: list[_Branch] = []
    if not touching.size:
        return branches, passing[0]
    graph = voxels.graph((3.0 / np.maximum(voxels.depth_mm, 0.5)) ** 2)
    # Voxels that touch the aorta and each other are one beginning.
    own = voxels.graph()[touching][:, touching]
    count, ostium = csgraph.connected_components(own, directed=False)
    _, _, sources = csgraph.dijkstra(graph, directed=False, indices=touching, min_only=True, return_predecessors=True)
    number = np.full(len(voxels.index), -1)
    number[touching] = ostium
    belongs = np.where(sources >= 0, number[np.maximum(sources, 0)], -1)
    for one in range(count):
        members = np.flatnonzero(belongs == one)
        if len(members) * voxels.grid.voxel_mm3 < PIECE_MM3:
            continue
        roots = touching[ostium == one]
        tree = Tree.grow(voxels, members, roots)
        if tree is None or len(tree) < 2:
            continue
        pieces = np.unique(voxels.piece[members])
        shared = bool(np.isin(voxels.piece[touching[ostium != one]], pieces).any())
        branch = _described(tree, voxels.place_mm[roots].mean(axis=0), len(members), shared, aorta)
        branch.gap_mm = max([gaps.get(int(piece), 0.0) for piece in pieces], default=0.0)
        branches.append(branch)
        if shared and not _leaves(branch, aorta):
            passing.append(roots)
    return branches, np.concatenate(passing)


def _described(tree: Tree, place_mm: NDArray[np.float64], voxels: int, shared: bool, aorta: Trunk) -> _Branch:
    out = place_mm - aorta.at(float(place_mm[2]))
    angle = float(np.degrees(np.arctan2(out[0], -out[1])))
    along = tree.along_mm()
    line = _main_line(tree)
    first = [node for node in line[1:] if along[node] <= 14.0] or line
    radius = float(np.percentile(tree.radius_mm[first], 75))
    return _Branch(tree, place_mm, angle, radius, voxels, shared, 0.0)


def _across_gaps(voxels: Voxels, aorta: Trunk) -> NDArray[np.int64]:
    """Return where pieces that do not touch the aorta begin, if they come as near to it as a gap is wide."""
    held = np.isin(voxels.piece, np.unique(voxels.piece[voxels.beside(aorta.mask)]))
    loose = np.flatnonzero(~held)
    if not loose.size:
        return loose
    index = np.argwhere(aorta.mask & ~ndimage.binary_erosion(aorta.mask))
    voxel_mm = float(np.mean(voxels.grid.spacing_mm))
    reached, _ = cKDTree(voxels.grid.lps_mm(index)).query(
        voxels.place_mm[loose], distance_upper_bound=GAP_MM + voxel_mm
    )
    distance = np.asarray(reached)
    roots = [np.zeros(0, np.int64)]
    for piece in np.unique(voxels.piece[loose[np.isfinite(distance)]]):
        own = voxels.piece[loose] == piece
        if int(own.sum()) * voxels.grid.voxel_mm3 >= PIECE_MM3:
            roots.append(loose[own & (distance <= distance[own].min() + 0.6 * voxel_mm)])
    return np.concatenate(roots)


def _main_line(tree: Tree) -> list[int]:
    """Return the nodes from the root to the end that holds the most vessel on its way."""
    weight = np.zeros(len(tree))
    for one in range(1, len(tree)):
        up = int(tree.parent[one])
        step = float(np.linalg.norm(tree.place_mm[one] - tree.place_mm[up]))
        weight[one] = weight[up] + step * tree.radius_mm[one]
    return tree.path(int(weight.argmax()))


def _down_line(branch: _Branch) -> list[int]:
    """Return the nodes to the end that leads down farthest, wide parts counting more, near the midline."""
    tree = branch.tree
    weight = np.zeros(len(tree))
    for one in range(1, len(tree)):
        up = int(tree.parent[one])
        fall = float(tree.place_mm[up][2] - tree.place_mm[one][2])
        weight[one] = weight[up] + fall * tree.radius_mm[one]
    aside = np.abs(tree.place_mm[:, 0] - branch.ostium_mm[0])
    weight[aside > MIDLINE_MM] = -1.0
    return tree.path(int(weight.argmax()))


def _runs_up(front: list[_Branch]) -> bool:
    """Whether the branch in front that goes farthest at the midline goes up: then the image is upside down."""
    rise, fall = 0.0, 0.0
    for branch in front:
        tree = branch.tree
        near = np.abs(tree.place_mm[:, 0] - branch.ostium_mm[0]) <= MIDLINE_MM
        step = tree.place_mm[near, 2] - branch.ostium_mm[2]
        rise, fall = max(rise, float(step.max(initial=0.0))), max(fall, -float(step.min(initial=0.0)))
    return rise >= UP_MM and rise > 1.3 * fall


def _leaves(branch: _Branch, aorta: Trunk) -> bool:
    """Whether a branch leads away from the aorta: what only passes along its wall begins elsewhere."""
    tree = branch.tree
    near = [node for node in range(1, len(tree)) if LEAVING_MM[0] <= branch.along[node] <= LEAVING_MM[1]]
    places = tree.place_mm[near] if near else tree.place_mm
    out = max(float(np.linalg.norm((place - aorta.at(float(place[2])))[:2])) for place in places)
    return out >= float(np.linalg.norm((branch.ostium_mm - aorta.at(float(branch.ostium_mm[2])))[:2])) + AWAY_MM


def _is_sma(branch: _Branch, aorta: Trunk) -> list[int] | None:
    """Return the line of a branch that runs as the SMA does, forwards and then down; None for any other."""
    line = _down_line(branch)
    tree = branch.tree
    places = tree.place_mm[line]
    fall = branch.ostium_mm[2] - places[-1][2]
    rise = float(places[:, 2].max() - branch.ostium_mm[2])
    if fall < DOWN_MM or fall - max(rise, 0.0) < DOWN_MM or branch.along[line[-1]] < SMA_LONG_MM:
        return None
    # It leads away from the aorta's front before it runs down, and does not come back to it.
    ahead = max(aorta.at(float(place[2]))[1] - place[1] for place in places) - aorta.radius_mm
    if ahead < 3.0:
        return None
    lower = [node for node in line if branch.along[node] > 0.3 * branch.along[line[-1]]]
    if float(np.percentile(tree.radius_mm[lower], 60)) < 1.2:
        return None
    return line


def _large_arms(branch: _Branch, line: list[int]) -> list[tuple[int, int, int]]:
    """Return fork, first and farthest node of each arm of at least `ARM_MM` that leaves a line."""
    on_line = set(line)
    arms = []
    children = branch.tree.children()
    for fork in line:
        for first in children[fork]:
            if first in on_line:
                continue
            below = branch.tree.below(first)
            end = max(below, key=lambda node: branch.along[node])
            if branch.along[end] - branch.along[fork] >= ARM_MM:
                arms.append((fork, first, end))
    return arms


def _forks(branch: _Branch) -> tuple[int, int, int] | None:
    """Return fork, right and left end where a branch parts into an arm to the right and one to the left."""
    tree = branch.tree
    inside = [node for node in range(len(tree)) if branch.along[node] <= 95.0]
    aside = tree.place_mm[:, 0] - branch.ostium_mm[0]
    # An arm is told by its first 45 mm: what lies to the side and not far down.
    level = [node for node in inside if abs(tree.place_mm[node][2] - branch.ostium_mm[2]) < 45.0]
    if len(level) < 3:
        return None
    right, left = min(level, key=lambda node: aside[node]), max(level, key=lambda node: aside[node])
    to_right, to_left = tree.path(right), tree.path(left)
    common = [a for a, b in zip(to_right, to_left, strict=False) if a == b]
    fork = common[-1]
    at = tree.place_mm[fork][0]
    if at - tree.place_mm[right][0] < ARM_MM or tree.place_mm[left][0] - at < ARM_MM:
        return None
    return fork, right, left


def _name_pair(front: list[_Branch], every: list[_Branch], aorta: Trunk, found: dict[str, Found]) -> None:
    """Name celiac trunk and SMA, each by its own course and by the other below or above it."""
    least_mm = min(LEAST_SHARE * aorta.radius_mm, LEAST_RADIUS_MM)
    passing = [branch for branch in front if not _leaves(branch, aorta) and branch.radius_mm >= least_mm]
    front = [branch for branch in front if _leaves(branch, aorta)]
    runs_down = [(branch, line) for branch in front if (line := _is_sma(branch, aorta)) is not None]
    level = [branch for branch in front if all(branch is not other for other, _ in runs_down)]
    shaped = [(branch, arms) for branch in level if (arms := _celiac_shape(branch)) is not None]
    pairs = [
        (celiac, sma)
        for celiac in shaped
        for sma in runs_down
        if PARTNER_MM[0] <= celiac[0].ostium_mm[2] - sma[0].ostium_mm[2] <= PARTNER_MM[1]
    ]
    if len({id(sma[0]) for _, sma in pairs}) > 1 or len({id(celiac[0]) for celiac, _ in pairs}) > 1:
        pairs = [max(pairs, key=lambda pair: pair[0][0].voxels + pair[1][0].voxels)]
    if pairs:
        (celiac, arms), (sma, line) = pairs[0]
        if celiac.shared and sma.shared and abs(sma.angle_deg) > PASSING_DEG:
            for name in ("CELIAC", "SMA"):
                found[name] = Found.unnamed("both hang together, and the lower one meets the aorta from the side")
            return
        _take_celiac(celiac, arms, found, sma=sma)
        _take_sma(sma, line, found, celiac=celiac)
        return
    if passing:
        # What runs along the aorta may be the SMA of a common trunk.
        for name in ("CELIAC", "SMA"):
            found[name] = Found.unnamed(
                "a thick front branch runs along the aorta's wall: where it begins is not clear"
            )
    elif shaped or not _name_by_order(runs_down, level, aorta, found):
        _name_single(runs_down, shaped, level, every, aorta, found)


def _celiac_shape(branch: _Branch) -> tuple[int, int | None, int | None] | None:
    """Return end, right and left arm of a branch that runs as the celiac trunk does: ahead, and then to both sides."""
    arms = _forks(branch)
    if arms is not None and branch.along[arms[0]] <= CELIAC_LONG_MM[1] and branch.along[arms[0]] >= 4.0:
        return arms
    return None


def _name_by_order(
    runs_down: list[tuple[_Branch, list[int]]], level: list[_Branch], aorta: Trunk, found: dict[str, Found]
) -> bool:
    """Name a celiac trunk that leads ahead but does not part within the map, by one other thick branch below it."""
    least_mm = min(LEAST_SHARE * aorta.radius_mm, LEAST_RADIUS_MM)
    thick = [branch for branch in (*level, *(sma for sma, _ in runs_down)) if branch.radius_mm >= least_mm]
    if len(thick) != 2:
        return False
    lower, upper = sorted(thick, key=lambda branch: float(branch.ostium_mm[2]))
    if not any(upper is branch for branch in level):
        return False
    if not PARTNER_MM[0] <= upper.ostium_mm[2] - lower.ostium_mm[2] <= PARTNER_MM[1]:
        return False
    line = _main_line(upper.tree)
    if upper.ostium_mm[1] - upper.tree.place_mm[line].min(axis=0)[1] < AHEAD_MM:
        return False
    ends = [fork for fork, _, _ in _large_arms(upper, line) if upper.along[fork] >= CELIAC_LONG_MM[0]]
    end_mm = min([float(upper.along[fork]) for fork in ends] + [CELIAC_UNFORKED_MM])
    end = [node for node in line if upper.along[node] <= end_mm][-1]
    _take_celiac(upper, (end, None, None), found, sma=None)
    found["CELIAC"].reason = "leads ahead, above one other front branch; does not part within the map"
    for sma, down in runs_down:
        if sma is lower:
            _take_sma(sma, down, found, celiac=None)
            found["SMA"].reason = "runs forwards and down, below one other front branch"
    if not found["SMA"].named:
        found["SMA"] = Found.unnamed("the front branch below the celiac trunk is too short to show how it runs")
    return True


def _name_single(
    runs_down: list[tuple[_Branch, list[int]]],
    shaped: list[tuple[_Branch, tuple[int, int | None, int | None]]],
    level: list[_Branch],
    every: list[_Branch],
    aorta: Trunk,
    found: dict[str, Found],
) -> None:
    """Name one of the two where the other is not there, if something else says where in the body it is."""
    least_mm = min(LEAST_SHARE * aorta.radius_mm, LEAST_RADIUS_MM)
    runs_down = [(branch, line) for branch, line in runs_down if branch.radius_mm >= least_mm]
    renal = [
        branch
        for branch in every
        if SIDE_DEG[0] <= abs(branch.angle_deg) <= SIDE_DEG[1]
        and branch.radius_mm >= 1.3
        and abs(branch.tree.place_mm[:, 0] - branch.ostium_mm[0]).max() >= 20.0
    ]
    if len(runs_down) == 1 and not shaped:
        sma, line = runs_down[0]
        beside = [b for b in renal if RENAL_MM[0] <= sma.ostium_mm[2] - b.ostium_mm[2] <= RENAL_MM[1]]
        above = [b for b in level if b.ostium_mm[2] > sma.ostium_mm[2]]
        trunk = _forks(sma)
        if beside and trunk is None and not above:
            _take_sma(sma, line, found, celiac=None)
        else:
            reason = (
                "one trunk that parts to the right, the left and downwards" if trunk else "no celiac trunk above it"
            )
            found["SMA"] = Found.unnamed(reason)
        found["CELIAC"] = Found.unnamed("no front branch above the SMA parts to both sides")
    elif len(shaped) == 1 and not runs_down:
        celiac, arms = shaped[0]
        below = [b for b in renal if -6.0 <= celiac.ostium_mm[2] - b.ostium_mm[2] <= 70.0]
        stump = [b for b in level if PARTNER_MM[0] <= celiac.ostium_mm[2] - b.ostium_mm[2] <= PARTNER_MM[1]]
        if below or stump:
            _take_celiac(celiac, arms, found, sma=None)
        else:
            found["CELIAC"] = Found.unnamed("neither the SMA nor renal arteries below it")
        found["SMA"] = Found.unnamed("no front branch runs down")
    else:
        found["CELIAC"] = Found.unnamed(
            "no front branch parts to both sides" if not shaped else "several front branches part to both sides"
        )
        found["SMA"] = Found.unnamed(
            "no front branch runs down" if not runs_down else "no celiac trunk above it by which to know it"
        )


def _take_celiac(
    branch: _Branch, arms: tuple[int, int | None, int | None], found: dict[str, Found], *, sma: _Branch | None
) -> None:
    fork = arms[0]
    # Two arms part in the map about a radius beyond where they begin.
    end_mm = branch.along[fork] - (FORK_RADII * branch.tree.radius_mm[fork] if arms[1] is not None else 0.0)
    line = [node for node in branch.tree.path(fork) if branch.along[node] <= end_mm]
    length = float(end_mm)
    if length < CELIAC_LONG_MM[0]:
        found["CELIAC"] = Found.unnamed(f"only {length:.0f} mm long")
        return
    evidence = branch.evidence(length)
    if sma is not None:
        evidence["above_sma_mm"] = round(float(branch.ostium_mm[2] - sma.ostium_mm[2]), 1)
    why = "parts to the right and to the left" + (", above the SMA" if sma is not None else "; no SMA below it")
    low = sma is None or branch.gap_mm > 0 or branch.shared
    nodes = line + _twigs(branch, line)
    found["CELIAC"] = Found(_voxels(branch.tree, nodes), "low" if low else "high", why, evidence, branch, arms)


def _take_sma(branch: _Branch, line: list[int], found: dict[str, Found], *, celiac: _Branch | None) -> None:
    nodes = line + _twigs(branch, line)
    length = float(branch.along[line[-1]])
    evidence = branch.evidence(length)
    evidence["down_mm"] = round(float(branch.ostium_mm[2] - branch.tree.place_mm[line[-1]][2]), 1)
    why = "runs forwards and down" + (
        ", below the celiac trunk" if celiac is not None else ", by the renal arteries; no celiac trunk above it"
    )
    low = celiac is None or branch.gap_mm > 0 or branch.shared or evidence["down_mm"] < SHORT_SMA_MM
    found["SMA"] = Found(_voxels(branch.tree, nodes), "low" if low else "high", why, evidence, branch)


def _twigs(branch: _Branch, line: list[int]) -> list[int]:
    """Return the nodes of what leaves a line and is too short for an arm; none beyond the line's end."""
    on_line, held = set(line), []
    children = branch.tree.children()
    for fork in line[:-1]:
        for first in children[fork]:
            if first in on_line:
                continue
            below = branch.tree.below(first)
            if max(branch.along[node] for node in below) - branch.along[fork] < ARM_MM:
                held.extend(below)
    return held


def _name_arms(
    celiac: Found, voxels: Voxels, right_is_right: bool, organs_checked: bool, found: dict[str, Found]
) -> None:
    """Name the celiac trunk's two arms."""
    branch, arms = celiac.source, celiac.arms
    assert isinstance(branch, _Branch)
    assert arms is not None
    assert celiac.voxels is not None
    if not right_is_right:
        for name in ("CHA", "SPLENIC_ARTERY"):
            found[name] = Found.unnamed("neither liver and spleen nor the cava say which side is which")
        return
    fork, right, left = arms
    held = set(branch.tree.path(fork))
    between = _voxels(
        branch.tree, [node for node in held if not np.isin(branch.tree.voxels[node], celiac.voxels).any()]
    )
    side_mm = voxels.place_mm[between, 0] - branch.tree.place_mm[fork][0]
    for name, end in (("CHA", right), ("SPLENIC_ARTERY", left)):
        if end is None:
            continue
        line = branch.tree.path(end, fork)[1:]
        if name == "CHA":
            line = _to_first_fork(branch, line, fork)
        length = float(branch.along[line[-1]] - branch.along[fork]) if line else 0.0
        if length < ARM_MM:
            found[name] = Found.unnamed(f"only {length:.0f} mm long")
            continue
        sure = organs_checked and celiac.confidence == "high"
        side = "right" if name == "CHA" else "left"
        nodes = line + _twigs(branch, line)
        why = f"the celiac trunk's arm to the {side}"
        own = np.concatenate([_voxels(branch.tree, nodes), between[(side_mm < 0) == (name == "CHA")]])
        found[name] = Found(own, "high" if sure else "low", why, branch.evidence(length), branch)


def _to_first_fork(branch: _Branch, line: list[int], start: int) -> list[int]:
    """Return a line up to its first fork with an arm downwards or upwards: the gastroduodenal artery leaves there."""
    for fork, _, _ in _large_arms(branch, line):
        if branch.along[fork] - branch.along[start] >= ARM_MM:
            line = line[: line.index(fork) + 1]
            break
    return [node for node in line if branch.along[node] - branch.along[start] <= CHA_LONG_MM]


def _voxels(tree: Tree, nodes: list[int]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(0, np.int64), *(tree.voxels[node] for node in dict.fromkeys(nodes))])
