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


@pytest.mark.parametrize(("epochs", "steps"), [(10, 7), (3, 1), (49, 1), (300, 355)])
def test_the_rate_decays_after_every_epoch_and_only_then(epochs, steps):
    for step in range(epochs * steps):
        factor = learning_rate_factor(step / (epochs * steps), 0.0, False, 0.98, epochs)
        assert factor == 0.98 ** (step // steps)


def test_decay_multiplies_warm_up_and_cosine():
    assert learning_rate_factor(0.1, 0.2, True, 0.5, 20) == pytest.approx(0.5**2 * 0.5)
    assert learning_rate_factor(0.6, 0.2, True, 0.5, 20) == pytest.approx(0.5**12 * 0.5)
