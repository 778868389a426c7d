"""A public model's archives, a server that has them, and an empty folder of installed models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from file_server import FileServer, make_certificates, serving
from published_model import Published, publish_model
from twintrack.models import download, get, known

NAME = "panorama-baseline"


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with an authority and a certificate for localhost."""
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def published(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Return the archives of two folds; the list knows the hashes of fold 4."""
    document = json.loads((resources.files("twintrack") / "data" / "known_models.json").read_text(encoding="utf-8"))
    reference = test_data / "reference/panorama_plans"
    home = tmp_path_factory.mktemp("published")
    return publish_model(known.find_known_model(NAME), document, reference, home, ("3", "4"))


@pytest.fixture
def models(tmp_path: Path, published: Published, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder of installed models; the list of known ones is that of the archives made here."""
    monkeypatch.setenv("TWINTRACK_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(known, "_document", lambda: published.document)
    return tmp_path / "models"


@pytest.fixture
def server(tls: Path, published: Published, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Run a server with the archives."""
    monkeypatch.setattr(download, "PAUSE_S", 0.001)
    monkeypatch.setattr(get, "TAIL_BYTES", 1 << 17)  # small beside these archives, as it is beside real ones
    with serving(tls) as found:
        found.files = {name: path.read_bytes() for name, path in published.zips.items()}
        yield found
