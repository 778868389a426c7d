"""A file that stands alone proves by its mark that the program wrote it and that nobody changed it since."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.calibration import ScoreSketch, load_sketch, save_sketch
from twintrack.errors import OutputError
from twintrack.io.volumes import read_volume, write_volume
from twintrack.system.atomic import atomic_path
from twintrack.system.marks import is_marked
from twintrack.volume import Geometry, Volume

VOLUME = Volume(
    np.random.default_rng(1).random((5, 6, 7), np.float32), Geometry((7, 6, 5), (0.7, 0.8, 2.5), (1.0, 2.0, 3.0))
)


def write_json(path: Path) -> None:
    path.write_text(json.dumps({"schema": 1, "list": [1, 2]}, indent=2) + "\n")


def write_small_json(path: Path) -> None:
    path.write_text('{"a": 1}')


def write_picture(path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    figure.add_subplot().plot([0, 1])
    figure.savefig(path)


def write_sketch(path: Path) -> None:
    score = np.linspace(0, 1, 500, dtype=np.float32)
    save_sketch(ScoreSketch.of_case(score, [score > 0.4, score > 0.6]), path, overwrite=True)


def write_any_volume(path: Path) -> None:
    write_volume(VOLUME, path)


def read_any_volume(path: Path) -> None:
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, VOLUME.array)
    assert volume.geometry.same_grid(VOLUME.geometry)


def read_picture(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as picture:
        picture.load()
        assert picture.info["Comment"].startswith("twintrack:")


def read_text(path: Path) -> None:
    assert path.stat().st_size > 0


KINDS = {
    "a.json": (write_json, lambda path: json.loads(path.read_text())),
    "small.json": (write_small_json, lambda path: json.loads(path.read_text())),
    "a.nii": (write_any_volume, read_any_volume),
    "a.nii.gz": (write_any_volume, read_any_volume),
    "a.nrrd": (write_any_volume, read_any_volume),
    "a.mha": (write_any_volume, read_any_volume),
    "a.png": (write_picture, read_picture),
    "a.svg": (write_picture, read_text),
    "a.pdf": (write_picture, read_text),
    "a.npz": (write_sketch, load_sketch),
}


@pytest.fixture(params=KINDS)
def written(request, tmp_path) -> Path:
    write, _ = KINDS[request.param]
    with atomic_path(tmp_path / request.param) as partial:
        write(partial)
    return tmp_path / request.param


@pytest.mark.render
def test_a_marked_file_is_read_as_before_and_replaced_by_the_next_run(written):
    write, read = KINDS[written.name]
    assert is_marked(written)
    read(written)
    with atomic_path(written) as partial:
        write(partial)
    assert is_marked(written)


@pytest.mark.render
def test_a_single_changed_byte_makes_it_the_users(written):
    write, _ = KINDS[written.name]
    content = bytearray(written.read_bytes())
    for place in {len(content) // 2, len(content) - 1, 7}:
        changed = content.copy()
        changed[place] ^= 1
        written.write_bytes(bytes(changed))
        assert not is_marked(written), place
        with raises_error(OutputError, "place-taken", "--overwrite"), atomic_path(written) as partial:
            write(partial)
        assert written.read_bytes() == bytes(changed)
    written.write_bytes(bytes(content))
    assert is_marked(written)


@pytest.mark.render
def test_a_file_that_is_longer_or_shorter_is_the_users(written):
    content = written.read_bytes()
    for changed in (content + b"\n", content[:-1], content[: len(content) // 2], b""):
        written.write_bytes(changed)
        assert not is_marked(written)


@pytest.mark.render
def test_a_link_to_a_file_of_the_program_is_the_users(written):
    link = written.with_name(f"link-{written.name}")
    link.symlink_to(written)
    assert not is_marked(link)


def test_a_map_that_another_program_saved_again_is_the_users(tmp_path):
    import nibabel

    path = tmp_path / "a.nii.gz"
    with atomic_path(path) as partial:
        write_volume(VOLUME, partial)
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header), tmp_path / "again.nii.gz")
    shutil.copyfile(tmp_path / "again.nii.gz", path)
    assert not is_marked(path)


def test_the_comment_of_a_gzip_file_is_in_the_way_of_no_reader(tmp_path):
    path = tmp_path / "a.nii.gz"
    with atomic_path(path) as partial:
        write_volume(VOLUME, partial)
    import nibabel
    import SimpleITK as sitk

    assert gzip.decompress(path.read_bytes())[344:348] == b"n+1\0"
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), VOLUME.array)
    np.testing.assert_array_equal(np.asarray(nibabel.load(path).dataobj).T, VOLUME.array)


@pytest.mark.parametrize("name", ["a.csv", "a.jpg", "a", "list.json"])
def test_a_format_without_room_for_a_mark_is_replaced_only_when_the_user_says_so(tmp_path, name):
    path = tmp_path / name
    with atomic_path(path) as partial:
        partial.write_text("[1, 2]")
    with raises_error(OutputError, "place-taken", "--overwrite"), atomic_path(path) as partial:
        partial.write_text("[3]")
    with atomic_path(path, overwrite=True) as partial:
        partial.write_text("[3]")
    assert path.read_text() == "[3]"
