"""The cases of an experiment: phantoms drawn from their seeds, or the rows of manifests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from twintrack.errors import InputError
from twintrack.io.manifest import ManifestRow, located, read_annotations, read_manifest
from twintrack.io.masks import file_of
from twintrack.io.splits import rows_by_split
from twintrack.labels import VESSEL_VALUES
from twintrack.pipeline import read_vessels
from twintrack.raters import numbered
from twintrack.volume import Volume

__all__ = ["StudyCase", "StudyVolumes", "manifest_cases", "phantom_cases"]

FIRST_SEED = 1_000_000
"""Far above all seeds whose phantoms the demo bundle was trained, calibrated or tested on (see its config.json)."""

SEEDS_A_RUN = 10_000
"""Phantoms of one run: the first half for calibration, the second half for the test."""

RATERS = 5
"""Raters of every phantom, as many as in CURVAS-PDACVI."""

FEWEST_CASES = 2
"""One case says nothing about the next."""


@dataclass(frozen=True)
class StudyVolumes:
    """The volumes of a case, all on the CT's grid.

    Attributes
    ----------
    ct : Volume
        HU.
    annotations : mapping
        Mask of each rater by the rater's name.
    vessels : Volume, optional
        Label map; values as in `twintrack.labels.VESSEL_VALUES`.
    """

    ct: Volume
    annotations: Mapping[str, Volume]
    vessels: Volume | None


@dataclass(frozen=True)
class StudyCase:
    """A case that is read when it is needed.

    Attributes
    ----------
    name : str
        Unique among the cases of its split.
    where : str
        For messages: manifest and line, or the phantom's seed.
    content : str
        Differs whenever the volumes differ; stored results are found by it.
    read : callable
        Returns the volumes.
    files : tuple of Path
        What it reads.
    raters : tuple of str
        Names of the raters who drew it.
    """

    name: str
    where: str
    content: str
    read: Callable[[], StudyVolumes]
    raters: tuple[str, ...]
    files: tuple[Path, ...] = ()


def phantom_cases(calibration: int, test: int, *, seed: int = 0) -> tuple[tuple[StudyCase, ...], tuple[StudyCase, ...]]:
    """Return phantoms that no part of the demo bundle has seen; `seed` chooses among disjoint sets of them.

    Raises
    ------
    InputError
        If there are fewer than 2 cases of either kind, or more than a set holds.
    """
    half = SEEDS_A_RUN // 2
    for count, split in ((calibration, "calibration"), (test, "test")):
        if not FEWEST_CASES <= count <= half:
            raise InputError(
                f"the number of {split} cases must be {FEWEST_CASES} to {half}, got {count}", code="case-count"
            )
    start = FIRST_SEED + SEEDS_A_RUN * seed
    first = tuple(_phantom(start + number) for number in range(calibration))
    return first, tuple(_phantom(start + half + number) for number in range(test))


def manifest_cases(manifest: str | Path) -> tuple[tuple[StudyCase, ...], tuple[StudyCase, ...]]:
    """Return the calibration and the test cases of a manifest, told apart by its column ``split``.

    The manifest needs ``case``, ``image``, ``split`` and ``annotation_1 ... annotation_N``; ``vessels`` and ``patient``
    are optional. Cases of the split ``train`` are left out.

    Raises
    ------
    InputError
        If the manifest cannot be used, holds fewer than 2 cases to calibrate on or to test, a split is unknown, or an
        image or a patient is in two splits; the row is named.
    """
    rows = rows_by_split(_rows(manifest))
    calibration, test = rows["calibration"], rows["test"]
    _check_counts(manifest, calibration=calibration, test=test)
    return tuple(map(_study_case, calibration)), tuple(map(_study_case, test))


def _rows(manifest: str | Path) -> tuple[ManifestRow, ...]:
    rows = read_manifest(manifest, needs=("image", "split"), annotated=True, texts=("split",))
    for row in rows:
        if "vessels" in row.files and not row.files["vessels"].exists():
            raise InputError(f"vessels: {row.files['vessels']}: no such file", code="file-missing", where=row.where)
    return rows


def _check_counts(manifest: str | Path, **splits: Sequence[ManifestRow]) -> None:
    """Refuse a split with too few cases."""
    for name, rows in splits.items():
        if len(rows) < FEWEST_CASES:
            raise InputError(
                f"holds {len(rows)} {name} cases (column split); at least {FEWEST_CASES} are needed",
                code="too-few-cases",
                path=manifest,
            )


def _study_case(row: ManifestRow) -> StudyCase:
    files = (*row.files.values(), *row.annotations.values())
    return StudyCase(row.case, row.where, _content(row), _reader(row), tuple(row.annotations), files)


def _phantom(seed: int) -> StudyCase:
    raters = numbered(RATERS)

    def read() -> StudyVolumes:
        from twintrack.phantom import make_phantom

        case = make_phantom(seed, raters=RATERS)
        return StudyVolumes(case.ct, dict(zip(raters, case.annotations, strict=True)), case.vessels)

    return StudyCase(f"phantom_{seed}", f"phantom of seed {seed}", f"phantom {seed}, {RATERS} raters", read, raters)


def _reader(row: ManifestRow) -> Callable[[], StudyVolumes]:
    def read() -> StudyVolumes:
        from twintrack.io.ct import load_ct

        with located(row, "image"):
            ct = load_ct(row.files["image"], row.series, row.acquisition).volume
        annotations = _annotations(row, ct)
        vessels = None
        if "vessels" in row.files:
            with located(row, "vessels"):
                vessels, _, _ = read_vessels(
                    row.files["vessels"], None, ct.geometry, default=VESSEL_VALUES, judge=False
                )
        return StudyVolumes(ct, annotations, vessels)

    return read


def _annotations(row: ManifestRow, ct: Volume) -> dict[str, Volume]:
    return read_annotations(row, ct.geometry)[0]


def _content(row: ManifestRow) -> str:
    """Describe the row's files by path, size and time of their last change, and which CT of them is meant."""
    named = {"image": row.files["image"], **{f"annotation_{n}": path for n, path in row.annotations.items()}}
    if "vessels" in row.files:
        named["vessels"] = row.files["vessels"]
    chosen = {"series": row.series, "acquisition": row.acquisition}
    lines = [f"{column} {value}" for column, value in chosen.items() if value is not None]
    for column, path in sorted(named.items()):
        path = file_of(path)
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            about = file.stat()
            lines.append(f"{column} {file.resolve()} {about.st_size} {about.st_mtime_ns}")
    return "\n".join(lines)
