"""``twintrack vessels``: a folder with the named map, its evidence and a picture, or one line that says what lacks."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from twintrack.cli.app import run_command
from twintrack.io.vessel_maps import read_vessel_map
from twintrack.io.volumes import read_volume, write_volume
from vessel_anatomy.conditions import make_case


@pytest.fixture(scope="module")
def arteries_and_veins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("map") / "panorama.nii.gz"
    write_volume(make_case("no SMA", "usual", 8).labels, path)
    return path


@pytest.mark.render
@pytest.mark.slow
def test_the_folder_holds_map_evidence_and_picture(
    arteries_and_veins: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "named"
    command = ["vessels", str(arteries_and_veins), "--vessel-names", "ARTERIES=1,VEINS=2", "--out", str(out)]
    assert run_command(command) == 0
    said = capsys.readouterr().out
    assert "SMA: NOT NAMED" in said
    content = json.loads((out / "naming.json").read_text(encoding="utf-8"))
    schema = json.loads((Path(__file__).parents[3] / "docs" / "schemas" / "naming.json").read_text(encoding="utf-8"))
    jsonschema.validate(content, schema)
    aorta, sma = content["vessels"]["AORTA"], content["vessels"]["SMA"]
    assert aorta["named"]
    assert aorta["evidence"]["radius_mm"] > 5
    assert not sma["named"]
    assert sma["confidence"] is None
    assert (out / "named_vessels.png").stat().st_size > 5000
    read = read_vessel_map(out / "named_vessels.nii.gz")  # the names travel inside the file
    named = {name for name, one in content["vessels"].items() if one["named"]}
    assert set(read.names) == named & {"PORTA", "SMV", "AORTA", "CELIAC"}
    assert run_command([*command, "--json"]) == 0  # its own files are replaced
    assert json.loads(capsys.readouterr().out) == content


def test_numbers_alone_are_refused_and_nothing_is_written(
    arteries_and_veins: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "named"
    assert run_command(["vessels", str(arteries_and_veins), "--out", str(out)]) == 2
    assert "--vessel-names" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["auto", "off"])
def test_contact_is_measured_by_names_or_where_that_is_off_by_classes(
    arteries_and_veins: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    labels = read_volume(arteries_and_veins, labels=True)
    empty, out = tmp_path / "map.nii.gz", tmp_path / "contact.json"
    write_volume(labels.with_array(np.zeros(labels.array.shape, np.float32)), empty)
    command = ["invasion", str(empty), "--vessels", str(arteries_and_veins), "--out", str(out)]
    assert run_command([*command, "--vessel-names", "ARTERIES=1,VEINS=2", "--name-vessels", mode]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    said = capsys.readouterr().err
    assert found["name_vessels"] == mode
    if mode == "off":
        assert set(found["vessels"]) == {"ARTERIES", "VEINS"}
        assert found["resectability"]["pattern"] is None
        assert "not named by anatomy" in said
    else:
        assert found["vessels"]["AORTA"]["named_by"] == "anatomy"
        assert "NOT NAMED" in said
