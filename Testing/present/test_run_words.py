"""A run in words, the model that is asked, packages: sentences and decisions, without a panel."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from expected_errors import raises_error

pytest.importorskip("slicer")

from twintrack.errors import BundleError, InputError

GIGABYTE = 10**9


@pytest.mark.parametrize(
    ("running", "ready", "text", "enabled"),
    [(False, False, "Segment", False), (False, True, "Segment", True), (True, False, "Cancel", True)],
)
def test_the_button_starts_or_cancels(running, ready, text, enabled):
    from TwinTrackSegLib.present.Run import runButton

    button = runButton(running=running, ready=ready)
    assert (button.text, button.enabled) == (text, enabled)
    assert button.tip


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "looking"), (0, "looking"), (41.3, "looking, about 45 s left"), (7200, "looking, about 2 h left")],
)
def test_the_time_left_is_told_where_it_is_known(seconds, text):
    from TwinTrackSegLib.present.Run import withTimeLeft

    assert withTimeLeft("looking", seconds) == text


def test_the_bar_tells_minutes_and_seconds():
    from TwinTrackSegLib.present.Run import progressText

    assert progressText(0.296, 65.9) == "30 % after 1:05"


def test_where_it_runs_is_told_before_and_during_a_run():
    from TwinTrackSegLib.mrml.worker.WorkerEvents import Processor
    from TwinTrackSegLib.present.Run import processorLine

    card, cpu = Processor("cuda:0", "Big Card", 80 * GIGABYTE, 61 * GIGABYTE), Processor("cpu", "", 32 * GIGABYTE)
    assert processorLine((), "auto") == ""
    assert processorLine((card, cpu), "auto") == "Will run on Big Card: 61.0 of 80 GB of memory free"
    assert processorLine((card, cpu), "cpu") == "Will run on the CPU: 32 GB of memory"
    assert processorLine((cpu,), "cuda").startswith("The chosen processor was not found; there is the CPU")
    assert processorLine((card,), "auto", cpu, ["the CPU runs it"]).splitlines() == [
        "Runs on the CPU: 32 GB of memory",
        "the CPU runs it",
    ]


def test_a_run_that_gave_way_says_so_when_it_is_done():
    from TwinTrackSegLib.present.Run import doneText

    def of(**engine):
        return SimpleNamespace(record=SimpleNamespace(result={"engine": engine}))

    assert doneText(of()) == ""  # the result that is shown says it
    assert doneText(of(notes=["2 tiles at a time", "the CPU runs it"])) == "Done; 2 tiles at a time; the CPU runs it."


@pytest.fixture
def bundle(tmp_path):
    """A bundle's document; the files are not read here."""
    document = {
        "schema": 1,
        "name": "hospital",
        "version": "3",
        "license": "CC0",
        "description": "Ours",
        "intended_use": "research",
        "demo": False,
        "tumor_labels": ["tumor"],
        "vessel_labels": {"SMA": "sma"},
        "organ_labels": ["pancreas"],
        "roi_margin_mm": 20.0,
        "mirroring": False,
        "pooling": "mean-softmax",
        "coarse": {"folds": ["0"]},
        "fine": {"folds": ["0"]},
        "configuration": {"coarse": "3d_fullres", "fine": "3d_fullres"},
        "raters": 5,
        "files": {"coarse/plans.json": "0" * 64, "calibrator.json": "0" * 64},
    }
    (tmp_path / "bundle.json").write_text(json.dumps(document), encoding="utf-8")
    return tmp_path


def test_a_model_says_what_it_is_and_a_demonstration_that_it_is_one(bundle):
    from TwinTrackSegLib.present.ModelChoice import modelNotes

    notes = modelNotes(bundle, remote=False)
    assert notes.usable
    assert not notes.demo
    assert notes.text.splitlines()[0] == "hospital 3, licence CC0"
    assert "Calibrated on 5 readers." in notes.text
    content = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json").write_text(json.dumps(content | {"demo": True}))
    demo = modelNotes(bundle, remote=False)
    assert demo.demo
    assert "On a patient's CT its result means nothing." in demo.text


def test_a_path_without_a_model_is_told_and_a_servers_model_is_its_own(tmp_path):
    from TwinTrackSegLib.present.ModelChoice import modelNotes

    assert not modelNotes(tmp_path / "nothing", remote=False).usable
    assert "server's own model" in modelNotes(tmp_path / "nothing", remote=True).text


def asked(bundle, **fields):
    from TwinTrackSegLib.present.ModelChoice import Asked

    plain = {
        "inputVolume": None,
        "region": None,
        "bundle": bundle,
        "bundleEmptied": False,
        "address": None,
        "certificates": None,
        "threshold": 0.5,
        "device": "auto",
        "calibrator": None,
        "keepScore": False,
        "rules": "nccn",
    }
    return Asked(**plain | fields)


def test_what_cannot_be_run_is_refused_at_once(bundle):
    with raises_error(InputError, "no-server-address"):
        asked(bundle, address="").settings()
    with raises_error(BundleError, "no-bundle-chosen"):
        asked(bundle, bundleEmptied=True).settings()
    with raises_error(InputError, "no-input-chosen"):
        asked(bundle, region=object()).settings()


def test_a_server_is_asked_with_no_model_of_this_computer(bundle):
    settings = asked(bundle, address="https://gpu.hospital.example:8786", bundleEmptied=True).settings()
    assert settings.bundle == ""
    assert settings.run_on == "https://gpu.hospital.example:8786"
    assert asked(bundle).settings().bundle == str(bundle)


@pytest.mark.parametrize(
    ("broken", "repaired", "external", "failure", "offer"),
    [
        ([], False, False, False, False),
        (["torch"], False, False, True, True),
        (["torch"], True, False, True, False),
        (["torch"], False, True, True, False),
    ],
)
def test_installing_again_is_offered_once_and_never_in_another_python(broken, repaired, external, failure, offer):
    from TwinTrackSegLib.present.Installing import checked

    text, isFailure, isOffered = checked(broken, repaired=repaired, external=external)
    assert (isFailure, isOffered) == (failure, offer)
    assert all(name in text for name in broken)


def test_pytorch_is_announced_by_its_size():
    from TwinTrackSegLib.present.Installing import installQuestion

    assert "3 GB" in installQuestion("The model", ["torch", "dask"], torch=True)
    assert "3 GB" not in installQuestion("The export", ["dask"], torch=False)
