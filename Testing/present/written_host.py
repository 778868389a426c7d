"""A host of presenters that writes down what it is asked."""

from __future__ import annotations

import contextlib
import pickle

__all__ = ["WrittenHost"]


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

    def aside(self, step, done, told=None) -> None:
        with self.guarded(told):
            done(pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(step))())))  # as by way of another process

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
