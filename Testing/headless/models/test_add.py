"""What somebody brought is installed as if it had been fetched: compared, verified, and never more than is needed."""

from __future__ import annotations

import shutil
import stat
import zipfile
from pathlib import Path

import pytest

from expected_errors import raises_error
from published_model import zip_folder
from twintrack.bundle.model_bundle import Bundle
from twintrack.bundle.places import bundle_path
from twintrack.cli.app import run_command
from twintrack.errors import BundleError, InputError, OutputError
from twintrack.models import known
from twintrack.models.add import add_files
from twintrack.models.licence import accept

pytestmark = [pytest.mark.process, pytest.mark.filterwarnings("ignore:Detected old nnU-Net plans format")]

NAME, LICENCE = "panorama-baseline", "CC-BY-NC-4.0"


@pytest.fixture
def accepted(models: Path) -> Path:
    accept(known.find_known_model(NAME), LICENCE, by="option")
    return models


def test_archives_are_installed_by_the_command(models, published, capsys):
    files = [str(path) for path in published.zips.values()]
    assert run_command(["model", "add", *files]) == 2
    assert "--accept-licence" in capsys.readouterr().err
    assert run_command(["model", "add", *files, "--accept-licence", LICENCE]) == 0
    assert capsys.readouterr().out.strip() == str(models / NAME / "bundle")
    assert Bundle.open(bundle_path(NAME)).folds["fine"] == ("4",)
    assert run_command(["model", "where"]) == 0
    assert capsys.readouterr().out.strip() == str(models)


def test_unpacked_folders_and_a_folder_around_them_do_too(accepted, published, tmp_path):
    model = known.find_known_model(NAME)
    unpacked = tmp_path / "unpacked"
    for stage in (model.coarse, model.fine):
        shutil.copytree(published.home / stage.folder, unpacked / stage.folder)
    datasets = [unpacked / Path(stage.folder).parts[0] for stage in (model.coarse, model.fine)]
    results = [unpacked / stage.folder for stage in (model.coarse, model.fine)]
    for number, given in enumerate(([unpacked], datasets, results)):
        bundle = add_files(given, install_as=f"way-{number}")
        assert Bundle.open(bundle).folds["fine"] == ("4",)
    around = tmp_path / "around"
    around.mkdir()
    for path in published.zips.values():
        shutil.copy(path, around)
    assert Bundle.open(add_files([around], install_as="way-3")).folds["fine"] == ("4",)
    assert (unpacked / model.fine.folder / "plans.json").is_file()


def test_an_archive_packed_anew_under_another_name_is_recognised(accepted, published, tmp_path):
    model, given = known.find_known_model(NAME), []
    for stage in (model.coarse, model.fine):
        dataset = Path(stage.folder).parts[0]
        given.append(zip_folder(published.home / dataset, Path(stage.folder).name, tmp_path / f"{dataset[:10]}.zip"))
    assert Bundle.open(add_files(given)).folds["fine"] == ("4",)


def test_the_hash_of_a_whole_archive_vouches_for_what_is_in_it(accepted, published):
    with raises_error(InputError, "not-pinned", "fine"):
        add_files(list(published.zips.values()), folds=("3",))
    assert Bundle.open(add_files(list(published.zips.values()), folds=("3",), trust_on_first_use=True)).members == 1


def test_one_of_two_archives_is_not_enough(accepted, published):
    with raises_error(InputError, "model-incomplete", "Dataset103"):
        add_files([next(iter(published.zips.values()))])


def test_other_files_are_no_model(accepted, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK")
    for path, code in (
        (tmp_path / "a.zip", "not-a-model"),
        (tmp_path, "not-a-model"),
        (tmp_path / "no", "file-missing"),
    ):
        with raises_error(InputError, code, path=path):
            add_files([path])


def changed(published, tmp_path: Path, change) -> list[Path]:
    """Return the archives, the first with an entry exchanged by `change(archive, name, data)`."""
    first, second = published.zips.values()
    path = tmp_path / first.name
    with zipfile.ZipFile(first) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            data = source.read(entry)
            if entry.filename.endswith("fold_4/checkpoint_final.pth"):
                change(target, entry.filename, data)
            else:
                target.writestr(entry, data)
    return [path, second]


def as_link(archive: zipfile.ZipFile, name: str, _data: bytes) -> None:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(entry, "/etc/passwd")


def as_bomb(archive: zipfile.ZipFile, name: str, _data: bytes) -> None:
    archive.writestr(name, b"\0" * 100_000_000)


def as_other(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(name, data[:-1] + bytes([data[-1] ^ 1]))


def left_out(_archive: zipfile.ZipFile, _name: str, _data: bytes) -> None:
    """Write nothing."""


@pytest.mark.parametrize(
    ("change", "kind", "code"),
    [
        (as_link, InputError, "size-differs"),
        (as_bomb, InputError, "size-differs"),
        (as_other, InputError, "hash-differs"),
        (left_out, InputError, "archive-lacks-file"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_changed_archive_is_refused(accepted, published, tmp_path, change, kind, code):
    with raises_error(kind, code, "fold_4/checkpoint_final.pth"):
        add_files(changed(published, tmp_path, change), trust_on_first_use=True)
    assert not (accepted / NAME).exists()


@pytest.mark.parametrize(
    ("change", "code"), [(as_link, "archive-entry-refused"), (as_bomb, "bundle-too-large")], ids=("link", "bomb")
)
def test_links_and_bombs_are_refused_where_no_size_is_known_too(
    accepted, published, tmp_path, monkeypatch, change, code
):
    import json

    document = json.loads(json.dumps(published.document))
    for archive in document["models"][0]["download"]:
        archive["members"] = {name: pin for name, pin in archive["members"].items() if name in known.METADATA}
    monkeypatch.setattr(known, "_document", lambda: document)
    accept(known.find_known_model(NAME), LICENCE, by="option")
    with raises_error(BundleError, code):
        add_files(changed(published, tmp_path, change), folds=("4",), trust_on_first_use=True)
    assert not (accepted / NAME).exists()
    assert sum(path.stat().st_size for path in accepted.rglob("*") if path.is_file()) < 20_000_000


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_a_bundle_that_somebody_hands_on_is_installed(models, bundle_folder, tmp_path, packed, capsys):
    given = bundle_folder
    if packed:
        given = Path(shutil.make_archive(str(tmp_path / "handed"), "zip", bundle_folder))
    assert run_command(["model", "add", str(given), "--name", "our-own"]) == 0
    assert "Not calibrated" not in capsys.readouterr().err or not (bundle_folder / "calibrator.json").exists()
    assert Bundle.open(bundle_path("our-own")).sha256 == Bundle.open(bundle_folder).sha256
    with raises_error(OutputError, "model-installed"):
        add_files([given], install_as="our-own")
    add_files([given], install_as="our-own", overwrite=True)


def test_a_bundle_that_was_altered_is_not_installed(models, bundle_folder, tmp_path):
    copy = Path(shutil.copytree(bundle_folder, tmp_path / "copy"))
    (copy / "coarse" / "plans.json").write_text("{}")
    with raises_error(BundleError, "bundle-file-altered", path=copy):
        add_files([copy], install_as="our-own")
    assert not (models / "our-own").exists()
