"""The command ``twintrack``: each sub-command reads its options, calls the engine once and shows errors once."""

from __future__ import annotations

import errno
import gc
import logging
import signal
import sys
import threading
from typing import Annotated

import typer

from twintrack import __version__
from twintrack.cli import cohort, doctor, export, node, segment, serve, study, train, vessels, view
from twintrack.cli.bundle import bundle_app
from twintrack.cli.experiment import experiment_app
from twintrack.cli.model import model_app
from twintrack.cli.server import server_app
from twintrack.errors import Cancelled, InputError, TwinTrackError
from twintrack.progress.stages import process_began
from twintrack.system.capacity import NO_MEMORY, is_out_of_memory
from twintrack.system.paths import is_utf8
from twintrack.system.terminal import prepare_streams, say, say_error, say_lines, say_traceback
from twintrack.system.threads import one_blas_thread

__all__ = ["app", "main", "run_command"]

_log = logging.getLogger(__name__)

app = typer.Typer(
    name="twintrack",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    segment.demo,
    segment.segment,
    study.calibrate,
    study.apply,
    study.evaluate,
    train.train,
    segment.invasion,
    vessels.vessels,
    export.export,
    study.phantom,
    cohort.cohort,
    serve.serve,
    serve.certificates,
    node.node,
    doctor.doctor,
    view.view,
):
    app.command()(command)
app.add_typer(bundle_app, name="bundle")
app.add_typer(experiment_app, name="experiment")
app.add_typer(model_app, name="model")
app.add_typer(server_app, name="server")

DOORS = """\
TwinTrackSeg {version}: where readers of a CT would draw a tumour's edge. Research use only, not a medical device.

One CT          twintrack demo                                           a made-up CT, to try it
                twintrack segment CT --bundle BUNDLE --out RESULT        your CT; BUNDLE is a model (demo: shipped)
A model         twintrack model list                                     what is installed, and what can be got
Readers' masks  twintrack calibrate MANIFEST --out calibrator.json       what a score means for your readers
                twintrack evaluate MANIFEST --out SCORES                 how true maps are, by your readers' masks
                twintrack train MANIFEST --out BUNDLE                    a model of your readers
A server        twintrack serve --bundle BUNDLE                          one computer segments for many
                twintrack cohort MANIFEST --bundle BUNDLE --out STUDY    many CTs overnight
                twintrack node --help                                    from and to an archive, by DICOM

Is everything here that it needs?  twintrack doctor
All commands:  twintrack --help    One of them:  twintrack segment --help"""
"""What the command shows who calls it without a word."""


def _show_version(asked: bool) -> None:
    if asked:
        say(__version__)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Calibrated multi-rater tumour segmentation on contrast CT. Research use only, not a medical device."""
    if context.invoked_subcommand is None:
        say_lines(DOORS.format(version=__version__))


# Typer brings its own copy of click from 0.26 on; older versions use the package.
USAGE_ERROR: type[Exception] = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


BAD_NAMES = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.ELOOP)
"""Error numbers of the system about a path that cannot be one."""


CANCELLED = 130
"""Exit code of a command that was interrupted."""

MAY_BE_EMPTY = ("--vessel-labels", "--name", "--description", "--intended-use")
"""Options whose text may be empty."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit: 0 done, 2 bad input or usage, 130 cancelled, 1 anything unexpected."""
    prepare_streams()
    one_blas_thread()
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # batch systems end a run so: in order, as by Ctrl-C
    if arguments is not None:
        sys.exit(run_command(arguments))
    code = run_command(sys.argv[1:], began=process_began())
    gc.freeze()  # the interpreter's last search for garbage goes through a million objects of torch, for a second
    sys.exit(code)


def run_command(arguments: list[str], *, began: float | None = None) -> int:
    """Do what the arguments say, tell an error in one line on stderr, and return the exit code.

    The code of an error (`TwinTrackError.code`) goes to the log, which ``-v`` shows. Where the process began for this
    command, `began` says when, on the clock of `time.perf_counter`.
    """
    verbose = "-v" in arguments or "--verbose" in arguments
    try:
        _check_arguments(arguments)
        code = typer.main.get_command(app).main(arguments, prog_name="twintrack", standalone_mode=False, obj=began)
        if code == CANCELLED:  # newer versions of typer end so by themselves
            say_error("cancelled")
        return code if isinstance(code, int) else 0
    except (typer.Abort, Cancelled, KeyboardInterrupt):
        say_error("cancelled")
        return CANCELLED
    except USAGE_ERROR as error:
        return _fail(_with_help(error), 2, verbose)
    except TwinTrackError as error:
        _log.info("error code: %s", error.code, extra={"code": error.code})
        return _fail(str(error), 2, verbose)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in BAD_NAMES and error.filename is not None:
            return _fail(f"{error.filename}: cannot be a file or folder ({error.strerror})", 2, verbose)
        if is_out_of_memory(error):
            return _fail(NO_MEMORY, 1, verbose)
        return _fail(f"unexpected: {error or type(error).__name__} (run again with -v and report it)", 1, verbose)


def _with_help(error: Exception) -> str:
    """Say what is wrong with the words of a command, and whose help says how they are used."""
    context = getattr(error, "ctx", None)
    command = "twintrack" if context is None else context.command_path
    return f"{error.format_message().rstrip('.')} (see {command} --help)"  # type: ignore[attr-defined]


def _fail(message: str, code: int, verbose: bool) -> int:
    if verbose:
        say_traceback()
    say_error(f"error: {message}")
    return code


def _check_arguments(arguments: list[str]) -> None:
    """Refuse what can be no path.

    Libraries that read and write volumes take UTF-8 alone, and one ends the process. An empty path would be the current
    folder, as it is in Python; it comes from a variable that was not set.
    """
    before = ""
    for argument in arguments:
        if not is_utf8(argument):
            raise InputError("is not UTF-8; rename the file or folder", code="argument-encoding", where=argument)
        option, equals, value = argument.partition("=")
        empty = option if option.startswith("--") and equals and not value else before if not argument else None
        if empty is not None and empty not in MAY_BE_EMPTY:
            raise InputError(
                f"an argument{f' ({empty})' if empty else ''} is empty; is a variable not set?", code="argument-empty"
            )
        before = argument
