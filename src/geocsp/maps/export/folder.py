"""The folder of work in progress, beside the output."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geocsp.errors import DataError
from geocsp.files import write_atomically
from geocsp.maps.export.settings import check_same

PARTIAL = ".partial"
"""Ends its name."""
_SETTINGS_FILE = "settings.json"


@dataclass(frozen=True)
class WorkFolder:
    """A folder that is there while an export is at work or interrupted.

    Attributes:
        path: the folder.
    """

    path: Path

    @classmethod
    def beside(cls, output: Path) -> WorkFolder:
        """The folder for an output."""
        return cls(output.with_name(output.name + PARTIAL))

    def claim(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Enter the settings of a new export, or find those of the one that is to go on.

        Returns:
            The settings in the folder.

        Raises:
            DataError: something else is in the folder.
        """
        path = self.path / _SETTINGS_FILE
        if not path.exists():
            if not self._is_new:
                check_same(None, settings, self.path)
            write_atomically(path, json.dumps(settings, indent=1).encode())
        try:
            there = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{path} is damaged; delete {self.path} and run again") from error
        check_same(there, settings, self.path)
        return there  # type: ignore[no-any-return]

    @property
    def _is_new(self) -> bool:
        """Nothing is in it but its lock, and files that were not finished."""
        return all(inner.name.startswith(".") for inner in self.path.iterdir())

    def remove(self) -> None:
        """Delete the folder, if an export made it."""
        if self._is_new or (self.path / _SETTINGS_FILE).exists():
            shutil.rmtree(self.path)

    def check_space(self, needed: int) -> None:
        """Raise a DataError if the disk has no room for so many bytes, what is here included."""
        room = shutil.disk_usage(self.path).free + sum(
            512 * file.stat().st_blocks for file in self.path.rglob("*") if file.is_file()
        )
        if room < needed:
            raise DataError(
                f"{self.path.parent} has room for {_shown(room)}, but the output and the work on "
                f"it may need {_shown(needed)}; free some space, or take a larger step, a smaller "
                "window or smaller numbers"
            )


def _shown(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"
