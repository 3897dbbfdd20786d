import pytest
import torch

from geocsp.coords import check_lonlat
from geocsp.objectives import NegativeSampling


def draw(kind, seed=0):
    return NegativeSampling(kind).sample(100_000, torch.Generator().manual_seed(seed)).double()


def share_beyond(lonlat, lat):
    return float((lonlat[:, 1].abs() > lat).double().mean())


def test_sphere_is_equal_area():
    lonlat = draw("sphere")
    assert share_beyond(lonlat, 60) == pytest.approx(0.134, abs=0.005)
    assert share_beyond(lonlat, 75) == pytest.approx(0.034, abs=0.003)
    assert float((lonlat[:, 0] < 0).double().mean()) == pytest.approx(0.5, abs=0.01)


def test_legacy_disc_has_the_historic_bias():
    lonlat = draw("legacy-disc")
    assert share_beyond(lonlat, 60) == pytest.approx(0.333, abs=0.005)
    assert share_beyond(lonlat, 75) == pytest.approx(0.167, abs=0.005)
    assert float(((lonlat[:, 0] / 180) ** 2 + (lonlat[:, 1] / 90) ** 2).max()) <= 1 + 1e-6


def test_legacy_octant_is_one_corner_of_the_map():
    lonlat = draw("legacy-octant")
    assert float(lonlat.min()) >= 0
    assert lonlat.mean(dim=0).tolist() == pytest.approx([90, 45], rel=0.01)
    assert lonlat.max(dim=0).values.tolist() == pytest.approx([180, 90], rel=0.001)


@pytest.mark.parametrize("kind", list(NegativeSampling))
def test_draws_are_valid_places_that_follow_the_generator(kind):
    check_lonlat(draw(kind))
    assert torch.equal(draw(kind), draw(kind))
    assert not torch.equal(draw(kind), draw(kind, seed=1))


def test_legacy_disc_covers_the_ellipse_on_both_sides_of_both_axes():
    lonlat = draw("legacy-disc")
    assert lonlat.mean(dim=0).tolist() == pytest.approx([0, 0], abs=1.5)
    assert lonlat.min(dim=0).values.tolist() == pytest.approx([-180, -90], rel=0.001)
    assert lonlat.max(dim=0).values.tolist() == pytest.approx([180, 90], rel=0.001)


def test_legacy_disc_is_a_sphere_seen_from_its_pole():
    lonlat = draw("legacy-disc")
    squared_radius = (lonlat[:, 0] / 180).square() + (lonlat[:, 1] / 90).square()
    for limit in (0.25, 0.5, 0.75):
        share = float((squared_radius < limit).double().mean())
        assert share == pytest.approx(1 - (1 - limit) ** 0.5, abs=0.005)
