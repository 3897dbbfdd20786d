"""Errors that a user can act on."""

from __future__ import annotations


class DataError(ValueError):
    """Input that cannot be used: the message says which row or file, what is wrong, what to do."""


class NotFiniteError(DataError):
    """A loss or gradient that is not finite.

    Attributes:
        rows: all rows that it may come from.
    """

    def __init__(self, message: str, rows: list[int]) -> None:
        super().__init__(message)
        self.rows = rows


class MissingExtraError(ImportError):
    """An optional package is not installed; the message names the extra that brings it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; pip install 'geocsp[{extra}]' brings it")
