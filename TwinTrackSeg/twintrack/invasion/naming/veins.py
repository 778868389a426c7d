"""Portal vein, superior mesenteric vein and splenic vein, by the place where the three meet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from twintrack.invasion.naming.bridges import bridge
from twintrack.invasion.naming.found import Evidence, Found
from twintrack.invasion.naming.great_vessels import Trunk
from twintrack.invasion.naming.grid import Grid, Mask
from twintrack.invasion.naming.tree import Tree, Voxels, pieces_of

__all__ = ["name_veins"]

SYSTEM_MM3 = 1500.0
"""Least volume of the portal system."""

ARM_MM = 12.0
"""A branch shorter than this is a twig."""

LONG_MM = 15.0
"""Least length of a named vein."""

SPLENIC_LONG_MM = 55.0
"""Least length of the splenic vein: a shorter one to the left may be a vein of the bowel, and what it leads into, from
below its true beginning, would then be named portal vein."""

UP_MM, DOWN_MM, LEFT_MM = 12.0, 15.0, 26.0
"""How far the three veins lead from where they meet."""

TOLD_BY_MM = 45.0
"""Length of an arm by which its course is told."""

RADIUS_MM = {"PORTA": 2.6, "SMV": 2.3, "SPLENIC_VEIN": 1.5}
"""Least radius of each, as it is where it is widest."""

AXIS_SHARE = 0.55
"""Least radius of the SMV as a share of the portal vein's, and the other way round."""

MOST_WINDING = 1.35
"""Largest length of that axis as a multiple of its height."""

HILUM_MM = 30.0
"""A portal vein is at least so long before it parts."""

SPLENIC_SHARE = 0.42
"""Least radius of the splenic vein as a share of the portal vein's: veins of the bowel are thinner."""

BELOW_SMA_MM, BELOW_CELIAC_MM = (-26.0, 30.0), (-52.0, 16.0)
"""Height of the confluence above the beginning of the SMA, or, where that is not known, of the celiac trunk."""

OTHER_PIECE = 0.02
"""Share of veins that lies beyond a gap from which on they go over it."""

AXIS_LONG_MM, AXIS_RADIUS_MM = 50.0, 2.8
"""Least height and radius of the undivided axis."""

PANCREAS_MM, LIVER_MM = 25.0, 12.0
"""Largest distance of the confluence from the pancreas, and of the portal vein's end from the liver."""

_Runs = Callable[[Tree, NDArray[np.float64], list[int]], int | None]
"""Gives the end of an arm that runs as it must; None for any other."""

NAMES = ("PORTA", "SMV", "SPLENIC_VEIN", "PORTA_SMV")


@dataclass
class _Confluence:
    """A tree that begins where the three veins meet."""

    tree: Tree
    along: NDArray[np.float64]
    porta: list[int]
    smv: list[int]
    splenic: list[int]
    score: float
    gap_mm: float
    leaky: bool


@dataclass(frozen=True)
class Organs:
    """Places of organs, (n, 3) LPS mm, where the map holds them."""

    liver: NDArray[np.float64] | None = None
    pancreas: NDArray[np.float64] | None = None


