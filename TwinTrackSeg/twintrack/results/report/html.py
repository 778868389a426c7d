"""The report of one result: a single HTML file that needs nothing else, for screen, phone and paper."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twintrack.calibration.calibrator import UPPER_SCORE
from twintrack.errors import InputError
from twintrack.pipeline import DEMO_WARNING, RAW_WARNING
from twintrack.results.report.overview import DEMO_NOTICE, HU_WINDOW, RESEARCH_NOTICE
from twintrack.results.report.structured_vessels import HUMAN_ITEMS, structured_vessels
from twintrack.results.report.vessel_rows import by_severity, vessel_rows
from twintrack.results.report.wording import (
    MISSING,
    NOT_CALIBRATED,
    NOT_READERS,
    contact_pattern,
    is_calibrated,
    is_score,
    lesion_table,
    number,
    of_result,
    outline_text,
    pattern_rules,
    percent,
    plain_text,
    readers_volume,
    share,
    statement_source,
    with_unit,
)
from twintrack.results.which_ct import WhichCt
from twintrack.system.atomic import atomic_path

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["read_panel", "read_pictures", "write_report"]

STAGES = (
    *("import", "read", "open", "wait", "localize", "ensemble", "calibrate", "measure"),
    *("write", "pictures", "report"),
)
"""The order in which a run's stages are listed."""

FOR_THE_RADIOLOGIST = (
    "Tumour site, attenuation, pancreatic and biliary duct",
    "Hazy attenuation or stranding around the vessels",
    "Narrowing, contour irregularity, occlusion or thrombus of the vessels",
    "Common hepatic artery, arterial variants, venous collaterals",
    "Liver, peritoneum, ascites, lymph nodes, adjacent organs",
)
"""Items of a structured PDAC report that the software does not assess."""

_VESSEL_PICTURE = re.compile(
    r'aria-label="Pictures of ([^"]*)" tabindex="0">\s*<img src="data:image/png;base64,([A-Za-z0-9+/=]*)"'
)
"""A vessel's name and picture, as the template has them."""

_PANEL = re.compile(r'<script type="application/json" id="panel-data">([^<]*)</script>')


def write_report(
    path: str | Path,
    result: Mapping[str, Any],
    invasion: Mapping[str, Any] | None,
    overview_png: str | Path | None,
    bundle_description: str = "",
    vessel_pictures: Mapping[str, bytes] | None = None,
    *,
    panel: str = "",
    overwrite: bool = False,
) -> None:
    """Write ``report.html``.

    At its top, and on every printed page, it says which CT it belongs to, with the names that `result` states; it holds
    no path and, of a DICOM series, no patient data.

    Parameters
    ----------
    path : str or Path
        The report.
    result : mapping
        Content of ``result.json``; every field may be missing.
    invasion : mapping or None
        Content of ``invasion.json``, if vessels were known.
    overview_png : str, Path or None
        The picture, which is embedded.
    bundle_description : str
        What the model is, if ``result["bundle"]`` does not say so.
    vessel_pictures : mapping of str to bytes, optional
        A PNG for vessels by their name in `invasion`, which are embedded.
    panel : str
        What `twintrack.results.report.live_panel.live_panel` gives, as `json_for_script` writes it; without, no panel.
    overwrite : bool
        Whether another file at that place is replaced.

    Raises
    ------
    InputError
        If the picture cannot be read.
    OutputError
        If the report cannot be written.
    """
    template = _template()
    pictures = {name: base64.b64encode(png).decode("ascii") for name, png in (vessel_pictures or {}).items()}
    edited = bool(result.get("edited"))
    invasion = of_result(invasion, result) if isinstance(invasion, Mapping) else invasion
    structured = {"structured_vessels": structured_vessels(invasion, edited=edited), "human_items": HUMAN_ITEMS}
    vessels = by_severity(vessel_rows(invasion, result.get("threshold")))
    first = next((row.name for row in vessels if row.name in pictures), "")  # the worst vessel that has a picture
    shown = {"vessels": vessels, "vessel_pictures": pictures, "first": first}
    content = _content(result, invasion, _picture(overview_png), bundle_description)
    page = template.render(content | structured | shown | _live(panel))
    with atomic_path(path, overwrite=overwrite) as partial:
        partial.write_text(page, encoding="utf-8")


