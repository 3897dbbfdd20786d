import stat

import pytest

from geocsp import files
from geocsp.files import write_atomically


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