def name_veins(
    veins: Mask,
    cava: Trunk | None,
    aorta: Trunk | None,
    grid: Grid,
    organs: Organs,
    artery_z_mm: Mapping[str, float],
) -> tuple[dict[str, Found], Voxels]:
    """Name the veins of the portal system.

    Parameters
    ----------
    veins : numpy.ndarray
        (z, y, x), the cava too if the map holds it.
    cava, aorta : Trunk or None
        Where they are known.
    grid : Grid
        Of the mask.
    organs : Organs
        For checks.
    artery_z_mm : mapping of str to float
        Heights at which SMA and celiac trunk leave the aorta, where they have their names.

    Returns
    -------
    dict of str to Found
        Every vein of the readouts, named or with the reason why not.
    Voxels
        What the voxel numbers of the named ones mean.
    """
    rest = veins if cava is None else veins & ~cava.mask
    voxels = Voxels(rest, veins, grid)
    found = {name: Found.unnamed("not found") for name in NAMES}
    pieces = pieces_of(voxels, 60.0)
    if not pieces:
        return found, voxels
    cava_side = np.zeros(len(voxels.index), bool)
    if cava is not None:
        cava_side[voxels.beside(cava.mask)] = True
    before = voxels.piece.copy()
    gaps = bridge(voxels, pieces[0])
    for members in pieces[1:6]:
        if len(members) * grid.voxel_mm3 >= SYSTEM_MM3:
            gaps |= bridge(voxels, members)
    systems = pieces_of(voxels, SYSTEM_MM3)[:5]
    candidates: list[_Confluence] = []
    axes: list[tuple[Tree, list[int], float]] = []
    for members in systems:
        tree = _tree_of(voxels, members)
        if tree is None or len(tree) < 6:
            continue
        touches = np.array([bool(cava_side[nodes].any()) for nodes in tree.voxels])
        gap = gaps.get(int(voxels.piece[members[0]]), 0.0)
        confluence = _confluence(tree, touches, aorta, gap, artery_z_mm)
        if confluence is not None:
            candidates.append(confluence)
        axis = _axis(tree, touches, aorta)
        if axis is not None:
            axes.append((tree, axis, gap))
    if candidates:
        best = max(candidates, key=lambda one: one.score)
        refused = _refused_by_organs(best, organs)
        if refused is None:
            _take_three(best, voxels, before, found, sure=bool(artery_z_mm) or organs.pancreas is not None)
            return found, voxels
        for name in NAMES:
            found[name] = Found.unnamed(refused)
        return found, voxels
    _take_axis(axes, organs, before, found)
    return found, voxels


def _tree_of(voxels: Voxels, members: NDArray[np.int64]) -> Tree | None:
    """Grow the tree of a piece from where it is widest, so that loops are cut in their thin parts."""
    return Tree.grow(voxels, members, members[[int(voxels.depth_mm[members].argmax())]])


def _confluence(
    tree: Tree, touches: NDArray[np.bool_], aorta: Trunk | None, gap_mm: float, artery_z_mm: Mapping[str, float]
) -> _Confluence | None:
    """Return the best place where an arm to the upper right, one downwards and one to the left meet."""
    neighbors = tree.neighbors()
    best: _Confluence | None = None
    for node in range(len(tree)):
        if len(neighbors[node]) < 3 or tree.radius_mm[node] < 2.0:
            continue
        if not _level(float(tree.place_mm[node][2]), artery_z_mm):
            continue
        rooted, names = _rooted(tree, node)
        found = _three_arms(rooted, touches[names], aorta, gap_mm)
        if found is not None and (best is None or found.score > best.score):
            best = found
    return best


def _level(z_mm: float, artery_z_mm: Mapping[str, float]) -> bool:
    """Whether a height can be that of the confluence, by the arteries that leave the aorta behind it."""
    name, (low, high) = ("SMA", BELOW_SMA_MM) if "SMA" in artery_z_mm else ("CELIAC", BELOW_CELIAC_MM)
    return name not in artery_z_mm or low <= z_mm - artery_z_mm[name] <= high


def _rooted(tree: Tree, node: int) -> tuple[Tree, NDArray[np.int64]]:
    """Return the tree that begins at a node, and which node each was before."""
    rooted = tree.rooted(node)
    first = {int(voxels[0]): number for number, voxels in enumerate(tree.voxels)}
    return rooted, np.array([first[int(voxels[0])] for voxels in rooted.voxels])


