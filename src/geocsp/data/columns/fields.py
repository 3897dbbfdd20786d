"""Which of the nested fields of a sample is its place, its time, its class."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from geocsp.data.options import Columns, listing, simple
from geocsp.errors import DataError

ROLES = ("lon", "lat", "time", "label", "split", "group")
"""What :class:`Fields` looks for, in the order of its answer."""

_DEPTH = 5
_KEPT = 1000
_BESIDE = ("", "properties", "metadata", "meta", "attributes")
_PAIRS = {
    "coordinates": False,
    "lonlat": False,
    "lnglat": False,
    "coords": False,
    "point": False,
    "latlon": True,
    "latlng": True,
}
_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


def flatten(nested: Mapping[str, Any]) -> dict[str, Any]:
    """Fields in fields as ``{"location.lat": 48.9}``, the outer ones first; lists stay whole."""
    flat: dict[str, Any] = {}
    level: list[tuple[str, Mapping[str, Any]]] = [("", nested)]
    for _ in range(_DEPTH):
        inner = []
        for prefix, found in level:
            for name, value in found.items():
                if isinstance(value, Mapping):
                    inner.append((f"{prefix}{name}.", value))
                else:
                    flat.setdefault(f"{prefix}{name}", value)
        level = inner
    return flat


@dataclass
class Fields:
    """Finds the roles of samples; fields seen before are not thought about again.

    Places count wherever they are nested, other roles beside the sample's own fields or in its
    "properties". A place may also be a pair in a field such as "coordinates" or "lonlat", longitude
    first as in GeoJSON (RFC 7946, section 3.1.1), or "latlon".

    Attributes:
        columns: the fields that the user named; those in fields with dots, as "location.lat".
    """

    columns: Columns
    _found: set[str] = field(default_factory=set, repr=False)
    _pairs: dict[str, bool] = field(default_factory=dict, repr=False)
    _known: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict, repr=False)

    def of(self, sample: Mapping[str, Any]) -> list[Any]:
        """Value of each of :data:`ROLES` in a sample, None where it has none."""
        flat = flatten(sample)
        names = tuple(flat)
        roles = self._known.get(names)
        if roles is None:
            roles = self.roles(names)
            if len(self._known) < _KEPT:
                self._known[names] = roles
        values = [_scalar(flat[roles[role]]) if role in roles else None for role in ROLES]
        if "lon" not in roles and "lat" not in roles:
            values[:2] = self._pair(flat)
        return values

    def roles(self, names: Sequence[str]) -> dict[str, str]:
        """The field of each role, of fields named as by :func:`flatten`."""
        named = {role: getattr(self.columns, role) for role in ROLES}
        found = {role: name for role, name in named.items() if name in names}
        self._found.update(found)
        free = [role for role in ROLES if named[role] is None]
        for parent, inner in _by_parent(names).items():
            guessed = _guess(parent, inner)
            if not {"lon", "lat"} & set(free) <= set(guessed):  # half a place is none
                guessed = {r: n for r, n in guessed.items() if r not in ("lon", "lat")}
            for role in free:
                if role in guessed:
                    found.setdefault(role, guessed[role])
        return found

    def check(self, where: str) -> None:
        """Refuse fields that the user named and no sample has.

        Raises:
            DataError: there is such a field.
        """
        for role in ROLES:
            name = getattr(self.columns, role)
            if name is not None and role not in self._found:
                some = listing(next(iter(self._known), ()))
                raise DataError(f"{where} has no field {name!r} for {role}; its fields are {some}")

    @property
    def notes(self) -> list[str]:
        """What was guessed, for :attr:`geocsp.data.table.GeoTable.notes`."""
        order = {True: "latitude first", False: "longitude first"}
        return [f"places are the pairs in {n!r}, {order[f]}" for n, f in self._pairs.items()]

    def _pair(self, flat: Mapping[str, Any]) -> tuple[Any, Any]:
        if self.columns.lon or self.columns.lat:
            return None, None
        for name, value in flat.items():
            latitude_first = is_pair_name(name)
            if latitude_first is not None and _is_pair(value):
                self._pairs[name] = latitude_first
                return (value[1], value[0]) if latitude_first else (value[0], value[1])
        return None, None


def columns_of(values: Sequence[Sequence[Any]]) -> dict[str, pa.Array]:
    """Columns of what :meth:`Fields.of` found: coordinates as float64, or text if some are.

    Args:
        values: N values of each of :data:`ROLES`.
    """
    kinds = (_numbers, _numbers, *(_texts,) * (len(ROLES) - 2))
    return {role: kind(v) for role, kind, v in zip(ROLES, kinds, values, strict=True)}


def _numbers(values: Sequence[Any]) -> pa.Array:
    if all(value is None or type(value) in (int, float) for value in values):
        try:
            return pa.array(values, pa.float64())
        except (pa.ArrowInvalid, OverflowError):  # whole numbers of hundreds of digits
            pass
    return _texts(values)


def _texts(values: Sequence[Any]) -> pa.Array:
    if not any(value is not None for value in values):
        return pa.nulls(len(values))
    return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else text(str(value))


def text(name: str) -> str:
    r"""A text that Arrow takes: bytes that are no UTF-8 become ``\udcff`` and the like."""
    return name.encode("utf-8", "backslashreplace").decode()


def is_pair_name(name: str) -> bool | None:
    """Whether a field of two coordinates has the latitude first; None if it is no such field."""
    return _PAIRS.get(simple(name.rpartition(".")[2]))


def split_named(file: str) -> str | None:
    """The split that the name of a file tells, as in ``train-00001-of-00004.parquet``."""
    stem = re.split(r"[/\\]", file)[-1].partition(".")[0]
    told = {_SPLITS[word] for word in re.split("[^a-z]+", stem.lower()) if word in _SPLITS}
    return told.pop() if len(told) == 1 else None


def _by_parent(names: Sequence[str]) -> dict[str, list[str]]:
    """Names below each field, the sample itself first."""
    parents: dict[str, list[str]] = {"": []}
    for name in names:
        parents.setdefault(name.rpartition(".")[0], []).append(name)
    return parents


def _guess(parent: str, names: Sequence[str]) -> dict[str, str]:
    """The field of each role among those of one parent."""
    plain = {name.rpartition(".")[2]: name for name in reversed(names)}
    if parent:  # x and y are corners of boxes there, mostly
        plain = {last: name for last, name in plain.items() if last.lower() not in ("x", "y")}
    guessed = {role: plain[name] for role, name in Columns().resolve(list(plain), "").items()}
    roles = ROLES if parent.rpartition(".")[2].lower() in _BESIDE else ("lon", "lat")
    return {role: name for role, name in guessed.items() if role in roles}


def _scalar(value: Any) -> Any:
    """A value of its own; a list of one counts as its element, anything longer as nothing."""
    if isinstance(value, (list, tuple)):
        return _scalar(value[0]) if len(value) == 1 else None
    return value


def _is_pair(value: Any) -> bool:
    if not isinstance(value, (list, tuple)) or len(value) not in (2, 3):
        return False
    return all(isinstance(v, (int, float)) and math.isfinite(v) for v in value[:2])
