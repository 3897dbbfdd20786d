import errno
import os
import stat

import pytest

from geocsp import files
from geocsp.files import write_atomically, write_new


def test_content_is_written_readable_and_nothing_else_is_left(tmp_path):
    path = write_atomically(tmp_path / "a.bin", b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = write_atomically(tmp_path / "a.bin", b"old")

    def fail(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.Path, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_content_waits_beside_the_file_until_it_is_whole(tmp_path, monkeypatch):
    path = write_atomically(tmp_path / "a.bin", b"old")
    seen = {}

    def look(self, target):
        seen.update(folder=self.parent, waiting=self.read_bytes(), old=target.read_bytes())

    monkeypatch.setattr(files.Path, "replace", look)
    write_atomically(path, b"new")
    assert seen == {"folder": tmp_path, "waiting": b"new", "old": b"old"}


def test_content_that_cannot_be_written_leaves_the_old_file_and_no_other(tmp_path):
    path = write_atomically(tmp_path / "a.bin", b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "text")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_is_written_once(tmp_path):
    path = tmp_path / "a"
    write_new(path, b"first")
    write_new(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_without_links_a_new_file_is_written_all_the_same(tmp_path, monkeypatch):
    def link(source, target):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    write_new(tmp_path / "a", b"content")
    assert (tmp_path / "a").read_bytes() == b"content"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]
