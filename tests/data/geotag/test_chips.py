import importlib
import io
import sys
import threading
import warnings
from contextlib import suppress

import numpy as np
import pytest
from hostile import encoded, geotiff, huge_png, picture, png_16
from PIL import Image

from geocsp.data.geotag import chips
from geocsp.data.geotag.chips import centre, is_raster, read_bands
from geocsp.errors import DataError, MissingExtraError
from geocsp.images.pictures import quiet

rasterio = pytest.importorskip("rasterio")
from rasterio.control import GroundControlPoint  # noqa: E402
from rasterio.rpc import RPC  # noqa: E402
from rasterio.transform import Affine, from_origin  # noqa: E402
from rasterio.warp import transform  # noqa: E402


@pytest.fixture(autouse=True)
def _quiet():
    with quiet():
        yield


def numbers(bands=3, height=8, width=16, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, 200, (bands, height, width)).astype(dtype)


def chip(tmp_path, values=None, **profile):
    path = tmp_path / "chip.tif"
    geotiff(path, numbers() if values is None else values, **profile)
    return path


def both(path):
    """The centre of the file and of its content, which must agree."""
    found = centre(path)
    assert centre(path.read_bytes()) == found
    return found


def test_the_middle_is_that_of_the_pixels(tmp_path):
    path = chip(tmp_path, transform=from_origin(7, 47, 0.1, 0.2))  # 16 x 8 pixels
    assert both(path) == pytest.approx((7.8, 46.2))


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:3857", "EPSG:2056", "ESRI:54009"])
def test_projected_coordinates_become_degrees(tmp_path, crs):
    (x,), (y,) = transform("EPSG:4326", crs, [8.5], [47.4])
    path = chip(tmp_path, crs=crs, transform=from_origin(x - 80, y + 40, 10, 10))
    assert both(path) == pytest.approx((8.5, 47.4), abs=1e-6)


def test_a_rotated_chip_has_its_middle(tmp_path):
    cos, sin = 0.008, 0.006
    turned = Affine(cos, sin, 8, sin, -cos, 47)
    path = chip(tmp_path, transform=turned)
    assert both(path) == pytest.approx((8 + 8 * cos + 4 * sin, 47 + 8 * sin - 4 * cos))


@pytest.mark.parametrize("west", [179.6, 179.2, -180.8, 359.2 - 180])
def test_chips_over_the_antimeridian_are_there(tmp_path, west):
    lon, lat = both(chip(tmp_path, transform=from_origin(west, -16, 0.1, 0.1)))
    assert lat == pytest.approx(-16.4)
    expected = (west + 0.8 + 180) % 360 - 180
    assert lon == pytest.approx(expected)
    assert -180 <= lon < 180


def test_utm_chips_over_the_antimeridian_are_there(tmp_path):
    (x,), (y,) = transform("EPSG:4326", "EPSG:32701", [179.999], [-16.5])  # zone 1 begins at -180
    lon, lat = both(chip(tmp_path, crs="EPSG:32701", transform=from_origin(x - 80, y + 40, 10, 10)))
    assert (lon, lat) == pytest.approx((179.999, -16.5), abs=1e-6)


def test_longitudes_of_climate_models_are_wrapped(tmp_path):
    lon, _ = both(chip(tmp_path, transform=from_origin(350, 10, 0.1, 0.1)))
    assert lon == pytest.approx(-9.2)


def test_control_points_place_a_chip(tmp_path):
    corners = [(0, 0), (0, 16), (8, 0), (8, 16)]
    points = [GroundControlPoint(r, c, 7 + 0.1 * c, 47 - 0.1 * r) for r, c in corners]
    path = tmp_path / "points.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=16, height=8, count=1, dtype="uint8"
    ) as file:
        file.write(numbers(1))
        file.gcps = (points, "EPSG:4326")
    assert both(path) == pytest.approx((7.8, 46.6))


def test_rational_polynomials_place_a_chip(tmp_path):
    linear = [0.0, 1.0, *[0.0] * 18], [0.0, 0.0, 1.0, *[0.0] * 17], [1.0, *[0.0] * 19]
    rpc = RPC(
        height_off=500, height_scale=100, lat_off=47, lat_scale=0.1, line_den_coeff=linear[2],
        line_num_coeff=linear[1], line_off=100, line_scale=100, long_off=8, long_scale=0.1,
        samp_den_coeff=linear[2], samp_num_coeff=linear[0], samp_off=100, samp_scale=100,
    )  # fmt: skip
    path = tmp_path / "rpc.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=200, height=200, count=1, dtype="uint8", rpcs=rpc
    ) as file:
        file.write(numbers(1, 200, 200))
    assert both(path) == pytest.approx((8, 47), abs=1e-3)


