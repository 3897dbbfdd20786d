"""S2-100K: 100,000 patches of Sentinel-2 with 12 bands, the training data of SatCLIP.

``index.csv`` has the columns fn, lon and lat (and url), patches are in ``images/``
(https://github.com/microsoft/satclip, ``s2geo_dataset.py``). SatCLIP skips patches of less than
10 kB, which are mostly empty; here they stay.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc

from geocsp.data.assemble import assemble
from geocsp.data.images import FileImages
from geocsp.data.named.records import NUMBER, TEXT, read_records
from geocsp.data.named.release import Release
from geocsp.data.options import ReadOptions
from geocsp.data.table import GeoTable
from geocsp.registry import register

_RELEASE = Release("S2-100K", "https://huggingface.co/datasets/torchgeo/s2-100k")


@register("layout", "s2-100k")
def s2_100k(root: Path, options: ReadOptions) -> GeoTable:
    """S2-100K: satellite patches and their centres; no splits, classes or times.

    Args:
        root: the folder with ``index.csv`` and ``images/``, into which the shards were unpacked.
        options: how to read; ``bands`` says which of the 12 bands to take.

    Raises:
        DataError: a file is missing or damaged.
    """
    path = _RELEASE.file(root, "index.csv")
    records = read_records([path], {"fn": TEXT, "lon": NUMBER, "lat": NUMBER})
    names = pc.binary_join_element_wise("images", records.columns["fn"], "/")
    return assemble(
        FileImages(names, options.folder or str(root), options.bands),
        records.lonlat("lon", "lat"),
        problems=records.problems,
        origin=records.origin,
        keep_unplaced=options.keep_unplaced,
    )
