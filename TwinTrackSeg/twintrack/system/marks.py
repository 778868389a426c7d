"""A mark inside a file that stands alone: it proves that the program wrote the file and nobody changed it since.

The mark is the word ``twintrack:`` with the SHA-256 of the file without the mark, where each format has room for a
remark: a JSON field, the comment of a gzip or ZIP file, a header field of NIfTI, NRRD and MetaImage, a text chunk of
PNG, the last line of text, HTML, SVG and PDF. Other formats carry none; such a file is replaced only when the user says
so.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

__all__ = ["is_marked", "place_mark"]

WORD = b"twintrack:"
BLANK = WORD + b"0" * 64
_MARK = re.compile(re.escape(WORD) + rb"[0-9a-f]{64}")

PNG_TEXT = b"tEXtComment\0"
"""What stands before the mark in a PNG; the four bytes after it are the checksum of the chunk, which do not count."""

NEAR_BYTES = 1 << 16
"""The mark lies this near to the beginning or the end of a file."""

BLOCK_BYTES = 1 << 20


def place_mark(path: Path) -> bool:
    """Mark a file that the program has just written; return whether its format has room for a mark.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    name = path.name.lower() if path.is_file() else ""
    place = next((place for ending, place in _PLACES.items() if name.endswith(ending)), None)
    if place is None or (_find(path) is None and not place(path)):
        return False
    offset = _find(path)
    if offset is None:
        return False
    digest = _digest(path, offset)
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(WORD + digest.encode("ascii"))
    if name.endswith(".png"):
        _write_png_checksum(path, offset)
    return True


def is_marked(path: Path) -> bool:
    """Whether a file carries the program's mark and is as the program wrote it; a link never is."""
    try:
        if path.is_symlink() or not path.is_file():
            return False
        offset = _find(path)
        if offset is None:
            return False
        with path.open("rb") as stream:
            stream.seek(offset + len(WORD))
            stated = stream.read(64).decode("ascii")
        return stated == _digest(path, offset)
    except (OSError, ValueError):
        return False


def _find(path: Path) -> int | None:
    """Return where the mark begins."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        for start in dict.fromkeys((0, max(0, size - NEAR_BYTES))):
            stream.seek(start)
            found = _MARK.search(stream.read(NEAR_BYTES))
            if found is not None:
                return start + found.start()
    return None


def _digest(path: Path, offset: int) -> str:
    """Return the hash of a file without the mark at `offset`."""
    digest, last = hashlib.sha256(), b""
    with path.open("rb") as stream:
        left = offset
        while left and (block := stream.read(min(left, BLOCK_BYTES))):
            digest.update(block)
            left, last = left - len(block), (last + block)[-len(PNG_TEXT) :]
        stream.seek(offset + len(BLANK) + (4 if last == PNG_TEXT else 0))
        while block := stream.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _rewrite(path: Path, change: Callable[[bytes], bytes | None]) -> bool:
    """Write what `change` makes of a file's beginning, and the rest of the file as it is."""
    with path.open("rb") as stream:
        head = stream.read(NEAR_BYTES // 2)
        changed = change(head)
        if changed is None:
            return False
        rest = path.with_name(".twintrack-marked")  # short: that of the file may be as long as a name can be
        with rest.open("wb") as target:
            target.write(changed)
            while block := stream.read(BLOCK_BYTES):
                target.write(block)
    rest.replace(path)
    return True


def _in_json(path: Path) -> bool:
    """Add a field ``written_by`` at the end of a JSON object."""
    text = path.read_bytes().rstrip()
    if not text.endswith(b"}") or text.count(b'"') == 0:
        return False
    body = text[:-1].rstrip()
    newline = b"\n" if b"\n" in text else b" "
    indent = re.search(rb"\n( +)\"", body)
    path.write_bytes(
        body
        + b","
        + newline
        + (indent.group(1) if indent else b"")
        + b'"written_by": "'
        + BLANK
        + b'"'
        + newline
        + b"}\n"
    )
    return True


def _in_gzip(path: Path) -> bool:
    """Set the comment of a gzip file (RFC 1952, flag FCOMMENT), which readers pass over."""

    def change(head: bytes) -> bytes | None:
        if head[:3] != b"\x1f\x8b\x08" or head[3] != 0:
            return None
        return head[:3] + b"\x10" + head[4:10] + BLANK + b"\0" + head[10:]

    return _rewrite(path, change)


def _in_nifti(path: Path) -> bool:
    """Set the field ``descrip`` of a NIfTI-1 header: 80 bytes at 148."""

    def change(head: bytes) -> bytes | None:
        if len(head) < 348 or struct.unpack("<i", head[:4]) != (348,):
            return None
        return head[:148] + BLANK.ljust(80, b"\0") + head[228:]

    return _rewrite(path, change)


def _in_nrrd(path: Path) -> bool:
    """Add a comment line after the magic line of an NRRD file."""

    def change(head: bytes) -> bytes | None:
        magic, newline, rest = head.partition(b"\n")
        return None if not magic.startswith(b"NRRD") else magic + newline + b"# " + BLANK + b"\n" + rest

    return _rewrite(path, change)


def _in_metaimage(path: Path) -> bool:
    """Add a field ``Comment`` at the beginning of a MetaImage header."""

    def change(head: bytes) -> bytes | None:
        first, newline, rest = head.partition(b"\n")
        return None if b"=" not in first else first + newline + b"Comment = " + BLANK + b"\n" + rest

    return _rewrite(path, change)


def _in_zip(path: Path) -> bool:
    """Set the comment of a ZIP file (an ``.npz`` is one)."""
    import zipfile

    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = BLANK
    return True


def _in_png(path: Path) -> bool:
    """Add a text chunk after the header chunk of a PNG file (its signature and IHDR take 33 bytes)."""

    def change(head: bytes) -> bytes | None:
        if head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR":
            return None
        text = PNG_TEXT + BLANK
        return head[:33] + struct.pack(">I", len(text) - 4) + text + bytes(4) + head[33:]

    return _rewrite(path, change)


def _write_png_checksum(path: Path, offset: int) -> None:
    with path.open("r+b") as stream:
        stream.seek(offset - len(PNG_TEXT))
        checksum = zlib.crc32(stream.read(len(PNG_TEXT) + len(BLANK)))
        stream.write(struct.pack(">I", checksum))


def _as_last_line(before: bytes, after: bytes) -> Callable[[Path], bool]:
    def place(path: Path) -> bool:
        with path.open("ab") as stream:
            stream.write(before + BLANK + after)
        return True

    return place


_PLACES: dict[str, Callable[[Path], bool]] = {
    ".json": _in_json,
    ".gz": _in_gzip,
    ".nii": _in_nifti,
    ".nrrd": _in_nrrd,
    ".mha": _in_metaimage,
    ".npz": _in_zip,
    ".zip": _in_zip,
    ".png": _in_png,
    ".txt": _as_last_line(b"# ", b"\n"),
    ".html": _as_last_line(b"<!-- ", b" -->\n"),
    ".svg": _as_last_line(b"<!-- ", b" -->\n"),
    ".pdf": _as_last_line(b"% ", b"\n"),
}
