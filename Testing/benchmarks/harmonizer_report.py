"""What `bench_harmonizer` found, as tables beside what was hoped for, and as pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sample_measures import DEGRADATIONS

from twintrack.metrics.bootstrap import bootstrap_means
from twintrack.studies.raters.comparison import BEFORE, compare
from twintrack.studies.table_format import markdown_rows

__all__ = ["CLEAN", "COUNTS", "write_report"]

CLEAN = "clean"
COUNTS = (1, 4, 8, 16, 32)
"""Samples whose energy distance is told."""

RESAMPLES, SEED = 2000, 0
WHOLE, NO_ENERGY, NO_HARMONIZER = "harmonizer", "without energy", "without harmonizer"

Runs = Mapping[str, Mapping[int, Mapping[str, Any]]]
Others = Mapping[str, Mapping[int, Sequence[Mapping[str, float]]]]
Row = Mapping[str, Any]

VALUES: Mapping[str, Callable[[Row], float | None]] = {
    **{f"GED{count}": lambda row, count=count: row["curve"][str(count)]["v"] for count in COUNTS},
    **{f"GED{count} (U)": lambda row, count=count: row["curve"][str(count)]["u"] for count in COUNTS if count > 1},
    "GED, 5 level sets of the mean": lambda row: row["levels"]["v"],
    "GED, 16 level sets of the mean": lambda row: row["levels16"]["v"],
    "GED, the mean's one outline": lambda row: row["one"]["v"],
    "diversity of 16 samples": lambda row: row["diversity"][0],
    "diversity of raters": lambda row: row["diversity"][1],
    "Dice, own rater": lambda row: row["personas"][0],
    "Dice, other raters": lambda row: row["personas"][1],
    "Dice, own rater, level sets by the raters' order": lambda row: row["nested"][0],
    "Dice, other raters, level sets by the raters' order": lambda row: row["nested"][1],
    "Dice with the majority": lambda row: row["dice"][CLEAN],
}
"""Of a case, by title."""


def write_report(out: Path, runs: Runs, others: Others, outlines: Mapping[str, Path]) -> None:
    """Print the tables, write them as ``table.md``, and draw ``samples.png`` and ``outlines.png``."""
    lines = ["# The harmonizer's samples", "", *_means(runs, others), "", *_hoped(runs, others), "", *_personas(runs)]
    lines += ["", *_entropies(runs), "", *_degradations(runs), "", *_costs(runs)]
    text = "\n".join(lines) + "\n"
    (out / "table.md").write_text(text, encoding="utf-8")
    print(text)
    draw_curves(out / "samples.png", runs, others)
    draw_outlines(out / "outlines.png", outlines, runs)


def _seeds(runs: Runs, variant: str, title: str) -> NDArray[np.float64]:
    """Return a value (seed, case); not a number where a case has none."""
    return np.array([[_number(VALUES[title](row)) for row in run["rows"]] for run in runs[variant].values()])


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _means(runs: Runs, others: Others) -> list[str]:
    rows = [[title, *(f"{np.nanmean(_seeds(runs, variant, title)):.3f}" for variant in runs)] for title in VALUES]
    lines = ["Means over cases and seeds.", "", *markdown_rows(["", *runs], rows)]
    if others:
        names = {"ged_v": "GED (V)", "own_dice": "Dice, own rater", "other_dice": "Dice, other raters"}
        table = [[name, *(_of_other(seeds, key) for key in names)] for name, seeds in others.items()]
        head = (
            "Other strategies on the same test cases: of the networks' outlines, or of five level sets of one network."
        )
        lines += ["", head, "", *markdown_rows(["", *names.values()], table)]
    return lines


def _of_other(seeds: Mapping[int, Sequence[Mapping[str, float]]], key: str) -> str:
    values = np.array([[row[key] for row in rows] for rows in seeds.values()])
    return "–" if np.isnan(values).all() else f"{np.nanmean(values):.3f}"


def _ratio(runs: Runs, others: Others, one: tuple[str, str], other: tuple[str, str]) -> str:
    """Return the ratio of two means with its 95 % interval over paired cases and seeds, and of each seed."""
    records = {}
    for place, (name, title) in enumerate((one, other)):
        if name in runs:
            values = _seeds(runs, name, title)
        else:
            values = np.array([[row["ged_v"] for row in rows] for rows in others[name].values()])
        records[str(place)] = {
            seed: {BEFORE: [{"values": {"it": value}} for value in row]} for seed, row in enumerate(values)
        }
    found = compare(records, "0", "1", "it", BEFORE, resamples=RESAMPLES, seed=SEED)
    if found is None:
        return "–"
    of_seeds = ", ".join(f"{value:.2f}" for value in found["seeds"])
    return f"{found['ratio']:.2f} [{found['low']:.2f}, {found['high']:.2f}] ({of_seeds})"


def _difference(values: NDArray[np.float64]) -> str:
    """Return the mean of (seed, case) with its 95 % interval over cases, and of each seed."""
    found = bootstrap_means(np.nanmean(values, axis=0)[:, None], resamples=RESAMPLES, seed=SEED)[0]
    if found is None or found.low is None:
        return "–"
    of_seeds = ", ".join(f"{value:.3f}" for value in np.nanmean(values, axis=1))
    return f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}] ({of_seeds})"


def _hoped(runs: Runs, others: Others) -> list[str]:
    whole = partial(_seeds, runs, WHOLE)
    rows = [
        ["GED16 / GED16 without energy", _ratio(runs, others, (WHOLE, "GED16"), (NO_ENERGY, "GED16")), "<= 0.8"],
        ["GED16 / GED1", _ratio(runs, others, (WHOLE, "GED16"), (WHOLE, "GED1")), "< 1"],
        ["GED16 (U) / GED4 (U)", _ratio(runs, others, (WHOLE, "GED16 (U)"), (WHOLE, "GED4 (U)")), ""],
        [
            "diversity / raters' diversity",
            _ratio(runs, others, (WHOLE, "diversity of 16 samples"), (WHOLE, "diversity of raters")),
            ">= 0.3",
        ],
        [
            "the same without energy",
            _ratio(runs, others, (NO_ENERGY, "diversity of 16 samples"), (NO_ENERGY, "diversity of raters")),
            "collapse: < 0.1",
        ],
        ["own - other raters' Dice", _difference(whole("Dice, own rater") - whole("Dice, other raters")), ">= 0.02"],
        [
            "own Dice - own Dice of level sets by the raters' order",
            _difference(whole("Dice, own rater") - whole("Dice, own rater, level sets by the raters' order")),
            "",
        ],
        [
            "GED16 / 5 level sets of its mean",
            _ratio(runs, others, (WHOLE, "GED16"), (WHOLE, "GED, 5 level sets of the mean")),
            "< 1",
        ],
        [
            "GED16 / 16 level sets of its mean",
            _ratio(runs, others, (WHOLE, "GED16"), (WHOLE, "GED, 16 level sets of the mean")),
            "",
        ],
        [
            "GED16 / its mean's one outline",
            _ratio(runs, others, (WHOLE, "GED16"), (WHOLE, "GED, the mean's one outline")),
            "",
        ],
    ]
    for name in ("soft", "rater-specific", "heads"):
        if name in others:
            rows.append([f"GED16 / {name}", _ratio(runs, others, (WHOLE, "GED16"), (name, "ged_v")), "< 1"])
    for kind, amount in DEGRADATIONS:
        one, other = (_drops(runs, variant, kind, amount) for variant in (WHOLE, NO_HARMONIZER))
        both = min(len(one), len(other))
        drop = one[:both] - other[:both]
        hoped = "< 0" if (kind, amount) == ("noise", 0.25) else ""
        rows.append([f"drop of Dice at {kind} {amount:g}, harmonizer less none", _difference(drop), hoped])
    note = "Ratios of means, differences of means, 95 % over paired test cases (ratios: and seeds), seeds in brackets."
    return [note, "", *markdown_rows(["", "found", "hoped for"], rows)]


def _drops(runs: Runs, variant: str, kind: str, amount: float) -> NDArray[np.float64]:
    """Return by how much the Dice score with the majority falls, (seed, case), of the cases that were made worse."""
    name = f"{kind} {amount:g}"
    return np.array(
        [
            [_number(row["dice"][CLEAN]) - _number(row["dice"][name]) for row in run["rows"] if name in row["dice"]]
            for run in runs[variant].values()
        ]
    )


def _personas(runs: Runs) -> list[str]:
    """Return volumes of personas and raters, in the raters' order of the training cases, the largest first."""
    first = next(iter(runs[WHOLE].values()))
    order, names = first["order"], first["raters"]
    lines = [
        [of, *(f"{_volumes(run, key)[place]:.2f}" for place in order)]
        for of, key, run in [
            ("raters", "rater_ml", first),
            *((f"personas, seed {seed}", "persona_ml", run) for seed, run in runs[WHOLE].items()),
        ]
    ]
    return [
        "Mean volume in mL, raters in the order of the training cases.",
        "",
        *markdown_rows(["", *(names[n] for n in order)], lines),
    ]


