"""Location features in scikit-learn: an embedder of places, and splitters that mind places."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from enum import StrEnum
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from geocsp.coords import check_lonlat
from geocsp.data.columns.moments import times_from
from geocsp.data.options import listing
from geocsp.data.splitters import (
    Buffered,
    Checkerboard,
    GroupFolds,
    H3Cells,
    HealpixCells,
    LeaveOneGroupOut,
    RandomFolds,
    SpatialBlocks,
    StratifiedFolds,
)
from geocsp.data.table import Floats
from geocsp.embed.encoders import untrained_encoder
from geocsp.embed.vectors import Dtype, column_names, embed_places
from geocsp.errors import DataError, MissingExtraError
from geocsp.location import LocationEncoder
from geocsp.models import LocationModel, load, location_of
from geocsp.registry import available

try:
    from sklearn.base import BaseEstimator, TransformerMixin
    from sklearn.utils.validation import check_array, check_is_fitted, validate_data
except ImportError as missing:
    raise MissingExtraError("scikit-learn", "evaluate") from missing

__all__ = [
    "Buffered",
    "Checkerboard",
    "Dtype",
    "GroupFolds",
    "H3Cells",
    "HealpixCells",
    "LeaveOneGroupOut",
    "LocationEmbedder",
    "Missing",
    "RandomFolds",
    "SpatialBlocks",
    "StratifiedFolds",
]

DEFAULT_ENCODER = "rff"
"""What embeds where no model is named, with random weights."""


class Missing(StrEnum):
    """What becomes of rows without coordinates."""

    ERROR = "error"
    """An error that says so."""
    NAN = "nan"
    """An embedding of NaN, for estimators that take it or an imputer after it."""

    @classmethod
    def _missing_(cls, value: object) -> Missing:
        raise DataError(f"no way {value!r} to treat missing places; there are: {', '.join(cls)}")


class LocationEmbedder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turns longitude and latitude into the embedding of a location encoder.

    A transformer in the sense of scikit-learn: alone, in a ``Pipeline`` or for some columns of a
    ``ColumnTransformer``. ``fit`` loads the encoder and learns nothing from the data; the fitted
    transformer holds the weights, also when it is pickled.

    Args:
        model: what embeds: a trained model, or where one is as :func:`geocsp.models.load` takes
            it; "geoclip" for the published weights in the package of that name; or the name of a
            location encoder (``geocsp.available("location")``), which then has random weights:
            fixed features of several scales, from which much can be learned where there is no
            trained model. None: such an encoder, "rff", whose waves are meant to be random.
        columns: longitude and latitude in degrees: names of columns of a data frame, whose other
            columns are left alone; or their positions, for arrays of any width. An array of two
            columns goes with names, too: longitude first.
        time: column of dates or moments, for encoders that take time; name or position.
        settings: settings of an encoder with random weights, such as ``{"dim": 64}``.
        seed: of random weights.
        missing: what becomes of rows with a NaN coordinate.
        normalise: scale every embedding to unit length.
        dtype: numbers of the result.

    Attributes:
        encoder_: the location encoder, a copy.
        n_features_in_: number of columns that ``fit`` saw, of a data frame those that are used.
        feature_names_in_: their names, if they have any.
    """

    def __init__(
        self,
        model: LocationModel | str | PathLike[str] | None = None,
        *,
        columns: Sequence[str] | Sequence[int] = ("lon", "lat"),
        time: str | int | None = None,
        settings: Mapping[str, Any] | None = None,
        seed: int = 0,
        missing: Missing | str = "error",
        normalise: bool = False,
        dtype: Dtype | str = "float32",
    ) -> None:
        self.model = model
        self.columns = columns
        self.time = time
        self.settings = settings
        self.seed = seed
        self.missing = missing
        self.normalise = normalise
        self.dtype = dtype

    def fit(self, X: Any, y: Any = None) -> Self:
        """Load the encoder and check that ``X`` has places.

        Args:
            X: data frame or array with N places.
            y: not used.

        Raises:
            DataError: there is no such model, or ``X`` lacks columns or has bad places.
        """
        encoder = self._encoder()
        if self.time is not None and not encoder.time.dim:
            raise DataError(
                f"{type(encoder).__name__} takes no time; name no column of times, or set its "
                "date_harmonics or hour_harmonics"
            )
        Missing(self.missing), Dtype(self.dtype)
        self._read(X, reset=True)
        self.encoder_ = encoder
        return self

    def transform(self, X: Any) -> Any:
        """Embed places.

        Args:
            X: data frame or array with N places, as ``fit`` saw.

        Returns:
            ``(N, D)`` float32 or float16, or the data frame that ``set_output`` asks for.

        Raises:
            DataError: a place is missing (unless ``missing="nan"``) or out of range.
            sklearn.exceptions.NotFittedError: ``fit`` was not called.
        """
        check_is_fitted(self)
        lonlat, time = self._read(X, reset=False)
        placed = ~np.isnan(lonlat).any(axis=1)
        vectors = np.full((len(lonlat), self.encoder_.dim), np.nan, Dtype(self.dtype).value)
        vectors[placed] = embed_places(
            self.encoder_,
            lonlat[placed],
            None if time is None else time[placed],
            normalise=self.normalise,
            dtype=Dtype(self.dtype),
        )
        return vectors

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the D columns: ``embedding_000`` and so on.

        Args:
            input_features: names of the columns that go in; they change nothing.

        Raises:
            ValueError: these are not the columns that ``fit`` saw.
        """
        from sklearn.utils.validation import _check_feature_names_in

        check_is_fitted(self)
        _check_feature_names_in(self, input_features, generate_names=False)
        return np.array(column_names(self.encoder_.dim), dtype=object)

    def __sklearn_tags__(self) -> Any:
        """Says that NaN may be handed in, and that the type of the result is a setting."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing == Missing.NAN
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _encoder(self) -> LocationEncoder:
        model = DEFAULT_ENCODER if self.model is None else self.model
        if isinstance(model, str) and model in available("location") and not Path(model).exists():
            return untrained_encoder(model, self.settings or {}, seed=self.seed)
        if self.settings is not None:
            raise DataError(
                "settings are those of an encoder with random weights; a trained model has its own"
            )
        if isinstance(model, (str, PathLike)):
            return location_of(load(Path(model) if isinstance(model, PathLike) else model))
        return copy.deepcopy(location_of(model)).eval()

    def _read(self, X: Any, *, reset: bool) -> tuple[Floats, Floats | None]:
        """Places ``(N, 2)``, NaN where missing, and times ``(N, 2)`` in ``X``."""
        if len(self.columns) != 2:
            raise DataError(f"columns must be two, longitude and latitude, got {self.columns!r}")
        used = [*self.columns, *([] if self.time is None else [self.time])]
        if hasattr(X, "columns"):
            X = self._frame(X, used, reset=reset)
            places, moments = X[list(X.columns[:2])], [X[name] for name in X.columns[2:]]
            places = check_array(places, dtype=np.float64, ensure_all_finite=False, estimator=self)
        else:
            X = self._array(X, used, reset=reset)
            places, moments = X[:, :2], list(X[:, 2:].T)
        lonlat = self._checked(np.ascontiguousarray(places))
        return lonlat, _times(moments[0], lonlat[:, 0]) if moments else None

    def _frame(self, X: Any, used: list[Any], *, reset: bool) -> Any:
        """The columns that are used of a data frame, in this order."""
        known = list(X.columns)
        if all(isinstance(column, str) for column in used):
            lacking = [name for name in used if name not in known]
            if lacking:
                raise DataError(
                    f"X has no column {lacking[0]!r}; its columns are "
                    f"{listing([str(name) for name in known])}; set columns=(longitude, latitude)"
                )
            return validate_data(self, X[used], skip_check_array=True, reset=reset)
        validate_data(self, X, skip_check_array=True, reset=reset)
        _check_positions(used, len(known))
        return X[[known[position] for position in used]]

    def _array(self, X: Any, used: list[Any], *, reset: bool) -> NDArray[np.float64]:
        """The columns that are used of an array, in this order."""
        array = validate_data(self, X, dtype=np.float64, ensure_all_finite=False, reset=reset)
        if not all(isinstance(column, str) for column in used):
            _check_positions(used, array.shape[1])
            return np.asarray(array[:, used])
        if array.shape[1] != len(used):
            raise DataError(
                f"an array with columns {', '.join(used)} has {len(used)}, got {array.shape[1]} "
                "feature(s); say which are longitude and latitude, such as columns=(0, 1)"
            )
        return np.asarray(array)

    def _checked(self, lonlat: Floats) -> Floats:
        """The same places; those with a NaN are NaN throughout."""
        gone = np.asarray(np.isnan(lonlat).any(axis=1))
        if gone.any() and Missing(self.missing) is Missing.ERROR:
            raise DataError(
                f"X row {int(np.flatnonzero(gone)[0])} has a NaN coordinate; drop such rows, or "
                "set missing='nan' for an embedding of NaN"
            )
        try:
            check_lonlat(torch.from_numpy(np.where(gone[:, None], 0.0, lonlat)), name="X")
        except ValueError as error:
            raise DataError(str(error)) from None
        return np.where(gone[:, None], np.nan, lonlat)


def _check_positions(used: Sequence[Any], width: int) -> None:
    for position in used:
        if not isinstance(position, (int, np.integer)):
            raise DataError(f"columns and time are all names or all positions, got {used!r}")
        if not 0 <= position < width:
            raise DataError(f"X has {width} feature(s), from 0 on, and none at {position}")


def _times(moments: Any, lon: Floats) -> Floats:
    """Date and hour of a column of moments."""
    column = pa.array(np.asarray(moments), from_pandas=True)
    time, unread = times_from(pa.chunked_array([column]), lon)
    if unread:
        raise DataError(f"{unread} times in X cannot be read; write them as ISO 8601")
    return time
