"""The picture of a result: CT, map and contours in three sections through the tumour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError
from twintrack.imaging.map_colors import map_colors
from twintrack.imaging.views import SHOWN, VIEWS, Focus, Section, View, find_focus
from twintrack.labels import VESSELS
from twintrack.system.atomic import atomic_path
from twintrack.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from PIL.Image import Image

__all__ = [
    "DEMO_NOTICE",
    "ISO_LEVELS",
    "RESEARCH_NOTICE",
    "axial_of",
    "change_title_line",
    "color_map",
    "drawable",
    "drawn",
    "save_png",
    "write_overview",
]

RESEARCH_NOTICE = "Research use only - not for clinical decisions"
DEMO_NOTICE = "DEMO MODEL: knows synthetic phantoms only"

TITLE = "Expected fraction of readers who mark each voxel"
RAW_TITLE = "Tumour score of the networks, not calibrated"

ISO_LEVELS = (0.2, 0.4, 0.6, 0.8)
"""Levels of the white contours: one rater in five, two, three, four."""

HU_WINDOW = (-110.0, 240.0)
"""Grey values of the CT from black to white: abdominal soft tissue with contrast."""

OPACITY = 0.55
"""Of the map over the CT, the same for all values: the value drives the colour alone."""

SMALLEST_SIDE_MM = 120.0
LARGEST_SIDE_MM = 300.0
MARGIN_MM = 32.0
"""The window is the lesion's box with this margin on every side, within these two edge lengths."""

WIDTH_INCH, HEIGHT_INCH, TITLE_LINE_INCH, DPI = 13.2, 5.75, 0.35, 110
"""Size of the picture, and height of the line above it that says which CT it is."""

SECTION_PLACE, SECTION_STEP = (0.012, 0.155, 0.2975, 0.683), 0.3045
"""Left, bottom, width and height of the axial section in parts of the picture, and how far right the next begins."""

PNG_LEVEL = 3
"""Packs pictures twice as fast as the library's own level, 6, and into 4 % more bytes."""

MISSING_LETTER = "\u25af"
"""Stands for a letter that the font lacks."""

THRESHOLD_COLOR = "#00E5FF"
VESSEL_COLORS = {vessel.name: vessel.color_on_ct for vessel in VESSELS}
OTHER_VESSEL_COLOR = "#A8E6A1"


@dataclass(frozen=True)
class _Scene:
    """What is drawn: LPS-oriented arrays (z, y, x) on one grid."""

    ct: NDArray[np.generic]
    probability: NDArray[np.generic]
    vessels: Mapping[str, int]
    labels: NDArray[np.generic] | None
    spacing_mm: tuple[float, float, float]
    threshold: float
    focus: Focus
    side_mm: float


