"""Each position encoding against a slow scalar computation of its formula."""

import math

import pytest
import torch

import geocsp
from geocsp.coords import sample_sphere
from geocsp.location import GeoCLIP
from geocsp.location.angles import geometric_radii, sin_cos
from geocsp.location.geoclip import equal_earth as projection

EDGES = [[-180, -90], [180, 90], [37, 90], [-180, 12.5], [180, 12.5], [0, 0], [180, -90]]
PLACES = torch.cat([sample_sphere(9, torch.Generator().manual_seed(0)), torch.tensor(EDGES)])
PLACES = PLACES.double()
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}


def radii(frequencies, min_radius, max_radius):
    ratio = max_radius / min_radius
    return [min_radius * ratio ** (i / (frequencies - 1)) for i in range(frequencies)]


def grid(encoder, lon, lat, **scales):
    return [
        wave(c / r) for c in (lon, lat) for r in radii(**scales) for wave in (math.sin, math.cos)
    ]


def gridnorm(encoder, lon, lat, **scales):
    return grid(encoder, math.radians(lon), math.radians(lat), **scales)


def hexagonal(encoder, lon, lat, **scales):
    phases = [0, 2 * math.pi / 3, 4 * math.pi / 3]
    return [math.sin(c / r + p) for c in (lon, lat) for r in radii(**scales) for p in phases]


def theory(encoder, lon, lat, **scales):
    directions = [(1, 0), (-1 / 2, math.sqrt(3) / 2), (-1 / 2, -math.sqrt(3) / 2)]
    along = [(lon * u + lat * v) / r for r in radii(**scales) for u, v in directions]
    return [wave(angle) for angle in along for wave in (math.sin, math.cos)]


def theorynorm(encoder, lon, lat, **scales):
    return theory(encoder, math.radians(lon), math.radians(lat), **scales)


def spherec(encoder, lon, lat, **scales):
    features = []
    for r in radii(**scales):
        x, y = math.radians(lon) / r, math.radians(lat) / r
        features += [math.sin(y), math.cos(y) * math.cos(x), math.cos(y) * math.sin(x)]
    return features


def spherec_plus(encoder, lon, lat, **scales):
    features = []
    for r in radii(**scales):
        x, y = math.radians(lon) / r, math.radians(lat) / r
        features += [math.sin(y), math.cos(y), math.sin(x), math.cos(x)]
        features += [math.cos(y) * math.cos(x), math.cos(y) * math.sin(x)]
    return features


def mixed(lon, lat, r, base_radius):
    x, y = math.radians(lon), math.radians(lat)
    a, b, c, d = x / r, y / r, x / base_radius, y / base_radius
    return [
        math.cos(b) * math.cos(c),
        math.cos(d) * math.cos(a),
        math.cos(b) * math.sin(c),
        math.cos(d) * math.sin(a),
    ]


def spherem(encoder, lon, lat, base_radius=1.0, **scales):
    features = []
    for r in radii(**scales):
        features += [math.sin(math.radians(lat) / r), *mixed(lon, lat, r, base_radius)]
    return features


def spherem_plus(encoder, lon, lat, base_radius=1.0, **scales):
    features = []
    for r in radii(**scales):
        x, y = math.radians(lon) / r, math.radians(lat) / r
        features += [math.sin(y), math.cos(y), math.sin(x), math.cos(x)]
        features += mixed(lon, lat, r, base_radius)
    return features


def dfs(encoder, lon, lat, **scales):
    x, y = ([math.radians(c) / r for r in radii(**scales)] for c in (lon, lat))
    rows, columns = ([wave(c) for wave in (math.sin, math.cos) for c in cs] for cs in (x, y))
    features = [row * column for row in rows for column in columns]
    for a, b in zip(x, y, strict=True):
        features += [math.sin(b), math.cos(b), math.sin(a), math.cos(a)]
    return features


def wrap(encoder, lon, lat):
    x, y = math.pi * lon / 180, math.pi * lat / 90
    return [math.sin(x), math.sin(y), math.cos(x), math.cos(y)]


def xyz(encoder, lon, lat, legacy_double_latitude=False):
    x, y = math.radians(lon), math.radians(lat) * (2 if legacy_double_latitude else 1)
    return [math.cos(y) * math.cos(x), math.cos(y) * math.sin(x), math.sin(y)]


def naive(encoder, lon, lat):
    return [lon / 180, lat / 90]


def rbf(encoder, lon, lat, width, anchors, legacy_distance=False):
    features = []
    for a, b in encoder.anchors.tolist():
        distance = math.hypot(lon - a, lat - b) if legacy_distance else arc(lon, lat, a, b)
        features.append(math.exp(-(distance**2) / (2 * width**2)))
    return features


