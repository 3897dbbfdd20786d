import csv
import os

import pytest

from geocsp.data.quarantine import Problem, write_quarantine


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_every_problem_is_a_row(tmp_path):
    problems = [Problem("a.csv", 0, "no coordinates"), Problem("b, c.jpg", None, 'is "damaged"')]
    path = write_quarantine(tmp_path / "quarantine.csv", problems)
    assert rows(path) == [
        ["file", "row", "reason"],
        ["a.csv", "0", "no coordinates"],
        ["b, c.jpg", "", 'is "damaged"'],
    ]


def test_without_problems_there_is_the_heading(tmp_path):
    path = write_quarantine(tmp_path / "q.csv", iter(()))
    assert path.read_bytes() == b"file,row,reason\r\n"
    assert [found.name for found in tmp_path.iterdir()] == ["q.csv"]


@pytest.mark.parametrize("name", ["a\nb.jpg", "a\rb.jpg", 'a"b.jpg', "ä,\u2028.jpg", "=cmd()"])
def test_odd_names_are_read_back_as_they_are(tmp_path, name):
    path = write_quarantine(tmp_path / "q.csv", [Problem(name, 3, "two\nlines,\n three")])
    assert rows(path)[1:] == [[name, "3", "two lines, three"]]


def test_names_that_are_no_text_are_written_with_escapes(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    path = write_quarantine(tmp_path / "q.csv", [Problem(name, None, f"{name} is damaged")])
    assert rows(path)[1] == ["caf\\udce9.jpg", "", "caf\\udce9.jpg is damaged"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        write_quarantine(tmp_path / "none" / "q.csv", [])


def test_a_problem_as_text_is_one_line():
    assert str(Problem("a.csv", 7, "no\ncoordinates")) == "a.csv row 7: no coordinates"
    assert str(Problem("a\nb.jpg", None, "is damaged")) == "a b.jpg: is damaged"
