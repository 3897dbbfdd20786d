import csv
import json
import subprocess
import sys

import geopandas as gpd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
import torch

import geocsp
from geocsp.data.options import Columns, ReadOptions
from geocsp.embed import Dtype, EmbedSettings, column_names, embed_table
from geocsp.errors import DataError, MissingExtraError
from geocsp.models import fingerprint_of

DIM = 5
NAMES = column_names(DIM)
OUTPUTS = ["out.csv", "out.tsv", "out.parquet", "out.geoparquet", "out.geojson"]
INPUTS = [
    "in.csv",
    "in.tsv",
    "in.csv.gz",
    "in.parquet",
    "geo.parquet",
    "in.geojson",
    "in.gpkg",
    "in.shp",
    "in.fgb",
]


def table(count=7):
    random = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "id": np.arange(count),
            "name": [f'"{n}", naïve' for n in range(count)],
            "code": [f"{n:04}" for n in range(count)],
            "lon": random.uniform(-179, 179, count).round(6),
            "lat": random.uniform(-80, 80, count).round(6),
        }
    )


def written(frame, path, crs="EPSG:4326"):
    """A table as a file of the kind that its name says."""
    ending = path.name.partition(".")[2]
    if ending in ("csv", "csv.gz"):
        frame.to_csv(path, index=False)
    elif ending == "tsv":
        frame.to_csv(path, index=False, sep="\t", quoting=csv.QUOTE_NONE)
    elif path.name == "in.parquet":
        frame.to_parquet(path)
    else:
        points = gpd.points_from_xy(frame["lon"], frame["lat"], crs="EPSG:4326")
        shapes = gpd.GeoDataFrame(frame.drop(columns=["lon", "lat"]), geometry=points)
        shapes = shapes if path.suffix == ".geojson" else shapes.to_crs(crs)
        if ending == "parquet":
            shapes.to_parquet(path)
        else:
            unsorted = {"SPATIAL_INDEX": "NO"} if ending == "fgb" else {}
            shapes.to_file(path, **unsorted)
    return path


def read_back(path):
    if path.suffix == ".csv":
        return pd.read_csv(path, dtype={"code": str})
    if path.suffix == ".tsv":
        return pd.read_csv(path, sep="\t", dtype={"code": str})
    if path.suffix == ".geojson":
        return gpd.read_file(path)
    return pd.read_parquet(path)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return geocsp.create("location", "space2vec-grid", dim=DIM).eval()


def plain(encoder, frame, time=None):
    lonlat = torch.from_numpy(frame[["lon", "lat"]].to_numpy(float).copy())
    return encoder.embed(lonlat, time).numpy()


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("source", INPUTS)
def test_every_kind_into_every_kind(source, output, encoder, tmp_path):
    frame = table()
    made = embed_table(written(frame, tmp_path / source), encoder, tmp_path / output)
    found = read_back(tmp_path / output)
    assert (made.rows, made.left_out, made.quarantine) == (7, 0, None)
    expected = plain(encoder, frame)
    exact = not source.endswith(("fgb", "shp", "gpkg", "geojson", "geo.parquet"))
    np.testing.assert_allclose(found[NAMES], expected, rtol=0 if exact else 1e-4, atol=1e-5)
    if exact:
        np.testing.assert_array_equal(found[NAMES].to_numpy("f4"), expected)
    assert found["id"].tolist() == list(range(7))
    assert found["name"].tolist() == frame["name"].tolist()
    assert found["code"].tolist() == frame["code"].tolist()
    assert list(found.columns)[:3] == ["id", "name", "code"]


