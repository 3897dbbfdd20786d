"""Priors without weights: what labels near a place say. One file is one way to count them."""

from geocsp.priors.base import PlacePrior
from geocsp.priors.frequency import Frequency
from geocsp.priors.grid_histogram import GridHistogram
from geocsp.priors.kde import KernelDensity
from geocsp.priors.knn import NearestNeighbours
from geocsp.priors.tuned import TunedPrior, default_grid, fit_prior

__all__ = [
    "Frequency",
    "GridHistogram",
    "KernelDensity",
    "NearestNeighbours",
    "PlacePrior",
    "TunedPrior",
    "default_grid",
    "fit_prior",
]
