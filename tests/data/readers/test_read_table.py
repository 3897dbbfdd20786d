import gzip
import io
import json
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import fsspec
import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq
import pytest
import shapely

from geocsp.data.options import Columns, ReadOptions
from geocsp.data.quarantine import Problem
from geocsp.data.readers.tables import folder_of, read_table
from geocsp.errors import DataError

HEAD = "image,lon,lat,label\n"


def text(tmp_path, content, name="a.csv"):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def parquet(tmp_path, columns, name="a.parquet"):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return str(path)


def read(source, **options):
    return read_table(source, ReadOptions(**options))


COLUMNS = {"image": ["a.jpg", "b.jpg"], "lon": [1.5, -2], "lat": [3.0, 4], "label": ["y", "x"]}


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (HEAD + "a.jpg,1.5,3,y\nb.jpg,-2,4,x\n", "a.csv"),
        ("\ufeffimage;lon;lat;label\r\na.jpg;1,5;3;y\r\nb.jpg;-2;4,0;x\r\n", "a.csv"),
        ("label\timage\tlat\tlon\ny\ta.jpg\t3\t1.5\nx\tb.jpg\t4\t-2\n", "a.tsv"),
        ("image|lon|lat|label\na.jpg|1.5|3|y\nb.jpg|-2|4|x", "a.txt"),
        ('"image","lon","lat","label"\n"a.jpg","1.5","3","y"\n"b.jpg","-2","4","x"\n', "A.CSV"),
        (gzip.compress((HEAD + "a.jpg,1.5,3,y\nb.jpg,-2,4,x\n").encode(), mtime=0), "a.csv.gz"),
        ("image,wkt,label\na.jpg,POINT (1.5 3),y\nb.jpg,POINT(-2 4),x\n", "a.csv"),
        ('image,lat_lon,label\na.jpg,"3,1.5",y\nb.jpg,"(4, -2)",x\n', "a.csv"),
    ],
)
def test_texts_of_any_kind_are_the_same_table(tmp_path, content, name):
    table = read(text(tmp_path, content, name))
    assert table.images.names.to_pylist() == ["a.jpg", "b.jpg"]
    assert table.images.path(0) == str(tmp_path / "a.jpg")
    assert table.lonlat.tolist() == [[1.5, 3], [-2, 4]]
    assert table.class_names == ("x", "y")
    assert table.labels.tolist() == [1, 0]
    assert table.problems == ()


def test_every_bad_row_is_told_with_its_number_and_the_others_are_read(tmp_path):
    lines = [
        "a.jpg,1,2,x",
        "b.jpg,north,2,x",
        "c.jpg,1",
        "",
        '"d\n.jpg",1,2,x',
        "e.jpg,1,95,x",
        "f.jpg,1,2,x,y",
        ",1,2,x",
        "g.jpg,,,x",
        "h.jpg,200,1,x",
    ]
    source = text(tmp_path, HEAD + "\n".join(lines))
    table = read(source)
    assert table.images.names.to_pylist() == ["a.jpg", "d\n.jpg", "h.jpg"]
    assert table.lonlat[:, 0].tolist() == [1, 1, -160]
    assert table.problems == (
        Problem(source, 2, "has 2 cells where the heading has 4"),
        Problem(source, 5, "has 5 cells where the heading has 4"),
        Problem(source, 1, "lon 'north' is not a number"),
        Problem(
            source,
            4,
            "latitude 95 is outside [-90, 90] degrees; are longitude and latitude swapped?",
        ),
        Problem(source, 6, "names no image"),
        Problem(source, 7, "no coordinates"),
    )
    assert table.notes == ("1 longitudes from 180 to 360 were wrapped",)


def test_all_roles_are_read_and_guesses_told(tmp_path):
    content = (
        "photo,decimalLongitude,decimalLatitude,eventDate,species,subset,recordedBy\n"
        "a.jpg,30,2,2020-01-01T10:00:00Z,10,train,u\n"
        "b.jpg,1,2,,9,test,\n"
    )
    table = read(text(tmp_path, content))
    assert table.time[0].tolist() == [10 / 24 / 366, 12]
    assert np.isnan(table.time[1]).all()
    assert table.class_names == ("9", "10")
    assert table.split.names == ("test", "train")
    assert table.group.codes.tolist() == [0, -1]
    assert table.notes == (
        "column 'photo' is taken as image",
        "column 'decimalLongitude' is taken as lon",
        "column 'decimalLatitude' is taken as lat",
        "column 'eventDate' is taken as time",
        "column 'species' is taken as label",
        "column 'subset' is taken as split",
        "column 'recordedBy' is taken as group",
    )