@cache
def _template() -> Template:
    """Return the page's template, which takes longer to read than to fill."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = files("twintrack") / "data" / "report.html.j2"
    return environment.from_string(source.read_text(encoding="utf-8"))


def read_pictures(path: str | Path) -> dict[str, bytes]:
    """Return the pictures of vessels in a report of this version, as `write_report` took them.

    Raises
    ------
    InputError
        If the report cannot be read.
    """
    return {html.unescape(name): base64.b64decode(png) for name, png in _VESSEL_PICTURE.findall(_page(path))}


def _page(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(
            "the report cannot be read; run the case again", code="report-unreadable", path=path
        ) from error


def read_panel(path: str | Path) -> str:
    """Return the data of the live panel in a report of this version, as `write_report` took them; empty without one.

    Raises
    ------
    InputError
        If the report cannot be read.
    """
    found = _PANEL.search(_page(path))
    return "" if found is None else found[1]


def _live(panel: str) -> dict[str, object]:
    """Return what the template needs of the live panel: data, script, and its hash, which alone may run."""
    if not panel:
        return {"panel": ""}
    script = (files("twintrack") / "data" / "report_panel.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return {"panel": panel, "panel_script": script, "panel_hash": f"'sha256-{digest}'"}


def _picture(path: str | Path | None) -> str:
    """Return a PNG as base64 text, empty without one."""
    if path is None:
        return ""
    try:
        return base64.b64encode(Path(path).read_bytes()).decode("ascii")
    except OSError as error:
        raise InputError(
            "the overview picture cannot be read; run the case again", code="report-unreadable", path=path
        ) from error


def _content(
    result: Mapping[str, Any], invasion: Mapping[str, Any] | None, picture: str, description: str
) -> dict[str, object]:
    """Return everything the template shows."""
    bundle = _part(result, "bundle")
    heads, lesions = lesion_table(result.get("lesions"), result.get("statements"), score=is_score(result))
    threshold = result.get("threshold")
    calibrated = result.get("calibrator", True) is not None
    return {
        "which": WhichCt.of(result),
        "research_notice": RESEARCH_NOTICE,
        "alerts": _alerts(result, demo=bool(bundle.get("demo")), calibrated=calibrated),
        "description": bundle.get("description") or description,
        "picture": picture,
        "threshold": plain_text(threshold),
        "outline": _outline(result),
        "volumes": _volumes(result),
        "lesion_heads": heads,
        "lesions": lesions,
        "no_lesion": "No lesion at the threshold." if result.get("lesions") == [] else f"Lesion list {MISSING}.",
        "volume_line": _volume_line(result, invasion),
        "source": statement_source(invasion),
        "from_map": not is_calibrated(invasion),
        "interval_level": _interval_level(invasion),
        "own_readers": _own_readers(result, invasion),
        "contact_pattern": contact_pattern(invasion if isinstance(invasion, Mapping) else {}),
        "calibrated": calibrated,
        "window_hu": HU_WINDOW,
        "for_the_radiologist": FOR_THE_RADIOLOGIST,
        "provenance": _provenance(result, bundle, pattern_rules(invasion if isinstance(invasion, Mapping) else {})),
        "seconds": _seconds(result),
    }


def _alerts(result: Mapping[str, Any], *, demo: bool, calibrated: bool) -> list[tuple[str, str]]:
    """Return what the reader must know before any number, each once, as a headline that may be empty and a sentence."""
    warnings = result.get("warnings")
    told = [plain_text(line) for line in warnings] if isinstance(warnings, list) else []
    found = [(DEMO_NOTICE, "On a patient's CT its output means nothing.")] if demo else []
    if not calibrated:
        found.append(
            ("NOT CALIBRATED", 'All values are scores of the networks. Read no "fraction of readers" as such.')
        )
    return found + [("", line) for line in dict.fromkeys(told) if line not in (DEMO_WARNING, RAW_WARNING)]


def _volume_line(result: Mapping[str, Any], invasion: Mapping[str, Any] | None) -> str:
    """Say the tumour's volume in one line: readers first, with a word where only the vessels are calibrated."""
    readers, volume = readers_volume(result), _part(result, "volume_ml")
    said = [f"{readers.any_tumour} of readers mark any tumour"] if readers.any_tumour else []
    between = "" if readers.p10_p90 == MISSING else f"8 of 10 between {readers.p10_p90.replace('–', ' and ')}"
    if readers.median != MISSING:
        said.append(f"median reader {readers.median}" + (f" ({between})" if between else ""))
    elif between:
        said.append(between)
    if said and is_calibrated(invasion) and readers.source == NOT_CALIBRATED:
        said[-1] += f" ({NOT_CALIBRATED})"
    if number(volume.get("expected")) is not None and not is_score(result):
        said.append(f"expected {with_unit(volume.get('expected'), 'mL')}")
    if number(volume.get("at_threshold")) is not None:
        said.append(f"this outline {with_unit(volume.get('at_threshold'), 'mL')}")
    return "; ".join(said) or MISSING


