"""Where a server is, by what it knows us, and what is wrong when it cannot be spoken to."""

from __future__ import annotations

import ipaddress
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from twintrack.errors import InputError
from twintrack.system.terminal import one_line, printable
from twintrack.system.tls import causes

__all__ = ["CERTIFICATE_FILES", "TOKEN_FILE", "Credentials", "check_address", "is_loopback", "trouble"]

CERTIFICATE_FILES = ("ca.pem", "cert.pem", "key.pem")
"""In a folder of certificates: the authority's certificate, one's own, and the key to it."""

TOKEN_FILE = "token.txt"
"""In such a folder, in place of one's own certificate: the token by which the server knows the client."""

OLD_SCHEMES = ("tls", "tcp")
"""Of servers before version 0.8, which spoke Dask's protocol."""

TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{16,512}")
"""Signs of a bearer token (RFC 6750, 2.1)."""

LARGEST_TOKEN_BYTES = 4096

SHOWN_LETTERS = 200
"""How much is shown of what another computer says."""


def check_address(address: str) -> str:
    """Return a server's address without what does not count; without TLS only this computer itself will do.

    Raises
    ------
    InputError
        If it is no address, or would send the CT without protection.
    """
    try:
        parts = urlsplit(address)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        scheme, host, port = "", None, None
    if scheme in OLD_SCHEMES and host:
        raise InputError(
            "is the address of a server of old; servers are now spoken to by https://, so write "
            f"https://{parts.netloc.rpartition('@')[2]}",
            code="address-old",
            path=address,
        )
    plain = not (parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc) if host else False
    if scheme not in ("https", "http") or not plain or not address.isascii() or not address.isprintable():
        raise InputError(
            "not the address of a server; write it like https://gpu.hospital.example:8786",
            code="address-malformed",
            path=printable(address),
        )
    if scheme == "http" and not is_loopback(str(host)):
        raise InputError(
            "would send the CT over the network without protection; use https://", code="host-unprotected", path=address
        )
    name = f"[{host}]" if ":" in str(host) else host
    return f"{scheme}://{name}" + ("" if port is None else f":{port}")


def is_loopback(host: str) -> bool:
    """Whether a host is this computer for sure: a name, whatever it means today, need not mean it tomorrow."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Credentials:
    """By what a server is recognised, and by what it knows the client.

    Attributes
    ----------
    authority : path or None
        Certificate of the authority that signed the server's; None for the authorities of this computer.
    pair : tuple of path, or None
        The client's certificate and the key to it.
    token : str or None
        The client's token.
    """

    authority: Path | None = None
    pair: tuple[Path, Path] | None = None
    token: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, address: str, folder: str | Path | None, token_file: str | Path | None = None) -> Credentials:
        """Read what is given for an address that `check_address` has returned.

        Parameters
        ----------
        address : str
            The server's.
        folder : path, optional
            With ``ca.pem``, and ``cert.pem`` with ``key.pem``, or ``token.txt``, or a `token_file` beside it.
        token_file : path, optional
            Holds the token alone.

        Raises
        ------
        InputError
            If something is missing, cannot be used, or is not needed.
        """
        token = None if token_file is None else _read_token(Path(token_file).expanduser())
        if address.startswith("http:"):
            if folder is not None:
                raise InputError(
                    "certificates are used with https:// only; change the address, or leave them out",
                    code="certificate-unneeded",
                    path=address,
                )
            return cls(token=token)
        if folder is None and token is None:
            raise InputError(
                "needs a folder with certificates, or a token; give what the server's owner made",
                code="certificate-missing",
                path=address,
            )
        found = cls(token=token) if folder is None else _of_folder(Path(folder).expanduser(), token)
        found.context(str(folder or token_file))
        return found

    def context(self, named: str = "") -> ssl.SSLContext:
        """Return what a TLS connection is made with: version 1.3, the server's name checked.

        Raises
        ------
        InputError
            If `named` holds what cannot be used.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            if self.authority is None:
                context.load_default_certs()
            else:
                context.load_verify_locations(self.authority)
            if self.pair is not None:
                context.load_cert_chain(*self.pair, password="")  # never asks on a terminal
        except (OSError, ValueError) as error:  # SSLError is an OSError
            raise InputError(
                f"certificates or key cannot be used ({_reason(error)}); make new ones",
                code="certificate-unusable",
                path=named,
            ) from error
        return context


