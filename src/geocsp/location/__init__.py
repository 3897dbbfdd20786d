"""Location encoders: places in, embeddings out. One file is one position encoding."""

from geocsp.location.base import LocationEncoder
from geocsp.location.grid import Space2VecGrid
from geocsp.location.networks import Activation, FeedForward, ResidualFC
from geocsp.location.wrap import Wrap

__all__ = ["Activation", "FeedForward", "LocationEncoder", "ResidualFC", "Space2VecGrid", "Wrap"]
