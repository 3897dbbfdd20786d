import numpy as np
import pytest

from geocsp.data.images import Bands
from geocsp.data.read import read
from geocsp.errors import DataError
from geocsp.images.decode import decode
from geocsp.images.framing import Framing

INDEX = """lat,lon,url,fn
-54.18,-68.2,https://example.org/patch_1.tif,patch_1.tif
35.99,9.5,https://example.org/patch_2.tif,patch_2.tif
,9.5,https://example.org/patch_3.tif,patch_3.tif
91,9.5,https://example.org/patch_4.tif,patch_4.tif
"""


def test_patches_and_their_centres(tmp_path):
    path = tmp_path / "index.csv"
    path.write_text(INDEX)
    bands = Bands((4, 3, 2), 0, 4000)
    table = read(f"s2-100k:{tmp_path}", bands=bands)
    np.testing.assert_array_equal(table.lonlat, [[-68.2, -54.18], [9.5, 35.99]])
    assert table.images.path(1) == str(tmp_path / "images/patch_2.tif")
    assert table.images.bands == bands
    assert table.label is table.split is table.group is table.time is None
    assert [(p.file, p.row) for p in table.problems] == [(str(path), 2), (str(path), 3)]
    assert table.problems[0].reason == "no latitude"
    assert table.problems[1].reason.startswith("latitude 91 is outside")


def test_three_of_twelve_bands_become_an_image(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    (tmp_path / "images").mkdir()
    (tmp_path / "index.csv").write_text("fn,lon,lat\npatch_0.tif,10,50\n")
    pixels = np.repeat(np.arange(12, dtype=np.uint16) * 400, 16).reshape(12, 4, 4)
    profile = {"driver": "GTiff", "count": 12, "height": 4, "width": 4, "dtype": "uint16"}
    origin = rasterio.Affine(1e-4, 0, 10, 0, -1e-4, 50)
    with rasterio.open(tmp_path / "images/patch_0.tif", "w", transform=origin, **profile) as file:
        file.write(pixels)
    images = read(f"s2-100k:{tmp_path}", bands=Bands((4, 3, 2), 0, 4000)).images
    square = decode(images.load(0), Framing(pixels=4), images.bands)
    assert square[0, 0].tolist() == [round(255 * v / 4000) for v in (1200, 800, 400)]


def test_an_index_without_places_is_told(tmp_path):
    (tmp_path / "index.csv").write_text("fn,lat\npatch_0.tif,50\n")
    with pytest.raises(DataError, match=r"index\.csv has no column 'lon'; its columns are fn, lat"):
        read(f"s2-100k:{tmp_path}")
