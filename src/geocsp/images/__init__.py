"""Image encoders: pixels in, features out. One file is one family of networks."""

from geocsp.images.base import ImageEncoder
from geocsp.images.channels import adapt_channels
from geocsp.images.efficientnet_lite import EfficientNetLite0
from geocsp.images.extract import ImageSource, extract
from geocsp.images.framing import Framing, Resampling
from geocsp.images.moco import MoCoEncoder
from geocsp.images.module_tower import ModuleEncoder, Pooling
from geocsp.images.names import parse_encoder
from geocsp.images.onnx_tower import OnnxEncoder
from geocsp.images.open_clip_tower import OpenClipEncoder
from geocsp.images.timm_tower import TimmEncoder
from geocsp.images.torchgeo_tower import TorchGeoEncoder
from geocsp.images.torchvision_tower import TorchvisionEncoder
from geocsp.images.transformers_tower import TransformersEncoder

__all__ = [
    "EfficientNetLite0",
    "Framing",
    "ImageEncoder",
    "ImageSource",
    "MoCoEncoder",
    "ModuleEncoder",
    "OnnxEncoder",
    "OpenClipEncoder",
    "Pooling",
    "Resampling",
    "TimmEncoder",
    "TorchGeoEncoder",
    "TorchvisionEncoder",
    "TransformersEncoder",
    "adapt_channels",
    "extract",
    "parse_encoder",
]
