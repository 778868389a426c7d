"""Getting a public model: fetched, compared with what is known of it, made a bundle, verified and installed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from twintrack import __version__
from twintrack.bundle.places import BUNDLE
from twintrack.errors import BundleError, InputError, OutputError
from twintrack.models.archives import (
    TAIL_BYTES,
    PartialFile,
    Taken,
    entries_of,
    listed_range,
    opened,
    take_out,
)
from twintrack.models.download import NoPartsError, Remote, RemoteChangedError, fetch, look_up, read_range, writing
from twintrack.models.https import check_https, open_session
from twintrack.models.known import METADATA, Archive, KnownModel, find_known_model
from twintrack.models.licence import check_accepted, legal_text, terms
from twintrack.models.pins import Trust
from twintrack.models.store import check_free_name, check_name, install, working_folder
from twintrack.progress.callbacks import Progress, no_progress, part
from twintrack.studies.make_bundle.card import BundleCard
from twintrack.studies.make_bundle.create import StageSource, create_bundle
from twintrack.system.capacity import check_room, size_text
from twintrack.system.json_file import read_json, save_json
from twintrack.system.paths import file_sha256

if TYPE_CHECKING:
    import zipfile

    from requests import Session

__all__ = ["Wanted", "chosen_folds", "finish", "get_model"]

FETCHED = 0.8
"""Share of the progress bar that is the download's."""


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    Attributes
    ----------
    model : KnownModel
        The model.
    folds : tuple of str
        Of both stages.
    name : str
        What it will be called here.
    trust : Trust
        What hashes it is compared with.
    overwrite : bool
        Whether an installed model of that name is replaced.
    """

    model: KnownModel
    folds: tuple[str, ...]
    name: str
    trust: Trust
    overwrite: bool = False

    def check(self) -> None:
        """Refuse what would be refused in the end, before anything is fetched.

        Raises
        ------
        InputError, OutputError
            If the licence was not accepted, or a model of that name is installed.
        """
        check_accepted(self.model)
        check_free_name(self.name, overwrite=self.overwrite)

    def files(self, archive: Archive) -> list[str]:
        """Return the files that are needed of an archive, by their place in the stage's folder."""
        stage = self.model.stage(archive.stage)
        return [*METADATA, *(stage.weights(fold) for fold in self.folds)]


def chosen_folds(model: KnownModel, folds: Sequence[str] | None) -> tuple[str, ...]:
    """Return the folds that are asked for, by default the first that is known best.

    Raises
    ------
    InputError
        If the model has no such fold.
    """
    chosen = tuple(dict.fromkeys(model.first_folds if folds is None else folds))
    unknown = [fold for fold in chosen if fold not in model.folds]
    if unknown or not chosen:
        raise InputError(
            f"has no fold {', '.join(unknown) or 'at all in that list'}; choose among {', '.join(model.folds)}",
            code="fold-missing",
            where=model.name,
        )
    return chosen


