"""What runs a server: the systemd units and the images name what there is, and give away as little as they can."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
import typer
import yaml

from twintrack.cli.app import app

ROOT = Path(__file__).parents[3]
PACKAGING = ROOT / "packaging"
UNITS = sorted((PACKAGING / "systemd").glob("*.service"))
DOCKERFILE = PACKAGING / "docker" / "Dockerfile"

EXPOSURE = 2.0
"""Highest exposure that `systemd-analyze security` may find, of 10."""


def options_of(unit: Path, name: str) -> list[str]:
    """Return the values of an option of a unit, in order."""
    return re.findall(rf"^{name}=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, lines put together."""
    text = re.sub(r"\\\n", " ", DOCKERFILE.read_text(encoding="utf-8"))
    lines = [line.strip() for line in text.splitlines()]
    return [tuple(line.split(None, 1)) for line in lines if line and not line.startswith("#")]


def of_kind(kind: str) -> list[str]:
    return [rest for name, rest in instructions() if name == kind]


def unknown_options(words: list[str]) -> list[str]:
    """Return the options of a command line that the command has not."""
    command = typer.main.get_command(app)
    while words and hasattr(command, "commands") and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    assert not hasattr(command, "commands"), "no command"
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return [word for word in words if word.startswith("-") and word.split("=")[0] not in known]


def page_commands() -> list[str]:
    """Return the lines of the page's shell blocks."""
    text = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
    return [
        line
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]


def test_commands_of_the_page_name_what_there_is():
    lines = page_commands()
    assert lines.index(next(line for line in lines if line.endswith("twintrack-node"))) == 14  # 15 commands
    called = [shlex.split(line.split("venv/bin/twintrack ")[1]) for line in lines if "venv/bin/twintrack " in line]
    assert len(called) > 3
    assert not [option for words in called for option in unknown_options(words)]
    paths = {path for line in lines for path in re.findall(r"/opt/twintrack/source/([\w./-]+)", line)}
    paths |= {word for line in lines for word in re.findall(r"--file (\S+)", line)}
    assert len(paths) > 3
    assert not [path for path in paths if not (ROOT / path).exists()]
    for unit in UNITS:
        assert unit.name in "".join(lines)


def test_extras_that_are_installed_are_those_of_the_package():
    told = "\n".join([*page_commands(), *of_kind("RUN")])
    extras = set(re.findall(r"\[([a-z-]+)\]\"", told))
    assert extras
    defined = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert not [extra for extra in extras if not re.search(rf"^{extra} = \[", defined, re.MULTILINE)]


def test_there_are_units():
    assert UNITS


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_calls_a_command_that_there_is(unit):
    (line,) = options_of(unit, "ExecStart")
    words = shlex.split(line.replace("$OPTIONS", ""))
    assert words[0] == "/opt/twintrack/venv/bin/twintrack"
    assert not unknown_options(words[1:])
    assert options_of(unit, "User") == ["twintrack"]


@pytest.mark.process
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_a_unit_little_exposed(unit):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("this computer has no systemd-analyze (Debian package systemd)")
    command = ["systemd-analyze", "security", "--offline=true", str(unit)]
    told = subprocess.run(command, capture_output=True, text=True)
    if "unrecognized option" in told.stderr:
        pytest.skip("this systemd-analyze is older than version 250")
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", told.stdout)
    assert found is not None, told.stderr
    assert float(found[1]) < EXPOSURE


@pytest.mark.process
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_each_line_of_a_unit(unit):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("this computer has no systemd-analyze (Debian package systemd)")
    told = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    lines = [line for line in told.stderr.splitlines() if unit.name in line and "is not executable" not in line]
    assert not lines


