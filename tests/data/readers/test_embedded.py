import io
import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from geocsp.data.images import Bands
from geocsp.data.options import Columns, ReadOptions
from geocsp.data.quarantine import Problem
from geocsp.data.read import read
from geocsp.data.readers import batchreader
from geocsp.data.readers.embedded import ParquetImages, read_embedded
from geocsp.errors import DataError

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def picture(value=0, place=None):
    image, buffer, exif = Image.new("RGB", (8, 8), (value, 0, 0)), io.BytesIO(), Image.Exif()
    if place is not None:
        exif[0x8825] = {1: "N", 2: (place[1], 0, 0), 3: "E", 4: (place[0], 0, 0)}
    image.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def columns(count=6, first=0, kind=STRUCT, **others):
    numbers = range(first, first + count)
    if kind == STRUCT:
        images = [{"bytes": picture(n), "path": f"{n}.jpg"} for n in numbers]
    else:
        images = [picture(n) for n in numbers]
    return {
        "image": pa.array(images, kind),
        "lon": np.arange(first, first + count) + 0.5,
        "lat": np.full(count, 10.0),
    } | others


@pytest.fixture
def write(tmp_path):
    def write(table, name="a.parquet", **settings):
        table = table if isinstance(table, pa.Table) else pa.table(table)
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, tmp_path / name, **settings)
        return str(tmp_path / name)

    return write


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    yield system
    system.rm("/", recursive=True)


@pytest.mark.parametrize("kind", [STRUCT, pa.binary(), pa.large_binary()])
@pytest.mark.parametrize("rows", [1, 2, 100])
def test_images_of_a_file(write, kind, rows):
    file = write(columns(kind=kind), row_group_size=rows)
    table = read_embedded([file], ReadOptions())
    assert table.lonlat.tolist() == [[n + 0.5, 10] for n in range(6)]
    for row in (0, 5, 2, 2, 3, 0):
        assert table.images.load(row) == picture(row)
    assert table.problems == ()


def test_read_knows_images_within_parquet(write):
    file = write(columns(kind=pa.binary()) | {"label": list("ababab")})
    table = read(file, bands=Bands(None, 0, 9))
    assert isinstance(table.images, ParquetImages)
    assert table.images.bands == Bands(None, 0, 9)
    assert table.class_names == ("a", "b")


def test_names_are_paths_in_the_file_or_rows(write):
    images = [{"bytes": b"x", "path": "p.jpg"}, {"bytes": b"y", "path": None}]
    file = write({"image": pa.array(images, STRUCT), "lon": [1.0, 2.0], "lat": [1.0, 2.0]})
    table = read_embedded([file], ReadOptions())
    assert table.images.names.to_pylist() == [f"{file}/p.jpg", f"{file}/1"]
    file = write(columns(2, kind=pa.binary()))
    names = read_embedded([file], ReadOptions()).images.names.to_pylist()
    assert names == [f"{file}/0", f"{file}/1"]


def test_several_files_are_one_table(write):
    files = [write(columns(3, first), f"{first}.parquet") for first in (0, 3)]
    table = read_embedded(files, ReadOptions())
    assert [table.images.load(row) for row in (5, 0, 3)] == [picture(n) for n in (5, 0, 3)]
    part = table.take(np.array([4, 1]))
    assert [part.images.load(row) for row in (0, 1)] == [picture(4), picture(1)]


def test_all_that_is_known_is_read(write):
    others = {
        "when": ["2026-01-31T12:00:00Z"] * 6,
        "label": [2, 10, None] * 2,
        "site": list("xxyyzz"),
    }
    options = ReadOptions(Columns(time="when"))
    table = read_embedded([write(columns(**others))], options)
    assert table.time[3, 1] == pytest.approx(12 + 3.5 / 15)
    assert table.class_names == ("2", "10")
    assert table.label.codes.tolist() == [0, 1, -1] * 2
    assert table.group.names == ("x", "y", "z")


