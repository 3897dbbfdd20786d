"""Tables of scores as rows that are ready to be fused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from geocsp.arrays import class_order
from geocsp.data.assemble import Sieve
from geocsp.data.columns.moments import times_from
from geocsp.data.columns.numerals import numerals
from geocsp.data.images import Integers
from geocsp.data.quarantine import Problem
from geocsp.data.table import Categories, Floats
from geocsp.errors import DataError
from geocsp.linear_prior import LinearPrior
from geocsp.model import GeoPrior
from geocsp.predict import WHY_NOT, probabilities_of, usable
from geocsp.scores.blocks import Report, ScoreBlock, Scores, labels_of, takes_time
from geocsp.scores.opened import PlaceTable, open_scores
from geocsp.scores.options import ScoreOptions
from geocsp.scores.raw import RawBlock, RawScores
from geocsp.scores.roles import Roles


class ScoreTable(Scores):
    """Scores of an image classifier in a file, with the places of the images.

    Args:
        source: Parquet (file, folder or URL), CSV or TSV, NPY or NPZ.
        prior: to whose classes the columns are matched, by name.
        options: how to read it.

    Raises:
        DataError: it cannot be read, lacks classes or coordinates, or has other rows than the
            table of places.
    """

    def __init__(self, source: str, prior: GeoPrior | LinearPrior, options: ScoreOptions) -> None:
        self._raw = open_scores(source, options.classes)
        self._classes, self._kind = prior.class_names, options.kind
        class_order(self._raw.names, self._classes, source)
        self._timed = takes_time(prior)
        self._places = None if options.places is None else PlaceTable(options.places)
        if self._places is None:
            self._roles = _own_roles(self._raw, self._classes, options)
        else:
            self._roles = Roles.of(self._places.raw, (), options)
            self._places.load(self._roles.columns)
        self.rows = self._raw.rows
        if self._places is not None and self.rows is not None:
            self._places.check(self.rows, source)
        self._sieve = Sieve(keep_unplaced=True)
        self._told = dict.fromkeys([*self._roles.notes, *self._roles.places.notes])
        self._unread = self._strangers = 0

    @property
    def notes(self) -> list[str]:
        """What was guessed or repaired; complete after the last block."""
        told = [*self._told, *self._sieve.notes]
        if self._unread:
            told.append(f"{self._unread:,} times could not be read and count as unknown")
        if self._strangers:
            told.append(f"{self._strangers:,} labels are no class of the prior; they do not count")
        return told

    def blocks(self, report: Report) -> Iterator[ScoreBlock]:
        """All usable rows."""
        beside = self._roles.columns if self._places is None else []
        count = 0
        for raw in self._raw.blocks(self._classes, beside, report):
            if not len(raw.rows):
                continue
            index = raw.before + raw.rows
            count = int(index[-1]) + 1
            known = raw.beside
            if self._places is not None:
                known = self._places.take(index, self._raw.source)
            yield self._block(raw, known, index, report)
        if self._places is not None:
            self._places.check(count, self._raw.source)

    def _block(
        self, raw: RawBlock, known: Mapping[str, pa.Array], index: Integers, report: Report
    ) -> ScoreBlock:
        scores = torch.from_numpy(raw.scores)
        good = usable(scores, self._kind)
        good[list(raw.unreadable)] = False
        report(self._bad(raw, good))
        found = self._roles.places.read(known)
        self._told |= dict.fromkeys(found.notes)
        lonlat, _ = self._sieve.sift(
            found.lonlat, None, lambda row: (raw.file, int(raw.rows[row])), found.unreadable
        )
        image = probabilities_of(scores[good], self._kind, int(good.sum()), len(self._classes))
        return ScoreBlock(
            ids=self._ids(known, index).filter(pa.array(good.numpy())),
            image=image / image.sum(dim=1, keepdim=True),
            lonlat=torch.from_numpy(lonlat)[good],
            time=self._times(known, lonlat, good),
            labels=self._labels(known, good),
            seen=len(good),
        )

    def _bad(self, raw: RawBlock, good: Tensor) -> Iterator[Problem]:
        for row in (~good).nonzero()[:, 0].tolist():
            reason = raw.unreadable.get(row) or f"the {self._kind.value} {WHY_NOT[self._kind]}"
            yield Problem(raw.file, int(raw.rows[row]), reason)

    def _ids(self, known: Mapping[str, pa.Array], index: Integers) -> pa.Array:
        if self._roles.identity is None:
            return pa.array(index)
        column = known[self._roles.identity]
        return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column

    def _times(self, known: Mapping[str, pa.Array], lonlat: Floats, good: Tensor) -> Tensor | None:
        names = self._roles.times
        if not self._timed or not names:
            return None
        if len(names) == 2:
            time = np.stack([numerals(known[name], name).values for name in names], axis=1)
        else:
            time, unread = times_from(pa.chunked_array([known[names[0]]]), lonlat[:, 0])
            self._unread += unread
        return torch.from_numpy(time)[good]

    def _labels(self, known: Mapping[str, pa.Array], good: Tensor) -> Tensor | None:
        if self._roles.label is None:
            return None
        given = Categories.of(known[self._roles.label])
        codes = torch.from_numpy(given.codes)
        labels = torch.tensor([*labels_of(given.names, self._classes), -1])[codes]
        self._strangers += int(((labels < 0) & (codes >= 0)).sum())
        return labels[good]


def _own_roles(raw: RawScores, classes: tuple[str, ...], options: ScoreOptions) -> Roles:
    try:
        return Roles.of(raw, classes, options)
    except DataError as error:
        raise DataError(
            f"{error}; or name a table of places with the same rows: ScoreOptions(places=...), on "
            "the command line --places"
        ) from error
