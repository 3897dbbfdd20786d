"""The files that an audit leaves."""

from __future__ import annotations

import csv
import io
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import geocsp
from geocsp.data.audit.duplicates import Duplicates
from geocsp.data.audit.run import Audit
from geocsp.data.quarantine import QUARANTINE_FILE, write_quarantine
from geocsp.data.table import Categories, GeoTable
from geocsp.errors import DataError
from geocsp.files import write_atomically

CHECK_FILE = "check.json"
DUPLICATES_FILE = "duplicates.csv"
_MOST = 100
_APART = ("quarantine", "rows", "duplicates", "reasons")
_PACKAGES = ("numpy", "pillow", "pyarrow", "scipy")


def write_audit(
    audit: Audit, table: GeoTable, folder: Path, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Write ``quarantine.csv``, ``duplicates.csv`` and, last of all, ``check.json``.

    Args:
        audit: what was found.
        table: what was checked.
        folder: where to, made if needed.
        settings: how the table was read, for the record.

    Returns:
        What is in ``check.json``.

    Raises:
        DataError: the folder cannot be written to, or the disk is full.
    """
    facts = facts_of(audit, settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_quarantine(folder / QUARANTINE_FILE, audit.quarantine)
        write_atomically(folder / DUPLICATES_FILE, _table_of_duplicates(audit, table))
        write_atomically(folder / CHECK_FILE, json.dumps(facts, indent=1).encode())
    except OSError as error:
        raise DataError(f"cannot write {folder}: {error.strerror or error}") from error
    return facts


def facts_of(audit: Audit, settings: Mapping[str, Any]) -> dict[str, Any]:
    """An audit as JSON: all counts, the first hundred reasons; lists of rows are files apart."""
    names = [field.name for field in fields(audit) if field.name not in _APART]
    return {
        "settings": dict(settings),
        "versions": _versions(),
        **{name: _plain(getattr(audit, name)) for name in names},
        "duplicates": {some.likeness.value: _counts(some) for some in audit.duplicates},
        "reasons": [asdict(reason) for reason in audit.reasons[:_MOST]],
    }


def _plain(value: Any) -> Any:
    """Dataclasses, and tuples of them, as dictionaries."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value


def _counts(duplicates: Duplicates) -> dict[str, int]:
    names = ("copies", "across_splits", "other_labels", "other_places")
    return {"groups": len(duplicates.groups)} | {n: getattr(duplicates, n) for n in names}


def _table_of_duplicates(audit: Audit, table: GeoTable) -> bytes:
    """A line for every image of every group, the heading alone if there is none."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["likeness", "group", "file", "lon", "lat", "label", "split"])
    for duplicates in audit.duplicates:
        for number, group in enumerate(duplicates.groups):
            for row in group:
                known = [_name(table.label, row), _name(table.split, row)]
                place = table.lonlat[row].tolist()
                file = table.images.names[row].as_py()
                writer.writerow([duplicates.likeness.value, number, file, *place, *known])
    return text.getvalue().encode("utf-8", "backslashreplace")


def _name(column: Categories | None, row: int) -> str:
    return "" if column is None or column.codes[row] < 0 else column.names[column.codes[row]]


def _versions() -> dict[str, str]:
    ours = {"geocsp": geocsp.__version__, "python": platform.python_version()}
    return ours | {package: version(package) for package in _PACKAGES}
