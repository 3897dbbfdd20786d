import json

import fsspec
import geopandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from geocsp.data.readers.parquet import GeoColumn, geo_column, open_parquet, parquet_files
from geocsp.errors import DataError


def write(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def test_a_file_is_itself(tmp_path):
    path = str(write(tmp_path / "a.parquet", a=[1]))
    assert parquet_files(path) == [path]


def test_files_of_a_folder_are_sorted_and_others_passed_over(tmp_path):
    for name in ("b.parquet", "sub/a.PQ", "sub/c.geoparquet", "_tmp/d.parquet", ".e.parquet"):
        write(tmp_path / "t.parquet" / name, a=[1])
    (tmp_path / "t.parquet" / "_SUCCESS").touch()
    (tmp_path / "t.parquet" / "readme.md").touch()
    files = parquet_files(f"{tmp_path}/t.parquet/")
    root = str(tmp_path / "t.parquet")
    assert files == [f"{root}/b.parquet", f"{root}/sub/a.PQ", f"{root}/sub/c.geoparquet"]


def test_folders_on_other_file_systems(tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe("/pq-test/a.parquet", write(tmp_path / "a.parquet", a=[7]).read_bytes())
    [file] = parquet_files("memory://pq-test")
    with open_parquet(file) as parquet:
        assert [block.to_pydict() for block in parquet.blocks(["a"])] == [{"a": [7]}]
    memory.rm("/pq-test", recursive=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "none does not exist"),
        ("", "holds no Parquet file"),
        ("nothing://x", "cannot be read"),
    ],
)
def test_places_without_files_are_told(tmp_path, name, message):
    with pytest.raises(DataError, match=message):
        parquet_files(name if "://" in name else f"{tmp_path}/{name}")


def test_only_some_columns_are_read_block_by_block(tmp_path):
    path = str(write(tmp_path / "a.parquet", a=[1, 2, 3], b=["x", "y", "z"], **{"c.d": [4, 5, 6]}))
    with open_parquet(path) as parquet:
        assert parquet.schema.names == ["a", "b", "c.d"]
        blocks = list(parquet.blocks(["c.d", "a"], rows=2))
    assert [len(block) for block in blocks] == [2, 1]
    assert blocks[0].column("c.d").to_pylist() == [4, 5]
    assert "b" not in blocks[0].schema.names


def test_names_of_folders_are_columns(tmp_path):
    folder = tmp_path / "label=oak%20tree" / "split=__HIVE_DEFAULT_PARTITION__" / "a=9"
    path = str(write(folder / "f.parquet", a=[1, 2]))
    with open_parquet(path) as alone:  # names above what is read tell nothing
        assert alone.schema.names == ["a"]
    with open_parquet(path, str(tmp_path)) as parquet:
        assert parquet.schema.names == ["a", "label", "split"]
        [block] = parquet.blocks(["split", "a", "label"])
    assert block.column("label").to_pylist() == ["oak tree"] * 2
    assert block.column("split").to_pylist() == [None, None]
    assert block.column("a").to_pylist() == [1, 2]


def test_columns_that_are_not_there_or_twice_are_told(tmp_path):
    path = str(write(tmp_path / "a.parquet", a=[1]))
    with open_parquet(path) as parquet, pytest.raises(DataError, match="has no column 'b'"):
        list(parquet.blocks(["b"]))
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), path)
    with open_parquet(path) as parquet, pytest.raises(DataError, match="has 2 columns 'a'"):
        list(parquet.blocks(["a"]))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1", b"a,b\n1,2\n"])
def test_files_that_are_no_parquet_are_told(tmp_path, content):
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.parquet is damaged or no Parquet file"):
        open_parquet(str(path)).__enter__()
    with pytest.raises(DataError, match=r"b\.parquet does not exist"):
        open_parquet(str(tmp_path / "b.parquet")).__enter__()


def test_damage_that_shows_later_is_told(tmp_path):
    path = write(tmp_path / "a.parquet", a=[str(n) * 50 for n in range(10_000)])
    content = bytearray(path.read_bytes())
    content[4 : len(content) // 2] = b"\xff" * (len(content) // 2 - 4)
    path.write_bytes(content)
    with (
        pytest.raises(DataError, match=r"a\.parquet is damaged or no Parquet file"),
        open_parquet(str(path)) as parquet,
    ):
        list(parquet.blocks(["a"]))


def geo_frame(crs):
    return geopandas.GeoDataFrame({"a": [1]}, geometry=[shapely.Point(1, 2)], crs=crs)


@pytest.mark.parametrize("encoding", ["WKB", "geoarrow"])
def test_the_geometries_of_geoparquet_are_found_with_their_crs(tmp_path, encoding):
    path = tmp_path / "a.parquet"
    version = None if encoding == "WKB" else "1.1.0"
    frame = geo_frame("EPSG:32632").rename_geometry("where")
    frame.to_parquet(path, geometry_encoding=encoding, schema_version=version)
    column = geo_column(pq.read_schema(path))
    assert column.name == "where"
    assert json.loads(column.crs)["id"] == {"authority": "EPSG", "code": 32632}


def test_without_a_stated_crs_geometries_are_degrees(tmp_path):
    path = tmp_path / "a.parquet"
    geo_frame(None).to_parquet(path)
    assert geo_column(pq.read_schema(path)) == GeoColumn("geometry", None)


def test_columns_that_are_marked_as_geometries_are_found():
    marks = {
        "ARROW:extension:name": "geoarrow.wkb",
        "ARROW:extension:metadata": '{"crs": "EPSG:3035"}',
    }
    field = pa.field("g", pa.binary(), metadata=marks)
    assert geo_column(pa.schema([pa.field("a", pa.int8()), field])) == GeoColumn("g", "EPSG:3035")
    marks["ARROW:extension:metadata"] = '{"crs": {"id": 1}}'
    assert geo_column(pa.schema([field.with_metadata(marks)])).crs == '{"id": 1}'
    marks["ARROW:extension:metadata"] = ""
    assert geo_column(pa.schema([field.with_metadata(marks)])).crs is None


@pytest.mark.parametrize(
    "geo",
    [
        "", "{", "[]", "null", "\x00", '{"primary_column": "g"}',
        '{"primary_column": "x", "columns": {"x": {}}}', '{"primary_column": "g", "columns": []}',
        '{"primary_column": [], "columns": {}}',
    ],
)  # fmt: skip
def test_damaged_metadata_are_as_good_as_none(geo):
    assert geo_column(pa.schema([pa.field("g", pa.binary())], metadata={"geo": geo})) is None
    assert geo_column(pa.schema([pa.field("g", pa.binary())])) is None