def get_model(
    name: str,
    *,
    folds: Sequence[str] | None = None,
    install_as: str = "",
    base_url: str = "",
    ca_file: str | Path | None = None,
    trust_on_first_use: bool = False,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Path:
    """Fetch a known model over HTTPS, make a bundle of it and install that; the licence must be accepted already.

    Whatever ends it, what has come stays and the next call goes on there.

    Parameters
    ----------
    name : str
        The model's name in the list.
    folds : sequence of str, optional
        Which folds; by default one whose hashes are known.
    install_as : str
        What it is to be called here; by default `name`.
    base_url : str
        An address below which the same files lie, in place of the publisher's.
    ca_file : path, optional
        Certificates of further authorities.
    trust_on_first_use : bool
        Whether files are taken of which no hash is known. Their hashes are written down and hold from then on.
    overwrite : bool
        Whether an installed model of that name is replaced.
    progress : callable
        Told how far it is.

    Returns
    -------
    pathlib.Path
        The bundle's folder.

    Raises
    ------
    InputError, BundleError, OutputError
        If it cannot be had, is not what is known, or there is no room.
    """
    model = find_known_model(name)
    trust = Trust(model, first_use=trust_on_first_use)
    wanted = Wanted(model, chosen_folds(model, folds), check_name(install_as or name), trust, overwrite)
    wanted.check()
    for archive in model.download:
        trust.check_known(archive, wanted.files(archive))
    session = open_session(ca_file)
    meter = _Meter(model.size(wanted.folds, packed=True), part(progress, 0, FETCHED))
    with working_folder(wanted.name, needed=model.disk_bytes(wanted.folds)) as work:
        files: dict[str, list[Taken]] = {}
        for archive in model.download:
            url = check_https(f"{base_url.rstrip('/')}/{archive.file}" if base_url else archive.url)
            files[archive.stage] = _Download(session, wanted, archive, url, work, meter).files()
        folders = {archive.stage: work / archive.stage for archive in model.download}
        return finish(wanted, folders, files, work, base_url or model.published[0], part(progress, FETCHED, 1))


class _Meter:
    """Adds up what has come of several files."""

    def __init__(self, expected: int, progress: Progress) -> None:
        self._expected, self._progress = max(expected, 1), progress
        self._before = 0

    def told(self, here: int) -> None:
        """Take note of how much of the present file is here."""
        whole = max(self._expected, self._before + here)
        self._progress(
            (self._before + here) / whole, f"downloading, {size_text(self._before + here)} of {size_text(whole)}"
        )

    def close(self, size: int) -> None:
        """Take note of a file that is whole."""
        self._before += size


@dataclass(frozen=True)
class _Download:
    """What is wanted of one archive, brought into the folder of its stage."""

    session: Session
    wanted: Wanted
    archive: Archive
    url: str
    work: Path
    meter: _Meter

    def files(self) -> list[Taken]:
        """Return the files, each compared with what is known of it."""
        for _ in range(2):
            try:
                return self._in_parts()
            except RemoteChangedError:
                self._drop()
            except NoPartsError:
                return self._whole()
        raise InputError(
            "changes again and again while it is fetched; try later", code="download-changed", path=self.url
        )

    def _in_parts(self) -> list[Taken]:
        remote = look_up(self.session, self.url)
        if not remote.parts or remote.size is None:
            raise NoPartsError(self.url)
        self._keep_parts_of(remote)
        start = max(0, remote.size - TAIL_BYTES)
        tail = {start: read_range(self.session, remote, start, remote.size)}
        with opened(PartialFile(remote.size, tail), self.url) as archive:
            entries = self._entries(archive)
            return [
                self._part(remote, tail, listed_range(archive, entry), name, entry.filename)
                for name, entry in entries.items()
            ]

    def _part(self, remote: Remote, tail: dict[int, bytes], place: tuple[int, int], name: str, listed: str) -> Taken:
        assert remote.size is not None
        path = self.work / f"{self.archive.stage}.{place[0]}.part"
        target = self.work / self.archive.stage / name
        if not target.is_file():
            fetch(self.session, remote, path, *place, self.meter.told)
        self.meter.close(place[1] - place[0])
        with opened(PartialFile(remote.size, {**tail, place[0]: path}), self.url) as archive:
            taken = self._taken(archive, archive.getinfo(listed), name, [path, target])
        path.unlink(missing_ok=True)
        return taken

    def _whole(self) -> list[Taken]:
        """Fetch the archive as a whole, where the server gives no parts: what breaks off begins anew."""
        remote = replace(look_up(self.session, self.url), parts=False)
        path = self.work / f"{self.archive.stage}.whole.part"
        if remote.size is not None:
            check_room(self.work, 2 * remote.size, "the whole archive, which is all that the server gives,")
        if remote.size is None or not path.is_file() or path.stat().st_size != remote.size:
            fetch(self.session, remote, path, 0, remote.size, self.meter.told)
        self.meter.close(path.stat().st_size)
        with opened(path, self.url) as archive:
            files = [
                self._taken(archive, entry, name, [path, self.work / self.archive.stage / name])
                for name, entry in self._entries(archive).items()
            ]
        path.unlink(missing_ok=True)
        return files

    def _entries(self, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
        stage = self.wanted.model.stage(self.archive.stage)
        listed = entries_of(archive, self.url, stage.folder)
        entries = {name: _listed(listed, name, self.url) for name in self.wanted.files(self.archive)}
        for name, entry in entries.items():
            self.wanted.trust.check_size(self.archive, name, entry.file_size, self.url)
        check_room(self.work, sum(entry.file_size for entry in entries.values()), "unpacking what is fetched")
        return entries

    def _taken(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str, gone: list[Path]) -> Taken:
        """Unpack a file and compare it; what is damaged or another one is not kept for the next attempt."""
        try:
            taken = take_out(archive, entry, self.work / self.archive.stage / name, self.url)
            self.wanted.trust.check(self.archive, name, taken)
        except Exception as error:
            if not isinstance(error, OutputError):
                for path in gone:
                    path.unlink(missing_ok=True)
            raise
        return taken

    def _keep_parts_of(self, remote: Remote) -> None:
        """Drop parts of another file; those of this one stay."""
        path = self.work / f"{self.archive.stage}.remote.json"
        about = {"url": remote.url, "size": remote.size, "validator": remote.validator}
        try:
            same = read_json(path) == about
        except (OSError, ValueError):
            same = False
        if not same:
            self._drop()
            with writing(self.work):
                save_json(path, about)

    def _drop(self) -> None:
        for path in self.work.glob(f"{self.archive.stage}.*.part"):
            path.unlink()
        shutil.rmtree(self.work / self.archive.stage, ignore_errors=True)


def _listed(entries: dict[str, zipfile.ZipInfo], name: str, url: str) -> zipfile.ZipInfo:
    if name not in entries:
        raise BundleError(f"does not hold {name}, which is needed", code="archive-lacks-file", path=url)
    return entries[name]


def finish(
    wanted: Wanted,
    folders: dict[str, Path],
    files: dict[str, list[Taken]],
    work: Path,
    source: str,
    progress: Progress = no_progress,
) -> Path:
    """Make a bundle of two results folders, verify and install it with a record of where it is from.

    Parameters
    ----------
    wanted : Wanted
        What it is.
    folders, files : mapping of str
        Results folder of each stage, and the files in it that were compared.
    work : Path
        The folder in which it is made.
    source : str
        Where the files are from, for the record.
    progress : callable
        Told how far it is.

    Returns
    -------
    pathlib.Path
        The bundle's folder.

    Raises
    ------
    InputError, BundleError, OutputError
        If no bundle can be made of them.
    """
    model = wanted.model
    ready = work / "ready"
    shutil.rmtree(ready, ignore_errors=True)
    progress(0, "making the bundle and loading its networks once")
    with writing(work):
        ready.mkdir()
        (ready / "licence.txt").write_text(f"{terms(model)}\n\n{legal_text(model)}", encoding="utf-8")
    sources = {
        name: StageSource(folders[name], wanted.folds, model.stage(name).checkpoint) for name in ("coarse", "fine")
    }
    create_bundle(sources["coarse"], sources["fine"], _card(wanted), out=ready / BUNDLE)
    progress(0.9, "installing")
    wanted.trust.remember()
    record = {
        "schema": 1,
        "model": model.name,
        "folds": list(wanted.folds),
        "source": source,
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "program": f"twintrack {__version__}",
        "bundle_sha256": file_sha256(ready / BUNDLE / "bundle.json"),
        "files": [entry for stage, taken in files.items() for entry in wanted.trust.report(stage, taken)],
        "licence": dict(check_accepted(model)),
    }
    bundle = install(wanted.name, ready, record, overwrite=wanted.overwrite)
    progress(1, "installed")
    return bundle


def _card(wanted: Wanted) -> BundleCard:
    card, folds = wanted.model.card, ", ".join(wanted.folds)
    return BundleCard(
        name=wanted.name,
        license=card["license"],
        description=f"{card['description']} Fold {folds} of each stage.",
        tumor_weights=dict.fromkeys(card["tumor_labels"], 1.0),
        organ_labels=tuple(card["organ_labels"]),
        vessel_labels=dict(card["vessel_labels"]),
    )