def _volumes(run: Mapping[str, Any], key: str) -> NDArray[np.float64]:
    return np.array([row[key] for row in run["rows"]]).mean(axis=0)


def _entropies(runs: Runs) -> list[str]:
    groups = list(next(iter(runs[WHOLE].values()))["rows"][0]["entropy"])
    rows = []
    for variant, seeds in runs.items():
        sums = np.sum(
            [[row["entropy"][name] for name in groups] for run in seeds.values() for row in run["rows"]], axis=0
        )
        rows.append([variant, *(f"{total / count:.3f}" if count else "–" for total, count in sums)])
    heads = [name.upper() if name.isalpha() else f"{name} of {len(groups) - 5}" for name in groups]
    note = "Entropy in bits of the mean of 16 samples over voxels: against the majority, and by how many raters mark."
    return [note, "", *markdown_rows(["", *heads], rows)]


def _degradations(runs: Runs) -> list[str]:
    names = [CLEAN, *(f"{kind} {amount:g}" for kind, amount in DEGRADATIONS)]
    rows = []
    for variant in (WHOLE, NO_HARMONIZER):
        made_worse = [row["dice"] for run in runs[variant].values() for row in run["rows"] if len(row["dice"]) > 1]
        rows.append([variant, *(f"{np.nanmean([_number(one[name]) for one in made_worse]):.3f}" for name in names)])
    cases = len(made_worse) // len(runs[NO_HARMONIZER])  # the last of the two
    note = (
        f"Dice of the mean of 16 samples from 0.5 on with the majority, {cases} test cases; noise in parts of the "
        "network's window, blur in pixels of the slice, gamma of values from 0 to 1 in the window."
    )
    return [note, "", *markdown_rows(["", *names], rows)]


