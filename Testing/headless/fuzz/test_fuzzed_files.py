"""Volumes, manifests, vessel maps, archives and checkpoints with damage anywhere: read right, or refused by name."""

# ruff: noqa: PT017 - an error that need not come cannot be awaited by pytest.raises
from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from damage import broken
from twintrack.bundle.archive import extract_bundle_zip
from twintrack.bundle.checkpoints import read_checkpoint
from twintrack.bundle.model_bundle import Bundle, demo_bundle_path
from twintrack.calibration import ScoreSketch
from twintrack.calibration.sketch_file import load_sketch, save_sketch
from twintrack.errors import BundleError, InputError
from twintrack.imaging.label_grid import fit_labels
from twintrack.io.manifest import read_manifest
from twintrack.io.volumes import read_volume, write_volume
from twintrack.volume import Geometry, Volume

readers = settings.get_profile("readers")
DEMO = demo_bundle_path()
GEOMETRY = Geometry((7, 6, 5), (0.8, 0.9, 3.0), (-10.0, 20.0, 30.0))
ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha")


def stored(ending: str, folder: Path) -> bytes:
    array = np.random.default_rng(1).integers(-100, 100, GEOMETRY.shape).astype(np.int16)
    path = folder / f"whole{ending}"
    write_volume(Volume(array, GEOMETRY), path)
    return path.read_bytes()


@pytest.mark.parametrize("ending", ENDINGS)
def test_volumes(tmp_path: Path, ending: str) -> None:
    whole = stored(ending, tmp_path)
    path = tmp_path / f"damaged{ending}"

    @readers
    @given(broken(whole) | st.binary(max_size=400))
    def reads_or_refuses(content: bytes) -> None:
        path.write_bytes(content)
        try:
            volume = read_volume(path)
        except InputError as error:
            assert str(path) in str(error)
            assert "\n" not in str(error)
        else:
            assert volume.array.shape == volume.geometry.shape
            assert np.isfinite(volume.array).all()
            assert min(volume.geometry.spacing_mm) > 0

    reads_or_refuses()


@readers
@given(
    size=st.tuples(*[st.integers(1, 6)] * 3),
    spacing=st.tuples(*[st.floats(0.01, 50)] * 3),
    origin=st.tuples(*[st.floats(-1e4, 1e4)] * 3),
    values=st.integers(0, 2**32),
)
def test_vessel_maps_of_any_grid(size, spacing, origin, values) -> None:
    geometry = Geometry(size, spacing, origin)
    labels = np.random.default_rng(values).integers(0, 6, geometry.shape).astype(np.int32)
    try:
        fitted, _ = fit_labels(Volume(labels, geometry), GEOMETRY, "the vessel map")
    except InputError as error:
        assert "same place" in str(error) or "another size" in str(error)
    else:
        assert fitted.geometry == GEOMETRY
        assert set(np.unique(fitted.array)) <= {0, *np.unique(labels)}


MANIFEST = b"case,image,annotation_1,vessels\na,a.nii.gz,a.nii.gz,\nb,a.nii.gz,a.nii.gz,a.nii.gz\n"


@pytest.mark.slow
@readers
@given(content=broken(MANIFEST) | st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode()))
def test_manifests(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.nii.gz").touch()
    path = tmp_path / "manifest.csv"
    path.write_bytes(content)
    try:
        rows = read_manifest(path, needs=("image",), annotated=True)
    except InputError as error:
        assert str(path) in str(error)
    else:
        assert len({row.case for row in rows}) == len(rows) >= 1
        assert all(row.files["image"].exists() for row in rows)


def _zip(folder: Path) -> bytes:
    path = folder / "whole.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(DEMO / "bundle.json", "bundle.json")
        archive.writestr("fine/plans.json", "{}")
    return path.read_bytes()


def test_zip_archives(tmp_path: Path) -> None:
    whole, number = _zip(tmp_path), iter(range(10**9))

    @readers
    @given(broken(whole) | st.binary(max_size=60))
    def reads_or_refuses(content: bytes) -> None:
        folder = tmp_path / str(next(number)) / "inner"
        folder.mkdir(parents=True)
        (tmp_path / "damaged.zip").write_bytes(content)
        try:
            extract_bundle_zip(tmp_path / "damaged.zip", folder)
        except BundleError as error:
            assert "damaged.zip" in str(error)
        assert [path.name for path in folder.parent.iterdir()] == ["inner"]

    reads_or_refuses()


@readers
@given(
    names=st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
        | st.sampled_from(["../x", "/x", "a/../../x", "C:\\x", "a\\b", ".", "..", "a/./b", "CON", "a", "A"]),
        max_size=4,
    )
)
def test_names_in_zip_archives_stay_inside(tmp_path_factory, names: list[str]) -> None:
    folder = tmp_path_factory.mktemp("zip")
    with zipfile.ZipFile(folder / "names.zip", "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), b"x")
    (folder / "inner").mkdir()
    try:
        extract_bundle_zip(folder / "names.zip", folder / "inner")
    except BundleError as error:
        assert "names.zip" in str(error)
    assert {path.name for path in folder.iterdir()} == {"names.zip", "inner"}


def test_checkpoints(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "checkpoint_final.pth"
    torch.save({"network_weights": {"a": torch.zeros(3), "b": torch.ones(2, 2)}, "trainer_name": "x"}, path)
    whole = path.read_bytes()

    @readers
    @given(broken(whole) | st.binary(max_size=100))
    def reads_or_refuses(content: bytes) -> None:
        path.write_bytes(content)
        try:
            checkpoint = read_checkpoint(path)
        except BundleError as error:
            assert str(path) in str(error)
        else:
            assert isinstance(checkpoint["network_weights"], dict)

    reads_or_refuses()


@readers
@given(content=broken((DEMO / "bundle.json").read_bytes()))
def test_bundles_with_another_manifest(tmp_path: Path, content: bytes) -> None:
    for stage in ("coarse", "fine"):
        if not (tmp_path / stage).exists():
            (tmp_path / stage).symlink_to(DEMO / stage)
            (tmp_path / "calibrator.json").write_bytes((DEMO / "calibrator.json").read_bytes())
    (tmp_path / "bundle.json").write_bytes(content)
    try:
        bundle = Bundle.open(tmp_path)
    except BundleError as error:
        assert str(tmp_path) in str(error) or "plans.json" in str(error)
    else:
        json.dumps(bundle.describe())


def test_sketches(tmp_path: Path) -> None:
    sketch = ScoreSketch.empty()
    sketch.add(np.linspace(0, 1, 60, dtype=np.float32), [np.arange(60) > 30])
    save_sketch(sketch, tmp_path / "whole.npz")
    whole, path = (tmp_path / "whole.npz").read_bytes(), tmp_path / "damaged.npz"

    @readers
    @given(broken(whole) | st.binary(max_size=100))
    def reads_or_refuses(content: bytes) -> None:
        path.write_bytes(content)
        try:
            load_sketch(path)
        except InputError as error:
            assert str(path) in str(error)

    reads_or_refuses()
