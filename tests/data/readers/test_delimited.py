import gzip

import pyarrow as pa
import pytest

from geocsp.data.readers import delimited
from geocsp.data.readers.delimited import Delimited, Ragged
from geocsp.errors import DataError


def table(tmp_path, content, name="a.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def rows_of(source, *columns):
    ragged = []
    blocks = list(Delimited.open(source).blocks(columns, ragged))
    return [list(row.values()) for block in blocks for row in block.to_pylist()], ragged


@pytest.mark.parametrize(
    ("heading", "name", "delimiter"),
    [
        ("a,b,c", "a.csv", ","),
        ("a;b;c", "a.csv", ";"),
        ("a;b,c;d", "a.csv", ";"),
        ('"a,a,a";b', "a.csv", ";"),
        ("a\tb", "a.txt", "\t"),
        ("a|b|c,d", "a.txt", "|"),
        ("a,b,c\td", "a.tsv", "\t"),
        ("a", "a.csv", ","),
    ],
)
def test_what_is_between_cells_is_found_in_the_heading(tmp_path, heading, name, delimiter):
    assert Delimited.open(table(tmp_path, f"{heading}\n1\n", name)).delimiter == delimiter


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,2\n",
        "\ufeffa,b\r\n1,2\r\n",
        "\n\na,b\r1,2",
        '"a","b"\n"1",2\n\n\n',
        "b,a\n2,1",
        "x,a,y,b\nq,1,,2\n",
    ],
)
def test_columns_are_read_as_text_in_the_order_asked_for(tmp_path, content):
    assert rows_of(table(tmp_path, content), "a", "b") == ([["1", "2"]], [])


def test_packed_files_are_read(tmp_path):
    source = table(tmp_path, gzip.compress(b"a,b\n1,2\n", mtime=0), "a.CSV.GZ")
    assert rows_of(source, "b") == ([["2"]], [])


def test_words_for_nothing_stay_what_they_are(tmp_path):
    cells = ["NA", "", "null", "0012", " x ", "true"]
    content = "a,b\n" + "".join(f"{cell},1\n" for cell in cells)
    assert rows_of(table(tmp_path, content), "a")[0] == [[cell] for cell in cells]


def test_quoted_cells_may_hold_anything(tmp_path):
    content = 'a,b\n"x,\n""y""",1\nz"z,2\n'
    assert rows_of(table(tmp_path, content), "a", "b") == ([['x,\n"y"', "1"], ['z"z', "2"]], [])


def test_rows_of_other_lengths_are_left_out_with_their_number(tmp_path):
    content = 'a,b\n1,2\n3\n\n"4\n4",5\n6,7,8\n9,9\n'
    rows, ragged = rows_of(table(tmp_path, content), "a")
    assert rows == [["1"], ["4\n4"], ["9"]]
    assert ragged == [Ragged(1, 1, "3"), Ragged(3, 3, "6,7,8")]


def test_rows_are_numbered_over_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_BLOCK", 1000)
    lines = [f"{n},x" if n % 100 else f"{n}" for n in range(1, 5000)]
    rows, ragged = rows_of(table(tmp_path, "a,b\n" + "\n".join(lines)), "a")
    assert [row for [row] in rows] == [str(n) for n in range(1, 5000) if n % 100]
    assert [found.row for found in ragged] == [n - 1 for n in range(100, 5000, 100)]


def test_long_rows_that_are_left_out_are_not_kept_whole(tmp_path):
    _, ragged = rows_of(table(tmp_path, "a,b\n" + "x" * 100_000 + "\n"), "a")
    assert ragged == [Ragged(0, 1, "x" * 1000)]


@pytest.mark.parametrize(("content", "names"), [("", ()), ("\n \n", (" ",)), ("a,b", ("a", "b"))])
def test_files_without_rows(tmp_path, content, names):
    file = Delimited.open(table(tmp_path, content))
    assert file.names == names
    assert list(file.blocks(names[:1], [])) == []


def test_quotation_marks_between_tabs_count_only_where_the_heading_has_them(tmp_path):
    assert Delimited.open(table(tmp_path, 'a,b\n"1",2\n')).quoted
    assert Delimited.open(table(tmp_path, '"a"\tb\n"1"\t2\n', "a.tsv")).quoted
    source = table(tmp_path, 'a\tb\n"1\t2\n3"\t4\n', "b.tsv")
    assert not Delimited.open(source).quoted
    assert rows_of(source, "a", "b") == ([['"1', "2"], ['3"', "4"]], [])


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("a,b\n1,2\n".encode("utf-16"), "a.csv", r"a\.csv is UTF-16; save it as UTF-8"),
        (b"PK\x03\x04\0\0\n1", "a.csv", r"a\.csv is a binary file, not a table of text"),
        (b"\x1f\x8b nonsense", "a.csv.gz", r"a\.csv\.gz cannot be read: "),
        (
            gzip.compress(b"a,b\n" + b"1,2\n" * 9999, mtime=0)[:-9],
            "a.csv.gz",
            r"a\.csv\.gz cannot be read: ",
        ),
        (b"caf\xe9,b\n1,2\n", "a.csv", r"a\.csv: line 1 is not UTF-8; save the file as UTF-8"),
        (b"a,b\n1,2\ncaf\xe9,2\n", "a.csv", r"a\.csv: line 3 is not UTF-8; save the file as UTF-8"),
        (b"a,a\n1,2\n", "a.csv", r"a\.csv has 2 columns 'a'"),
        (b'a,b\n"1,2\n' + b"3,4\n" * 9999, "a.csv", r'more than 0 MB; is a quotation mark " not'),
    ],
)
def test_files_that_cannot_be_read_are_told(tmp_path, monkeypatch, content, name, message):
    monkeypatch.setattr(delimited, "_BLOCK", 10_000)
    with pytest.raises(DataError, match=message):
        rows_of(table(tmp_path, content, name), "a")


def test_columns_that_are_not_read_may_be_of_any_encoding(tmp_path):
    assert rows_of(table(tmp_path, b"a,b\n1,caf\xe9\n"), "a") == ([["1"]], [])


@pytest.mark.filterwarnings("error")
def test_rows_that_are_left_out_may_be_of_any_encoding(tmp_path, capfd):
    rows, ragged = rows_of(table(tmp_path, b"a,b\n1,2\ncaf\xe9\n\x1a,4\n"), "b")
    assert rows == [["2"], ["4"]]
    assert ragged == [Ragged(1, 1, "caf\x1a")]
    assert capfd.readouterr().err == ""


def test_places_where_no_file_is(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv does not exist"):
        Delimited.open(str(tmp_path / "none.csv"))
    with pytest.raises(DataError, match="cannot be read"):
        Delimited.open(str(tmp_path))
    with pytest.raises(DataError, match=r"nothing://a\.csv cannot be read: "):
        Delimited.open("nothing://a.csv")


def test_blocks_are_of_text_alone(tmp_path):
    [block] = Delimited.open(table(tmp_path, "a,b\n1,2\n")).blocks(["a", "b"], [])
    assert set(block.schema.types) == {pa.string()}
