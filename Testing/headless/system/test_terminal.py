"""What is printed is text: no name from a file, no path and no warning of a library moves the cursor or the colours."""

from __future__ import annotations

import ast
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twintrack.bundle.model_bundle import demo_bundle_path
from twintrack.cli.app import run_command
from twintrack.system.terminal import PrintableFormatter, one_line, prepare_streams, printable, say_lines

ENGINE = Path(__file__).resolve().parents[3] / "TwinTrackSeg" / "twintrack"
ESCAPE = "\x1b]0;title\x07\x1b[31mred\x9b2J\x7f\u202etxt.exe\u2066\ud800"


def visible(text: str) -> bool:
    return all(char.isprintable() for char in text)


@given(st.text(st.characters(codec=None)))
def test_whatever_is_printed_has_no_character_that_a_terminal_obeys(text: str) -> None:
    shown = printable(text)
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000 for char in shown)
    assert not set(shown) & set("\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")
    shown.encode("utf-8")
    if text.isascii() and text.isprintable():
        assert shown == text


def test_names_in_all_scripts_stay_as_they_are() -> None:
    name = "Mäse 名前 καρδιά сердце قلب 🙂 e\u0301"
    assert printable(name) == name


def test_a_long_message_keeps_its_beginning_and_its_end() -> None:
    line = one_line("begin " + "x" * 100_000 + "\n end")
    assert (line[:5], line[-3:], len(line) < 2100) == ("begin", "end", True)


def test_lines_that_this_program_laid_out_stay_lines(capsys: pytest.CaptureFixture[str]) -> None:
    say_lines("a\nb\x1b[0m")
    assert capsys.readouterr().out == "a\nb\\x1b[0m\n"


def test_log_lines_and_warnings_of_libraries_are_shown_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PrintableFormatter("%(message)s"))
    handler.handle(logging.LogRecord("x", logging.ERROR, "", 1, f"name {ESCAPE}", None, None))
    assert visible(stream.getvalue().rstrip("\n"))
    with warnings.catch_warnings():
        prepare_streams()
        warnings.simplefilter("always")
        warnings.warn(f"odd value {ESCAPE}", stacklevel=1)
    said = capsys.readouterr().err
    assert "odd value \\x1b]0;title" in said
    assert all(map(visible, said.splitlines()))


@pytest.mark.slow
def test_nothing_else_prints() -> None:
    """Every print goes through `twintrack.system.terminal`."""
    found = []
    for path in ENGINE.rglob("*.py"):
        if path.name == "terminal.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                *("print", "typer.echo", "typer.secho", "sys.stdout.write", "sys.stderr.write"),
                *("traceback.print_exc", "logging.basicConfig"),
            ):
                found.append(f"{path.name}: {ast.unparse(node.func)}")
    assert found == ["options.py: logging.basicConfig"]


def last_line(arguments: list[object], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = run_command([str(argument) for argument in arguments])
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("error: ")
    assert visible(line)
    return code, line


COMMANDS: dict[str, list[str]] = {
    "segment": ["segment", "PATH", "--bundle", str(demo_bundle_path()), "--out", "OUT"],
    "bundle": ["segment", "x.nii.gz", "--bundle", "PATH", "--out", "OUT"],
    "verify": ["bundle", "verify", "PATH"],
    "show": ["bundle", "show", "PATH"],
    "create": ["bundle", "create", "--coarse", "PATH", "--fine", "PATH", "--out", "OUT"],
    "calibrate": ["calibrate", "PATH", "--out", "OUT"],
    "apply": ["apply", "PATH", "--calibrator", "PATH", "--out", "OUT"],
    "evaluate": ["evaluate", "PATH", "--out", "OUT"],
    "invasion": ["invasion", "PATH", "--vessels", "PATH", "--out", "OUT"],
    "export": ["export", "PATH", "--series", "PATH", "--out", "OUT"],
    "cohort": ["cohort", "PATH", "--bundle", str(demo_bundle_path()), "--out", "OUT"],
    "serve": ["serve", "--bundle", "PATH", "--port", "0"],
    "table1": ["experiment", "table1", "--manifest", "PATH", "--bundle", "PATH", "--out", "OUT"],
}


@pytest.mark.parametrize(
    "name", [f"gone {ESCAPE}".replace("\ud800", ""), "a\nerror: b", "x" * 5000, "", "-", "\udcff\udcfe"]
)
@pytest.mark.parametrize(
    "command", [pytest.param(name, marks=pytest.mark.process if name == "serve" else ()) for name in COMMANDS]
)
def test_no_path_ends_a_command_in_another_way_than_with_one_line(
    command: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [name if part == "PATH" else part for part in COMMANDS[command]]
    code, line = last_line([str(tmp_path / "o.json") if part == "OUT" else part for part in filled], capsys)
    assert code == 2, line
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--out", "--series", "--calibrator"])
def test_an_empty_option_is_a_variable_that_was_not_set(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    for empty in ([option, ""], [f"{option}="]):
        code, line = last_line(["segment", "x", "--bundle", "y", *empty], capsys)
        assert (code, "is empty; is a variable not set?" in line) == (2, True)


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_path_that_is_not_utf8_is_one_line_of_the_real_command(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/ct\xff\xfe.nii.gz"
    Path(os.fsdecode(name)).write_bytes(b"x")
    command = [sys.executable, "-m", "twintrack", "segment", name, "--bundle", str(demo_bundle_path()), "--out", "o"]
    done = subprocess.run(command, capture_output=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == f"error: {tmp_path}/ct\\xff\\xfe.nii.gz: is not UTF-8; rename the file or folder\n".encode()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_bundle_in_a_folder_of_an_odd_name_is_shown_and_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(demo_bundle_path(), tmp_path / "od\x1b[31md\nname \u202e"))
    assert run_command(["bundle", "verify", str(folder)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert "od\\x1b[31md\\nname \\u202e: intact" in line
    assert run_command(["bundle", "show", str(folder)]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "twintrack-demo"


@pytest.mark.process
def test_an_output_of_another_encoding_does_not_end_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "twintrack", "bundle", "show", "größe 名"],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: gr\\xf6\\xdfe \\u540d: no such bundle")


CLOSED = """
import os, sys
from twintrack.system.terminal import prepare_streams, say, say_error
prepare_streams()
with open(sys.argv[1], "wb") as written:
    say("said"); say_error("said"); os.write(1, b"library"); os.write(2, b"library")
    written.write(b"whole")
"""


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="closes streams with a POSIX shell")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_nothing_that_is_printed_gets_into_a_file_where_standard_streams_were_closed(
    tmp_path: Path, closed: str
) -> None:
    shell = ["sh", "-c", f'"$@" {closed}', "sh", sys.executable, "-c", CLOSED, str(tmp_path / "result")]
    assert subprocess.run(shell, capture_output=True).returncode == 0
    assert (tmp_path / "result").read_bytes() == b"whole"


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="pipes break in another way")
def test_who_stops_reading_gets_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "twintrack", "--version"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.process
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
def test_standard_output_on_a_full_disk_is_one_line() -> None:
    command = [sys.executable, "-m", "twintrack", "--version"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
        assert subprocess.run(command, stdout=subprocess.PIPE, stderr=full).returncode == 0
    assert done.returncode == 2
    assert done.stderr.startswith("error: standard output cannot be written (No space left on device)")
    assert done.stderr.count("\n") == 1