def arc(lon, lat, other_lon, other_lat):
    half = math.sin(math.radians(other_lat - lat) / 2) ** 2
    across = math.sin(math.radians(other_lon - lon) / 2) ** 2
    half += math.cos(math.radians(lat)) * math.cos(math.radians(other_lat)) * across
    return math.degrees(2 * math.asin(math.sqrt(min(1, half))))


def rff(encoder, lon, lat, waves, variance):
    size = math.sqrt(2 / waves)
    by_wave = zip(*encoder.directions.tolist(), encoder.phases.tolist(), strict=True)
    return [size * math.cos(u * lon / 180 + v * lat / 90 + phase) for u, v, phase in by_wave]


def nerf(encoder, lon, lat, frequencies):
    angles = [2**i * math.pi * c for c in xyz(encoder, lon, lat) for i in range(frequencies)]
    return [wave(angle) for wave in (math.sin, math.cos) for angle in angles]


def tile(encoder, lon, lat, degrees, cell_dim):
    columns, rows = math.ceil(360 / degrees), math.ceil(180 / degrees)
    column = 0 if lon == 180 else math.floor((lon + 180) / degrees)
    row = min(rows - 1, math.floor((lat + 90) / degrees))
    return encoder.cells[row * columns + column].tolist()


def harmonics(encoder, lon, lat, degrees):
    features = []
    for degree in range(degrees):
        for m in range(-degree, degree + 1):
            x = math.radians(lon)
            around = math.sin(-m * x) if m < 0 else math.cos(m * x)
            factor = 1 if m == 0 else math.sqrt(2)
            features.append(factor * around * legendre(degree, abs(m), math.radians(lat)))
    return features


