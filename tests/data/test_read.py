import io
import sys
import types
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from geocsp import registry
from geocsp.data.images import Bands, FileImages
from geocsp.data.options import Columns
from geocsp.data.read import read
from geocsp.data.table import GeoTable
from geocsp.errors import DataError

TABLE = GeoTable(FileImages(pa.chunked_array([["a.jpg"]])), np.ones((1, 2)))


@pytest.fixture
def readers(monkeypatch):
    """Readers that note what they are called with, instead of those of other modules."""
    calls = []
    for name, function in (
        ("tables", "read_table"),
        ("vectors", "read_vectors"),
        ("shards", "read_shards"),
        ("photos", "read_photos"),
        ("datasets", "read_dataset"),
    ):

        def reader(source, options, name=name):
            calls.append((name, source, options))
            return TABLE

        module = types.ModuleType(f"geocsp.data.readers.{name}")
        setattr(module, function, reader)
        monkeypatch.setitem(sys.modules, f"geocsp.data.readers.{name}", module)
    return calls


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("a.csv", "tables"),
        ("A.CSV.GZ", "tables"),
        ("a.txt.gz", "tables"),
        ("a.b.parquet", "tables"),
        ("s3://bucket/a.tsv", "tables"),
        ("https://host/a.csv?token=1.json", "tables"),
        ("zip://a.csv::/x/y.zip", "tables"),
        ("a.geojson", "vectors"),
        ("a.gpkg", "vectors"),
        ("a.shp", "vectors"),
        ("shards-{000..127}.tar", "shards"),
        ("gs://bucket/a.tgz", "shards"),
        (r"C:\photos\a.csv", "tables"),
        ("D:/photos/a.tar", "shards"),
        ("x:y.csv", "tables"),
    ],
)
def test_the_name_decides_who_reads(readers, name, reader):
    read(name)
    assert [(called, source) for called, source, _ in readers] == [(reader, name)]


@pytest.mark.parametrize(
    ("file", "reader"),
    [
        ("a.jpg", "photos"),
        ("sub/a.jpg", "photos"),
        ("places.csv", "photos"),
        ("b.TAR", "shards"),
        ("c.parquet", "tables"),
        ("split=train/k=1/c.parquet", "tables"),
        ("split=train/a.jpg", "photos"),
        ("k=v.jpg", "photos"),
    ],
)
def test_of_a_folder_what_is_in_it_decides(readers, tmp_path, file, reader):
    touch(tmp_path / file)
    touch(tmp_path / "readme.md")
    for source in (tmp_path, str(tmp_path), bytes(tmp_path)):
        read(source)
    assert [called for called, _, _ in readers] == [reader] * 3
    assert {str(source) for _, source, _ in readers} == {str(tmp_path)}


def test_of_a_folder_elsewhere_what_is_in_it_decides(readers):
    memory = fsspec.filesystem("memory")
    for name in ("p/a.parquet", "t/a.tar", "j/a.jpg"):
        memory.pipe(f"/read-test/{name}", b"")
    read("memory://read-test/p")
    read("memory://read-test/t/")
    assert [call[:2] for call in readers] == [
        ("tables", "memory://read-test/p"),
        ("shards", "memory://read-test/t/"),
    ]
    with pytest.raises(DataError, match="holds neither shards nor Parquet files; copy photos"):
        read("memory://read-test/j")
    memory.rm("/read-test", recursive=True)


def test_other_things_are_data_sets(readers):
    source = [1, 2]
    read(source)
    assert readers[0][:2] == ("datasets", source)


def test_options_are_passed_on(readers):
    columns, bands = Columns(lon="x"), Bands((1,))
    read(
        "a.gpkg",
        columns=columns,
        crs="EPSG:1",
        folder="f",
        bands=bands,
        keep_unplaced=True,
        layer="l",
    )
    options = readers[0][2]
    assert (options.columns, options.bands) == (columns, bands)
    assert (options.crs, options.folder, options.layer) == ("EPSG:1", "f", "l")
    assert options.keep_unplaced


