"""Sub-commands of ``twintrack model``: what is installed and what can be got; getting one, bringing one, removing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twintrack.cli.options import Overwrite, Verbose, progress_bar, start_log
from twintrack.errors import InputError
from twintrack.system.terminal import say, say_error, say_lines

if TYPE_CHECKING:
    from twintrack.models.known import KnownModel

__all__ = ["model_app"]

model_app = typer.Typer(help="Public models: list them, get one, install files that were brought, remove one.")

Folds = Annotated[
    str,
    typer.Option(
        help="Folds of both stages, e.g. 0,1,2,3,4.", show_default="the one whose hashes are known", metavar="LIST"
    ),
]
AcceptLicence = Annotated[
    str,
    typer.Option(
        "--accept-licence",
        "--accept-license",
        metavar="LICENCE",
        help="Accept the licence of the weights by its name, once you read it; written down with the date.",
        show_default=False,
    ),
]
FirstUse = Annotated[
    bool,
    typer.Option("--trust-on-first-use", help="Take files of which no hash is known; written down, and held to later."),
]
InstallAs = Annotated[str, typer.Option("--name", help="What to call it here; by default the model's own name.")]


@model_app.command("list")
def model_list(
    name: Annotated[str, typer.Argument(help="Say all that is known of this model.")] = "",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="All of each model, with reasons.")] = False,
    licence: Annotated[
        bool, typer.Option("--licence", help="The whole text of the licence of NAME's weights.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON in place of text.")] = False,
) -> None:
    """List installed and known models. No network is touched."""
    from twintrack.models.known import find_known_model, known_models, unusable_models
    from twintrack.models.licence import legal_text, terms
    from twintrack.models.store import installed

    here, known, unusable = installed(), known_models(), unusable_models()
    if licence:
        model = find_known_model(name or known[0].name)
        say_lines(f"{terms(model)}\n\n{legal_text(model)}")
    elif as_json:
        content = {
            "installed": [{"name": m.name, "bundle": str(m.bundle), "bytes": m.size, "record": m.record} for m in here],
            "known": [asdict(model) | {"command": model.command()} for model in known],
            "not_importable": [asdict(model) for model in unusable],
        }
        say_lines(json.dumps(content, indent=2))
    elif name:
        refused = {model.name: model for model in unusable}
        say_lines((refused.get(name) or find_known_model(name)).text())
    elif verbose:
        say_lines("\n\n\n".join([*(model.text() for model in known), *(model.text() for model in unusable)]))
    else:
        say_lines(_overview(here, known, unusable))


def _overview(here: Iterable[Any], known: Iterable[Any], unusable: Iterable[Any]) -> str:
    from twintrack.system.capacity import size_text

    there = [(m.name, f"{size_text(m.size)}, {_origin(m.record)}") for m in here]
    blocks = [
        ("Installed", [*there, ("demo", "comes with the program; knows phantoms only")]),
        ("Can be got: twintrack model get NAME", [(model.name, model.title) for model in known]),
        ("Known, and no bundle can be made of it", [(model.name, model.title) for model in unusable]),
    ]
    width = max(len(name) for _, rows in blocks for name, _ in rows)
    lines = []
    for title, rows in blocks:
        lines += [title, *(f"  {name:{width}}  {text}" for name, text in rows), ""]
    return "\n".join([*lines, "More of one, with licence, sources and reasons: twintrack model list NAME"])


def _origin(record: dict[str, Any]) -> str:
    folds = record.get("folds")
    words = [str(record.get("source", "origin not recorded")), f"fold {', '.join(folds)}" if folds else ""]
    return ", ".join(word for word in [*words, str(record.get("made", ""))[:10]] if word)


@model_app.command("get")
def model_get(
    name: Annotated[str, typer.Argument(help="A model of twintrack model list.")],
    accept_licence: AcceptLicence = "",
    folds: Folds = "",
    source: Annotated[
        str, typer.Option("--from", metavar="URL", help="Address of a mirror (https://) that holds the same files.")
    ] = "",
    ca_file: Annotated[
        Path | None, typer.Option(help="Certificate (PEM) of an authority to trust as well, e.g. of a proxy.")
    ] = None,
    trust_on_first_use: FirstUse = False,
    install_as: InstallAs = "",
    overwrite: Overwrite = False,
    for_it: Annotated[
        bool, typer.Option("--for-it", help="Only print what to tell whoever runs the network; fetch nothing.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Fetch a public model over HTTPS, verify it, and install it as a bundle: --bundle NAME. Run again to go on."""
    start_log(verbose)
    from twintrack.models.get import chosen_folds, get_model
    from twintrack.models.known import find_known_model, text_for_it

    model = find_known_model(name)
    wanted = chosen_folds(model, _listed(folds))
    if for_it:
        say_lines(text_for_it(model, wanted))
        return
    _accept(model, accept_licence, wanted)
    with progress_bar() as progress:
        bundle = get_model(
            name,
            folds=wanted,
            install_as=install_as,
            base_url=source,
            ca_file=ca_file,
            trust_on_first_use=trust_on_first_use,
            overwrite=overwrite,
            progress=progress,
        )
    _tell(bundle)


