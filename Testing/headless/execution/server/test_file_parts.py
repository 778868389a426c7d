"""Files that go from one computer to another arrive as they were, and nowhere else."""

from __future__ import annotations

import pytest

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.execution.server import file_parts
from twintrack.execution.server.file_parts import files_below, packed, write_parts


@pytest.mark.parametrize("sizes", [(), (0,), (10,), (9, 1, 0), (25, 0, 3), (10, 10), (30,)])
def test_files_arrive_as_they_were_in_messages_of_a_bounded_size(sizes, tmp_path, monkeypatch):
    monkeypatch.setattr(file_parts, "PART_BYTES", 10)
    (tmp_path / "here" / "below").mkdir(parents=True)
    for number, size in enumerate(sizes):
        (tmp_path / "here" / ("below" if number % 2 else "") / f"{number}").write_bytes(bytes(range(size)))
    messages = list(packed(files_below(tmp_path / "here", "in")))
    assert all(sum(len(data) for _, _, data in message) <= 10 for message in messages)
    assert len(messages) <= sum(sizes) // 10 + 1
    for message in messages:
        write_parts(tmp_path / "there", message)
    told = {path.relative_to(tmp_path / "here"): path.read_bytes() for path in tmp_path.glob("here/**/[0-9]*")}
    assert {
        path.relative_to(tmp_path / "there/in"): path.read_bytes() for path in tmp_path.glob("there/in/**/[0-9]*")
    } == told
    assert len(told) == len(sizes)


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "..\\x", "C:x", "", "."])
def test_a_name_that_leads_elsewhere_is_refused(name, tmp_path):
    with raises_error(InputError, "part-name"):
        write_parts(tmp_path / "there", [(name, 0, b"x")])
    assert not list(tmp_path.rglob("x"))


def test_a_file_is_written_once_and_in_order(tmp_path):
    write_parts(tmp_path, [("a", 0, b"123")])
    with raises_error(InputError, "part-offset"):
        write_parts(tmp_path, [("a", 2, b"4")])
    with pytest.raises(FileExistsError):
        write_parts(tmp_path, [("a", 0, b"4")])
    assert (tmp_path / "a").read_bytes() == b"123"


def test_a_link_is_not_followed_out_of_a_folder(tmp_path):
    (tmp_path / "secret").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "secret")
    assert files_below(tmp_path / "folder", ".") == {}
