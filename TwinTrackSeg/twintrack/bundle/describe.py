"""A bundle's description for people at a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from twintrack.calibration.calibrator import UPPER_SCORE

__all__ = ["bundle_text"]

WIDTH = 100
_INDENT = 16


def bundle_text(about: Mapping[str, Any]) -> str:
    """Lay out what `twintrack.bundle.model_bundle.Bundle.describe` returns as text of at most `WIDTH` columns."""
    raters = f"yes, {about['raters']} raters" if about["raters"] else "yes"
    calibrated = raters if about["calibrated"] else "no: gives network scores, not fractions of readers"
    vessels = ", ".join(f"{name} = {label}" for name, label in about["vessel_labels"].items())
    rows = [
        ("bundle", f"{about['name']} {about['version']}" + (" (DEMO: phantoms only)" if about["demo"] else "")),
        ("description", about["description"]),
        ("intended use", about["intended_use"]),
        ("licence", about["license"]),
        ("calibrated", calibrated),
        ("calibrator", "" if about["calibrator"] is None else _calibrator(about["calibrator"])),
        ("tumour", " + ".join(map(_weighted, about["tumor_weights"].items()))),
        ("readers", "; ".join(map(_rater, about["rater_members"]))),
        ("vessels", vessels or "none predicted"),
        ("region", _region(about)),
        ("contact", f"tumour within {about['contact_mm']:g} mm of a vessel" if about["contact_mm"] else ""),
        ("mirroring", "averages over mirrored inputs" if about["mirroring"] else "off"),
        ("pooling", about["pooling"]),
        ("size", f"{about['size_mb']:g} MB"),
        ("sha256", about["sha256"]),
    ]
    parts = [_rows(rows)]
    if about["training"] is not None:
        parts.append("training\n" + _rows(_training_rows(about["training"])))
    parts += [f"{stage} model\n" + _rows(_stage_rows(entry)) for stage, entry in about["stages"].items()]
    return "\n\n".join(parts)


def _calibrator(found: Mapping[str, Any]) -> str:
    return (
        f"{found['target']} on {found['cases']} cases; {found['bins']} bins, {found['upper_bins']} of them above score "
        f"{UPPER_SCORE}; largest value {found['largest']:.2f}"
    )


def _weighted(entry: tuple[str, float]) -> str:
    label, weight = entry
    return label if weight == 1 else f"{weight:.4g} {label}"


def _rater(entry: Mapping[str, Any]) -> str:
    if "persona" in entry:
        return f"{entry['id']}: persona {entry['persona']}"
    return f"{entry['id']}: " + (entry["label"] if "label" in entry else f"folds {', '.join(entry['members'])}")


def _training_rows(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for name, value in card.items():
        if isinstance(value, Mapping):
            told = ", ".join(f"{key} {'unknown' if one is None else one}" for key, one in value.items())
        else:
            told = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        rows.append((name.removesuffix("_sha256").replace("_", " "), told))
    return rows


def _region(about: Mapping[str, Any]) -> str:
    organ = " + ".join(about["organ_labels"])
    least = about["roi_probability"]
    rule = "where it is the likeliest class" if least is None else f"where its probability is at least {least:g}"
    fraction = about["roi_component_fraction"]
    return f"{organ} {rule}, parts from {fraction:g} of the largest on, dilated by {about['roi_margin_mm']:g} mm"


def _stage_rows(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    labels = ", ".join(f"{name} {value}" for name, value in entry["labels"].items())
    origin = " of ".join(filter(None, (entry["origin"].get("checkpoint"), entry["origin"].get("trainer"))))
    rows = [
        ("network", f"{entry['architecture']}, {entry['configuration']}, folds {', '.join(entry['folds'])}"),
        ("kind", "a network of slices, which draws samples" if "kind" in entry else ""),
        ("weights from", origin),
        ("patch", f"{_times(entry['patch_size'])} voxels of {_times(entry['spacing_mm'])} mm, network axes"),
        ("labels", labels),
    ]
    fingerprint = entry["fingerprint"]
    hu = fingerprint["intensities_hu"] if fingerprint else entry["training_intensities"]
    low, high = hu["percentile_00_5"], hu["percentile_99_5"]
    rows.append(
        ("trained on", f"{hu['mean']:.0f} HU on average (sd {hu['std']:.0f}), 99 % from {low:.0f} to {high:.0f}")
    )
    if fingerprint and fingerprint["cases"]:
        rows.append(("", f"{fingerprint['cases']} images"))
    for key, unit in (("spacing_zyx_mm", "mm"), ("size_zyx", "voxels")):
        if fingerprint and fingerprint[key]:
            spread = {name: _times(values) for name, values in fingerprint[key].items()}
            rows.append(
                ("", f"{spread['smallest']} to {spread['largest']}, median {spread['median']} {unit} (z, y, x)")
            )
    return rows


def _times(values: Iterable[float]) -> str:
    return " x ".join(f"{value:.3g}" if value < 100 else f"{value:.0f}" for value in values)


def _rows(rows: Iterable[tuple[str, str]]) -> str:
    lines: list[str] = []
    for name, value in rows:
        if value:
            head = f"  {name} ".ljust(_INDENT)
            lines += textwrap.wrap(value, WIDTH, initial_indent=head, subsequent_indent=" " * _INDENT) or [head]
    return "\n".join(lines)
