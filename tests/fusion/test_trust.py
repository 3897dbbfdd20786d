import math

import pytest
import torch
from scipy.spatial.distance import jensenshannon

from geocsp.coords import sample_sphere
from geocsp.errors import DataError
from geocsp.fusion import Support, ensemble
from geocsp.fusion.trust import Trust, reach, signals_of

TRUST = Trust(halves=(500.0, 2.0), limits=(1000.0, 5.0))


def test_trust_is_the_product_of_what_the_signals_leave():
    signals = torch.tensor([[0.0, 0.0], [500.0, 0.0], [0.0, 2.0], [250.0, 4.0], [999.0, 0.1]])
    expected = [
        1 / (1 + (km / 500) ** 4) / (1 + (spacing / 2) ** 4) for km, spacing in signals.tolist()
    ]
    assert TRUST.of(signals.double()).tolist() == pytest.approx(expected)
    assert expected[:3] == [1.0, 0.5, 0.5]


def test_trust_falls_with_each_signal_and_ends_at_its_limit():
    for column in (0, 1):
        signals = torch.zeros(400, 2, dtype=torch.float64)
        signals[:, column] = torch.linspace(0, 2 * TRUST.limits[column], 400)
        trust = TRUST.of(signals)
        assert bool((trust.diff() <= 0).all())
        assert bool((trust[signals[:, column] > TRUST.limits[column]] == 0).all())
        assert bool((trust[signals[:, column] <= TRUST.limits[column]] > 0).all())
    assert TRUST.of(torch.tensor([[math.inf, math.inf], [math.nan, 0.0]])).tolist() == [0, 0]
    assert Trust.nowhere(2).of(torch.zeros(3, 2)).tolist() == [0, 0, 0]


def test_the_reach_does_not_hang_on_single_rows():
    seen = torch.arange(1.0, 101.0).double().unsqueeze(1).repeat(1, 2)
    seen[99, 0], seen[98, 1] = 1e6, 1e5
    assert reach(seen).tolist() == [98, 98]
    assert reach(seen[:3]).tolist() == [3, 3]
    assert float(reach(torch.zeros(4, 1))) > 0
    assert Trust.within(seen, torch.tensor([1.0, 2.0])) == Trust((1.0, 2.0), (122.5, 122.5))


def test_signals_are_distance_spacing_and_disagreement():
    generator = torch.Generator().manual_seed(0)
    support, lonlat = Support(sample_sphere(50, generator)), sample_sphere(20, generator)
    disagreement = torch.rand(20, generator=generator)
    signals = signals_of(support, lonlat, disagreement)
    torch.testing.assert_close(signals[:, 0], support.km(lonlat))
    per_place = 1e6 / support.density(lonlat).exp()  # square kilometres
    torch.testing.assert_close(1e3 * signals[:, 1], per_place.sqrt())
    torch.testing.assert_close(signals[:, 2], disagreement.double())
    assert torch.equal(signals_of(support, lonlat, None), signals[:, :2])
    with pytest.raises(DataError, match=r"disagreement must be \(20,\), got \(19,\)"):
        signals_of(support, lonlat, disagreement[1:])


def test_disagreement_is_the_divergence_of_the_scaled_priors():
    scores = 3 * torch.randn(2, 30, 5, generator=torch.Generator().manual_seed(0))
    mean, disagreement = ensemble(scores)
    torch.testing.assert_close(mean, (scores[0] + scores[1]) / 2)
    assert disagreement.dtype == torch.float64
    for row in range(30):
        expected = jensenshannon(*scores[:, row].double().sigmoid().numpy()) ** 2
        assert float(disagreement[row]) == pytest.approx(expected, rel=1e-9)


def test_disagreement_goes_from_none_to_the_logarithm_of_the_members():
    same = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(0)).repeat(3, 1, 1)
    torch.testing.assert_close(ensemble(same)[1], torch.zeros(4, dtype=torch.float64))
    assert ensemble(same[:1])[1].tolist() == [0] * 4
    apart = torch.where(torch.eye(3).bool(), 20.0, -60.0).unsqueeze(1)
    assert float(ensemble(apart)[1]) == pytest.approx(math.log(3))
    assert bool(ensemble(1e4 * apart)[1].isfinite().all())


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 3)])
def test_an_ensemble_without_members_is_told(shape):
    with pytest.raises(DataError, match=r"must be \(priors, rows, classes\)"):
        ensemble(torch.zeros(shape))
