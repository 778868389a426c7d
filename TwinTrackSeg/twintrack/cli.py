"""The command ``twintrack``: each sub-command reads its options, calls the engine once and shows errors once."""

from __future__ import annotations

import sys

import typer

from twintrack import __version__, cli_cohort, cli_export, cli_results, cli_serve, cli_study
from twintrack.cli_bundle import bundle_app
from twintrack.cli_experiment import experiment_app
from twintrack.errors import Cancelled, TwinTrackError
from twintrack.system.capacity import NO_MEMORY, is_out_of_memory

__all__ = ["app", "main"]

app = typer.Typer(
    name="twintrack",
    help="Calibrated multi-rater tumour segmentation on contrast CT. Research use only, not a medical device.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    cli_results.demo,
    cli_results.segment,
    cli_study.calibrate,
    cli_study.apply,
    cli_study.evaluate,
    cli_results.invasion,
    cli_export.export,
    cli_study.phantom,
    cli_cohort.cohort,
    cli_serve.serve,
    cli_serve.certificates,
):
    app.command()(command)
app.add_typer(bundle_app, name="bundle")
app.add_typer(experiment_app, name="experiment")

# Typer brings its own copy of click from 0.26 on; older versions use the package.
USAGE_ERROR: type[Exception] = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit: 0 done, 2 bad input or usage, 130 cancelled, 1 anything unexpected."""
    sys.exit(_run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: list[str]) -> int:
    verbose = "-v" in arguments or "--verbose" in arguments
    if arguments == ["--version"]:
        typer.echo(__version__)
        return 0
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="twintrack", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except (typer.Abort, Cancelled, KeyboardInterrupt):
        typer.echo("cancelled", err=True)
        return 130
    except USAGE_ERROR as error:
        return _fail(f"{error.format_message()} (see twintrack --help)", 2, verbose)  # type: ignore[attr-defined]
    except TwinTrackError as error:
        return _fail(str(error), 2, verbose)
    except Exception as error:
        if is_out_of_memory(error):
            return _fail(NO_MEMORY, 1, verbose)
        return _fail(f"unexpected: {error or type(error).__name__} (run again with -v and report it)", 1, verbose)


def _fail(message: str, code: int, verbose: bool) -> int:
    if verbose:
        import traceback

        traceback.print_exc()
    typer.echo("error: " + " ".join(message.split()), err=True)
    return code