def legendre(degree, order, lat):
    """The orthonormal P_lm of Rodrigues' formula, without the Condon-Shortley sign."""
    value = 0.0
    for k in range((degree - order) // 2 + 1):
        power = degree - order - 2 * k
        term = math.factorial(2 * degree - 2 * k) * math.sin(lat) ** power
        term /= math.factorial(k) * math.factorial(degree - k) * math.factorial(power)
        value += (-1) ** k * term / 2**degree
    norm = math.factorial(degree - order) / math.factorial(degree + order)
    return value * math.cos(lat) ** order * math.sqrt((2 * degree + 1) / (4 * math.pi) * norm)


def geoclip(encoder, lon, lat, scales, waves):
    x, y = equal_earth(lon, lat)
    features = []
    for directions in encoder.directions.tolist():
        angles = [2 * math.pi * (x * u + y * v) for u, v in directions]
        features += [wave(angle) for wave in (math.cos, math.sin) for angle in angles]
    return features


def equal_earth(lon, lat):
    a1, a2, a3, a4 = 1.340264, -0.081106, 0.000893, 0.003796
    t = math.asin(math.sqrt(3) / 2 * math.sin(math.radians(lat)))
    below = 3 * (9 * a4 * t**8 + 7 * a3 * t**6 + 3 * a2 * t**2 + a1)
    x = 2 * math.sqrt(3) * math.radians(lon) * math.cos(t) / below
    y = a4 * t**9 + a3 * t**7 + a2 * t**3 + a1 * t
    return x * 66.50336 / 180, y * 66.50336 / 180


def healpix(encoder, lon, lat, levels, level_dim, table):
    features = []
    for level, vectors in enumerate(encoder.tables):
        weights = interpolation(lon, lat, 2**level)
        rows = [(weight, vectors[cell].tolist()) for cell, weight in weights.items()]
        features += [sum(weight * row[d] for weight, row in rows) for d in range(level_dim)]
    return features


def interpolation(lon, lat, sides):
    """Weights of cells: linear in latitude between two rings, in longitude on each of them."""
    rings = [(90.0, None)]  # (latitude, (first cell, its longitude, cells))
    cell = 0
    for ring in range(1, 4 * sides):
        pole = min(ring, 4 * sides - ring)
        count, height = 4 * min(pole, sides), 4 / 3 - 2 * ring / (3 * sides)
        if pole < sides:
            height = math.copysign(1 - pole**2 / (3 * sides**2), 2 * sides - ring)
        on_meridian = pole >= sides and (ring - sides) % 2 == 1
        first = 0.0 if on_meridian else 180 / count
        rings.append((math.degrees(math.asin(height)), (cell, first, count)))
        cell += count
    rings.append((-90.0, None))
    north = max(n for n in range(4 * sides) if rings[n][0] >= lat)
    (upper, _), (lower, _) = rings[north : north + 2]
    weights = {}

    def add(place, share):
        weights[place] = weights.get(place, 0.0) + share

    for ring, share in ((north, (lat - lower) / (upper - lower)), (north + 1, 0)):
        share = share if ring == north else (upper - lat) / (upper - lower)
        if rings[ring][1] is None:  # a pole: the mean of its four cells
            start = 0 if ring == 0 else 12 * sides**2 - 4
            for corner in range(4):
                add(start + corner, share / 4)
            continue
        start, first, count = rings[ring][1]
        position = (lon - first) % 360 * count / 360
        west = math.floor(position)
        add(start + west % count, share * (1 - position + west))
        add(start + (west + 1) % count, share * (position - west))
    return weights


DEGREES = [
    {"frequencies": 8, "min_radius": smallest, "max_radius": 360.0}
    for smallest in (1e-6, 1e-4, 0.1, 5.0)
]
RADIANS = [
    {"frequencies": 7, "min_radius": smallest, "max_radius": 1.0} for smallest in (1e-7, 0.002, 0.3)
]
BASE = [{**RADIANS[1], "base_radius": 0.4}]
RBF = {"anchors": 30, "width": 25.0}

FORMULAS = {
    "space2vec-grid": (grid, DEGREES),
    "space2vec-gridnorm": (gridnorm, RADIANS),
    "space2vec-hexagonal": (hexagonal, DEGREES),
    "space2vec-theory": (theory, DEGREES),
    "space2vec-theorydiag": (theory, DEGREES),
    "space2vec-theorynorm": (theorynorm, RADIANS),
    "sphere2vec-spherec": (spherec, RADIANS),
    "sphere2vec-spherec+": (spherec_plus, RADIANS),
    "sphere2vec-spherem": (spherem, RADIANS + BASE),
    "sphere2vec-spherem+": (spherem_plus, RADIANS + BASE),
    "sphere2vec-dfs": (dfs, RADIANS),
    "wrap": (wrap, [{}]),
    "wrap-ffn": (wrap, [{}]),
    "sinr": (wrap, [{}]),
    "xyz": (xyz, [{}, {"legacy_double_latitude": True}]),
    "naive": (naive, [{}]),
    "rbf": (rbf, [RBF, {**RBF, "width": 0.5}, {**RBF, "legacy_distance": True}]),
    "rff": (rff, [{"waves": 20, "variance": 100.0}, {"waves": 20, "variance": 1e8}]),
    "nerf": (nerf, [{"frequencies": 1}, {"frequencies": 10}, {"frequencies": 24}]),
    "tile": (tile, [{"degrees": 5.0, "cell_dim": 3}, {"degrees": 47.0, "cell_dim": 2}]),
    "spherical-harmonics": (harmonics, [{"degrees": 1}, {"degrees": 2}, {"degrees": 9}]),
    "geoclip": (geoclip, [{"scales": (1.0, 16.0, 256.0), "waves": 5}]),
    "healpix-hash": (healpix, [{"levels": 4, "level_dim": 2, "table": 2**16}]),
}
CASES = [
    pytest.param(name, formula, settings, id=f"{name}-{number}")
    for name, (formula, many) in FORMULAS.items()
    for number, settings in enumerate(many)
]


def test_every_encoder_is_compared_with_a_formula():
    assert sorted(FORMULAS) == geocsp.available("location")


@pytest.mark.parametrize(("name", "formula", "settings"), CASES)
def test_features_equal_the_formula_in_order(name, formula, settings):
    torch.manual_seed(0)
    encoder = geocsp.create("location", name, dim=8, **settings)
    features = encoder.features(PLACES).detach()
    expected = [formula(encoder, lon, lat, **settings) for lon, lat in PLACES.tolist()]
    assert features.shape == (len(PLACES), encoder.feature_dim)
    expected = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(features.double(), expected, atol=TOLERANCE[features.dtype], rtol=0)


def test_the_equal_earth_map_of_geoclip_equals_its_formula():
    expected = [equal_earth(lon, lat) for lon, lat in PLACES.tolist()]
    expected = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(projection(PLACES), expected, atol=1e-14, rtol=0)


def test_geoclip_in_single_precision_is_close_but_not_equal():
    torch.manual_seed(0)
    exact, legacy = GeoCLIP(8), GeoCLIP(8, legacy_float32=True)
    legacy.load_state_dict(exact.state_dict())
    difference = (exact.features(PLACES) - legacy.features(PLACES)).abs().max()
    assert 0 < float(difference) < 1e-3


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
