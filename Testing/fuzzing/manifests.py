"""Manifests in other dialects and encodings, with other columns, cells and counts than a study's."""

from __future__ import annotations

import codecs
import os
from pathlib import Path
from random import Random

import numpy as np

from fuzzing.harness import Kind
from fuzzing.shapes import TEXTS

FILES = ("score.nii.gz", "mask.nii.gz", "second.nii.gz", "other.nrrd", "ct.nii.gz", "small.mha")
COLUMNS = (
    *("annotation_3", "annotation_0", "annotation_01", "annotation_1", "annotation_-1", "annotation_", "annotation_٣"),
    *(
        "annotation_" + "9" * 5000,
        "annotation_" + "9" * 30,
        "Case",
        "case ",
        "case",
        "",
        " ",
        "series",
        "note",
        "image",
    ),
    *("probability", "vessels", "score", "group", "annotation_²", *TEXTS),
)


def prepare(folder: Path) -> None:
    """Write the small volumes that rows name."""
    from fuzzing.volumes import array
    from twintrack.io.volumes import write_volume
    from twintrack.volume import Geometry, Volume

    geometry = Geometry((24, 24, 16), (1.5, 1.6, 3.0))
    rng = np.random.default_rng(2)
    score = rng.uniform(0.01, 0.99, (16, 24, 24)).astype(np.float32)
    write_volume(Volume(score, geometry), folder / "score.nii.gz")
    write_volume(Volume((rng.uniform(size=score.shape) < score**2).astype(np.uint8), geometry), folder / "mask.nii.gz")
    write_volume(Volume((score > 0.5).astype(np.uint8), geometry), folder / "second.nii.gz")
    write_volume(Volume((score > 0.6).astype(np.uint8), geometry), folder / "other.nrrd")
    write_volume(Volume(array(), geometry), folder / "ct.nii.gz")
    write_volume(Volume(np.ones((3, 3, 3), np.uint8), Geometry((3, 3, 3), (1.0, 1.0, 1.0))), folder / "small.mha")


def make(rng: Random, seeds: Path, folder: Path) -> Path:
    """Write a manifest; its files lie beside it."""
    for name in FILES:
        os.link(seeds / name, folder / name)
    header = ["case", "image", "score", "probability", "annotation_1", "annotation_2", "vessels"]
    rows = [
        [f"c{n}", "ct.nii.gz", "score.nii.gz", "score.nii.gz", "mask.nii.gz", "second.nii.gz", ""] for n in range(3)
    ]
    table = [header, *rows]
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        _change(rng, table, folder)
    path = folder / rng.choice(("manifest.csv",) * 8 + ("manifest.CSV", "manifest.txt", "manifest"))
    path.write_bytes(_encoded(rng, _text(rng, table)))
    return path