def test_no_georeference_is_none(tmp_path):
    path = tmp_path / "plain.tif"
    picture().save(path)
    assert both(path) is None
    jp2 = tmp_path / "plain.jp2"
    picture().save(jp2)
    assert both(jp2) is None


def test_coordinates_without_a_reference_system_need_one(tmp_path):
    path = chip(tmp_path, crs=None, transform=from_origin(500_000, 5_250_000, 10, 10))
    with pytest.raises(DataError, match=r"names no reference system for them; name the crs"):
        centre(path)
    (x,), (y,) = transform("EPSG:32632", "EPSG:4326", [500_080], [5_249_960])
    assert centre(path, "EPSG:32632") == pytest.approx((x, y))
    with pytest.raises(DataError, match="are no longitude and latitude"):
        centre(path, "nonsense")


def test_places_outside_of_the_reference_system_are_told(tmp_path):
    path = chip(tmp_path, crs="EPSG:3035", transform=from_origin(1e30, 1e30, 10, 10))
    with pytest.raises(DataError, match=r"outside of its reference system|no longitude"):
        centre(path)


def test_chips_of_any_odd_name_are_read(tmp_path):
    content = chip(tmp_path).read_bytes()
    for name in ("a#b.tif", "a?b.tif", "zip:a!b.tif", "é 湖.tif", "no ending", "fake.vrt"):
        path = tmp_path / name
        path.write_bytes(content)
        assert centre(path) is not None
        assert read_bands(path).shape == (8, 16, 3)


@pytest.mark.parametrize(
    ("dtype", "bands"),
    [
        (np.uint8, 3),
        (np.uint16, 13),
        (np.int16, 1),
        (np.float32, 2),
        (np.float64, 4),
        (np.uint32, 1),
    ],
)
def test_bands_are_read_as_they_are_stored(tmp_path, dtype, bands):
    values = numbers(bands, dtype=dtype)
    path = chip(tmp_path, values, compress="deflate")
    for raw in (path, path.read_bytes()):
        found = read_bands(raw)
        assert found.dtype == dtype
        assert np.array_equal(found, values.transpose(1, 2, 0))


def test_no_data_is_nan(tmp_path):
    values = numbers(2, dtype=np.uint16)
    values[0, 0, 0] = values[1, 2, 3] = 65_535
    found = read_bands(chip(tmp_path, values, nodata=65_535))
    assert found.dtype == np.float32
    assert np.argwhere(np.isnan(found)).tolist() == [[0, 0, 0], [2, 3, 1]]
    kept = ~np.isnan(found)
    assert np.array_equal(found[kept], values.transpose(1, 2, 0)[kept])
    wide = read_bands(chip(tmp_path, numbers(1, dtype=np.int32), nodata=-1))
    assert wide.dtype == np.float64


def test_bytes_stay_bytes_and_no_data_is_0(tmp_path):
    values = numbers(3)
    values[:, 0, 0] = 255
    found = read_bands(chip(tmp_path, values, nodata=255))
    assert found.dtype == np.uint8
    assert (found[0, 0] == 0).all()
    assert np.array_equal(found[1:], values.transpose(1, 2, 0)[1:])


def test_png_files_keep_16_bits(tmp_path):
    deep = numbers(3, dtype=np.uint16).transpose(1, 2, 0) * 300
    assert np.array_equal(read_bands(png_16(deep)), deep)
    grey = Image.fromarray(deep[:, :, 0])
    assert np.array_equal(read_bands(encoded(grey, "PNG"))[:, :, 0], deep[:, :, 0])


def test_other_formats_and_pictures_are_read_with_pillow(monkeypatch):
    monkeypatch.setattr(chips, "_opened", None)
    small = picture()
    colours = np.asarray(small)
    lossless = encoded(small, "WEBP", lossless=True)
    assert np.array_equal(read_bands(lossless), colours)
    assert np.array_equal(read_bands(small), colours)
    assert np.array_equal(read_bands(small.convert("L"))[:, :, 0], np.asarray(small.convert("L")))
    palette = small.convert("P")
    assert np.array_equal(read_bands(palette), np.asarray(palette.convert("RGB")))
    assert read_bands(small.convert("RGBA")).shape == (32, 48, 4)
    assert set(np.unique(read_bands(small.convert("1")))) == {0, 255}
    decimal = Image.fromarray(np.full((2, 3), -1.5, dtype=np.float32))
    assert read_bands(decimal).tolist() == [[[-1.5]] * 3] * 2


