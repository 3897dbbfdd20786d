"""Which columns beside the scores are what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from geocsp.data.columns.coordinates import PlaceColumns, place_columns
from geocsp.data.options import listing, simple
from geocsp.errors import DataError
from geocsp.scores.options import ScoreOptions
from geocsp.scores.raw import RawScores

_IDENTITIES = ("id", "rowid", "observationid", "observationuuid", "occurrenceid", "gbifid", "uuid")
_STAMP = ("date", "hour")
"""How tables that geocsp writes hold times: a fraction of the year, and hours."""


@dataclass(frozen=True)
class Roles:
    """Columns that are no scores.

    Attributes:
        places: where the images are.
        identity: what names a row; None: its number.
        times: the moment, or the date and the hour; empty if unknown.
        label: the right class; None if unknown.
        notes: what was guessed, and what is not used.
    """

    places: PlaceColumns
    identity: str | None
    times: tuple[str, ...]
    label: str | None
    notes: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """The columns to read."""
        named = (*self.places.names, self.identity, *self.times, self.label)
        return list(dict.fromkeys(name for name in named if name is not None))

    @classmethod
    def of(cls, table: RawScores, classes: Sequence[str], options: ScoreOptions) -> Roles:
        """Find them.

        Args:
            table: where they are.
            classes: columns that are scores.
            options: what the user said.

        Raises:
            DataError: there are no places, or a column that was named is not there.
        """
        known = set(classes)
        free = [name for name in table.names if name not in known]
        found = options.columns.resolve(free, table.source)
        identity = _identity(free, found, options.identity, table.source)
        times: tuple[str, ...] = (found["time"],) if "time" in found else ()
        if options.columns.time is None and set(_STAMP) <= table.decimals - known:
            times = _STAMP
        places = place_columns(free, found, options.crs, table.source)
        label = found.get("label")
        used = {*places.names, identity, *times, label}
        notes = options.columns.notes(
            {r: n for r, n in found.items() if n in used and r != "image"}
        )
        unused = [name for name in free if name not in used | set(found.values())]
        if unused:
            notes.append(f"columns that are no class of the prior are not used: {listing(unused)}")
        return cls(places, identity, times, label, tuple(notes))


def _identity(
    names: Sequence[str], found: Mapping[str, str], named: str | None, where: str
) -> str | None:
    if named is not None:
        if named in names:
            return named
        raise DataError(
            f"{where} has no column {named!r} to identify rows; its columns are {listing(names)}"
        )
    known = {simple(name): name for name in reversed(names)}
    guessed = next((known[name] for name in _IDENTITIES if name in known), None)
    return guessed or found.get("image")
