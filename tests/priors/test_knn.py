import pytest
import torch
from slow_priors import CLASSES, kilometres, mixed, scattered

from geocsp.priors import NearestNeighbours


def slow_votes(place, lonlat, neighbours, weighted):
    """One vote for each label; those level with the last that counts share what is left."""
    km = [kilometres(place, other) for other in lonlat]
    last = sorted(km)[min(neighbours, len(km)) - 1]
    closer = [d < last - 1e-6 for d in km]
    level = [abs(d - last) <= 1e-6 for d in km]
    share = min(1.0, (neighbours - sum(closer)) / sum(level))
    votes = [c + share * same for c, same in zip(closer, level, strict=True)]
    if weighted:
        votes = [v * (min(km) + 1) / (d + 1) for v, d in zip(votes, km, strict=True)]
    return votes


def slow(asked, lonlat, labels, prior):
    rows = []
    for place in asked.tolist():
        votes = slow_votes(place, lonlat.tolist(), prior.neighbours, prior.weighted)
        rows.append(mixed(votes, labels.tolist(), prior.smoothing))
    return torch.tensor(rows)


@pytest.mark.parametrize("neighbours", [1, 2, 7, 150, 1000])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_nearest_labels_vote(neighbours, weighted):
    lonlat, labels = scattered(150)
    asked = torch.cat([scattered(40, seed=1)[0], torch.tensor([[180.0, 3], [9, 90], [0, -90]])])
    prior = NearestNeighbours(neighbours, 0.5, weighted).fit(lonlat, labels, CLASSES)
    expected = slow(asked, lonlat, labels, prior)
    torch.testing.assert_close(prior.class_probabilities(asked), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("neighbours", [1, 3, 4, 9, 30])
@pytest.mark.parametrize("weighted", [False, True])
def test_labels_at_one_distance_share_the_votes(neighbours, weighted):
    """On a coarse lattice, several labels at a place, asked at places, corners and poles."""
    generator = torch.Generator().manual_seed(0)
    axes = torch.arange(-180, 180, 30).double(), torch.arange(-60, 61, 30).double()
    lattice = torch.cartesian_prod(*axes)
    rows = torch.randint(0, len(lattice), (200,), generator=generator)
    lonlat, labels = lattice[rows], torch.randint(0, 4, (200,), generator=generator)
    edges = torch.tensor([[0.0, 90], [0, -90], [15, 0], [-165, 0], [180, 30]])
    asked = torch.cat([lattice[:20], lattice[:20] + 15, edges])
    prior = NearestNeighbours(neighbours, 1.0, weighted).fit(lonlat, labels, CLASSES)
    expected = slow(asked, lonlat, labels, prior)
    torch.testing.assert_close(prior.class_probabilities(asked), expected, atol=1e-6, rtol=1e-5)


def test_many_labels_around_a_pole_are_level():
    lonlat = torch.stack([torch.linspace(-180, 179, 360), torch.full((360,), 60.0)], dim=1)
    labels = (torch.arange(360) >= 90).long()
    prior = NearestNeighbours(2, 1e-9).fit(lonlat, labels, ["a", "b"])
    found = prior.class_probabilities(torch.tensor([[10.0, 90.0], [-80.0, 90.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.25, 0.75]]).expand(2, 2))


def test_labels_at_one_place_count_each():
    lonlat = torch.tensor([[0.0, 0.0]] * 3 + [[1.0, 0.0]])
    prior = NearestNeighbours(2, 1e-9).fit(lonlat, torch.tensor([0, 0, 1, 1]), ["a", "b"])
    (found,) = prior.class_probabilities(torch.tensor([[0.1, 0.0]]))
    torch.testing.assert_close(found, torch.tensor([2 / 3, 1 / 3]))
