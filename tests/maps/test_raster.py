from datetime import UTC, datetime

import numpy as np
import pytest
import torch

import geocsp
from geocsp.errors import DataError
from geocsp.maps import raster as module
from geocsp.maps.grid import Grid
from geocsp.maps.natural_earth import on_land
from geocsp.maps.quantities import (
    Quantity,
    Scale,
    best_class,
    class_probability,
    embedding_colours,
)
from geocsp.maps.raster import Raster, settings_of, suitable_grid

FIJI = Grid.of(0.5, (175, -20, -175, -15))


def prior(**settings):
    torch.manual_seed(0)
    encoder = geocsp.create("location", "space2vec-grid", dim=8, **settings)
    return geocsp.GeoPrior(encoder, ["a", "b", "c"]).eval()


def field(function, **about):
    """A quantity by a function of longitude and latitude."""
    settings = {"scale": Scale.MORE, "limits": (0.0, 1.0), "device": torch.device("cpu")} | about
    return Quantity("field", function=lambda p, _: function(p[:, 0], p[:, 1]), **settings)


def test_values_are_those_of_the_model_at_the_centres_of_cells():
    model = prior()
    raster = Raster.compute(class_probability(model, "b"), FIJI)
    assert raster.values.shape == FIJI.shape == (10, 20)
    for row, column in ((0, 0), (3, 11), (9, 19)):
        lon, lat = 175.25 + 0.5 * column, -15.25 - 0.5 * row
        place = torch.tensor([[lon - 360 if lon >= 180 else lon, lat]], dtype=torch.float64)
        expected = float(model.class_probabilities(place)[0, 1])
        assert raster.values[row, column] == pytest.approx(expected, abs=1e-6)
    assert raster.shown.all()


def test_strips_make_no_difference(monkeypatch):
    quantity = class_probability(prior(), "b")
    whole = Raster.compute(quantity, FIJI, land_only=True)
    monkeypatch.setattr(module, "_CELLS_AT_ONCE", 7)
    told = []
    parts = Raster.compute(quantity, FIJI, land_only=True, on_cells=lambda *n: told.append(n))
    np.testing.assert_allclose(parts.values, whole.values, atol=1e-6)
    assert told == [(20 * n, 200) for n in range(1, 11)]


def test_water_is_left_out():
    model = prior()
    grid = Grid.of(2.0)
    land = on_land(grid.centres().numpy()).reshape(grid.shape)
    for quantity, empty in (
        (class_probability(model, "a"), np.nan),
        (best_class(model), -1),
        (embedding_colours(model), 0),
    ):
        raster = Raster.compute(quantity, grid, land_only=True)
        np.testing.assert_array_equal(raster.shown, land)
        np.testing.assert_array_equal(
            raster.values[~land], np.full_like(raster.values[~land], empty)
        )
        everywhere = Raster.compute(quantity, grid)
        np.testing.assert_allclose(raster.values[land], everywhere.values[land], atol=1e-6)


def test_a_window_without_land_is_empty():
    raster = Raster.compute(
        field(lambda x, y: x), Grid.of(1, (-150, -10, -140, -5)), land_only=True
    )
    assert np.isnan(raster.values).all()
    assert not raster.shown.any()


def test_a_moment_with_a_zone_is_one_moment_and_without_one_is_a_local_hour():
    hours = Quantity(
        "hour",
        Scale.MORE,
        (0.0, 24.0),
        torch.device("cpu"),
        lambda places, time: time[:, 1],
    )
    grid = Grid.of(30.0, (-30, 0, 90, 30))
    local = Raster.compute(hours, grid, moment=datetime(2026, 6, 21, 12))
    assert local.values.tolist() == [[12, 12, 12, 12]]
    once = Raster.compute(hours, grid, moment=datetime(2026, 6, 21, 12, tzinfo=UTC))
    assert once.values.tolist() == [[11, 13, 15, 17]]
    assert once.settings["time"] == "2026-06-21T12:00:00+00:00"


def test_a_moment_reaches_the_model_or_is_refused():
    moment = datetime(2026, 7, 2, 12)
    model = prior(date_harmonics=1)
    raster = Raster.compute(class_probability(model, "a"), FIJI, moment=moment)
    time = geocsp.times_of([moment]).expand(200, -1)
    expected = model.class_probabilities(FIJI.centres(), time)[:, 0].reshape(FIJI.shape)
    np.testing.assert_allclose(raster.values, expected, atol=1e-6)
    with pytest.raises(DataError, match="takes no time"):
        Raster.compute(class_probability(prior(), "a"), FIJI, moment=moment)


def test_settings_say_what_it_was_made_with():
    model = prior()
    settings = settings_of(model, "runs/x")
    raster = Raster.compute(class_probability(model, "a"), FIJI, settings=settings)
    assert raster.settings == {
        "geocsp": geocsp.__version__,
        "model": "runs/x",
        "kind": "GeoPrior",
        "fingerprint": geocsp.models.fingerprint_of(model),
        "quantity": "P(a | place)",
        "bounds": [175.0, -20.0, 185.0, -15.0],
        "step": 0.5,
        "time": None,
        "land_only": False,
    }


def test_too_many_cells_are_refused_before_the_work():
    with pytest.raises(DataError, match="too many for one map"):
        Raster.compute(field(lambda x, y: 1 / 0), Grid.of(0.01))


def test_a_broken_model_is_told_with_the_place():
    with pytest.raises(DataError, match=r"lon 175\.25, lat -15\.75 is not finite"):
        Raster.compute(field(lambda x, y: torch.where(y < -15.5, torch.nan, x)), FIJI)


@pytest.mark.parametrize(
    ("bounds", "step"),
    [((-180, -90, 180, 90), 0.5), ("-10,35,5,44", 0.02), ("170,-20,-170,-10", 0.02)],
)
def test_a_suitable_grid_has_some_hundred_cells_across(bounds, step):
    grid = suitable_grid(bounds)
    assert grid.step == step
    assert 500 <= max(grid.shape) < 1300


def test_no_window_has_no_suitable_grid():
    with pytest.raises(DataError, match="south must be below north"):
        suitable_grid("0,10,5,10")
    assert max(suitable_grid("0,0,0.001,0.001").shape) < 500
