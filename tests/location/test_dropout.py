import pytest
import torch

from geocsp.location.dropout import Dropout


@pytest.mark.parametrize("probability", [0.1, 0.25, 0.5, 0.9])
def test_the_share_of_dropped_units_and_the_mean_are_right(probability):
    torch.manual_seed(0)
    dropped = Dropout(probability)(torch.ones(1000, 1001))
    share = float((dropped == 0).double().mean())
    assert share == pytest.approx(probability, abs=1 / 512 + 0.002)
    assert float(dropped.double().mean()) == pytest.approx(1.0, abs=0.01)
    assert len(dropped.unique()) == 2


def test_neighbouring_units_and_rows_are_dropped_independently():
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(2000, 512)) > 0).double() - 0.5
    for step in (1, 2, 4, 7, 8, 16):
        correlation = 4 * float((kept[:, step:] * kept[:, :-step]).mean())
        assert abs(correlation) < 0.005
    assert abs(4 * float((kept[1:] * kept[:-1]).mean())) < 0.005
    assert float(kept.mean(0).abs().max()) < 0.06


def test_gradient_passes_through_kept_units_alone():
    torch.manual_seed(0)
    x = torch.randn(50, 3, dtype=torch.float64, requires_grad=True)
    y = Dropout(0.5)(x)
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.where(y == 0, 0.0, 2.0).double())


def test_evaluation_and_probability_zero_change_nothing():
    x = torch.randn(4, 5)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_same_seed_gives_the_same_mask_and_keeps_the_dtype():
    x = torch.randn(7, 3, dtype=torch.bfloat16)
    torch.manual_seed(1)
    first = Dropout(0.5)(x)
    torch.manual_seed(1)
    assert torch.equal(first, Dropout(0.5)(x))
    assert first.dtype == torch.bfloat16


@pytest.mark.parametrize("probability", [-0.1, 1.0, float("nan")])
def test_probabilities_out_of_range_are_refused(probability):
    with pytest.raises(ValueError, match=r"in \[0, 1\)"):
        Dropout(probability)