def _costs(runs: Runs) -> list[str]:
    rows = [
        [
            variant,
            *(f"{run['train_cpu_s']:.0f}" for run in seeds.values()),
            "; ".join(sorted({a for run in seeds.values() for a in run["alarms"]})) or "–",
        ]
        for variant, seeds in runs.items()
    ]
    return [
        "CPU seconds of training by seed, and alarms.",
        "",
        *markdown_rows(["", *map(str, next(iter(runs.values()))), "alarms"], rows),
    ]


def draw_curves(path: Path, runs: Runs, others: Others) -> None:
    """Draw energy distance by number of samples, volumes of personas, entropy by agreement, Dice of worse images."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8.4), dpi=110)
    FigureCanvasAgg(figure)
    curve, volumes, entropy, worse = (figure.add_subplot(2, 2, place) for place in range(1, 5))
    for variant in runs:
        curve.plot(COUNTS, [np.mean(_seeds(runs, variant, f"GED{n}")) for n in COUNTS], "o-", label=variant)
    for name, style in (("soft", "--"), ("rater-specific", ":"), ("heads", "-.")):
        if name in others:
            level = np.nanmean([[row["ged_v"] for row in rows] for rows in others[name].values()])
            curve.axhline(level, color="0.35", linestyle=style, label=f"{name}, 5 outlines")
    curve.set_xscale("log", base=2)
    curve.set_xticks(COUNTS, [str(count) for count in COUNTS])
    curve.set(xlabel="samples", ylabel="energy distance from raters (V)", ylim=(0, None))
    curve.legend(fontsize=8, frameon=False, ncols=2, loc="upper right")
    first = next(iter(runs[WHOLE].values()))
    order = first["order"]
    names = [first["raters"][place] for place in order]
    volumes.plot(names, _volumes(first, "rater_ml")[order], "ks", label="raters")
    for seed, run in runs[WHOLE].items():
        volumes.plot(names, _volumes(run, "persona_ml")[order], "o-", label=f"personas, seed {seed}")
    volumes.set(xlabel="rater", ylabel="mean volume, mL", ylim=(0, None))
    volumes.legend(fontsize=8, frameon=False)
    raters = len(first["raters"])
    for variant, seeds in runs.items():
        sums = np.sum(
            [[row["entropy"][str(n)] for n in range(raters + 1)] for run in seeds.values() for row in run["rows"]],
            axis=0,
        )
        entropy.plot(range(raters + 1), sums[:, 0] / sums[:, 1], "o-", label=variant)
    entropy.set(xlabel="raters who mark the voxel", ylabel="entropy of the mean, bits", ylim=(0, None))
    entropy.legend(fontsize=8, frameon=False)
    titles = [f"{kind} {amount:g}" for kind, amount in DEGRADATIONS]
    for variant in (WHOLE, NO_HARMONIZER):
        drops = [np.nanmean(_drops(runs, variant, *each)) for each in DEGRADATIONS]
        worse.plot(titles, drops, "o-", label=variant)
    worse.axhline(0, color="0.6", linewidth=0.8)
    worse.tick_params(axis="x", rotation=40)
    worse.set(ylabel="drop of Dice with the majority")
    worse.legend(fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(path)


def draw_outlines(path: Path, outlines: Mapping[str, Path], runs: Runs) -> None:
    """Draw the raters', the samples' and the personas' outlines of one case on the slice that most raters mark."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kept = {variant: dict(np.load(file)) for variant, file in outlines.items()}
    first = next(iter(kept.values()))
    z = int(first["raters"].sum(axis=(0, 2, 3)).argmax())
    panels = [("five raters", first["raters"])]
    panels += [(f"16 samples, {variant}", one["samples"]) for variant, one in kept.items()]
    panels.append(("five personas", kept[WHOLE]["personas"]))
    figure = Figure(figsize=(3.4 * len(panels), 3.8), dpi=110)
    FigureCanvasAgg(figure)
    for place, (title, masks) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), place)
        axes.imshow(first["ct"][z], cmap="gray", vmin=-60, vmax=240)
        for number, mask in enumerate(masks):
            if mask[z].any():
                axes.contour(mask[z], levels=[0.5], colors=[f"C{number % 10}"], linewidths=1.1)
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()
    figure.tight_layout()
    figure.savefig(path)