def _own_readers(result: Mapping[str, Any], invasion: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what a phantom's own raters said beside what is said of readers; None for a patient, who has none."""
    said, vessels = _part(result, "own_readers"), _part(invasion or {}, "vessels")
    rows = []
    for name, drawn in _part(said, "vessels").items():
        vessel = vessels.get(name)
        if not isinstance(drawn, Mapping) or not isinstance(vessel, Mapping) or number(vessel.get("p_contact")) is None:
            continue
        pairs = [(vessel.get("p_contact"), drawn.get("contact")), (vessel.get("p_encased"), drawn.get("encased"))]
        texts = [f"{percent(told)} / {share(own)}" for told, own in pairs]
        degrees = [with_unit(value, "°", 0) for value in (vessel.get("angle_median_deg"), drawn.get("median_deg"))]
        rows.append((plain_text(vessel.get("title") or name), *texts, " / ".join(degrees)))
    return {"raters": plain_text(said.get("raters")), "rows": rows} if rows else None


def _outline(result: Mapping[str, Any]) -> str:
    """Say what this outline is."""
    if result.get("edited"):
        return "edited by hand"
    threshold = number(result.get("threshold"))
    return (
        MISSING if threshold is None else outline_text(threshold, calibrated=result.get("calibrator", True) is not None)
    )


def _volumes(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return names, numbers and explanations of the volumes: first what is said of readers, then this outline."""
    volume, readers = _part(result, "volume_ml"), readers_volume(result)
    if is_score(result):
        return [
            ("Sum of the score over all voxels", with_unit(volume.get("expected"), "mL"), NOT_READERS),
            ("This outline", with_unit(volume.get("at_threshold"), "mL"), _outline(result)),
        ]
    found = [("Readers who mark any tumour", readers.any_tumour, statement_source(result.get("statements")))]
    median = [("Median reader's volume", readers.median, readers.source)]
    return [
        *(found if readers.any_tumour else []),
        *(median if readers.median != MISSING else []),
        ("8 of 10 readers between", readers.p10_p90, f"10th to 90th percentile of the readers; {readers.source}"),
        (
            "Expected volume",
            with_unit(volume.get("expected"), "mL"),
            "mean over readers: sum of the map over all voxels" + _interval(result),
        ),
        ("This outline", with_unit(volume.get("at_threshold"), "mL"), _outline(result)),
    ]


def _interval_level(invasion: Mapping[str, Any] | None) -> str:
    """Return the level of the intervals over the choice of calibration cases; empty where it is not stated."""
    level = number(_part(_part({"all": invasion}, "all"), "calibration").get("interval_level"))
    return "" if level is None else f"{100 * level:.0f} %"


def _part(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object inside `data`, empty if it is missing or something else."""
    part = data.get(name)
    return part if isinstance(part, Mapping) else {}


def _range(low: object, high: object) -> str:
    if number(low) is None or number(high) is None:
        return with_unit(None, "mL")
    return f"{number(low):.1f}–{number(high):.1f} mL"


def _interval(result: Mapping[str, Any]) -> str:
    """Say how far the expected volume would move with other calibration cases; nothing if that is not known."""
    interval = _part(result, "expected_volume_ml")
    level, text = number(interval.get("level")), _range(interval.get("low"), interval.get("high"))
    if level is None or text == MISSING:
        return ""
    return f"; {text} with other calibration cases ({level:.0%} interval)"


def _provenance(result: Mapping[str, Any], bundle: Mapping[str, Any], rules: str) -> list[tuple[str, str]]:
    """Return what was run on what, as names and texts; missing fields are left out."""
    calibrator, grid, roi = (_part(result, name) for name in ("calibrator", "input", "roi"))
    entries = [
        ("Software", f"TwinTrack {result['version']}" if result.get("version") else None),
        ("Model bundle", " ".join(str(bundle[key]) for key in ("name", "version") if bundle.get(key)) or None),
        ("Bundle SHA-256", bundle.get("sha256")),
        ("Bundle licence", bundle.get("license")),
        ("Calibrator", _calibrator(calibrator)),
        ("Rules of the contact pattern", rules or None),
        ("Device", result.get("device")),
        (
            "Steps away from the first choice",
            "; ".join(str(note) for note in _part(result, "engine").get("notes") or ()),
        ),
        ("CT size (voxels)", _by(grid.get("size"))),
        ("CT voxel (mm)", _by(grid.get("spacing_mm"))),
        ("Region of interest", f"{plain_text(roi.get('start'))} to {plain_text(roi.get('stop'))}" if roi else None),
        ("Threshold", plain_text(result["threshold"]) if "threshold" in result else None),
    ]
    return [(name, plain_text(value)) for name, value in entries if value not in (None, "")]


def _calibrator(stated: Mapping[str, Any]) -> str | None:
    """Return what the calibrator was fitted to, and how many of its bins make the visible part of the map."""
    shown = {key: value for key, value in stated.items() if key not in ("upper_bins", "reached")}
    upper = number(stated.get("upper_bins"))
    more = "" if upper is None else f"; {upper:.0f} bins lie above score {UPPER_SCORE}"
    return plain_text(shown) + more if shown else None


def _by(values: object) -> str | None:
    """Write three lengths as a x b x c."""
    return " × ".join(plain_text(value) for value in values) if isinstance(values, list | tuple) else None


def _seconds(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the time of each stage, the known ones in order, and their sum."""
    seconds = _part(result, "seconds")
    names = [*(stage for stage in STAGES if stage in seconds), *(stage for stage in seconds if stage not in STAGES)]
    times = [(str(name), number(seconds[name])) for name in names]
    known = [(name, time) for name, time in times if time is not None]
    if not known:
        return []
    total = [] if "total" in dict(known) else [("total", sum(time for _, time in known))]
    return [(name, with_unit(time, "s")) for name, time in known + total]
