"""Sub-commands ``server``: who may use a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twintrack.cli.options import JsonOption, Verbose, say_json, start_log
from twintrack.errors import InputError
from twintrack.system.terminal import say, say_error

__all__ = ["ClientsOption", "server_app"]

server_app = typer.Typer(
    name="server",
    help="Clients of a server: add and remove them one by one, also while it runs.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ClientsOption = Annotated[
    Path,
    typer.Option("--clients", help="The server's file of clients.", envvar="TWINTRACK_CLIENTS", show_default=False),
]
Name = Annotated[str, typer.Argument(help="Name of a computer or a role; it stands in the audit.")]


@server_app.command("add-client")
def add_client(
    name: Name,
    clients: ClientsOption,
    token: Annotated[bool, typer.Option("--token", help="Make a token, and print it once.")] = False,
    certificate: Annotated[
        Path | None, typer.Option(help="New folder for a certificate and its key.", metavar="FOLDER")
    ] = None,
    tls: Annotated[
        Path | None,
        typer.Option("--tls", help="The server's folder of certificates; its ca.pem goes into the client's folder."),
    ] = None,
    register: Annotated[
        Path | None, typer.Option(help="A certificate (PEM) that the client has, of an authority in ca.pem.")
    ] = None,
    machine: Annotated[
        bool, typer.Option("--machine", help="Its runs wait until those of people have begun; for a DICOM node.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Let a client in, by a token or by a certificate."""
    start_log(verbose)
    from twintrack.execution.server import access
    from twintrack.execution.server.certificates import make_client_certificate

    if sum((token, certificate is not None, register is not None)) != 1:
        raise InputError("give one of --token, --certificate FOLDER and --register FILE", code="options-exclude")
    if token:
        secret, digest = access.new_token()
        access.add_client(clients, access.Client(name, token_sha256=digest, is_machine=machine))
        say(secret)
        say_error(f"{name}: added; its token stands above and is shown once")
        return
    if register is not None:
        digest = access.fingerprint_of(_pem(register))
        access.add_client(clients, access.Client(name, certificate_sha256=digest, is_machine=machine))
    if certificate is not None:
        if tls is None:
            raise InputError("give the server's folder of certificates with --tls", code="certificate-missing")
        access.check_new(clients, name)
        pem = make_client_certificate(certificate, name, tls / "ca.pem")
        client = access.Client(name, access.fingerprint_of(pem), pem, is_machine=machine)
        access.add_client(clients, client)
        say(f"{certificate}: for the client's computer; who has it is this client")
    say(f"{name}: added")


def _pem(path: Path) -> str:
    """Return the first certificate of a file."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise InputError(
            "cannot be read as a certificate; give one in PEM", code="certificate-unusable", path=path
        ) from error
    if begin not in text or end not in text:
        raise InputError("holds no certificate; give one in PEM", code="certificate-unusable", path=path)
    return begin + text.split(begin)[1].split(end)[0] + end + "\n"


@server_app.command("remove-client")
def remove_client(name: Name, clients: ClientsOption, verbose: Verbose = False) -> None:
    """Keep a client out from now on; a server that runs drops its runs within a second."""
    start_log(verbose)
    from twintrack.execution.server import access

    access.remove_client(clients, name)
    say(f"{name}: removed")


@server_app.command("clients")
def list_clients(clients: ClientsOption, as_json: JsonOption = False, verbose: Verbose = False) -> None:
    """List the clients."""
    start_log(verbose)
    from twintrack.execution.server import access

    if not clients.is_file():
        raise InputError("no such file of clients; give the server's", code="file-missing", path=clients)
    found = access.read_clients(clients)
    if as_json:
        told = [
            {
                "name": client.name,
                "kind": "machine" if client.is_machine else "person",
                "added": client.added,
                "certificate_sha256": client.certificate_sha256,
            }
            for client in found
        ]
        say_json({"clients": told})
        return
    for client in found:
        way = "token" if client.token_sha256 else f"certificate {client.certificate_sha256}"
        say(f"{client.name}  {'machine' if client.is_machine else 'person'}  {client.added}  {way}")
    say(f"{clients}: {len(found)} client{'' if len(found) == 1 else 's'}")
