import math

import pytest
import torch
from slow_priors import CLASSES, kilometres, mixed, scattered

from geocsp.coords import EARTH_RADIUS_KM
from geocsp.priors import KernelDensity


@pytest.mark.parametrize("km", [1.0, 50.0, 800.0, 20_000.0])
@pytest.mark.parametrize("smoothing", [0.1, 3.0])
def test_labels_count_by_the_kernel(km, smoothing):
    lonlat, labels = scattered(200)
    nearby = lonlat[:30] + torch.linspace(-0.02, 0.02, 30).double().unsqueeze(1)
    asked = torch.cat([scattered(30, seed=1)[0], nearby, torch.tensor([[180.0, 3], [9, 90]])])
    asked = asked.clamp(torch.tensor([-180.0, -90.0]), torch.tensor([180.0, 90.0]))
    prior = KernelDensity(km, smoothing).fit(lonlat, labels, CLASSES)
    expected = []
    for place in asked.tolist():
        angles = [kilometres(place, other) / EARTH_RADIUS_KM for other in lonlat.tolist()]
        sharpness = (EARTH_RADIUS_KM / km) ** 2
        votes = [math.exp(-2 * sharpness * math.sin(angle / 2) ** 2) for angle in angles]
        expected.append(mixed(votes, labels.tolist(), smoothing))
    found = prior.class_probabilities(asked)
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-6, rtol=1e-5)


def test_over_short_distances_it_is_a_gaussian():
    prior = KernelDensity(100.0).fit(torch.zeros(1, 2), torch.tensor([0]), ["a", "b"])
    degree = EARTH_RADIUS_KM * math.pi / 180
    (found,) = prior.class_probabilities(torch.tensor([[2.0, 0.0]]))
    votes = math.exp(-((2 * degree / 100) ** 2) / 2)
    assert float(found[0]) == pytest.approx((votes + 2 / 3) / (votes + 1), abs=1e-4)


def test_it_is_frequency_times_density():
    """With many labels smoothing does not count, and Bayes' rule is what is left."""
    lonlat, labels = scattered(300)
    prior = KernelDensity(3000.0, 1e-9).fit(lonlat, labels, CLASSES)
    asked = scattered(20, seed=1)[0]
    sharpness = (EARTH_RADIUS_KM / 3000.0) ** 2
    joint = torch.zeros(20, 4, dtype=torch.float64)
    for c in range(4):
        of_class = lonlat[labels == c]
        for row, place in enumerate(asked.tolist()):
            angles = [kilometres(place, other) / EARTH_RADIUS_KM for other in of_class.tolist()]
            density = sum(math.exp(sharpness * (math.cos(a) - 1)) for a in angles) / len(of_class)
            joint[row, c] = len(of_class) / len(lonlat) * density
    expected = joint / joint.sum(1, keepdim=True)
    found = prior.class_probabilities(asked).double()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_far_from_all_labels_the_overall_frequency_is_left():
    prior = KernelDensity(100.0).fit(torch.zeros(8, 2), torch.tensor([0] * 6 + [1] * 2), "ab")
    far = prior.class_probabilities(torch.tensor([[30.0, 0.0], [180.0, 0.0]]))
    torch.testing.assert_close(far, torch.tensor([[0.7, 0.3]]).expand(2, 2))
