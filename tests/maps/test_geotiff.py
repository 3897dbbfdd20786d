import json

import numpy as np
import pytest
import torch

import geocsp
from geocsp.maps.geotiff import TAG, write_geotiff
from geocsp.maps.grid import Grid
from geocsp.maps.quantities import (
    Quantity,
    Scale,
    best_class,
    class_probability,
    embedding_colours,
    similarity,
)
from geocsp.maps.raster import Raster, settings_of

rasterio = pytest.importorskip("rasterio")
NEW_ZEALAND = Grid.of(0.5, (165, -48, -175, -33))


def prior(classes=3):
    torch.manual_seed(0)
    encoder = geocsp.create("location", "space2vec-grid", dim=8)
    return geocsp.GeoPrior(encoder, [f"class {n}" for n in range(classes)]).eval()


def written(tmp_path, quantity, grid=NEW_ZEALAND, **how):
    raster = Raster.compute(quantity, grid, **how)
    return rasterio.open(write_geotiff(raster, tmp_path / "map.tif"))


def test_a_pixel_is_what_the_model_says_of_its_place(tmp_path):
    model = prior()
    with written(tmp_path, class_probability(model, "class 1")) as file:
        assert file.crs.to_epsg() == 4326
        assert (file.width, file.height, file.dtypes) == (40, 30, ("float32",))
        assert file.bounds == (165, -48, 185, -33)
        assert file.descriptions == ("P(class 1 | place)",)
        values = file.read(1)
        for row, column in ((0, 0), (14, 29), (29, 39)):
            lon, lat = file.xy(row, column)
            place = torch.tensor([[(lon + 180) % 360 - 180, lat]], dtype=torch.float64)
            expected = float(model.class_probabilities(place)[0, 1])
            assert values[row, column] == pytest.approx(expected, abs=1e-6)


def test_water_is_no_data(tmp_path):
    model = prior()
    with written(tmp_path, similarity(model, 0, 0), land_only=True) as file:
        assert np.isnan(file.nodata)
        mask = file.read_masks(1) > 0
        assert 0.05 < mask.mean() < 0.3
        assert np.isfinite(file.read(1)[mask]).all()
        assert mask[file.index(172.5, -43.5)]  # Christchurch
        assert not mask[file.index(183.0, -35.0)]


def test_classes_are_numbers_with_names(tmp_path):
    model = prior()
    with written(tmp_path, best_class(model), land_only=True) as file:
        assert file.dtypes == ("uint8",)
        assert file.nodata == 255
        names = json.loads(file.tags()[TAG])["classes"]
        assert names == ["class 0", "class 1", "class 2"]
        number = int(file.read(1)[file.index(172.5, -43.5)])
        place = torch.tensor([[172.75, -43.75]])
        assert number == int(model.class_scores(place).argmax())


def test_many_classes_have_room(tmp_path):
    with written(tmp_path, best_class(prior(300))) as file:
        assert file.dtypes == ("uint16",)


def test_colours_are_bands_with_opacity(tmp_path):
    model = prior()
    colours = embedding_colours(model)
    with written(tmp_path, colours, land_only=True) as file:
        assert [band.name for band in file.colorinterp] == ["red", "green", "blue", "alpha"]
        bands = file.read()
        on = file.index(172.5, -43.5)
        assert (
            bands[:3, on[0], on[1]].tolist()
            == colours.of(torch.tensor([[172.75, -43.75]]))[0].tolist()
        )
        assert bands[3, on[0], on[1]] == 255
        assert (bands[:, 0, 39] == 0).all()


def test_the_file_is_cloud_optimised_with_overviews(tmp_path):
    field = Quantity(
        "x", Scale.MORE, (0.0, 1.0), torch.device("cpu"), lambda places, time: places[:, 0]
    )
    with written(tmp_path, field, Grid.of(0.25)) as file:
        assert file.profile["tiled"]
        assert file.overviews(1) == [2, 4]
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.compression.name == "deflate"


def test_settings_are_in_the_file_and_nothing_else_is_left(tmp_path):
    model = prior()
    settings = settings_of(model, "runs/x")
    with written(tmp_path, class_probability(model, "class 0"), settings=settings) as file:
        found = json.loads(file.tags()[TAG])
    assert found["fingerprint"] == settings["fingerprint"]
    assert found["step"] == 0.5
    assert [path.name for path in tmp_path.iterdir()] == ["map.tif"]