def test_columns_in_structs(write):
    places = [{"lat": n + 1.0, "lon": n + 2.0} for n in range(6)]
    data = columns(meta=[{"kind": "k", "place": place} for place in places])
    del data["lon"], data["lat"]
    table = read_embedded([write(data)], ReadOptions(Columns(label="meta.kind")))
    assert table.lonlat.tolist() == [[n + 2, n + 1] for n in range(6)]
    assert table.class_names == ("k",)


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.list_(pa.float32(), 2)])
@pytest.mark.parametrize("name", ["coordinates", "latlon"])
def test_pairs_in_lists(write, kind, name):
    data = columns(2) | {name: pa.array([[1, 2], None], kind)}
    del data["lon"], data["lat"]
    table = read_embedded([write(data)], ReadOptions())
    assert table.lonlat.tolist() == [[1, 2] if name == "coordinates" else [2, 1]]
    first = "longitude" if name == "coordinates" else "latitude"
    assert table.notes == (f"column {name!r} is taken as {first} first",)


def test_short_lists_are_no_places(write):
    data = columns(3) | {"lonlat": [[1.0, 2.0], [1.0], []]}
    del data["lon"], data["lat"]
    table = read_embedded([write(data)], ReadOptions())
    assert [problem.reason for problem in table.problems] == ["no coordinates"] * 2


def test_geometries_are_places_not_images(write):
    shapely = pytest.importorskip("shapely")
    data = columns(1, kind=pa.binary()) | {"geometry": [shapely.Point(3, 4).wkb]}
    data["photo"] = data.pop("image")
    del data["lon"], data["lat"]
    geo = {"primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB"}}}
    stated = pa.table(data).replace_schema_metadata({"geo": json.dumps(geo)})
    for table in (pa.table(data), stated):
        read_table = read_embedded([write(table)], ReadOptions())
        assert read_table.lonlat.tolist() == [[3, 4]]
        assert read_table.images.load(0) == picture()


def test_class_names_of_hugging_face(write):
    features = {"label": {"names": ["z", "a", "m"], "_type": "ClassLabel"}, "x": ["odd"]}
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table(columns(label=[0, 2, -1, None, 3, 1])).replace_schema_metadata(about)
    found = read_embedded([write(table)], ReadOptions())
    assert found.class_names == ("z", "a", "m")
    assert found.label.codes.tolist() == [0, 2, -1, -1, -1, 1]
    damaged = table.replace_schema_metadata({"huggingface": "{"})
    assert read_embedded([write(damaged)], ReadOptions()).class_names == ("-1", "0", "1", "2", "3")


def test_what_hugging_face_writes(tmp_path):
    hub = pytest.importorskip("datasets")
    hub.disable_progress_bars()
    features = hub.Features({"image": hub.Image(), "label": hub.ClassLabel(names=["b", "a"])})
    features |= {"lon": hub.Value("float32"), "lat": hub.Value("float32")}
    for split, first in (("train", 0), ("test", 4)):
        numbers = range(first, first + 4)
        images = [Image.open(io.BytesIO(picture(n))) for n in numbers]
        data = {
            "image": images,
            "label": [n % 2 for n in numbers],
            "lon": [1.5] * 4,
            "lat": [2] * 4,
        }
        part = hub.Dataset.from_dict(data, features=features)
        part.to_parquet(tmp_path / f"{split}-00000-of-00001.parquet")
    table = read(str(tmp_path))
    assert table.split.texts().to_pylist() == ["test"] * 4 + ["train"] * 4
    assert table.class_names == ("b", "a")
    assert "splits are taken from the names of the files" in table.notes
    with Image.open(io.BytesIO(table.images.load(1))) as image:
        assert image.size == (8, 8)


def test_columns_named_by_folders(write, tmp_path):
    for split in ("train", "test"):
        write(columns(2), f"split={split}/0.parquet")
    table = read(str(tmp_path))
    assert table.split.texts().to_pylist() == ["test"] * 2 + ["train"] * 2


def test_places_within_the_images(write):
    images = [picture(0, (5, 6)), picture(1), b"<html>"]
    table = read_embedded([write({"image": images})], ReadOptions())
    assert table.lonlat.tolist() == [[5, 6]]
    assert table.notes == ("no column tells places; they are taken from the images",)
    assert [(p.row, p.reason) for p in table.problems] == [
        (1, "no coordinates"),
        (2, "is a web page, not an image"),
    ]