def test_the_cameras_orientation_is_followed():
    block = Image.Exif()
    block[0x0112] = 6
    turned = encoded(picture(), "WEBP", lossless=True, exif=block)
    assert np.array_equal(read_bands(turned), np.rot90(np.asarray(picture()), -1))


@pytest.mark.parametrize("keep", [4, 100, 0.5, 0.9])
def test_damaged_chips_are_told(tmp_path, keep):
    content = chip(tmp_path, numbers(3, 64, 64), compress="lzw").read_bytes()
    cut = content[: keep if keep > 1 else int(len(content) * keep)]
    path = tmp_path / "cut.tif"
    path.write_bytes(cut)
    for raw in (path, cut):
        with pytest.raises(DataError, match=r"^is damaged: "):
            read_bands(raw)


def test_chips_with_any_part_changed_never_raise_anything_else(tmp_path):
    content = chip(tmp_path, numbers(1, 4, 4)).read_bytes()
    random = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(content)
        for place in random.integers(4, len(content), 3):
            changed[place] = random.integers(256)
        for use in (centre, read_bands):
            with suppress(DataError):
                use(bytes(changed))


def test_monsters_are_not_read(tmp_path):
    path = tmp_path / "monster.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=100_000,
        height=100_000,
        count=1,
        dtype="uint8",
        sparse_ok=True,
        tiled=True,
        crs="EPSG:4326",
        transform=from_origin(0, 1, 1e-5, 1e-5),
    ):
        pass  # fmt: skip
    for use in (centre, read_bands):
        with pytest.raises(DataError, match=r"has more than 178,956,970 pixels"):
            use(path)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=5000,
        height=5000,
        count=13,
        dtype="uint8",
        sparse_ok=True,
        tiled=True,
    ):
        pass  # fmt: skip
    with pytest.raises(DataError, match="has 13 bands of 5000 x 5000 pixels, too many"):
        read_bands(path)
    geotiff(path, np.zeros((4097, 1, 1), dtype=np.uint8))
    with pytest.raises(DataError, match="has 4097 bands of 1 x 1 pixels, too many"):
        read_bands(path)
    with pytest.raises(DataError, match="has more than"):
        read_bands(huge_png(60_000, 60_000))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no raster",
        b'<VRTDataset rasterXSize="1" rasterYSize="1"><SRS>EPSG:4326</SRS></VRTDataset>',
        b"\x89PNG",
        b"II*\0",
    ],
)
def test_what_is_no_raster_is_told(tmp_path, content):
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    for raw in (content, path):
        with pytest.raises(DataError):
            centre(raw)
        with pytest.raises(DataError):
            read_bands(raw)


def test_files_that_cannot_be_read_raise_what_the_system_says(tmp_path):
    for use in (centre, read_bands):
        with pytest.raises(FileNotFoundError):
            use(tmp_path / "nothing.tif")
        with pytest.raises(DataError, match="is a folder"):
            use(tmp_path)


def test_a_raster_without_rasterio_says_what_to_install(tmp_path, monkeypatch):
    path = chip(tmp_path)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    for use in (centre, read_bands):
        with pytest.raises(MissingExtraError, match=r"pip install 'geocsp\[geo\]'"):
            use(path)
    assert read_bands(encoded(picture())).shape == (32, 48, 3)


def test_importing_the_module_does_not_import_rasterio(monkeypatch):
    monkeypatch.setitem(sys.modules, "rasterio", None)
    importlib.reload(chips)


def test_formats_that_hold_georeferences_are_known():
    for kind, known in (("TIFF", True), ("JPEG2000", True), ("PNG", False), ("JPEG", False)):
        assert is_raster(encoded(picture(), kind)[:16]) is known
    file = io.BytesIO()
    picture().save(file, "TIFF", big_tiff=True)
    assert is_raster(file.getvalue()[:16])


def test_no_warning_is_heard_and_threads_agree(tmp_path):
    path = tmp_path / "plain.tif"
    Image.fromarray(numbers(1)[0]).save(path)
    placed = chip(tmp_path)
    found = []

    def work():
        for _ in range(20):
            found.append((centre(placed), read_bands(path).tobytes()))

    with warnings.catch_warnings(record=True) as heard, quiet():
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert heard == []
    assert len(found) == 160
    assert len(set(found)) == 1
