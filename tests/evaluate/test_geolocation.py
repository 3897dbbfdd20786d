import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import geocsp
from geocsp.coords import great_circle_km, sample_sphere, unit_vectors
from geocsp.data.splitters.healpix import healpix_cells
from geocsp.errors import DataError
from geocsp.evaluate import geolocation
from geocsp.evaluate.geolocation import (
    geolocate_gallery,
    geolocate_grid,
    geolocation_metrics,
    grid_places,
    nearest_places,
    probability_map,
)
from geocsp.model import GeoModel


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def embeddings(rows, seed, dim=5, dtype=torch.float64):
    return F.normalize(torch.randn(rows, dim, generator=seeded(seed)).to(dtype), dim=1)


def slow_nearest(queries, gallery, count):
    scores, rows = [], []
    for query in queries.double().tolist():
        every = [
            math.fsum(map(math.prod, zip(query, row, strict=True))) for row in gallery.tolist()
        ]
        best = sorted(range(len(every)), key=lambda i: (-round(every[i], 12), i))[:count]
        scores.append([every[i] for i in best])
        rows.append(best)
    return torch.tensor(scores, dtype=torch.float64), torch.tensor(rows)


@pytest.fixture
def model():
    torch.manual_seed(0)
    encoder = geocsp.create("location", "sphere2vec-spherec", dim=8)
    return GeoModel(encoder, 8, temperature=0.1).double()


@pytest.fixture(params=[(2**14, 2**24), (7, 30), (1, 1)], ids=["whole", "parts", "one by one"])
def parts(request, monkeypatch):
    monkeypatch.setattr(geolocation, "_PLACES", request.param[0])
    monkeypatch.setattr(geolocation, "_SCORES", request.param[1])


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("count", [1, 4, 50])
def test_nearest_places_are_those_of_the_full_matrix(count):
    queries, gallery = embeddings(9, 0), embeddings(50, 1)
    scores, rows = nearest_places(queries, gallery, count)
    expected_scores, expected_rows = slow_nearest(queries, gallery, count)
    assert rows.tolist() == expected_rows.tolist()
    assert torch.allclose(scores, expected_scores, atol=1e-12)


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("count", [1, 5, 24])
def test_of_equals_the_first_come_first(count):
    queries, gallery = embeddings(6, 0), embeddings(4, 1)[torch.arange(24) % 4]
    scores, rows = nearest_places(queries, gallery, count)
    expected_scores, expected_rows = slow_nearest(queries, gallery, count)
    assert rows.tolist() == expected_rows.tolist()
    assert torch.allclose(scores, expected_scores, atol=1e-12)
    constant = embeddings(1, 2).expand(30, -1)
    assert nearest_places(queries, constant, count)[1].tolist() == [list(range(count))] * 6


@pytest.mark.usefixtures("parts")
def test_equals_up_to_rounding_in_single_precision():
    queries = embeddings(20, 0, dim=256, dtype=torch.float32)
    gallery = embeddings(10, 1, dim=256, dtype=torch.float32)[torch.arange(40) % 10]
    _, rows = nearest_places(queries, gallery, 8)
    _, expected = slow_nearest(queries, gallery.double(), 8)
    assert rows.tolist() == expected.tolist()


def test_memory_is_bounded(monkeypatch, model):
    """No tensor of scores, and no pass of the encoder, is larger than the limits."""
    monkeypatch.setattr(geolocation, "_PLACES", 64)
    monkeypatch.setattr(geolocation, "_SCORES", 640)
    sizes, encoded = [], []
    first_best, encode = geolocation._first_best, model.encode_location

    def seen(scores, count):
        sizes.append(scores.numel())
        return first_best(scores, count)

    def embedded(lonlat, time=None):
        encoded.append(len(lonlat))
        return encode(lonlat, time)

    monkeypatch.setattr(geolocation, "_first_best", seen)
    monkeypatch.setattr(model, "encode_location", embedded)
    places = sample_sphere(1000, seeded(1)).double()
    geolocate_gallery(model, embeddings(300, 0, dim=8), places, 3)
    assert max(sizes) == 640
    assert max(encoded) == 64
    assert sum(encoded) == 1000  # each place once, whatever the number of images


@pytest.mark.usefixtures("parts")
def test_gallery_as_the_full_matrix_has_it(model):
    images, places = embeddings(11, 0, dim=8), sample_sphere(40, seeded(1)).double()
    found = geolocate_gallery(model.train(), images, places, 3)  # embeds without dropout
    assert model.training
    model.eval()
    with torch.no_grad():
        similar = model.encode_image(images) @ model.encode_location(places).T
        every = (similar / 0.1).softmax(dim=1)
    scores, rows = similar.topk(3, dim=1)
    assert torch.equal(found.lonlat, places[rows])
    assert torch.equal(found.best, places[rows[:, 0]])
    assert torch.allclose(found.scores, scores, atol=1e-12)
    assert torch.allclose(found.probabilities, every.gather(1, rows), atol=1e-8)
    assert torch.allclose(probability_map(model, images, places), every, atol=1e-8)


