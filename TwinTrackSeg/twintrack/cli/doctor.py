"""Sub-command ``doctor``: what a computer has for the software, as a text to paste into a report of a fault."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from twintrack.cli.options import Verbose, progress_bar, start_log
from twintrack.system.terminal import say, say_lines

__all__ = ["doctor"]


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    no_self_test: Annotated[bool, typer.Option("--no-self-test", help="Only look; run no networks.")] = False,
    verbose: Verbose = False,
) -> None:
    """Look at what is installed, processors, memory, disk, and try the demo model (10 s); says nothing of patients."""
    start_log(verbose)
    from twintrack.execution.server.service import Options
    from twintrack.studies.doctor import examine

    found, topic = [], ""
    with progress_bar() as progress:
        for finding in examine(Options.port, self_test=not no_self_test, progress=progress):
            found.append(finding)
            if as_json:
                continue
            if finding.topic != topic:
                topic = finding.topic
                say(f"{topic}:")
            mark = "  " if finding.problem is None else "! "
            say(f"{mark}{finding.name}: {finding.value}" + (f"; {finding.problem}" if finding.problem else ""))
    problems = [finding for finding in found if finding.problem is not None]
    if as_json:
        document = {"ok": not problems, "findings": [finding.to_json() for finding in found]}
        say_lines(json.dumps(document, indent=1, ensure_ascii=False))
    elif problems:
        say(f"{len(problems)} of {len(found)} things need attention, marked ! above")
    else:
        say("everything that was looked at is in order")
    if problems:
        raise typer.Exit(1)
