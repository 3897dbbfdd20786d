import pickle
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from geocsp.data.images import Bands
from geocsp.data.options import ReadOptions
from geocsp.data.read import read
from geocsp.data.readers.datasets import read_dataset
from geocsp.errors import DataError
from geocsp.images.decode import decode
from geocsp.images.framing import Framing

gpd = pytest.importorskip("geopandas")
pd = pytest.importorskip("pandas")
shapely = pytest.importorskip("shapely")

SEAMS = [(500_000, 5_400_000, "2020-01-31"), (501_000, 5_400_000, "2020-02-01")]
"""Western and northern edge of a scene of 640 metres in UTM 31N, and its day."""


class Scenes:
    """Like TorchGeo's RasterDataset: two scenes, each of one number."""

    res = (10.0, 10.0)

    def __init__(self, files=("a.tif", "b.tif"), crs="EPSG:32631", size=640):
        days = [pd.Timestamp(day) for _, _, day in SEAMS]
        ends = [day + pd.Timedelta("1D") - pd.Timedelta("1us") for day in days]
        index = pd.IntervalIndex.from_arrays(days, ends, closed="both", name="datetime")
        boxes = [shapely.box(x, y - size, x + size, y) for x, y, _ in SEAMS]
        data = {"filepath": list(files)} if files else {}
        self.index = gpd.GeoDataFrame(data, index=index, geometry=boxes, crs=crs)
        self.active = 0

    def __len__(self):
        return len(self.index)

    @property
    def crs(self):
        return self.index.crs

    @property
    def bounds(self):
        west, south, east, north = self.index.total_bounds
        times = self.index.index
        time = slice(times.left.min(), times.right.max(), 1)
        return slice(west, east, 10.0), slice(south, north, 10.0), time

    def __getitem__(self, query):
        self.active += 1
        assert self.active == 1, "two threads at once"
        x, y, t = query
        (row,) = np.flatnonzero(self.index.index.overlaps(pd.Interval(t.start, t.stop)))
        shape = (3, round((y.stop - y.start) / y.step), round((x.stop - x.start) / x.step))
        self.active -= 1
        return {"image": torch.full(shape, 10.0 * int(row) + 5)}


class Grid(torch.utils.data.Sampler):
    def __init__(self, dataset, size):
        self.dataset, self.size = dataset, size

    def __iter__(self):
        for interval, box in zip(
            self.dataset.index.index, self.dataset.index.geometry, strict=True
        ):
            west, south, east, north = box.bounds
            for y in np.arange(south, north, self.size):
                for x in np.arange(west, east, self.size):
                    time = slice(interval.left, interval.right)
                    yield slice(x, x + self.size), slice(y, y + self.size), time


def test_a_row_for_every_file():
    table = read(Scenes())
    assert table.images.names.to_pylist() == ["a.tif", "b.tif"]
    assert table.lonlat == pytest.approx(
        np.array([[3.004353, 48.750134], [3.017957, 48.750133]]), abs=1e-6
    )
    assert table.time[:, 0] == pytest.approx([30 / 366, 31 / 366])
    assert np.isnan(table.time[:, 1]).all()
    image = table.images.load(1)
    assert image.shape == (64, 64, 3)
    assert (image == 15).all()


def test_a_row_for_every_chip_of_a_sampler():
    scenes = Scenes()
    table = read(DataLoader(scenes, sampler=Grid(scenes, 320)), bands=Bands(low=0, high=255))
    assert len(table) == 8
    assert table.images.names[1].as_py() == "500320:500640,5399360:5399680,2020-01-31 00:00:00"
    assert table.images.load(1).shape == (32, 32, 3)
    assert table.lonlat[0] == pytest.approx([3.0021766, 48.748695], abs=1e-6)
    square = decode(table.images.load(7), Framing(pixels=8), table.images.bands)
    assert np.unique(square).tolist() == [15]