@pytest.mark.usefixtures("parts")
def test_grid_as_its_places_are_found_in_a_gallery(model):
    images = embeddings(4, 0, dim=8)
    found = geolocate_grid(model, images, spacing_km=3300, count=5)
    expected = geolocate_gallery(model, images, grid_places(3300), 5)
    assert found.lonlat.shape == (4, 5, 2)
    assert torch.equal(found.lonlat, expected.lonlat)
    every = probability_map(model, images, grid_places(3300))
    assert torch.allclose(found.probabilities, every.topk(5, dim=1).values, atol=1e-8)
    assert torch.allclose(every.sum(1), torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize("sides", [1, 2, 3, 8, 21])
def test_grid_places_are_the_centres_of_the_cells(sides):
    places = grid_places(6519.7 / sides)
    assert len(places) == 12 * sides**2
    assert healpix_cells(places.numpy(), sides).tolist() == list(range(12 * sides**2))
    assert places[:, 0].abs().max() <= 180
    assert places[:, 1].abs().max() < 90
    centre = unit_vectors(places).mean(0)
    assert torch.allclose(centre, torch.zeros(3, dtype=torch.float64), atol=1e-12)


def test_a_finer_grid_comes_closer_everywhere():
    asked = torch.cat(
        [
            sample_sphere(300, seeded(0)).double(),
            torch.tensor([(0.0, 90), (50, -90), (180, 0), (-180, 41.8)], dtype=torch.float64),
        ]
    )
    for spacing in (2000, 700):
        places = grid_places(spacing)
        _, rows = nearest_places(unit_vectors(asked), unit_vectors(places), 1)
        assert great_circle_km(asked, places[rows[:, 0]]).max() < 1.05 * spacing


def test_metrics_by_hand():
    true = torch.tensor(
        [(0.0, 0), (179.999, 10), (20, 90), (10, -90), (0, 0), (math.nan, 3), (5, 5)]
    )
    predicted = torch.tensor(
        [(0.0, 0), (-179.999, 10), (-160, 90), (10, -89), (10, 0), (0, 0), (-175, -5)]
    )
    found = geolocation_metrics(predicted, true)
    quarter = 2 * math.pi * 6371.0088 / 4
    km = [0, 0.002 * math.cos(math.radians(10)) * quarter / 90, 0, quarter / 90, quarter / 9]
    km.append(2 * quarter)
    assert found == pytest.approx(
        {
            "acc@1km": 3 / 6,
            "acc@25km": 3 / 6,
            "acc@200km": 4 / 6,
            "acc@750km": 4 / 6,
            "acc@2500km": 5 / 6,
            "median_km": np.median(km),
            "mean_km": np.mean(km),
        },
        abs=1e-2,
    )


def test_a_distance_counts_as_within_itself(monkeypatch):
    monkeypatch.setattr(geolocation, "great_circle_km", lambda a, b: torch.tensor([1.0, 25.0001]))
    found = geolocation_metrics(torch.zeros(2, 2), torch.zeros(2, 2))
    assert (found["acc@1km"], found["acc@25km"], found["acc@200km"]) == (0.5, 0.5, 1.0)


def test_a_model_that_knows_finds_places_over_the_date_line_and_at_the_poles(model, monkeypatch):
    """A model whose embeddings are the unit vectors of the places."""
    monkeypatch.setattr(model, "embed_images", unit_vectors)
    monkeypatch.setattr(model, "encode_location", lambda lonlat, time=None: unit_vectors(lonlat))
    true = torch.tensor([(180.0, 3), (-180, -60), (33, 90), (-90, -90), (12, 48)]).double()
    gallery = torch.cat([sample_sphere(500, seeded(0)).double(), true])
    found = geolocation_metrics(geolocate_gallery(model, true, gallery).best, true)
    assert found["acc@1km"] == 1
    found = geolocation_metrics(geolocate_grid(model, true, 150).best, true)
    assert (found["acc@1km"], found["acc@200km"]) == (0, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x, p: nearest_places(x, x[:, :4], 1), r"\(N, D\) and \(M, D\)"),
        (lambda m, x, p: nearest_places(x, x, 4), "count"),
        (lambda m, x, p: nearest_places(x, x, 0), "count"),
        (lambda m, x, p: nearest_places(x[:0], x, 1), "at least one image"),
        (lambda m, x, p: nearest_places(x / 0, x, 1), "row 0 are not finite"),
        (lambda m, x, p: nearest_places(x, x * math.nan, 1), "row 0 are not finite"),
        (lambda m, x, p: geolocate_gallery(m, x, p[:0]), "count"),
        (lambda m, x, p: geolocate_gallery(m, x, p * 100), "row 1"),
        (lambda m, x, p: geolocate_gallery(m, x, p * math.nan), "row 0"),
        (lambda m, x, p: geolocate_grid(m, x, 0), "spacing_km"),
        (lambda m, x, p: geolocate_grid(m, x, math.nan), "spacing_km"),
        (lambda m, x, p: geolocate_grid(m, x, 1e-6), "nside"),
        (lambda m, x, p: geolocation_metrics(p, p[:2]), "true place for each"),
        (lambda m, x, p: geolocation_metrics(p * math.nan, p), "predicted_lonlat row 0"),
        (lambda m, x, p: geolocation_metrics(p, p + 100), "true_lonlat row"),
        (lambda m, x, p: geolocation_metrics(p, p * math.nan), "at least one"),
    ],
)
def test_bad_input_is_named(model, call, message):
    images = embeddings(3, 0, dim=8)
    places = torch.tensor([(0.0, 0), (1, 2), (3, 4)], dtype=torch.float64)
    with pytest.raises(ValueError, match=message):
        call(model, images, places)


def test_errors_are_data_errors(model):
    with pytest.raises(DataError):
        geolocate_gallery(model, embeddings(3, 0, dim=8), torch.zeros(2, 2), 3)
