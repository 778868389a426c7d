"""How every command explains itself and ends."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
import textwrap

import pytest

from command_line import assert_refused
from twintrack.cli.app import run_command

pytestmark = pytest.mark.network

COMMANDS = [
    [],
    ["demo"],
    ["doctor"],
    ["segment"],
    ["calibrate"],
    ["apply"],
    ["evaluate"],
    ["invasion"],
    ["export"],
    ["phantom"],
    ["train"],
    ["bundle"],
    ["bundle", "create"],
    ["bundle", "verify"],
    ["bundle", "show"],
    ["cohort"],
    ["experiment"],
    ["experiment", "table1"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(command, capsys):
    assert run_command([*command, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


def test_help_imports_nothing_heavy_and_runs_as_a_module():
    code = (
        "import sys\nfrom twintrack.cli.app import run_command\nrun_command(['segment', '--help'])\n"
        "heavy = {'torch', 'nnunetv2', 'highdicom', 'SimpleITK', 'matplotlib', 'sklearn', 'scipy', 'asyncio'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    done = subprocess.run([sys.executable, "-m", "twintrack", "--help"], check=True, capture_output=True, text=True)
    assert "segment" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["bundle"],
        ["no-such-command"],
        ["segment"],
        ["segment", "x.nii.gz", "--bundle", "b", "--out", "o", "--no-such-option"],
        ["segment", "x.nii.gz", "--bundle", "b", "--out", "o", "--device", "abacus"],
        ["phantom", "--cases", "many", "--out", "o"],
        ["phantom", "--cases", "0", "--out", "o"],
        ["phantom", "--cases", "3", "--split", "a,b", "--out", "o"],
        ["train", "cases.csv"],
        ["train", "cases.csv", "--strategy", "best", "--out", "o"],
        ["train", "cases.csv", "--members", "0", "--out", "o"],
        ["phantom", "--cases", "1", "--healthy", "1.5", "--out", "o"],
        ["phantom", "--cases", "1", "--rater-model", "nobody", "--out", "o"],
    ],
)
def test_wrong_usage_is_one_error_line(arguments, capsys):
    assert_refused(arguments, capsys)


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["no-such-command"], "twintrack"),
        (["segment"], "twintrack segment"),
        (["bundle", "create"], "twintrack bundle create"),
        (["segment", "x.nii.gz", "--out", "o"], "twintrack segment"),
    ],
)
def test_wrong_usage_names_the_help_of_that_command(arguments, command, capsys):
    assert run_command(arguments) == 2
    assert capsys.readouterr().err.endswith(f"(see {command} --help)\n")


def test_without_a_word_it_shows_where_to_begin_and_every_command_there_exists(capsys):
    assert run_command([]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "Research use only" in shown.out
    lines = [line[line.index("twintrack ") :] for line in shown.out.splitlines() if "twintrack " in line]
    assert len(lines) >= 9
    for line in lines:
        name = line.split()[1]
        if not name.startswith("-"):
            assert run_command([name, "--help"]) == 0


def test_the_version_is_an_option_of_the_help(capsys):
    from twintrack import __version__

    assert run_command(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"
    assert run_command(["--help"]) == 0
    assert "--version" in capsys.readouterr().out


@pytest.mark.process
def test_a_shell_completes_commands():
    asked = {"_TWINTRACK_COMPLETE": "complete_bash", "COMP_WORDS": "twintrack cal", "COMP_CWORD": "1"}
    code = "from twintrack.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["calibrate"]


def test_the_process_ends_with_code_2_and_no_traceback(tmp_path):
    command = [sys.executable, "-m", "twintrack", "segment", "gone.nii.gz", "--bundle", "demo", "--out", "o"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: gone.nii.gz: no such file or folder\n"
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_is_code_130(monkeypatch, ct_file, bundle, tmp_path, capsys):
    import twintrack.results.folder

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(twintrack.results.folder, "load_ct", interrupted)
    assert run_command(["segment", str(ct_file), "--bundle", str(bundle), "--out", str(tmp_path / "o")]) == 130
    assert capsys.readouterr() == ("", "cancelled\n")  # no terminal here: the line is told all the same
    assert not (tmp_path / "o").exists()


def leaves(command=None, name=()):
    """Return the words that call each command, and its function."""
    import typer

    from twintrack.cli.app import app

    command = typer.main.get_command(app) if command is None else command
    children = getattr(command, "commands", None)
    if children is None:
        return [(name, command.callback)]
    return [found for word, child in children.items() for found in leaves(child, (*name, word))]


LEAVES = leaves()


@pytest.mark.parametrize("name", [name for name, _ in LEAVES], ids=" ".join)
def test_a_wrong_option_of_any_command_leads_to_its_help(name, capsys):
    assert run_command([*name, "--no-such-option"]) == 2
    assert capsys.readouterr().err.endswith(f"(see twintrack {' '.join(name)} --help)\n")


SAYS = {"say", "say_lines", "say_json", "_summarize", "_tell", "_send", "_serve"}
"""What writes a line; those of a command's own end with one."""


@pytest.mark.parametrize(("name", "function"), LEAVES, ids=[" ".join(name) for name, _ in LEAVES])
def test_every_command_ends_with_a_line_of_outcome(name, function):
    """Before each way out that is no error a line was said; silence means nothing to who waits."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function)))).body
    assert isinstance(tree, ast.FunctionDef)
    bodies = [body for node in ast.walk(tree) for part in ("body", "orelse") if (body := getattr(node, part, None))]
    for body in (body for body in bodies if isinstance(body, list)):
        for number, statement in enumerate(body):
            if isinstance(statement, ast.Return):
                assert any(map(is_said, body[:number])), ast.unparse(body)
    *_, last = (one for one in tree.body if not (isinstance(one, ast.If) and isinstance(one.body[-1], ast.Raise)))
    assert is_said(last), ast.unparse(last)


def is_said(statement: ast.stmt) -> bool:
    calls = [node.func for node in ast.walk(statement) if isinstance(node, ast.Call)]
    return any(isinstance(called, ast.Name) and called.id in SAYS for called in calls)