def test_named_columns_and_projected_coordinates(tmp_path):
    source = text(tmp_path, "a,e,n\nx.jpg,500000,0\ny.jpg,1e15,1e15\n")
    columns = Columns(image="a", lon="e", lat="n")
    table = read(source, columns=columns, crs="EPSG:32632")
    assert table.lonlat == pytest.approx(np.array([[9.0, 0.0]]), abs=1e-9)
    assert table.problems == (
        Problem(source, 1, "x 1e+15, y 1e+15 cannot be converted to degrees"),
    )
    with pytest.raises(DataError, match="'EPSG:1' is no coordinate reference system"):
        read(source, columns=columns, crs="EPSG:1")


def test_tabs_and_stray_quotation_marks(tmp_path):
    gbif = 'image\tlon\tlat\tlabel\na.jpg\t1\t2\t"big tree\nb.jpg\t3\t4\t6" pipe\n'
    table = read(text(tmp_path, gbif, "gbif.txt"))
    assert table.lonlat.tolist() == [[1, 2], [3, 4]]
    assert table.class_names == ('"big tree', '6" pipe')
    pandas = 'image\tlon\tlat\tlabel\na.jpg\t1\t2\t"two\nlines"\nb.jpg\t3\t4\tone\n'
    table = read(text(tmp_path, pandas, "pandas.tsv"))
    assert table.class_names == ("one", "two\nlines")
    assert table.problems == ()
    damaged = "image\tlon\tlat\tlabel\na.jpg\t1\t2\nb.jpg\t3\t4\tone\n"
    assert read(text(tmp_path, damaged, "damaged.tsv")).problems[0].row == 0


def test_tables_may_be_anywhere(tmp_path):
    content = (HEAD + "a.jpg,1,2,x\nhttps://host/b.jpg,3,4,x\n").encode()
    memory = fsspec.filesystem("memory")
    memory.pipe("/tables-test/t/a.csv", content)
    table = read("memory://tables-test/t/a.csv")
    assert table.images.path(0) == "memory://tables-test/t/a.jpg"
    assert table.images.path(1) == "https://host/b.jpg"
    memory.pipe("/tables-test/p/a.parquet", Path(parquet(tmp_path, COLUMNS)).read_bytes())
    for source in ("memory://tables-test/p", "memory://tables-test/p/a.parquet"):
        assert read(source).images.path(0) == "memory://tables-test/p/a.jpg"
    memory.rm("/tables-test", recursive=True)
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("a.csv", content)
    assert read(f"zip://a.csv::{tmp_path}/z.zip").images.path(0) == f"{tmp_path}/a.jpg"
    assert read(text(tmp_path, content), folder="/photos").images.path(0) == "/photos/a.jpg"


@pytest.mark.parametrize(
    ("source", "folder"),
    [
        ("a.csv", "."),
        ("/x/a.csv", "/x"),
        ("s3://b/x/a.csv?versionId=1/2", "s3://b/x"),
        ("zip://x/a.csv::/y/z.zip", "/y"),
        ("zip://a.csv::https://h/y/z.zip", "https://h/y"),
    ],
)
def test_the_folder_of_a_table(source, folder):
    assert folder_of(source) == folder


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no column image; its columns are none"),
        ("lon,lat\n1,2\n", "has no column image; its columns are lon, lat"),
        ("image,lon\na,1\n", "has no column lat; its columns are image, lon; name them with "),
        ("a.jpg,1.5,2.5\n", "has no column image"),
        ("image,lon,lat\n", None),
        ("image,lon,lat", None),
    ],
)
def test_tables_without_what_is_needed(tmp_path, content, message):
    source = text(tmp_path, content)
    if message is None:
        assert len(read(source)) == 0
    else:
        with pytest.raises(DataError, match=message):
            read(source)


@pytest.mark.parametrize("index", [pa.int8(), pa.int32()])
def test_parquet_of_many_types(tmp_path, index):
    columns = {
        "filename": pa.array(["a.jpg", "b.jpg", None], pa.large_string()),
        "longitude": pa.array([1, 2, 3], pa.int32()),
        "latitude": pa.array(["1.5", "x", "2"]),
        "date": pa.array([1_600_000_000_000, None, 0], pa.timestamp("ms", "UTC")),
        "class": pa.array(["u", "v", "u"]).cast(pa.dictionary(index, pa.string())),
        "site": pa.array([1.0, None, 3.0]),
        "unused": pa.array([[1], [2], [3]]),
    }
    source = parquet(tmp_path, columns)
    table = read(source)
    assert table.images.names.to_pylist() == ["a.jpg"]
    assert table.lonlat.tolist() == [[1, 1.5]]
    assert table.time[0, 0] == pytest.approx(256 / 366, abs=0.002)
    assert (table.class_names, table.group.names) == (("u",), ("1",))
    assert table.problems == (
        Problem(source, 1, "latitude 'x' is not a number"),
        Problem(source, 2, "names no image"),
    )


