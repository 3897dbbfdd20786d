"""Two published checkpoints of TorchSpatial reproduce results that their authors published.

For every row the authors give the image model's probability of the true class and its product with
the location prior. The quotient is the prior's probability of the true class there, so the class
itself, which is not published, can be found again: the one whose probability agrees.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from layouts import unchanged_by_saving

from geocsp import import_checkpoint

FOLDER = Path(__file__).parents[3] / "shared" / "checkpoints" / "torchspatial"


class Published:
    def __init__(self, checkpoint, rows):
        if not FOLDER.is_dir():
            pytest.skip(f"PUBLISHED CHECKPOINTS WERE NOT COMPARED: {FOLDER} is not there")
        (path,) = FOLDER.glob(checkpoint)
        self.model = import_checkpoint(path)
        table = np.genfromtxt(FOLDER / rows, delimiter=",", names=True)
        self.places = torch.from_numpy(np.stack([table["lon"], table["lat"]], axis=1))
        self.image = table["image_true_class_prob"]
        self.rank = 1 / table["product_reciprocal_rank"]
        self.prior = table["product_true_class_prob"] / self.image
        self.probabilities = self.model.class_probabilities(self.places).double().numpy()
        self.apart = np.abs(self.probabilities / self.prior[:, None] - 1)
        self.true = self.apart.argmin(axis=1)
        self.rows = np.arange(len(table))


@pytest.fixture(
    scope="module",
    params=[
        ("model_fmow_Space2Vec-theory_*", "fmow_space2vec_theory_published.csv"),
        ("model_yfcc_Space2Vec-grid_*", "yfcc_space2vec_grid_published.csv"),
    ],
    ids=["fmow", "yfcc"],
)
def published(request):
    return Published(*request.param)


def test_every_published_row_is_the_probability_of_some_class(published):
    assert len(published.rows) == 4000
    assert published.apart.min(axis=1).max() < 3e-6  # their file gives float32


def test_it_is_the_probability_of_one_class_alone(published):
    alike = (published.apart < 3e-6).sum(axis=1)
    assert (alike == 1).mean() >= 0.999


def test_published_ranks_are_possible_given_our_probabilities(published):
    """A class is ranked before the true one only if the image model gives it enough.

    What the image model gives to all other classes is 1 - its probability of the true class, so
    only so many of them can come first, and none in many rows.
    """
    own = (published.image * published.prior)[:, None]
    needed = own / published.probabilities
    needed[published.rows, published.true] = np.inf
    needed = np.sort(needed, axis=1).cumsum(axis=1)
    possible = 1 + (needed <= (1 - published.image + 1e-5)[:, None]).sum(axis=1)
    assert (published.rank < possible + 0.5).all()
    first = possible == 1
    assert first.mean() > 1 / 3
    assert (published.rank[first] == 1).all()


def test_places_alone_find_as_many_true_classes_as_when_first_measured(published):
    known = {62: [687, 1201, 1497, 2076], 100: [566, 1134, 1520, 2091]}
    classes = published.probabilities.shape[1]
    own = published.probabilities[published.rows, published.true]
    before = (published.probabilities > own[:, None]).sum(axis=1)
    found = np.array([(before < k).sum() for k in (1, 3, 5, 10)])
    assert found.tolist() == pytest.approx(known[classes], abs=2)
    chance = len(before) * np.array([1, 3, 5, 10]) / classes
    assert (found > 3 * chance).all()
    commonest = np.sort(np.bincount(published.true, minlength=classes))[::-1].cumsum()
    assert (found > 1.15 * commonest[[0, 2, 4, 9]]).all()


def test_a_published_model_is_unchanged_by_saving(published, tmp_path):
    unchanged_by_saving(published.model, tmp_path)
