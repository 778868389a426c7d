"""Each page's commands, run from its text in order, in one folder a page, as by somebody who follows it word by word.

What a page takes as given (``CT``, ``my_bundle``, ``manifest.csv``) is laid there before a block, small, and taken away
after it; what a command of the page made stays. Two things differ from the text: a port is one that is free, and a note
in the text may add options that make a command shorter (see `documented`).
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from archive_server import free_port
from command_line import small_ct
from documented import PAGES, SHELL, Block, blocks, called
from twintrack.cli.app import run_command
from twintrack.io.volumes import write_volume
from twintrack.volume import Volume
from vessel_anatomy.conditions import make_case

pytestmark = [pytest.mark.process, pytest.mark.network, pytest.mark.slow]

WALKS = {
    page.name: found
    for page in PAGES
    if (found := [block for block in blocks(page) if block.language in (*SHELL, "python") and not block.reason])
}
OUTPUTS = ("--out", "--plot", "--sketch")
STAYS = "serve"
"""A command that ends with its page."""

READY_S = 600.0

Lay = Callable[[Path], None]


@pytest.fixture(scope="module")
def given(make_bundle, make_results, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Lay]:
    """What pages take as given, by its name in the text: a function that lays it at a path."""
    from twintrack.dicom import write_ct_series

    store = tmp_path_factory.mktemp("given")
    write_ct_series(small_ct(), store / "series", description="small")
    write_volume(small_ct(), store / "ct.nii.gz")
    _write_manifest(store / "cases")
    map_of_classes = make_case("no SMA", "usual", 8).labels
    labels = map_of_classes.array
    recoded = np.select([labels == 1, labels == 2], [3, 2], 0).astype(
        np.uint8
    )  # ARTERIES and VEINS, as the page has them
    write_volume(Volume(recoded, map_of_classes.geometry), store / "labels.nii.gz")
    calibrator = store / "calibrator.json"
    assert run_command(["calibrate", str(store / "cases" / "manifest.csv"), "--out", str(calibrator)]) == 0
    bundle = make_bundle(vessel_labels={}, calibrator=calibrator, raters=2)
    result = store / "result"
    assert run_command(["segment", str(store / "series"), "--bundle", str(bundle), "--out", str(result)]) == 0
    assert run_command(["certificates", str(store / "CERTIFICATES"), "--name", "localhost"]) == 0

    def link(target: Path) -> Lay:
        return lambda place: place.symlink_to(target)

    def networks(place: Path) -> None:
        fine = {"background": 0, "tumor": 1, "portal_vein": 2, "sma": 3}
        for name, made in (
            ("Dataset001_Coarse", make_results({"background": 0, "pancreas": 1}, seed=10)),
            ("Dataset002_Fine", make_results(fine, folds=3, seed=20)),
        ):
            (place / name).mkdir(parents=True)
            (place / name / made.name).symlink_to(made)

    def folders_of_the_challenge(place: Path) -> None:
        for case in ("001", "002"):
            (place / case).mkdir(parents=True)
            for name in ("image", *(f"annotation_{rater}" for rater in range(1, 6))):
                (place / case / f"{name}.nii.gz").touch()

    return {
        "CT": link(store / "series"),
        "DICOM": link(store / "series"),
        "ct.nii.gz": link(store / "ct.nii.gz"),
        "BUNDLE": link(bundle),
        "my_bundle": link(bundle),
        "RESULT": link(result),
        "RESULTS": networks,
        "CERTIFICATES": link(store / "CERTIFICATES"),
        "labels.nii.gz": link(store / "labels.nii.gz"),
        "score.nii.gz": link(store / "cases" / "score0.nii.gz"),
        "manifest.csv": lambda place: _copy_manifest(store / "cases", place),
        "other_method.csv": lambda place: _copy_manifest(store / "cases", place),
        "part1.csv": lambda place: _copy_manifest(store / "cases", place, slice(0, 1)),
        "part2.csv": lambda place: _copy_manifest(store / "cases", place, slice(1, 2)),
        "training": folders_of_the_challenge,
        "testing": folders_of_the_challenge,
    }


def _write_manifest(folder: Path) -> None:
    """Two cases with all that some command asks for; at score s, a share s squared of the voxels is tumour."""
    folder.mkdir()
    ct = small_ct()
    rows = []
    for number in range(2):
        random = np.random.default_rng(number)
        score = random.uniform(0.01, 0.99, ct.geometry.shape).astype(np.float32)
        row = {"case": f"c{number}", "image": f"ct{number}.nii.gz", "score": f"score{number}.nii.gz"}
        row["probability"] = f"map{number}.nii.gz"
        write_volume(ct, folder / row["image"])
        write_volume(Volume(score, ct.geometry), folder / row["score"])
        write_volume(Volume(score**2, ct.geometry), folder / row["probability"])
        for rater in ("A", "B"):
            row[f"annotation_{rater}"] = f"{rater}{number}.nii.gz"
            drawn = random.uniform(size=score.shape) < score**2
            write_volume(Volume(drawn.astype(np.uint8), ct.geometry), folder / row[f"annotation_{rater}"])
        rows.append(row)
    with (folder / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _copy_manifest(folder: Path, place: Path, part: slice = slice(None)) -> None:
    """Write the manifest with whole paths, so that it can lie elsewhere."""
    with (folder / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))[part]
    with place.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(
            {name: value if name == "case" else str(folder / value) for name, value in row.items()} for row in rows
        )


class Walk:
    """Somebody who types a page's commands in an empty folder."""

    def __init__(self, folder: Path, given: dict[str, Lay], capsys: pytest.CaptureFixture[str]) -> None:
        self._folder, self._given, self._capsys = folder, given, capsys
        self._port = str(free_port())
        self._servers: list[subprocess.Popen[str]] = []

    def follow(self, block: Block) -> None:
        """Run a block; a command that does not end well is a failure that names it."""
        if block.language == "python":
            laid = self._lay([name for name in self._given if f'"{name}"' in block.text])
            exec(compile(block.text, str(block), "exec"), {})
        else:
            laid = []
            for command in block.commands():
                laid += self._run(block, command)
        for path in laid:
            path.unlink() if path.is_symlink() or path.is_file() else shutil.rmtree(path)

    def _run(self, block: Block, command: str) -> list[Path]:
        words = called(command)
        asked = command.replace('"', " ").split() if words is None else words
        wanted = [
            word.split("/")[0]
            for before, word in zip(["", *asked], asked, strict=False)
            if before not in (*OUTPUTS, "certificates") and word.split("/")[0] in self._given
        ]
        laid = self._lay(wanted)
        if words is None:
            path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
            done = subprocess.run(
                ["bash", "-c", command], env={**os.environ, "PATH": path}, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{block}: {command}\n{done.stdout}\n{done.stderr}"
            assert '"event": "error"' not in done.stdout, f"{block}: {command}\n{done.stdout}"
            return laid
        words = [word.replace(":8786", f":{self._port}") for word in block.shortened(words)]
        if words[0] == STAYS:
            self._serve([*words, "--port", self._port])
            return []  # its bundle is read anew for each run
        code = run_command(words)
        said = self._capsys.readouterr()
        assert code == 0, f"{block}: {command}\n{said.out}\n{said.err}"
        *_, last = said.out.splitlines() or [""]
        is_json = said.out.startswith("{")  # standard output is no terminal here
        assert is_json or len(last.split()) > 1, f"{block}: {command}: ends without a line of outcome: {last!r}"
        return laid

    def _lay(self, names: list[str]) -> list[Path]:
        places = [self._folder / name for name in dict.fromkeys(names) if not os.path.lexists(self._folder / name)]
        for place in places:
            self._given[place.name](place)
        return places

    def _serve(self, words: list[str]) -> None:
        said = self._folder / "server.txt"
        with said.open("w") as stream:
            command = [sys.executable, "-m", "twintrack", *words]
            self._servers.append(subprocess.Popen(command, stdout=stream, stderr=stream, text=True))
        end = time.monotonic() + READY_S
        while "ready at" not in said.read_text():
            assert self._servers[-1].poll() is None, said.read_text()
            assert time.monotonic() < end, said.read_text()
            time.sleep(0.1)

    def end(self) -> None:
        """Stop what still runs, as its owner does."""
        for server in self._servers:
            server.terminate()
            server.wait(300)


@pytest.fixture
def walk(
    given: dict[str, Lay], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Walk]:
    monkeypatch.chdir(tmp_path)
    one = Walk(tmp_path, given, capsys)
    yield one
    one.end()


@pytest.mark.parametrize("page", WALKS)
def test_a_page_can_be_followed(page: str, walk: Walk):
    for block in WALKS[page]:
        walk.follow(block)
