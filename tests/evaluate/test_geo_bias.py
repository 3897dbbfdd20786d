import math

import numpy as np
import pytest
from scipy.stats import norm

from geocsp.errors import DataError
from geocsp.evaluate.geo_bias import geo_bias
from geocsp.evaluate.geo_bias.points import Points, background
from geocsp.evaluate.geo_bias.surprisal import LIMIT, moments

RADIUS = 6371.0088


def spread(rows, lon, lat, wide, high):
    """Places without ties, over the antimeridian if need be, and hits."""
    number = np.arange(rows)
    lonlat = np.stack(
        [lon + wide * (number * 0.7548776662 % 1), lat + high * (number * 0.5698402910 % 1)], 1
    )
    lonlat[:, 0] = (lonlat[:, 0] + 180) % 360 - 180
    return (number * 0.6180339887 % 1 > 0.4).astype(float), lonlat


def vectors_of(lonlat):
    lon, lat = np.deg2rad(np.asarray(lonlat)).T
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], 1)


def slow_rings(lonlat, count, radius):
    """Rings around the North Pole, brought to the centre by two rotations."""
    step = 1 / math.sqrt(math.ceil(5 * count / (math.pi * radius**2)))
    points = []
    for ring in range(1, math.ceil(radius / step) + 1):
        number = math.ceil(2 * math.pi * ring)
        for place in range(number):
            turn = -math.pi + 2 * math.pi / number * place
            x, y = (math.sin(step * ring) * f(turn) for f in (math.cos, math.sin))
            points.append((x, y, math.cos(step * ring)))
    lon, lat = np.deg2rad(lonlat)
    tilt, turn = math.pi / 2 - lat, lon
    over = [[math.cos(tilt), 0, math.sin(tilt)], [0, 1, 0], [-math.sin(tilt), 0, math.cos(tilt)]]
    around = [[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]]
    return np.array(points) @ (np.array(around) @ np.array(over)).T


def slow_weights(vectors, neighbours):
    weights = np.zeros((len(vectors), len(vectors)))
    for i in range(len(vectors)):
        distance = [math.dist(vectors[i], vectors[j]) for j in range(len(vectors))]
        others = [j for j in range(len(vectors)) if j != i]
        reach = sorted(distance[j] for j in others)[neighbours - 1]
        nearer = [j for j in others if distance[j] < reach - 1e-12]
        level = [j for j in others if abs(distance[j] - reach) <= 1e-12]
        weights[i, nearer] = 1
        weights[i, level] = (neighbours - len(nearer)) / len(level)
    return weights


def slow_score(marks, weights, k):
    """The published sums, term by term; the background has mark 0."""
    total, mean = len(marks), sum(marks) / len(marks)
    moran = sum(
        weights[i, j] * (marks[i] - mean) * (marks[j] - mean)
        for i in range(total)
        for j in range(total)
    )
    counts = {mark: list(marks).count(mark) for mark in sorted(set(marks))}
    expected = variance = 0.0
    for a, of_a in counts.items():
        for b, of_b in counts.items():
            few, many = min(of_a, of_b), max(of_a, of_b)
            pairs = (of_a - 1) * k * of_a / total - 1 if a == b else few * k * many / total
            expected += (a - mean) * (b - mean) * pairs
            if 0 in (a, b):
                continue
            if a == b:
                part = 2 * (of_a - 1) * k * of_a / total * (1 - k * (2 * of_a - 1) / (3 * total))
                variance += a**4 * part
            else:
                part = few * k * many / total * (1 - k * many / total)
                factor = (a - mean) * (b - mean) - 2 * (a - mean) * -mean + mean**2
                variance += factor**2 * part
    low = min(moran, 2 * expected - moran)
    return -math.log(2 * norm.cdf(low, expected, math.sqrt(variance) + 1) + 1e-256)


def slow(hits, lonlat, radius_km, neighbours):
    vectors, radius = vectors_of(lonlat), radius_km / RADIUS
    scores = []
    for row in np.flatnonzero(hits < 0.5):
        angle = [2 * math.asin(min(1, math.dist(vectors[row], v) / 2)) for v in vectors]
        near = [j for j, a in enumerate(angle) if a <= radius + 1e-12]
        rings = slow_rings(lonlat[row], len(near), radius)
        weights = slow_weights(np.concatenate([vectors[near], rings]), neighbours)
        marks = np.concatenate([np.where(hits[near] < 0.5, -1.0, 1.0), np.zeros(len(rings))])
        both = [slow_score(given, weights, neighbours) for given in (abs(marks), marks)]
        scores.append((row, len(near), *both))
    return np.array(scores).T


