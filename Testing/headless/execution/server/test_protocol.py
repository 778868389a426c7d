"""The document for other programs says what the routes are, and the server's answers are as it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from expected_errors import raises_error
from twintrack.errors import TwinTrackError
from twintrack.execution.server import protocol
from twintrack.execution.server.protocol import ERROR_STATUS, ROUTES, RUN, RUNS, State, file_name, path_of
from twintrack.settings import SegmentSettings

DOCUMENT = json.loads((Path(__file__).parents[4] / "docs" / "openapi.json").read_text(encoding="utf-8"))

ANY_TIME = {401, 404, 405, 429, 500, 503}


def schema_of(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]})


def test_the_document_has_the_routes_of_the_server_and_no_others():
    written = {
        (operation["operationId"], verb.upper(), path, frozenset(map(int, operation["responses"])))
        for path, verbs in DOCUMENT["paths"].items()
        for verb, operation in verbs.items()
    }
    assert written == {(r.name, r.verb, r.path, frozenset(r.statuses) | ANY_TIME) for r in ROUTES}


def test_the_document_has_the_words_of_the_server():
    submission = DOCUMENT["components"]["schemas"]["Submission"]["properties"]
    assert set(submission["settings"]["properties"]) == set(protocol.SETTINGS)
    assert submission["kind"]["enum"] == list(protocol.KIND_WORDS)
    assert submission["files"]["items"]["properties"]["role"]["enum"] == list(protocol.ROLES)
    news = DOCUMENT["components"]["schemas"]["News"]["properties"]
    assert news["state"]["enum"] == [state.value for state in State]


def test_a_client_may_give_all_settings_but_paths_processors_and_names():
    own = {"vessels", "calibrator", "device", "backend", "case"}
    assert set(protocol.SETTINGS) == set(SegmentSettings().to_json()) - own


def test_every_status_of_an_error_is_one_that_some_route_has():
    assert set(ERROR_STATUS.values()) <= ANY_TIME | {status for route in ROUTES for status in route.statuses}


@pytest.mark.process
def test_answers_are_as_the_document_says(anna, ct):
    answers = [
        ("About", anna.ask("GET", "/v1/about")),
        ("Error", anna.ask("GET", "/v1/nowhere")),
        ("Error", anna.submit(1, key="x")),
        ("Submitted", submitted := anna.submit(1)),
    ]
    run = submitted.json()["run"]
    answers += [
        ("News", anna.ask("GET", path_of(RUN, run=run))),
        ("Error", anna.send(run, b"x", 7)),
        ("Have", anna.send(run, b"x")),
        ("Begun", anna.begin(run)),
    ]
    anna.until(run, "failed")
    answers.append(("News", anna.ask("GET", path_of(RUN, run=run))))
    for name, answer in answers:
        schema_of(name).validate(answer.json())
    content = {"schema": 1, "key": "0" * 32, "kind": "nrrd", "files": [{"role": "ct", "bytes": 1}], "settings": {}}
    schema_of("Submission").validate(content)
    assert anna.ask("POST", RUNS.path, json=content).status_code == 201


def test_names_of_files_are_given_by_role_and_kind():
    assert file_name("ct", 3, "dicom") == "series/000003"
    assert file_name("ct", 0, "nifti-gz") == "ct.nii.gz"
    assert file_name("vessels", 1, "nrrd") == "vessels.nrrd"
    assert file_name("calibrator", 2, "dicom") == "calibrator.json"


def test_a_name_that_is_none_of_a_run_makes_no_path():
    with raises_error(TwinTrackError, "run-unknown"):
        path_of(RUN, run="../about")
