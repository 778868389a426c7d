"""The commands that README and documents tell, read from their text: fenced blocks, and commands in a line of prose.

A block without a language, or ``sh``, holds commands. What a test cannot do stands in an HTML comment before the block,
which no rendering shows::

    <!-- not run: REASON -->                    none of the block's commands is started
    <!-- shorter: COMMAND OPTIONS; ... -->      the test adds these options to the commands of that name
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typer

from twintrack.cli.app import USAGE_ERROR, app
from twintrack.errors import TwinTrackError

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "docs" / "schemas" / "README.md",
)
SHELL = ("", "sh")
BUNDLE_OPTIONS = ("--bundle", "--coarse")
"""Options whose value may be a name, which the parser itself looks for."""

FENCED = re.compile(
    r"(?:^ *<!-- (?P<note>[^\n]*?) -->\n+)?^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.M | re.S
)
INLINE = re.compile(r"`(twintrack [^`]+)`")
CALLED = re.compile(r"^(?:runuser --user twintrack -- )?(?:\S*/)?twintrack\s+(?P<rest>.*)$")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes
    ----------
    page
        File, relative to the repository.
    line
        Number of the line of the opening fence.
    language
        What stands behind the fence.
    text
        What stands in it.
    note
        The HTML comment before it; empty without one.
    """

    page: str
    line: int
    language: str
    text: str
    note: str

    @property
    def reason(self) -> str:
        """Why it is not run; empty where it is."""
        return self.note.removeprefix("not run: ") if self.note.startswith("not run: ") else ""

    def commands(self) -> list[str]:
        """Return its commands, one a line, without comments."""
        if self.language not in SHELL:
            return []
        lines = re.sub(r"\\\n\s*", " ", self.text).splitlines()
        return [line for line in (re.sub(r"(^|\s+)# .*$", "", line).strip() for line in lines) if line]

    def shortened(self, words: list[str]) -> list[str]:
        """Return a command's words with what the note adds to the command of that name."""
        if not self.note.startswith("shorter: "):
            return words
        for entry in self.note.removeprefix("shorter: ").split(";"):
            name, *options = shlex.split(entry)
            if name == words[0]:
                words = [*words, *options]
        return words

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT).as_posix()
    return [
        Block(
            name, text.count("\n", 0, found.start("indent")) + 1, found["language"], found["text"], found["note"] or ""
        )
        for found in FENCED.finditer(text)
    ]


def in_prose(page: Path) -> list[str]:
    """Return the words after ``twintrack`` of each command that stands in a line of prose."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    return [" ".join(words.split()).removeprefix("twintrack ") for words in INLINE.findall(text)]


def called(command: str) -> list[str] | None:
    """Return the arguments of ``twintrack`` in a line of a shell, or None where the line does not call it."""
    found = CALLED.search(command)
    return None if found is None else shlex.split(found["rest"])


def mistakes(arguments: list[str], *, whole: bool) -> list[str]:
    """Return what the real parser of the command finds wrong with its words; empty if nothing is.

    Nothing is run, and no bundle is looked for. Of a command that is not told as a `whole`, as in prose, what is
    missing is not asked for.
    """
    words = [
        "demo" if before in BUNDLE_OPTIONS else word for before, word in zip(["", *arguments], arguments, strict=False)
    ]
    command = _commands()
    context = command.make_context("twintrack", [], resilient_parsing=True)
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        if words[0] not in command.commands:
            return [f"no command {words[0]}"]
        command = command.commands[words.pop(0)]
        if hasattr(command, "commands"):
            context = command.make_context(command.name, [], parent=context, resilient_parsing=True)
    if hasattr(command, "commands"):
        return [] if not whole or not words else [f"no command {words[0]}"]
    if "--help" in words:
        return []
    try:
        command.make_context(command.name, words, parent=context)
    except TwinTrackError:  # a model that is not installed here
        return []
    except USAGE_ERROR as error:
        is_incomplete = type(error).__name__ in ("MissingParameter", "BadOptionUsage")
        return [] if is_incomplete and not whole else [error.format_message()]  # type: ignore[attr-defined]
    return []


def known_options() -> set[str]:
    """Return the options of all commands."""

    def of(command: Any) -> set[str]:
        own = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        return own.union(*(of(child) for child in getattr(command, "commands", {}).values()))

    return of(_commands())


@cache
def _commands() -> Any:
    return typer.main.get_command(app)