@pytest.mark.parametrize("neighbours", [4, 2, 6])
@pytest.mark.parametrize(
    ("lon", "lat"), [(12.0, 47.0), (179.2, -0.5), (-70.0, 89.2)], ids=["Alps", "date line", "pole"]
)
def test_as_a_slow_loop_finds(lon, lat, neighbours):
    hits, lonlat = spread(14, lon, lat, 1.5, 0.8)
    found = geo_bias(hits, lonlat, radius_km=60, neighbours=neighbours)
    rows, sizes, unmarked, marked = slow(hits, lonlat, 60, neighbours)
    assert found.rows.tolist() == rows.tolist()
    assert found.sizes.tolist() == sizes.tolist()
    np.testing.assert_allclose(found.unmarked_scores, unmarked, atol=1e-9)
    np.testing.assert_allclose(found.marked_scores, marked, atol=1e-9)
    assert found.unmarked == pytest.approx(unmarked.mean())
    assert found.metrics() == {"geo_bias_unmarked": found.unmarked, "geo_bias_marked": found.marked}


def test_points_at_one_place_share_as_a_slow_loop_finds():
    hits, lonlat = spread(9, 12.0, 47.0, 1.5, 0.8)
    lonlat = np.concatenate([lonlat, lonlat[[2] * 7], lonlat[[5, 5]]])  # 8, 3 and 1 at a place
    hits = np.concatenate([hits, [0, 1, 0, 1, 1, 0, 1, 1, 0]])
    found = geo_bias(hits, lonlat, radius_km=60)
    _, sizes, unmarked, marked = slow(hits, lonlat, 60, 4)
    assert found.sizes.tolist() == sizes.tolist()
    np.testing.assert_allclose(found.unmarked_scores, unmarked, atol=1e-9)
    np.testing.assert_allclose(found.marked_scores, marked, atol=1e-9)


def test_as_the_authors_package_finds():
    """PyGBS at commit e28b944: compute_unmarked_ssi and compute_marked_ssi with marks 1 and -1.

    Given the points within 100 km, density="auto" and k=4. In some neighbourhoods the centre is
    exactly as far from a background point as another one, and the package takes either.
    """
    hits, lonlat = spread(40, 178.9, -17.5, 2.4, 1.6)
    found = geo_bias(hits, lonlat)
    assert found.rows.tolist() == [0, 2, 5, 7, 10, 13, 15, 18, 20, 23, 26, 28, 31, 33, 34, 36, 39]
    assert found.sizes.tolist() == [
        *[8, 18, 15, 14, 25, 19, 28, 22, 18, 18, 22, 12, 27, 14, 24, 20, 20]
    ]
    unmarked = [
        *[0.145606618, 2.14460443, 2.172701444, 1.893035813, 3.541239851, 2.273232847],
        *[4.046536148, 3.491244315, 2.423365079, 2.309956992, 3.491244315, 1.293782265],
        *[4.306605308, 1.49896376, 2.990737413, 3.093421537, 3.29592641],
    ]
    marked = [
        *[0.860892739, 0.602468987, 0.605461487, 0.677213547, 0.50923898, 0.569997768],
        *[0.463071343, 0.525204223, 0.601104434, 0.555067953, 0.531580814, 0.742538127],
        *[0.483043052, 0.988105471, 0.522323058, 0.534947062, 0.565707199],
    ]
    tied = np.isin(found.rows, [2, 5, 20, 23, 33])
    for ours, theirs in ((found.unmarked_scores, unmarked), (found.marked_scores, marked)):
        np.testing.assert_allclose(ours[~tied], np.array(theirs)[~tied], atol=2e-9)
        np.testing.assert_allclose(ours[tied], np.array(theirs)[tied], atol=0.04)


@pytest.mark.parametrize(
    ("places", "hits", "unmarked", "marked"),
    [
        (
            [
                (-65.80693817138673, -11.043058395385737),
                (-66.29974365234375, -11.142698287963864),
                (-65.97084045410156, -10.865519523620602),
                (-65.96096801757812, -10.893157005310057),
            ],
            [1, 0, 1, 1],
            35.409263557569496,
            19.180234608611848,
        ),
        (
            [
                (-176.627197265625, -44.05601119995117),
                (-176.64855957031253, -44.06794738769531),
                (-176.13417053222656, -44.30601119995117),
            ],
            [1, 1, 1],
            18.24624566483769,
            18.24624566483769,
        ),
    ],
    ids=["row 5464", "row 5731"],
)
def test_as_a_published_table_has_it(places, hits, unmarked, marked):
    """PyGBS's table eval_inat_2018__val_NeRF_ssi_0.05: radius 0.05, the centre first.

    Its scores are of the density in place of the tails, without the 1 that the package now adds to
    the deviation, and its marks 1 and 0, so that a failure counts as background.
    """
    vectors = vectors_of(places)
    rings = background(vectors[0], len(places), 0.05)
    for marks, expected in ((np.ones(len(places)), unmarked), (np.array(hits, float), marked)):
        marks = np.concatenate([marks, np.zeros(len(rings))])
        rare, centred = marks.sum(), marks - marks.mean()
        points = Points(np.concatenate([vectors, rings]), np.ones(len(marks)), centred, centred**2)
        mean, deviation = moments(np.array([0.0, 1.0]), np.array([len(marks) - rare, rare]), 4)
        density = norm.logpdf(points.moran(4), mean, deviation - 1)
        assert -density == pytest.approx(expected, abs=1e-9)


