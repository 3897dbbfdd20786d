"""What a search may try for one setting."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """Values of one setting: an interval, or a list.

    Attributes:
        low: smallest value; with whole numbers at both ends, only whole numbers are tried.
        high: largest value.
        log: try each order of magnitude equally often.
        choices: the values themselves, instead of an interval.
    """

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    choices: tuple[bool | int | float | str, ...] | None = None

    def __post_init__(self) -> None:
        if self.choices is not None:
            if not self.choices or self.low is not None or self.high is not None:
                raise ValueError("give choices, at least one, or an interval, not both")
        elif self.low is None or self.high is None or not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")
        elif self.log and self.low <= 0:
            raise ValueError(f"low must be above 0 where log is true, got {self.low}")

    def includes(self, value: object) -> bool:
        """Whether a value may be tried."""
        if self.choices is not None:
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        assert self.low is not None
        assert self.high is not None
        return self.low <= value <= self.high
