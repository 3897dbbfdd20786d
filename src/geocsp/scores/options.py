"""How to read a table of scores, and what to write of the predictions."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from geocsp.data.options import Columns
from geocsp.predict import ScoreKind


@dataclass(frozen=True)
class ScoreOptions:
    """How to read a table of scores.

    Attributes:
        kind: whether the scores are probabilities or logits.
        columns: which column is the longitude, the latitude, the time and the label; None: guess
            from its name. No column that is named for a class is guessed to be anything else.
        identity: column that identifies a row; None: one named id or image, or else its number.
        crs: reference system of the coordinates, such as "EPSG:32632"; None: degrees.
        classes: text file that names the columns of an array, one name on each line; None: what
            an NPZ file says itself, or else their numbers, from "0".
        places: table with coordinates, and what else is known, of the same rows in the same order;
            None: the table of scores has them itself.
    """

    kind: ScoreKind = ScoreKind.PROBABILITIES
    columns: Columns = field(default_factory=Columns)
    identity: str | None = None
    crs: str | None = None
    classes: Path | None = None
    places: Path | None = None


@dataclass(frozen=True)
class PredictOptions:
    """What to write of each prediction.

    Attributes:
        top: how many of the likeliest classes to name.
        every_class: also write the probability of every class, in a column of its name.
    """

    top: int = 5
    every_class: bool = False

    def __post_init__(self) -> None:
        """Refuse less than the likeliest class."""
        if self.top < 1:
            raise ValueError(f"name at least one class, not {self.top}")
