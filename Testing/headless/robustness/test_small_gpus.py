"""A GPU that is too small: the run goes on with fewer tiles at a time, then on the CPU, and the result says so."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from faults import assert_whole, at, ct_file, request, run
from small_gpu import use_small_gpu
from twintrack.io.volumes import read_volume

pytestmark = [pytest.mark.process, pytest.mark.skipif(sys.platform != "linux", reason="forks the process")]

TILE = 8 * 16 * 32 * 32 * 4
"""Bytes of the largest tensor inside the tiny networks, of one tile: eight channels where the decoder joins two."""

ROI = [0, 48, 0, 44, 0, 24]
SUMS = 5 * 24 * 44 * 48 * 4
"""The whole CT, which takes eight tiles, and the bytes of its sums: almost twice as many."""

ROUNDING = 1e-5
"""Tiles predicted together may differ from single ones in the last bits of float32."""


@pytest.fixture(scope="module")
def undisturbed(plain_bundle, tmp_path_factory) -> tuple[Path, np.ndarray]:
    """The CT, and its map by a run on the CPU."""
    import torch

    torch.set_num_threads(1)  # children are forked
    folder = tmp_path_factory.mktemp("undisturbed")
    ct = ct_file(folder, vessels=False)
    assert run(request(ct, plain_bundle, folder / "out", roi=ROI), folder / "log").code == 0
    return ct, read_volume(folder / "out" / "probability.nii.gz").array


@pytest.mark.parametrize(
    ("limit_bytes", "device", "notes"),
    [
        (5 * TILE, "cuda", []),
        (3 * TILE, "cuda", ["2 tiles at a time"]),
        (SUMS - 1, "cuda", ["2 tiles at a time", "1 tile at a time", "main memory"]),
        (TILE // 2, "cpu", ["2 tiles at a time", "1 tile at a time", "main memory", "the CPU runs it"]),
    ],
    ids=["room for all", "room for two tiles", "room for one tile", "too small"],
)
def test_a_gpu_out_of_memory_ends_in_a_whole_result_that_says_what_was_done(
    undisturbed, plain_bundle, tmp_path, limit_bytes, device, notes
):
    ct, expected = undisturbed
    content = request(ct, plain_bundle, tmp_path / "out", roi=ROI, device="auto")
    ended = run(content, tmp_path / "log", at("reading the CT", lambda: use_small_gpu(limit_bytes)))
    assert (ended.code, ended.events[-1]["event"]) == (0, "done"), ended.sentence
    result = assert_whole(tmp_path / "out")
    assert result["device"] == device
    told = result["engine"]["notes"]
    assert len(told) == len(notes)
    assert all(words in note for words, note in zip(notes, told, strict=True))
    assert all(note in (tmp_path / "out" / "report.html").read_text(encoding="utf-8") for note in told)
    found = read_volume(tmp_path / "out" / "probability.nii.gz").array
    np.testing.assert_allclose(found, expected, rtol=0, atol=0 if device == "cpu" else ROUNDING)
    assert json.dumps(result["warnings"]).count("GPU") == 0  # the map is as good as ever


@pytest.mark.parametrize(
    ("function", "device", "notes"),
    [
        ("_resample", "cuda", ["resample the CT; the CPU does it"]),
        ("class_probabilities", "cuda", ["it is done in main memory"]),
        ("to_grid", "cuda", ["it is done in main memory"]),
        ("_predict", "cpu", ["2 tiles", "1 tile at", "main memory", "the CPU runs it"]),
    ],
    ids=["preprocessing", "pooling", "back to the CT's grid", "networks"],
)
def test_wherever_in_a_run_a_library_of_the_gpu_runs_out_of_memory_the_run_goes_on(
    undisturbed, plain_bundle, tmp_path, function, device, notes
):
    ct, expected = undisturbed
    content = request(ct, plain_bundle, tmp_path / "out", roi="auto" if function == "_resample" else ROI, device="auto")
    ended = run(content, tmp_path / "log", at("reading the CT", lambda: use_small_gpu(float("inf"), [function])))
    assert (ended.code, ended.events[-1]["event"]) == (0, "done"), ended.sentence
    result = assert_whole(tmp_path / "out")
    assert result["device"] == device
    told = result["engine"]["notes"]
    assert len(told) == len(notes), told
    assert all(words in note for words, note in zip(notes, told, strict=True)), told
    if function != "_resample":  # only stage 1 resamples this CT
        found = read_volume(tmp_path / "out" / "probability.nii.gz").array
        np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)


def test_the_whole_way_on_a_gpu_with_room_gives_the_map_and_vessels_of_the_cpu(bundle_folder, undisturbed, tmp_path):
    ct, results = ct_file(tmp_path), {}
    for device in ("cpu", "auto"):
        content = request(ct, bundle_folder, tmp_path / device, roi="auto", device=device)
        change = at("reading the CT", lambda: use_small_gpu(float("inf"))) if device == "auto" else None
        ended = run(content, tmp_path / "log", *(() if change is None else (change,)))
        assert (ended.code, ended.events[-1]["event"]) == (0, "done"), ended.sentence
        results[device] = assert_whole(tmp_path / device)
    assert (results["auto"]["device"], results["auto"]["engine"]["notes"]) == ("cuda", [])
    assert results["auto"]["roi"] == results["cpu"]["roi"]
    maps = [read_volume(tmp_path / device / "probability.nii.gz").array for device in results]
    np.testing.assert_allclose(*maps, rtol=0, atol=ROUNDING)
    vessels = [read_volume(tmp_path / device / "vessels.nii.gz").array for device in results]
    assert np.array_equal(*vessels)