def test_no_places_anywhere(write):
    file = write({"image": [picture()] * 100, "where": list(range(100))})
    with pytest.raises(
        DataError, match=r"has no column lon; its columns are where; .*; the images hold no places"
    ):
        read_embedded([file], ReadOptions())
    table = read_embedded([file], ReadOptions(keep_unplaced=True))
    assert len(table) == 100
    assert np.isnan(table.lonlat).all()


def test_rows_that_cannot_be_used_are_told_with_file_and_row(write):
    files = [write(columns(2), "a.parquet"), write(columns(2, 200), "b.parquet")]
    files.append(write(columns(1) | {"lat": [99.0]}, "c.parquet"))
    table = read_embedded(files, ReadOptions())
    assert len(table) == 4
    reason = "latitude 99 is outside [-90, 90] degrees; are longitude and latitude swapped?"
    assert table.problems == (Problem(files[2], 0, reason),)
    assert table.images.load(3) == picture(201)


def test_images_that_are_missing(write, tmp_path):
    (tmp_path / "there.jpg").write_bytes(picture(7))
    rows = [
        {"bytes": None, "path": "there.jpg"},
        {"bytes": None, "path": "gone.jpg"},
        {"bytes": None, "path": None},
        None,
        {"bytes": b"", "path": "there.jpg"},
    ]
    data = {"image": pa.array(rows, STRUCT), "lon": np.ones(5), "lat": np.ones(5)}
    file = write(data)
    table = read_embedded([file], ReadOptions())
    assert table.images.load(0).read_bytes() == picture(7)
    assert not table.images.load(1).exists()
    for row in (2, 3):
        with pytest.raises(DataError, match=rf"^row {row} of {file} holds no image$"):
            table.images.load(row)
    assert table.images.load(4) == b""
    elsewhere = read_embedded([file], ReadOptions(folder="/elsewhere"))
    assert str(elsewhere.images.load(0)) == "/elsewhere/there.jpg"


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (
            {"a": [b"x"], "b": [b"y"]},
            {},
            r"2 columns hold bytes; its columns are a, b; name the one",
        ),
        ({"a": [1]}, {}, r"0 columns hold bytes; its columns are a; name"),
        ({"a": [b"x"], "b": [1]}, {"image": "b"}, r"'b' holds no images; its columns are a, b"),
        ({"a": [b"x"], "b": [1]}, {"image": "c"}, r"'c' holds no images"),
        ({"a": [b"x"], "b": [1]}, {"label": "c"}, r"has no column 'c' for label"),
    ],
)
def test_columns_that_are_not_clear(write, data, options, message):
    with pytest.raises(DataError, match=message):
        read_embedded([write(data)], ReadOptions(Columns(**options)))


def test_the_column_of_images_can_be_named(write):
    data = columns(1, kind=pa.binary()) | {"thumbnail": [b"t"]}
    table = read_embedded([write(data)], ReadOptions(Columns(image="thumbnail")))
    assert table.images.load(0) == b"t"


def test_two_columns_of_one_name(write):
    data = columns(1)
    table = pa.Table.from_arrays([*map(pa.array, data.values()), pa.array([1])], [*data, "lon"])
    with pytest.raises(DataError, match=r"has several columns 'lon'"):
        read_embedded([write(table)], ReadOptions())


def test_lists_are_no_classes(write):
    table = read_embedded([write(columns(2, label=[[1, 2], [3]]))], ReadOptions())
    assert table.label is None
    with pytest.raises(DataError, match="cannot name classes"):
        read_embedded([write(columns(2, tags=[[1, 2], [3]]))], ReadOptions(Columns(label="tags")))


def test_a_file_that_is_none_is_left_out(write, tmp_path):
    good = write(columns(2))
    (tmp_path / "bad.parquet").write_bytes(b"hello")
    bad, other = str(tmp_path / "bad.parquet"), write({"x": [1]}, "other.parquet")
    table = read_embedded([bad, good, other], ReadOptions())
    assert len(table) == 2
    assert table.images.load(1) == picture(1)
    assert [problem.file for problem in table.problems] == [bad, other]
    assert "no Parquet file" in table.problems[0].reason
    with pytest.raises(DataError, match=r"bad\.parquet is damaged or no Parquet file"):
        read_embedded([bad], ReadOptions())


