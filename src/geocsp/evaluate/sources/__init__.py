"""What can be evaluated on."""

from geocsp.evaluate.sources.bluemarble import BlueMarbleSource
from geocsp.evaluate.sources.divisions import Division
from geocsp.evaluate.sources.tables import FeaturesSource, PublishedSource

__all__ = ["BlueMarbleSource", "Division", "FeaturesSource", "PublishedSource"]
