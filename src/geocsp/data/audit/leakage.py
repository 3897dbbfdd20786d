"""How near the images that are tested on are to those that are trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from geocsp.data.audit.coordinates import distinct_places, has_place, nearest_km
from geocsp.data.audit.findings import Finding, Severity, Topic
from geocsp.data.images import Integers
from geocsp.data.table import Categories, GeoTable

DISTANCES_KM = (0.0, 0.1, 1.0, 10.0, 100.0)
"""Distances to report; 0 is the same place."""
MAX_SPLITS = 20
"""With more different values than this, a column is taken for something else than splits."""
RANDOM_FIFTH = "random fifth"
THE_REST = "rest"
_TRAINING = ("train", "training")
_NEAR_KM = 1.0
_MANY = 0.1

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Near:
    """Held-out images with a training image so near.

    Attributes:
        km: at this great-circle distance or less; 0: at the same place.
        rows: so many.
        share: of the held-out images with a place, in [0, 1].
    """

    km: float
    rows: int
    share: float


@dataclass(frozen=True)
class Leakage:
    """What a held-out split shares with the images trained on.

    Attributes:
        held_out: name of the split.
        against: what is trained on.
        rows: held-out images.
        training_rows: images trained on.
        near: shares by distance; none where no place is known on either side.
        same_group: held-out images whose group is trained on as well; None without groups.
        same_file: held-out images that are trained on; None if the images were not read.
        same_picture: held-out images like one that is trained on, the same files among them;
            None as above.
        unseen_class: held-out images of a class that is never trained on; None without labels.
    """

    held_out: str
    against: str
    rows: int
    training_rows: int
    near: tuple[Near, ...]
    same_group: int | None
    same_file: int | None
    same_picture: int | None
    unseen_class: int | None

    def within(self, km: float) -> Near:
        """Held-out images with a training image at one of :data:`DISTANCES_KM`."""
        return next((near for near in self.near if near.km == km), Near(km, 0, 0.0))


def leakage_of(
    table: GeoTable, file: Integers | None, likes: csr_array | None, seed: int
) -> tuple[Leakage, ...]:
    """Compare every held-out split with the training split.

    Without a split called "train" or "training", every split is compared with all others, as in
    cross-validation. Without splits, a random fifth of the images is compared with the rest:
    what a random split would be worth.

    Args:
        table: N rows.
        file: ``(N,)`` number of each row's file.
        likes: ``(F, F)`` which files show the same picture.
        seed: which fifth.
    """
    group = table.group.codes if table.group else None
    return tuple(
        Leakage(
            held_out=held_out,
            against=against,
            rows=int(held.sum()),
            training_rows=int(trained.sum()),
            near=_near(table, held, trained),
            same_group=None if group is None else _shared(group, held, trained),
            same_file=None if file is None else _shared(file, held, trained),
            same_picture=_alike(file, likes, held, trained),
            unseen_class=_unseen(table.label, held, trained),
        )
        for held_out, against, held, trained in _pairs(table, seed)
        if held.any() and trained.any()
    )


def _pairs(table: GeoTable, seed: int) -> Iterator[tuple[str, str, Mask, Mask]]:
    """Names of a held-out split and of what it is held against, and the rows of both."""
    if not has_splits(table.split):
        fifth = np.random.default_rng(seed).permutation(len(table)) < len(table) // 5
        yield RANDOM_FIFTH, THE_REST, fifth, ~fifth
        return
    assert table.split is not None
    codes, names = table.split.codes, table.split.names
    used = np.unique(codes[codes >= 0]).tolist()
    train = next((n for n in used if names[n].lower() in _TRAINING), None)
    for number in used:
        name = names[number]
        if train is None:
            yield name, THE_REST, codes == number, (codes != number) & (codes >= 0)
        elif number != train:
            yield name, names[train], codes == number, codes == train


def has_splits(split: Categories | None) -> bool:
    """Whether there are at least two splits, and not so many that they must be something else."""
    used = 0 if split is None else len(np.unique(split.codes[split.codes >= 0]))
    return 2 <= used <= MAX_SPLITS


def _near(table: GeoTable, held: Mask, trained: Mask) -> tuple[Near, ...]:
    placed = has_place(table.lonlat)
    if not (held & placed).any() or not (trained & placed).any():
        return ()
    places, index = distinct_places(table.lonlat[held & placed])
    training_places, _ = distinct_places(table.lonlat[trained & placed])
    distance = nearest_km(places, training_places)[index]
    counts = [(km, int((distance <= km).sum())) for km in DISTANCES_KM]
    return tuple(Near(km, rows, rows / len(distance)) for km, rows in counts)


def _shared(codes: Integers, held: Mask, trained: Mask) -> int:
    """Held-out rows whose known code some training row has as well."""
    known = codes[trained]
    mine = codes[held]
    return int((np.isin(mine, known) & (mine >= 0)).sum())


def _alike(file: Integers | None, likes: csr_array | None, held: Mask, trained: Mask) -> int | None:
    """Held-out rows whose file, or one that shows the same picture, some training row has."""
    if file is None or likes is None:
        return None
    has = np.zeros(likes.shape[0], dtype=bool)
    has[file[trained]] = True
    near = has | (likes @ has.astype(np.int64) > 0)
    return int(near[file[held]].sum())


def _unseen(label: Categories | None, held: Mask, trained: Mask) -> int | None:
    if label is None:
        return None
    mine = label.codes[held]
    return int((mine >= 0).sum()) - _shared(label.codes, held, trained)


def findings_of_splits(table: GeoTable, leakage: tuple[Leakage, ...]) -> list[Finding]:
    """What makes tests on held-out splits too good, or impossible."""
    if not has_splits(table.split):
        return _without_splits(table, leakage)
    found = []
    assert table.split is not None
    if left := int((table.split.codes < 0).sum()):
        message = "in no split"
        found.append(Finding(Severity.INFO, Topic.SPLITS, left, message))
    for pair in leakage:
        found += _findings_of_pair(pair)
    return found


def _findings_of_pair(pair: Leakage) -> list[Finding]:
    of = f"of {pair.held_out!r}"
    near, same = pair.within(_NEAR_KM), pair.within(0.0).rows
    counts = (
        (pair.same_group, Severity.WARNING, f"{of} whose group is in {pair.against!r} as well"),
        (same, Severity.WARNING, f"{of} at the very place of an image of {pair.against!r}"),
        (pair.unseen_class, Severity.INFO, f"{of} in a class that {pair.against!r} lacks"),
    )
    found = [Finding(how, Topic.SPLITS, rows, message) for rows, how, message in counts if rows]
    if near.rows > same and near.share >= _MANY:
        message = (
            f"{of} within 1 km of an image of {pair.against!r}: split by spatial blocks "
            "(docs/splits.md)"
        )
        found.append(Finding(Severity.WARNING, Topic.SPLITS, near.rows, message))
    return found


def _without_splits(table: GeoTable, leakage: tuple[Leakage, ...]) -> list[Finding]:
    found = []
    values = 0 if table.split is None else len(np.unique(table.split.codes[table.split.codes >= 0]))
    if values > MAX_SPLITS:
        message = f"in {values:,} splits: is that column one of splits? Name it: --split-column"
        found.append(Finding(Severity.WARNING, Topic.SPLITS, len(table), message))
    for pair in leakage:
        share = pair.within(_NEAR_KM).share
        message = (
            f"not split. With a random fifth held out, {100 * share:.0f} % of it would be within "
            "1 km of a training image; spatial blocks keep apart what is near (docs/splits.md)"
        )
        found.append(Finding(Severity.INFO, Topic.SPLITS, len(table), message))
    return found