def test_a_damaged_part_spoils_its_rows_alone(write, tmp_path):
    file = write(columns(4), row_group_size=2, compression="snappy", use_dictionary=False)
    chunk = pq.ParquetFile(file).metadata.row_group(0).column(0)
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    start = chunk.data_page_offset
    content[start : start + 60] = bytes(60)
    (tmp_path / "a.parquet").write_bytes(content)
    table = read_embedded([file], ReadOptions())
    for _ in range(2):
        with pytest.raises(DataError, match=r"is in a damaged part of .*a\.parquet \("):
            table.images.load(1)
        assert table.images.load(3) == picture(3)


def test_a_file_that_is_gone_or_shorter(write, tmp_path):
    table = read_embedded([write(columns(4))], ReadOptions())
    write(columns(2))
    with pytest.raises(DataError, match="has fewer rows than when it was read; read it again"):
        table.images.load(3)
    (tmp_path / "a.parquet").unlink()
    copy = pickle.loads(pickle.dumps(table.images))
    with pytest.raises(FileNotFoundError):
        copy.load(0)


def test_stamps_change_with_the_file(write):
    table = read_embedded([write(columns(3))], ReadOptions())
    stamps = list(table.images.stamps())
    assert len(set(stamps)) == 3
    assert list(table.take(np.array([2])).images.stamps()) == stamps[2:]
    write(columns(4))
    assert set(stamps).isdisjoint(table.images.stamps())


def test_files_of_another_file_system(memory):
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns(3)), buffer)
    memory.pipe("/d/x.parquet", buffer.getvalue())
    table = read("memory://d/x.parquet")
    assert table.images.names[2].as_py() == "memory://d/x.parquet/2.jpg"
    assert table.images.load(2) == picture(2)


@pytest.fixture
def counted(monkeypatch):
    """The rows for which a row group is started from its beginning."""
    rows = []
    original = batchreader._File.cursor

    def cursor(self, column, row):
        rows.append(row)
        return original(self, column, row)

    monkeypatch.setattr(batchreader._File, "cursor", cursor)
    return rows


def test_neighbouring_rows_are_read_once_by_all_threads(write, counted, monkeypatch):
    monkeypatch.setattr(batchreader, "_MOST_ROWS", 8)
    file = write(columns(200), row_group_size=100)
    images = read_embedded([file], ReadOptions()).images
    with ThreadPoolExecutor(6) as pool:
        loaded = list(pool.map(images.load, range(200)))
    assert loaded == [picture(n) for n in range(200)]
    assert len(counted) <= 4


def test_going_back_within_what_is_kept_reads_nothing(write, counted):
    images = read_embedded([write(columns(20))], ReadOptions()).images
    for row in (10, 3, 19, 0):
        images.load(row)
    assert len(counted) == 1


def test_memory_is_bounded_by_bytes_not_by_row_groups(write, counted, monkeypatch):
    monkeypatch.setattr(batchreader, "_BATCH_BYTES", 20_000)
    monkeypatch.setattr(batchreader, "_KEPT_BYTES", 60_000)
    generator = np.random.default_rng(0)
    contents = [generator.bytes(5_000) for _ in range(100)]
    file = write({"image": contents, "lon": np.ones(100), "lat": np.ones(100)})
    images = read_embedded([file], ReadOptions()).images
    for row in range(100):
        assert images.load(row) == contents[row]
        kept = images._reader._batches
        assert sum(batch.values.nbytes for batch in kept) < 70_000
        assert all(len(batch.values) <= 4 for batch in kept)
    assert images.load(0) == contents[0]
    assert counted == [0, 0]


def test_images_survive_a_copy(write):
    images = read_embedded([write(columns(3))], ReadOptions()).images
    images.load(0)
    copy = pickle.loads(pickle.dumps(images))
    assert [copy.load(row) for row in range(3)] == [picture(n) for n in range(3)]
