"""A model for patients: terms first, then a process that fetches it or takes files up, and that can be ended."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("slicer")

from twintrack.bundle.places import demo_bundle_path
from TwinTrackSegLib.present.GetModel import GetModel, buttonTitles, filesQuestion, textForIt


@pytest.fixture
def models(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TWINTRACK_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def presenter(host, models):
    installed = []
    found = GetModel(host, lambda: (sys.executable, False), installed.append, lambda: None)
    found.chosen = installed
    yield found
    found.end()


def waitUntilDone(presenter, host) -> None:
    deadline = time.monotonic() + 180
    while presenter.busy:
        assert time.monotonic() < deadline
        for action in list(host.waiting):
            host.waiting.remove(action)
            action()
        time.sleep(0.02)


def test_terms_size_space_and_licence_are_shown_and_a_no_is_the_last_word(presenter, host, models):
    host.answer = False
    presenter.get()
    (question,) = host.questions
    for words in ("not for commercial use", "CC-BY-NC-4.0", "352 MB", "are free", str(models), "Not calibrated"):
        assert words in question
    assert not presenter.busy
    assert host.ensured == []
    assert not models.exists()


@pytest.mark.process
def test_an_error_of_the_process_is_shown_and_the_licence_was_written_down(presenter, host, models):
    presenter.source = "http://localhost"
    presenter.get()
    assert presenter.busy
    waitUntilDone(presenter, host)
    assert "https://" in host.errors[0]
    assert host.said[-1][1]
    (record,) = json.loads((models / "accepted-licences.json").read_text())["records"]
    assert record["by"] == "panel"
    assert presenter.chosen == []


@pytest.mark.process
def test_a_bundle_that_somebody_brought_is_installed_and_chosen_without_a_question(presenter, host, models, tmp_path):
    path = shutil.make_archive(str(tmp_path / "ours"), "zip", demo_bundle_path())
    presenter.add([path])
    waitUntilDone(presenter, host)
    assert host.questions == []
    (bundle,) = presenter.chosen
    assert bundle.parent.parent == models
    assert (bundle / "bundle.json").is_file()
    assert host.errors == []
    assert host.said[-1][0].startswith("Model installed")


@pytest.mark.process
def test_an_installed_model_is_replaced_after_a_question_only(presenter, host, models, tmp_path):
    path = shutil.make_archive(str(tmp_path / "ours"), "zip", demo_bundle_path())
    presenter.add([path])
    waitUntilDone(presenter, host)
    (bundle,) = presenter.chosen
    calibrated = bundle / "mark of the one that was there"
    calibrated.write_text("")
    host.answer = False
    presenter.add([path])
    waitUntilDone(presenter, host)
    assert "Replace it?" in host.questions[0]
    assert calibrated.exists()
    assert presenter.chosen == [bundle]
    host.answer = True
    presenter.add([path])
    waitUntilDone(presenter, host)
    assert not calibrated.exists()
    assert presenter.chosen == [bundle, bundle]
    assert host.errors == []


@pytest.mark.process
def test_it_can_be_stopped_and_says_that_what_was_fetched_is_kept(presenter, host):
    presenter.source = "https://localhost:9"  # nobody is there: it is tried again for some seconds
    presenter.get()
    presenter.get()
    assert not presenter.busy
    assert "is kept" in host.said[-1][0]
    assert host.waiting == []


def test_nothing_is_taken_up_where_no_file_was_chosen(presenter, host):
    presenter.add([])
    assert not presenter.busy
    assert host.questions == []


def test_the_first_button_ends_what_it_began_and_it_has_a_text_of_its_own():
    assert buttonTitles(busy=True).get != buttonTitles(busy=False).get
    assert "zenodo.org" in textForIt()


def test_a_dialog_lists_zip_files_in_no_toolkits_words():
    question = filesQuestion()
    assert question.endings == (".zip",)
    assert not set("*()") & set(question.title + question.kind)
