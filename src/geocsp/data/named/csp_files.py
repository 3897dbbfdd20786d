"""What CSP and geo_prior published beside their data: features, predictions, few-shot samples.

Folders and names (https://github.com/gengchenmai/csp, ``main/datasets.py`` and ``data_utils.py``;
https://github.com/macaodha/geo_prior, ``datasets.py``), for iNaturalist 2018::

    features_inception_pretrain/inat2018_train_pretrain_net_feats.npy   (N, 2048)
    features_inception/inat2018_val_net_feats.npy                       (N, 2048)
    features_inception/inat2018_val_preds_sparse.npz                    (N, 8142) probabilities
    fewshot/inat2018_val_preds_sparse_ratio0.050.npz                    (N, 8142)
    sample_idx/train_sample_ratio0.050.npy                              (n,)

For fMoW, probabilities are dense: ``feature_moco/fmow_val_preds.npy`` and
``fewshot/fmow_val_preds_ratio0.050.npy``. Rows are in the order of the list of images; few-shot
samples number the training images that have a place and a user.
"""

from __future__ import annotations

import zipfile
import zlib
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from geocsp.data.images import Integers
from geocsp.data.named.listed import ListedImages
from geocsp.data.named.numpy_pickle import read_dumped
from geocsp.data.named.release import Release, first_file
from geocsp.data.table import GeoTable
from geocsp.errors import DataError

_SAMPLE = "sample_idx/train_sample_ratio{:.3f}.npy"
_RELEASE = Release("CSP's data", "https://gengchenmai.github.io/csp-website/")


class Network(StrEnum):
    """The image network that features or predictions come from; values name the folders.

    ``PRETRAINED`` has seen no label of the data set (ImageNet, or MoCo for fMoW), the others were
    trained on all of them, at 299 and at 520 pixels.
    """

    PRETRAINED = "features_inception_pretrain"
    FINE_TUNED = "features_inception"
    HIGH_RESOLUTION = "features_inception_hr"


def read_features(
    root: Path,
    dataset: str,
    split: str,
    table: GeoTable,
    network: Network = Network.PRETRAINED,
    backbone: str | None = None,
) -> NDArray[Any]:
    """Published image features of the rows of a split.

    Args:
        root: the folder of the data set, which the table was read from.
        dataset: how file names start, such as "inat2018" or "fmow".
        split: "train" or "val".
        table: the data set, or some rows of it.
        network: which network's features.
        backbone: the network where it is not the usual one, as folders say after a dash.

    Returns:
        ``(n, 2048)``, row by row those of ``table.part(split)``; mapped from the file, and not
        copied, if the rows follow each other without a gap (as with ``keep_unplaced``).

    Raises:
        DataError: the file is missing, damaged, or of another list of images.
    """
    positions, length = _positions(table, split)
    tag = "_pretrain" if network == Network.PRETRAINED else ""
    name = f"{dataset}_{split}{tag}_net_feats.npy"
    path = _RELEASE.file(root, f"{_folder(network, backbone)}/{name}")
    features: NDArray[Any] = _taken(_mapped(path, length), positions)
    return features


def read_predictions(
    root: Path,
    dataset: str,
    split: str,
    table: GeoTable,
    ratio: float | None = None,
    network: Network = Network.FINE_TUNED,
    backbone: str | None = None,
) -> NDArray[Any] | sparse.csr_array:
    """Published class probabilities P(y | I) of the rows of a split.

    Args:
        root: the folder of the data set, which the table was read from.
        dataset: how file names start, such as "inat2018" or "fmow".
        split: "val", as a rule.
        table: the data set, or some rows of it.
        ratio: share of the training labels that the network has seen; None: all of them.
        network: which network's predictions, if it has seen all labels.
        backbone: the network where it is not the usual one, as folders say after a dash.

    Returns:
        ``(n, Q)``, row by row those of ``table.part(split)``, column by column the classes; sparse
        for iNaturalist and birds, dense for fMoW and YFCC.

    Raises:
        DataError: the file is missing, damaged, or of another list of images or classes.
    """
    positions, length = _positions(table, split)
    places = _prediction_places(dataset, split, ratio, network, backbone)
    path = _RELEASE.file(root, *places)
    found = _sparse(path, length) if path.suffix == ".npz" else _mapped(path, length)
    if found.shape[1] != len(table.class_names):
        raise DataError(
            f"{path} has {found.shape[1]} classes, the data set {len(table.class_names)}"
        )
    return _taken(found, positions)


