"""Spherical harmonics against SciPy and the identities that define them."""

import math

import numpy as np
import pytest
import torch

import geocsp
from geocsp.coords import sample_sphere
from geocsp.location import SphericalHarmonics

special = pytest.importorskip("scipy.special")
if not hasattr(special, "sph_harm_y"):
    pytest.skip("needs SciPy 1.15", allow_module_level=True)

RANDOM = sample_sphere(40, torch.Generator().manual_seed(0)).double()
EXTREME = torch.tensor(
    [[0, 90], [77, 90], [0, -90], [180, 0], [-180, 0], [13, 89.9999], [-120, -89.9999], [5, 1e-9]],
    dtype=torch.float64,
)
PLACES = torch.cat([RANDOM, EXTREME])


def features(degrees, places=PLACES):
    return SphericalHarmonics(dim=4, degrees=degrees, hidden=4).features(places)


def degrees_and_orders(degrees):
    return [(degree, order) for degree in range(degrees) for order in range(-degree, degree + 1)]


def scipy_harmonics(pairs, places=PLACES):
    """Real harmonics from SciPy's complex ones, which carry the Condon-Shortley sign."""
    degree, order = np.array(pairs).T
    lon, lat = np.radians(places.numpy()).T[..., None]
    value = special.sph_harm_y(degree, np.abs(order), np.pi / 2 - lat, lon) * (-1.0) ** order
    root = math.sqrt(2)
    return np.where(
        order < 0, root * value.imag, np.where(order > 0, root * value.real, value.real)
    )


def test_all_harmonics_up_to_degree_40_equal_those_of_scipy():
    expected = torch.from_numpy(scipy_harmonics(degrees_and_orders(41)))
    torch.testing.assert_close(features(41).double(), expected, atol=5e-6, rtol=0)


def test_degree_127_keeps_single_precision():
    pairs = [
        (127, 0),
        (127, 1),
        (127, -2),
        (127, 64),
        (127, -127),
        (127, 127),
        (100, -33),
        (126, 5),
    ]
    columns = [degree**2 + degree + order for degree, order in pairs]
    expected = torch.from_numpy(scipy_harmonics(pairs))
    torch.testing.assert_close(features(128)[:, columns].double(), expected, atol=5e-6, rtol=0)


def test_the_first_harmonics_are_a_constant_and_the_cartesian_coordinates():
    constant, y, z, x = features(2).double().T
    lon, lat = PLACES.deg2rad().T
    size = math.sqrt(3 / (4 * math.pi))
    assert constant.tolist() == pytest.approx([math.sqrt(1 / (4 * math.pi))] * len(PLACES))
    torch.testing.assert_close(y, size * lat.cos() * lon.sin(), atol=1e-6, rtol=0)
    torch.testing.assert_close(z, size * lat.sin(), atol=1e-6, rtol=0)
    torch.testing.assert_close(x, size * lat.cos() * lon.cos(), atol=1e-6, rtol=0)


def test_they_are_orthonormal_on_the_sphere():
    nodes, weights = np.polynomial.legendre.leggauss(21)
    lat, lon = np.degrees(np.arcsin(nodes)), np.arange(42) / 42 * 360 - 180
    sphere = np.stack(np.broadcast_arrays(lon, lat[:, None]), -1).reshape(-1, 2)
    values = features(20, torch.from_numpy(sphere)).double()
    area = torch.from_numpy(np.repeat(weights, 42) * 2 * math.pi / 42)
    inner = values.T @ (area.unsqueeze(1) * values)
    torch.testing.assert_close(inner, torch.eye(400).double(), atol=1e-5, rtol=0)


def test_the_addition_theorem_holds_everywhere_up_to_degree_127():
    values = features(128)
    assert values.dtype == torch.float32
    assert bool(values.isfinite().all())
    for degree in range(128):
        square = values[:, degree**2 : (degree + 1) ** 2].double().square().sum(1)
        expected = (2 * degree + 1) / (4 * math.pi)
        assert square.tolist() == pytest.approx([expected] * len(PLACES), rel=3e-6)


def test_a_pole_has_one_value_and_the_antimeridian_is_no_border():
    values = features(64, torch.tensor([[0, 90], [123.4, 90], [180, 33], [-180, 33]]).double())
    torch.testing.assert_close(values[0], values[1], atol=1e-6, rtol=0)
    torch.testing.assert_close(values[2], values[3], atol=1e-6, rtol=0)


def test_a_longer_list_of_degrees_begins_with_the_shorter():
    torch.testing.assert_close(features(32)[:, : 10**2], features(10), atol=3e-6, rtol=0)


def test_many_places_give_the_same_as_few_at_a_time():
    many = sample_sphere(600, torch.Generator().manual_seed(1)).double()
    few = torch.cat([features(12, part) for part in many.split(97)])
    torch.testing.assert_close(features(12, many), few, atol=1e-6, rtol=0)


def test_at_least_one_degree_is_needed():
    with pytest.raises(ValueError, match="need at least one degree, got 0"):
        geocsp.create("location", "spherical-harmonics", degrees=0)


def test_blocks_in_the_cache_equal_the_plain_formula():
    encoder = SphericalHarmonics(dim=4, degrees=9)
    lonlat = sample_sphere(5000, torch.Generator().manual_seed(3)).double()
    plain = encoder._plainly(lonlat).T
    torch.testing.assert_close(encoder.features(lonlat), plain, atol=1e-6, rtol=0)


def test_places_get_a_gradient():
    lonlat = torch.tensor([[10.0, 20.0], [-179.0, -60.0]], dtype=torch.float64, requires_grad=True)
    SphericalHarmonics(dim=4, degrees=5).features(lonlat)[:, 2].sum().backward()
    # Y_10 = sqrt(3 / 4 pi) sin(lat)
    slope = math.sqrt(3 / (4 * math.pi)) * lonlat[:, 1].deg2rad().cos() * math.pi / 180
    torch.testing.assert_close(lonlat.grad[:, 1], slope.detach(), atol=1e-7, rtol=1e-5)
    torch.testing.assert_close(lonlat.grad[:, 0], torch.zeros(2).double(), atol=1e-9, rtol=0)
