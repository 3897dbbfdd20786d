"""Each position encoding against a slow scalar computation of its formula."""

import math

import pytest
import torch

from geocsp.coords import sample_sphere
from geocsp.location import Space2VecGrid, Wrap
from geocsp.location.angles import geometric_radii, sin_cos

PLACES = sample_sphere(15, torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("min_radius", [0.0001, 0.1, 5.0])
def test_grid_features_equal_the_formula_in_order(min_radius):
    encoder = Space2VecGrid(dim=4, frequencies=8, min_radius=min_radius, hidden=4)
    features = encoder.features(PLACES)
    assert features.shape == (15, 32)
    for n, place in enumerate(PLACES.tolist()):
        expected = []
        for coordinate in place:
            for i in range(8):
                radius = min_radius * (360.0 / min_radius) ** (i / 7)
                expected += [math.sin(coordinate / radius), math.cos(coordinate / radius)]
        assert features[n].tolist() == pytest.approx(expected, abs=1e-6)


def test_wrap_features_equal_the_formula_in_order():
    features = Wrap(dim=4).features(PLACES)
    for n, (lon, lat) in enumerate(PLACES.tolist()):
        x, y = math.pi * lon / 180, math.pi * lat / 90
        expected = [math.sin(x), math.sin(y), math.cos(x), math.cos(y)]
        assert features[n].tolist() == pytest.approx(expected, abs=1e-12)


def test_radii_are_a_geometric_series():
    radii = geometric_radii(4, 0.5, 32.0)
    torch.testing.assert_close(radii, torch.tensor([0.5, 2.0, 8.0, 32.0], dtype=torch.float64))
    assert geometric_radii(1, 0.5, 32.0).tolist() == [0.5]


@pytest.mark.parametrize("given", [(0, 1.0, 2.0), (3, 0.0, 2.0), (3, 3.0, 2.0)])
def test_senseless_radii_are_refused(given):
    with pytest.raises(ValueError, match="need count >= 1 and 0 < smallest <= largest"):
        geometric_radii(*given)


def test_large_angles_keep_their_precision():
    angles = torch.tensor([1.8e8, -1.8e8, 123456789.123, 0.1], dtype=torch.float64)
    for angle, (sine, cosine) in zip(angles.tolist(), sin_cos(angle=angles).tolist(), strict=True):
        assert sine == pytest.approx(math.sin(angle), abs=4e-7)
        assert cosine == pytest.approx(math.cos(angle), abs=4e-7)
