"""Training objectives. One file is one objective."""

from geocsp.objectives.base import Objective, Views
from geocsp.objectives.csp_mc import CspMc
from geocsp.objectives.csp_nce import CspNce
from geocsp.objectives.mse import MeanSquaredError
from geocsp.objectives.negatives import NegativeSampling
from geocsp.objectives.presence import presence_absence

__all__ = [
    "CspMc",
    "CspNce",
    "MeanSquaredError",
    "NegativeSampling",
    "Objective",
    "Views",
    "presence_absence",
]