@model_app.command("add")
def model_add(
    files: Annotated[
        list[Path],
        typer.Argument(help="A bundle; or all archives or results folders of a known model.", metavar="FILE..."),
    ],
    accept_licence: AcceptLicence = "",
    folds: Folds = "",
    trust_on_first_use: FirstUse = False,
    install_as: InstallAs = "",
    overwrite: Overwrite = False,
    verbose: Verbose = False,
) -> None:
    """Install files that somebody brought: a bundle, or what a public model is published as. No network is touched."""
    start_log(verbose)
    from twintrack.models.add import add_files, model_of
    from twintrack.models.get import chosen_folds

    model = model_of(files)
    if model is not None:
        _accept(model, accept_licence, chosen_folds(model, _listed(folds)))
    with progress_bar() as progress:
        bundle = add_files(
            files,
            folds=_listed(folds),
            install_as=install_as,
            trust_on_first_use=trust_on_first_use,
            overwrite=overwrite,
            progress=progress,
        )
    _tell(bundle)


@model_app.command("where")
def model_where() -> None:
    """Print the folder of installed models (TWINTRACK_MODELS names another one)."""
    from twintrack.bundle.places import models_folder

    say(str(models_folder()))


@model_app.command("remove")
def model_remove(
    name: Annotated[str, typer.Argument(help="An installed model, or one whose download was begun.")],
) -> None:
    """Remove an installed model, and what was fetched of one that is not complete."""
    from twintrack.models.store import remove
    from twintrack.system.capacity import size_text

    say(f"{name}: removed, {size_text(remove(name))} are free again")


def _accept(model: KnownModel, licence: str, folds: tuple[str, ...]) -> None:
    """Show terms, size and space, and let the user accept them where that was not done before.

    Raises
    ------
    InputError
        If the user does not accept, or nobody is there to be asked.
    """
    from twintrack.bundle.places import models_folder
    from twintrack.models.licence import accept, accepted, check_accepted, terms
    from twintrack.models.store import room
    from twintrack.system.capacity import size_text

    free = room()
    sizes = [
        f"About {size_text(model.size(folds, packed=True))} are fetched, fold {', '.join(folds)} of each stage.",
        f"Up to {size_text(model.disk_bytes(folds))} of the disk are needed meanwhile; "
        + ("how much is free is not known" if free is None else f"{size_text(free)} are free")
        + f" in {models_folder()}.",
    ]
    for line in [*terms(model).split("\n"), "", *sizes, ""]:
        say(line, err=True)  # standard output is for the bundle's place
    if licence:
        accept(model, licence, by="option")
        return
    record = accepted(model)
    if record is not None:
        say(f"Licence {record['licence']} accepted on {record['accepted'][:10]}.", err=True)
        return
    if not sys.stdin.isatty():
        check_accepted(model)  # raises: nobody is there to be asked
    name = model.license["name"]
    say(f"The whole licence: twintrack model list {model.name} --licence", err=True)
    answer = typer.prompt(f"Type {name} to accept it, anything else to stop", default="", show_default=False, err=True)
    if answer.strip().casefold() != name.casefold():
        check_accepted(model)
    accept(model, answer, by="terminal")


def _listed(text: str) -> tuple[str, ...] | None:
    """Read a list of folds; None where none was given."""
    if not text:
        return None
    folds = tuple(part.strip() for part in text.split(",") if part.strip())
    if not folds:
        raise InputError(f"--folds {text}: give numbers such as 0,1,2", code="folds-malformed")
    return folds


def _tell(bundle: Path) -> None:
    """Say where the bundle is, what it is called, and what it is not."""
    say(str(bundle))
    words = f"installed: --bundle {bundle.parent.name}"
    if not (bundle / "calibrator.json").is_file():
        words += (
            ". Not calibrated: its numbers are scores, not fractions of readers (segment --no-calibration, or "
            "--calibrator FILE fitted on cases that several readers drew)"
        )
    say_error(words)
