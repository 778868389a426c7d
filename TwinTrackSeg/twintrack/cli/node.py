"""The sub-command of a DICOM node: an archive sends CTs, and gets results back."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from twintrack.cli.options import Verbose
from twintrack.errors import InputError
from twintrack.system.terminal import PrintableFormatter, say

__all__ = ["node"]

GB = 10**9


def node(
    folder: Annotated[Path, typer.Argument(help="The node's own folder: what comes and is not delivered yet.")],
    service: Annotated[str, typer.Option(metavar="URL", help="The service that segments: https://host:8786.")],
    senders: Annotated[
        list[str], typer.Option("--from", metavar="AET", help="AE title that may send; once for each. No default.")
    ],
    certificates: Annotated[
        Path | None, typer.Option(help="Folder by which service and node know each other, as for segment --run-on.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the node's token, in place of a certificate.")
    ] = None,
    pacs: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Archive for the results, by C-STORE. No default.")
    ] = None,
    pacs_aet: Annotated[str | None, typer.Option(help="Its AE title; needed with --pacs.")] = None,
    pacs_tls: Annotated[bool, typer.Option("--pacs-tls", help="Encrypt the connection to it.")] = False,
    pacs_ca: Annotated[Path | None, typer.Option(help="PEM file of the authority behind the archive.")] = None,
    pacs_cert: Annotated[Path | None, typer.Option(help="PEM file with own certificate and key.")] = None,
    stow: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Instead: by DICOMweb; credentials from TWINTRACK_STOW_* or netrc only."),
    ] = None,
    aet: Annotated[str, typer.Option(help="The node's own AE title.")] = "TWINTRACK-TEST",
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0 for all networks.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any that is free.")] = 11112,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM file: take encrypted connections only.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file with the key, if it is not in the other.")] = None,
    tls_ca: Annotated[Path | None, typer.Option(help="PEM file: senders must show a certificate of it.")] = None,
    quiet_s: Annotated[float, typer.Option(min=0.0, help="A series is complete after so long without a slice.")] = 60.0,
    broken_s: Annotated[float, typer.Option(min=0.0, help="What a broken association left is kept so long.")] = 600.0,
    reserve_gb: Annotated[float, typer.Option(min=0.0, help="Free disk space below which nothing is taken.")] = 2.0,
    threshold: Annotated[float, typer.Option(help="Fraction of readers at which the outline is drawn.")] = 0.5,
    contact_mm: Annotated[
        float | None, typer.Option(help="Distance that counts as contact (bundle's default).")
    ] = None,
    rules: Annotated[str, typer.Option(help="Rule set for the contact pattern.")] = "nccn",
    verbose: Verbose = False,
) -> None:
    """Take CTs by C-STORE, have the service segment them, send the results into the same study (research use only)."""
    from twintrack.dicom.send.dimse import DimseTarget
    from twintrack.execution.node.complete import Waits
    from twintrack.execution.node.node import running_node
    from twintrack.execution.node.scp import Listening
    from twintrack.execution.node.send import Archive
    from twintrack.execution.node.service import RemoteService
    from twintrack.execution.server.endpoint import Credentials, check_address
    from twintrack.settings import SegmentSettings

    target = None
    if pacs is not None:
        if pacs_aet is None:
            raise InputError("name the archive's AE title with --pacs-aet; there is no default", code="archive-missing")
        target = DimseTarget.parse(
            pacs, title=pacs_aet, own_title=aet, tls=pacs_tls, ca_file=pacs_ca if pacs_tls else None,
            certificate=pacs_cert,
        )  # fmt: skip
    archive = Archive(target, stow, pacs_ca if stow is not None else None)
    how = Listening(aet, tuple(senders), host, port, tls_cert, tls_key, tls_ca, int(reserve_gb * GB))
    address = check_address(service)
    remote = RemoteService(address, Credentials.of(address, certificates, token_file))
    settings = SegmentSettings(threshold=threshold, contact_mm=contact_mm, rules=rules, panel=False, dicom=True)
    _start_log(verbose)  # of the whole process, so not before it is sure to become a node
    os.umask(0o077)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with running_node(folder, how, remote, archive, settings=settings, waits=Waits(quiet_s, broken_s)) as listens_at:
        say(f"{aet} listens at {host}:{listens_at} to {', '.join(senders)}; results go to {archive.place}")
        with suppress(KeyboardInterrupt):
            stop.wait()
    say("stopped")


def _start_log(verbose: bool) -> None:
    """Log what happens to runs; libraries and warnings, which may quote what a file holds, say nothing."""
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(levelname)s %(message)s"))
    handler.addFilter(_spared())
    every, ours = logging.getLogger("twintrack"), logging.getLogger("twintrack.execution.node")
    every.addHandler(handler)
    every.setLevel(logging.INFO if verbose else logging.ERROR)
    ours.setLevel(logging.INFO)
    logging.lastResort = None
    warnings.simplefilter("ignore")
    threading.excepthook = lambda told: ours.error("unexpected in a thread: %s", told.exc_type.__name__)


def _spared() -> Callable[[logging.LogRecord], bool]:
    """Return what leaves out warnings of one kind when there are very many: senders could fill the disk by them."""
    from twintrack.execution.server.audit import Spared

    spared = Spared()

    def passes(record: logging.LogRecord) -> bool:
        left_out = 0 if record.levelno < logging.WARNING else spared.left_out(str(record.msg))
        if left_out:
            record.msg = f"{record.msg} ({left_out} more were left out)"
        return left_out is not None

    return passes
