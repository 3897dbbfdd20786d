"""Any classifier's scores, sharpened by location: tables in, tables of predictions out."""

from geocsp.scores.blocks import ScoreBlock, Scores
from geocsp.scores.fitted import FittedFusion, fit_on
from geocsp.scores.opened import read_places
from geocsp.scores.options import PredictOptions, ScoreOptions
from geocsp.scores.photos import ImageScores
from geocsp.scores.run import Predicted, predict
from geocsp.scores.table import ScoreTable

__all__ = [
    "FittedFusion",
    "ImageScores",
    "PredictOptions",
    "Predicted",
    "ScoreBlock",
    "ScoreOptions",
    "ScoreTable",
    "Scores",
    "fit_on",
    "predict",
    "read_places",
]
