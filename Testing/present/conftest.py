"""Presenters on real MRML, without Qt and without an application: what they ask of it is written down."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "mrml", HERE.parent.parent / "TwinTrackSeg"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


class WrittenHost:
    """A `Host` that writes down what it is asked."""

    def __init__(self) -> None:
        self.said: list[tuple[str, bool]] = []
        self.errors: list[str] = []
        self.tables: list[object] = []
        self.waiting: list = []
        self.ensured: list[tuple[str, ...]] = []
        self.questions: list[str] = []
        self.warned: list[str] = []
        self.answer = True
        self.path = ""
        self.series = None
        self.kept: dict[str, str] = {}
        self.modelIsThere = True
        self.notInstalled: list[str] = []

    def showTable(self, table) -> None:
        self.tables.append(table)

    def say(self, sentence: str, *, loud: bool = False) -> None:
        self.said.append((sentence, loud))

    @contextlib.contextmanager
    def guarded(self, told=None):
        from twintrack.errors import TwinTrackError

        try:
            yield
        except TwinTrackError as error:
            self.errors.append(str(error))
            if told is not None:
                told(str(error))

    def busy(self):
        return contextlib.nullcontext()

    def later(self, _milliseconds: int, action):
        self.waiting.append(action)
        return lambda: self.waiting.remove(action) if action in self.waiting else None

    def warn(self, text: str) -> None:
        self.warned.append(text)

    def confirm(self, question: str, agreed) -> None:
        self.questions.append(question)
        if self.answer:
            agreed()

    def askSave(self, question, _beside, chosen) -> None:
        self.questions.append(question)
        if self.path:
            chosen(self.path)

    def seriesOf(self, _ct):
        return self.series

    def remember(self, name: str, value: str) -> None:
        self.kept[name] = value

    def recall(self, name: str) -> str:
        return self.kept.get(name, "")

    def ensure(self, purpose: str, *packages: str) -> None:
        self.ensured.append((purpose, *packages))

    def missing(self, *packages: str) -> list[str]:
        return [name for name in packages if name in self.notInstalled]

    def ensureModel(self) -> None:
        self.ensured.append(("model",))

    def canRunModel(self) -> bool:
        return self.modelIsThere


@pytest.fixture
def host() -> WrittenHost:
    return WrittenHost()


@pytest.fixture
def scene():
    """An empty scene, ``slicer.mrmlScene``."""
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    from mrml_environment import preparedScene

    scene = preparedScene()
    yield scene
    scene.Clear(False)


@pytest.fixture
def ct(scene):
    from TwinTrackSegLib.mrml.SelfTest import makeExampleCt

    return makeExampleCt()


@pytest.fixture
def load(ct, tmp_path):
    """Return a function that brings the example result into the scene, its files changed before as asked."""
    import json

    from TwinTrackSegLib.mrml.SelfTest import writeExampleResult
    from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic

    def bring(change=None, write=writeExampleResult):
        folder = write(tmp_path / f"result-{len(list(tmp_path.iterdir()))}", ct)
        files = {
            name: json.loads((folder / name).read_text(encoding="utf-8")) for name in ("result.json", "invasion.json")
        }
        if change is not None:
            change(files["result.json"], files["invasion.json"])
        for name, content in files.items():
            (folder / name).write_text(json.dumps(content), encoding="utf-8")
        return TwinTrackSegLogic().loadResult(folder, ct)

    return bring
