"""Splitters: rows into folds, honest about place. One file is one way to divide them."""

from geocsp.data.splitters.base import Splitter
from geocsp.data.splitters.blocks import SpatialBlocks
from geocsp.data.splitters.buffered import Buffered
from geocsp.data.splitters.checkerboard import Checkerboard
from geocsp.data.splitters.groups import GroupFolds, LeaveOneGroupOut
from geocsp.data.splitters.healpix import HealpixCells
from geocsp.data.splitters.hexagons import H3Cells
from geocsp.data.splitters.random import RandomFolds
from geocsp.data.splitters.stratified import StratifiedFolds
from geocsp.data.splitters.tables import split_table

__all__ = [
    "Buffered",
    "Checkerboard",
    "GroupFolds",
    "H3Cells",
    "HealpixCells",
    "LeaveOneGroupOut",
    "RandomFolds",
    "SpatialBlocks",
    "Splitter",
    "StratifiedFolds",
    "split_table",
]
