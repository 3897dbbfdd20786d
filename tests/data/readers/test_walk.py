import os
import socket
from pathlib import Path

import pytest

from geocsp.data.readers.walk import Walk, printable


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def reasons(walk):
    return {problem.file: problem.reason for problem in walk.problems}


def test_files_are_listed_in_order_with_slashes(tmp_path):
    make(tmp_path, "b/z.jpg", "b/a/1.jpg", "a.jpg", "c/x.jpg")
    walk = Walk(tmp_path)
    assert walk.names == ["a.jpg", "b/a/1.jpg", "b/z.jpg", "c/x.jpg"]
    assert walk.problems == []
    assert walk.repeated == 0


def test_hidden_names_and_thumbnails_of_systems_are_skipped(tmp_path):
    make(tmp_path, ".a.jpg", ".git/b.jpg", "__MACOSX/c.jpg", "@eaDir/d.jpg", "._e.jpg", "f.jpg")
    assert Walk(tmp_path).names == ["f.jpg"]


def test_loops_of_links_end(tmp_path):
    make(tmp_path, "a/b/1.jpg")
    (tmp_path / "a/b/up").symlink_to(tmp_path)
    (tmp_path / "a/b/here").symlink_to(".")
    (tmp_path / "z").symlink_to("a")
    walk = Walk(tmp_path)
    assert walk.names == ["a/b/1.jpg"]
    assert walk.repeated == 3


def test_a_link_counts_where_it_leads_out_of_the_folder(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    make(outside, "x.jpg", "deep/y.jpg", "single.jpg")
    make(folder, "z.jpg")
    (folder / "linked").symlink_to(outside)
    (folder / "again").symlink_to(outside / "deep")
    (folder / "single.jpg").symlink_to(outside / "single.jpg")
    (outside / "back").symlink_to(folder)
    walk = Walk(folder)
    assert walk.names == ["again/y.jpg", "linked/single.jpg", "linked/x.jpg", "z.jpg"]
    assert walk.repeated == 3  # single.jpg, linked/deep, linked/back


def test_the_file_itself_comes_before_a_link_to_it(tmp_path):
    make(tmp_path, "z.jpg")
    (tmp_path / "a.jpg").symlink_to("z.jpg")
    os.link(tmp_path / "z.jpg", tmp_path / "zz.jpg")
    walk = Walk(tmp_path)
    assert walk.names == ["z.jpg"]
    assert walk.repeated == 2


def test_two_files_of_the_same_content_are_two(tmp_path):
    make(tmp_path, "a.jpg", "b.jpg")
    assert Walk(tmp_path).names == ["a.jpg", "b.jpg"]


def test_what_is_no_file_is_told(tmp_path):
    (tmp_path / "gone.jpg").symlink_to("nothing")
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket.jpg"))
        walk = Walk(tmp_path)
    assert walk.names == []
    assert reasons(walk) == {
        "gone.jpg": "is a link to a file that is not there",
        "self.jpg": "is a link that leads nowhere but to itself",
        "pipe.jpg": "is a pipe, socket or device, not a file",
        "socket.jpg": "is a pipe, socket or device, not a file",
    }


def test_what_is_to_be_ignored_is_no_problem(tmp_path):
    make(tmp_path, "a.txt", "folder.txt/b.jpg", "c.jpg")
    (tmp_path / "gone.txt").symlink_to("nothing")
    os.mkfifo(tmp_path / "pipe.txt")
    walk = Walk(tmp_path, lambda name: name.endswith(".txt"))
    assert walk.names == ["c.jpg", "folder.txt/b.jpg"]
    assert walk.ignored == ["a.txt"]
    assert walk.problems == []


def test_names_that_are_not_unicode_are_told_with_escapes(tmp_path):
    raw = os.fsencode(tmp_path)
    try:
        (Path(os.fsdecode(raw + b"/caf\xe9"))).mkdir()
    except OSError:
        pytest.skip("this file system takes Unicode alone")
    Path(os.fsdecode(raw + b"/caf\xe9/a.jpg")).write_bytes(b"")
    make(tmp_path, "é.jpg")
    walk = Walk(tmp_path)
    assert walk.names == ["é.jpg"]
    reason = "has a name that is not Unicode (UTF-8); rename it"
    assert reasons(walk) == {r"caf\udce9/a.jpg": reason}
    assert printable(os.fsdecode(b"caf\xe9")) == r"caf\udce9"


def test_a_folder_that_cannot_be_listed_is_told(tmp_path, monkeypatch):
    make(tmp_path, "a.jpg", "locked/b.jpg")
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    walk = Walk(tmp_path)
    assert walk.names == ["a.jpg"]
    assert reasons(walk) == {"locked": "cannot be listed: Permission denied"}
    with pytest.raises(PermissionError):
        Walk(tmp_path / "locked")


def test_a_folder_that_is_not_there_raises(tmp_path):
    with pytest.raises(FileNotFoundError):
        Walk(tmp_path / "nothing")
    make(tmp_path, "file")
    with pytest.raises(NotADirectoryError):
        Walk(tmp_path / "file")


def test_folders_of_any_depth_are_walked(tmp_path):
    deep = "/".join(["d"] * 300)
    make(tmp_path, f"{deep}/a.jpg")
    assert Walk(tmp_path).names == [f"{deep}/a.jpg"]


@pytest.mark.parametrize("left", [("quarantine.csv",), ("about.json", "000000.npy")])
def test_what_commands_left_in_a_folder_is_passed_over(tmp_path, left):
    for name in ("a.jpg", "runs/b.jpg", *(f"runs/out/{name}" for name in left), "runs/out/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "about.json").touch()  # alone it may be anybody's
    walk = Walk(tmp_path)
    assert walk.names == ["a.jpg", "about.json", "runs/b.jpg"]
