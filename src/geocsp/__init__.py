"""geocsp: learn from geo-tagged images without labels."""

from geocsp import coords
from geocsp.classifier import GeoClassifier
from geocsp.data.images import Bands
from geocsp.data.options import Columns
from geocsp.data.read import read
from geocsp.data.table import GeoTable
from geocsp.fusion import (
    Calibration,
    GuardedFusion,
    Support,
    fit_calibration,
    fit_fusion,
    fit_guarded_fusion,
)
from geocsp.images import ImageEncoder, extract
from geocsp.images.features import Features, compute_features, open_features
from geocsp.interop import import_checkpoint
from geocsp.linear_prior import LinearPrior
from geocsp.location import LocationEncoder
from geocsp.model import GeoModel, GeoPrior
from geocsp.models import load, load_with_images
from geocsp.objectives import Objective
from geocsp.predict import ScoreKind, fuse
from geocsp.registry import available, create
from geocsp.times import times_of
from geocsp.train.classifier import train_classifier
from geocsp.train.examples import Examples
from geocsp.train.finetune import FinetuneSettings, ImageHead, finetune, train_image_head
from geocsp.train.linear import LinearSettings, SelfTraining, fit_linear_prior, self_train
from geocsp.train.pretrain import pretrain
from geocsp.train.priors import ImageTeacher, train_prior
from geocsp.train.settings import Precision, PretrainSettings

__version__ = "0.1.0"

__all__ = [
    "Bands",
    "Calibration",
    "Columns",
    "Examples",
    "Features",
    "FinetuneSettings",
    "GeoClassifier",
    "GeoModel",
    "GeoPrior",
    "GeoTable",
    "GuardedFusion",
    "ImageEncoder",
    "ImageHead",
    "ImageTeacher",
    "LinearPrior",
    "LinearSettings",
    "LocationEncoder",
    "Objective",
    "Precision",
    "PretrainSettings",
    "ScoreKind",
    "SelfTraining",
    "Support",
    "available",
    "compute_features",
    "coords",
    "create",
    "extract",
    "finetune",
    "fit_calibration",
    "fit_fusion",
    "fit_guarded_fusion",
    "fit_linear_prior",
    "fuse",
    "import_checkpoint",
    "load",
    "load_with_images",
    "open_features",
    "pretrain",
    "read",
    "self_train",
    "times_of",
    "train_classifier",
    "train_image_head",
    "train_prior",
]
