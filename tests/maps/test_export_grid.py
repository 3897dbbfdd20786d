import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

import geocsp
from geocsp.errors import DataError, MissingExtraError
from geocsp.maps.export import CellType, Embedding, Stage, blocks, embed_grid
from geocsp.maps.export.blocks import Blocks, block_size
from geocsp.maps.grid import Grid

rasterio = pytest.importorskip("rasterio", reason="pip install 'geocsp[geo]'")
zarr = pytest.importorskip("zarr", reason="pip install 'geocsp[geo]'")

DIM = 6
EDGES = ("west", "south", "east", "north")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return geocsp.create("location", "sphere2vec-spherec", dim=DIM, hidden=16, frequencies=8).eval()


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "_BYTES", 0)  # 128 cells wide


WINDOW = Grid.of(0.25, "150,-30,-140,25.5")
"""222 x 280 cells over the antimeridian: two by three blocks, none but the first whole."""


def embedded(model, grid, dtype=np.float32):
    """The slow, plain way."""
    rows = [model.embed(grid.centres(slice(row, row + 1))) for row in range(grid.shape[0])]
    return torch.stack(rows).numpy().astype(dtype)


def read(path):
    with rasterio.open(path) as file:
        return file.read().transpose(1, 2, 0)


class Waves:
    """One number for every place."""

    title = "waves"

    def __init__(self, shift=0.0):
        self.shift = shift

    def of(self, lonlat):
        return torch.sin(lonlat[:, 0] / 30 + self.shift) * torch.cos(lonlat[:, 1] / 20)


class Colours:
    def of(self, lonlat):
        red, green = (lonlat[:, 0] + 180) / 360 * 255, (lonlat[:, 1] + 90) / 180 * 255
        return torch.stack([red, green, red * 0], dim=1).to(torch.uint8)


