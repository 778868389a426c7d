"""Every error has a code, and a sentence that begins and ends as all others do."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

from messages import SOURCES, error_types, messages, page  # noqa: E402

FOUND = messages()


def test_hundreds_of_messages_of_every_type_are_found() -> None:
    assert len(FOUND) > 500
    assert {"InputError", "BundleError", "OutputError", "RoiError", "DependencyError"} <= {one.kind for one in FOUND}


def test_every_error_has_a_code() -> None:
    """A type that knows its code itself, and one that passes on the code of its cause, need no word of their own."""
    own = {"TooMuchError"}
    assert [one for one in FOUND if not one.code and one.kind not in own and "{error}" not in one.sentence] == []


def test_codes_and_sentences_have_one_form() -> None:
    for message in FOUND:
        sentence = message.sentence
        assert re.fullmatch(r"([a-z0-9]+(-[a-z0-9]+)*)?", message.code), message
        assert not sentence.endswith((".", "!", " ")), message
        assert not re.match(r"[A-Z][a-z]+ ", sentence), message  # names such as PyTorch have two capitals
        assert "  " not in sentence, message
        assert not re.search(r"\b(please|invalid|illegal|fatal)\b", sentence), message  # say what is required


@pytest.mark.slow
def test_nothing_is_recognized_by_its_words() -> None:
    """No branch of the program looks into the text of an error of ours."""
    kinds = error_types([ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES.rglob("*.py")])
    offenders = []
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ExceptHandler) or node.type is None or node.name is None:
                continue
            caught = {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)}
            if caught & kinds:
                inside = [ast.unparse(call) for call in ast.walk(node) if isinstance(call, ast.Call)]
                looks = rf"str\({node.name}\)\.(startswith|endswith|split|replace|removeprefix|find|partition)"
                offenders += [f"{path.name}: {text}" for text in inside if re.search(looks, text)]
    assert offenders == []


@pytest.mark.slow
def test_the_page_of_the_documentation_has_each_code_once() -> None:
    headings = re.findall(r"^## (.+)$", page(), re.MULTILINE)
    assert len(headings) == len(set(headings)) == len({one.code for one in FOUND if one.code})
