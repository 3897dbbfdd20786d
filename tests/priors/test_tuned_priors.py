import math

import numpy as np
import pytest
import torch

import geocsp
from geocsp.coords import sample_sphere
from geocsp.errors import DataError
from geocsp.priors import default_grid, fit_prior

NAMES = ("frequency", "grid-histogram", "kde", "knn")


def stripes(count, seed, width=40.0):
    """Classes in stripes of longitude."""
    lonlat = sample_sphere(count, torch.Generator().manual_seed(seed))
    return lonlat, ((lonlat[:, 0] + 180) // width).long() % 3


def nll(prior, lonlat, labels):
    probabilities = prior.class_probabilities(lonlat).double().numpy()
    return -float(np.log(probabilities[np.arange(len(labels)), labels.numpy()]).mean())


@pytest.mark.parametrize("name", NAMES)
def test_the_settings_with_the_likeliest_held_out_labels_are_chosen(name):
    train, held = stripes(400, 1), stripes(150, 2)
    prior, settings = fit_prior(name, default_grid(name), *train, "abc", *held)
    assert settings in default_grid(name)
    assert prior.recipe == {"name": name, "settings": settings}
    every = [
        nll(geocsp.create("prior", name, **one).fit(*train, "abc"), *held)
        for one in default_grid(name)
    ]
    assert nll(prior, *held) == pytest.approx(min(every), abs=1e-6)
    assert len(every) == 1 or max(every) > min(every) + 0.05


@pytest.mark.parametrize("name", NAMES[1:])
def test_where_places_tell_classes_it_beats_their_frequency(name):
    train, held, test = (stripes(1000, seed) for seed in (1, 2, 3))
    prior, _ = fit_prior(name, default_grid(name), *train, "abc", *held)
    overall, _ = fit_prior("frequency", default_grid("frequency"), *train, "abc", *held)
    assert nll(overall, *test) == pytest.approx(math.log(3), abs=0.02)
    assert nll(prior, *test) < 0.6
    right = (prior.class_scores(test[0]).argmax(1) == test[1]).float().mean()
    assert float(right) > 0.8


@pytest.mark.parametrize("name", NAMES)
def test_with_few_labels_it_is_not_far_from_frequency(name):
    """One label of each class, and places that tell nothing."""
    generator = torch.Generator().manual_seed(0)
    train = sample_sphere(3, generator), torch.arange(3)
    held, test = (
        (sample_sphere(300, generator), torch.randint(0, 3, (300,), generator=generator))
        for _ in range(2)
    )
    prior, _ = fit_prior(name, default_grid(name), *train, "abc", *held)
    assert nll(prior, *test) < math.log(3) + 0.15


def test_the_first_of_equals_is_taken():
    train, held = stripes(50, 1), stripes(20, 2)
    grid = ({"neighbours": 60}, {"neighbours": 70})
    assert fit_prior("knn", grid, *train, "abc", *held).settings == {"neighbours": 60}


def test_bad_input_is_told():
    train, held = stripes(50, 1), stripes(20, 2)
    with pytest.raises(DataError, match="grid of settings for knn is empty"):
        fit_prior("knn", (), *train, "abc", *held)
    with pytest.raises(DataError, match="need one label per row"):
        fit_prior("knn", ({},), *train, "abc", torch.empty(0, 2), torch.empty(0).long())
    with pytest.raises(DataError, match="label of row 0 is 5"):
        fit_prior("knn", ({},), *train, "abc", held[0], torch.full((20,), 5))
    with pytest.raises(ValueError, match="no prior 'oracle'"):
        fit_prior("oracle", ({},), *train, "abc", *held)
    with pytest.raises(ValueError, match="bandwidth"):
        fit_prior("knn", ({"bandwidth": 3},), *train, "abc", *held)