def test_folders_of_parquet_with_what_their_names_tell(tmp_path):
    for split, label, rows in (("train", "oak", 2), ("test", "elm", 1)):
        columns = {name: COLUMNS[name][:rows] for name in ("image", "lon", "lat")}
        parquet(tmp_path, columns, f"t/split={split}/label={label}/0.parquet")
    table = read(str(tmp_path / "t"))
    assert table.images.path(0) == str(tmp_path / "t" / "a.jpg")
    assert table.split.texts().to_pylist() == ["test", "train", "train"]
    assert table.label.texts().to_pylist() == ["elm", "oak", "oak"]


def test_names_of_files_tell_the_split_if_all_do_and_no_column_does(tmp_path):
    parquet(tmp_path, COLUMNS, "t/train-0.parquet")
    parquet(tmp_path, COLUMNS, "t/test-0.parquet")
    table = read(str(tmp_path / "t"))
    assert table.split.texts().to_pylist() == ["test", "test", "train", "train"]
    assert read(str(tmp_path / "t" / "train-0.parquet")).split is None
    parquet(tmp_path, COLUMNS | {"fold": [1, 2]}, "t/train-0.parquet")
    table = read(str(tmp_path / "t"))
    assert table.split.texts().to_pylist() == ["test", "test", "1", "2"]
    parquet(tmp_path, COLUMNS, "t/train-0.parquet")
    parquet(tmp_path, COLUMNS, "t/more.parquet")
    assert read(str(tmp_path / "t")).split is None


def test_files_of_a_folder_may_differ_and_be_damaged(tmp_path):
    good = parquet(tmp_path, COLUMNS, "t/a.parquet")
    text(tmp_path, "nonsense", "t/b.parquet")
    parquet(tmp_path, {"image": ["c.jpg"], "lon": [1.0]}, "t/c.parquet")
    parquet(tmp_path, {"Image": ["d.jpg"], "lat": ["x"], "LNG": ["5"]}, "t/d.parquet")
    table = read(str(tmp_path / "t"))
    assert table.images.names.to_pylist() == ["a.jpg", "b.jpg"]
    assert table.labels.tolist() == [1, 0]
    files = [problem.file.removeprefix(f"{tmp_path}/t/") for problem in table.problems]
    assert files == ["b.parquet", "c.parquet", "d.parquet"]
    assert table.problems[0].reason.startswith("is damaged or no Parquet file")
    assert table.problems[1].reason.startswith("has no column lat; its columns are image, lon")
    assert table.problems[2] == Problem(table.problems[2].file, 0, "lat 'x' is not a number")
    assert table.notes == ("column 'Image' is taken as image", "column 'LNG' is taken as lon")
    with pytest.raises(DataError, match=r"b\.parquet is damaged or no Parquet file"):
        read(good.replace("a.parquet", "b.parquet"))


def test_a_folder_of_damaged_files_alone_is_an_error(tmp_path):
    text(tmp_path, "nonsense", "t/a.parquet")
    text(tmp_path, "", "t/b.parquet")
    with pytest.raises(DataError, match=r"a\.parquet is damaged or no Parquet file"):
        read(str(tmp_path / "t"))


def test_a_file_that_is_damaged_further_on_is_used_as_far_as_it_goes(tmp_path):
    rows = 400_000
    columns = {"image": [f"{n}.jpg" for n in range(rows)], "lon": [1.0] * rows, "lat": [1.0] * rows}
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=rows // 2, compression="zstd")
    place = pq.read_metadata(path).row_group(1).column(0)
    content = bytearray(path.read_bytes())
    start = place.dictionary_page_offset or place.data_page_offset
    content[start : start + place.total_compressed_size] = b"\xff" * place.total_compressed_size
    path.write_bytes(content)
    table = read(str(path))
    assert 0 < len(table) <= rows // 2
    [problem] = table.problems
    assert problem.row == len(table)
    assert problem.reason.startswith("and all after it: is damaged or no Parquet file")


@pytest.mark.parametrize("encoding", ["WKB", "geoarrow"])
def test_geoparquet_of_points_in_any_crs(tmp_path, encoding):
    frame = geopandas.GeoDataFrame(
        {"image": ["a.jpg", "b.jpg"], "lon": [50.0, 50], "lat": [50.0, 50]},
        geometry=[shapely.Point(500_000, 0), None],
        crs="EPSG:32632",
    )
    path = tmp_path / "a.geoparquet"
    version = None if encoding == "WKB" else "1.1.0"
    frame.to_parquet(path, geometry_encoding=encoding, schema_version=version)
    table = read(str(path))
    assert table.lonlat == pytest.approx(np.array([[9.0, 0.0]]), abs=1e-9)
    assert table.problems == (Problem(str(path), 1, "no geometry"),)
    assert table.notes == ()
    named = read(str(path), columns=Columns(lon="lon"))
    assert named.lonlat.tolist() == [[50, 50]] * 2