def test_a_loader_of_batches_gives_the_chips_of_its_batches():
    scenes = Scenes()
    chips = list(Grid(scenes, 320))
    batches = [chips[:3], chips[3:5]]
    assert len(read(DataLoader(scenes, batch_sampler=batches))) == 5


def test_a_loader_without_a_geospatial_sampler_gives_the_files():
    assert read(DataLoader(Scenes())).images.names.to_pylist() == ["a.tif", "b.tif"]


def test_queries_without_time_are_of_all_times():
    scenes = Scenes()
    query = slice(500_000, 500_320), slice(5_399_360, 5_399_680)
    table = read(DataLoader(scenes, batch_sampler=[[query]]))
    assert np.isfinite(table.time[0, 0])
    assert np.isnan(table.time[0, 1])


def test_a_sampler_that_asks_for_nothing():
    with pytest.raises(DataError, match="the sampler asks for no chip"):
        read(DataLoader(Scenes(), batch_sampler=[]))


def test_threads_take_turns():
    scenes = Scenes()
    images = read(DataLoader(scenes, sampler=Grid(scenes, 160))).images
    with ThreadPoolExecutor(8) as pool:
        shapes = {image.shape for image in pool.map(images.load, range(32))}
    assert shapes == {(16, 16, 3)}


def test_scenes_too_large_to_be_images_say_what_to_do():
    table = read(Scenes(size=200_000))
    with pytest.raises(DataError, match=r"has 400,000,000 pixels; read chips of it: DataLoader\("):
        table.images.load(0)


def test_files_without_names_are_named_by_their_place():
    table = read(Scenes(files=()))
    assert table.images.names[0].as_py() == "500000:500640,5399360:5400000,2020-01-31 00:00:00"


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (timedelta(0), (149.5 / 366, 12.0)),
        (timedelta(minutes=30), ((149.5 + 1 / 96) / 366, 12.25)),
        (timedelta(days=4), (151 / 366, None)),
        (timedelta(days=400), (None, None)),
        (timedelta(days=80_000), (None, None)),
    ],
)
def test_times_are_known_as_far_as_intervals_tell(length, expected):
    scenes = Scenes(crs="EPSG:4326")
    start = datetime(2020, 5, 29, 12)
    scenes.index.geometry = [shapely.box(-1, 0, 1, 2)] * 2
    query = slice(-1, 1), slice(0, 2), slice(pd.Timestamp(start), pd.Timestamp(start + length))
    table = read(DataLoader(scenes, batch_sampler=[[query]]))
    if expected[0] is None:
        assert table.time is None
        return
    date, hour = table.time[0]
    assert date == pytest.approx(expected[0], abs=1e-6)
    assert np.isnan(hour) if expected[1] is None else hour == expected[1]


def test_stamps_change_with_the_files(tmp_path):
    files = [tmp_path / "a.tif", tmp_path / "b.tif"]
    for file in files:
        file.write_bytes(b"x")
    stamps = [list(read(Scenes(map(str, files))).images.stamps()) for _ in range(2)]
    assert stamps[0] == stamps[1]
    assert len(set(stamps[0])) == 2
    files[0].write_bytes(b"xy")
    assert set(stamps[0]).isdisjoint(read(Scenes(map(str, files))).images.stamps())


def test_images_survive_a_copy():
    images = pickle.loads(pickle.dumps(read(Scenes()).images))
    assert images.load(0).shape == (64, 64, 3)
    assert images.take(np.array([1])).load(0)[0, 0, 0] == 15


def test_data_sets_that_cannot_be_read():
    scenes = Scenes()
    scenes.is_image = False
    with pytest.raises(DataError, match="the Scenes gives masks, not images"):
        read_dataset(scenes, ReadOptions())
    scenes = Scenes()
    scenes.index = SimpleNamespace()
    scenes.__class__ = type("Old", (Scenes,), {"bounds": None, "crs": None})
    with pytest.raises(DataError, match=r"that takes TorchGeo 0\.8 or newer"):
        read_dataset(scenes, ReadOptions())