def test_rows_without_place_are_left_out():
    hits, lonlat = spread(20, 12.0, 47.0, 1.5, 0.8)
    known = geo_bias(hits, lonlat)
    gaps = np.insert(lonlat, [0, 7, 20], np.nan, axis=0)
    gaps[0, 0] = 5.0
    found = geo_bias(np.insert(hits, [0, 7, 20], 0), gaps)
    kept = np.flatnonzero(~np.isnan(gaps).any(1))
    assert found.rows.tolist() == kept[known.rows].tolist()
    assert found.marked_scores.tolist() == known.marked_scores.tolist()
    assert found.unmarked == known.unmarked


def test_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(0)
    lonlat = rng.integers(0, 6, (120, 2)) * 0.1  # a grid with several points at a place
    hits = rng.integers(0, 2, 120)
    order = rng.permutation(120)
    found, other = geo_bias(hits, lonlat), geo_bias(hits[order], lonlat[order])
    place = np.argsort(order)[found.rows]
    again = dict(zip(other.rows, other.marked_scores, strict=True))
    assert [again[row] for row in place] == pytest.approx(found.marked_scores.tolist())


def test_one_place_at_different_longitudes():
    hits = np.array([0, 1, 0])
    pole = geo_bias(hits, [(0, 90), (77, 90), (-120, 90)])
    line = geo_bias(hits, [(180, 0), (-180, 0), (180, 0)])
    assert pole.sizes.tolist() == line.sizes.tolist() == [3, 3]
    assert len(set(pole.marked_scores)) == len(set(line.marked_scores)) == 1


def test_failures_in_clusters_are_more_surprising_than_scattered_ones():
    _, lonlat = spread(200, 12.0, 47.0, 1.5, 1.0)
    west = (lonlat[:, 0] > 12.4).astype(float)
    mixed = np.random.default_rng(0).permutation(west)
    clustered, scattered = geo_bias(west, lonlat), geo_bias(mixed, lonlat)
    assert clustered.marked > 3 * scattered.marked
    lonlat[:60] = lonlat[0] + 0.001 * (lonlat[:60] - lonlat[0])
    assert geo_bias(mixed, lonlat).unmarked > 3 * scattered.unmarked


def test_a_highest_score():
    _, lonlat = spread(400, 12.0, 47.0, 0.01, 0.01)
    found = geo_bias(np.zeros(400), lonlat, centres=3)
    assert found.unmarked == pytest.approx(LIMIT)
    assert found.limited == 1
    assert pytest.approx(589.4617838064758) == LIMIT


def test_no_failure_one_row_and_no_row():
    none = geo_bias(np.ones(5), np.zeros((5, 2)))
    assert math.isnan(none.unmarked)
    assert math.isnan(none.marked)
    assert math.isnan(none.limited)
    one = geo_bias([0.0], [(3.0, 4.0)])
    assert one.sizes.tolist() == [1]
    assert one.unmarked == one.marked >= 0
    assert len(geo_bias([], np.empty((0, 2))).rows) == 0


def test_some_centres_are_some_of_all():
    hits, lonlat = spread(60, 12.0, 47.0, 1.5, 0.8)
    every, some = geo_bias(hits, lonlat), geo_bias(hits, lonlat, centres=7)
    scores = dict(zip(every.rows, every.marked_scores, strict=True))
    assert len(some.rows) == 7
    assert [scores[row] for row in some.rows] == some.marked_scores.tolist()
    assert geo_bias(hits, lonlat, centres=7).rows.tolist() == some.rows.tolist()
    assert geo_bias(hits, lonlat, centres=7, seed=1).rows.tolist() != some.rows.tolist()
    assert geo_bias(hits, lonlat, centres=99).rows.tolist() == every.rows.tolist()


@pytest.mark.parametrize("centre", [(0, 90), (0, -90), (180, 0), (33, -71)])
def test_background_is_regular_around_its_centre(centre):
    vector = vectors_of([centre])[0]
    rings = background(vector, 13, 0.02)
    np.testing.assert_allclose(rings, slow_rings(centre, 13, 0.02), atol=1e-15)
    np.testing.assert_allclose(np.linalg.norm(rings, axis=1), 1)
    assert len(rings) >= 5 * 13


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hits": [0.0, 1.0]}, r"\(N,\) and \(N, 2\)"),
        ({"hits": [0.0, 1.0, 1.5]}, "row 2 is 1.5"),
        ({"hits": [0.0, math.nan, 1.0]}, "row 1 is nan"),
        ({"lonlat": [(0, 0), (200, 0), (0, 0)]}, "row 1"),
        ({"radius_km": 0}, "radius_km"),
        ({"radius_km": 20_000}, "radius_km"),
        ({"neighbours": 7}, "neighbours"),
        ({"centres": 0}, "centres"),
    ],
)
def test_bad_input_is_named(change, message):
    given = {"hits": [0.0, 1.0, 0.0], "lonlat": np.zeros((3, 2))} | change
    with pytest.raises(DataError, match=message):
        geo_bias(given.pop("hits"), given.pop("lonlat"), **given)
