import math

import pytest
import torch

from geocsp.coords import EARTH_RADIUS_KM, great_circle_km, sample_sphere
from geocsp.errors import DataError
from geocsp.fusion import Support

PLACES = torch.cat(
    [
        sample_sphere(40, torch.Generator().manual_seed(0)).double(),
        torch.tensor([[179.9, 10.0], [-179.9, -60.0], [0.0, 90.0], [12.0, -90.0], [8.5, 47.4]]),
    ]
)
ASKED = torch.cat(
    [
        sample_sphere(60, torch.Generator().manual_seed(1)).double(),
        torch.tensor([[-179.9, 10.0], [180.0, -60.0], [77.0, 90.0], [-50.0, -89.9], [8.5, 47.4]]),
    ]
)


def slow_distances():
    """Of every asked place to every place of the support, ``(N, M)``."""
    return torch.stack([great_circle_km(ASKED, place.unsqueeze(0)) for place in PLACES], dim=1)


def test_distance_to_the_nearest_place():
    km = Support(PLACES).km(ASKED)
    assert km.dtype == torch.float64
    torch.testing.assert_close(km, slow_distances().amin(1), rtol=1e-9, atol=1e-6)
    assert km[-1] == 0
    assert km[-5] < 25  # over the antimeridian
    assert km[-3] == pytest.approx(0, abs=1e-6)  # the pole, whatever the longitude


def test_density_is_places_in_the_cap_to_the_tenth_nearest():
    density = Support(PLACES).density(ASKED)
    for row, far in enumerate(slow_distances().sort(dim=1).values[:, 9].tolist()):
        cap = 2 * math.pi * EARTH_RADIUS_KM**2 * (1 - math.cos(far / EARTH_RADIUS_KM))
        assert float(density[row]) == pytest.approx(math.log(10 / (cap / 1e6)), rel=1e-9)


def test_few_places_are_all_counted_and_a_cap_is_not_smaller_than_a_kilometre():
    support = Support(torch.tensor([[10.0, 50.0]] * 3))
    assert len(support) == 3
    there, antipode = support.density(torch.tensor([[10.0, 50.0], [-170.0, -50.0]])).tolist()
    assert there == pytest.approx(math.log(3 / (math.pi * 1e-6)), rel=1e-6)
    assert antipode == pytest.approx(math.log(3 / (4 * math.pi * EARTH_RADIUS_KM**2 / 1e6)))
    assert float(support.km(torch.tensor([[-170.0, -50.0]]))) == pytest.approx(
        math.pi * EARTH_RADIUS_KM
    )


def test_no_place_is_infinitely_far():
    lonlat = torch.tensor([[math.nan, math.nan], [8.5, 47.4], [3.0, math.nan]])
    support = Support(PLACES)
    assert support.km(lonlat).isinf().tolist() == [True, False, True]
    assert support.density(lonlat).tolist()[::2] == [-math.inf] * 2
    assert support.km(torch.empty(0, 2)).shape == (0,)
    assert support.density(torch.full((2, 2), math.nan)).tolist() == [-math.inf] * 2


def test_what_is_no_place_is_told_with_its_row():
    support = Support(PLACES)
    with pytest.raises(ValueError, match=r"row 1 .*latitude must be in"):
        support.km(torch.tensor([[math.nan, math.nan], [0.0, 95.0]]))
    with pytest.raises(ValueError, match=r"row 0 .* must be finite"):
        Support(torch.tensor([[math.nan, 3.0]]))
    with pytest.raises(DataError, match="the support has no places"):
        Support(torch.empty(0, 2))