def _of_folder(folder: Path, token: str | None) -> Credentials:
    authority, *pair = (folder / name for name in CERTIFICATE_FILES)
    if token is None and (folder / TOKEN_FILE).is_file():
        token = _read_token(folder / TOKEN_FILE)
    needed = [authority] if token is not None else [authority, *pair]
    missing = [path.name for path in needed if not path.is_file()]
    if missing:
        hint = "; give the folder client in it" if (folder / "client").is_dir() else ""
        raise InputError(
            f"holds no {' and no '.join(missing)}{hint}; twintrack server add-client makes them",
            code="certificate-missing",
            path=folder,
        )
    own = all(path.is_file() for path in pair)
    return Credentials(authority.absolute(), (pair[0].absolute(), pair[1].absolute()) if own else None, token)


def _read_token(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            text = stream.read(LARGEST_TOKEN_BYTES).decode("ascii").strip()
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror}); give the file with the token", code="file-unreadable", path=path
        ) from error
    except ValueError:
        text = ""
    if not TOKEN.fullmatch(text):
        raise InputError(
            "holds no token; it must be the one line that the server's owner was shown",
            code="token-malformed",
            path=path,
        )
    return text


def trouble(address: str, error: BaseException) -> InputError:
    """Say in one sentence why a server cannot be spoken to.

    Parameters
    ----------
    address : str
        The server's.
    error : exception
        What the attempt raised; what is behind it is looked for.
    """
    behind = list(causes(error))
    tls = next((cause for cause in behind if isinstance(cause, ssl.SSLError)), None)
    if tls is not None and not isinstance(tls, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return InputError(_tls_problem(tls), code="tls-failed", path=address)
    system = next((cause for cause in behind if isinstance(cause, OSError) and cause.strerror), None)
    reached = any(isinstance(cause, ConnectionResetError | BrokenPipeError | ssl.SSLError) for cause in behind)
    if reached or any(type(cause).__name__ in ("BadStatusLine", "RemoteDisconnected") for cause in behind):
        other = "or does it not accept your certificate"  # of TLS 1.3 the refusal itself often gets lost
        if not address.startswith("https:"):
            other = "or is it to be spoken to with https:// and a certificate or a token"
        return InputError(
            f"what answers there hangs up, or does not speak like a server; is it the right port, {other}?",
            code="not-a-server",
            path=address,
        )
    reason = "no answer" if system is None or isinstance(system, TimeoutError) else _reason(system)
    return InputError(
        f"no server can be reached there ({reason}); check the address, the network, and that `twintrack serve` runs",
        code="server-unreachable",
        path=address,
    )


def _tls_problem(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        if "ostname mismatch" in error.verify_message or "IP address mismatch" in error.verify_message:
            return (
                "the server's certificate is for another computer's name; write the address as its certificate "
                f"does ({one_line(printable(error.verify_message))[:SHOWN_LETTERS]})"
            )
        return (
            f"the server's certificate is not one of your authority's ({error.verify_message}); use the folder that "
            "the server's owner made for you"
        )
    reason = _reason(error)
    if any(words in reason for words in ("wrong version number", "record layer", "http request")):
        return "does not speak TLS; check the address, and that the server was started with --tls"
    if "protocol version" in reason or "unsupported protocol" in reason:
        return "does not speak TLS 1.3; check what stands between here and the server"
    return (
        f"the server does not accept your certificate ({reason}); use the folder that the server's owner made for you"
    )


def _reason(error: Exception) -> str:
    """Say what is wrong in a few words."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return str(error.reason).replace("_", " ").lower()
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return one_line(printable(str(text)))[:SHOWN_LETTERS]
