"""Class scores and places in whatever array or data frame they are, as tensors and back."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geocsp.data.options import Columns, listing
from geocsp.errors import DataError

ScoresT = TypeVar("ScoresT")
"""A tensor, a NumPy array, or a pandas or polars DataFrame of ``(N, Q)`` scores."""
_SHOWN = 5


def class_order(names: Sequence[str], classes: Sequence[str], where: str) -> list[int]:
    """Which column each class has.

    Args:
        names: columns of a table of scores, in any order, with others among them.
        classes: Q class names.
        where: what to call the table in an error message.

    Raises:
        DataError: a class has no column or two, or two classes have one name.
    """
    for what, several in (("the prior has", classes), (f"{where} has", names)):
        name, count = Counter(several).most_common(1)[0] if several else ("", 0)
        if count > 1 and name in classes:
            raise DataError(f"{what} {count} classes {name!r}, which no name can tell apart")
    place = {name: number for number, name in enumerate(names)}
    missing = [name for name in classes if name not in place]
    if missing:
        raise DataError(
            f"{where} lacks {len(missing):,} of the prior's {len(classes):,} classes: "
            f"{_some(missing)}; its columns are {listing(names)}"
        )
    return [place[name] for name in classes]


def scores_of(given: ScoresT, classes: Sequence[str]) -> tuple[Tensor, Callable[[Tensor], ScoresT]]:
    """Scores as a tensor with the classes in order, and what gives a tensor back in their kind.

    Columns of data frames are matched to classes by name; those of arrays and tensors have to be in
    order already.

    Args:
        given: ``(N, Q)`` scores; a data frame has a column for every class and no others.
        classes: Q class names.

    Raises:
        DataError: missing, extra or repeated classes, columns that are no numbers, or a kind that
            is not known.
    """
    if isinstance(given, Tensor):
        return given, lambda result: result
    if isinstance(given, np.ndarray):
        return _tensor(given), lambda result: _like(result, given)  # type: ignore[return-value]
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if pandas is not None and isinstance(given, pandas.DataFrame):
        names = [str(name) for name in given.columns]
        values = _numbers(given)

        def back(result: NDArray[Any]) -> Any:
            return pandas.DataFrame(result, index=given.index, columns=given.columns)

    elif polars is not None and isinstance(given, polars.DataFrame):
        names, values = list(given.columns), _numbers(given)

        def back(result: NDArray[Any]) -> Any:
            return polars.DataFrame(result, schema=names)

    else:
        raise DataError(
            "scores must be a PyTorch tensor, a NumPy array, or a pandas or polars DataFrame, got "
            f"{type(given).__module__}.{type(given).__name__}"
        )
    order = class_order(names, classes, "the table of scores")
    extra = [name for name in names if name not in set(classes)]
    if extra:
        raise DataError(
            f"the table of scores has {len(extra):,} columns that are no class of the prior: "
            f"{_some(extra)}; drop them"
        )
    again = np.argsort(order)
    return _tensor(values[:, order]), lambda result: back(_like(result, values)[:, again])


def places_of(lonlat: Any) -> Tensor:
    """Places as a tensor ``(N, 2)``, longitude first; a tensor stays as it is.

    Args:
        lonlat: tensor or array ``(N, 2)`` of degrees, or a data frame, whose columns of longitude
            and latitude are found by name.

    Raises:
        DataError: there are no such columns, or no numbers in them.
    """
    if isinstance(lonlat, Tensor):
        return lonlat
    if hasattr(lonlat, "columns"):
        names = [str(name) for name in lonlat.columns]
        roles = Columns().resolve(names, "the table of places")
        if not {"lon", "lat"} <= roles.keys():
            raise DataError(
                f"the table of places has no columns lon and lat; its columns are {listing(names)}"
            )
        values = _numbers(lonlat[[roles["lon"], roles["lat"]]])
    else:
        values = _floats(np.asarray(lonlat), "places")
    return torch.from_numpy(values.astype(np.float64))


def _numbers(frame: Any) -> NDArray[Any]:
    """The cells of a data frame, NaN where there is none."""
    try:
        if hasattr(frame, "iloc"):
            return _floats(frame.to_numpy(dtype=None, na_value=np.nan), "the table")
        return _floats(frame.to_numpy(), "the table")
    except (TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"the table holds cells that are no numbers: {error}") from error


def _floats(values: NDArray[Any], what: str) -> NDArray[Any]:
    """Floating point numbers; whole numbers, and numbers in a column of objects, become float64."""
    if np.issubdtype(values.dtype, np.floating):
        return values
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what}: {error}; numbers are needed") from error


def _tensor(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(_floats(values, "scores"), dtype=np.float64))


def _like(result: Tensor, values: NDArray[Any]) -> NDArray[Any]:
    kind = values.dtype if np.issubdtype(values.dtype, np.floating) else np.dtype(np.float64)
    return result.numpy().astype(kind)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else shown
