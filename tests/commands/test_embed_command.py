import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from typer.testing import CliRunner

import geocsp
from geocsp.commands.embed import embed
from geocsp.embed import column_names
from geocsp.errors import DataError

APP = typer.Typer(rich_markup_mode="markdown")
APP.command()(embed)
RUNNER = CliRunner(env={"COLUMNS": "200"})
DIM = 5


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return geocsp.create("location", "wrap", dim=DIM).eval()


@pytest.fixture
def run(encoder, tmp_path, monkeypatch):
    """Runs the verb in a folder with a model and a table."""
    encoder.save_pretrained(tmp_path / "runs" / "pretrain" / "model")
    (tmp_path / "points.csv").write_text("id,lon,lat\n1,10,20\n2,0,0\n3,-70.5,-33.25\n")
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: RUNNER.invoke(APP, [*map(str, arguments)])


def test_a_table_with_the_defaults(run, encoder):
    done = run("points.csv", "-o", "made/out.parquet")
    assert done.exit_code == 0, done.output
    found = pd.read_parquet("made/out.parquet")
    expected = encoder.embed(torch.tensor([[10.0, 20.0], [-70.5, -33.25]]).double())
    np.testing.assert_array_equal(found[column_names(DIM)], expected.numpy())
    assert "2 places, 5 numbers each, in made/out.parquet" in done.stdout
    assert "1 rows left out, see made/out.quarantine.csv" in done.stdout


def test_what_was_done_as_json(run, encoder):
    done = run(
        "points.csv", "-m", "runs/pretrain/model", "-o", "out.csv", "--json", "--normalise",
        "--dtype", "float16", "--name", "place", "--device", "cpu",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["model"] == "runs/pretrain/model"
    assert (facts["rows"], facts["left_out"]) == (2, 1)
    assert facts["quarantine"] == "out.quarantine.csv"
    assert facts["dtype"] == "float16"
    vectors = pd.read_csv("out.csv")[column_names(DIM, "place")].to_numpy()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=2e-3)
    record = json.loads(Path("out.csv.json").read_text())
    assert record["fingerprint"] == facts["fingerprint"]


def test_options_of_reading_reach_the_reader(run, encoder, tmp_path):
    (tmp_path / "metres.csv").write_text("e,n,lon\n1113194.9079,0,9\n,,9\n")
    done = run(
        "metres.csv", "--lon-column", "e", "--lat-column", "n", "--crs", "EPSG:3857",
        "--keep-unplaced", "--as-list", "-o", "out.parquet",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    first, second = pd.read_parquet("out.parquet")["embedding"]
    expected = encoder.embed(torch.tensor([[10.0, 0.0]]).double())[0]
    np.testing.assert_allclose(first, expected, rtol=1e-4, atol=1e-5)
    assert second is None


def test_strict_is_an_error_after_the_work(run):
    done = run("points.csv", "-o", "out.csv", "--strict")
    assert isinstance(done.exception, DataError)
    assert "1 rows were left out; see out.quarantine.csv" in str(done.exception)
    assert len(pd.read_csv("out.csv")) == 2


def test_a_grid_as_geotiff(run, encoder):
    rasterio = pytest.importorskip("rasterio")
    done = run("--grid", "5", "--bounds", "-10,35,5,45", "-o", "out.tif", "--dtype", "float32")
    assert done.exit_code == 0, done.output
    assert "2 x 3 cells, 5 float32 each" in done.stdout
    with rasterio.open("out.tif") as file:
        found, bounds = file.read(), file.bounds
    assert tuple(bounds) == (-10, 35, 5, 45)
    lonlat = torch.tensor([[lon, lat] for lat in (42.5, 37.5) for lon in (-7.5, -2.5, 2.5)])
    expected = encoder.embed(lonlat.double()).T.reshape(DIM, 2, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    again = run("--grid", "5", "--bounds", "-10,35,5,45", "-o", "out.tif", "--dtype", "float32")
    assert "6 cells were there from an earlier run" in again.stdout


def test_a_grid_as_zarr_of_unit_length(run):
    zarr = pytest.importorskip("zarr")
    done = run("--grid", "30", "-o", "out.zarr", "--normalise", "--json", "--workers", "1")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert (facts["rows"], facts["columns"], facts["bands"]) == (6, 12, DIM)
    assert (facts["dtype"], facts["cells"], facts["found"]) == ("float16", 72, 0)
    group = zarr.open_group("out.zarr", mode="r")
    (values,) = [array[:] for _, array in group.arrays() if array.ndim == 3]
    values = values.astype(float)
    axis = values.shape.index(DIM)
    np.testing.assert_allclose(np.linalg.norm(values, axis=axis), 1.0, atol=2e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "out.csv"], "name a table of places, or the size of cells with --grid"),
        (["points.csv", "--grid", "1", "-o", "a.tif"], "or the size of cells with --grid"),
        (["points.csv"], "name the output"),
        (["points.csv", "--bounds", "0,0,1,1", "-o", "a.csv"], "--bounds is for grids alone"),
        (["points.csv", "--workers", "2", "-o", "a.csv"], "--workers is for grids alone"),
        (["points.csv", "--dtype", "int8", "-o", "a.csv"], "int8 is for grids alone"),
        (["--grid", "1", "--crs", "EPSG:3857", "-o", "a.tif"], "--crs is for tables alone"),
        (["--grid", "1", "--as-list", "-o", "a.tif"], "--as-list is for tables alone"),
        (["points.csv", "--device", "abacus", "-o", "a.csv"], "no device 'abacus' here"),
    ],
)
def test_wrong_usage(arguments, message, run):
    done = run(*arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["points.csv", "-m", "nowhere", "-o", "a.csv"], "nowhere does not exist"),
        (["nowhere.csv", "-o", "a.csv"], "nowhere.csv does not exist"),
        (["points.csv", "-o", "a.xlsx"], "the ending of the name says how to write it"),
        (["points.csv", "-o", "points.csv/a.csv"], "cannot write points.csv"),
        (["--grid", "0", "-o", "a.tif"], "the step of a grid must be a positive number"),
        (["--grid", "1", "--bounds", "1,2,3", "-o", "a.tif"], "west,south,east,north"),
        (["--grid", "1", "-o", "a.csv"], "a.csv"),
    ],
)
def test_bad_input_is_one_clear_error(arguments, message, run):
    done = run(*arguments)
    assert isinstance(done.exception, DataError), done.output
    assert message in str(done.exception)


def test_a_disk_that_fails_is_a_failure(run, monkeypatch):
    def fail(*arguments, **settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("geocsp.commands.embed_work.embed_table", fail)
    done = run("points.csv", "-o", "out.csv")
    assert isinstance(done.exception, RuntimeError)
    assert str(done.exception) == "cannot write out.csv: No space left on device"


def test_help_has_examples():
    done = RUNNER.invoke(APP, ["--help"])
    assert done.exit_code == 0
    assert "Examples" in done.stdout
    assert "geocsp embed --grid 0.1 --bounds -10,35,5,44 -o iberia.tif" in done.stdout