def has_predictions(root: Path, dataset: str, split: str, ratio: float | None = None) -> bool:
    """Whether predictions for this share of the labels were published."""
    places = _prediction_places(dataset, split, ratio, Network.FINE_TUNED, None)
    return first_file(root, *places) is not None


def has_few_shot_rows(root: Path, ratio: float) -> bool:
    """Whether a sample with this share of the labels was published."""
    return (root / _SAMPLE.format(ratio)).is_file()


def read_few_shot_rows(root: Path, table: GeoTable, ratio: float) -> Integers:
    """Rows of the published few-shot sample of the training set.

    Args:
        root: the folder of the data set, which the table was read from.
        table: the data set, or some rows of it.
        ratio: share of the training labels, such as 0.05.

    Returns:
        ``(n,)`` int64 rows of ``table`` (not of its training part), rising. Images of the sample
        that are not in the table are left out.

    Raises:
        DataError: the file is missing, damaged, or of another training set.
    """
    path = _RELEASE.file(root, _SAMPLE.format(ratio))
    sample = read_dumped(path)
    if sample.ndim != 1 or sample.dtype.kind not in "iu" or len(sample) == 0:
        raise DataError(f"{path} is no list of row numbers but {sample.shape} {sample.dtype}")
    _, length = _positions(table, "train")
    if sample.min() < 0 or sample.max() >= length:
        raise DataError(
            f"{path} has rows {sample.min()} to {sample.max()}, the training set {length} images"
        )
    chosen = np.isin(_listed(table).trained, sample)
    return np.flatnonzero(chosen & _is_part(table, "train"))


def _prediction_places(
    dataset: str, split: str, ratio: float | None, network: Network, backbone: str | None
) -> list[str]:
    """Where predictions may be, the likeliest place first."""
    tag = "" if ratio is None else f"_ratio{ratio:.3f}"
    folders = [_folder(network, backbone), "feature_moco"]
    if ratio is not None:
        folders = ["fewshot" if backbone is None else f"fewshot-{backbone}"]
    places = [f"{f}/{dataset}_{split}_preds_sparse{tag}.npz" for f in folders[:1]]
    return places + [f"{f}/{dataset}_{split}_preds{tag}.npy" for f in folders]


def _is_part(table: GeoTable, split: str) -> NDArray[np.bool_]:
    """Which rows are of a split."""
    if table.split is None or split not in table.split.names:
        raise DataError(f"the table has no split {split!r}")
    return np.asarray(table.split.codes == table.split.names.index(split))


def _listed(table: GeoTable) -> ListedImages:
    if not isinstance(table.images, ListedImages):
        raise DataError(
            "the table's images are no published list; read it from CSP's or geo_prior's files, "
            'as with geocsp.data.read.read("inat2018:folder")'
        )
    return table.images


def _positions(table: GeoTable, split: str) -> tuple[Integers, int]:
    """Numbers of the rows of a split in their list, and the length of that list."""
    images = _listed(table)
    return images.positions[_is_part(table, split)], images.lengths[split]


def _folder(network: Network, backbone: str | None) -> str:
    return network.value if backbone is None else f"{network.value}-{backbone}"


def _mapped(path: Path, length: int) -> NDArray[Any]:
    """A matrix of a file that stays on disk."""
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path} is damaged or no array of numbers ({error})") from error
    if not isinstance(matrix, np.ndarray) or matrix.ndim != 2 or matrix.dtype.kind != "f":
        raise DataError(f"{path} is no matrix of decimal numbers")
    _check_rows(matrix.shape, path, length)
    return matrix


def _sparse(path: Path, length: int) -> sparse.csr_array:
    try:
        matrix = sparse.csr_array(sparse.load_npz(path))
        matrix.check_format()  # indices beyond the matrix would be read without asking
    except (ValueError, KeyError, TypeError, OSError, EOFError) as error:
        raise DataError(f"{path} is damaged or no sparse matrix ({error})") from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise DataError(f"{path} is damaged or no sparse matrix ({error})") from error
    _check_rows(matrix.shape, path, length)
    return matrix


def _check_rows(shape: tuple[int, ...], path: Path, length: int) -> None:
    if shape[0] != length:
        raise DataError(f"{path} has {shape[0]} rows, the list of images {length}")


def _taken(matrix: Any, rows: Integers) -> Any:
    """Some rows of a matrix, as a view of it where they follow each other."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and bool(np.all(np.diff(rows) == 1)):
        return matrix[rows[0] : rows[-1] + 1]
    return matrix[rows]
