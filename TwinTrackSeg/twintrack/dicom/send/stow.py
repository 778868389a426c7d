"""Send objects to an archive by DICOMweb (STOW-RS)."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from twintrack.dicom.send.delivery import Delivery, missing_package
from twintrack.errors import InputError
from twintrack.progress.callbacks import CancelToken, Progress, no_progress

if TYPE_CHECKING:
    import requests
    from dicomweb_client.api import DICOMwebClient

__all__ = ["TOKEN_VARIABLE", "USER_VARIABLE", "check_url", "send_stow"]

logger = logging.getLogger(__name__)

USER_VARIABLE, PASSWORD_VARIABLE = "TWINTRACK_STOW_USER", "TWINTRACK_STOW_PASSWORD"
TOKEN_VARIABLE = "TWINTRACK_STOW_TOKEN"
"""Environment variables with credentials; without them the user's netrc file is asked."""

ANSWER_S = (10.0, 120.0)
"""How long an archive that does not answer is waited for: to the connection, and to each object."""


def check_url(url: str) -> str:
    """Return the service address `url` if it is one.

    Raises
    ------
    InputError
        If it is no http or https address, or holds a password, which would end up in logs and histories.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError("the DICOMweb address must look like https://host/dicom-web", code="address-malformed")
    if parts.username is not None or parts.password is not None:
        raise InputError(
            f"leave user and password out of the address; set {USER_VARIABLE} and {PASSWORD_VARIABLE}, "
            f"{TOKEN_VARIABLE}, or use a netrc file",
            code="credentials-in-address",
        )
    return url.rstrip("/")


def send_stow(
    files: Sequence[Path],
    url: str,
    *,
    ca_file: Path | None = None,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> list[Delivery]:
    """Send DICOM files to the DICOMweb service at `url`; return what became of each.

    Credentials come from the environment (`USER_VARIABLE`, `TOKEN_VARIABLE`) or the user's netrc file, and never reach
    a log.

    Raises
    ------
    InputError
        If the address is none or dicomweb-client is not installed.
    Cancelled
        If `cancel` was triggered.
    """
    import pydicom

    cancel = cancel or CancelToken()
    client = _client(check_url(url), ca_file)
    deliveries = []
    for number, path in enumerate(files):
        cancel.check()
        progress(number / len(files), "sending")
        deliveries.append(Delivery(path, _store(client, pydicom.dcmread(path))))
    arrived = sum(item.arrived for item in deliveries)
    logger.info("the DICOMweb service took %d of %d objects", arrived, len(files))
    return deliveries


def _client(url: str, ca_file: Path | None) -> DICOMwebClient:
    try:
        from dicomweb_client.api import DICOMwebClient
    except ImportError as error:
        raise missing_package("dicomweb-client") from error
    client = DICOMwebClient(url=url, session=_session(url, ca_file), timeout=ANSWER_S)
    client.set_http_retry_params(retry=False)
    return client


def _session(url: str, ca_file: Path | None) -> requests.Session:
    """Return an HTTP session with the credentials that the environment holds; requests itself reads netrc files."""
    import requests

    session = requests.Session()
    if ca_file is not None:
        session.verify = str(ca_file)
    user, token = os.environ.get(USER_VARIABLE), os.environ.get(TOKEN_VARIABLE)
    if (user or token) and urlsplit(url).scheme == "http" and not _is_local(url):
        raise InputError("credentials are sent over https only; give an https address", code="credentials-unencrypted")
    if token:
        session.auth = _Bearer(token)
    elif user:
        session.auth = (user, os.environ.get(PASSWORD_VARIABLE, ""))
    return session


class _Bearer:
    """Adds a token to each request; as `auth` it also keeps requests from asking netrc instead."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


def _store(client: DICOMwebClient, dataset: Any) -> str:
    """Send one object; return why it did not arrive, empty where it did."""
    import requests

    try:
        answer = client.store_instances([dataset])
    except requests.HTTPError as error:
        response = error.response
        return f"HTTP status {response.status_code if response is not None else 'unknown'}"
    except requests.ConnectionError:
        return "no connection; check the address"
    except (requests.RequestException, ValueError) as error:
        return f"no usable answer ({type(error).__name__})"
    stored = {str(item.ReferencedSOPInstanceUID) for item in answer.get("ReferencedSOPSequence") or []}
    return "" if str(dataset.SOPInstanceUID) in stored else "it did not confirm the object"
