import pytest

from geocsp.train.schedule import learning_rate_factor


@pytest.mark.parametrize(
    ("progress", "warmup", "cosine", "factor"),
    [
        (0.0, 0.0, False, 1.0),
        (0.9, 0.0, False, 1.0),
        (0.0, 0.2, False, 0.0),
        (0.1, 0.2, True, 0.5),
        (0.2, 0.2, True, 1.0),
        (0.6, 0.2, True, 0.5),
        (0.5, 0.0, True, 0.5),
        (1.0, 0.0, True, 0.0),
    ],
)
def test_the_rate_climbs_then_stays_or_falls(progress, warmup, cosine, factor):
    assert learning_rate_factor(progress, warmup, cosine) == pytest.approx(factor)
