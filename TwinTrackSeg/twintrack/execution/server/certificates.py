"""Certificates for one server and its clients, made by the program ``openssl``, which every server has.

The authority of a server signs twice and is then forgotten: its key is never kept, so that nobody can make a third
certificate. Further clients have certificates that are their own authorities.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from twintrack.errors import InputError, OutputError
from twintrack.system.openssl import NEW_KEY, has_openssl, new_serial, run_openssl
from twintrack.system.private_folder import PrivateFolder

__all__ = ["DAYS", "make_certificates", "make_client_certificate"]

DAYS = 730
"""How long certificates are valid."""

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]{0,250}[A-Za-z0-9])?")

# A client's certificate may not be used as a server's: a client cannot pose as the server to another one.
USES = {"server": "serverAuth,clientAuth", "client": "clientAuth"}

CONFIGURATION = """
[req]
distinguished_name = none
prompt = no
[none]
[authority]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[{role}]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = {use}
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {alternative}
"""

OWN_CONFIGURATION = """
[req]
distinguished_name = none
prompt = no
[none]
[own]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
"""


def make_certificates(folder: str | Path, name: str) -> Path:
    """Make the folders ``server`` and ``client`` in a new folder, for `serve` and for clients; return it.

    Parameters
    ----------
    folder : path
        New, or empty.
    name : str
        Of the server's computer, for people who look at the certificate.

    Raises
    ------
    InputError
        If the folder holds something, the name is none, or there is no ``openssl``.
    OutputError
        If the folder cannot be written.
    """
    folder = Path(folder).expanduser()
    if not NAME.fullmatch(name):
        raise InputError("not the name of a computer; give one like gpu.hospital.example", code="host-name", where=name)
    _check_new_folder(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with PrivateFolder(parent=folder.parent) as work:
            made = work / "made"  # the folder around it is private, and takes the authority's key with it
            made.mkdir(mode=0o700)
            _make_authority(work)
            for role in USES:
                _make_role(work, made / role, role, name)
            made.replace(folder)
    except OSError as error:
        raise _not_writable(folder, error) from error
    return folder


def make_client_certificate(folder: str | Path, name: str, authority: Path) -> str:
    """Make a client's certificate, its key, and a copy of the server's authority in a new folder; return the first.

    The certificate is its own authority: nobody's key is needed to make one, and a server trusts exactly those that its
    file of clients holds.

    Parameters
    ----------
    folder : path
        New, or empty.
    name : str
        The client's.
    authority : path
        The server's ``ca.pem``, by which the client knows the server.

    Raises
    ------
    InputError
        If the folder holds something, the authority is not there, or there is no ``openssl``.
    OutputError
        If the folder cannot be written.
    """
    folder = Path(folder).expanduser()
    if not authority.is_file():
        raise InputError("no such file; give the server's folder with --tls", code="file-missing", path=authority)
    _check_new_folder(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with PrivateFolder(parent=folder.parent) as work:
            made = work / "made"
            made.mkdir(mode=0o700)
            (work / "openssl.cnf").write_text(OWN_CONFIGURATION, encoding="ascii")
            run_openssl(work, "req", "-config", "openssl.cnf", *NEW_KEY, "-x509", "-days", str(DAYS), "-set_serial",
                        new_serial(), "-extensions", "own", "-subj", f"/CN={name}", "-keyout", "made/key.pem",
                        "-out", "made/cert.pem")  # fmt: skip
            shutil.copyfile(authority, made / "ca.pem")
            for path in made.iterdir():
                path.chmod(0o600)
            made.replace(folder)
    except OSError as error:
        raise _not_writable(folder, error) from error
    return (folder / "cert.pem").read_text(encoding="ascii")


def _check_new_folder(folder: Path) -> None:
    if not has_openssl():
        raise InputError(
            "the program openssl is missing, which makes the certificates; install it", code="openssl-missing"
        )
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(
                "already exists; choose a new folder, so that no certificate is lost",
                code="folder-exists",
                path=folder,
            )
    except OSError as error:
        raise _not_writable(folder, error) from error


def _not_writable(folder: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot be written ({error.strerror}); choose another folder", code="not-writable", path=folder)


def _make_authority(work: Path) -> None:
    request = _configuration(work, "server", "DNS:none")
    run_openssl(work, *request, "-x509", "-days", str(DAYS), "-set_serial", new_serial(), "-extensions", "authority",
                "-subj", "/CN=TwinTrackSeg authority", "-keyout", "authority.key", "-out", "ca.pem")  # fmt: skip


def _make_role(work: Path, folder: Path, role: str, name: str) -> None:
    """Make a key and a signed certificate."""
    folder.mkdir(mode=0o700)
    alternative = "IP" if ":" in name or re.fullmatch(r"[0-9.]+", name) else "DNS"
    request = _configuration(work, role, f"{alternative}:{name}")
    run_openssl(work, *request, "-subj", f"/CN=TwinTrackSeg {role}", "-keyout", f"{role}.key", "-out", "request.pem")
    run_openssl(work, "x509", "-req", "-sha256", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "authority.key",
                "-set_serial", new_serial(), "-days", str(DAYS), "-extfile", "openssl.cnf", "-extensions", role,
                "-out", f"{role}.pem")  # fmt: skip
    for source, target in (("ca.pem", "ca.pem"), (f"{role}.pem", "cert.pem"), (f"{role}.key", "key.pem")):
        shutil.copyfile(work / source, folder / target)
        (folder / target).chmod(0o600)


def _configuration(work: Path, role: str, alternative: str) -> list[str]:
    """Write openssl's configuration; return the start of a command that makes a key and a request."""
    text = CONFIGURATION.format(role=role, use=USES[role], alternative=alternative)
    (work / "openssl.cnf").write_text(text, encoding="ascii")
    return ["req", "-config", "openssl.cnf", *NEW_KEY]