def test_home_is_found(readers, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    read("~/a.csv")
    assert readers[0][1] == str(tmp_path / "a.csv")


@pytest.fixture
def layouts(monkeypatch):
    known = {name: lambda root, options: layout(root) for name in ("inat2018", "inat2019", "fmow")}
    monkeypatch.setitem(registry._KINDS, "layout", known)
    monkeypatch.setattr(registry, "_HOMES", {})
    roots = []

    def layout(root):
        roots.append(root)
        return GeoTable(TABLE.images, TABLE.lonlat)

    return roots


def test_data_sets_by_name(layouts, tmp_path):
    read(f"inat2018:{tmp_path}")
    assert layouts == [tmp_path]
    with pytest.raises(DataError, match="inat2018: none does not exist"):
        read("inat2018:none")
    with pytest.raises(DataError, match="inat2018: no folder was named; it does not exist"):
        read("inat2018:")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("none", "none does not exist"),
        ("none/a.jpg", "none/a.jpg does not exist"),
        ("", "no source was named"),
        (r"C:\photos", r"C:\photos does not exist"),
        ("C:/photos", "C:/photos does not exist"),
        ("inat2017:/x", "inat2017:/x does not exist, and 'inat2017' is no data set that is known; "
         "did you mean inat2019 or inat2018?"),
        ("FMOW:/x", "FMOW:/x does not exist, and 'FMOW' is no data set that is known; did you mean "
         "fmow?"),
        ("things:/x", "things:/x does not exist, and 'things' is no data set that is known; "
         "data sets: fmow, inat2018, inat2019"),
        ("a.jpg", "a.jpg is one photo; read its folder: ."),
        ("a.xlsx", "a.xlsx is a spreadsheet; save it as CSV"),
        ("a.zip", "a.zip is an archive; unpack it first"),
        ("a.doc", "a.doc is of no kind that can be read: a folder of photos, a table (.csv, .tsv, "
         ".parquet), a vector file (.geojson, .gpkg, .shp, .fgb, .kml) or shards (.tar)"),
        ("empty", "empty is an empty folder"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_with_what_to_do(
    layouts, tmp_path, monkeypatch, source, message
):
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "a.xlsx", "a.zip", "a.doc"):
        touch(Path(name))
    Path("empty").mkdir()
    with pytest.raises(DataError) as error:
        read(source)
    assert str(error.value) == message


@pytest.mark.parametrize(
    "source", ["nothing://bucket/folder", "memory://no-such-folder", "https://host:bad/x", "a\0b"]
)
def test_urls_that_cannot_be_listed_are_told(source):
    with pytest.raises(DataError, match=r"cannot be (listed|read)"):
        read(source)


def test_a_path_with_a_colon_is_a_path(readers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / "2020:trip" / "a.jpg")
    read("2020:trip")
    assert readers[0][:2] == ("photos", Path("2020:trip"))


def test_a_folder_whose_name_is_no_text(readers, tmp_path):
    folder = Path(str(tmp_path).encode().decode() + "/caf\udce9")
    touch(folder / "a.jpg")
    read(folder)
    assert readers[0][1] == folder


def test_a_table_without_a_usable_row_says_why(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("image,lon,lat\na.jpg,50,100\nb.jpg,51,120\n")
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value) == (
        f"{path} holds no image with a place; 2 rows were left out, the first: {path} row 0: "
        "latitude 100 is outside [-90, 90] degrees; are longitude and latitude swapped?; longitude "
        "and latitude look swapped: 2 of 2 rows would be valid the other way round"
    )
    path.write_text("image,lon,lat\n")
    with pytest.raises(DataError, match=r"a\.csv holds no image with a place$"):
        read(path)


def test_a_folder_without_a_usable_photo_names_the_table_in_it(tmp_path, monkeypatch):
    nothing = types.ModuleType("geocsp.data.readers.photos")
    nothing.read_photos = lambda folder, options: TABLE.take(np.array([], dtype=np.int64))
    monkeypatch.setitem(sys.modules, "geocsp.data.readers.photos", nothing)
    touch(tmp_path / "a.jpg")
    touch(tmp_path / "metadata.csv")
    with pytest.raises(DataError) as error:
        read(tmp_path)
    assert str(error.value) == (
        f"{tmp_path} holds no image with a place; it holds a table, which can be read: "
        f"{tmp_path}/metadata.csv"
    )


def test_a_folder_of_parquet_is_read(tmp_path):
    columns = pa.table({"image": ["a.jpg"], "lon": [1.0], "lat": [2.0]})
    pq.write_table(columns, tmp_path / "a.parquet")
    table = read(tmp_path)
    assert table.lonlat.tolist() == [[1, 2]]
    assert table.images.path(0) == str(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    "places",
    [
        {"loc": [{"lat": -3.5, "lon": 10.25}] * 2},
        {"coordinates": [[10.25, -3.5]] * 2},
        {"lon": [10.25] * 2, "lat": [-3.5] * 2},
    ],
    ids=str,
)
def test_parquet_with_images_may_say_the_place_in_many_ways(tmp_path, places):
    content = io.BytesIO()
    Image.new("RGB", (4, 4), (9, 0, 0)).save(content, "PNG")
    image = {"bytes": content.getvalue(), "path": "a.png"}
    pq.write_table(pa.table({"image": [image] * 2} | places), tmp_path / "a.parquet")
    table = read(tmp_path / "a.parquet")
    assert table.lonlat.tolist() == [[10.25, -3.5]] * 2
    assert table.images.load(1) == content.getvalue()