def write_overview(
    path: str | Path,
    ct: Volume,
    probability: Volume,
    *,
    threshold: float,
    segmentation: Volume | None = None,
    labels: Mapping[str, int] | None = None,
    calibrated: bool = True,
    bundle_name: str = "",
    demo: bool = False,
    which: str = "",
) -> None:
    """Draw axial, coronal and sagittal sections through the largest lesion into a PNG.

    Parameters
    ----------
    path : str or Path
        The picture.
    ct : Volume
        HU, on any orientation; the volumes are turned to LPS here.
    probability : Volume
        MHR map in [0, 1] on the CT's grid.
    threshold : float
        Level of the highlighted contour.
    segmentation : Volume, optional
        Label map on the CT's grid with the vessels to outline.
    labels : mapping, optional
        Name to value in `segmentation`; "tumor" is not outlined, as the map shows it.
    calibrated : bool
        Whether the map is an MHR; the raw score of the networks is named as such.
    bundle_name : str
        Name of the model, for the footnote.
    demo : bool
        Whether the model knows phantoms only, which the picture then says.
    which : str
        Which case and CT it is, in a line of its own above the picture; none where it is empty.

    Raises
    ------
    InputError
        If the volumes are not on the same grid.
    OutputError
        If the picture cannot be written.
    """
    from matplotlib.figure import Figure

    for what, volume in (("probability map", probability), ("segmentation", segmentation)):
        if volume is not None and not volume.geometry.same_grid(ct.geometry):
            raise InputError(
                f"the {what} is not on the CT's grid; make the picture from one run's results", code="grid-differs"
            )
    scene = _scene(ct, probability, segmentation, labels, threshold)
    figure = Figure(figsize=(WIDTH_INCH, HEIGHT_INCH), dpi=DPI, facecolor="white")
    colors: Any = None
    for column, view in enumerate(VIEWS):
        left, bottom, width, height = SECTION_PLACE
        axes = figure.add_axes((left + column * SECTION_STEP, bottom, width, height))
        colors = _draw_section(axes, scene, view)
    bar = figure.colorbar(colors, cax=figure.add_axes((0.932, 0.155, 0.013, 0.683)), ticks=np.linspace(0, 1, 6))
    bar.set_label(
        "fraction of readers who mark the voxel (MHR)" if calibrated else "score, not calibrated", fontsize=10
    )
    bar.ax.set_facecolor("0.4")  # the grey of soft tissue behind the map
    bar.ax.hlines(ISO_LEVELS, 0, 1, colors="white", lw=1)
    bar.ax.hlines([threshold], 0, 1, colors=THRESHOLD_COLOR, lw=2.5)
    _write_texts(figure, scene, TITLE if calibrated else RAW_TITLE, bundle_name, demo)
    picture = drawn(figure)
    with atomic_path(path) as partial:
        save_png(_stack(_title_line(which), picture) if which else picture, partial)


def change_title_line(path: str | Path, which: str) -> None:
    """Write another line above a picture that `write_overview` has drawn with one.

    Raises
    ------
    InputError
        If the picture cannot be read.
    """
    path, title = Path(path), _title_line(which)
    picture = _opened(path)
    below = picture.crop((0, title.height, picture.width, picture.height))
    with atomic_path(path, overwrite=True) as partial:
        save_png(_stack(title, below), partial)


@cache
def color_map() -> ListedColormap:
    """Return the colours of the map, for matplotlib."""
    from matplotlib.colors import ListedColormap

    return ListedColormap(map_colors())


def axial_of(path: str | Path) -> Image:
    """Return the axial section alone, out of a picture that `write_overview` drew, with or without a line above.

    Raises
    ------
    InputError
        If the picture cannot be read.
    """
    whole = _opened(path)
    left, bottom, width, height = SECTION_PLACE
    across, down = WIDTH_INCH * DPI, HEIGHT_INCH * DPI
    above = whole.height - down
    box = (left * across, above + (1 - bottom - height) * down, (left + width) * across, above + (1 - bottom) * down)
    return whole.crop((round(box[0]), round(box[1]), round(box[2]), round(box[3])))


def _opened(path: str | Path) -> Image:
    from PIL import Image

    try:
        with Image.open(path) as opened:
            return opened.convert("RGB")
    except (OSError, ValueError) as error:
        raise InputError(
            "the overview picture cannot be read; run the case again", code="report-unreadable", path=path
        ) from error


def drawable(text: str) -> str:
    """Return `text` with a box for every letter that the font of the pictures lacks.

    The library would warn of it with the letter's name, and the letters of a label may be those of a patient's name.
    """
    from matplotlib.font_manager import findfont, get_font

    known = get_font(findfont("DejaVu Sans")).get_charmap()
    return "".join(letter if ord(letter) in known else MISSING_LETTER for letter in text)


def _title_line(which: str) -> Image:
    """Draw the line above the picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_INCH, TITLE_LINE_INCH), dpi=DPI, facecolor="white")
    figure.text(0.012, 0.36, drawable(which), fontsize=12, weight="bold", va="center", parse_math=False)
    return drawn(figure)


def drawn(figure: Figure) -> Image:
    """Return a figure of matplotlib's as a picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    # A canvas knows the sizes of the texts that it has drawn.
    canvas = figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def save_png(picture: Image, target: Path | BinaryIO) -> None:
    """Write a picture as PNG."""
    picture.save(target, format="png", compress_level=PNG_LEVEL)


