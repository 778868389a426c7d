"""A bundle is found by path, as the demo, or by an installed model's name; a name that is none says what there is."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs
import pytest

import twintrack as tt
from expected_errors import raises_error
from twintrack.bundle.places import bundle_path, demo_bundle_path, installed_models, models_folder
from twintrack.errors import BundleError


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    for name in ("ours", "theirs", "Not-a-name", ".getting"):
        (folder / name / "bundle").mkdir(parents=True)
        (folder / name / "bundle" / "bundle.json").write_text("{}")
    (folder / "empty").mkdir()
    monkeypatch.setenv("TWINTRACK_MODELS", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_name_is_an_installed_model(models):
    assert installed_models() == {name: models / name / "bundle" for name in ("ours", "theirs")}
    assert bundle_path("ours") == models / "ours" / "bundle"
    assert bundle_path("demo") == demo_bundle_path()


def test_what_lies_there_goes_before_a_name(models, tmp_path):
    for name in ("ours", "demo", "x.zip"):
        (tmp_path / name).mkdir()
        assert bundle_path(name) == Path(name)


@pytest.mark.parametrize("path", ["no/such", "./none", "none.zip", "~/none", "/none", str(Path("a") / "b")])
def test_what_is_meant_as_a_path_stays_one(models, path):
    assert bundle_path(path) == Path(path)


@pytest.mark.parametrize("name", ["none", "Not-a-name", "empty"])
def test_a_name_that_is_none_says_which_there_are(models, name):
    with raises_error(BundleError, "bundle-missing", "demo, ours, theirs", "twintrack model list", path=name):
        bundle_path(name)


def test_python_finds_bundles_in_the_same_way(models):
    with raises_error(BundleError, "bundle-missing", "demo, ours, theirs"):
        tt.load_bundle("none")
    with raises_error(BundleError, "bundle-entry"):
        tt.load_bundle("ours")  # found, and no bundle
    with tt.load_bundle("demo") as model:
        assert model.bundle.demo


@pytest.mark.parametrize("there", [True, False])
def test_the_folder_is_the_users_own_where_none_is_named(monkeypatch, there):
    monkeypatch.delenv("TWINTRACK_MODELS")
    assert models_folder() == platformdirs.user_data_path("twintrack", appauthor=False) / "models"
    if there:
        monkeypatch.setenv("TWINTRACK_MODELS", os.fspath(Path("~") / "models"))
        assert models_folder() == Path.home() / "models"
