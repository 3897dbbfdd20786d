from pathlib import Path

import fsspec
import pytest

from geocsp.data.images import RowTexts, full_path, load_file, stamp_of
from geocsp.errors import DataError


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    yield system
    system.rm("/", recursive=True)


def test_texts_of_rows_are_made_when_asked_for():
    made = []
    texts = RowTexts(4, lambda row: made.append(row) or f"row {row}")
    assert len(texts) == 4
    assert made == []
    assert texts[-1] == "row 3"
    assert texts[1:3] == ["row 1", "row 2"]
    assert made == [3, 1, 2]
    assert list(texts) == [f"row {row}" for row in range(4)]
    with pytest.raises(IndexError):
        texts[4]


def test_local_files_are_paths_and_remote_ones_content(memory):
    memory.pipe("/d/a.jpg", b"content")
    assert load_file("d/a.jpg") == Path("d/a.jpg")
    assert load_file("memory://d/a.jpg") == b"content"
    with pytest.raises(FileNotFoundError):
        load_file("memory://d/b.jpg")
    with pytest.raises(DataError, match=r"nope://a\.jpg cannot be opened: Protocol not known"):
        load_file("nope://a.jpg")


def test_stamps_change_with_files(tmp_path, memory):
    (tmp_path / "a").write_bytes(b"x")
    before = stamp_of(str(tmp_path / "a"))
    assert stamp_of(str(tmp_path / "a")) == before
    (tmp_path / "a").write_bytes(b"xy")
    assert stamp_of(str(tmp_path / "a")) != before
    memory.pipe("/a", b"x")
    before = stamp_of("memory://a")
    memory.pipe("/a", b"y")
    assert stamp_of("memory://a") != before


@pytest.mark.parametrize("path", ["gone", "a\0b", "memory://gone", "nope://a"])
def test_what_cannot_be_seen_is_missing(path):
    assert stamp_of(path) == "missing"


@pytest.mark.parametrize(
    ("folder", "name", "expected"),
    [
        ("", "a.jpg", "a.jpg"),
        ("d", "a.jpg", "d/a.jpg"),
        ("d", "/a.jpg", "/a.jpg"),
        ("d", "s3://b/a.jpg", "s3://b/a.jpg"),
        ("s3://b/d/", "a.jpg", "s3://b/d/a.jpg"),
    ],
)
def test_names_relative_to_a_folder(folder, name, expected):
    assert full_path(folder, name) == expected


def test_file_urls_may_have_escapes(tmp_path):
    for name in ("Fr\u00f6sche 1.jpg", "100%25.jpg"):
        (tmp_path / name).write_bytes(b"x")
    escaped = (tmp_path / "Fr\u00f6sche 1.jpg").as_uri()
    assert "%20" in escaped
    assert load_file(escaped) == tmp_path / "Fr\u00f6sche 1.jpg"
    assert load_file(f"file://{tmp_path}/100%25.jpg") == tmp_path / "100%25.jpg"
    assert stamp_of(escaped) == stamp_of(str(tmp_path / "Fr\u00f6sche 1.jpg"))


@pytest.mark.parametrize(
    ("status", "kind"), [(403, PermissionError), (410, PermissionError), (503, OSError)]
)
def test_errors_of_servers_are_errors_of_reading(monkeypatch, status, kind):
    class ClientResponseError(Exception):
        pass

    def fail(path, mode):
        error = ClientResponseError("no")
        error.status = status
        raise error

    monkeypatch.setattr(fsspec, "open", fail)
    with pytest.raises(OSError, match=str(status) if status < 500 else "no") as caught:
        load_file("https://host/a.jpg")
    assert type(caught.value) is kind