def _stack(above: Image, below: Image) -> Image:
    from PIL import Image

    both = Image.new("RGB", (below.width, above.height + below.height), "white")
    both.paste(above, (0, 0))
    both.paste(below, (0, above.height))
    return both


def _scene(
    ct: Volume, probability: Volume, segmentation: Volume | None, labels: Mapping[str, int] | None, threshold: float
) -> _Scene:
    """Turn the volumes to LPS and choose the window."""
    turned = probability.to_lps()
    focus = find_focus(turned, threshold)
    side = float(np.clip(max(focus.extent_mm) + 2 * MARGIN_MM, SMALLEST_SIDE_MM, LARGEST_SIDE_MM))
    label_map = None if segmentation is None else segmentation.to_lps().array
    vessels = {name: value for name, value in (labels or {}).items() if name.lower() != "tumor"}
    if label_map is not None:
        vessels = {name: value for name, value in vessels.items() if any((plane == value).any() for plane in label_map)}
    return _Scene(
        ct.to_lps().array, turned.array, vessels, label_map, turned.geometry.spacing_mm, threshold, focus, side
    )


def _draw_section(axes: Axes, scene: _Scene, view: View) -> Any:
    """Draw one view and return the colour-mapped image, for the colour bar."""
    center = scene.focus.center_mm
    section = Section(view, scene.focus.slices[view.through], (center[view.across], center[view.down]), scene.side_mm)
    extent = (0.0, scene.side_mm, scene.side_mm, 0.0)
    gray = section.sample(scene.ct, scene.spacing_mm, fill=-1000.0)
    map_values = section.sample(scene.probability, scene.spacing_mm, fill=0.0)
    axes.imshow(gray, cmap="gray", vmin=HU_WINDOW[0], vmax=HU_WINDOW[1], extent=extent, interpolation="bilinear")
    shown = map_values >= SHOWN
    if scene.focus.found:
        shown &= ~_faint(map_values)
    visible = np.ma.masked_array(map_values, ~shown)
    colors = axes.imshow(
        visible, cmap=color_map(), vmin=0, vmax=1, alpha=OPACITY, extent=extent, interpolation="nearest"
    )
    ticks = (np.arange(section.pixels) + 0.5) / section.pixels * scene.side_mm
    if scene.labels is not None:
        names = _Names(scene.side_mm, section.view.name)
        for name, value in scene.vessels.items():
            mask = section.sample(scene.labels, scene.spacing_mm, fill=0.0, value=value)
            _draw_vessel(axes, ticks, mask, name, names)
    _contour(axes, ticks, map_values, ISO_LEVELS, "white", 0.9)
    _contour(axes, ticks, map_values, (scene.threshold,), THRESHOLD_COLOR, 1.8)
    _draw_marks(axes, scene, section)
    _draw_inset(axes, scene, section)
    return colors