def _three_arms(tree: Tree, touches: NDArray[np.bool_], aorta: Trunk | None, gap_mm: float) -> _Confluence | None:
    along = tree.along_mm()
    start = tree.place_mm[0]
    if aorta is not None:
        middle = aorta.at(float(start[2]))
        # In front of the aorta, and not to its left.
        if start[1] > middle[1] - aorta.radius_mm or start[0] > middle[0] + 0.8 * aorta.radius_mm:
            return None
    arms = [tree.below(first) for first in tree.children()[0]]
    ups, downs, lefts = {}, {}, {}
    for number, arm in enumerate(arms):
        leaky = bool(touches[arm].any())
        if (line := _line(tree, along, arm, _up_right)) is not None:
            ups[number] = line
        if (line := _line(tree, along, arm, _downwards)) is not None:
            downs[number] = line
        if not leaky and (line := _line(tree, along, arm, _leftwards)) is not None:
            lefts[number] = line
    best: _Confluence | None = None
    for up, porta in ups.items():
        for down, smv in downs.items():
            for left, splenic in lefts.items():
                if len({up, down, left}) < 3:
                    continue
                radius = [_wide(tree, along, line) for line in (porta, smv, splenic)]
                if any(r < least for r, least in zip(radius, RADIUS_MM.values(), strict=True)):
                    continue
                if radius[1] < AXIS_SHARE * radius[0] or radius[0] < AXIS_SHARE * max(radius[1], radius[2]):
                    continue
                if radius[2] < SPLENIC_SHARE * max(radius[0], radius[1]):
                    continue
                # The three widest arms that run so; long ones count a little more.
                score = sum(radius) + 0.02 * sum(min(float(along[line[-1]]), 60.0) for line in (porta, smv, splenic))
                if best is None or score > best.score:
                    leaky = bool(touches[arms[up]].any() or touches[arms[down]].any())
                    best = _Confluence(tree, along, porta, smv, splenic, score, gap_mm, leaky)
    return best


def _line(tree: Tree, along: NDArray[np.float64], arm: list[int], runs: _Runs) -> list[int] | None:
    """Return the line from the root through an arm to its end, if its first part runs as it must."""
    end = runs(tree, along, arm)
    return None if end is None else tree.path(end)


def _told_by(tree: Tree, along: NDArray[np.float64], end: int) -> NDArray[np.float64]:
    """Return the way from the root to the end of the first `TOLD_BY_MM` of a line, as steps to the left, back, head."""
    line = [node for node in tree.path(end) if along[node] <= TOLD_BY_MM]
    return tree.place_mm[line[-1]] - tree.place_mm[0]


def _weighted(tree: Tree, arm: list[int], direction: NDArray[np.float64]) -> int:
    """Return the node to which most of a direction is gone, wide parts counting more."""
    weight = np.full(len(tree), -np.inf)
    weight[0] = 0.0
    for one in arm:
        up = int(tree.parent[one])
        step = tree.place_mm[one] - tree.place_mm[up]
        weight[one] = weight[up] + float(step @ direction) * min(tree.radius_mm[one], tree.radius_mm[up]) ** 1.5
    weight[0] = -np.inf
    return int(weight.argmax())


def _up_right(tree: Tree, along: NDArray[np.float64], arm: list[int]) -> int | None:
    end = _weighted(tree, arm, np.array([-0.6, 0.0, 0.8]))
    x, _, z = _told_by(tree, along, end)
    return end if z >= 0.5 * UP_MM and x < 0.25 * z and np.hypot(x, z) >= UP_MM else None


def _downwards(tree: Tree, along: NDArray[np.float64], arm: list[int]) -> int | None:
    end = _weighted(tree, arm, np.array([0.0, 0.0, -1.0]))
    x, y, z = _told_by(tree, along, end)
    return end if -z >= DOWN_MM and -z >= 1.2 * np.hypot(x, 0.7 * y) else None


def _leftwards(tree: Tree, along: NDArray[np.float64], arm: list[int]) -> int | None:
    end = _weighted(tree, arm, np.array([0.9, 0.3, 0.3]))
    x, y, z = _told_by(tree, along, end)
    return end if x >= LEFT_MM and z >= -0.3 * x and y >= -0.6 * x and z <= 1.3 * x else None


