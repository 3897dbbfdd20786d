"""From scores to a file of predictions with and without the place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from geocsp.data.quarantine import quarantine_beside
from geocsp.errors import DataError
from geocsp.evaluate.answers import Answers, join
from geocsp.evaluate.classification import classification_metrics
from geocsp.fusion import Fusion, GuardedFusion
from geocsp.linear_prior import LinearPrior
from geocsp.model import GeoPrior
from geocsp.predict import fuse
from geocsp.scores.blocks import ScoreBlock, Scores
from geocsp.scores.options import PredictOptions
from geocsp.scores.writing import Predictions, writing


@dataclass(frozen=True)
class Predicted:
    """What a run of predictions did.

    Attributes:
        rows: predictions written.
        placed: those of them that have a place; the others are the image's own.
        changed: those whose likeliest class the place changed.
        left_out: rows that could not be used.
        metrics: of labelled rows, by "image" and "fused": "top1", "top5" and so on, see
            :func:`geocsp.evaluate.classification.classification_metrics`; empty without labels.
        labelled: how many rows have a label.
        notes: what was guessed or repaired.
    """

    rows: int
    placed: int
    changed: int
    left_out: int
    labelled: int
    metrics: dict[str, dict[str, float]]
    notes: tuple[str, ...]


def predict(
    scores: Scores,
    prior: GeoPrior | LinearPrior,
    output: str | Path,
    *,
    fusion: Fusion | GuardedFusion | None = None,
    options: PredictOptions | None = None,
    on_rows: Callable[[int], None] | None = None,
) -> Predicted:
    """Write what an image classifier says with and without the place of each image.

    In bounded memory: rows are read, fused and written block by block. The file has its name when
    it is whole. Rows that cannot be used are listed beside it, ``predictions.parquet`` in
    ``predictions.quarantine.csv``.

    Args:
        scores: :class:`geocsp.scores.ScoreTable` or :class:`geocsp.scores.ImageScores`.
        prior: the location prior, over the same classes.
        output: ``.parquet`` or ``.csv``; see :class:`geocsp.scores.writing.Predictions` for the
            columns.
        fusion: what joins image and place; the plain product if left out.
        options: what to write.
        on_rows: told how many rows have been read.

    Raises:
        DataError: the scores cannot be read any further, no row of them can be used, or the file
            cannot be written.
    """
    output = Path(output)
    made = Predictions(prior.class_names, options or PredictOptions())
    counted = _Counted()
    with writing(output) as writer, quarantine_beside(output) as quarantine:
        for block in scores.blocks(quarantine.add):
            if len(block):
                fused = fuse(block.image, prior, block.lonlat, fusion, block.time)
                writer.write_table(made.table(block, fused))
                counted.add(block, fused)
            counted.seen += block.seen
            if on_rows is not None:
                on_rows(counted.seen)
        if not counted.rows:
            first = f"; the first: {quarantine.first}" if quarantine.first else ""
            raise DataError(f"no row can be used{first}")
        left_out = quarantine.count
    return Predicted(
        rows=counted.rows,
        placed=counted.placed,
        changed=counted.changed,
        left_out=left_out,
        labelled=counted.labelled,
        metrics=counted.metrics(),
        notes=tuple(scores.notes),
    )


class _Counted:
    """Counts, and answers to labelled rows."""

    def __init__(self) -> None:
        self.seen = self.rows = self.placed = self.changed = self.labelled = 0
        self._answers: dict[str, list[Answers]] = {"image": [], "fused": []}

    def add(self, block: ScoreBlock, fused: Tensor) -> None:
        self.rows += len(block)
        self.placed += int(block.placed.sum())
        self.changed += int((block.image.argmax(1) != fused.argmax(1)).sum())
        if block.labels is None:
            return
        known = block.labels >= 0
        if bool(known.any()):
            self.labelled += int(known.sum())
            for name, said in (("image", block.image), ("fused", fused)):
                logits = said[known].double().log()
                self._answers[name].append(Answers.of(logits, block.labels[known]))

    def metrics(self) -> dict[str, dict[str, float]]:
        return {
            name: classification_metrics(join(parts))
            for name, parts in self._answers.items()
            if parts
        }
