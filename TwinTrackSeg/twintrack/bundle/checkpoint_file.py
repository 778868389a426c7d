"""What a checkpoint file promises, read before torch reads it: its tensors lie within it, and it asks for no more.

A checkpoint is a zip file of a pickle, which describes tensors, and one stored record for the numbers of each. torch
refuses code in the pickle, but believes the sizes in it: a record that is packed can grow a thousandfold, a storage can
be said to be larger than its record, and a tensor of a billion numbers can be a view of one.
"""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NoReturn

from twintrack.errors import BundleError
from twintrack.system.zip_directory import open_zip

__all__ = ["check_checkpoint"]

MAX_CHECKPOINT_BYTES = 16 * 1024**3
"""Largest checkpoint; with its optimizer's state, that of the largest network that nnU-Net plans has 2 GB."""

MAX_RECORDS = 50_000
"""Most records; nnU-Net's largest networks have some thousand with their optimizer."""

MAX_PICKLE_BYTES = 64 * 1024**2
"""Largest description; those of training, with their log, have about one megabyte."""

MAX_EDGE = 2**40

_ITEM_BYTES = {
    **dict.fromkeys(("DoubleStorage", "LongStorage", "ComplexFloatStorage"), 8),
    **dict.fromkeys(("FloatStorage", "IntStorage"), 4),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    **dict.fromkeys(("ByteStorage", "CharStorage", "BoolStorage", "UntypedStorage"), 1),
}

_DATA = re.compile(r"(float|int|uint|bfloat|complex)\d+|bool|half|double|long|short|float|int")
"""Names of torch's number types."""

_NUMPY = re.compile(
    r"numpy\.(dtype|ndarray)|numpy\.(core|_core)\.multiarray\.(scalar|_reconstruct)|_codecs\.encode|numpy\.dtypes\.\w+"
)
_PLAIN = {
    *("collections.OrderedDict", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"),
    *("torch.Size", "torch.device", "torch.nn.parameter.Parameter", "builtins.set", "__builtin__.set"),
}


@dataclass(frozen=True)
class _Name:
    """A name that the pickle asks for; called, it gives its arguments back and does nothing."""

    name: str

    def __call__(self, *arguments: Any) -> _Made:
        if self.name == "torch._utils._rebuild_tensor_v2":
            _check_view(*arguments[:4])
        if self.name.endswith("_reconstruct") and tuple(arguments[1:2]) != ((0,),):
            raise _Refused("it describes an array of impossible size")
        if self.name == "numpy.ndarray":
            raise _NotAllowed(self.name)
        return _Made(self.name)


class _Made(dict[Any, Any]):
    """What a name would have made: it takes entries and attributes, and means nothing."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.made_by = name

    def __setstate__(self, state: object) -> None:
        """Forget the state."""

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)


@dataclass(frozen=True)
class _Storage:
    numbers: int


class _Refused(Exception):
    """Says in a few words why."""


class _NotAllowed(Exception):
    """Holds the name that was asked for."""


def check_checkpoint(path: Path, *, foreign: bool) -> None:
    """Refuse a checkpoint that torch could not read safely, without making any of its tensors.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    foreign : bool
        See `twintrack.bundle.checkpoints.read_checkpoint`.

    Raises
    ------
    BundleError
        If it is no zip file of a pickle and stored records, asks for a name that is not on the list, or promises
        tensors that are larger than it.
    """
    try:
        size = path.stat().st_size
        if size > MAX_CHECKPOINT_BYTES:
            raise _Refused(f"it has {size:,} bytes, more than the {MAX_CHECKPOINT_BYTES:,} that are allowed")
        with open_zip(path, max_files=MAX_RECORDS) as archive:
            _check_records(archive, foreign)
    except _NotAllowed as error:
        raise BundleError(
            f"refused, because it would load {str(error)!r}, which is not weights; get a plain nnU-Net checkpoint",
            code="checkpoint-refused",
            path=path,
        ) from error
    except (_Refused, zipfile.BadZipFile) as error:
        raise BundleError(
            f"not a checkpoint of network weights, or damaged ({error})", code="checkpoint-damaged", path=path
        ) from error
    except (OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise BundleError(
            "not a checkpoint of network weights, or damaged", code="checkpoint-damaged", path=path
        ) from error


def _check_records(archive: zipfile.ZipFile, foreign: bool) -> None:
    records = {entry.filename: entry for entry in archive.infolist()}
    pickles = [name for name in records if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise _Refused("it holds no description of tensors")
    for name, entry in records.items():
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise _Refused(f"its record {name!r} is packed; torch stores records as they are")
    (name,) = pickles
    if records[name].file_size > MAX_PICKLE_BYTES:
        raise _Refused(f"its description has more than {MAX_PICKLE_BYTES:,} bytes")
    folder = name.removesuffix("data.pkl")
    sizes = {key.removeprefix(f"{folder}data/"): entry.file_size for key, entry in records.items()}
    description = archive.read(name)
    try:
        _DryRun(description, sizes, foreign).load()
    except (_Refused, _NotAllowed):
        raise
    except Exception as error:  # a pickle can go wrong in every way that Python can
        raise _Refused("its description cannot be read") from error


# The pickle module's own version in Python keeps what it remembers in a dict; the one in C makes a list as long as the
# largest number that a pickle names.
class _DryRun(pickle._Unpickler):
    """Reads a description with stand-ins for everything that is not plain data."""

    def __init__(self, description: bytes, sizes: dict[str, int], foreign: bool) -> None:
        super().__init__(io.BytesIO(description))
        self._sizes = sizes
        self._foreign = foreign

    def find_class(self, module: str, name: str) -> _Name:
        """Return a stand-in for an allowed name."""
        full = f"{module}.{name}"
        storage = module in ("torch", "torch.storage") and name in _ITEM_BYTES
        number = module == "torch" and _DATA.fullmatch(name)
        if full in _PLAIN or storage or number or (self._foreign and _NUMPY.fullmatch(full)):
            return _Name(full)
        raise _NotAllowed(full)

    def get_extension(self, code: int) -> NoReturn:
        """Refuse names that stand for numbers."""
        raise _NotAllowed(f"extension {code}")

    def persistent_load(self, identity: Any) -> _Storage:
        """Return the stand-in of a storage, which must not be larger than its record."""
        kind, storage, key, _, numbers = identity
        if kind != "storage" or not isinstance(storage, _Name) or not isinstance(key, str):
            raise _Refused("it describes a storage of an unknown kind")
        item = _ITEM_BYTES.get(storage.name.rpartition(".")[2])
        if item is None or not isinstance(numbers, int) or not 0 <= numbers <= MAX_EDGE:
            raise _Refused("it describes a storage of an unknown kind")
        if numbers * item > self._sizes.get(key, -1):
            raise _Refused(f"its storage {key[:50]!r} shall hold {numbers:,} numbers, more than its record has")
        return _Storage(numbers)


def _check_view(storage: Any, offset: Any, size: Any, stride: Any) -> None:
    """Refuse a tensor that is larger than its storage."""
    whole = [offset, *size, *stride]
    if not isinstance(storage, _Storage) or len(size) != len(stride) or len(size) > 16:
        raise _Refused("it describes a tensor of an unknown kind")
    if not all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= MAX_EDGE for n in whole):
        raise _Refused("it describes a tensor of impossible size")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if prod(size) else 0
    if prod(size) > storage.numbers or (prod(size) and last >= storage.numbers):
        raise _Refused(f"it describes a tensor of {prod(size):,} numbers, more than its storage has")