@pytest.mark.parametrize("source", ["geo.parquet", "in.gpkg", "in.shp", "in.fgb"])
@pytest.mark.parametrize("output", ["out.csv", "out.parquet", "out.geoparquet", "out.geojson"])
def test_geometries_and_their_crs_stay(source, output, encoder, tmp_path):
    frame = table().query("abs(lat) < 70")
    path = written(frame, tmp_path / source, crs="EPSG:3857")
    embed_table(path, encoder, tmp_path / output)
    if output.endswith("csv"):
        cells = pd.read_csv(tmp_path / output)
        column = "geom" if source == "in.gpkg" else "geometry"
        found = gpd.GeoSeries(gpd.GeoSeries.from_wkt(cells[column], crs="EPSG:3857"))
    elif output.endswith("geojson"):
        found = gpd.read_file(tmp_path / output).geometry
        assert found.crs == "EPSG:4326"
    else:
        found = gpd.read_parquet(tmp_path / output).geometry
        assert found.crs == "EPSG:3857"
    degrees = found.to_crs("EPSG:4326")
    np.testing.assert_allclose(degrees.x, frame["lon"], atol=1e-9)
    np.testing.assert_allclose(degrees.y, frame["lat"], atol=1e-9)
    embedded = read_back(tmp_path / output)[NAMES]
    np.testing.assert_allclose(embedded, plain(encoder, frame), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("output", ["out.geoparquet", "out.geojson"])
def test_tables_become_features_at_their_places(output, encoder, tmp_path):
    frame = table()
    embed_table(written(frame, tmp_path / "in.csv"), encoder, tmp_path / output)
    read = gpd.read_parquet if output.endswith("parquet") else gpd.read_file
    found = read(tmp_path / output)
    assert found.crs.to_epsg(min_confidence=20) in (4326, None)
    np.testing.assert_allclose(found.geometry.x, frame["lon"], atol=1e-12)
    np.testing.assert_allclose(found.geometry.y, frame["lat"], atol=1e-12)
    assert found["lon"].tolist() == frame["lon"].tolist()


def test_areas_stay_areas_and_are_embedded_at_their_centre(encoder, tmp_path):
    squares = [shapely.box(x, 10, x + 2, 14) for x in (-30, 5)]
    frame = gpd.GeoDataFrame({"id": [1, 2]}, geometry=squares, crs="EPSG:4326")
    frame.to_file(tmp_path / "in.gpkg")
    embed_table(tmp_path / "in.gpkg", encoder, tmp_path / "out.geoparquet")
    found = gpd.read_parquet(tmp_path / "out.geoparquet")
    assert shapely.equals(found.geometry.to_numpy(), np.array(squares)).all()
    centres = pd.DataFrame({"lon": [-29.0, 6.0], "lat": [12.0, 12.0]})
    np.testing.assert_allclose(found[NAMES], plain(encoder, centres), rtol=1e-4, atol=1e-5)


def test_types_of_parquet_stay(encoder, tmp_path):
    rich = pa.table(
        {
            "lon": pa.array([1.5, 2.5], pa.float32()),
            "lat": pa.array([3, 4], pa.int8()),
            "when": pa.array([0, 10**9], pa.timestamp("s", "UTC")),
            "kind": pa.array(["a", None]).dictionary_encode(),
            "parts": pa.array([[1, 2], None]),
            "about": pa.array([{"x": 1}, {"x": None}]),
            "raw": pa.array([b"\0\1", None]),
            "flag": pa.array([True, None]),
            "price": pa.array(["1.10", None]).cast(pa.decimal128(10, 2)),
        }
    ).replace_schema_metadata({"owner": "someone"})
    pq.write_table(rich, tmp_path / "in.parquet")
    embed_table(tmp_path / "in.parquet", encoder, tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.select(rich.column_names).equals(pq.read_table(tmp_path / "in.parquet"))
    assert found.schema.metadata[b"owner"] == b"someone"
    assert [found.schema.field(name).type for name in NAMES] == [pa.float32()] * DIM


def test_values_of_parquet_in_geojson(encoder, tmp_path):
    rich = pa.table(
        {
            "lon": [1.5, 2.5],
            "lat": [3.0, 4.0],
            "local": pa.array([0, 1_500], pa.timestamp("ms")),
            "zoned": pa.array([0, 1_500], pa.timestamp("ms", "Asia/Tokyo")),
            "view": pa.array(["a", None], pa.string_view()),
            "none": pa.nulls(2),
            "parts": pa.array([[0.1, 0.2], None], pa.list_(pa.float32(), 2)),
            "flag": pa.array([True, None]),
        }
    )
    pq.write_table(rich, tmp_path / "in.parquet")
    embed_table(tmp_path / "in.parquet", encoder, tmp_path / "out.geojson")
    features = json.loads((tmp_path / "out.geojson").read_text())["features"]
    first, second = (feature["properties"] for feature in features)
    assert first["local"] == "1970-01-01T00:00:00"
    assert [first["zoned"], second["zoned"]] == [
        "1970-01-01T00:00:00.000Z",
        "1970-01-01T00:00:01.500Z",
    ]
    assert [first["view"], second["view"]] == ["a", None]
    assert [first["none"], second["none"]] == [None, None]
    assert [first["parts"], second["parts"]] == [[0.1, 0.2], None]
    assert [first["flag"], second["flag"]] == [True, None]


def test_an_index_of_pandas_stays(encoder, tmp_path):
    frame = table().set_index("code")
    frame.to_parquet(tmp_path / "in.parquet")
    embed_table(tmp_path / "in.parquet", encoder, tmp_path / "out.parquet")
    found = pd.read_parquet(tmp_path / "out.parquet")
    pd.testing.assert_frame_equal(found[["id", "name", "lon", "lat"]], frame)


def test_polars_reads_it(encoder, tmp_path):
    frame = table()
    settings = EmbedSettings(as_list=True)
    path = written(frame, tmp_path / "in.csv")
    embed_table(path, encoder, tmp_path / "out.parquet", settings=settings)
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found.schema["embedding"] == pl.Array(pl.Float32, DIM)
    np.testing.assert_array_equal(found["embedding"].to_numpy(), plain(encoder, frame))


def test_columns_of_text_get_their_types(encoder, tmp_path):
    path = tmp_path / "in.csv"
    path.write_text(
        "lon,lat,whole,part,zip,mixed,none,signed,big\n"
        "1,2,3,1.50,01234,7,,-0.5,123456789012345678901\n"
        "3,4.5,,1e-3,99999,x,NA,+2,1\n"
        "5,6,NA,nan,00000,NA,,.5,2\n"
    )
    embed_table(path, encoder, tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")
    kinds = {f.name: str(f.type) for f in found.schema if f.name not in NAMES}
    assert kinds == {
        "lon": "int64",
        "lat": "double",
        "whole": "int64",
        "part": "double",
        "zip": "string",
        "mixed": "string",
        "none": "string",
        "signed": "double",
        "big": "string",
    }
    assert found["whole"].to_pylist() == [3, None, None]
    assert found["part"].to_pylist() == [1.5, 1e-3, None]
    assert found["signed"].to_pylist() == [-0.5, 2.0, 0.5]
    assert found["mixed"].to_pylist() == ["7", "x", "NA"]
    assert found["zip"].to_pylist() == ["01234", "99999", "00000"]


def test_text_stays_as_it_is_in_text(encoder, tmp_path):
    path = tmp_path / "in.csv"
    path.write_text('lon,lat,"a,b",note\n1.50,2,007,"two\nlines"\n3,4,1e3,"say ""no"""\n5,6, x ,\n')
    embed_table(path, encoder, tmp_path / "out.csv")
    lines = (tmp_path / "out.csv").read_text()
    assert lines.startswith(f'lon,lat,"a,b",note,{",".join(NAMES)}\n1.50,2,007,"two\nlines",')
    assert '\n3,4,1e3,"say ""no""",' in lines
    assert "\n5,6, x ,," in lines


BAD = """id,lon,lat
1,10,20
2,0,0
3,,5
4,x,5
5,10
6,10,95
7,200,5
8,inf,0
9,-70,-60,1
10,3,4
"""


@pytest.mark.parametrize("output", OUTPUTS)
def test_bad_rows_are_listed_and_the_rest_goes_on(output, encoder, tmp_path):
    path = tmp_path / "in.csv"
    path.write_text(BAD)
    made = embed_table(path, encoder, tmp_path / output)
    assert (made.rows, made.left_out) == (3, 7)
    assert made.quarantine == tmp_path / "out.quarantine.csv"
    report = pd.read_csv(made.quarantine).sort_values("row")
    assert report["row"].tolist() == [1, 2, 3, 4, 5, 7, 8]
    assert (report["file"] == str(path)).all()
    reasons = report["reason"].tolist()
    for reason, part in zip(
        reasons,
        ["lon 0, lat 0", "no longitude", "'x' is not", "2 cells", "latitude 95", "inf", "4 cells"],
        strict=True,
    ):
        assert part in reason
    found = read_back(tmp_path / output)
    assert found["id"].tolist() == [1, 7, 10]
    good = pd.DataFrame({"lon": [10.0, -160.0, 3.0], "lat": [20.0, 5.0, 4.0]})
    np.testing.assert_array_equal(found[NAMES].to_numpy("f4"), plain(encoder, good))
    assert "1 longitudes from 180 to 360 were wrapped" in made.notes
    if not output.endswith(("csv", "tsv")):
        assert found["lon"].tolist() == [10, 200, 3]  # numbers, whatever stood in bad rows


def test_a_report_of_an_earlier_run_goes(encoder, tmp_path):
    path = tmp_path / "in.csv"
    path.write_text(BAD)
    first = embed_table(path, encoder, tmp_path / "out.csv")
    assert first.quarantine.is_file()
    written(table(), path)
    embed_table(path, encoder, tmp_path / "out.csv")
    assert not first.quarantine.exists()


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("as_list", [False, True])
def test_unplaced_rows_can_be_kept_without_embedding(output, as_list, encoder, tmp_path):
    if as_list and output.endswith(("csv", "tsv")):
        pytest.skip("no lists in text")
    path = tmp_path / "in.csv"
    path.write_text("id,lon,lat\n1,,\n2,3,4\n3,0,0\n")
    made = embed_table(
        path,
        encoder,
        tmp_path / output,
        settings=EmbedSettings(as_list=as_list),
        options=ReadOptions(keep_unplaced=True),
    )
    assert (made.rows, made.left_out) == (3, 0)
    found = read_back(tmp_path / output)
    assert found["id"].tolist() == [1, 2, 3]
    expected = plain(encoder, pd.DataFrame({"lon": [3], "lat": [4]}))[0]
    if as_list:
        assert [found["embedding"][row] is None for row in range(3)] == [True, False, True]
        np.testing.assert_array_equal(np.asarray(found["embedding"][1], "f4"), expected)
    else:
        assert found[NAMES].isna().all(axis=1).tolist() == [True, False, True]
        np.testing.assert_array_equal(found.loc[1, NAMES].to_numpy("f4"), expected)
    assert any("2 places" in n or "1 places cannot be used" in n for n in made.notes)


@pytest.mark.parametrize("output", ["out.csv", "out.parquet", "out.geojson"])
def test_unit_length_in_half_precision(output, encoder, tmp_path):
    frame = table()
    settings = EmbedSettings(normalise=True, dtype=Dtype.FLOAT16, name="place")
    embed_table(written(frame, tmp_path / "in.csv"), encoder, tmp_path / output, settings=settings)
    raw = plain(encoder, frame)
    expected = (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float16)
    found = read_back(tmp_path / output)[column_names(DIM, "place")].to_numpy(np.float32)
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-4)
    np.testing.assert_array_equal(found, found.astype(np.float16))


def test_what_does_not_fit_half_precision_is_an_error(encoder, tmp_path):
    large = geocsp.LocationEncoder.from_config(encoder.config())
    with torch.no_grad():
        list(large.parameters())[-1].add_(1e6)
    with pytest.raises(DataError, match="does not fit float16"):
        embed_table(
            written(table(), tmp_path / "in.csv"),
            large,
            tmp_path / "out.geojson",
            settings=EmbedSettings(dtype=Dtype.FLOAT16),
        )
    assert [file.name for file in tmp_path.iterdir()] == ["in.csv"]


def test_the_record_says_how_it_came_about(encoder, tmp_path):
    path = written(table(), tmp_path / "in.csv")
    expected = {
        "geocsp": geocsp.__version__,
        "model": "runs/x",
        "fingerprint": fingerprint_of(encoder),
        "encoder": "Space2VecGrid",
        "dim": DIM,
        "source": str(path),
        "places": ["lon", "lat"],
        "times": [],
        "normalise": True,
        "dtype": "float32",
        "name": "embedding",
        "as_list": False,
    }
    settings = EmbedSettings(normalise=True)
    for output in OUTPUTS:
        out = tmp_path / output
        made = embed_table(path, encoder, out, model="runs/x", settings=settings)
        assert made.about == expected
        beside = tmp_path / f"{output}.json"
        if out.suffix in (".parquet", ".geoparquet"):
            assert not beside.exists()
            found = pq.read_schema(out).metadata[b"geocsp_embedding"]
        else:
            found = beside.read_text()
        assert json.loads(found) == expected


def test_columns_and_crs_by_name(encoder, tmp_path):
    frame = table().query("abs(lat) < 70")
    points = gpd.points_from_xy(frame["lon"], frame["lat"], crs="EPSG:4326").to_crs("EPSG:3857")
    pd.DataFrame({"e": points.x, "n": points.y, "lon": 1.0}).to_csv(
        tmp_path / "in.csv", index=False
    )
    options = ReadOptions(Columns(lon="e", lat="n"), crs="EPSG:3857")
    made = embed_table(tmp_path / "in.csv", encoder, tmp_path / "out.parquet", options=options)
    found = pd.read_parquet(tmp_path / "out.parquet")
    np.testing.assert_allclose(found[NAMES], plain(encoder, frame), rtol=1e-4, atol=1e-5)
    assert made.about["places"] == ["e", "n"]


@pytest.mark.parametrize("source", ["in.csv", "in.parquet"])
def test_times_go_to_encoders_that_take_them(source, tmp_path):
    torch.manual_seed(0)
    timed = geocsp.create("location", "wrap", dim=DIM, date_harmonics=1, hour_harmonics=1).eval()
    frame = table(3)
    frame["when"] = texts = ["2024-03-01T06:30:00", None, "soon"]
    path = written(frame, tmp_path / source)
    options = ReadOptions(Columns(time="when"))
    made = embed_table(path, timed, tmp_path / "out.parquet", options=options)
    time = geocsp.times_of([*texts[:2], None], torch.from_numpy(frame["lon"].to_numpy()))
    found = pd.read_parquet(tmp_path / "out.parquet")
    np.testing.assert_allclose(found[NAMES], plain(timed, frame, time), rtol=1e-5, atol=1e-6)
    assert not np.allclose(plain(timed, frame, time)[0], plain(timed, frame)[0], atol=1e-3)
    assert made.about["times"] == ["when"]
    assert "1 times could not be read and count as unknown" in made.notes


def test_times_as_geocsp_writes_them(tmp_path):
    timed = geocsp.create("location", "wrap", dim=DIM, date_harmonics=1, hour_harmonics=1).eval()
    frame = table(3)
    frame["date"], frame["hour"] = [0.25, np.nan, 7.0], [6.0, 12.0, 1.0]
    made = embed_table(written(frame, tmp_path / "in.parquet"), timed, tmp_path / "out.parquet")
    time = torch.tensor([[0.25, 6.0], [np.nan, 12.0], [np.nan, 1.0]], dtype=torch.float64)
    found = pd.read_parquet(tmp_path / "out.parquet")
    np.testing.assert_allclose(found[NAMES], plain(timed, frame, time), rtol=1e-5, atol=1e-6)
    assert made.about["times"] == ["date", "hour"]
    assert "1 times could not be read and count as unknown" in made.notes


def test_a_folder_of_parts_with_a_damaged_one(encoder, tmp_path):
    frame, folder = table(9), tmp_path / "parts"
    for part, rows in enumerate((slice(0, 4), slice(4, 9))):
        below = folder / f"year={2020 + part}"
        below.mkdir(parents=True)
        frame[rows].to_parquet(below / "part.parquet", index=False)
    (folder / "year=2020" / "torn.parquet").write_bytes(b"PAR1 torn")
    made = embed_table(folder, encoder, tmp_path / "out.parquet")
    found = pd.read_parquet(tmp_path / "out.parquet")
    assert found["id"].tolist() == list(range(9))
    assert found["year"].tolist() == ["2020"] * 4 + ["2021"] * 5
    np.testing.assert_array_equal(found[NAMES].to_numpy(), plain(encoder, frame))
    assert made.left_out == 1
    assert "torn.parquet" in made.quarantine.read_text()


def test_parts_with_other_columns(encoder, tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    table().to_parquet(folder / "a.parquet")
    table().drop(columns="id").to_parquet(folder / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet has other columns than .*a\.parquet"):
        embed_table(folder, encoder, tmp_path / "out.parquet")


@pytest.mark.parametrize("source", ["in.csv", "in.parquet", "in.gpkg"])
def test_many_blocks_are_the_same_as_one(source, encoder, tmp_path, monkeypatch):
    frame = table(1500)
    frame.loc[[3, 700, 1499], ["lon", "lat"]] = 0.0
    path, told = written(frame, tmp_path / source), []
    monkeypatch.setattr("geocsp.embed.table._NUMBERS", 1)
    monkeypatch.setattr("geocsp.embed.writers.parquet._GROUP_BYTES", 12_000)
    embed_table(path, encoder, tmp_path / "out.parquet", on_progress=lambda *n: told.append(n))
    assert told == [(n, 1500) for n in (256, 512, 768, 1024, 1280, 1500)]
    found = pq.ParquetFile(tmp_path / "out.parquet")
    sizes = [found.metadata.row_group(n).num_rows for n in range(found.num_row_groups)]
    assert len(sizes) > 2
    assert sum(sizes) == 1497
    good = frame[frame["lon"] != 0]
    np.testing.assert_allclose(
        found.read(NAMES).to_pandas(), plain(encoder, good), rtol=1e-4, atol=1e-5
    )
    report = pd.read_csv(tmp_path / "out.quarantine.csv")
    assert report["row"].tolist() == [3, 700, 1499]


@pytest.mark.parametrize(
    ("source", "content", "output", "message"),
    [
        ("in.csv", "lon,lat\n1,2\n", "out.xlsx", "the ending of the name says how to write it"),
        ("in.csv", "lon,lat\n1,2\n", "out", "the ending of the name says how to write it"),
        ("in.csv", "lon,lat\n", "out.csv", "holds no usable place"),
        ("in.csv", "lon,lat\n0,0\n", "out.csv", "no usable place; the first row left out: .*lat 0"),
        ("in.csv", "x1,lat\n0,0\n", "out.csv", "has no column lon; its columns are x1, lat"),
        ("in.csv", "lon,lat,lon\n1,2,3\n", "out.csv", "2 columns 'lon'"),
        (
            "in.csv",
            "lon,lat,embedding_003\n1,2,3\n",
            "out.csv",
            "'embedding_003' already; .*--name",
        ),
        ("in.csv", "lon,lat,geometry\n1,2,3\n", "out.geojson", "'geometry' already; rename"),
        ("in.csv", "", "out.csv", "has no column lon"),
        ("in.csv", "lon,lat\n1,2\n", "in.csv", "is the source itself"),
        ("in.xyz", "lon,lat\n1,2\n", "out.csv", "is of no kind that can be read"),
        ("in.parquet", "lon,lat\n1,2\n", "out.csv", "damaged or no Parquet file"),
        ("in.geojson", "lon,lat\n1,2\n", "out.csv", "does not begin as GeoJSON does"),
        ("in.gpkg", "lon,lat\n1,2\n", "out.csv", r"does not begin as \.gpkg does"),
    ],
)
def test_bad_input_is_one_clear_error(source, content, output, message, encoder, tmp_path):
    (tmp_path / source).write_text(content)
    with pytest.raises(DataError, match=message):
        embed_table(tmp_path / source, encoder, tmp_path / output)
    left = {file.name for file in tmp_path.iterdir()}
    assert left <= {source, "out.quarantine.csv"}


def test_a_source_that_is_not_there(encoder, tmp_path):
    for name in ("a.csv", "a.parquet", "a.geojson", "a"):
        with pytest.raises(DataError, match="does not exist"):
            embed_table(tmp_path / name, encoder, tmp_path / "out.csv")


def test_lists_and_text_do_not_go_together(encoder, tmp_path):
    path = written(table(), tmp_path / "in.csv")
    with pytest.raises(DataError, match="a table of text has no lists"):
        embed_table(path, encoder, tmp_path / "out.csv", settings=EmbedSettings(as_list=True))
    pq.write_table(pa.table({"lon": [1.0], "lat": [2.0], "x": [[1]]}), tmp_path / "in.parquet")
    with pytest.raises(DataError, match="column 'x' holds list"):
        embed_table(tmp_path / "in.parquet", encoder, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_a_time_that_the_encoder_does_not_take(encoder, tmp_path):
    path = written(table(), tmp_path / "in.csv")
    with pytest.raises(DataError, match="takes no time"):
        embed_table(path, encoder, tmp_path / "out.csv", options=ReadOptions(Columns(time="name")))


@pytest.mark.parametrize("output", OUTPUTS)
def test_an_interrupted_job_leaves_what_was_there(output, encoder, tmp_path):
    path = written(table(), tmp_path / "in.csv")
    (tmp_path / output).write_text("before")

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_table(path, encoder, tmp_path / output, on_progress=stop)
    assert (tmp_path / output).read_text() == "before"
    assert {file.name for file in tmp_path.iterdir()} == {"in.csv", output}


_FULL_DISK = """
import resource, signal
from pathlib import Path
from geocsp.embed import embed_table, untrained_encoder
encoder = untrained_encoder("wrap", {"dim": 64}, seed=0)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for source, size in (("few.csv", 2_000), ("many.csv", 20_000)):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    for output in OUTPUTS:
        try:
            embed_table(source, encoder, Path(output))
        except (OSError, RuntimeError) as error:
            print(output, "failed")
"""


def test_a_full_disk_is_a_failure_and_leaves_what_was_there(tmp_path):
    written(table(20), tmp_path / "few.csv")
    written(table(500), tmp_path / "many.csv")
    for output in OUTPUTS:
        (tmp_path / output).write_text("before")
    code = f"OUTPUTS = {OUTPUTS}\n{_FULL_DISK}"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines() == [f"{output} failed" for output in OUTPUTS] * 2
    assert {(tmp_path / output).read_text() for output in OUTPUTS} == {"before"}
    assert {file.name for file in tmp_path.iterdir()} == {"few.csv", "many.csv", *OUTPUTS}


def test_the_same_call_writes_the_same_bytes(encoder, tmp_path):
    path = written(table(), tmp_path / "in.csv")
    for output in OUTPUTS:
        contents = []
        for _ in range(2):
            embed_table(path, encoder, tmp_path / output)
            contents.append((tmp_path / output).read_bytes())
        assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("package", "source", "output"),
    [
        ("pyogrio", "in.csv", "out.geojson"),
        ("shapely", "in.csv", "out.geoparquet"),
        ("pyogrio", "in.geojson", "out.csv"),
    ],
)
def test_a_missing_extra_is_named(package, source, output, encoder, tmp_path, monkeypatch):
    path = written(table(), tmp_path / source)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package} is not .*geocsp\[geo\]"):
        embed_table(path, encoder, tmp_path / output)
    assert {file.name for file in tmp_path.iterdir()} == {source}


def test_plain_tables_need_no_extra(encoder, tmp_path, monkeypatch):
    path = written(table(), tmp_path / "in.csv")
    for package in ("shapely", "pyogrio", "pyproj", "geopandas"):
        monkeypatch.setitem(sys.modules, package, None)
    embed_table(path, encoder, tmp_path / "out.parquet")
    embed_table(tmp_path / "out.parquet", encoder, tmp_path / "b.csv", settings=_named("second"))
    assert read_back(tmp_path / "b.csv").shape == (7, 5 + 2 * DIM)


def _named(name):
    return EmbedSettings(name=name)
