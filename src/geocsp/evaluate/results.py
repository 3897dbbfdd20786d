"""The run folder of an evaluation, for reports and comparisons.

results.json      settings, versions, data, rows, runs and comparisons
places.npz        where the images were taken, and in which block and region
priors/*          location priors of the first seed with the most labels
answers/*.npz     what every row of the table said about every test image
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from geocsp.errors import DataError
from geocsp.evaluate.answers import Answers
from geocsp.files import write_atomically

RESULTS_FILE = "results.json"
PLACES_FILE = "places.npz"
ANSWERS_FOLDER = "answers"
SUBSETS_FOLDER = "subsets"
PRIORS_FOLDER = "priors"


class Measure(StrEnum):
    """Whose answers are judged.

    ``IMAGE``: P(y | I); ``LOCATION``: P(y | x); ``PRODUCT``: their plain product, as published;
    ``FUSED``: calibrated on the validation rows; ``GUARDED``: calibrated, and backing off to the
    image where the place is not to be trusted.
    """

    IMAGE = "image"
    LOCATION = "location"
    PRODUCT = "product"
    FUSED = "fused"
    GUARDED = "guarded"


class Regime(StrEnum):
    """Which images pre-training has seen, none of them with a label.

    ``INDUCTIVE``: those of the training rows; ``TRANSDUCTIVE``: all, those of the test rows, too;
    ``NONE``: there is no pre-training.
    """

    INDUCTIVE = "inductive"
    TRANSDUCTIVE = "transductive"
    NONE = "none"


@dataclass(frozen=True)
class Run:
    """One row of the table, trained once with one amount of labels and tested on one fold.

    Attributes:
        task: name of the task, such as "landcover".
        shot: label of the amount of labels, such as "5 %" or "3 per class".
        row: short name of the row.
        regime: what pre-training has seen.
        fold: name of the test fold.
        seed: of labelled subset, weights and batches.
        labels: number of labelled images.
        measures: which answers there are.
        parameters: weights of the location prior, 0 without one.
        pretrain_seconds: wall time of pre-training, which all tasks and shots share.
        seconds: wall time of fine-tuning, image head and fusion.
        fusion: what was fitted on the validation rows, by measure.
    """

    task: str
    shot: str
    row: str
    regime: Regime
    fold: str
    seed: int
    labels: int
    measures: tuple[Measure, ...]
    parameters: int
    pretrain_seconds: float
    seconds: float
    fusion: Mapping[str, Mapping[str, Any]]

    @property
    def file(self) -> str:
        """Name of its file of answers, which it shares with the other shots."""
        return f"{self.task}-{self.row}-{self.regime}-{self.fold}-{self.seed}.npz"


@dataclass(frozen=True, eq=False)
class Results:
    """An evaluation that has ended.

    Attributes:
        folder: its run folder.
        facts: settings, versions, data (with "tasks": class names by task; "regions": names;
            "fingerprint"), rows (label and preset by short name), as in results.json.
        runs: all of them.
    """

    folder: Path
    facts: dict[str, Any]
    runs: tuple[Run, ...]

    @classmethod
    def read(cls, folder: Path) -> Results:
        """Read a run folder.

        Raises:
            DataError: it is none, is not complete, or is damaged.
        """
        path = folder / RESULTS_FILE
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            runs = tuple(run_of(values) for values in facts.pop("runs"))
        except FileNotFoundError:
            raise DataError(
                f"{folder} holds no finished evaluation: there is no {RESULTS_FILE}"
            ) from None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(f"{path} is damaged or of no evaluation ({error})") from error
        return cls(folder, facts, runs)

    def write(self) -> Path:
        """Write results.json, whole or not at all."""
        runs = [asdict(run) for run in self.runs]
        content = json.dumps(self.facts | {"runs": runs}, indent=1, allow_nan=False)
        return write_atomically(self.folder / RESULTS_FILE, content.encode())

    @cached_property
    def _places(self) -> dict[str, NDArray[Any]]:
        return read_arrays(self.folder / PLACES_FILE)

    @property
    def lonlat(self) -> NDArray[np.float64]:
        """Places of all images of the data set, ``(N, 2)`` degrees, NaN where there is none."""
        return self._places["lonlat"]

    @property
    def block(self) -> NDArray[np.int64]:
        """Spatial block of every image, ``(N,)``: what intervals resample. Own one if no place."""
        return self._places["block"]

    @property
    def region(self) -> NDArray[np.int64]:
        """Region of every image, ``(N,)``: index into the names in facts, -1 without a place."""
        return self._places["region"]

    def test_rows(self, run: Run) -> NDArray[np.int64]:
        """Numbers of the rows of the data set that a run was tested on, ``(T,)``."""
        return self._file(run, "rows")["rows"]

    def subset(self, run: Run) -> NDArray[np.int64]:
        """Numbers of the rows of the data set that had a label, ``(n,)``."""
        path = self.folder / SUBSETS_FOLDER / f"{run.task}-{run.fold}-{run.seed}.npz"
        return read_arrays(path)[run.shot]

    def prior_folder(self, run: Run) -> Path:
        """Folder of the location prior with the most labels, for the first seed, if it was kept."""
        return self.folder / PRIORS_FOLDER / Path(run.file).stem

    def km(self, run: Run) -> NDArray[np.float32]:
        """From each test row to the nearest labelled place, ``(T,)`` km; NaN without a place."""
        return self._file(run, f"{run.shot}/km")[f"{run.shot}/km"]

    def answers(self, run: Run, measure: Measure) -> Answers:
        """What a run said about its test rows.

        Raises:
            DataError: the run has no such measure, or its file is missing or damaged.
        """
        if measure not in run.measures:
            raise DataError(f"row {run.row} has no {measure}; it has {', '.join(run.measures)}")
        start = f"{run.shot}/{measure}/"
        stored: dict[str, Any] = {
            name.removeprefix(start): array for name, array in self._file(run, start).items()
        }
        return Answers(**stored, classes=len(self.facts["data"]["tasks"][run.task]))

    def _file(self, run: Run, start: str) -> dict[str, NDArray[Any]]:
        return read_arrays(self.folder / ANSWERS_FOLDER / run.file, start)


def read_arrays(path: Path, start: str = "") -> dict[str, NDArray[Any]]:
    """Named arrays of a file, of those whose names start in this way.

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files if name.startswith(start)}
    except (OSError, ValueError, TypeError, EOFError, zlib.error, BadZipFile) as error:
        raise DataError(f"{path} is missing or damaged ({error})") from error


def run_of(values: dict[str, Any]) -> Run:
    """A run from its values in results.json."""
    values["regime"] = Regime(values["regime"])
    values["measures"] = tuple(Measure(measure) for measure in values["measures"])
    return Run(**values)
