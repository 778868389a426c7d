"""Keys and certificates made by the program ``openssl``: Python's own library reads them, and makes none."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from twintrack.errors import InputError
from twintrack.system.private_folder import PrivateFolder

__all__ = ["NEW_KEY", "SelfSigned", "has_openssl", "new_serial", "run_openssl", "self_signed"]

NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-sha256")
"""Arguments of ``openssl req`` for a new key on the curve P-256."""

DAYS = 365
"""How long a self-signed certificate is valid; no run takes longer."""

CONFIGURATION = """
[req]
distinguished_name = none
prompt = no
[none]
[own]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,digitalSignature
extendedKeyUsage = serverAuth,clientAuth
subjectKeyIdentifier = hash
"""


class SelfSigned(NamedTuple):
    """A certificate that is its own authority, and its key, as PEM texts."""

    certificate: str
    key: str


def self_signed(name: str) -> SelfSigned:
    """Make a key that is in no file when this returns.

    Raises
    ------
    InputError
        If there is no ``openssl``, or it is too old.
    OSError
        If there is no place for temporary files.
    """
    with PrivateFolder() as work:
        (work / "openssl.cnf").write_text(CONFIGURATION, encoding="ascii")
        run_openssl(work, "req", "-config", "openssl.cnf", *NEW_KEY, "-x509", "-days", str(DAYS), "-set_serial",
                    new_serial(), "-extensions", "own", "-subj", f"/CN={name}", "-keyout", "key.pem",
                    "-out", "cert.pem")  # fmt: skip
        return SelfSigned(*((work / file).read_text(encoding="ascii") for file in ("cert.pem", "key.pem")))


def has_openssl() -> bool:
    """Whether the program is installed."""
    return shutil.which("openssl") is not None


def new_serial() -> str:
    """Return a random serial number as ``openssl`` takes it."""
    return f"0x{secrets.token_hex(16)}"


def run_openssl(work: Path, *arguments: str) -> None:
    """Let ``openssl`` do something in a folder, which has to be private.

    Raises
    ------
    InputError
        If it cannot.
    """
    done = subprocess.run(["openssl", *arguments], cwd=work, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = " ".join(done.stderr.split())[-300:]
        raise InputError(
            f"openssl cannot make the certificates ({reason}); use OpenSSL 1.1.1 or newer", code="openssl-failed"
        )
