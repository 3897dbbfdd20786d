import math

import pytest
import torch
from slow_priors import CLASSES, mixed, scattered

from geocsp.data.splitters.healpix import healpix_cells
from geocsp.priors import GridHistogram


def slow_cell(place, degrees):
    lon, lat = place
    column = int((lon + 180) // degrees) if lon < 180 else 0
    return column, min(int((lat + 90) // degrees), math.ceil(180 / degrees) - 1)


@pytest.mark.parametrize("degrees", [1.0, 7.0, 30.0, 400.0])
@pytest.mark.parametrize("smoothing", [0.1, 3.0])
def test_labels_in_the_same_cell_count(degrees, smoothing):
    lonlat, labels = scattered(400)
    asked, _ = scattered(60, seed=1)
    asked = torch.cat([asked, lonlat[:20], torch.tensor([[180.0, 89.0], [-180.0, 40.0]])])
    prior = GridHistogram(degrees, smoothing).fit(lonlat, labels, CLASSES)
    expected = []
    for place in asked.tolist():
        cell = slow_cell(place, degrees)
        votes = [float(slow_cell(other, degrees) == cell) for other in lonlat.tolist()]
        expected.append(mixed(votes, labels.tolist(), smoothing))
    torch.testing.assert_close(prior.class_probabilities(asked), torch.tensor(expected))


def test_cells_of_equal_area_are_those_of_healpix():
    lonlat, labels = scattered(400)
    prior = GridHistogram(58.6 / 8, equal_area=True).fit(lonlat, labels, CLASSES)
    cells = healpix_cells(lonlat.numpy(), 8)
    expected = []
    for row in range(50):
        votes = (cells == cells[row]).astype(float).tolist()
        expected.append(mixed(votes, labels.tolist(), 1.0))
    torch.testing.assert_close(prior.class_probabilities(lonlat[:50]), torch.tensor(expected))


def test_an_empty_cell_has_the_overall_frequency():
    prior = GridHistogram(5.0).fit(torch.zeros(8, 2), torch.tensor([0] * 6 + [1] * 2), ["a", "b"])
    far = prior.class_probabilities(torch.tensor([[100.0, 0.0]]))
    torch.testing.assert_close(far, torch.tensor([[0.7, 0.3]]))
