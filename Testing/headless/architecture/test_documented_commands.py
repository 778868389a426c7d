"""What README and documents tell to type is what the commands take: names, options, choices, numbers."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from documented import PAGES, ROOT, SHELL, Block, blocks, called, in_prose, known_options, mistakes

BLOCKS = [block for page in PAGES for block in blocks(page)]

OPTION = re.compile(r"`(--[a-z][a-z0-9-]*)(?:[ =][^`]*)?`")

STRANGERS = {
    ("README.md", "--extra-index-url"),  # pip
    ("cohort.md", "--memory-limit"),  # dask
    ("releasing.md", "--no-deps"),  # pip
    ("scaling.md", "--minutes"),  # tools/gpu_check.py
    ("scaling.md", "--plans"),
    ("scaling.md", "--size"),  # bench_inference.py
    ("security.md", "--strict"),  # mkdocs
    ("service.md", "--upgrade"),  # pip
    ("slicer.md", "--samples"),  # comes with the command's part of it
    ("vessels.md", "--first-seed"),  # bench_naming.py
}
"""Options of other programs, by page."""


def test_blocks_and_notes_are_found():
    assert len([command for block in BLOCKS for command in block.commands()]) > 60
    assert sum(len(in_prose(page)) for page in PAGES) > 30
    notes = [block.note for block in BLOCKS if block.note]
    assert notes
    assert not [note for note in notes if not re.match(r"(not run|shorter): \S", note)]


def test_a_reason_names_tests_and_files_that_there_are():
    named = {path for block in BLOCKS for path in re.findall(r"[\w/.-]+\.(?:py|md)\b", block.reason)}
    assert len(named) > 8
    places = [path.as_posix() for part in ("Testing", "docs") for path in (ROOT / part).rglob("*.*")]
    assert not [name for name in named if not any(place.endswith(f"/{name}") for place in places)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_parser_takes_what_a_page_tells(page: Path):
    told = [(f"{block}: {command}", called(command)) for block in blocks(page) for command in block.commands()]
    wrong = [(where, found) for where, words in told if words is not None and (found := mistakes(words, whole=True))]
    wrong += [(words, found) for words in in_prose(page) if (found := mistakes(words.split(), whole=False))]
    assert not wrong


@pytest.mark.slow
def test_dask_takes_what_is_told_of_its_scheduler_and_workers():
    from distributed.cli import dask_scheduler, dask_worker

    parsers = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}
    told = [shlex.split(command) for block in BLOCKS for command in block.commands() if command.startswith("dask ")]
    assert {words[1] for words in told} == set(parsers)
    for _, name, *words in told:
        parsers[name].make_context(name, words)  # raises at an option that is none


def test_what_a_note_makes_shorter_is_a_command_of_its_block():
    noted = [block for block in BLOCKS if block.note.startswith("shorter: ")]
    assert noted
    for block in noted:
        words = [called(command) for command in block.commands()]
        names = {entry.split()[0] for entry in block.note.removeprefix("shorter: ").split(";")}
        assert names <= {one[0] for one in words if one}
        assert not [found for one in words if one and (found := mistakes(block.shortened(one), whole=True))]


def test_options_in_prose_are_options_of_some_command():
    known = known_options()
    told = {(page.name, option) for page in PAGES for option in OPTION.findall(page.read_text(encoding="utf-8"))}
    assert len(told) > 60
    assert sorted((page, option) for page, option in told - STRANGERS if option not in known) == []


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "python"], ids=str)
def test_python_in_a_block_is_python(block: Block):
    compile(block.text, str(block), "exec")


def test_a_wrong_option_a_wrong_choice_and_a_missing_word_are_found():
    assert mistakes(["segment", "CT", "--out", "o", "--threshhold", "1"], whole=True)
    assert mistakes(["segment", "CT", "--out", "o", "--device", "abacus"], whole=True)
    assert mistakes(["phantom", "--cases", "many", "--out", "o"], whole=True)
    assert mistakes(["segment", "CT"], whole=True)
    assert mistakes(["segment", "CT", "ANOTHER", "--out", "o"], whole=True)
    assert mistakes(["no-such-command"], whole=False)
    assert mistakes(["segment", "--no-such"], whole=False)
    assert not mistakes(["segment", "CT", "--out", "o"], whole=True)
    assert not mistakes(["segment"], whole=False)


def test_what_is_no_command_says_what_it_is():
    """A block without a language is run; data has a language behind its fence."""
    first = {command.split()[0] for block in BLOCKS if block.language in SHELL for command in block.commands()}
    assert not [word for word in first if "," in word or word.startswith(("{", '"'))]
    assert (ROOT / "README.md") in PAGES