def test_the_image_copies_what_there_is_and_nothing_else_is_sent():
    copied = {name for rest in of_kind("COPY") if "--from" not in rest for name in rest.split()[:-1]}
    assert copied
    assert not [name for name in copied if not (ROOT / name).exists()]
    ignore = (PACKAGING / "docker" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignore
    assert {line[1:] for line in ignore if line.startswith("!")} == copied


def test_versions_of_the_image_are_those_of_constraints():
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    installs = [rest for rest in of_kind("RUN") if "pip install" in rest]
    assert installs
    for rest in installs:
        assert "--constraint constraints.txt" in rest
        assert "==" not in rest
    assert re.search(r"^torch==", pinned, re.MULTILINE)
    (version,) = set(re.findall(r"^python:(\d+\.\d+)-", "\n".join(of_kind("FROM")), re.MULTILINE))
    assert f"CPython {version})" in pinned


def test_the_image_runs_as_nobody_in_particular_and_says_whether_it_is_ready():
    (user,) = of_kind("USER")
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    assert [json.loads(one) for one in of_kind("ENTRYPOINT")] == [["twintrack"]]
    (words,) = (json.loads(one) for one in of_kind("CMD"))
    assert not unknown_options(words)
    (health,) = of_kind("HEALTHCHECK")
    assert f"127.0.0.1:{words[words.index('--admin-port') + 1]}/ready" in health
    assert of_kind("EXPOSE") == [words[words.index("--port") + 1]]
    assert of_kind("VOLUME") == [words[words.index("--spool") + 1]]
    stages = [rest.split(" AS ")[1] for rest in of_kind("FROM")]
    assert {"cpu", "cuda"} < set(stages)
    assert stages.index("service") < stages.index("cpu")


def test_unit_and_image_serve_from_the_same_places():
    (line,) = options_of(PACKAGING / "systemd" / "twintrack-serve.service", "ExecStart")
    words = shlex.split(line)
    (command,) = (json.loads(one) for one in of_kind("CMD"))
    for option in ("--bundle", "--tls", "--clients", "--port", "--admin-port"):
        assert words[words.index(option) + 1] == command[command.index(option) + 1]


def test_nobody_is_told_to_install_a_package_that_was_not_published():
    """Whoever takes the name ``twintrack`` in a public index would be installed."""
    texts = [*(ROOT / "TwinTrackSeg").rglob("*.py"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    told = re.compile(r"""pip install ['"]?twintrack\b""")
    assert [path.name for path in texts if told.search(path.read_text(encoding="utf-8"))] == []


def release_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_wheel", ROOT / "tools" / "check_wheel.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_wheel(path: Path, names: set[str], version: str, extras: tuple[str, ...]) -> None:
    """Write an archive with a wheel's names and metadata, its files empty."""
    about = [f"Version: {version}", "License-Expression: Apache-2.0", "Requires-Dist: torch>=2.6"]
    about += [f"Provides-Extra: {extra}" for extra in extras]
    with zipfile.ZipFile(path, "w") as archive:
        for name in (*names, "twintrack-1.dist-info/licenses/LICENSE"):
            archive.writestr(name, "")
        archive.writestr("twintrack-1.dist-info/METADATA", "\n".join(about) + "\n\n")


def test_a_wheel_that_lacks_a_file_or_holds_a_stranger_is_found(tmp_path):
    tool = release_tool()
    whole, version = tool.shipped(), tool.version()
    assert "twintrack/data/report.html.j2" in whole
    assert not [name for name in whole if "/gui/" in name or "test_" in name]
    write_wheel(tmp_path / "good.whl", whole, version, tool.EXTRAS)
    assert tool.faults_of_wheel(tmp_path / "good.whl") == []
    write_wheel(tmp_path / "bad.whl", whole - {"twintrack/py.typed"} | {"test_x.py"}, "9", tool.EXTRAS[1:])
    faults = "\n".join(tool.faults_of_wheel(tmp_path / "bad.whl"))
    for word in ("lacks twintrack/py.typed", "test_x.py", "version 9", f"extra {tool.EXTRAS[0]}"):
        assert word in faults


def test_the_release_publishes_by_trust_what_it_has_tried():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8"))["jobs"]
    assert [jobs[name].get("needs") for name in ("build", "try", "sign", "publish")] == [None, "build", "try", "sign"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert "secrets." not in (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    extras = release_tool().EXTRAS
    defined = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert not [extra for extra in extras if not re.search(rf"^{extra} = \[", defined, re.MULTILINE)]
