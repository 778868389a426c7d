"""The code of the panel holds widgets and wiring: no sentence, no number format, no choice of words or of what can be
pressed. These stand in presenters, and in the .ui file."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

GUI = Path(__file__).resolve().parents[2] / "TwinTrackSeg" / "TwinTrackSegLib" / "gui"
NOT_THE_PANEL = {
    "WholeWay.py": "the self test, which writes a log in English",
    "PackageCheck.py": "the script that another process runs",
}

SENTENCE = re.compile(r"[^\W\d_]{2,}[,:;.]?\s+[^\W\d_]{2,}")
LETTERS = re.compile(r"[^\W\d_]{2,}")
STATES = ("enabled", "visible", "setEnabled", "setVisible")


def silent(tree: ast.AST) -> set[ast.AST]:
    """Return the texts that nobody is shown: docstrings, and what is written into the log."""
    alone = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    found: set[ast.AST] = {value for value in alone if isinstance(value, ast.Constant)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of = node.func.value
            if isinstance(of, ast.Name) and of.id == "logger":
                found.update(node.args)
    return found


def isText(node: ast.AST, pattern: re.Pattern = LETTERS) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(pattern.search(node.value))


def isDecided(node: ast.AST) -> bool:
    """Whether a value is more than what a presenter says: a comparison, or several facts put together."""
    return any(isinstance(part, ast.Compare | ast.BoolOp) for part in ast.walk(node))


def stateSet(node: ast.AST) -> list[ast.AST]:
    """Return the values that a statement sets whether a widget is enabled or seen to."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in STATES:
        return list(node.args)
    if not isinstance(node, ast.Assign):
        return []
    pairs = []
    for target in node.targets:
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs += zip(target.elts, node.value.elts, strict=True)
        else:
            pairs.append((target, node.value))
    return [value for target, value in pairs if isinstance(target, ast.Attribute) and target.attr in STATES]


def decisions(source: str) -> list[str]:
    """Return what a presenter should say or decide, with its line."""
    tree, found = ast.parse(source), []
    quiet = silent(tree)
    for node in ast.walk(tree):
        line = f"line {getattr(node, 'lineno', 0)}: "
        if node in quiet:
            continue
        if isText(node, SENTENCE):
            found.append(f"{line}a sentence")
        if isinstance(node, ast.FormattedValue) and node.format_spec is not None:
            found.append(f"{line}a number format")
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and isText(node.left, re.compile("%")):
            found.append(f"{line}a number format")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
            found.append(f"{line}a text that is filled in")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("_", "tr", "translate"):
            found.append(f"{line}a text to translate")
        if isinstance(node, ast.IfExp) and (isText(node.body) or isText(node.orelse)):
            found.append(f"{line}a choice of words")
        if any(map(isDecided, stateSet(node))):
            found.append(f"{line}a decision what can be pressed or seen")
    return found


@pytest.mark.parametrize("path", sorted(GUI.glob("*.py")), ids=lambda path: path.stem)
def test_the_panel_holds_no_word_and_no_decision(path):
    if path.name in NOT_THE_PANEL:
        assert decisions(path.read_text(encoding="utf-8")), f"{path.name} need not be left out any more"
    else:
        assert decisions(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "put",
    [
        'label.text = "Choose a CT first"',
        'raise InputError("no reader is ticked, tick one", code="none")',
        'label.toolTip = f"{volume:.1f} mL"',
        'label.text = "%d mL" % volume',
        'label.text = "{} mL".format(volume)',
        'label.text = _("Done")',
        'button.text = "Cancel" if running else "Segment"',
        "button.enabled = ticked and result",
        "button.text, button.enabled = text, number > 1",
        "label.setVisible(count == 0)",
    ],
)
def test_a_word_or_a_decision_that_is_put_back_is_found(put):
    assert len(decisions(f"def show(self):\n    {put}\n")) == 1


@pytest.mark.parametrize(
    "wiring",
    [
        'def show(self):\n    """Show the state of the presenter."""\n    self.label.text = state.text',
        "label.text, label.visible = state.hint, bool(state.hint)\nbutton.enabled = not state.running",
        'button.connect("clicked()", presenter.press)\nlogger.info("no such node: %s", name)',
        'getattr(ui, f"vessel{name}ComboBox").visible = state.offered',
    ],
)
def test_wiring_is_none(wiring):
    assert decisions(wiring) == []
