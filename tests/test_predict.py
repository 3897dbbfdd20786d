import math

import pytest
import torch

import geocsp
from geocsp import GeoPrior, fuse
from geocsp.coords import sample_sphere
from geocsp.errors import DataError
from geocsp.fusion import Calibration, GuardedFusion, Mixture, Support
from geocsp.fusion.evidence import Evidence
from geocsp.fusion.trust import Trust

PLACES = sample_sphere(6, torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def prior():
    torch.manual_seed(0)
    return GeoPrior(geocsp.create("location", "wrap", dim=8), 4)


@pytest.fixture
def image():
    return torch.rand(6, 4, generator=torch.Generator().manual_seed(1)).softmax(dim=1)


@pytest.mark.parametrize("fusion", [None, Calibration(1.5, 3.0, 0.7)])
def test_fusion_equals_the_product_of_the_formula(prior, image, fusion):
    given = fusion or Calibration()
    fused = fuse(image, prior, PLACES, fusion)
    scores = prior.class_scores(PLACES)
    for n in range(6):
        products = [
            float(image[n, c]) ** (1 / given.image_temperature)
            * (1 / (1 + math.exp(-float(scores[n, c]) / given.prior_temperature)))
            ** given.prior_power
            for c in range(4)
        ]
        expected = [product / sum(products) for product in products]
        assert fused[n].tolist() == pytest.approx(expected, rel=1e-4)


def test_a_row_without_place_keeps_the_answer_of_the_image(prior, image):
    places = PLACES.clone()
    places[2] = math.nan
    places[4, 1] = math.nan
    fused = fuse(image, prior, places)
    torch.testing.assert_close(fused[[2, 4]], image[[2, 4]])
    assert not torch.allclose(fused[0], image[0])
    nowhere = torch.full_like(PLACES, math.nan)
    torch.testing.assert_close(fuse(image, prior, nowhere), image)


def test_zero_image_probabilities_do_not_become_nan(prior, image):
    image[0] = torch.tensor([1.0, 0.0, 0.0, 0.0])
    fused = fuse(image, prior, PLACES)
    assert int(fused[0].argmax()) == 0
    torch.testing.assert_close(fused.sum(dim=1), torch.ones(6))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p[:, :3], r"must be \(places, classes\) = \(6, 4\), got \(6, 3\)"),
        (lambda p: p[:5], r"got \(5, 4\)"),
        (lambda p: torch.where(torch.arange(6)[:, None] == 3, -p, p), "row 3 .* softmax"),
        (lambda p: torch.where(torch.arange(6)[:, None] == 1, math.nan, p), "row 1"),
        (lambda p: torch.where(torch.arange(6)[:, None] == 5, 0.0, p), "row 5 .* not all zero"),
    ],
)
def test_what_is_no_probability_is_told_with_its_row(prior, image, change, message):
    with pytest.raises(DataError, match=message):
        fuse(change(image), prior, PLACES)


def test_every_row_sums_to_one_also_without_a_place_and_unnormalised(prior, image):
    places = PLACES.clone()
    places[1] = math.nan
    fused = fuse(7 * image, prior, places)
    torch.testing.assert_close(fused.sum(dim=1), torch.ones(6))
    torch.testing.assert_close(fused, fuse(image, prior, places))


def test_a_bad_place_is_told_with_its_row_also_after_rows_without_a_place(prior, image):
    places = PLACES.clone()
    places[0] = math.nan
    places[3, 1] = 95
    with pytest.raises(ValueError, match="row 3 "):
        fuse(image, prior, places)


def test_a_mixture_is_taken_as_well(prior, image):
    place = prior.class_probabilities(PLACES)
    expected = 0.75 * image + 0.25 * place / place.sum(1, keepdim=True)
    torch.testing.assert_close(fuse(image, prior, PLACES, Mixture(place_weight=0.25)), expected)


@pytest.fixture
def guarded():
    """Trusts the place near the first two places."""
    return GuardedFusion(
        Calibration(1.5, 3.0, 0.7),
        2.0,
        Trust((1e6, 1e6), (1.0, 1e6)),
        Evidence(0.2, 0.1),
        Support(PLACES[:2]),
    )


def test_a_guarded_fusion_backs_off_to_the_calibrated_image(prior, image, guarded):
    places = PLACES.clone()
    places[4] = math.nan
    fused = fuse(image, prior, places, guarded)
    assert fused.dtype == torch.float32
    calibrated = (image.log() / 2).softmax(1)
    torch.testing.assert_close(fused[[2, 3, 5]], calibrated[[2, 3, 5]])
    torch.testing.assert_close(fused[4], image[4])  # as it came
    torch.testing.assert_close(fused[:2], fuse(image, prior, PLACES, guarded.fusion)[:2])
    assert not torch.allclose(fused[:2], calibrated[:2], atol=1e-3)


def test_a_prior_that_counts_is_taken_as_well(image, guarded):
    knn = geocsp.create("prior", "knn").fit(PLACES, torch.arange(6) % 4, [*"abcd"])
    place = knn.class_probabilities(PLACES)
    expected = image * place / (image * place).sum(1, keepdim=True)
    torch.testing.assert_close(fuse(image, knn, PLACES), expected)
    assert fuse(image, knn, PLACES, guarded).shape == (6, 4)


def test_a_fusion_that_asks_an_ensemble_is_refused(prior, image, guarded):
    other = GuardedFusion(
        guarded.fusion, 2.0, Trust((1.0,) * 3, (1.0,) * 3), guarded.evidence, guarded.support
    )
    with pytest.raises(DataError, match="goes by 3 signals, got 2"):
        fuse(image, prior, PLACES, other)


class Clock:
    """A prior that knows the time alone."""

    class_names = ("day", "night")

    def class_scores(self, lonlat, time=None):
        return torch.stack([time[:, 1], -time[:, 1]], dim=1)


def test_the_prior_gets_the_times_of_rows_with_a_place():
    time = torch.tensor([[0.0, 1.0], [0.0, 2.0], [0.0, 3.0]])
    places = torch.tensor([[3.0, 4.0], [math.nan, 0.0], [5.0, 6.0]])
    fused = fuse(torch.full((3, 2), 0.5), Clock(), places, time=time)
    assert fused[:, 0].tolist() == pytest.approx(
        [1 / (1 + math.exp(-1)), 0.5, 1 / (1 + math.exp(-3))]
    )
