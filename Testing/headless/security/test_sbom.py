"""The bill of materials that is published names no folder of the computer it was made on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[3] / "tools" / "portable_sbom.py"


@pytest.mark.process
def test_references_to_local_files_are_taken_out_and_others_stay(tmp_path):
    local, web = {"type": "distribution", "url": "file:///home/me/src"}, {"type": "website", "url": "https://a.example"}
    components = [{"name": "ä", "externalReferences": [local, web]}, {"name": "b", "externalReferences": [local]}]
    (tmp_path / "sbom.json").write_text(json.dumps({"bomFormat": "CycloneDX", "components": components}))
    subprocess.run([sys.executable, str(TOOL), str(tmp_path / "sbom.json")], check=True)
    found = json.loads((tmp_path / "sbom.json").read_text(encoding="utf-8"))
    assert found == {
        "bomFormat": "CycloneDX",
        "components": [{"name": "ä", "externalReferences": [web]}, {"name": "b", "externalReferences": []}],
    }