def test_a_sample_without_an_image(monkeypatch):
    monkeypatch.setattr(Scenes, "__getitem__", lambda self, query: {"mask": 0})
    with pytest.raises(DataError, match=r"sample 0 cannot be had: KeyError\('image'\)"):
        read(Scenes()).images.load(0)


@pytest.fixture(scope="module")
def torchgeo():
    """TorchGeo itself; where torchvision's compiled part does not fit torch, without that part."""
    if find_spec("torchgeo") is None:
        pytest.skip("TorchGeo is not installed: only a stand-in was tested")
    library = torch.library.Library("torchvision", "FRAGMENT")
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in ("nms", "qnms"):
            if not hasattr(torch.ops.torchvision, name):
                library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    try:
        import torchgeo.datasets
        import torchgeo.samplers
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"TorchGeo cannot be imported ({error}): only a stand-in was tested")
    yield torchgeo
    del library


@pytest.fixture
def raster(torchgeo, tmp_path):
    rasterio = pytest.importorskip("rasterio")
    for number, (x, y, day) in enumerate(SEAMS):
        facts = {"driver": "GTiff", "width": 64, "height": 64, "count": 3, "dtype": "uint8"}
        place = rasterio.transform.from_origin(x, y, 10, 10)
        path = tmp_path / f"scene_{day.replace('-', '')}.tif"
        with rasterio.open(path, "w", **facts, crs="EPSG:32631", transform=place) as file:
            file.write(np.full((3, 64, 64), 10 * number + 5, np.uint8))

    class Raster(torchgeo.datasets.RasterDataset):
        filename_glob = "*.tif"
        filename_regex = r"scene_(?P<date>\d{8})"

    return Raster(str(tmp_path))


def test_files_of_torchgeo(raster, tmp_path):
    table, stand_in = read(raster), read(Scenes())
    assert table.images.names.to_pylist() == [
        str(tmp_path / f"scene_2020{day}.tif") for day in ("0131", "0201")
    ]
    assert table.lonlat == pytest.approx(stand_in.lonlat, abs=1e-9)
    assert table.time[:, 0] == pytest.approx(stand_in.time[:, 0])
    for row in range(2):
        assert np.array_equal(table.images.load(row), stand_in.images.load(row))


def test_chips_of_torchgeo(torchgeo, raster):
    samplers = torchgeo.samplers
    table = read(DataLoader(raster, sampler=samplers.GridGeoSampler(raster, size=32)))
    assert len(table) == 8
    assert [table.images.load(row).max() for row in range(8)] == [5] * 4 + [15] * 4
    assert table.images.load(0).shape == (32, 32, 3)
    batches = samplers.RandomBatchGeoSampler(raster, size=32, batch_size=4, length=8)
    assert len(read(DataLoader(raster, batch_sampler=batches))) == 8


def test_combinations_of_torchgeo(raster):
    class Mask(type(raster)):
        is_image = False

    both = raster & Mask(raster.paths)
    assert read(both).images.load(0).shape == (64, 64, 3)
    assert len(read(raster | type(raster)(raster.paths))) == 4
    with pytest.raises(DataError, match="gives masks"):
        read(Mask(raster.paths))


def test_data_sets_of_torchgeo_without_space(torchgeo):
    class Chips(torchgeo.datasets.NonGeoDataset):
        classes = ("a", "b")

        def __len__(self):
            return 3

        def __getitem__(self, number):
            return {
                "image": torch.full((3, 8, 8), float(number)),
                "label": torch.tensor(number % 2),
                "centroid_lat": torch.tensor([10.0 + number]),
                "centroid_lon": torch.tensor([20.0]),
            }

    table = read(Chips())
    assert table.lonlat.tolist() == [[20, 10], [20, 11], [20, 12]]
    assert table.label.texts().to_pylist() == ["a", "b", "a"]
    assert table.images.load(2).shape == (8, 8, 3)