def test_geoparquet_of_other_shapes_and_a_crs_that_is_named(tmp_path):
    frame = geopandas.GeoDataFrame(
        {"image": ["a.jpg"]}, geometry=[shapely.box(499_000, -1000, 501_000, 1000)], crs=None
    )
    frame.to_parquet(tmp_path / "a.parquet")
    table = read(str(tmp_path / "a.parquet"), crs="EPSG:32632")
    assert table.lonlat == pytest.approx(np.array([[9.0, 0.0]]), abs=1e-9)


def embedded(monkeypatch):
    calls = []

    def read_embedded(files, options, source):
        calls.append((list(files), options.columns.image))
        return "the table"

    module = types.ModuleType("geocsp.data.readers.embedded")
    module.read_embedded = read_embedded
    monkeypatch.setitem(sys.modules, "geocsp.data.readers.embedded", module)
    return calls


@pytest.mark.parametrize(
    ("name", "images"),
    [
        ("image", pa.array([b"\xff\xd8\xff\xe0", None])),
        ("image", pa.array([None, b"x" * 5000], pa.large_binary())),
        ("image", pa.array([{"bytes": b"1", "path": "a"}, None])),
        ("picture", pa.array([{"bytes": b"1", "path": "a"}, None])),
    ],
)
def test_parquet_with_the_images_in_it_is_read_by_another(tmp_path, monkeypatch, name, images):
    calls = embedded(monkeypatch)
    source = parquet(tmp_path, {name: images, "lon": [1.0, 2], "lat": [1.0, 2]})
    assert read(source) == "the table"
    assert calls == [([source], name)]


def test_paths_that_are_stored_as_bytes_are_paths(tmp_path, monkeypatch):
    calls = embedded(monkeypatch)
    columns = COLUMNS | {"image": [b"a.jpg", "ä.jpg".encode()]}
    assert read(parquet(tmp_path, columns)).images.names.to_pylist() == ["a.jpg", "ä.jpg"]
    assert calls == []


def test_two_columns_of_images_have_to_be_told_apart(tmp_path, monkeypatch):
    calls = embedded(monkeypatch)
    image = pa.array([{"bytes": b"1", "path": "a"}])
    source = parquet(tmp_path, {"left": image, "right": image, "lon": [1.0], "lat": [1.0]})
    with pytest.raises(
        DataError, match="has no column image; its columns are left, right, lon, lat"
    ):
        read(source)
    assert read(source, columns=Columns(image="left")) == "the table"
    assert calls[0][1] == "left"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": [1, 2]}, "column 'image' holds int64, not paths or URLs of images"),
        ({"lon": [True, False]}, "column 'lon' holds bool, not numbers"),
        (
            {"label": [[1], [2]]},
            "column 'label' holds list<.*>, which cannot name classes, splits or",
        ),
    ],
)
def test_columns_of_the_wrong_kind_are_told(tmp_path, columns, message):
    with pytest.raises(DataError, match=message):
        read(parquet(tmp_path, COLUMNS | columns))


def test_damaged_geo_metadata_harm_nothing(tmp_path):
    table = pa.table(COLUMNS).replace_schema_metadata({"geo": json.dumps({"primary_column": 5})})
    pq.write_table(table, tmp_path / "a.parquet")
    assert len(read(str(tmp_path / "a.parquet"))) == 2


MEMORY = """
import sys
import geocsp
from geocsp.data.options import ReadOptions
from geocsp.data.readers.tables import read_table
def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
before = peak()
table = read_table(sys.argv[1], ReadOptions())
print(len(table), (peak() - before) * 1024 / len(table))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_million_rows_need_little_memory(tmp_path):
    rows = 1_000_000
    numbers = np.arange(rows)
    table = pa.table(
        {
            "image": pa.array([f"photos/{n // 1000:06d}/{n:09d}" for n in range(rows)]),
            "lon": numbers / rows * 179 + 0.5,
            "lat": numbers / rows * 89 + 0.5,
            "label": pa.array((numbers % 5000).astype(str)),
            "unused": pa.array(["x" * 100] * rows),
        }
    )
    content = io.BytesIO()
    arrow_csv.write_csv(table, content)
    source = text(tmp_path, content.getvalue())
    found = subprocess.run(
        [sys.executable, "-c", MEMORY, source], capture_output=True, text=True, check=True
    )
    count, bytes_per_row = found.stdout.split()
    assert int(count) == rows
    assert float(bytes_per_row) < 300  # the unused column alone is 104