def _wide(tree: Tree, along: NDArray[np.float64], line: list[int]) -> float:
    """Return the radius of a line where it is wide: a tumour thins veins."""
    first = [node for node in line[1:] if 4.0 <= along[node] <= 50.0] or line[1:]
    return float(np.percentile(tree.radius_mm[first], 70))


def _to_hilum(tree: Tree, along: NDArray[np.float64], line: list[int]) -> list[int]:
    """Return the portal vein's line up to where it parts into two branches of the liver."""
    on_line, children = set(line), tree.children()
    radius = _wide(tree, along, line)
    for fork in line[1:]:
        if along[fork] < HILUM_MM:
            continue
        for first in children[fork]:
            below = tree.below(first)
            end = max(below, key=lambda node: along[node])
            branch = [node for node in below if along[node] - along[fork] <= 20.0]
            wide = float(np.percentile(tree.radius_mm[branch], 60)) >= 0.4 * radius
            if first not in on_line and wide and along[end] - along[fork] >= ARM_MM:
                return line[: line.index(fork) + 1]
    return line


def _twigs(tree: Tree, along: NDArray[np.float64], line: list[int]) -> list[int]:
    on_line, held, children = set(line), [], tree.children()
    for fork in line[1:-1]:
        for first in children[fork]:
            if first in on_line:
                continue
            below = tree.below(first)
            if max(along[node] for node in below) - along[fork] < ARM_MM:
                held.extend(below)
    return held


def _refused_by_organs(found: _Confluence, organs: Organs) -> str | None:
    """Return why organs say that this is no confluence; None where they agree or are not there."""
    if organs.pancreas is not None and len(organs.pancreas):
        away = float(np.linalg.norm(organs.pancreas - found.tree.place_mm[0], axis=1).min())
        if away > PANCREAS_MM:
            return f"where three veins meet lies {away:.0f} mm from the pancreas"
    return None


def _over_a_gap(groups: Iterable[NDArray[np.int64]], before: NDArray[np.int64]) -> bool:
    """Whether vessels go over a gap; one in a twig far away is none of theirs."""
    pieces = before[np.concatenate(list(groups))]
    return float(np.bincount(pieces).max()) < (1.0 - OTHER_PIECE) * len(pieces)


def _take_three(
    found: _Confluence, voxels: Voxels, before: NDArray[np.int64], names: dict[str, Found], *, sure: bool
) -> None:
    """Name the three veins; what lies around their meeting goes to the nearest line.

    They are `sure` where an artery or the pancreas says that they meet at the right place; `before` are the pieces
    that gaps leave.
    """
    tree, along = found.tree, found.along
    porta = _to_hilum(tree, along, found.porta)
    lines = {"PORTA": porta, "SMV": found.smv, "SPLENIC_VEIN": found.splenic}
    length = {name: float(along[line[-1]]) for name, line in lines.items()}
    if length["PORTA"] < LONG_MM or length["SMV"] < LONG_MM:
        short = "PORTA" if length["PORTA"] < LONG_MM else "SMV"
        for name in names:
            names[name] = Found.unnamed(f"{short} would be only {length[short]:.0f} mm long")
        return
    if length["SPLENIC_VEIN"] < SPLENIC_LONG_MM:
        reason = f"the vein to the left is only {length['SPLENIC_VEIN']:.0f} mm long and may be one of the bowel"
        for name in names:
            names[name] = Found.unnamed(reason)
        return
    groups = {
        name: np.concatenate([tree.voxels[node] for node in dict.fromkeys(line[1:] + _twigs(tree, along, line))])
        for name, line in lines.items()
    }
    groups = _parted(tree, along, lines, groups, voxels)
    middle = tree.place_mm[0]
    over_a_gap = found.gap_mm > 0 and _over_a_gap(groups.values(), before)
    for name, line in lines.items():
        evidence: Evidence = {
            "confluence_x_mm": round(float(middle[0]), 1),
            "confluence_y_mm": round(float(middle[1]), 1),
            "confluence_z_mm": round(float(middle[2]), 1),
            "radius_mm": round(_wide(tree, along, line), 1),
            "length_mm": round(length[name], 1),
            "gap_mm": round(found.gap_mm if over_a_gap else 0.0, 1),
        }
        low = over_a_gap or found.leaky or not sure
        way = {"PORTA": "to the upper right", "SMV": "downwards", "SPLENIC_VEIN": "to the left"}[name]
        names[name] = Found(groups[name], "low" if low else "high", f"leads {way} from the confluence", evidence)
    names["PORTA_SMV"] = Found.unnamed("the splenic vein tells portal vein and SMV apart")


