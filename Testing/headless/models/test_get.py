"""A public model is got from a server as it is published, or nothing is installed and what has come stays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from expected_errors import raises_error
from file_server import FileServer, cut_after
from published_model import Published, publish_model
from twintrack.bundle.model_bundle import Bundle
from twintrack.bundle.places import bundle_path
from twintrack.cli.app import run_command
from twintrack.errors import BundleError, InputError, OutputError
from twintrack.models import known
from twintrack.models.get import get_model
from twintrack.models.licence import accept
from twintrack.models.store import WORK, working_folder

pytestmark = [pytest.mark.process, pytest.mark.filterwarnings("ignore:Detected old nnU-Net plans format")]

NAME, LICENCE = "panorama-baseline", "CC-BY-NC-4.0"
COARSE, FINE = "Dataset103", "Dataset104"


def command(server: FileServer, tls: Path, *more: str) -> list[str]:
    return ["model", "get", NAME, "--from", server.address, "--ca-file", str(tls / "ca.pem"), *more]


@pytest.fixture
def get(models: Path, server: FileServer, tls: Path):
    """Return the call, with the licence accepted."""
    accept(known.find_known_model(NAME), LICENCE, by="option")

    def call(**more) -> Path:
        return get_model(NAME, base_url=server.address, ca_file=tls / "ca.pem", **more)

    return call


def test_one_fold_is_fetched_verified_installed_and_found_by_its_name(models, server, tls, published, capsys):
    assert run_command(command(server, tls, "--accept-licence", "cc-by-nc-4.0")) == 0
    told = capsys.readouterr()
    assert told.out.strip() == str(models / NAME / "bundle")
    for words in ("not for commercial use", "are free in", "Not calibrated", "scores, not fractions of readers"):
        assert words in told.err
    with Bundle.open(bundle_path(NAME)) as bundle:
        assert bundle.folds == {"coarse": ("4",), "fine": ("4",)}
        assert bundle.calibrator_path is None
        assert bundle.vessel_labels == {"VEINS": "veins", "ARTERIES": "arteries"}
        assert "NC" in bundle.license
    record = json.loads((models / NAME / "record.json").read_text())
    assert {entry["checked"] for entry in record["files"]} == {"known"}
    assert record["licence"]["licence"] == LICENCE
    assert "Attribution-NonCommercial" in (models / NAME / "licence.txt").read_text()
    weights = sum(path.stat().st_size for path in published.home.rglob("fold_3/*.pth"))
    assert server.sent < sum(map(len, server.files.values())) + 2 * 262_144 - weights / 2
    assert not (models / WORK / NAME).exists()

    assert run_command(["bundle", "verify", NAME]) == 0
    assert run_command(["model", "list"]) == 0
    assert "fold 4" in capsys.readouterr().out
    asked = len(server.asked)
    assert run_command(command(server, tls)) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert len(server.asked) == asked
    assert run_command(["model", "remove", NAME]) == 0
    assert run_command(["bundle", "verify", NAME]) == 2
    assert f"twintrack model get {NAME}" in capsys.readouterr().err


def test_without_the_licence_nothing_is_asked(models, server, tls, capsys):
    assert run_command(command(server, tls)) == 2
    assert f"--accept-licence {LICENCE}" in capsys.readouterr().err
    assert run_command(command(server, tls, "--accept-licence", "MIT")) == 2
    assert LICENCE in capsys.readouterr().err
    with raises_error(InputError, "licence-not-accepted"):
        get_model(NAME, base_url=server.address, ca_file=tls / "ca.pem")
    assert server.asked == []
    assert not models.exists()


def test_what_has_no_known_hash_is_taken_only_when_told_and_then_held_to(get, server, models, published, tmp_path):
    with raises_error(InputError, "not-pinned", "fold_3", "--trust-on-first-use"):
        get(folds=("3", "4"))
    assert server.asked == []
    bundle = get(folds=("3", "4"), trust_on_first_use=True)
    assert Bundle.open(bundle).folds["fine"] == ("3", "4")
    files = json.loads((models / NAME / "record.json").read_text())["files"]
    assert {entry["file"]: entry["checked"] for entry in files}["fold_3/checkpoint_final.pth"] == "first use"
    shutil.rmtree(models / NAME)
    assert Bundle.open(get(folds=("3",))).folds["fine"] == ("3",)

    shutil.rmtree(models / NAME)
    other = publish_model(
        known.find_known_model(NAME), published.document, reference_of(published), tmp_path / "o", ("3", "4"), seed=9
    )
    server.files = {name: path.read_bytes() for name, path in other.zips.items()}
    for first_use in (False, True):
        with raises_error(InputError, "hash-differs", "taken here before"):
            get(folds=("3",), trust_on_first_use=first_use)
    assert not (models / NAME).exists()


def reference_of(published: Published) -> Path:
    """Return a folder with plans and labels as they are published here."""
    folder = published.home / "reference"
    model = known.find_known_model(NAME)
    for stage in ("coarse", "fine"):
        (folder / stage).mkdir(parents=True, exist_ok=True)
        for name in known.METADATA:
            shutil.copy(published.home / model.stage(stage).folder / name, folder / stage / name)
    return folder


def test_another_file_than_is_known_is_refused_and_not_kept(get, server, models, published, tmp_path):
    model, good = known.find_known_model(NAME), server.files
    other = publish_model(model, published.document, reference_of(published), tmp_path / "other", ("4",), seed=9)
    server.files = {name: path.read_bytes() for name, path in other.zips.items()}
    with raises_error(InputError, "hash-differs", "coarse"):
        get(trust_on_first_use=True)
    assert not (models / NAME).exists()
    assert not list((models / WORK / NAME).rglob("*.pth"))
    server.files, server.etag = good, '"two"'
    assert Bundle.open(get()).folds["fine"] == ("4",)


def test_a_listed_size_that_cannot_be_right_is_refused_before_the_file_is_fetched(get, server, published, monkeypatch):
    document = json.loads(json.dumps(published.document))
    document["models"][0]["download"][0]["members"]["fold_4/checkpoint_final.pth"]["bytes"] += 1
    monkeypatch.setattr(known, "_document", lambda: document)
    with raises_error(InputError, "size-differs", "fold_4/checkpoint_final.pth"):
        get()
    assert server.ranges_of(COARSE)[0] == "bytes=0-0"
    assert len(server.asked) == 2


class Interrupted(BaseException):
    """What Ctrl-C raises, as far as the engine can tell."""


def test_an_interrupted_download_goes_on_where_it_ended(get, server, models, tls, capsys, monkeypatch):
    def interrupt(fraction: float, _text: str) -> None:
        if fraction > 0.4:
            raise Interrupted

    with pytest.raises(Interrupted):
        get(progress=interrupt)
    assert not (models / NAME).exists()
    kept = {path.name: path.stat().st_size for path in (models / WORK / NAME).rglob("*") if path.is_file()}
    assert any(name.endswith(".part") for name in kept)
    sent = server.sent
    assert Bundle.open(get()).folds["fine"] == ("4",)
    whole = server.sent
    shutil.rmtree(models / NAME)
    get()
    assert whole - sent < server.sent - whole - 0.3 * sent
    assert not (models / WORK / NAME).exists()


def test_ctrl_c_ends_the_command_with_130_and_keeps_what_has_come(models, server, tls, capsys, monkeypatch):
    from twintrack.models import get as module

    def interrupted(*_arguments) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "finish", interrupted)
        assert run_command(command(server, tls, "--accept-licence", LICENCE)) == 130
    asked = len(server.asked)
    assert run_command(command(server, tls)) == 0
    assert all(headers["Range"] == "bytes=0-0" or i % 2 for i, (_, headers) in enumerate(server.asked[asked:]))
    assert len(server.asked) == asked + 4


def test_a_server_without_parts_gives_the_whole_archives(get, server):
    server.ranges, server.etag = False, ""
    server.faults = [None, None, cut_after(50_000)]
    assert Bundle.open(get()).folds["coarse"] == ("4",)


def test_an_archive_that_changes_meanwhile_is_begun_anew(get, server):
    def change(handler) -> None:
        server.etag = '"two"'
        handler.give()

    server.faults = [None, None, None, change]
    assert Bundle.open(get()).folds["coarse"] == ("4",)


def test_an_archive_of_another_model_is_refused(get, server):
    server.files = {name: server.files[other] for name, other in zip(server.files, reversed(server.files), strict=True)}
    with raises_error(BundleError, "archive-of-another-model"):
        get()


def test_a_file_that_is_no_archive_is_refused(get, server):
    server.files = dict.fromkeys(server.files, b"<html>please log in to the hospital's network</html>")
    with raises_error(BundleError, "archive-damaged"):
        get()


def test_two_programs_do_not_get_one_model_at_once(get, models, server):
    with working_folder(NAME, needed=0), raises_error(InputError, "model-busy"):
        get()
    assert server.asked == []


def test_a_disk_without_room_is_said_before_anything_is_asked(get, server, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=1000))
    with raises_error(OutputError, "no-disk-space", "are free"):
        get()
    assert server.asked == []


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"folds": ("7",)}, "fold-missing"),
        ({"folds": ()}, "fold-missing"),
        ({"install_as": "../out"}, "model-name"),
        ({"install_as": "demo"}, "model-name"),
        ({"base_url": "http://localhost"}, "address-malformed"),
    ],
)
def test_what_cannot_be_meant_is_refused(get, tls, server, options, code):
    with raises_error(InputError, code):
        get_model(NAME, **{"base_url": server.address, "ca_file": tls / "ca.pem", **options})
    assert server.asked == []
