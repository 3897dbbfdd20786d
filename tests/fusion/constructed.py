"""Tasks of which it is known what the place says about the class."""

from dataclasses import dataclass

import torch
from torch import Tensor

import geocsp
from geocsp.coords import sample_sphere
from geocsp.fusion import Support

CLASSES = 6


@dataclass(frozen=True)
class Task:
    """Held-out and test rows; of a pair, the first is of the held-out rows."""

    log_image: tuple[Tensor, Tensor]
    scores: tuple[Tensor, Tensor]
    labels: tuple[Tensor, Tensor]
    lonlat: tuple[Tensor, Tensor]
    support: Support

    def held_out(self):
        return (self.log_image[0], self.scores[0], self.labels[0])

    def accuracy(self, logits):
        """Of the test rows, percent."""
        return 100 * float((logits.argmax(1) == self.labels[1]).double().mean())

    def image_alone(self):
        return self.accuracy(self.log_image[1])


def hemisphere(count, generator, north=None):
    places = sample_sphere(count, generator)
    if north is not None:
        places[:, 1] = places[:, 1].abs() * (1 if north else -1)
    return places


def sectors(lonlat, swapped):
    """A class for each sixth of the longitudes; three sixths further in the south, if swapped."""
    sector = ((lonlat[:, 0] + 180) / 360 * CLASSES).long().clamp(0, CLASSES - 1)
    south = lonlat[:, 1] < 0
    return torch.where(south & swapped, (sector + CLASSES // 2) % CLASSES, sector)


def image_of(labels, generator):
    """Overconfident answers of an image classifier that is right six times in ten."""
    logits = torch.randn(len(labels), CLASSES, generator=generator)
    logits[torch.arange(len(labels)), labels] += 1.5
    return (2 * logits).log_softmax(1)


def task(seed, *, informative=True, swapped=False, held_out_north=None):
    """150 training labels, 400 held-out rows and 2000 test rows from anywhere.

    Args:
        seed: of everything.
        informative: whether 7 in 10 classes go with the longitude, or none.
        swapped: the south has other classes, and all training labels are from the north.
        held_out_north: whether the held-out rows are from there alone.
    """
    generator = torch.Generator().manual_seed(seed)
    lonlat = [
        hemisphere(150, generator, True if swapped else None),
        hemisphere(400, generator, True if held_out_north else None),
        hemisphere(2000, generator),
    ]
    labels = []
    for places in lonlat:
        by_place = sectors(places, torch.tensor(swapped))
        other = torch.randint(CLASSES, (len(places),), generator=generator)
        goes = torch.rand(len(places), generator=generator) < (0.7 if informative else 0.0)
        labels.append(torch.where(goes, by_place, other))
    prior = geocsp.create("prior", "knn").fit(lonlat[0], labels[0], [*"abcdef"])
    return Task(
        log_image=(image_of(labels[1], generator), image_of(labels[2], generator)),
        scores=(prior.class_scores(lonlat[1]), prior.class_scores(lonlat[2])),
        labels=(labels[1], labels[2]),
        lonlat=(lonlat[1], lonlat[2]),
        support=Support(lonlat[0]),
    )
