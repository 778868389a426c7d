"""Send objects to an archive by C-STORE, with or without TLS."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twintrack.dicom.send.delivery import Delivery, missing_package
from twintrack.errors import InputError
from twintrack.progress.callbacks import CancelToken, Progress, no_progress

if TYPE_CHECKING:
    from pynetdicom.association import Association

__all__ = ["DimseTarget", "send_dimse"]

logger = logging.getLogger(__name__)

TITLE_LIMIT = 16
"""Longest application entity title."""

CONNECT_S, ANSWER_S = 10.0, 60.0
"""How long an archive that does not answer is waited for: to the connection, and to each object."""

WARNING_STATUS = 0xB000
"""An archive that answers so, or with another status of this range, has stored the object."""


@dataclass(frozen=True)
class DimseTarget:
    """An archive that takes C-STORE.

    Attributes
    ----------
    host, port
        Where it listens.
    title : str
        Its application entity title (AET).
    own_title : str
        The title to call from.
    tls : bool
        Whether the connection is encrypted; the archive's certificate is checked.
    ca_file : Path, optional
        PEM file of the authority that signed the archive's certificate, if the system does not know it.
    certificate : Path, optional
        PEM file with the own certificate and key, if the archive asks for one.
    """

    host: str
    port: int
    title: str = "ANY-SCP"
    own_title: str = "TWINTRACK"
    tls: bool = False
    ca_file: Path | None = None
    certificate: Path | None = None

    def __post_init__(self) -> None:
        for title in (self.title, self.own_title):
            if not title.strip() or len(title) > TITLE_LIMIT or "\\" in title or not title.isascii():
                raise InputError(f"an AE title has 1 to {TITLE_LIMIT} letters, got '{title}'", code="ae-title")
        if not self.tls and (self.ca_file or self.certificate):
            raise InputError("certificates are for encrypted connections only; add --tls", code="options-exclude")

    @classmethod
    def parse(cls, address: str, **options: Any) -> DimseTarget:
        """Read ``HOST:PORT``.

        Raises
        ------
        InputError
            If the address is not of this form.
        """
        host, colon, port = address.rpartition(":")
        if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise InputError(f"expected HOST:PORT of the archive, got '{address}'", code="address-malformed")
        return cls(host.strip("[]"), int(port), **options)

    @property
    def place(self) -> str:
        """What to call it in messages."""
        return f"{self.title}@{self.host}:{self.port}"


def send_dimse(
    files: Sequence[Path],
    target: DimseTarget,
    *,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> list[Delivery]:
    """Send DICOM files as they are; return what became of each.

    Raises
    ------
    InputError
        If pynetdicom is not installed or a certificate cannot be read.
    Cancelled
        If `cancel` was triggered.
    """
    import pydicom

    cancel = cancel or CancelToken()
    association = _connect(files, target)
    if not association.is_established:
        reason = "it rejected the connection" if association.is_rejected else "no connection"
        return [Delivery(path, f"{reason}; check host, port and AE titles") for path in files]
    deliveries = []
    try:
        for number, path in enumerate(files):
            cancel.check()
            progress(number / len(files), "sending")
            deliveries.append(Delivery(path, _store(association, pydicom.dcmread(path))))
    finally:
        if association.is_established:
            association.release()
    logger.info("%s took %d of %d objects", target.place, sum(item.arrived for item in deliveries), len(files))
    return deliveries


def _connect(files: Sequence[Path], target: DimseTarget) -> Association:
    """Offer each kind of object in the encoding that its files have."""
    import pydicom

    try:
        from pynetdicom import AE
    except ImportError as error:
        raise missing_package("pynetdicom") from error

    entity = AE(ae_title=target.own_title)
    entity.acse_timeout = entity.connection_timeout = CONNECT_S
    entity.dimse_timeout = entity.network_timeout = ANSWER_S
    offered = set()
    for path in files:
        meta = pydicom.filereader.read_file_meta_info(path)
        offered.add((str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)))
    for kind, syntax in sorted(offered):
        entity.add_requested_context(kind, syntax)
    tls = (_tls(target), target.host) if target.tls else None
    return entity.associate(target.host, target.port, ae_title=target.title, tls_args=tls)


def _tls(target: DimseTarget) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=None if target.ca_file is None else str(target.ca_file))
        if target.certificate is not None:
            context.load_cert_chain(str(target.certificate))
    except (OSError, ssl.SSLError) as error:
        raise InputError(
            f"no usable PEM certificate ({error})",
            code="certificate-unusable",
            path=target.certificate or target.ca_file,
        ) from error
    return context


def _store(association: Association, dataset: Any) -> str:
    """Send one object; return why it did not arrive, empty where it did."""
    try:
        status = association.send_c_store(dataset)
    except (ValueError, RuntimeError) as error:
        logger.debug("not sent: %s", error)
        return "it does not take this kind of object" if association.is_established else "the connection was lost"
    if "Status" not in status:
        return "no answer, the connection was lost"
    code = int(status.Status)
    return "" if code == 0 or code & 0xF000 == WARNING_STATUS else f"status {code:#06x}"