@pytest.mark.parametrize("grid", [WINDOW, Grid.of(2), Grid.of(30, "0,60,30,90")])
@pytest.mark.parametrize("dtype", [CellType.FLOAT16, CellType.FLOAT32])
@pytest.mark.parametrize("name", ["out.tif", "out.zarr"])
def test_every_cell_holds_the_embedding_of_its_centre(tmp_path, model, grid, dtype, name):
    report = embed_grid(model, grid, tmp_path / name, dtype=dtype)
    path = tmp_path / name
    found = read(path) if name == "out.tif" else zarr.open_group(path, mode="r")["values"][:]
    assert found.shape == (*grid.shape, DIM)
    expected = embedded(model, grid, dtype.value)
    ulp = np.spacing(np.abs(expected)).astype(np.float32)  # passes of another length round apart
    assert (np.abs(found.astype(np.float32) - expected.astype(np.float32)) <= 4 * ulp + 1e-6).all()
    assert report.shape == grid.shape
    assert (report.bands, report.computed, report.found) == (DIM, found[:, :, 0].size, 0)
    assert report.bytes == sum(f.stat().st_size for f in (*path.rglob("*"), path) if f.is_file())
    assert [inner.name for inner in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("dtype", [CellType.FLOAT16, CellType.INT8])
def test_the_geotiff_is_a_valid_cog_that_says_what_it_is(tmp_path, model, dtype):
    rio_cogeo = pytest.importorskip("rio_cogeo.cogeo")
    path = tmp_path / "out.tif"
    embed_grid(model, WINDOW, path, dtype=dtype)
    valid, errors, warnings = rio_cogeo.cog_validate(path)
    assert (valid, errors, warnings) == (True, [], [])
    with rasterio.open(path) as file:
        assert file.crs.to_epsg() == 4326
        assert file.bounds == pytest.approx(WINDOW.bounds)
        assert file.res == (0.25, 0.25)
        assert file.transform == WINDOW.transform
        assert file.descriptions == tuple(f"embedding_{band:03}" for band in range(DIM))
        assert file.compression is rasterio.enums.Compression.deflate
        assert file.block_shapes == [(128, 128)] * DIM
        assert file.overviews(1) == [2, 4]
        assert file.nodata == -128 if dtype is CellType.INT8 else np.isnan(file.nodata)
        tags = file.tags()
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert tags["GEOCSP_VERSION"] == geocsp.__version__
    settings = json.loads(tags["GEOCSP_SETTINGS"])
    assert settings["model"]["fingerprint"] == geocsp.models.fingerprint_of(model)
    assert settings["grid"] == {"step": 0.25} | dict(zip(EDGES, WINDOW.bounds, strict=True))


def test_overviews_are_means(tmp_path, model):
    path = tmp_path / "out.tif"
    embed_grid(model, Grid.of(0.25, "0,0,33.25,32.75"), path, dtype=CellType.FLOAT32)
    finer = read(path)
    for level in range(2):
        rows, columns = (-(-length // 2) for length in finer.shape[:2])
        expected = np.stack(
            [
                finer[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean(axis=(0, 1))
                for row in range(rows)
                for column in range(columns)
            ]
        ).reshape(rows, columns, DIM)
        if max(finer.shape[:2]) <= 128:
            break
        with rasterio.open(path, overview_level=level) as file:
            finer = file.read().transpose(1, 2, 0)
        assert np.allclose(finer, expected, atol=1e-6)
    assert level == 1  # 131 x 133 and 66 x 67


def test_int8_is_within_half_a_step_of_a_scale(tmp_path, model):
    path = tmp_path / "out.tif"
    report = embed_grid(model, WINDOW, path, dtype=CellType.INT8)
    with rasterio.open(path) as file:
        assert file.dtypes == ("int8",) * DIM
        steps, scale = file.read().transpose(1, 2, 0), np.array(file.scales)
    assert report.clipped == 0
    assert steps.min() >= -127
    assert (np.abs(steps).max(axis=(0, 1)) > 90).all()  # the range is used
    assert (np.abs(steps * scale - embedded(model, WINDOW)) <= 0.501 * scale).all()


def test_what_int8_cannot_hold_is_cut_and_counted(tmp_path, model):
    class Peak:
        """Flat in all cells that a scale is measured on, but one."""

        def of(self, lonlat):
            high = (lonlat == torch.tensor([0.5, 0.5])).all(dim=1)
            return torch.where(high, 5.0, 1.0)

    path = tmp_path / "out.tif"
    report = embed_grid(model, Grid.of(1 / 3), path, quantity=Peak(), dtype=CellType.INT8)
    assert report.clipped == 1
    values = read(path)[:, :, 0]
    assert (values == 127).sum() == 1
    assert (values == round(127 / 1.25)).sum() == values.size - 1


def test_a_zarr_store_is_read_by_xarray_with_its_coordinates(tmp_path, model):
    xarray = pytest.importorskip("xarray")
    embed_grid(model, WINDOW, tmp_path / "out.zarr")
    data = xarray.open_zarr(tmp_path / "out.zarr", consolidated=False, chunks=None)
    values = data["values"]
    assert values.dims == ("lat", "lon", "embedding")
    assert values.dtype == np.float16
    assert np.array_equal(data["lat"], WINDOW.latitudes)
    assert np.array_equal(data["lon"], WINDOW.longitudes)
    assert data["lat"].attrs["units"] == "degrees_north"
    assert data["lon"].attrs["standard_name"] == "longitude"
    assert data["crs"].attrs["grid_mapping_name"] == "latitude_longitude"
    assert data.attrs["Conventions"].startswith("CF-")
    assert data.attrs["geocsp"]["model"]["fingerprint"] == geocsp.models.fingerprint_of(model)
    place = values.sel(lat=-12.3, lon=180 + 20.1, method="nearest")
    assert np.array_equal(place, values[151, 200])
    root = zarr.open_group(tmp_path / "out.zarr", mode="r")
    assert root.metadata.zarr_format == 3
    assert root["values"].chunks == (128, 128, DIM)


def test_a_quantity_of_one_number(tmp_path, model):
    waves = Waves()
    embed_grid(model, WINDOW, tmp_path / "out.tif", quantity=waves)
    embed_grid(model, WINDOW, tmp_path / "out.zarr", quantity=waves)
    expected = waves.of(WINDOW.centres()).reshape(WINDOW.shape).float().numpy()
    assert np.array_equal(read(tmp_path / "out.tif")[:, :, 0], expected)
    root = zarr.open_group(tmp_path / "out.zarr", mode="r")
    assert np.array_equal(root["values"][:], expected)
    assert root["values"].metadata.dimension_names == ("lat", "lon")
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.descriptions == ("waves",)
        assert file.tags()["TITLE"] == "waves"


def test_colours_stay_bytes(tmp_path, model):
    report = embed_grid(model, WINDOW, tmp_path / "out.tif", quantity=Colours())
    assert report.dtype is CellType.UINT8
    expected = Colours().of(WINDOW.centres()).reshape(*WINDOW.shape, 3).numpy()
    assert np.array_equal(read(tmp_path / "out.tif"), expected)
    with rasterio.open(tmp_path / "out.tif") as file:
        assert [colour.name for colour in file.colorinterp] == ["red", "green", "blue"]
        assert file.nodata is None
    embed_grid(model, WINDOW, tmp_path / "out.zarr", quantity=Colours())
    root = zarr.open_group(tmp_path / "out.zarr", mode="r")
    assert np.array_equal(root["values"][:], expected)
    assert root["band"][:].tolist() == [0, 1, 2]


def test_values_that_are_nothing_are_written_too(tmp_path, model):
    class Zero:
        def of(self, lonlat):
            return torch.zeros(len(lonlat))

    embed_grid(model, WINDOW, tmp_path / "out.zarr", quantity=Zero())
    embed_grid(model, WINDOW, tmp_path / "out.tif", quantity=Zero(), dtype=CellType.INT8)
    assert (zarr.open_group(tmp_path / "out.zarr", mode="r")["values"][:] == 0).all()
    assert (read(tmp_path / "out.tif") == 0).all()


def test_unit_length(tmp_path, model):
    quantity = Embedding(model, normalise=True)
    embed_grid(model, WINDOW, tmp_path / "out.tif", quantity=quantity, dtype=CellType.FLOAT32)
    length = np.linalg.norm(read(tmp_path / "out.tif"), axis=2)
    assert np.allclose(length, 1, atol=1e-5)


@pytest.mark.parametrize("name", ["out.tif", "out.zarr"])
def test_the_number_of_workers_changes_nothing(tmp_path, model, name):
    threads = torch.get_num_threads()
    for folder, workers in (("one", 1), ("three", 3)):
        embed_grid(model, WINDOW, tmp_path / folder / name, workers=workers)
    assert contents(tmp_path / "one") == contents(tmp_path / "three")
    assert torch.get_num_threads() == threads


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_progress_reaches_the_end(tmp_path, model):
    seen = []
    embed_grid(model, WINDOW, tmp_path / "out.tif", on_progress=seen.append)
    cells = [state for state in seen if state.stage is Stage.CELLS]
    assert [state.done for state in cells] == sorted(state.done for state in cells)
    assert (cells[0].done, cells[-1].done, cells[-1].total) == (0, 222 * 280, 222 * 280)
    assert cells[-1].rate > 0
    overviews = [state for state in seen if state.stage is Stage.OVERVIEWS]
    assert overviews[-1].done == overviews[-1].total == 3  # 111 x 140 and 56 x 70 cells
    assert (seen[-1].stage, seen[-1].total) == (Stage.FILE, 0)


def test_a_finished_output_is_left_alone(tmp_path, model):
    path = tmp_path / "out.tif"
    embed_grid(model, WINDOW, path)
    stamp = path.stat().st_mtime_ns
    report = embed_grid(model, WINDOW, path)
    assert (report.computed, report.found, report.clipped) == (0, 222 * 280, None)
    assert path.stat().st_mtime_ns == stamp
    assert [inner.name for inner in tmp_path.iterdir()] == ["out.tif"]


@pytest.mark.parametrize("name", ["out.tif", "out.zarr"])
def test_an_output_of_other_settings_is_refused(tmp_path, model, name):
    path = tmp_path / name
    embed_grid(model, WINDOW, path)
    before = contents(tmp_path)
    torch.manual_seed(1)
    other = geocsp.create("location", "sphere2vec-spherec", dim=DIM, hidden=16, frequencies=8)
    with pytest.raises(DataError, match=r"other settings \(model.fingerprint\); delete it"):
        embed_grid(other, WINDOW, path)
    with pytest.raises(DataError, match=r"other settings \(grid.step"):
        embed_grid(model, Grid.of(0.5, "150,-30,-140,25.5"), path)
    with pytest.raises(DataError, match=r"other settings \(dtype"):
        embed_grid(model, WINDOW, path, dtype=CellType.FLOAT32)
    with pytest.raises(DataError, match=r"other settings \(.*quantity"):
        embed_grid(model, WINDOW, path, quantity=Waves())
    assert contents(tmp_path) == before


def test_quantities_of_one_name_are_told_apart_by_their_values(tmp_path, model):
    embed_grid(model, WINDOW, tmp_path / "out.tif", quantity=Waves())
    with pytest.raises(DataError, match="values of another quantity"):
        embed_grid(model, WINDOW, tmp_path / "out.tif", quantity=Waves(0.1))
    embed_grid(model, WINDOW, tmp_path / "out.tif", quantity=Waves(1e-5))  # as another processor


def test_what_is_not_ours_is_neither_taken_nor_deleted(tmp_path, model):
    (tmp_path / "out.tif").write_text("mine")
    with pytest.raises(DataError, match="was not written by geocsp"):
        embed_grid(model, WINDOW, tmp_path / "out.tif")
    (tmp_path / "other.zarr.partial").mkdir()
    (tmp_path / "other.zarr.partial" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match=r"other\.zarr\.partial is there and was not written"):
        embed_grid(model, WINDOW, tmp_path / "other.zarr")
    assert (tmp_path / "out.tif").read_text() == "mine"
    assert (tmp_path / "other.zarr.partial" / "thesis.txt").read_text() == "mine"


def test_two_at_once_are_told(tmp_path, model):
    (tmp_path / "out.tif.partial").mkdir()
    with (
        FileLock(tmp_path / "out.tif.partial" / ".lock"),
        pytest.raises(DataError, match="another run is working in"),
    ):
        embed_grid(model, WINDOW, tmp_path / "out.tif")
    embed_grid(model, WINDOW, tmp_path / "out.tif")


@pytest.mark.parametrize("name", ["out.tif", "out.zarr"])
def test_too_little_space_is_said_before_any_work(tmp_path, model, name, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 10**7))

    class Counting(Embedding):
        calls = 0

        def of(self, lonlat):
            Counting.calls += len(lonlat)
            return super().of(lonlat)

    with pytest.raises(DataError, match=r"room for 10\.0 MB, .* may need .*; free some space"):
        embed_grid(model, Grid.of(0.25), tmp_path / name, quantity=Counting(model))
    assert Counting.calls < 1000
    assert not (tmp_path / name).exists()


def test_names_of_other_kinds(tmp_path, model):
    for name in ("out.nc", "out", "out.tif.partial"):
        with pytest.raises(DataError, match=r"must end with \.tif or \.zarr"):
            embed_grid(model, WINDOW, tmp_path / name)
    with pytest.raises(DataError, match="int8 has a scale for every band"):
        embed_grid(model, WINDOW, tmp_path / "out.zarr", dtype=CellType.INT8)
    assert list(tmp_path.iterdir()) == []


def test_types_that_do_not_fit(tmp_path, model):
    with pytest.raises(DataError, match="cannot be written as uint8"):
        embed_grid(model, WINDOW, tmp_path / "out.tif", dtype=CellType.UINT8)
    with pytest.raises(DataError, match="cannot be written as float32"):
        embed_grid(model, WINDOW, tmp_path / "o.tif", quantity=Colours(), dtype=CellType.FLOAT32)

    class Numbers:
        def of(self, lonlat):
            return torch.ones(len(lonlat), dtype=torch.int64)

    with pytest.raises(DataError, match="cannot be averaged"):
        embed_grid(model, WINDOW, tmp_path / "out.tif", quantity=Numbers())


class Broken:
    """Wrong in one cell."""

    title = "broken"

    def __init__(self, value):
        self.value = value

    def of(self, lonlat):
        there = (lonlat - torch.tensor([-170.125, 3.125])).abs().amax(dim=1) < 1e-6
        return torch.where(there, self.value, 1.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_named(tmp_path, model, value):
    with pytest.raises(DataError, match=r"lon -170\.125, lat 3\.125 is not finite"):
        embed_grid(model, WINDOW, tmp_path / "out.tif", quantity=Broken(value))
    assert not (tmp_path / "out.tif").exists()


def test_a_value_too_large_for_float16_is_named(tmp_path, model):
    quantity = Broken(1e6)
    with pytest.raises(DataError, match=r"lat 3\.125 is too large for float16; write float32"):
        embed_grid(model, WINDOW, tmp_path / "a.tif", quantity=quantity, dtype=CellType.FLOAT16)
    embed_grid(model, WINDOW, tmp_path / "b.tif", quantity=quantity, dtype=CellType.FLOAT32)
    assert read(tmp_path / "b.tif").max() == 1e6


def test_a_name_in_the_working_folder(tmp_path, model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = embed_grid(model, Grid.of(10), "out.tif")
    assert report.output == Path("out.tif")
    assert [inner.name for inner in tmp_path.iterdir()] == ["out.tif"]


@pytest.mark.parametrize(("package", "name"), [("rasterio", "out.tif"), ("zarr", "out.zarr")])
def test_without_the_package_the_extra_is_named(tmp_path, model, monkeypatch, package, name):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"geocsp\[geo\]"):
        embed_grid(model, WINDOW, tmp_path / name)


def test_blocks_cover_every_cell_once():
    for shape, size in [((1, 1), 128), ((300, 7), 128), ((256, 512), 256), ((5, 1025), 512)]:
        cut = Blocks(shape, size)
        seen = np.zeros(shape, dtype=int)
        for block in range(len(cut)):
            seen[cut.window(block)] += 1
            assert seen[cut.window(block)].size == cut.cells(block)
        assert (seen == 1).all()


def test_blocks_are_as_large_as_memory_allows(monkeypatch):
    monkeypatch.undo()
    assert [block_size(bands, 2) for bands in (1, 16, 17, 64, 65, 256)] == [
        512, 512, 256, 256, 128, 128,
    ]  # fmt: skip
