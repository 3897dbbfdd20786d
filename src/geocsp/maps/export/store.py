"""What the formats of an export have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geocsp.maps.export.content import Content
from geocsp.maps.export.progress import OnProgress
from geocsp.maps.export.settings import check_same
from geocsp.maps.export.work import BlockWriter


@dataclass(frozen=True)
class Store(ABC):
    """Blocks on their way into an output.

    Attributes:
        folder: the work folder.
        content: what is written.
    """

    folder: Path
    content: Content

    def is_finished(self, output: Path) -> bool:
        """Whether the output is there.

        Raises:
            DataError: it is there with other settings, or something else is.
        """
        if output.exists():
            check_same(self.settings_in(output), self.content.settings, output)
        return output.exists()

    @staticmethod
    @abstractmethod
    def settings_in(path: Path) -> dict[str, Any] | None:
        """The settings that an output was written with; None if it is not one of these."""

    @property
    @abstractmethod
    def needed_bytes(self) -> int:
        """Space for the output and the work on it."""

    @property
    @abstractmethod
    def exists(self) -> bool:
        """Whether there is a place for blocks."""

    @abstractmethod
    def create(self) -> None:
        """Make a place for blocks."""

    @abstractmethod
    def writer(self) -> BlockWriter:
        """What writes blocks; it travels to other processes."""

    @abstractmethod
    def finish(self, report: OnProgress | None) -> Path:
        """Put the output together, in the work folder."""
