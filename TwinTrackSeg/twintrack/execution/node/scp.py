"""The storage SCP: who may send what, and where it goes. Pixels are never looked at here.

pynetdicom reads as much as a stranger announces, and shakes hands over TLS in the thread that accepts connections; both
are put right here, because a hospital's network holds scanners for security as well as for patients.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twintrack.dicom.read.headers import CT_IMAGE_STORAGE, ENHANCED_CT_STORAGE, read_header
from twintrack.errors import InputError, OutputError, TwinTrackError
from twintrack.execution.node.complete import Arrivals

if TYPE_CHECKING:
    from pynetdicom.events import Event

__all__ = ["Intake", "Listening", "listening"]

logger = logging.getLogger(__name__)

CONNECTIONS = 64
"""At the same time, of everybody together."""

OF_ADDRESS = 16
"""Of them, from one address: nobody alone keeps the others out."""

ASSOCIATIONS = 25
"""Established at the same time."""

SILENCE_S, HANDSHAKE_S = 120.0, 30.0
"""How long a peer may say nothing: in an association, and before there is one."""

PDU_S = 60.0
"""How long a peer may take for one PDU, of 128 KiB: who sends it byte by byte would keep others out for days."""

PDU_BYTES = 128 << 10
"""Offered as the largest one."""

LARGEST_PDU = 1 << 20
"""A peer that announces more is cut off; nothing of our peers needs more than was offered."""

INSTANCE_BYTES, MEMORY_BYTES = 1 << 30, 3 << 29
"""A peer that sends more without an end is cut off: of one instance, and of all that are under way together."""

RECEIVED = "received"
"""Folder of files that no series has yet."""

SUCCESS, NO_ROOM, NOT_UNDERSTOOD = 0x0000, 0xA700, 0xC000
"""Statuses of C-STORE."""

TITLE_LIMIT = 16

MOST_TOLD = 100
"""Refused titles are told once each, up to so many."""

VERIFICATION = "1.2.840.10008.1.1"
"""C-ECHO, by which whoever sets an archive up tries the connection."""

SYNTAXES = (
    "1.2.840.10008.1.2.1",  # explicit VR little endian
    "1.2.840.10008.1.2",  # implicit VR little endian
    "1.2.840.10008.1.2.4.70",  # JPEG lossless, as most archives store CTs
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.80",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.5",  # RLE
)
"""Lossless ones that the engine reads. Deflate is not among them: a small file can inflate to any size."""


@dataclass(frozen=True)
class Listening:
    """Where the node listens, and to whom.

    Attributes
    ----------
    title : str
        Its own AE title; a peer that calls another is refused.
    callers : tuple of str
        AE titles that may send.
    host, port
        Where to listen.
    certificate, key : Path, optional
        PEM files: with them the connection is encrypted (DICOM TLS).
    callers_ca : Path, optional
        PEM file of the authority whose certificates senders must show.
    reserve_bytes : int
        Free space below which nothing is taken.
    """

    title: str
    callers: tuple[str, ...]
    host: str = "127.0.0.1"
    port: int = 11112
    certificate: Path | None = None
    key: Path | None = None
    callers_ca: Path | None = None
    reserve_bytes: int = 2 << 30

    def __post_init__(self) -> None:
        for title in (self.title, *self.callers):
            _check_title(title)
        if not self.callers:
            raise InputError("name who may send: --from AET, once for each; there is no default", code="sender-missing")
        if self.callers_ca is not None and self.certificate is None:
            raise InputError(
                "certificates of senders are asked for over TLS only; add --tls-cert", code="options-exclude"
            )

    def encryption(self) -> ssl.SSLContext | None:
        """Return how connections are encrypted, if they are.

        Raises
        ------
        InputError
            If a certificate cannot be used.
        """
        if self.certificate is None:
            return None
        try:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(self.certificate, self.key)
            if self.callers_ca is not None:
                context.load_verify_locations(self.callers_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as error:
            raise InputError(
                f"no usable PEM certificate ({error})", code="certificate-unusable", path=self.certificate
            ) from error
        return context


def _check_title(title: str) -> None:
    if not title.strip() or len(title) > TITLE_LIMIT or "\\" in title or not title.isascii() or not title.isprintable():
        raise InputError(f"an AE title has 1 to {TITLE_LIMIT} letters, got '{title}'", code="ae-title")


@contextmanager
def listening(how: Listening, folder: Path, arrivals: Arrivals) -> Iterator[Intake]:
    """Take instances while the block runs.

    Raises
    ------
    InputError
        If a certificate cannot be used, the port is taken, or pynetdicom is not installed.
    """
    try:
        from pynetdicom import AE, evt
    except ImportError as error:
        raise InputError(
            "the node needs the package pynetdicom; install it with: pip install pynetdicom dicomweb-client",
            code="package-missing",
        ) from error

    # It would tell UIDs, and what it could not decode.
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)
    entity = AE(ae_title=how.title)
    entity.require_called_aet, entity.require_calling_aet = True, list(how.callers)
    entity.maximum_associations, entity.maximum_pdu_size = ASSOCIATIONS, PDU_BYTES
    entity.network_timeout, entity.acse_timeout, entity.dimse_timeout = SILENCE_S, HANDSHAKE_S, SILENCE_S
    entity.add_supported_context(VERIFICATION)
    for kind in (CT_IMAGE_STORAGE, *ENHANCED_CT_STORAGE[:1]):
        entity.add_supported_context(kind, list(SYNTAXES))
    intake = Intake(how, folder, arrivals)
    handlers: list[Any] = [
        (evt.EVT_ACCEPTED, intake.opened),
        (evt.EVT_DATA_RECV, intake.counted),
        (evt.EVT_C_STORE, intake.stored),
        (evt.EVT_RELEASED, intake.released),
        (evt.EVT_ABORTED, intake.broken),
        (evt.EVT_REJECTED, intake.rejected),
    ]
    try:
        server = entity.make_server(
            (how.host, how.port),
            ssl_context=how.encryption(),
            evt_handlers=handlers,
            server_class=_server_class(),
            request_handler=_handler_class(),
        )
    except OSError as error:
        raise InputError(
            f"cannot listen there ({error.strerror}); choose another --port or --host",
            code="port-taken",
            path=f"{how.host}:{how.port}",
        ) from error
    entity._servers.append(server)
    intake.port = int(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, name="dicom", daemon=True)
    thread.start()
    try:
        yield intake
    finally:
        left = server.active_associations
        entity.shutdown()
        thread.join()
        for association in left:  # also those that never became one, which would be waited for at the end
            _close(association)


class Intake:
    """Answers the events of associations.

    Attributes
    ----------
    port : int
        Where it listens.
    """

    port = 0

    def __init__(self, how: Listening, folder: Path, arrivals: Arrivals) -> None:
        self._how, self._arrivals = how, arrivals
        self._received = folder / RECEIVED
        shutil.rmtree(self._received, ignore_errors=True)  # what was being written when the node stopped
        self._received.mkdir(mode=0o700)
        self._names: dict[Any, str] = {}
        self._counts: dict[Any, int] = {}
        self._refused: set[str] = set()

    def opened(self, event: Event) -> None:
        """Name an association that was accepted."""
        name = secrets.token_hex(8)
        self._names[event.assoc] = name
        self._counts[event.assoc] = 0
        self._arrivals.opened(name)

    def counted(self, event: Event) -> None:
        """Cut off who sends one instance without an end: it is kept in memory until it is whole."""
        if event.assoc in self._counts:
            self._counts[event.assoc] += len(event.data)
            if self._counts[event.assoc] > INSTANCE_BYTES:
                logger.warning("an instance of more than %d GiB was cut off", INSTANCE_BYTES >> 30)
                _close(event.assoc)
            elif sum(list(self._counts.values())) > MEMORY_BYTES:
                logger.warning("an instance was cut off: too much is under way at the same time")
                _close(event.assoc)

    def released(self, event: Event) -> None:
        """Note that its peer has sent all it wanted to."""
        self._end(event.assoc, broken=False)

    def broken(self, event: Event) -> None:
        """Note that it ended before."""
        self._end(event.assoc, broken=True)

    def look(self) -> None:
        """End the associations that ended without a word."""
        for association in [held for held in list(self._names) if not held.is_alive()]:
            self._end(association, broken=True)

    def _end(self, association: Any, *, broken: bool) -> None:
        self._counts.pop(association, None)
        name = self._names.pop(association, None)
        if name is not None:
            self._arrivals.ended(name, broken=broken)

    def rejected(self, event: Event) -> None:
        """Say who was refused, once each."""
        asked = event.assoc.requestor.primitive
        title = f"{event.assoc.requestor.ae_title} calling {asked.called_ae_title if asked is not None else ''}"
        if title not in self._refused and len(self._refused) < MOST_TOLD:
            self._refused.add(title)
            logger.warning("refused the association of %s", title)

    def stored(self, event: Event) -> int:
        """Write one instance as it came."""
        self._counts[event.assoc] = 0
        file = self._received / secrets.token_hex(16)
        try:
            data = event.encoded_dataset(include_meta=False)
            if shutil.disk_usage(self._received).free - len(data) < self._how.reserve_bytes:
                logger.warning("nothing is taken: the disk is full but for the reserve")
                return NO_ROOM
            _write(file, event, data)
            header = read_header(file)
            if header is None or not header.series_uid or not header.sop_instance_uid:
                logger.warning("an instance without a series or instance UID was refused")
                return NOT_UNDERSTOOD
            caller = event.assoc.requestor.ae_title.strip()
            name, study = self._names[event.assoc], header.text("StudyInstanceUID")
            self._arrivals.take(name, caller, study, header.series_uid, header.sop_instance_uid, file)
        except OSError as error:
            logger.warning("an instance could not be written (%s)", error.strerror)
            return NO_ROOM
        except TwinTrackError as error:
            logger.warning("an instance was refused (%s)", error.code)
            return NO_ROOM if isinstance(error, OutputError) else NOT_UNDERSTOOD
        except Exception as error:  # what else it holds would stand in the trace
            logger.error("an instance was refused (unexpected: %s)", type(error).__name__)
            return NOT_UNDERSTOOD
        finally:
            file.unlink(missing_ok=True)
        return SUCCESS


def _close(association: Any) -> None:
    if association.dul.socket is not None:
        association.dul.socket.close()


def _write(file: Path, event: Event, data: bytes) -> None:
    """Write the data set as it came, behind the meta information of a file; not joined, which would copy it."""
    from pynetdicom.dsutils import encode_file_meta

    with file.open("wb") as stream:
        stream.write(b"\0" * 128 + b"DICM" + encode_file_meta(event.file_meta))
        stream.write(data)


def _server_class() -> type:
    from pynetdicom.transport import ThreadedAssociationServer

    class Server(ThreadedAssociationServer):
        """One that no half-open connection stops."""

        def get_request(self) -> tuple[Any, Any]:
            """Accept a connection; the handshake is made when its own thread reads."""
            client, address = self.socket.accept()  # type: ignore[union-attr]
            client.settimeout(HANDSHAKE_S)
            if self.ssl_context:
                client = self.ssl_context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
            return client, address

        def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
            held = self.active_associations
            own = sum(association.requestor.address == client_address[0] for association in held)
            return len(held) < CONNECTIONS and own < OF_ADDRESS

        def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
            logger.info("a connection broke before it was an association")

    return Server


def _handler_class() -> type:
    from pynetdicom.transport import AssociationSocket, RequestHandler

    class Socket(AssociationSocket):
        """Reads what was announced in one go, and no more than makes sense."""

        def recv(self, nr_bytes: int) -> bytearray:
            if nr_bytes > LARGEST_PDU:
                raise OSError("the announced PDU is too large")
            data = bytearray(nr_bytes)
            view, have, end_s = memoryview(data), 0, time.monotonic() + PDU_S
            while have < nr_bytes:
                if time.monotonic() > end_s:  # each byte may have come in time
                    raise OSError("the PDU takes too long")
                count = self.socket.recv_into(view[have:])  # type: ignore[union-attr]
                if not count:
                    return data[:have]
                have += count
            return data

    class Handler(RequestHandler):
        """Gives an association that socket."""

        def _create_association(self) -> Any:
            association = super()._create_association()
            association.dul.socket.__class__ = Socket  # a second object would tell of a second connection
            return association

    return Handler
