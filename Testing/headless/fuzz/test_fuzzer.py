"""The fuzzer itself: each way in which a reader can go wrong is a finding, and the same number is the same input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs fork and limits of memory")

TESTING = Path(__file__).resolve().parents[2]

READERS = """
import json, os, signal, sys, time
from pathlib import Path
from fuzzing import harness
from fuzzing.harness import Kind, try_inputs
from twintrack.errors import InputError

harness.LIMIT_S, harness.LONGEST_S = 4.0, 60.0

def refuse(): raise InputError("no", code="no")
def wrong(): {}["x"]
def die(): os.kill(os.getpid(), signal.SIGSEGV)
def leave(): Path(os.environ["TMPDIR"], "left").touch()
def grow(): bytearray(5 * 1024**3)
def work():
    while True: pass
def wait(): time.sleep(60)
def nothing(): raise InputError("", code="no")

WAYS = [lambda: None, refuse, wrong, die, leave, grow, work, wait, nothing]
kind = Kind(
    name="x",
    prepare=lambda folder: None,
    make=lambda rng, seeds, folder: int(folder.parent.name),
    read=lambda made, folder: WAYS[made](),
    command=lambda made, folder: ([], b""),
)
found = {verdict.number: verdict.outcome for verdict in try_inputs(kind, range(len(WAYS)), jobs=3)}
print(json.dumps([found[number] for number in range(len(WAYS))]))
"""


@pytest.mark.process
def test_every_way_to_go_wrong_is_found() -> None:
    run = subprocess.run([sys.executable, "-c", READERS], cwd=TESTING, capture_output=True, text=True, check=True)
    expected = ["read", "refused", "exception", "signal", "leftover", "memory", "time", "time", "message"]
    assert json.loads(run.stdout) == expected


def test_a_number_stands_for_one_input(tmp_path: Path) -> None:
    from fuzzing.harness import generator
    from fuzzing.kinds import KINDS

    for name in ("nifti", "nrrd", "mha", "manifest", "bundle-zip", "sketch"):
        kind = KINDS[name]
        (tmp_path / name / "seeds").mkdir(parents=True)
        kind.prepare(tmp_path / name / "seeds")
        contents = []
        for turn in ("one", "two"):
            place = tmp_path / name / turn
            place.mkdir()
            made = kind.make(generator(name, 5), tmp_path / name / "seeds", place)
            contents.append((Path(str(made)).name, Path(str(made)).read_bytes()))
        assert contents[0] == contents[1]
        assert generator(name, 5).random() != generator(name, 6).random()
