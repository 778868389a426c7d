"""List every message that users can meet, as the sources raise it: code, type, sentence and place.

``python tools/messages.py`` prints the list, to be read side by side; the documentation's page of messages is made of
it. Nothing is kept: the words are where the error is raised, and changing them takes that one line.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

SOURCES = Path(__file__).resolve().parents[1] / "TwinTrackSeg"

BASE = "TwinTrackError"


class Message(NamedTuple):
    """One place that raises an error.

    Attributes
    ----------
    code : str
        The kind of trouble; empty where it is that of the error that caused it.
    kind : str
        The type of the error.
    sentence : str
        With the names of values in braces; empty where the sentence is put together elsewhere.
    place : str
        File below ``TwinTrackSeg/`` and line.
    """

    code: str
    kind: str
    sentence: str
    place: str


def main() -> None:
    """Print the list, sorted by code."""
    for message in messages():
        print("\t".join(message))


def messages() -> list[Message]:
    """Return all messages, sorted by code and place."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(SOURCES.rglob("*.py"))}
    kinds = error_types(trees.values())
    return sorted(message for path, tree in trees.items() for message in _of_file(path, tree, kinds))


def error_types(trees: Iterable[ast.Module]) -> set[str]:
    """Return the names of the types of errors of our own: the base and what is derived from it."""
    bases = {
        node.name: {_name(base) for base in node.bases}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {BASE}
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return found


def page() -> str:
    """Return the documentation's page of all messages."""
    parts = [
        "# Messages",
        "",
        "What the program can refuse, and in which words. The code above stays when the words change: `-v` shows it,",
        "scripts find it as `error.code`, and `failures.csv` of a cohort has it in the column `code`. Names in braces",
        "stand for values; before the sentence come the file and the place that it is about.",
    ]
    for code, group in groupby(messages(), key=lambda message: message.code):
        if not code:
            continue
        parts += ["", f"## {code}", ""]
        sentences = dict.fromkeys((message.kind, message.sentence) for message in group if message.sentence)
        parts += [f"- *{kind}*: `` {sentence} ``" for kind, sentence in sentences]
    return "\n".join(parts) + "\n"


def _of_file(path: Path, tree: ast.Module, kinds: set[str]) -> Iterator[Message]:
    """Yield the messages of a file, but for those that an error's own type makes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _names(node.func) & kinds:
            kind = " or ".join(sorted(_names(node.func) & kinds))
            sentence = _sentence(node.args[0]) if node.args else ""
            given = next((word.value for word in node.keywords if word.arg == "code"), None)
            for code in _codes(given):
                yield Message(code, kind, sentence, f"{path.relative_to(SOURCES).as_posix()}:{node.lineno}")


def _codes(given: ast.expr | None) -> list[str]:
    """Return the codes that an argument can be: one literal, or one of two; an empty one where it is none."""
    if isinstance(given, ast.IfExp):
        return [*_codes(given.body), *_codes(given.orelse)]
    return [str(given.value) if isinstance(given, ast.Constant) else ""]


def _names(function: ast.expr) -> set[str]:
    """Return the names that a called expression can stand for: ``A``, ``errors.A``, ``(A if given else B)``."""
    if isinstance(function, ast.IfExp):
        return _names(function.body) | _names(function.orelse)
    return {_name(function)}


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _sentence(node: ast.expr) -> str:
    """Return a literal with its values in braces; ``_("...").format(...)`` is one, and anything else none."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_sentence(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return f"{{{ast.unparse(node.value)}}}"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return _sentence(node.func.value)
    if isinstance(node, ast.Call) and _name(node.func) == "_" and node.args:
        return _sentence(node.args[0])
    return ""


if __name__ == "__main__":
    main()
