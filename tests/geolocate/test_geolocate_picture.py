import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from geocsp.coords import unit_vectors
from geocsp.data.splitters.healpix import healpix_cells
from geocsp.evaluate.geolocation import grid_places
from geocsp.geolocate.answers import Answer
from geocsp.geolocate.picture import cell_shares, picture
from geocsp.geolocate.ranking import Scores, regions
from geocsp.images.single import Photo


def answer_of(lonlat, values, stands_for=None, rows=None, true=(math.nan, math.nan), apart_km=900):
    scores = Scores(rows, values, 20.0, stands_for)
    found = regions(scores, unit_vectors(lonlat), 3, apart_km)
    lonlat_true = torch.tensor(true, dtype=torch.float64)
    photo = Photo(torch.zeros(0, 3, 8, 8), lonlat_true, None, ())
    return Answer(Path("some folder/photo $1$.jpg"), photo, scores, found, lonlat[found.rows])


def peaked(lonlat, lon, lat):
    """Scores that fall with the distance from a place."""
    towards = unit_vectors(torch.tensor([(lon, lat)], dtype=torch.float64))
    return (unit_vectors(lonlat) @ towards[0]).float()


def decoded(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


@pytest.mark.parametrize("spacing", [3000.0, 400.0, 60.0])
def test_shares_of_a_grid_are_smooth_and_sum_to_one(spacing):
    lonlat = grid_places(spacing)
    flat = answer_of(lonlat, torch.zeros(len(lonlat)))
    shares = cell_shares(flat, lonlat, even=True)
    assert np.allclose(shares, shares[0], rtol=1e-9)  # though a cell may hold one place more
    peak = answer_of(lonlat, peaked(lonlat, 20, 30))
    assert cell_shares(peak, lonlat, even=True).sum() == pytest.approx(1, abs=0.1)
    assert cell_shares(peak, lonlat, even=False).sum() == pytest.approx(1)


def test_shares_of_given_places_are_sums_in_cells():
    lonlat = torch.rand(5000, 2, generator=torch.Generator().manual_seed(0)).double()
    lonlat = lonlat * torch.tensor([40.0, 20.0])
    answer = answer_of(lonlat, peaked(lonlat, 20, 10))
    shares = cell_shares(answer, lonlat, even=False)
    nside = math.isqrt(len(shares) // 12)
    cells = healpix_cells(lonlat.numpy(), nside)
    expected = np.full(len(shares), np.nan)
    for cell in np.unique(cells):
        here = torch.from_numpy(cells == cell)
        expected[cell] = float(answer.scores.probabilities()[here].sum())
    np.testing.assert_allclose(shares, expected, rtol=1e-9)


def test_places_that_stand_for_others_weigh_as_many():
    lonlat = grid_places(400)
    values = peaked(lonlat, -100, 40)
    plain = answer_of(lonlat, values).scores.probabilities().numpy()
    twice = torch.arange(len(lonlat)).repeat(2)
    weights = torch.cat([torch.ones(len(lonlat)), torch.full((len(lonlat),), 1.5)])
    shares = cell_shares(answer_of(lonlat, values[twice], weights, twice), lonlat, even=False)
    assert len(shares) == 12 * math.isqrt(len(lonlat) // 5 // 12) ** 2  # cells for five of a sample
    cells = healpix_cells(lonlat.numpy(), math.isqrt(len(shares) // 12))
    np.testing.assert_allclose(shares, np.bincount(cells, plain, len(shares)), rtol=1e-6)


@pytest.mark.parametrize("place", [(0.0, 0.0), (100.0, 50.0), (-179.5, -20.0)])
def test_a_peak_is_dark_where_it_is(place):
    lonlat = grid_places(200)
    content = decoded(picture(answer_of(lonlat, peaked(lonlat, *place)), lonlat, even=True))
    empty = decoded(picture(answer_of(lonlat, torch.zeros(len(lonlat))), lonlat, even=True))
    changed = np.abs(content - empty).sum(axis=2) > 60
    changed[:, 1000:] = changed[:80] = False  # scale and text
    rows, columns = np.nonzero(changed)
    assert len(rows) > 500
    middle = 12 + 484 * (1 + place[0] / 180)
    near = 200 if abs(place[0]) < 170 else 2000  # there, it is at both ends
    assert abs(np.median(columns) - middle) < near
    assert np.median(rows) == pytest.approx(330 - 2.5 * place[1], abs=60)


def test_the_true_place_is_marked():
    lonlat = grid_places(500)
    values = peaked(lonlat, 0, 0)
    without = decoded(picture(answer_of(lonlat, values), lonlat, even=True))
    marked = decoded(picture(answer_of(lonlat, values, true=(-120.0, 40.0)), lonlat, even=True))
    blue = (marked[..., 2] - marked[..., 0] > 100).sum()
    assert blue > 30
    assert (without[..., 2] - without[..., 0] > 100).sum() == 0


@pytest.mark.parametrize("count", [1, 2, 13])
def test_few_places_make_a_map(count):
    lonlat = torch.tensor([(n * 20.0, n * 5.0) for n in range(count)], dtype=torch.float64)
    content = decoded(picture(answer_of(lonlat, torch.zeros(count)), lonlat, even=False))
    assert content.shape == (612, 1152, 3)