def _parted(
    tree: Tree,
    along: NDArray[np.float64],
    lines: dict[str, list[int]],
    groups: dict[str, NDArray[np.int64]],
    voxels: Voxels,
) -> dict[str, NDArray[np.int64]]:
    """Part what lies within 15 mm of the meeting of the lines by the nearest line, wide lines reaching farther."""
    near = [node for line in lines.values() for node in line if along[node] <= 15.0]
    shared = np.unique(np.concatenate([tree.voxels[node] for node in dict.fromkeys(near)]))
    beyond: dict[str, list[int]] = {name: [n for n in line if 6.0 <= along[n] <= 26.0] for name, line in lines.items()}
    cost = np.full((len(lines), len(shared)), np.inf)
    middle = _meeting(tree, beyond)
    for number, nodes in enumerate(beyond.values()):
        if not nodes:
            continue
        corners = np.vstack([middle[None], tree.place_mm[nodes]])
        wide = float(np.median(tree.radius_mm[nodes]))
        fine = np.vstack([a + np.linspace(0, 1, 8)[:, None] * (b - a) for a, b in pairwise(corners)])
        away = np.linalg.norm(voxels.place_mm[shared][:, None] - fine[None], axis=2).min(axis=1)
        cost[number] = away - wide
    nearest = cost.argmin(axis=0)
    for number, name in enumerate(lines):
        rest = groups[name][~np.isin(groups[name], shared)]
        groups[name] = np.concatenate([rest, shared[nearest == number]])
    return groups


def _meeting(tree: Tree, beyond: dict[str, list[int]]) -> NDArray[np.float64]:
    """Return the point that lies nearest to the straight lines along the three veins."""
    total, target = np.zeros((3, 3)), np.zeros(3)
    for nodes in beyond.values():
        if len(nodes) < 3:
            continue
        places = tree.place_mm[nodes]
        center = places.mean(axis=0)
        axis = np.linalg.svd(places - center)[2][0]
        across = np.eye(3) - np.outer(axis, axis)
        total, target = total + across, target + across @ center
    start: NDArray[np.float64] = tree.place_mm[0]
    if np.linalg.matrix_rank(total) < 3:
        return start
    point = np.linalg.solve(total, target)
    off = point - start
    far = float(np.linalg.norm(off))
    return start + off * min(1.0, 8.0 / far) if far > 0 else start


