"""Where was this taken? Photos against places whose embeddings are kept on disk."""

from geocsp.evaluate.geolocation import Guesses
from geocsp.geolocate.gallery import Gallery
from geocsp.geolocate.search import Index, geolocate

__all__ = ["Gallery", "Guesses", "Index", "geolocate"]
