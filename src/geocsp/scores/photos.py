"""What a classifier's own image head says of images, block by block."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from geocsp.classifier import GeoClassifier
from geocsp.images.features import Features
from geocsp.scores.blocks import (
    Report,
    ScoreBlock,
    Scores,
    labels_of,
    rows_per_block,
    takes_time,
)


class ImageScores(Scores):
    """Images by their features, of which the classifier's head makes probabilities.

    Args:
        features: of the classifier's image encoder, with the table that they belong to.
        classifier: it.
    """

    def __init__(self, features: Features, classifier: GeoClassifier) -> None:
        self.rows = len(features)
        self._features, self._classifier = features, classifier

    @property
    def notes(self) -> list[str]:
        """What was guessed or repaired when the images were read."""
        return list(self._features.table.notes)

    def blocks(self, report: Report) -> Iterator[ScoreBlock]:
        """All images; those that could not be read are reported."""
        table, classes = self._features.table, self._classifier.class_names
        report(table.problems)
        timed = takes_time(self._classifier.prior) and table.time is not None
        number = torch.tensor([*labels_of(table.class_names, classes), -1])
        for rows in torch.arange(len(self._features)).split(rows_per_block(len(classes))):
            features = self._features.gather(rows)
            start, stop = int(rows[0]), int(rows[-1]) + 1
            yield ScoreBlock(
                ids=table.images.names.slice(start, len(rows)).combine_chunks(),
                image=self._classifier.image_probabilities(features),
                lonlat=torch.from_numpy(table.lonlat[start:stop]),
                time=torch.from_numpy(table.time[start:stop])
                if timed and table.time is not None
                else None,
                labels=None
                if table.label is None
                else number[torch.from_numpy(table.labels[start:stop])],
                seen=len(rows),
            )