def _change(rng: Random, table: list[list[str]], folder: Path) -> None:
    action = rng.choice(("column", "column", "header", "cell", "cell", "file", "row", "rows", "ragged", "drop", "wide"))
    row, at = rng.choice(table) if table else [], 0
    if row:
        at = rng.randrange(len(row))
    if action == "column":
        value = rng.choice(("mask.nii.gz", "", "small.mha", "nowhere.nii", *TEXTS))
        for number, line in enumerate(table):
            line.append(rng.choice(COLUMNS) if number == 0 else value)
    elif action == "header" and table and table[0]:
        table[0][rng.randrange(len(table[0]))] = rng.choice(COLUMNS)
    elif action == "cell" and row:
        cells = (*TEXTS, "x" * 200_000, "a\nb", "a\r\nb", '"', '""', "a,b", "c0", "..", ".", "CON", "a/b", "=1+1", "\0")
        row[at] = rng.choice(cells)
    elif action == "file" and row:
        os.mkfifo(folder / f"pipe{rng.randrange(10**9)}.nii")
        names = (
            next(folder.glob("pipe*")).name,
            ".",
            "/dev/zero",
            "/etc/passwd",
            "small.mha",
            "ct.nii.gz",
            "score.nii.gz",
        )
        row[at] = rng.choice((*names, str(folder / "mask.nii.gz"), "mask.nii.gz/x", "x" * 300 + ".nii", "~/x.nii"))
    elif action == "row":
        table.insert(rng.randint(0, len(table)), rng.choice(([], [""], [""] * 7, list(table[-1]) if table else [])))
    elif action == "rows" and table:
        last = table[-1]
        table += [[f"m{n}", *last[1:]] for n in range(rng.choice((10, 3000)))] if rng.random() < 0.7 else [last] * 50
    elif action == "ragged" and row:
        row += rng.choice((["x"], ["mask.nii.gz"] * 20, [""] * 5000))
    elif action == "drop":
        for line in table:
            if len(line) > at:
                del line[at]
    elif action == "wide":
        count = min(rng.choice((100, 5000, 20_000)), 400_000 // max(1, len(table)))
        style = rng.choice(("annotation_{}", "note{}", "x"))
        for number, line in enumerate(table):
            line += [style.format(10 + n) if number == 0 else rng.choice(("", "mask.nii.gz")) for n in range(count)]


def _text(rng: Random, table: list[list[str]]) -> str:
    between = rng.choice((",",) * 10 + (";", "\t", "|", ", ", ",,"))
    quoting = rng.choice(("needed",) * 6 + ("all", "none", "open", "wrong"))
    end = rng.choice(("\n",) * 6 + ("\r\n", "\r\n", "\r", "\n\n", "\n\r", ""))
    lines = []
    for row in table:
        cells = []
        for cell in row:
            needed = any(letter in cell for letter in '",\n\r')
            if quoting == "all" or (quoting == "needed" and needed):
                cell = '"' + cell.replace('"', '""') + '"'
            elif quoting == "wrong" and rng.random() < 0.2:
                cell = rng.choice((f'"{cell}', f'{cell}"', f'"{cell}"x', f"'{cell}'"))
            cells.append(cell)
        lines.append(between.join(cells))
    text = end.join(lines) + rng.choice((end, end, ""))
    if quoting == "open":
        at = rng.randint(0, len(text))
        text = text[:at] + '"' + text[at:]
    return text


def _encoded(rng: Random, text: str) -> bytes:
    way = rng.choice(("utf-8",) * 9 + ("bom", "utf-16", "utf-32", "latin-1", "invalid", "cut", "nul", "twice bom"))
    content = text.encode("utf-8", "surrogatepass")
    if way == "bom":
        return codecs.BOM_UTF8 + content
    if way == "twice bom":
        return codecs.BOM_UTF8 * 2 + content
    if way in ("utf-16", "utf-32", "latin-1"):
        return text.encode(way, "replace")
    at = rng.randint(0, len(content))
    if way == "invalid":
        return content[:at] + rng.choice((b"\xff", b"\xc3", b"\xed\xa0\x80", b"M\xfcller")) + content[at:]
    if way == "nul":
        return content[:at] + b"\0" * rng.choice((1, 1000)) + content[at:]
    return content[:at] if way == "cut" else content


def read(made: object, folder: Path) -> None:
    """Read the manifest in the ways of the commands, and the masks of its first rows."""
    from twintrack.errors import InputError
    from twintrack.io.manifest import read_annotations, read_manifest, scan_manifest
    from twintrack.io.volumes import read_volume

    path = Path(str(made))
    rows = scan_manifest(path, needs=("image",), optional=("vessels",), texts=("group",))
    cases = [row.case for row in rows]
    assert len(set(cases)) == len(cases) == len(rows)
    refused: InputError | None = None
    for row in read_manifest(path, needs=("score",), annotated=True)[:2]:
        try:
            read_annotations(row, read_volume(row.files["score"]).geometry)
        except InputError as error:
            refused = error
    if refused is not None:
        raise refused


def command(made: object, folder: Path) -> tuple[list[str], bytes]:
    """Calibrate, evaluate or check a cohort, as the manifest's content has it."""
    from fuzzing.commands import DEMO

    text = Path(str(made)).read_bytes()
    way = sum(text) % 4
    if way == 0:
        return ["evaluate", str(made), "--out", str(folder / "out"), "--bootstrap", "20"], b""
    if way == 1:
        about = ["--bundle", str(DEMO), "--out", str(folder / "out"), "--workers", "1", "--device", "cpu"]
        return ["cohort", str(made), *about], b""
    return ["calibrate", str(made), "--out", str(folder / "out.json"), "--bootstrap", "20"], b""


def load() -> None:
    """Import what reads the manifest and the files that it names."""
    import SimpleITK  # noqa: F401

    import twintrack.io.manifest  # noqa: F401


MANIFEST = Kind("manifest", prepare, make, read, command, load)