def _faint(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the pieces of a section that nowhere reach the lowest contour: beside a tumour they look like findings."""
    from scipy import ndimage

    pieces, _ = ndimage.label(values >= SHOWN)
    clear = np.unique(pieces[values >= min(ISO_LEVELS)])
    return (pieces > 0) & ~np.isin(pieces, clear)


def _contour(
    axes: Axes,
    ticks: NDArray[np.floating],
    values: NDArray[np.float32],
    levels: tuple[float, ...],
    color: str,
    width: float,
) -> None:
    """Draw the contours that exist, with a thin dark edge to stand out on any ground."""
    from matplotlib import patheffects

    crossed = [level for level in levels if values.min() < level <= values.max()]
    if crossed:
        lines = axes.contour(ticks, ticks, values, levels=crossed, colors=color, linewidths=width)
        lines.set_path_effects([patheffects.withStroke(linewidth=width + 1.0, foreground="#00000090")])


class _Names:
    """Places for the names of vessels in a section: where nothing else is written, inside the picture, or nowhere.

    Boxes are (left, top, right, bottom) in mm of the section, of letters `SIZE_PT` high.
    """

    SIZE_PT = 7.5
    LETTER_EM = 0.66
    GAP_MM = 1.0

    def __init__(self, side_mm: float, view_name: str) -> None:
        self._side_mm = side_mm
        self._point_mm = side_mm / (SECTION_PLACE[2] * WIDTH_INCH * 72)
        edge, middle = 0.07 * side_mm, side_mm / 2
        self._taken = [
            (0.0, 0.0, 10 * self._point_mm * self.LETTER_EM * (len(view_name) + 1), edge),
            (0.745 * side_mm, 0.0, side_mm, 0.255 * side_mm),  # the inset
            (0.0, 0.885 * side_mm, 0.04 * side_mm + 52, 0.96 * side_mm),  # the scale
        ]
        ends = (edge / 2, side_mm - edge / 2)
        for x, y in (*((end, middle) for end in ends), *((middle, end) for end in ends)):  # the letters of directions
            self._taken.append((x - edge / 2, y - edge / 2, x + edge / 2, y + edge / 2))

    def place(self, name: str, box: tuple[float, float, float, float]) -> tuple[float, float] | None:
        """Return the middle of a free place beside a vessel's box; None where there is none."""
        width = self.SIZE_PT * self.LETTER_EM * len(name) * self._point_mm
        height = 1.25 * self.SIZE_PT * self._point_mm
        left, top, right, bottom = box
        x, y = (left + right) / 2, (top + bottom) / 2
        beside, over = width / 2 + self.GAP_MM, height / 2 + self.GAP_MM
        for middle in ((x, bottom + over), (x, top - over), (right + beside, y), (left - beside, y)):
            mine = (middle[0] - width / 2, middle[1] - height / 2, middle[0] + width / 2, middle[1] + height / 2)
            inside = min(mine) >= 0 and max(mine) <= self._side_mm
            if inside and not any(_overlap(mine, other) for other in self._taken):
                self._taken.append(mine)
                return middle
        return None


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _draw_vessel(axes: Axes, ticks: NDArray[np.floating], mask: NDArray[np.float32], name: str, names: _Names) -> None:
    """Outline a vessel and write its name beside it; where there is no room the legend's colour must do."""
    if mask.max() <= 0.5:
        return
    color = VESSEL_COLORS.get(name, OTHER_VESSEL_COLOR)
    _contour(axes, ticks, mask, (0.5,), color, 1.4)
    rows, columns = np.nonzero(mask > 0.5)
    box = (ticks[columns.min()], ticks[rows.min()], ticks[columns.max()], ticks[rows.max()])
    place = names.place(name, box)
    if place is not None:
        _label(axes, *place, name, size=names.SIZE_PT, va="center")


def _label(
    axes: Axes, x: float, y: float, text: str, *, color: str = "white", size: float = 10, **options: Any
) -> None:
    """Write text that stays readable on any ground."""
    from matplotlib import patheffects

    written = axes.text(x, y, text, color=color, fontsize=size, ha=options.pop("ha", "center"), clip_on=True, **options)
    written.set_path_effects([patheffects.withStroke(linewidth=2, foreground="black")])


def _draw_marks(axes: Axes, scene: _Scene, section: Section) -> None:
    """Add view name, direction letters, scale bar and the marks of the other two slices; hide the axes."""
    side = scene.side_mm
    axes.set(xlim=(0, side), ylim=(side, 0), xticks=[], yticks=[])
    axes.set_facecolor("black")
    edges = ((0.03, 0.5), (0.97, 0.5), (0.5, 0.035), (0.5, 0.965))
    for letter, (x, y) in zip(section.view.letters, edges, strict=True):
        _label(axes, x * side, y * side, letter, size=11, va="center", weight="bold")
    _label(axes, 0.025 * side, 0.035 * side, section.view.name, ha="left", va="center")
    axes.plot([0.04 * side, 0.04 * side + 50], [0.945 * side] * 2, color="white", lw=2.5, solid_capstyle="butt")
    _label(axes, 0.04 * side + 25, 0.93 * side, "5 cm", size=9, va="bottom")
    position = [index * mm for index, mm in zip(scene.focus.slices, scene.spacing_mm, strict=True)]
    x, y = section.place((position[0], position[1], position[2]))
    for start in (0.0, 0.975):
        axes.plot([x, x], [start * side, (start + 0.025) * side], color="#BBBBBB", lw=0.8)
        axes.plot([start * side, (start + 0.025) * side], [y, y], color="#BBBBBB", lw=0.8)


def _draw_inset(axes: Axes, scene: _Scene, section: Section) -> None:
    """Show in the upper right corner which part of the whole slice the window is."""
    size_mm = [count * mm for count, mm in zip(reversed(scene.ct.shape), scene.spacing_mm, strict=True)]
    view, side = section.view, scene.side_mm
    whole = max(size_mm[view.across], size_mm[view.down])
    if whole < 1.3 * side:
        return
    middle = [(size - mm) / 2 for size, mm in zip(size_mm, scene.spacing_mm, strict=True)]
    center = (middle[view.across], middle[view.down])
    overall = Section(view, section.index, center, whole, pixels=160)
    inset = axes.inset_axes((0.745, 0.745, 0.255, 0.255), xticks=[], yticks=[], facecolor="black")
    gray = overall.sample(scene.ct, scene.spacing_mm, fill=-1000.0)
    inset.imshow(gray, cmap="gray", vmin=HU_WINDOW[0], vmax=HU_WINDOW[1], extent=(0.0, whole, whole, 0.0))
    right, down = overall.place(scene.focus.center_mm)
    corners = ([right - side / 2] * 2 + [right + side / 2] * 2, [down - side / 2, down + side / 2])
    inset.plot([*corners[0], corners[0][0]], [*corners[1], *corners[1][::-1], corners[1][0]], color="#FFD54A", lw=1)
    inset.set(xlim=(0, whole), ylim=(whole, 0))
    inset.spines[:].set_color("#888888")


def _write_texts(figure: Figure, scene: _Scene, title: str, bundle_name: str, demo: bool) -> None:
    """Add heading, legend and footnote."""
    from matplotlib import patheffects
    from matplotlib.lines import Line2D

    figure.text(0.012, 0.945, title, fontsize=15, weight="bold", va="center")
    if scene.focus.found:
        note = "Sections through the largest lesion; marks at the edges show where the other two sections lie"
    else:
        note = f"No tumour above threshold {scene.threshold:g}; the highest value is {np.max(scene.probability):.2f}"
    figure.text(0.012, 0.885, note, fontsize=10.5, va="center", weight="normal" if scene.focus.found else "bold")
    if demo:
        badge = {"boxstyle": "round,pad=0.45", "facecolor": "#FFF3C4", "edgecolor": "#B45309", "linewidth": 1.5}
        figure.text(0.988, 0.932, DEMO_NOTICE, fontsize=11, weight="bold", color="#7A2E00", ha="right", bbox=badge)
    entries = [("white", 1.2, "contours at " + ", ".join(f"{level:g}" for level in ISO_LEVELS))]
    entries.append((THRESHOLD_COLOR, 2.4, f"this outline, level {scene.threshold:g}"))
    if scene.labels is not None:
        entries += [(VESSEL_COLORS.get(name, OTHER_VESSEL_COLOR), 2.0, name) for name in scene.vessels]
    edge = [patheffects.withStroke(linewidth=3.2, foreground="#404040")]  # white shows on no white paper
    handles = [Line2D([], [], color=color, lw=width, label=label, path_effects=edge) for color, width, label in entries]
    figure.legend(
        handles=handles, loc="center left", bbox_to_anchor=(0.005, 0.108), ncols=9, frameon=False, fontsize=9.5
    )
    foot = f"{RESEARCH_NOTICE}  |  CT window {HU_WINDOW[0]:.0f} to {HU_WINDOW[1]:.0f} HU"
    foot += (
        f"  |  pieces that nowhere reach {min(ISO_LEVELS):g} in a section have no colour" if scene.focus.found else ""
    )
    foot += f"  |  model: {bundle_name}" if bundle_name else ""
    figure.text(0.012, 0.045, foot, fontsize=9.5, color="#333333", va="center")