def _axis(tree: Tree, touches: NDArray[np.bool_], aorta: Trunk | None) -> list[int] | None:
    """Return the nodes of one wide vein from the mesentery to the liver, from below to above; None if there is none."""
    every = list(range(1, len(tree)))
    top = tree.path(_weighted(tree, every, np.array([-0.6, 0.0, 0.8])))
    bottom = tree.path(_weighted(tree, every, np.array([0.0, 0.0, -1.0])))
    shared = max(n for n, (one, other) in enumerate(zip(top, bottom, strict=False)) if one == other)
    line = _axis_to_hilum(tree, bottom[:shared:-1] + top[shared:])
    places, radius = tree.place_mm[line], tree.radius_mm[line]
    height = float(places[-1][2] - places[0][2])
    if height < AXIS_LONG_MM or float(np.percentile(radius, 60)) < AXIS_RADIUS_MM:
        return None
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(places, axis=0), axis=1))])
    if along[-1] > MOST_WINDING * height:
        return None
    upper, lower = along >= along[-1] - 35.0, along <= 0.5 * along[-1]
    if float(np.median(radius[lower])) < AXIS_SHARE * float(np.percentile(radius, 75)):
        return None  # the inferior mesenteric vein and the splenic vein make such a line too
    run = places[-1] - places[upper][0]
    if run[0] > -6.0 or run[2] < 8.0:  # the portal vein leads to the right and up
        return None
    if float(np.percentile(radius[upper], 60)) < AXIS_RADIUS_MM:
        return None
    if float(np.maximum(-np.diff(places[:, 2]), 0).sum()) > 0.15 * height:
        return None
    if float(touches[line].mean()) > 0.3:  # the portal vein may lie on the cava, its branches do not
        return None
    if aorta is not None:
        middle = places[len(places) // 2]
        if middle[1] > aorta.at(float(middle[2]))[1] - aorta.radius_mm:
            return None
    return line


def _take_axis(
    axes: list[tuple[Tree, list[int], float]], organs: Organs, before: NDArray[np.int64], names: dict[str, Found]
) -> None:
    """Name the undivided axis of portal vein and SMV where no splenic vein tells them apart."""
    why = "no place where a vein from the left meets one from below and one to the liver"
    for name in NAMES:
        names[name] = Found.unnamed(why)
    if not axes:
        return
    tree, line, gap = max(axes, key=lambda one: float(tree_volume(one[0], one[1])))
    rooted, numbers = _rooted(tree, line[0])
    back = {int(old): new for new, old in enumerate(numbers)}
    here = [back[node] for node in line]
    along = rooted.along_mm()
    ended = here
    if organs.pancreas is not None and len(organs.pancreas):
        away = min(float(np.linalg.norm(organs.pancreas - rooted.place_mm[n], axis=1).min()) for n in ended[::4])
        if away > PANCREAS_MM:
            names["PORTA_SMV"] = Found.unnamed(f"lies {away:.0f} mm from the pancreas")
            return
    nodes = ended + _twigs(rooted, along, ended)
    evidence: Evidence = {
        "height_mm": round(float(rooted.place_mm[ended[-1]][2] - rooted.place_mm[ended[0]][2]), 1),
        "length_mm": round(float(along[ended[-1]]), 1),
        "radius_mm": round(float(np.percentile(rooted.radius_mm[ended], 60)), 1),
    }
    held = np.concatenate([rooted.voxels[node] for node in dict.fromkeys(nodes)])
    over_a_gap = gap > 0 and _over_a_gap([held], before)
    evidence["gap_mm"] = round(gap if over_a_gap else 0.0, 1)
    reason = "one wide vein from below to the upper right; no splenic vein tells portal vein and SMV apart"
    names["PORTA_SMV"] = Found(held, "low" if over_a_gap else "high", reason, evidence)


def tree_volume(tree: Tree, line: list[int]) -> int:
    """Return the number of voxels of some nodes."""
    return sum(len(tree.voxels[node]) for node in line)


def _axis_to_hilum(tree: Tree, line: list[int]) -> list[int]:
    """Cut the upper end of the axis where it parts into branches of the liver."""
    on_line, neighbors = set(line), tree.neighbors()
    radius = float(np.percentile(tree.radius_mm[line], 60))
    low, high = tree.place_mm[line[0]][2], tree.place_mm[line].max(axis=0)[2]
    for place, fork in enumerate(line):
        if tree.place_mm[fork][2] < max(low + AXIS_LONG_MM, high - 45.0):
            continue
        for first in neighbors[fork]:
            if first in on_line or tree.parent[first] != fork:
                continue
            below = tree.below(first)
            away = np.linalg.norm(tree.place_mm[below] - tree.place_mm[fork], axis=1)
            wide = float(np.percentile(tree.radius_mm[below][away <= 20.0], 60)) >= 0.4 * radius
            upwards = tree.place_mm[below].max(axis=0)[2] > tree.place_mm[fork][2]
            if wide and upwards and float(away.max()) >= ARM_MM:
                return line[: place + 1]
    return line
