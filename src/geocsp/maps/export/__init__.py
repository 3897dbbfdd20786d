"""Values of every cell of a grid as files: Cloud-Optimised GeoTIFF and zarr."""

from geocsp.images.features import Engine
from geocsp.maps.export.cells import CellType, Embedding, Quantity
from geocsp.maps.export.progress import ExportProgress, Stage
from geocsp.maps.export.run import ExportReport, embed_grid

__all__ = [
    "CellType",
    "Embedding",
    "Engine",
    "ExportProgress",
    "ExportReport",
    "Quantity",
    "Stage",
    "embed_grid",
]
