"""Installing what somebody brought: a public model's archives or folders, or a bundle; no network is touched."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from twintrack import __version__
from twintrack.bundle.archive import extract_bundle_zip, read_bundle_document
from twintrack.bundle.model_bundle import Bundle
from twintrack.bundle.places import BUNDLE
from twintrack.bundle.schema import parse_bundle_json
from twintrack.errors import BundleError, InputError, TwinTrackError
from twintrack.models.archives import Taken, entries_of, opened, take_out
from twintrack.models.download import writing
from twintrack.models.get import Wanted, chosen_folds, finish
from twintrack.models.known import Archive, KnownModel, known_models
from twintrack.models.pins import Trust
from twintrack.models.store import check_free_name, check_name, install, working_folder
from twintrack.progress.callbacks import Progress, no_progress, part
from twintrack.studies.make_bundle.create import check_bundle
from twintrack.system.ownership import is_litter
from twintrack.system.paths import file_sha256, is_there

__all__ = ["add_files", "model_of"]

BUNDLE_FILE = "bundle.json"

Found = dict[str, tuple[Archive, Path]]
"""By stage, the archive of the list and where it, or its unpacked results folder, lies here."""


def add_files(
    paths: Sequence[Path],
    *,
    folds: Sequence[str] | None = None,
    install_as: str = "",
    trust_on_first_use: bool = False,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Path:
    """Install a bundle, or a known model from its archives or results folders.

    Parameters
    ----------
    paths : sequence of Path
        One bundle (folder or zip); or the archives of a known model, its results folders, or one folder with them.
    folds : sequence of str, optional
        Of a known model; by default one whose hashes are known.
    install_as : str
        What it is to be called here.
    trust_on_first_use, overwrite, progress
        As in `twintrack.models.get.get_model`.

    Returns
    -------
    pathlib.Path
        The bundle's folder.

    Raises
    ------
    InputError, BundleError, OutputError
        If they are no model, not what is known of it, or there is no room.
    """
    _check_there(paths)
    if len(paths) == 1 and (document := _bundle_document(paths[0])) is not None:
        return _add_bundle(paths[0], document, install_as, overwrite=overwrite, progress=progress)
    model, found = _known(paths)
    trust = Trust(model, first_use=trust_on_first_use)
    wanted = Wanted(model, chosen_folds(model, folds), check_name(install_as or model.name), trust, overwrite)
    wanted.check()
    needed = 2 * model.size(wanted.folds, packed=False)
    with working_folder(wanted.name, needed=needed) as work:
        folders, files = {}, {}
        for number, (stage, (archive, path)) in enumerate(found.items()):
            part(progress, 0.3 * number, 0.3 * (number + 1))(0, f"reading {path.name}")
            take = _from_folder if path.is_dir() else _from_archive
            folders[stage], files[stage] = take(wanted, archive, path, work)
        return finish(wanted, folders, files, work, "files brought by hand", part(progress, 0.6, 1))


def model_of(paths: Sequence[Path]) -> KnownModel | None:
    """Return the known model whose files these are; None for a bundle.

    Raises
    ------
    InputError
        If they are neither.
    """
    _check_there(paths)
    is_bundle = len(paths) == 1 and _bundle_document(paths[0]) is not None
    return None if is_bundle else _known(paths)[0]


def _check_there(paths: Sequence[Path]) -> None:
    for path in paths:
        if not is_there(path):
            raise InputError("no such file or folder", code="file-missing", path=path)


def _bundle_document(path: Path) -> bytes | None:
    """Return the ``bundle.json`` of a bundle; None if it is none."""
    try:
        return read_bundle_document(path)
    except BundleError:
        return None


def _add_bundle(path: Path, document: bytes, install_as: str, *, overwrite: bool, progress: Progress) -> Path:
    about = parse_bundle_json(document, str(path))
    slug = re.sub(r"[^a-z0-9._-]+", "-", about["name"].lower()).strip("-._")[:64].strip("-._")
    name = check_name(install_as or slug)
    check_free_name(name, overwrite=overwrite)
    size = path.stat().st_size if path.is_file() else sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    with working_folder(name, needed=size) as work:
        ready = work / "ready"
        shutil.rmtree(ready, ignore_errors=True)
        progress(0.1, "copying the bundle")
        with writing(work):
            (ready / BUNDLE).mkdir(parents=True)
            if path.is_file():
                extract_bundle_zip(path, ready / BUNDLE)
            else:
                Bundle.open(path).close()  # what lies beside a bundle's files is not copied
                ignored = lambda _folder, names: [n for n in names if is_litter(n)]  # noqa: E731
                shutil.copytree(path, ready / BUNDLE, dirs_exist_ok=True, ignore=ignored)
        progress(0.5, "verifying the bundle")
        try:
            with Bundle.open(ready / BUNDLE) as bundle:
                check_bundle(bundle)
        except TwinTrackError as error:
            error.rename(ready / BUNDLE, path)
            raise
        record = {
            "schema": 1,
            "model": about["name"],
            "source": "a bundle brought by hand",
            "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "program": f"twintrack {__version__}",
            "bundle_sha256": file_sha256(ready / BUNDLE / BUNDLE_FILE),
        }
        bundle_folder = install(name, ready, record, overwrite=overwrite)
    progress(1, "installed")
    return bundle_folder


def _known(paths: Sequence[Path]) -> tuple[KnownModel, Found]:
    """Return the model of the list that files belong to."""
    best: Found = {}
    for model in known_models():
        found: Found = {}
        for archive in model.download:
            place = _place_of(model, archive, paths)
            if place is not None:
                found[archive.stage] = (archive, place)
        if len(found) == len(model.download):
            return model, found
        best = found if len(found) > len(best) else best
    if best:
        here = ", ".join(archive.file for archive, _ in best.values())
        raise InputError(
            f"only {here} is there; give all files of the model at once (twintrack model get NAME --for-it lists them)",
            code="model-incomplete",
            path=paths[0],
        )
    names = ", ".join(model.name for model in known_models())
    raise InputError(
        f"neither a bundle nor the files of a known model ({names}); other nnU-Net results folders become a bundle by "
        "twintrack bundle create",
        code="not-a-model",
        path=paths[0],
    )


def _place_of(model: KnownModel, archive: Archive, paths: Sequence[Path]) -> Path | None:
    """Return the archive, or the results folder that it holds, among what was given."""
    folder = model.stage(archive.stage).folder
    dataset, _, trainer = folder.rpartition("/")
    for path in paths:
        full = path.absolute()
        if path.is_dir():
            tried = [full / folder]
            tried += [full / trainer] if full.name == dataset else []
            tried += [full] if full.name == trainer and full.parent.name == dataset else []
            place = next((place for place in tried if (place / "plans.json").is_file()), full / archive.file)
            if place.exists():
                return place
        elif path.name == archive.file or _holds(path, folder):
            return path
    return None


def _holds(path: Path, folder: str) -> bool:
    try:
        with opened(path, path) as archive:
            return bool(entries_of(archive, path, folder))
    except (BundleError, OSError):
        return False


def _from_folder(wanted: Wanted, archive: Archive, path: Path, _work: Path) -> tuple[Path, list[Taken]]:
    """Compare the files of a results folder, which stay where they are."""
    files = []
    for name in wanted.files(archive):
        file = path / name
        if not file.is_file():
            raise InputError(f"does not hold {name}, which is needed", code="archive-lacks-file", path=path)
        taken = Taken(file, file.stat().st_size, file_sha256(file))
        wanted.trust.check_size(archive, name, taken.bytes, path)
        wanted.trust.check(archive, name, taken)
        files.append(taken)
    return path, files


def _from_archive(wanted: Wanted, archive: Archive, path: Path, work: Path) -> tuple[Path, list[Taken]]:
    """Unpack the files that are needed, and compare them."""
    if archive.md5 and _md5(path) == archive.md5:
        wanted.trust.take_archive(archive)
    folder, files = work / archive.stage, []
    with opened(path, path) as zipped:
        entries = entries_of(zipped, path, wanted.model.stage(archive.stage).folder)
        for name in wanted.files(archive):
            if name not in entries:
                raise InputError(f"does not hold {name}, which is needed", code="archive-lacks-file", path=path)
            wanted.trust.check_size(archive, name, entries[name].file_size, path)
            taken = take_out(zipped, entries[name], folder / name, path)
            wanted.trust.check(archive, name, taken)
            files.append(taken)
    return folder, files


def _md5(path: Path) -> str:
    """Return the MD5, which is all that is published for some archives: against accidents, not against attackers."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
