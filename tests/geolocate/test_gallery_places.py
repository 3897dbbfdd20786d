import numpy as np
import pytest
import torch
from toys import ToyEncoder, toy_photos

from geocsp.data.cache import FeatureCache
from geocsp.errors import DataError, MissingExtraError
from geocsp.geolocate import countries
from geocsp.geolocate.countries import country_names
from geocsp.geolocate.places import once, read_gallery
from geocsp.images.features import compute_features


def test_tables_of_any_kind_are_read(tmp_path):
    lonlat = np.array([[10.0, 50.0], [-20.0, 5.0], [10.0, 50.0], [0.0, -90.0]])
    expected = lonlat[[0, 1, 3]]
    np.save(tmp_path / "places.npy", lonlat)
    lines = [f"{lat},{lon}" for lon, lat in lonlat.tolist()]
    (tmp_path / "places.csv").write_text("\n".join(["latitude,longitude", *lines]))
    for name in ("places.npy", "places.csv"):
        assert read_gallery(str(tmp_path / name)).tolist() == expected.tolist()


def test_a_folder_of_features_and_a_source_of_images_are_read(tmp_path):
    table = toy_photos(tmp_path / "photos", 6, broken=(2,))
    features = compute_features(ToyEncoder(), table, tmp_path / "features")
    found = read_gallery(str(tmp_path / "features"))
    assert found.tolist() == features.table.lonlat.tolist()
    assert len(found) == 5
    rows = [f"{n:03d}.png,{lon},{lat}" for n, (lon, lat) in enumerate(table.lonlat.tolist())]
    (tmp_path / "photos" / "list.geojson").write_text("{}")
    (tmp_path / "photos" / "list.csv").write_text("\n".join(["image,lon,lat", *rows]))
    assert read_gallery(str(tmp_path / "photos" / "list.csv")).tolist() == table.lonlat.tolist()


def test_each_place_is_there_once_in_the_order_they_come():
    generator = torch.Generator().manual_seed(0)
    lonlat = torch.randint(-3, 3, (200, 2), generator=generator).double()
    seen = list(dict.fromkeys(map(tuple, lonlat.tolist())))
    assert list(map(tuple, once(lonlat).tolist())) == seen


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "lon,lat\n1,2\nx,3\n", "row 1"),
        ("a.csv", "lon,lat\n", "holds no places"),
        ("a.csv", "lon,lat\n1,95\n", "latitude must be"),
        ("a.npy", "nothing", "cannot read places"),
        ("a.xlsx", "", "spreadsheet"),
    ],
)
def test_wrong_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_gallery(str(tmp_path / name))


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_gallery(str(tmp_path / "places.csv"))
    features = FeatureCache(tmp_path / "features", 3, 4)
    features.describe()
    with pytest.raises(DataError):
        read_gallery(str(tmp_path / "features"))


def test_countries_are_named_where_there_are_some():
    pytest.importorskip("tzfpy")
    pytest.importorskip("tzdata")
    places = torch.tensor([(2.35, 48.85), (-58.4, -34.6), (-30.0, 0.0)])
    assert country_names(places.double()) == ["France", "Argentina", ""]


def test_without_a_source_of_countries_there_are_none(monkeypatch):
    def missing(file):
        raise MissingExtraError("tzdata", "probes")

    monkeypatch.setattr(countries, "_rows", missing)
    assert country_names(torch.zeros(1, 2)) is None
