"""Training objectives. One file is one objective."""

from geocsp.objectives.an_full import AnFull
from geocsp.objectives.base import Objective, Places, Views
from geocsp.objectives.class_scores import ClassScores
from geocsp.objectives.clip import Clip
from geocsp.objectives.cross_entropy import CrossEntropy
from geocsp.objectives.csp_mc import CspMc
from geocsp.objectives.csp_nce import CspNce
from geocsp.objectives.geo_prior import PresenceAbsence
from geocsp.objectives.geoclip import GeoClip
from geocsp.objectives.hard_negatives import HardNegatives
from geocsp.objectives.max_entropy import MeFull, MeSlds, MeSsdl
from geocsp.objectives.mse import MeanSquaredError
from geocsp.objectives.negatives import NegativeSampling
from geocsp.objectives.photographer import Photographer
from geocsp.objectives.presence import presence_absence
from geocsp.objectives.siglip import SigLip
from geocsp.objectives.simcse import SimCse
from geocsp.objectives.slds import AnSlds
from geocsp.objectives.soft_positives import SoftPositives
from geocsp.objectives.ssdl import AnSsdl
from geocsp.objectives.supcon import SupCon
from geocsp.objectives.weighted import WeightedSum

__all__ = [
    "AnFull",
    "AnSlds",
    "AnSsdl",
    "ClassScores",
    "Clip",
    "CrossEntropy",
    "CspMc",
    "CspNce",
    "GeoClip",
    "HardNegatives",
    "MeFull",
    "MeSlds",
    "MeSsdl",
    "MeanSquaredError",
    "NegativeSampling",
    "Objective",
    "Photographer",
    "Places",
    "PresenceAbsence",
    "SigLip",
    "SimCse",
    "SoftPositives",
    "SupCon",
    "Views",
    "WeightedSum",
    "presence_absence",
]
